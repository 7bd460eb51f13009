#include "pool.h"

#include "buffer.h"

#include <algorithm>
#include <cfenv>
#include <chrono>
#include <new>
#include <system_error>
#include <thread>

#if defined(_WIN32)
#include <process.h>
#define getpid _getpid
#else
#include <unistd.h>
#endif

namespace sharpbit {

constexpr size_t kMostScratch = size_t{1} << (sizeof(size_t) > 4 ? 34 : 30);

void Job::work() {
  // Memory stays with its thread: fresh pages for each image would cost more than an LR image.
  thread_local Buffer scratch;
  thread_local size_t size = 0;
  const auto bytes = [&](size_t needed) {
    if (needed > kMostScratch) throw std::bad_alloc();
    if (size < needed) {
      scratch.reset();
      size = 0;
      scratch = make_buffer(needed);
      size = needed;
    }
    return scratch.get();
  };
  const int parts = shared_ ? shared_->parts() : plan_.regions();
  for (int i = next_++; i < parts && !stop_.load(std::memory_order_relaxed); i = next_++) {
    if (shared_) {
      shared_->run(i, bytes, stop_);
      continue;
    }
    const Region region = plan_.region(image_, i);
    network_.run(image_, region, bytes(network_.scratch_bytes(image_, region)), stop_);
  }
}

Pool &Pool::mine() {
  struct Owned {
    Pool pool;
    decltype(getpid()) process = getpid();
  };
  static std::atomic<Owned *> current{nullptr};
  Owned *owned = current.load(std::memory_order_acquire);
  while (!owned || owned->process != getpid()) {
    // Never freed: its threads run until the process ends, and a mutex of the parent may be locked for ever.
    Owned *fresh = new Owned;
    if (current.compare_exchange_strong(owned, fresh, std::memory_order_acq_rel)) return fresh->pool;
    delete fresh;
  }
  return owned->pool;
}

void Pool::start(Job &job, int threads) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const int tickets = job.tickets(threads);
  tickets_.reserve(tickets_.size() + size_t(tickets));  // from here on nothing can fail half-way
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  const int wanted = static_cast<int>(tickets_.size()) + tickets - idle_;  // so many lack a thread
  const int allowed = std::max(cores, tickets) - threads_;
  for (int i = 0; i < std::min(wanted, allowed); i++) {
    try {
      std::thread(serve, this).detach();
      threads_++;
      idle_++;
    } catch (const std::system_error &) {  // fewer threads do as well
      if (threads_ == 0) throw std::bad_alloc();
      break;
    }
  }
  for (int i = 0; i < tickets; i++) tickets_.push_back(&job);
  job.open_ = tickets;
  for (int i = 0; i < tickets; i++) work_.notify_one();
}

void Pool::serve(Pool *pool) {
  std::fesetenv(FE_DFL_ENV);  // a new thread inherits the rounding mode of whoever made it
  std::unique_lock<std::mutex> lock(pool->mutex_);
  for (;;) {
    pool->work_.wait(lock, [&] { return !pool->tickets_.empty(); });
    Job &job = *pool->tickets_.front();
    pool->tickets_.erase(pool->tickets_.begin());
    pool->idle_--;
    lock.unlock();
    bool no_memory = false;
    try {
      job.work();
    } catch (const std::bad_alloc &) {
      no_memory = true;
    }
    lock.lock();
    pool->idle_++;
    if (no_memory) {
      job.no_memory_ = true;
      job.stop_ = true;
    }
    job.open_--;
    pool->finish(job);
  }
}

// While the mutex is held: afterwards the job may be gone.
void Pool::finish(Job &job) {
  if (job.open_ == 0) job.ended_.notify_all();
}

State Pool::state(const Job &job) const {
  if (job.open_ > 0) return State::running;
  return job.no_memory_ ? State::no_memory : job.cancelled_ ? State::cancelled : State::done;
}

State Pool::wait(Job &job, int milliseconds) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto ended = [&] { return job.open_ == 0; };
  if (milliseconds < 0) {
    job.ended_.wait(lock, ended);
  } else if (milliseconds > 0) {
    job.ended_.wait_for(lock, std::chrono::milliseconds(milliseconds), ended);
  }
  return state(job);
}

void Pool::cancel(Job &job) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (job.open_ == 0) return;  // it was faster
  job.stop_ = true;
  job.cancelled_ = true;
  const auto mine = std::remove(tickets_.begin(), tickets_.end(), &job);
  job.open_ -= static_cast<int>(tickets_.end() - mine);
  tickets_.erase(mine, tickets_.end());
  finish(job);
}

}  // namespace sharpbit
