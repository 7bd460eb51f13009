// Threads that stay: they sleep until there is a job, and every job shares them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "network.h"
#include "plan.h"

namespace sharpbit {

class Pool;

enum class State { running, done, cancelled, no_memory };

// One image on its way through a network.
class Job {
 public:
  Job(const Network &network, const ImageData &image, int threads)
      : network_(network), image_(image), plan_(make_plan(network, image, threads)),
        shared_(shared_image(network, image, threads)) {}

  int tickets(int threads) const {
    const int most = shared_ ? shared_->together() : plan_.regions();
    return threads < most ? threads : most;
  }

 private:
  friend class Pool;
  void work();  // takes regions, or parts, until there are none left

  const Network &network_;
  const ImageData image_;
  const Plan plan_;
  const std::unique_ptr<SharedImage> shared_;
  std::atomic<int> next_{0};
  std::atomic<bool> stop_{false};
  // Guarded by the mutex of the pool:
  int open_ = 0;  // tickets that no thread has finished
  bool cancelled_ = false, no_memory_ = false;
  std::condition_variable ended_;
};

class Pool {
 public:
  // The pool of this process: after a fork the child has none of the threads and gets a new one.
  static Pool &mine();

  // Lets `threads` threads work on the job. Throws std::bad_alloc if not a single thread can be had.
  void start(Job &job, int threads);
  State wait(Job &job, int milliseconds);  // below 0: until it has ended
  void cancel(Job &job);

 private:
  static void serve(Pool *pool);
  State state(const Job &job) const;
  void finish(Job &job);

  std::mutex mutex_;
  std::condition_variable work_;
  std::vector<Job *> tickets_;  // first come, first served
  int threads_ = 0, idle_ = 0;
};

}  // namespace sharpbit
