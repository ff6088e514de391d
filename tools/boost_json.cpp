// The one place that compiles Boost.JSON, which Debian ships as headers with a separate source: all
// others include <boost/json.hpp> and link this.

#include <boost/json/src.hpp>
