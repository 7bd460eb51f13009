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
int strip_width(const Network &network) {
  const int fits = static_cast<int>(cpu::l2_bytes() / std::max<size_t>(network.column_bytes(), 1));
  return std::max(fits, 16 * network.halo());
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

Plan make_plan(const Network &network, const ImageData &image, int threads) {
  if (!network.divides()) return {};
  const int width = strip_width(network), least = (image.width + width - 1) / width;
  Plan best;
  double cost = 0;
  // The slowest thread decides. Of equal plans the first, with the fewest regions, is taken.
  for (int strips = least; strips <= std::min(least + threads, image.width); strips++) {
    for (int bands = 1; bands <= std::min(threads, image.height); bands++) {
      const int rounds = (strips * bands + threads - 1) / threads;
      const double now = rounds * computed(image.height, bands, network.halo()) *
                         computed(image.width, strips, network.halo());
      if (cost == 0 || now < cost) best = {bands, strips}, cost = now;
    }
  }
  // Where parts may take long, smaller ones, so that no thread waits for the last.
  const int most = image.height / std::max(4 * network.halo(), 1);
  if (threads > 1) best.bands = std::max(best.bands, std::min(best.bands * network.uneven(), most));
  return best;
}

}  // namespace sharpbit
