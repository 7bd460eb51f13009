#include "plan.h"

#include <algorithm>

#include "cpu.h"

namespace sharpbit {
namespace {

// Pixels that a cut recomputes: each of `parts` lacks the neighbours at its inner edges, on average half of the depth.
double computed(int size, int parts, int depth) {
  const int edges = parts == 1 ? 0 : parts == 2 ? 1 : 2;
  return (size + parts - 1) / parts + edges * (depth - 1) / 2.0;
}

// The widest strip whose rows fit into the cache; but never so narrow that recomputing outweighs what the cache gives.
// (Measured on Zen 5: half of the cache costs 2 % more, and no strips at all cost no more where the last cache is
// idle.)
int strip_width(const Chain &chain) {
  const size_t column = (scratch_bytes(chain, 4096) - scratch_bytes(chain, 0)) / 4096;
  const int fits = static_cast<int>(cpu::l2_bytes() / column);
  return std::max(fits, 16 * chain.depth());
}

}  // namespace

Region Plan::region(const ImageData &image, int index) const {
  const auto cut = [](int size, int parts, int part) {
    return static_cast<int>(int64_t{size} * part / parts);
  };
  const int band = index / strips, strip = index % strips;
  return {cut(image.height, bands, band), cut(image.height, bands, band + 1), cut(image.width, strips, strip),
          cut(image.width, strips, strip + 1)};
}

Plan make_plan(const Chain &chain, const ImageData &image, int threads) {
  const int width = strip_width(chain), least = (image.width + width - 1) / width;
  Plan best;
  double cost = 0;
  // The slowest thread decides. Of equal plans the first, with the fewest regions, is taken.
  for (int strips = least; strips <= std::min(least + threads, image.width); strips++) {
    for (int bands = 1; bands <= std::min(threads, image.height); bands++) {
      const int rounds = (strips * bands + threads - 1) / threads;
      const double now = rounds * computed(image.height, bands, chain.depth()) *
                         computed(image.width, strips, chain.depth());
      if (cost == 0 || now < cost) best = {bands, strips}, cost = now;
    }
  }
  return best;
}

}  // namespace sharpbit
