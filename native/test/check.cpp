// Runs random chains on every instruction set, at many sizes and thread counts, against the plainest implementation;
// then the pool: several callers at once, cancelling, forking. Meant for builds with sanitizers.
//   check [chains] [seed] [nofork]    (an emulator may not be able to fork a process that has threads)
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "chains.h"

#if defined(__unix__)
#include <sys/wait.h>
#include <unistd.h>
#endif

static int failures = 0;

static void expect(bool right, const char *what) {
  if (right) return;
  std::fprintf(stderr, "wrong: %s\n", what);
  failures++;
}

static sb_chain *open_chain(const PlainChain &chain, const char *isa) {
  const Bytes payload = chain.payload();
  sb_chain *opened = nullptr;
  char message[256];
  if (sb_open(payload.data(), payload.size(), isa, &opened, message, sizeof message) != SB_DONE) {
    std::fprintf(stderr, "not opened: %s\n", message);
    std::exit(1);
  }
  return opened;
}

static void compare(Random &random, int chains) {
  for (int n = 0; n < chains; n++) {
    const PlainChain chain = random_chain(random, 6);
    const int height = uniform(random, 1, 24), width = uniform(random, 0, 4) ? uniform(random, 1, 60) : 400;
    const Bytes image = random_image(random, width > 60 ? 3 : height, width);
    const int rows = width > 60 ? 3 : height;
    const Bytes wanted = chain.run(image, rows, width);
    for (const std::string &isa : instruction_sets()) {
      sb_chain *opened = open_chain(chain, isa.c_str());
      for (int threads = 1; threads <= 3; threads++) {
        Bytes out;
        const int32_t state = run_to_end(opened, image, rows, width, chain.scale, threads, out);
        if (state == SB_DONE && out == wanted) continue;
        std::fprintf(stderr, "%s, chain %d, %dx%d, %d threads, state %d:\n", isa.c_str(), n, width, rows, threads,
                     int(state));
        expect(false, "not what the plain implementation gives");
      }
      sb_close(opened);
    }
  }
}

static void many_callers(Random &random) {
  const PlainChain chain = random_chain(random, 5);
  const Bytes image = random_image(random, 20, 30), wanted = chain.run(image, 20, 30);
  sb_chain *opened = open_chain(chain, nullptr);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 6; i++)
    callers.emplace_back([&, i] {
      for (int n = 0; n < 20; n++) {
        Bytes out;
        wrong += run_to_end(opened, image, 20, 30, chain.scale, 1 + (i + n) % 4, out) != SB_DONE || out != wanted;
      }
    });
  for (std::thread &caller : callers) caller.join();
  expect(wrong == 0, "several callers at once");
  sb_close(opened);
}

static void cancelled(Random &random) {
  const PlainChain chain = random_chain(random, 5);
  const int height = 2000, width = 200;
  const Bytes image = random_image(random, height, width);
  Bytes out(image.size() * size_t(chain.scale * chain.scale));
  sb_chain *opened = open_chain(chain, "c");
  for (int delay : {0, 0, 1, 5}) {
    sb_job *job = nullptr;
    sb_start(opened, image.data(), width * 3, out.data(), width * 3 * chain.scale, height, width, 3, &job);
    if (delay) expect(sb_wait(job, delay) == SB_RUNNING, "still running");
    sb_cancel(job);
    expect(sb_wait(job, -1) == SB_CANCELLED, "cancelled");
    sb_free(job);
  }
  sb_close(opened);
}

static void forked(Random &random) {
#if defined(__unix__) && !defined(__SANITIZE_THREAD__)  // the thread sanitizer refuses threads after a fork
  const PlainChain chain = random_chain(random, 3);
  const Bytes image = random_image(random, 9, 9), wanted = chain.run(image, 9, 9);
  sb_chain *opened = open_chain(chain, nullptr);
  Bytes out;
  expect(run_to_end(opened, image, 9, 9, chain.scale, 2, out) == SB_DONE, "before the fork");
  const pid_t child = fork();
  if (child == 0) _exit(run_to_end(opened, image, 9, 9, chain.scale, 2, out) == SB_DONE && out == wanted ? 0 : 1);
  int status = 1;
  waitpid(child, &status, 0);
  expect(status == 0, "a child after a fork");
  sb_close(opened);
#else
  (void)random;
#endif
}

