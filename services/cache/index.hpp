#pragma once
// CacheIndex: finds an entry by its hash. Private to the cache's table. A bucket is one cache line
// of 12 places with a byte of the hash each, so a lookup touches that line and the entry that it
// finds. It grows and shrinks bucket by bucket (linear hashing: Litwin, 1980), so that no write
// pays for the whole table, and no second table exists in the meantime.
//
//   buckets: 2^level + split;   a key's: its hash modulo 2^(level+1), or modulo 2^level if that
//   bucket is not there yet
//
// A walk goes through the buckets in the order of the reversed low 32 bits of the hash. The keys
// of a bucket are neighbours in that order however many buckets there are, so a cursor (a position
// in it) stays right while the table grows and shrinks.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "runtime/assert.hpp"
#include "services/cache/entry.hpp"

namespace corelane::services {

class CacheIndex {
 public:
  // The hash of an entry; keys are not stored here.
  struct HashOf {
    std::uint64_t (*function)(const void* context, EntryRef ref) noexcept;
    const void* context;
    std::uint64_t operator()(EntryRef ref) const noexcept { return function(context, ref); }
  };

  explicit CacheIndex(HashOf hash_of);
  ~CacheIndex();
  CacheIndex(const CacheIndex&) = delete;
  CacheIndex& operator=(const CacheIndex&) = delete;

  // The first entry with that byte of the hash for which matches(ref) is true; 0: none.
  template <class Matches>
  EntryRef find(std::uint64_t hash, Matches&& matches) const noexcept {
    const std::uint8_t tag = tag_of(hash);
    const Bucket* bucket = &bucket_of(hash);
    for (;;) {
      for (std::uint32_t hits = places(*bucket, tag); hits != 0; hits &= hits - 1) {
        const EntryRef ref = bucket->refs[static_cast<std::size_t>(std::countr_zero(hits))];
        if (matches(ref)) [[likely]]
          return ref;
      }
      if (bucket->more == 0) [[likely]]
        return 0;
      bucket = &more_[bucket->more / kChunkBuckets][bucket->more % kChunkBuckets];
    }
  }
  void prefetch(std::uint64_t hash) const noexcept { __builtin_prefetch(&bucket_of(hash)); }

  void insert(std::uint64_t hash, EntryRef ref);
  void erase(std::uint64_t hash, EntryRef ref) noexcept;
  void replace(std::uint64_t hash, EntryRef from, EntryRef to) noexcept;

  std::size_t size() const noexcept { return size_; }
  std::size_t bytes() const noexcept;
  // The most that the next insert() adds to bytes().
  std::size_t growth_bytes() const noexcept;

  // The entries of the bucket at `cursor`, in no order, from that position on. Returns the next
  // cursor; 0: the end. `to` has its old content replaced.
  std::uint64_t walk(std::uint64_t cursor, std::vector<EntryRef>& to) const;

 private:
  static constexpr std::size_t kPlaces = 12;
  // A line of its own where the allocator aligns 16 KiB naturally, as mimalloc does; if it is asked
  // for the alignment, it takes a quarter more.
  struct Bucket {
    std::array<std::uint8_t, kPlaces> tags{};  // 0: the place is free
    std::uint32_t more = 0;                    // a bucket behind this one, in more_
    std::array<EntryRef, kPlaces> refs{};
  };
  static_assert(sizeof(Bucket) == 64);
  static constexpr std::uint32_t kChunkBuckets = 256;
  static constexpr std::size_t kChunkBytes = kChunkBuckets * sizeof(Bucket);
  // Entries a bucket at which it grows and shrinks. At 8 a table takes 8 to 10 bytes an entry, and
  // one bucket in six has another behind it.
  static constexpr std::size_t kFill = 8;
  static constexpr std::size_t kShrinkFill = 5;

  static std::uint8_t tag_of(std::uint64_t hash) noexcept {
    const auto tag = static_cast<std::uint8_t>(hash >> 32);
    return tag == 0 ? std::uint8_t{255} : tag;
  }
  // Bit i: place i has that tag. A byte of `x` becomes 0x80 if it is 0 (exactly: no carries).
  static std::uint32_t places(const Bucket& bucket, std::uint8_t tag) noexcept {
    constexpr std::uint64_t kLow = 0x7f7f7f7f7f7f7f7f;
    const std::uint64_t pattern = std::uint64_t{0x0101010101010101} * tag;
    std::uint64_t first;
    std::uint32_t last;
    std::memcpy(&first, bucket.tags.data(), 8);
    std::memcpy(&last, bucket.tags.data() + 8, 4);
    const auto zeros = [](std::uint64_t x) noexcept {
      const std::uint64_t marks = ~(((x & kLow) + kLow) | x | kLow);
      return static_cast<std::uint32_t>((marks >> 7) * std::uint64_t{0x0102040810204080} >> 56);
    };
    // The upper half is no tag: made different from the pattern.
    const std::uint64_t upper = last | (~pattern & 0xffffffff00000000);
    return zeros(first ^ pattern) | zeros(upper ^ pattern) << 8;
  }

  std::uint32_t address(std::uint64_t hash) const noexcept {
    const auto low = static_cast<std::uint32_t>(hash);
    const std::uint32_t wide = low & (2 * level_size_ - 1);
    return wide < buckets_ ? wide : low & (level_size_ - 1);
  }
  Bucket& at(std::uint32_t index) const noexcept {
    return chunks_[index / kChunkBuckets][index % kChunkBuckets];
  }
  Bucket& bucket_of(std::uint64_t hash) const noexcept { return at(address(hash)); }
  Bucket& more_at(std::uint32_t index) const noexcept {
    return more_[index / kChunkBuckets][index % kChunkBuckets];
  }
  // The place of an entry that is there.
  struct Place {
    Bucket* bucket;
    Bucket* before;  // null: it is the first of its chain
    std::size_t at;
  };
  Place find_place(std::uint64_t hash, EntryRef ref) const noexcept;
  void put(Bucket& first, std::uint8_t tag, EntryRef ref);
  bool is_out_of_more() const noexcept {
    return more_free_ == 0 && more_used_ == more_.size() * kChunkBuckets;
  }
  void add_chunk(std::vector<Bucket*>& to);
  void drop_chunk(std::vector<Bucket*>& from) noexcept;
  std::uint32_t take_more();
  void give_more(std::uint32_t index) noexcept;
  void split();
  void merge();
  void scatter(Bucket& first);

  HashOf hash_of_;
  std::vector<Bucket*> chunks_;
  std::vector<Bucket*> more_;
  std::uint32_t more_free_ = 0;   // first free one, by `more`
  std::uint32_t more_used_ = 1;   // those below were taken at least once; 0 is none
  std::uint32_t buckets_ = 0;     // level_size_ + split
  std::uint32_t level_size_ = 0;  // 2^level
  std::size_t size_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace corelane::services
