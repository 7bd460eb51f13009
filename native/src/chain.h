// A chain that has been read, checked and packed for one instruction set, and how a region of an image is upscaled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "isa.h"
#include "network.h"

namespace sharpbit {

struct Layer {
  int inputs = 0, outputs = 0;
  int in_blocks = 0, out_blocks = 0;  // in_blocks of the first layer is 0: pixels of the image
  const int8_t *weight = nullptr;     // [outputs][inputs][3][3] in the bytes that were read; only until packed
  std::vector<int32_t> bias;          // filled up with zeros to whole blocks, as are the parts of the multiplier:
  std::vector<float> multiplier;      // of sums from 0 on; of negative sums; and zero points, the bits of int32
  bool sloped = false;                // whether the second and third part may be other than zeros
  bool adds_image = false;            // the last one of such a chain
  int wide = 0;                       // outputs, the first ones, that have a second byte
  std::vector<int32_t> passed;        // weights of the wide channels that come in, filled up with zeros to whole blocks
  Buffer packed;
  Row row = nullptr;  // that computes it from `packed`

  int wide_blocks() const { return (wide + kBlock - 1) / kBlock; }
  int kind() const { return adds_image || wide != 0 || !passed.empty() ? 2 : sloped; }  // of the rows of an instruction set
};

struct Chain : Network {
  int scale = 0;
  bool adds_image = false;  // to the signed results of the last layer, each pixel as often as it is enlarged
  const Isa *isa = nullptr;
  std::vector<Layer> layers;

  int depth() const { return static_cast<int>(layers.size()); }

  int enlarges() const override { return scale; }
  int halo() const override { return depth(); }
  size_t column_bytes() const override;
  size_t scratch_bytes(const ImageData &image, const Region &region) const override;
  void run(const ImageData &image, const Region &region, uint8_t *scratch,
           const std::atomic<bool> &cancel) const override;
};

// Reads what src/sharpbit/modelfile/integer_chain.py writes as payload, with its limits. Throws ModelError.
Chain read_chain(const uint8_t *data, size_t size);

// Brings weights, biases and multipliers into the order of the kernels and forgets the bytes that were read.
void pack(Chain &chain, const Isa &isa);

}  // namespace sharpbit
