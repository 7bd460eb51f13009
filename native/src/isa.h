// What an instruction set offers to the rest of the engine: kernels for one row of one layer, and how they want data.
#pragma once

#include <cstdint>

namespace sharpbit {

struct Layer;

// How activations are kept between layers. Four bytes ("a group") are always read at once and broadcast.
enum class Activation : uint8_t {
  u8,   // 4 channels a group
  s8,   // 4 channels a group, each minus 128: for instructions that multiply signed with signed
  s16,  // 2 channels a group: where only products of 16 bits are exact
};

constexpr int kBlock = 16;      // channels come in blocks; the last one is filled up with zeros
constexpr int kMaxBlocks = 4;   // 64 channels
constexpr int kMaxTile = 32;    // no kernel works on more pixels at once: rows have this much room behind them

// Channels that are kept in 16 bits: 16 second bytes a pixel for each block that has some, in the order of the channels,
// and not changed by how activations are kept.
struct Wide {
  const uint8_t *in;      // of the pixels for which the outputs are computed
  const int32_t *weight;  // what the 16 bits of a channel are multiplied by for the output of the same number
  uint8_t *out;
  int32_t in_blocks, out_blocks;
};

// Convolves one row. `rows` are three rows of activations, each one pixel left of the first output; `weights`, `bias`
// and `multiplier` are packed (pack.cpp). Writes `pixels` pixels, and nonsense to less than kMaxTile behind them. `wide`
// is null but for the third kind of rows.
using Row = void (*)(const uint8_t *const *rows, const uint8_t *weights, const int32_t *bias, const float *multiplier,
                     uint8_t *out, int32_t pixels, const Wide *wide);

struct Isa {
  const char *name;
  bool (*supported)();
  Activation activation;
  uint8_t pass[kMaxBlocks + 1];               // output blocks that are computed together, of 1..4 blocks in all
  Row rows[3][kMaxBlocks + 1][kMaxBlocks + 1];  // [ReLU, slopes, wide][blocks in; 0: the image][blocks out]
  uint64_t (*peak)(uint64_t rounds);          // multiplies in registers only, as fast as it can; how many were done
  // Only where layers have kernels and an order of weights of their own: sets both, or answers false and leaves the
  // layer to `base`, whose activations are the same. `area`: see pack.cpp.
  bool (*pack)(Layer &layer, int area) = nullptr;
  const Isa *base = nullptr;
  // Only where a thread must prepare before it computes rows, and tidy up after.
  void (*begin)() = nullptr;
  void (*end)() = nullptr;
};

constexpr int channel_bytes(Activation activation) { return activation == Activation::s16 ? 2 : 1; }

// Null-terminated, fastest first; the last is plain C++ and runs everywhere.
extern const Isa *const kInstructionSets[];

extern const Isa kAmxInt8, kAvx512Vnni, kAvxVnni, kAvx2, kNeonDotprod, kPlain;

}  // namespace sharpbit
