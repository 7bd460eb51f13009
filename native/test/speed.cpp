// How fast each instruction set does each shape of layer: one thread, one row at a time, in cycles a pixel.
//   speed [slices] [instruction set,...] [inputs-outputs,...] [slopes]
//
// AMX has two states that change within milliseconds with what a neighbour on the same core does ("busy": half of the
// products, and loads that take three times as long). So the limit is measured in registers before and after every
// slice of 0.2 ms, and slices are sorted by it: quiet near the highest limit of the run, busy below two thirds of it.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include "chain.h"
#include "chains.h"

using namespace sharpbit;

// Time that this thread had, in seconds: what other programs take does not count.
static double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

// Cycles a second. Multiplications that depend on each other take three cycles each on all x86 processors of today; on
// others the time of a billionth of a second is taken for a cycle.
static double clock_rate() {
#if defined(__x86_64__)
  const double begin = now();
  double cycles = 0;
  do {
    uint64_t x = 0;
    for (int i = 0; i < 2000; i++) __asm__ volatile("imul %0,%0\n imul %0,%0\n imul %0,%0\n imul %0,%0\n" : "+r"(x));
    cycles += 2000 * 4 * 3;
  } while (now() - begin < 0.0001);
  return cycles / (now() - begin);
#else
  return 1e9;
#endif
}

// A layer as the second of a chain or, with three inputs, the first; then one that takes its outputs up.
static Chain one_layer(Random &random, int inputs, int outputs, bool sloped, const Isa &isa,
                       std::vector<int8_t> &weights) {
  Chain chain;
  chain.scale = 1;
  weights.resize(size_t(outputs) * std::max(inputs, 3) * 9);
  for (int8_t &w : weights) w = int8_t(uniform(random, -127, 127));
  for (int i = 0; i < 2; i++) {
    Layer layer;
    layer.inputs = i ? outputs : inputs;
    layer.outputs = i ? 3 : outputs;
    layer.in_blocks = i || inputs > 3 ? (layer.inputs + kBlock - 1) / kBlock : 0;
    layer.out_blocks = (layer.outputs + kBlock - 1) / kBlock;
    layer.weight = weights.data();
    layer.bias.assign(size_t(layer.out_blocks) * kBlock, 100);
    layer.multiplier.assign(3 * layer.bias.size(), 2e-6f);
    std::fill(layer.multiplier.end() - ptrdiff_t(layer.bias.size()), layer.multiplier.end(), 0.0f);
    layer.sloped = sloped;
    chain.layers.push_back(std::move(layer));
  }
  pack(chain, isa);
  return chain;
}

struct Slices {
  std::vector<std::pair<double, double>> found;  // limit in products a cycle, cycles a pixel

  // That one in twenty slices reaches: single ones may be wrong, where the clock changed just then.
  double highest_limit() const {
    std::vector<double> limits;
    for (const auto &one : found) limits.push_back(one.first);
    std::sort(limits.begin(), limits.end());
    return limits.empty() ? 0 : limits[limits.size() * 19 / 20];
  }

  // The fastest tenth of those whose limit lies within; 0 where there are too few.
  double tenth(double from, double to, size_t &count) const {
    std::vector<double> cycles;
    for (const auto &[limit, cost] : found)
      if (limit >= from && limit < to) cycles.push_back(cost);
    std::sort(cycles.begin(), cycles.end());
    count = cycles.size();
    return count < 5 ? 0 : cycles[count / 10];
  }
};

// Products a cycle. Asking for the time of a thread takes a third of a microsecond, so it is done seldom.
static double limit(const Isa &isa, double rate) {
  for (uint64_t rounds = 200;; rounds *= 2) {
    const double begin = now(), products = double(isa.peak(rounds)), took = now() - begin;
    if (took > 0.00003) return products / took / rate;
  }
}

