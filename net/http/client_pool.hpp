#pragma once
// ClientPool: the connections of an HttpClient, by origin. A connection is open: leased to a
// request, or idle. Beyond connections_per_host requests wait, and a lease that ends hands its
// connection, or its place, to the first of them; so none overtakes another.
//
//   acquire() -> Lease { place, stream }      keep(): idle, or to the first that waits
//                                             else: the stream closes, the place goes to the first
//
// One an HttpClient, on its core. Sockets of the pool hold a timer only while they are idle.

#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/http/client.hpp"
#include "net/tcp.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/timer_heap.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::net::http::detail {

class ClientPool {
 private:
  struct Site;

 public:
  // A place among the connections of an origin, and mostly a connection.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept
        : stream(std::move(other.stream)),
          is_kept(other.is_kept),
          pool_(std::exchange(other.pool_, nullptr)),
          site_(other.site_) {}
    Lease& operator=(Lease&& other) noexcept;
    ~Lease() { drop(); }

    explicit operator bool() const noexcept { return pool_ != nullptr; }
    // Ends the connection there is, and makes a new one.
    runtime::Task<runtime::Result<void>> connect(const Url& url);
    // The connection is at the end of an answer, and good for another request.
    void keep() noexcept;
    // At the end of an answer, too, but the last one.
    void close() noexcept;
    // Cuts the connection off, wherever it is, and gives the place up.
    void drop() noexcept;

    TcpStream stream;
    bool is_kept = false;  // it has carried a request before

   private:
    friend class ClientPool;
    Lease(ClientPool& pool, Site& site) noexcept : pool_(&pool), site_(&site) {}

    ClientPool* pool_ = nullptr;
    Site* site_ = nullptr;
  };

  explicit ClientPool(HttpClient& client);
  ~ClientPool();
  ClientPool(const ClientPool&) = delete;
  ClientPool& operator=(const ClientPool&) = delete;

  // Waits for a place. Its stream is a kept one, or there is none yet. Errors: cancelled,
  // too_many_waiting.
  runtime::Task<runtime::Result<Lease>> acquire(const Url& url);
  void close_idle() noexcept;

  std::size_t idle() const noexcept { return idle_; }
  std::size_t open() const noexcept { return open_; }
  std::size_t waiting() const noexcept { return waiting_; }

  // Memory of exchanges that have ended, for the next ones.
  std::unique_ptr<Exchange> take_spare() noexcept;
  void keep_spare(std::unique_ptr<Exchange> exchange) noexcept;

 private:
  struct Idle {
    TcpStream stream;
    runtime::Nanoseconds since;
  };
  struct Site {
    std::string name;
    std::vector<Idle> idle;  // the one that came last is taken first
    std::size_t open = 0;
    runtime::WaitQueue waiting;
  };
  // How often idle connections are looked at: those that the server has ended are closed.
  static constexpr runtime::Nanoseconds kSweepInterval = 1 * runtime::kSecond;
  static constexpr std::size_t kSparesMax = 16;

  struct NameHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const noexcept {
      return std::hash<std::string_view>{}(name);
    }
  };
  struct SweepTimer : runtime::Timer {
    explicit SweepTimer(ClientPool& pool) noexcept : Timer(&fire_timer), owner(pool) {}
    static void fire_timer(Timer& timer) noexcept { static_cast<SweepTimer&>(timer).owner.sweep(); }
    ClientPool& owner;
  };

  Site& site_of(const Url& url);
  bool take_idle(Site& site, Lease& lease) noexcept;
  void give_back(Site& site, TcpStream stream) noexcept;
  void give_up_place(Site& site) noexcept;
  void remove_idle(Site& site, std::size_t index) noexcept;
  void remove_oldest() noexcept;
  void sweep() noexcept;
  void arm_sweep() noexcept;

  HttpClient& client_;
  runtime::Core& core_;
  std::unordered_map<std::string, std::unique_ptr<Site>, NameHash, std::equal_to<>> sites_;
  std::size_t open_ = 0;
  std::size_t idle_ = 0;
  std::size_t waiting_ = 0;
  SweepTimer sweep_timer_;
  std::vector<std::unique_ptr<Exchange>> spares_;
};

}  // namespace corelane::net::http::detail
