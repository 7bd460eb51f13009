// The C interface: every pointer, size and byte that comes in is checked here, and no exception goes out.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "network.h"
#include "pool.h"
#include "sharpbit.h"

struct sb_chain {
  std::unique_ptr<sharpbit::Network> network;
};

struct sb_job {
  sb_job(const sharpbit::Network &network, const sharpbit::ImageData &image, int threads)
      : pool(&sharpbit::Pool::mine()), job(network, image, threads) {}

  sharpbit::Pool *pool;
  sharpbit::Job job;

  // After a fork the child has the job but none of the threads that worked on it.
  bool lost() const { return pool != &sharpbit::Pool::mine(); }
};

namespace {

constexpr int kMaxSide = 65535, kMaxThreads = 256;

const sharpbit::Isa *find(const char *name) {
  for (const sharpbit::Isa *const *isa = sharpbit::kInstructionSets; *isa; isa++)
    if ((*isa)->supported() && (!name || std::strcmp(name, (*isa)->name) == 0)) return *isa;
  return nullptr;
}

void say(char *message, size_t size, const std::string &text) {
  if (!message || size == 0) return;
  const size_t count = std::min(text.size(), size - 1);
  std::memcpy(message, text.data(), count);
  message[count] = 0;
}

bool holds(ptrdiff_t stride, int64_t rows, int64_t row_bytes) {
  return stride >= row_bytes && stride <= std::numeric_limits<ptrdiff_t>::max() / rows;
}

}  // namespace

int32_t sb_abi(void) { return SB_ABI; }

const char *sb_instruction_sets(void) {
  static const std::string names = [] {
    std::string all;
    for (const sharpbit::Isa *const *isa = sharpbit::kInstructionSets; *isa; isa++)
      if ((*isa)->supported()) all += (all.empty() ? "" : " ") + std::string((*isa)->name);
    return all;
  }();
  return names.c_str();
}

int32_t sb_open(const uint8_t *data, size_t size, const char *instruction_set, sb_chain **chain, char *message,
                size_t message_size) {
  if (!chain || (!data && size)) return SB_ERROR_MODEL;
  *chain = nullptr;
  say(message, message_size, "");
  try {
    const sharpbit::Isa *isa = find(instruction_set);
    if (!isa) {
      say(message, message_size,
          "no instruction set '" + std::string(instruction_set ? instruction_set : "") +
              "' here; there are: " + sb_instruction_sets());
      return SB_ERROR_ISA;
    }
    auto opened = std::make_unique<sb_chain>();
    opened->network = sharpbit::read_network(data, size, *isa);
    *chain = opened.release();
    return SB_DONE;
  } catch (const sharpbit::ModelError &error) {
    say(message, message_size, error.what());
    return SB_ERROR_MODEL;
  } catch (const std::bad_alloc &) {
    return SB_ERROR_MEMORY;
  }
}

void sb_close(sb_chain *chain) { delete chain; }

int32_t sb_scale(const sb_chain *chain) { return chain ? chain->network->enlarges() : SB_ERROR_MODEL; }

double sb_small_share(const sb_chain *chain) { return chain ? chain->network->small_share() : 0; }

int32_t sb_start(sb_chain *chain, const uint8_t *in, ptrdiff_t in_stride, uint8_t *out, ptrdiff_t out_stride,
                 int32_t height, int32_t width, int32_t threads, sb_job **job) {
  if (!job) return SB_ERROR_SIZE;
  *job = nullptr;
  if (!chain || !in || !out || height < 1 || height > kMaxSide || width < 1 || width > kMaxSide || threads < 1 ||
      threads > kMaxThreads)
    return SB_ERROR_SIZE;
  const int64_t scale = chain->network->enlarges();
  if (!holds(in_stride, height, int64_t{3} * width) || !holds(out_stride, height * scale, 3 * scale * width))
    return SB_ERROR_SIZE;
  try {
    const sharpbit::ImageData image{in, in_stride, out, out_stride, height, width};
    auto started = std::make_unique<sb_job>(*chain->network, image, threads);
    started->pool->start(started->job, threads);
    *job = started.release();
    return SB_DONE;
  } catch (const std::bad_alloc &) {
    return SB_ERROR_MEMORY;
  }
}

int32_t sb_wait(sb_job *job, int32_t milliseconds) {
  if (!job) return SB_ERROR_SIZE;
  if (job->lost()) return SB_CANCELLED;
  switch (job->pool->wait(job->job, milliseconds)) {
    case sharpbit::State::running: return SB_RUNNING;
    case sharpbit::State::cancelled: return SB_CANCELLED;
    case sharpbit::State::no_memory: return SB_ERROR_MEMORY;
    default: return SB_DONE;
  }
}

void sb_cancel(sb_job *job) {
  if (job && !job->lost()) job->pool->cancel(job->job);
}

void sb_free(sb_job *job) {
  if (!job || job->lost()) return;  // what a fork has cut off is left as it is
  job->pool->wait(job->job, -1);
  delete job;
}

int32_t sb_upscale(sb_chain *chain, const uint8_t *in, ptrdiff_t in_stride, uint8_t *out, ptrdiff_t out_stride,
                   int32_t height, int32_t width, int32_t threads) {
  sb_job *job = nullptr;
  const int32_t started = sb_start(chain, in, in_stride, out, out_stride, height, width, threads, &job);
  if (started != SB_DONE) return started;
  const int32_t state = sb_wait(job, -1);
  sb_free(job);
  return state;
}

double sb_peak(const char *instruction_set, int32_t threads, double seconds) {
  const sharpbit::Isa *isa = find(instruction_set);
  if (!isa || threads < 1 || threads > kMaxThreads || !(seconds > 0) || isa->peak(1) == 0) return 0;
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  std::vector<double> rates(size_t(threads), 0.0);
  // The best of a few slices in which all threads work: what is disturbed is no limit.
  const auto measure = [&](int thread) {
    for (int slice = 0; slice < 5; slice++) {
      const auto from = Clock::now(), until = begin + std::chrono::duration_cast<Clock::duration>(
                                                          std::chrono::duration<double>(seconds * (slice + 1) / 5));
      double products = 0;
      auto now = from;
      while (now < until) {
        products += static_cast<double>(isa->peak(2000));
        now = Clock::now();
      }
      const double time = std::chrono::duration<double>(now - from).count();
      if (time > 0) rates[size_t(thread)] = std::max(rates[size_t(thread)], products / time);
    }
  };
  try {
    std::vector<std::thread> others;
    others.reserve(size_t(threads));
    bool all = true;
    for (int i = 1; i < threads && all; i++) {
      try {
        others.emplace_back(measure, i);
      } catch (const std::system_error &) {
        all = false;
      }
    }
    if (all) measure(0);
    for (std::thread &other : others) other.join();
    double sum = 0;
    for (const double rate : rates) sum += rate;
    return all ? sum : 0;
  } catch (const std::bad_alloc &) {
    return 0;
  }
}