static void slice(const Isa &isa, const Layer &layer, uint8_t *ring, size_t row_bytes, uint8_t *out, int width,
                  Slices &slices) {
  const double rate = clock_rate(), before = limit(isa, rate);
  if (isa.begin) isa.begin();
  const double begin = now();
  double pixels = 0;
  do {
    for (int y = 0; y < 3; y++, pixels += width) {
      const uint8_t *rows[3];
      for (int k = 0; k < 3; k++) rows[k] = ring + size_t((y + k) % 3) * row_bytes;
      layer.row(rows, layer.packed.get(), layer.bias.data(), layer.multiplier.data(), out, width, nullptr);
    }
  } while (now() - begin < 0.0002);
  const double cost = (now() - begin) / pixels;
  if (isa.end) isa.end();
  const double after = limit(isa, rate), rate_after = clock_rate();
  if (std::abs(rate_after - rate) > 0.05 * rate) return;  // the clock has changed in between
  const double quieter = std::max(before, after), busier = std::min(before, after);
  if (busier > 0.8 * quieter) slices.found.emplace_back(busier, cost * rate);
}

static bool named(const std::string &list, const std::string &name) {
  return list == "all" || ("," + list + ",").find("," + name + ",") != std::string::npos;
}

int main(int count, char **arguments) {
  const int slices = count > 1 ? std::atoi(arguments[1]) : 200;
  const std::string isas = count > 2 ? arguments[2] : "all", shapes = count > 3 ? arguments[3] : "all";
  const bool sloped = count > 4;
  const int width = 640;
  Random random(1);
  std::printf("%d slices of 0.2 ms, width %d; fastest tenth, cycles a pixel (products a cycle, share of limit)\n\n",
              slices, width);
  std::printf("| layer | instruction set | limit | quiet | slices | busy | slices |\n|---|---|---|---|---|---|---|\n");
  for (const int inputs : {3, 16, 32, 48, 64})
    for (const int outputs : {16, 32, 48, 64}) {
      if (!named(shapes, std::to_string(inputs) + "-" + std::to_string(outputs))) continue;
      std::vector<const Isa *> sets;
      for (const Isa *const *isa = kInstructionSets; *isa; isa++)
        if ((*isa)->supported() && named(isas, (*isa)->name) && (*isa)->peak(1)) sets.push_back(*isa);
      std::vector<Chain> chains;
      std::vector<int8_t> weights;
      for (const Isa *isa : sets) chains.push_back(one_layer(random, inputs, outputs, sloped, *isa, weights));
      const size_t row_bytes = size_t(width + kMaxTile + 4) * 64 * 2 + 64;
      Buffer ring = make_buffer(3 * row_bytes), out = make_buffer(row_bytes);
      for (size_t i = 0; i < 3 * row_bytes; i++) ring[i] = uint8_t(random());
      std::vector<Slices> found(sets.size());
      for (int n = 0; n < slices; n++)
        for (size_t i = 0; i < sets.size(); i++) {
          const Layer &layer = chains[i].layers[0];
          // Column 0 starts a cache line, as in a chain.
          const int channels = layer.in_blocks ? layer.in_blocks * kBlock : 4;
          const size_t pixel = size_t(channels * channel_bytes(sets[i]->activation));
          slice(*sets[i], layer, ring.get() + whole_lines(pixel) - pixel, row_bytes, out.get(), width, found[i]);
        }
      for (size_t i = 0; i < sets.size(); i++) {
        const double most = found[i].highest_limit();
        size_t quiet_count, busy_count;
        const double quiet = found[i].tenth(0.85 * most, 2 * most, quiet_count);
        const double busy = found[i].tenth(0, 0.65 * most, busy_count), products = 9.0 * inputs * outputs;
        std::printf("| %d -> %d | %s | %.0f | %.1f (%.0f, %.0f %%) | %zu | %.1f (%.0f) | %zu |\n", inputs, outputs,
                    sets[i]->name, most, quiet, quiet > 0 ? products / quiet : 0,
                    quiet > 0 ? 100 * products / quiet / most : 0, quiet_count, busy,
                    busy > 0 ? products / busy : 0, busy_count);
        std::fflush(stdout);
      }
    }
}
