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

// Around a zero point of 0: the least value that still rounds to the level 0 and leaves -128 steps of 256, and the largest that
// still rounds to 255 and leaves 127. What lies beyond gives the same.
constexpr float kLeastValue = -0.4999f, kMostValue = 255.498f;

constexpr int kBlock = 16;      // channels come in blocks; the last one is filled up with zeros
constexpr int kMaxBlocks = 4;   // 64 channels
constexpr int kMaxTile = 32;    // no kernel works on more pixels at once: rows have this much room behind them

// What rows of the third kind do besides. Channels that are kept in 16 bits: 16 second bytes a pixel for each block that has some, in the order of the channels,
// and not changed by how activations are kept.
struct Wide {
  const uint8_t *in;      // of the pixels for which the outputs are computed
  const int32_t *weight;  // what the 16 bits of a channel are multiplied by for the output of the same number
  uint8_t *out;
  int32_t in_blocks, out_blocks;
  const uint8_t *added;  // bytes of each output of each pixel that take the place of zero points; null: nothing does
};

// Convolves one row. `rows` are three rows of activations, each one pixel left of the first output; `weights`, `bias`
// and `multiplier` are packed (pack.cpp). Writes `pixels` pixels, and nonsense to less than kMaxTile behind them. `wide`
// is null but for the third kind of rows.
using Row = void (*)(const uint8_t *const *rows, const uint8_t *weights, const int32_t *bias, const float *multiplier,
                     uint8_t *out, int32_t pixels, const Wide *wide);

// Graphs. A row of activations: column 0 is where the first output lies; pixels lie `pixel` bytes apart.
constexpr int kMaxKernel = 9;
constexpr int kCommonKernel = 5;  // up to here kernels of odd sides have code of their own

struct Source {
  const uint8_t *rows[kMaxKernel];  // each starts at the leftmost column that the first output reads
  long pixel;
  int32_t groups;  // of 4 bytes that are read of each pixel
  long fine;       // so far behind the first bytes of a pixel begin the second ones, if these are read as well; else 0
};

// A row that is added: of as many channels as the result. `fine`: the second bytes of its channels, kept like the first,
// in pixels as far apart as those of `row`; null: it has none.
struct AddedRow {
  const uint8_t *row, *fine;
  long pixel;
  const float *multiplier;  // of each channel
  const int32_t *zero;
};

// How the values of a row become bytes. Channels are whole blocks.
struct ResultRow {
  const AddedRow *added;
  int32_t added_count;
  const int32_t *zero;
  uint8_t *out, *fine;  // `fine`: where second bytes go, or null
  long pixel;
  int32_t pixels, channels;
};

struct ConvolvedRow {
  const Source *sources;
  int32_t source_count;
  int32_t kernel, stride;     // only `convolve_any` looks at these, and tiles at `kernel`
  const uint8_t *weights;     // [pass][source][row][group][column][outputs of the pass][4 bytes] (graph_pack.cpp), or as tiles want them
  bool both;                  // whether sums are 256 times those of first bytes, and those of second bytes
  const int32_t *bias;
  const float *multiplier;    // as for Row: three parts, of which the last is `result.zero`
  const uint8_t *pass;        // blocks that are computed together, while so many (at most 4) are left; not with tiles
  ResultRow result;
};

struct MultipliedRow {
  const uint8_t *first, *first_fine, *second, *second_fine;  // `first_fine` and `second_fine`: as in AddedRow
  long first_pixel, second_pixel;
  const int32_t *first_zero, *second_zero;
  bool one_channel;  // of the second
  const float *multiplier;
  ResultRow result;
};

// A table in 16 bits. `in_fine`: as in AddedRow.
struct LookedUpRow {
  const uint8_t *in, *in_fine;
  long in_pixel;
  const uint32_t *between;  // 257 numbers for each channel: see Node
  uint8_t *out, *fine;
  long pixel;
  int32_t pixels, channels;  // whole blocks
};

// Bilinear: every pixel lies between four, at `first` and `second` in two rows, whose weights are in parts of 256.
struct InterpolatedRow {
  const uint8_t *above, *below;
  int32_t lower;  // weight of `below`
  const int32_t *first, *second, *weight;
  long in_pixel;
  uint8_t *out, *fine;  // `fine`: see ResultRow
  long pixel;
  int32_t pixels, channels;
};

// Convolutions of common kernels write nonsense to less than kMaxTile pixels behind the row.
struct GraphRows {
  void (*convolve[kCommonKernel / 2 + 1])(const ConvolvedRow &);  // of kernels of 1, 3 and 5
  void (*convolve_any)(const ConvolvedRow &);                     // of all other kernels, and with a stride
  void (*sum)(const ResultRow &);
  void (*multiply)(const MultipliedRow &);
  void (*look_up)(const LookedUpRow &);
  void (*interpolate)(const InterpolatedRow &);
};

struct Isa {
  const char *name;
  bool (*supported)();
  Activation activation;
  uint8_t pass[kMaxBlocks + 1];               // output blocks that are computed together, of 1..4 blocks in all
  Row rows[3][kMaxBlocks + 1][kMaxBlocks + 1];  // [ReLU, slopes, wide][blocks in; 0: the image][blocks out]
  uint64_t (*peak)(uint64_t rounds);          // multiplies in registers only, as fast as it can; how many were done
  const GraphRows *graph;                     // nullptr: those of `base`
  // Only where layers have kernels and an order of weights of their own: sets both, or answers false and leaves the
  // layer to `base`, whose activations are the same. `area`: see pack.cpp.
  bool (*pack)(Layer &layer, int area) = nullptr;
  const Isa *base = nullptr;
  // Only where a thread must prepare before it computes rows, and tidy up after.
  void (*begin)() = nullptr;
  void (*end)() = nullptr;
  // Only where convolutions of graphs with common kernels have weights in the order of tiles (graph_tiles.h); all other rows
  // of graphs are then those of `base`.
  void (*convolve_in_tiles)(const ConvolvedRow &) = nullptr;
};

// A thread that is ready for the rows of an instruction set, and is tidied up however that ends.
class Prepared {
 public:
  explicit Prepared(const Isa &isa) : isa_(isa) {
    if (isa_.begin) isa_.begin();
  }
  ~Prepared() {
    if (isa_.end) isa_.end();
  }
  Prepared(const Prepared &) = delete;
  Prepared &operator=(const Prepared &) = delete;

 private:
  const Isa &isa_;
};

constexpr int channel_bytes(Activation activation) { return activation == Activation::s16 ? 2 : 1; }

// Null-terminated, fastest first; the last is plain C++ and runs everywhere.
extern const Isa *const kInstructionSets[];

void amx_convolve(const ConvolvedRow &row);

extern const Isa kAmxInt8, kAvx512Vnni, kAvxVnni, kAvx2, kNeonDotprod, kPlain;

}  // namespace sharpbit