// Against sums in double: both ways to add columns, of which one takes only pixels that lie close together.
static void resized(Random &random) {
  for (int n = 0; n < 60; n++) {
    const int high = uniform(random, 1, 20), wide = uniform(random, 1, 40), height = uniform(random, 1, 30);
    const int width = uniform(random, 1, 60), down = uniform(random, 1, std::min(high, 5));
    const int across = uniform(random, 1, std::min(wide, 7));
    const Bytes image = random_image(random, high, wide);
    std::vector<int32_t> rows, columns;
    std::vector<float> row_weights, column_weights;
    const auto weigh = [&](int count, int size, int taps, std::vector<int32_t> &first, std::vector<float> &weights) {
      for (int i = 0; i < count; i++) {
        first.push_back(uniform(random, 0, 1) ? std::min(i, size - taps) : uniform(random, 0, size - taps));
        for (int k = 0; k < taps; k++) weights.push_back(float(uniform(random, -300, 1000)) / float(700 * taps));
      }
    };
    weigh(height, high, down, rows, row_weights);
    weigh(width, wide, across, columns, column_weights);
    Bytes out(size_t(height) * size_t(width) * 3);
    const auto resize = [&](ptrdiff_t stride, const std::vector<int32_t> &first, int taps) {
      return sb_resize(image.data(), stride, high, wide, out.data(), height, width, first.data(), row_weights.data(),
                       taps, columns.data(), column_weights.data(), across);
    };
    expect(resize(wide * 3, rows, down) == SB_DONE, "resized");
    double worst = 0;
    for (int y = 0; y < height; y++)
      for (int x = 0; x < width * 3; x++) {
        double sum = 0;
        for (int i = 0; i < down * across; i++) {
          const int row = rows[size_t(y)] + i / across, column = columns[size_t(x / 3)] + i % across;
          sum += double(row_weights[size_t(y * down + i / across)]) *
                 double(column_weights[size_t(x / 3 * across + i % across)]) *
                 image[size_t((row * wide + column) * 3 + x % 3)];
        }
        const double level = std::min(255.0, std::max(0.0, sum));
        worst = std::max(worst, std::abs(level - out[size_t(y * width * 3 + x)]));
      }
    expect(worst < 0.501, "samples of another size");
    std::vector<int32_t> behind = rows;
    behind.back() = high - down + 1;
    expect(resize(wide * 3, behind, down) == SB_ERROR_SIZE && resize(wide * 3 - 1, rows, down) == SB_ERROR_SIZE &&
               resize(wide * 3, rows, high + 1) == SB_ERROR_SIZE,
           "rows that are not there");
  }
}

static void refused() {
  PlainChain chain{1, {{3, 3, std::vector<int8_t>(81, 1), {0, 0, 0}, {1, 1, 1}, {}, {}, -1, {}}}, false};
  sb_chain *opened = open_chain(chain, nullptr);
  uint8_t bytes[64] = {};
  sb_job *job = nullptr;
  const auto start = [&](ptrdiff_t in, ptrdiff_t out, int height, int width, int threads) {
    return sb_start(opened, bytes, in, bytes + 32, out, height, width, threads, &job) == SB_ERROR_SIZE && !job;
  };
  const int64_t most = INT64_MAX;
  expect(start(3, 3, 0, 1, 1) && start(3, 3, 1, 0, 1) && start(3, 3, -1, 1, 1) && start(3, 3, 1, 65536, 1), "sides");
  expect(start(5, 6, 1, 2, 1) && start(6, 5, 1, 2, 1) && start(-6, 6, 2, 2, 1), "strides");
  expect(start(ptrdiff_t(most), 6, 2, 2, 1) && start(6, ptrdiff_t(most / 2 + 1), 2, 2, 1), "strides that overflow");
  expect(start(3, 3, 1, 1, 0) && start(3, 3, 1, 1, 257), "threads");
  sb_chain *none = nullptr;
  const Bytes payload = chain.payload();
  char message[8];
  expect(sb_open(payload.data(), payload.size(), "mmx", &none, message, 8) == SB_ERROR_ISA && !none, "instruction set");
  expect(std::strlen(message) == 7, "a message that is cut");
  sb_close(opened);
  sb_close(nullptr);
  sb_free(nullptr);
}

int main(int count, char **arguments) {
  const int chains = count > 1 ? std::atoi(arguments[1]) : 40;
  Random random(count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 0);
  refused();
  compare(random, chains);
  resized(random);
  many_callers(random);
  cancelled(random);
  if (count <= 3) forked(random);
  std::printf("%d chains on %s: %d wrong\n", chains, sb_instruction_sets(), failures);
  return failures != 0;
}
