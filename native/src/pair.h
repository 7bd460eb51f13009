// A large and a small network of one scale: tiles of the image with little detail go through the small one. Every pixel
// is what its network makes of the whole image, as tiles bring along what their network reaches.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "network.h"

namespace sharpbit {

struct Pair : Network {
  std::unique_ptr<Network> large, small;
  int tile = 0;            // side in pixels of the image; tiles lie on a grid that begins in its first pixel
  uint32_t threshold = 0;  // see `is_small`
  mutable std::atomic<uint64_t> pixels{0}, of_small{0};  // that were upscaled so far

  int enlarges() const override { return large->enlarges(); }
  int halo() const override;
  size_t column_bytes() const override;
  int uneven() const override { return 4; }
  double small_share() const override;
  size_t scratch_bytes(const ImageData &image, const Region &region) const override;
  void run(const ImageData &image, const Region &region, uint8_t *scratch,
           const std::atomic<bool> &cancel) const override;

  // Whether a tile has so little detail: 256 times the squared differences of neighbours, added up, is less than
  // `threshold` times their number. A pixel is the sum of R, G and B.
  bool is_small(const ImageData &image, const Region &tile) const;
};

// Whether a payload is one of a pair.
bool is_pair(const uint8_t *data, size_t size);

// Reads what src/sharpbit/modelfile/integer_pair.py writes as payload, with its limits. Throws ModelError.
std::unique_ptr<Pair> read_pair(const uint8_t *data, size_t size, const Isa &isa);

}  // namespace sharpbit
