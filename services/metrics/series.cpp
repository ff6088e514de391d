#include "services/metrics/series.hpp"

#include <algorithm>

namespace corelane::services {

std::vector<SeriesPoint> Series::last(std::size_t most) const {
  const std::size_t count = std::min(most, count_);
  std::vector<SeriesPoint> points;
  points.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    points.push_back(points_[(next_ + kPoints - count + i) % kPoints]);
  }
  return points;
}

}  // namespace corelane::services
