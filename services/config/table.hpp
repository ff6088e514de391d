#pragma once
// The settings of one program: rows, each bound to the options that it sets, and the values that a
// configuration gives them. A table is made at start-up, on the main thread, and its options
// outlive it.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "services/config/rows.hpp"
#include "services/config/setting.hpp"

namespace corelane::services::config {

class Configuration;

class SettingTable {
 public:
  // Rows stand behind those of their section; a new section comes last. What `options` hold now
  // are the defaults. Throws std::invalid_argument if two settings have one name.
  template <class Options>
  void add(std::span<const Row<Options>> rows, Options& options) {
    for (const Row<Options>& row : rows) add(row.setting, &options, &options);
  }
  // The same for a program in which these settings have no effect.
  template <class Options>
  void add_without_effect(std::span<const Row<Options>> rows) {
    const Options defaults;
    for (const Row<Options>& row : rows) add(row.setting, nullptr, &defaults);
  }

  const std::vector<Setting>& settings() const noexcept { return settings_; }
  const Value& default_of(const Setting& setting) const noexcept {
    return defaults_[index_of(setting)];
  }
  // The setting must be one of this table.
  std::size_t index_of(const Setting& setting) const noexcept {
    return static_cast<std::size_t>(&setting - settings_.data());
  }
  // "limits.message_bytes_max": must be there.
  const Setting& at(std::string_view path) const noexcept;
  const Setting* find(std::string_view path) const noexcept;

  // Puts every value where its setting belongs.
  void store(const Configuration& values) const;

 private:
  friend class Configuration;
  void add(const Setting& setting, void* options, const void* defaults);

  std::vector<Setting> settings_;
  std::vector<Value> defaults_;
  std::vector<Setting> followers_;
};

// A value for each setting of a table, which outlives it; at first the defaults.
class Configuration {
 public:
  explicit Configuration(const SettingTable& table) : table_(&table), values_(table.defaults_) {}

  const SettingTable& table() const noexcept { return *table_; }
  const Value& of(const Setting& setting) const noexcept {
    return values_[table_->index_of(setting)];
  }
  Value& of(const Setting& setting) noexcept { return values_[table_->index_of(setting)]; }

  // By the path of a setting that is there, and of this kind.
  bool is_on(std::string_view path) const { return value<bool>(path); }
  std::uint64_t number(std::string_view path) const { return value<std::uint64_t>(path); }
  const std::string& text(std::string_view path) const { return value<std::string>(path); }
  const Texts& list(std::string_view path) const { return value<Texts>(path); }

  friend bool operator==(const Configuration& a, const Configuration& b) {
    return a.values_ == b.values_;
  }

 private:
  template <class Type>
  const Type& value(std::string_view path) const {
    return std::get<Type>(of(table_->at(path)));
  }

  const SettingTable* table_;
  std::vector<Value> values_;
};

}  // namespace corelane::services::config
