#include "services/cache/index.hpp"

#include <malloc.h>

#include <algorithm>
#include <utility>

namespace corelane::services {

namespace {

constexpr std::uint32_t kBucketsMin = 16;

constexpr std::uint32_t reversed(std::uint32_t bits) noexcept {
  bits = (bits >> 1 & 0x55555555) | (bits & 0x55555555) << 1;
  bits = (bits >> 2 & 0x33333333) | (bits & 0x33333333) << 2;
  bits = (bits >> 4 & 0x0f0f0f0f) | (bits & 0x0f0f0f0f) << 4;
  return __builtin_bswap32(bits);
}

}  // namespace

CacheIndex::CacheIndex(HashOf hash_of) : hash_of_(hash_of) {
  level_size_ = kBucketsMin;
  buckets_ = kBucketsMin;
  add_chunk(chunks_);
  add_chunk(more_);
}

CacheIndex::~CacheIndex() {
  while (!chunks_.empty()) drop_chunk(chunks_);
  while (!more_.empty()) drop_chunk(more_);
}

void CacheIndex::add_chunk(std::vector<Bucket*>& to) {
  to.push_back(new Bucket[kChunkBuckets]);
  bytes_ += ::malloc_usable_size(to.back());
}

void CacheIndex::drop_chunk(std::vector<Bucket*>& from) noexcept {
  bytes_ -= ::malloc_usable_size(from.back());
  delete[] from.back();
  from.pop_back();
}

std::size_t CacheIndex::bytes() const noexcept {
  return bytes_ + (chunks_.capacity() + more_.capacity()) * sizeof(Bucket*);
}

std::size_t CacheIndex::growth_bytes() const noexcept {
  // Allocators round up.
  const auto growth = [](const std::vector<Bucket*>& chunks) {
    const bool grows = chunks.size() == chunks.capacity();
    return kChunkBytes + kChunkBytes / 4 + (grows ? chunks.capacity() * sizeof(Bucket*) : 0);
  };
  std::size_t bytes = 0;
  const bool splits = size_ + 1 > std::size_t{buckets_} * kFill;
  if (splits && buckets_ == chunks_.size() * kChunkBuckets) bytes += growth(chunks_);
  if (is_out_of_more()) bytes += growth(more_);
  return bytes;
}

void CacheIndex::insert(std::uint64_t hash, EntryRef ref) {
  put(bucket_of(hash), tag_of(hash), ref);
  if (++size_ > std::size_t{buckets_} * kFill) split();
}

CacheIndex::Place CacheIndex::find_place(std::uint64_t hash, EntryRef ref) const noexcept {
  Place place{.bucket = &bucket_of(hash), .before = nullptr, .at = 0};
  for (;;) {
    const auto& refs = place.bucket->refs;
    const auto found = std::find(refs.begin(), refs.end(), ref);
    if (found != refs.end()) {
      place.at = static_cast<std::size_t>(found - refs.begin());
      return place;
    }
    RT_ASSERT(place.bucket->more != 0);
    place.before = std::exchange(place.bucket, &more_at(place.bucket->more));
  }
}

void CacheIndex::erase(std::uint64_t hash, EntryRef ref) noexcept {
  const Place place = find_place(hash, ref);
  place.bucket->tags[place.at] = 0;
  place.bucket->refs[place.at] = 0;
  if (place.before != nullptr && place.bucket->tags == decltype(Bucket::tags){}) {
    const std::uint32_t empty = std::exchange(place.before->more, place.bucket->more);
    give_more(empty);
  }
  --size_;
  if (buckets_ > kBucketsMin && size_ < std::size_t{buckets_} * kShrinkFill) merge();
}

void CacheIndex::replace(std::uint64_t hash, EntryRef from, EntryRef to) noexcept {
  const Place place = find_place(hash, from);
  place.bucket->refs[place.at] = to;
}

void CacheIndex::put(Bucket& first, std::uint8_t tag, EntryRef ref) {
  Bucket* bucket = &first;
  for (;;) {
    if (const std::uint32_t free = places(*bucket, 0); free != 0) {
      const auto place = static_cast<std::size_t>(std::countr_zero(free));
      bucket->tags[place] = tag;
      bucket->refs[place] = ref;
      return;
    }
    if (bucket->more == 0) bucket->more = take_more();
    bucket = &more_at(bucket->more);
  }
}

std::uint32_t CacheIndex::take_more() {
  if (more_free_ != 0) {
    Bucket& bucket = more_at(more_free_);
    const std::uint32_t index = std::exchange(more_free_, bucket.more);
    bucket = Bucket{};
    return index;
  }
  if (is_out_of_more()) add_chunk(more_);
  return more_used_++;
}

void CacheIndex::give_more(std::uint32_t index) noexcept {
  more_at(index).more = std::exchange(more_free_, index);
}

// Puts the entries of a chain where they belong now. It takes no more buckets from behind than the
// chain had: each is given back before its entries are put.
void CacheIndex::scatter(Bucket& first) {
  Bucket chain = std::exchange(first, Bucket{});
  for (;;) {
    const std::uint32_t more = chain.more;
    for (std::size_t i = 0; i < kPlaces; ++i) {
      if (chain.tags[i] == 0) continue;
      put(bucket_of(hash_of_(chain.refs[i])), chain.tags[i], chain.refs[i]);
    }
    if (more == 0) return;
    chain = more_at(more);
    give_more(more);
  }
}

void CacheIndex::split() {
  if (buckets_ == std::uint32_t{1} << 31) return;
  if (buckets_ == chunks_.size() * kChunkBuckets) add_chunk(chunks_);
  Bucket& divided = at(buckets_ - level_size_);
  at(buckets_) = Bucket{};
  if (++buckets_ == 2 * level_size_) level_size_ *= 2;
  scatter(divided);
}

void CacheIndex::merge() {
  // The entries that do not fit take one bucket from behind at most; erasing allocates nothing.
  if (is_out_of_more()) return;
  if (buckets_ == level_size_) level_size_ /= 2;
  Bucket& last = at(--buckets_);
  scatter(last);
  if (buckets_ + kChunkBuckets <= (chunks_.size() - 1) * kChunkBuckets) drop_chunk(chunks_);
}

std::uint64_t CacheIndex::walk(std::uint64_t cursor, std::vector<EntryRef>& to) const {
  const auto position = static_cast<std::uint32_t>(cursor);
  const std::uint32_t index = address(reversed(position));
  const bool deep = index >= level_size_ || index < buckets_ - level_size_;
  const std::uint64_t width =
      (std::uint64_t{1} << 32) / (std::uint64_t{level_size_} * (deep ? 2 : 1));
  const std::uint64_t begin = position / width * width;
  to.clear();
  for (const Bucket* bucket = &at(index);; bucket = &more_at(bucket->more)) {
    for (std::size_t i = 0; i < kPlaces; ++i) {
      if (bucket->tags[i] == 0) continue;
      const EntryRef ref = bucket->refs[i];
      // A bucket that was merged since holds what the walk has been past.
      if (position != begin && reversed(static_cast<std::uint32_t>(hash_of_(ref))) < position) {
        continue;
      }
      to.push_back(ref);
    }
    if (bucket->more == 0) break;
  }
  const std::uint64_t next = begin + width;
  return next == std::uint64_t{1} << 32 ? 0 : next;
}

}  // namespace corelane::services
