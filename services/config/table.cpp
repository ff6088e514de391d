#include "services/config/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace corelane::services::config {

void SettingTable::add(const Setting& setting, void* options, const void* defaults) {
  Setting bound = setting;
  bound.options = options;
  if (setting.follows) {
    followers_.push_back(bound);
    return;
  }
  for (const Setting& other : settings_) {
    const bool same_alias = !setting.alias.empty() && setting.alias == other.alias;
    if (same_alias || (setting.section == other.section && setting.key == other.key)) {
      throw std::invalid_argument(fmt::format("the settings {} and {} have one name",
                                              setting_path(other), setting_path(setting)));
    }
  }
  const auto last = std::find_if(settings_.rbegin(), settings_.rend(), [&](const Setting& other) {
    return other.section == setting.section;
  });
  const auto behind = last == settings_.rend() ? settings_.end() : last.base();
  defaults_.insert(defaults_.begin() + (behind - settings_.begin()), setting.load(defaults));
  settings_.insert(behind, bound);
}

const Setting* SettingTable::find(std::string_view path) const noexcept {
  const std::size_t dot = path.find('.');
  RT_ASSERT(dot != path.npos);
  const auto found = std::find_if(settings_.begin(), settings_.end(), [&](const Setting& it) {
    return it.section == path.substr(0, dot) && it.key == path.substr(dot + 1);
  });
  return found == settings_.end() ? nullptr : &*found;
}

const Setting& SettingTable::at(std::string_view path) const noexcept {
  const Setting* setting = find(path);
  RT_ASSERT(setting != nullptr);
  return *setting;
}

void SettingTable::store(const Configuration& values) const {
  for (const Setting& setting : settings_) {
    if (setting.options != nullptr) setting.store(setting.options, values.of(setting));
  }
  for (const Setting& follower : followers_) {
    if (follower.options == nullptr) continue;
    follower.store(follower.options, values.of(at(setting_path(follower))));
  }
}

}  // namespace corelane::services::config
