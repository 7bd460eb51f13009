// AMX for chains: tiles of 16 x 64 bytes. A tile of 16 pixels (or pairs of pixels) times a tile of weights for 16 outputs takes
// the place of 16 x 16 products of 64 bytes. Pixels lie behind each other, so the three columns of a kernel row are one
// stretch of bytes: the rows of an A tile are stretches that overlap, and nothing is unfolded but the image itself.
// What a stretch holds too much meets weights of zero.
//
// The sums leave a tile only through memory. They are requantized by AVX-512 while the tiles of the next pixels are at
// work, a few after every product.
#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "chain.h"
#include "cpu.h"
#include "isa.h"
#include "unroll.h"

#if defined(SB_EMULATED_TILES)
#include "../test/tiles.h"
#endif

namespace sharpbit {
namespace {

#include "wide512.h"

constexpr int kTile = 1024;            // bytes
constexpr int kRow = 64;               // bytes of a row of a tile
constexpr int kRows = 32;              // rows of A that a block works on, in two tiles

// What is read for one row of A: `per_row` stretches of 64 bytes of each of `rows` rows. A row of A is one pixel, or
// two where there are but 16 outputs (one tile of weights for each of the two).
//
// Of the first layer (in_blocks 0) three rows together are but 36 bytes, and tiles of them would begin anywhere in a
// cache line: there A is written down anew, with 16 bytes of each row, and all is one step.
struct Shape {
  int pixel, pair, columns, passes, rows, per_row;

  constexpr Shape(int in_blocks, int out_blocks)
      : pixel(in_blocks == 0 ? 4 : in_blocks * kBlock),  // bytes
        pair(out_blocks == 1 ? 2 : 1),                   // pixels of a row of A
        columns(out_blocks == 3 ? 3 : 2),                // tiles of sums beside each other
        passes(out_blocks == 4 ? 2 : 1),
        rows(in_blocks == 0 ? 1 : 3),
        per_row(in_blocks == 0 ? 1 : ((2 + pair) * pixel + kRow - 1) / kRow) {}
  constexpr int steps() const { return rows * per_row; }
  // Where a byte of a kernel row is, counted from the start of the first step.
  constexpr int place(int ky, int byte) const { return rows == 1 ? ky * 16 + byte : ky * per_row * kRow + byte; }
};

// Whether no product with the multiplier can leave 32 bits: then it needs no minimum before it becomes an integer, and
// where that is not so for any output, AVX-512 does the layer. (A sixth of the instructions that requantize; they, not
// the tiles, limit layers with few inputs.) Sums lie within the bias and 255 times the weights.
bool within_32_bits(const Layer &layer, int area) {
  for (int o = 0; o < layer.outputs; o++) {
    const size_t count = size_t(layer.inputs) * 9, to = size_t(area ? o % area * 3 + o / area : o);
    int64_t most = layer.bias[to] < 0 ? -int64_t{layer.bias[to]} : int64_t{layer.bias[to]};
    for (size_t i = 0; i < count; i++) {
      const int w = layer.weight[size_t(o) * count + i];
      most += 255 * (w < 0 ? -w : w);
    }
    for (size_t part = 0; part < 2; part++) {
      const double multiplier = std::fabs(layer.multiplier[part * layer.bias.size() + to]);
      if (static_cast<double>(most) * multiplier > double(1 << 30)) return false;
    }
  }
  return true;
}

extern const Row kTileRows[3][kMaxBlocks + 1][kMaxBlocks + 1];

// [pass][step][column][16 groups of 4 bytes][16 outputs][4]
bool pack_tiles(Layer &layer, int area) {
  if (layer.kind() != 2 && !within_32_bits(layer, area)) return false;  // wide layers have that minimum
  layer.row = kTileRows[layer.kind()][layer.in_blocks][layer.out_blocks];
  const Shape shape(layer.in_blocks, layer.out_blocks);
  const size_t bytes = size_t(shape.passes * shape.steps() * shape.columns) * kTile;
  layer.packed = make_buffer(bytes);
  std::memset(layer.packed.get(), 0, bytes);
  for (int o = 0; o < layer.outputs; o++) {
    const int to = area ? o % area * 3 + o / area : o;
    for (int i = 0; i < layer.inputs; i++)
      for (int tap = 0; tap < 9; tap++)
        for (int p = 0; p < shape.pair; p++) {
          const int at = shape.place(tap / 3, (tap % 3 + p) * shape.pixel + i), k = at % kRow;
          const int column = shape.pair == 2 ? p : to / kBlock % shape.columns;
          const int tile = (to / kBlock / shape.columns * shape.steps() + at / kRow) * shape.columns + column;
          layer.packed[size_t(tile * kTile + k / 4 * kRow + to % kBlock * 4 + k % 4)] =
              static_cast<uint8_t>(layer.weight[(size_t(o) * layer.inputs + i) * 9 + tap]);
        }
  }
  layer.weight = nullptr;
  return true;
}

// What the requantization of N columns needs; kept in registers. The zero points are packed as the sums will be.
template <int N, bool SLOPED>
struct Scales {
  __m512i bias[N], zero[N];
  __m512 multiplier[N], negative[N];

  Scales(const int32_t *from, const float *by, int out_blocks) {
    const int outputs = out_blocks * kBlock;
    __m512i levels[N];
    SB_UNROLL for (int n = 0; n < N; n++) {
      const int at = out_blocks == 1 ? 0 : n * kBlock;  // both columns are the same outputs, of two pixels
      bias[n] = _mm512_loadu_si512(from + at);
      multiplier[n] = _mm512_loadu_ps(by + at);
      if constexpr (SLOPED) {
        negative[n] = _mm512_loadu_ps(by + outputs + at);
        levels[n] = _mm512_loadu_si512(by + 2 * outputs + at);
      }
    }
    if constexpr (SLOPED) {
      SB_UNROLL for (int n = 0; n < N; n++) zero[n] = _mm512_packs_epi32(levels[n], levels[(n + 1) % N]);
    }
  }
};

// The work is done in portions that need the same registers: this many of them make a block.
constexpr int portions(int columns) { return columns == 3 ? 8 : 16; }

// One portion of sums, [row of A][column][16], into bytes: 64, or 192 where there are three columns. SPLIT: the other
// half of each pixel is of another pass.
template <int N, bool SPLIT, bool SLOPED>
SB_INLINE void requantize(const int32_t *sums, const Scales<N, SLOPED> &scales, uint8_t *out) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  SB_UNROLL for (int i = 0; i < (N == 3 ? 12 : 4); i += 4) {
    __m512i v[4];
    SB_UNROLL for (int j = 0; j < 4; j++) {
      const int n = (i + j) % N;
      const __m512i sum = _mm512_add_epi32(_mm512_load_si512(sums + (i + j) * kBlock), scales.bias[n]);
      __m512 by = scales.multiplier[n];
      if constexpr (SLOPED) by = _mm512_mask_mov_ps(by, _mm512_movepi32_mask(sum), scales.negative[n]);
      v[j] = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), by));  // within_32_bits
    }
    __m512i low = _mm512_packs_epi32(v[0], v[1]), high = _mm512_packs_epi32(v[2], v[3]);
    if constexpr (SLOPED) {
      low = _mm512_adds_epi16(low, scales.zero[i % N]);
      high = _mm512_adds_epi16(high, scales.zero[(i + 2) % N]);
    }
    const __m512i packed = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
    if constexpr (SPLIT) {
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), _mm512_castsi512_si256(packed));
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + 64), _mm512_extracti64x4_epi64(packed, 1));
    } else {
      _mm512_storeu_si512(out + i * kBlock, packed);
    }
  }
}

// The pixels of a block of a wide layer, and what requantizing them needs beside the sums.
struct Spot {
  const Wide *wide = nullptr;
  const uint8_t *middle = nullptr;  // bytes that come in, of the first pixel; of `in_pixel` bytes each
  const int32_t *bias = nullptr;
  const float *multiplier = nullptr;
  uint8_t *out = nullptr;  // of the first pixel
  long in_pixel = 0, out_pixel = 0, pair = 1, first = 0;
  int channel = 0, outputs = 0;  // the first channel of this pass, and how many there are in all
};

// One portion of sums like `requantize`, the first of which is of the row of A `row`.
template <int N>
SB_INLINE void requantize_wide(const int32_t *sums, const Spot &spot, int row) {
  const long in = spot.wide->in_blocks * kBlock, fine = spot.wide->out_blocks * kBlock;
  for (int i = 0; i < (N == 3 ? 12 : 4); i++) {
    const int n = i % N, own = spot.pair == 2 ? 0 : n * kBlock, c = spot.channel + own;
    const long pixel = (row + i / N) * spot.pair + (spot.pair == 2 ? n : 0), at = spot.first + pixel;
    __m512i sum = _mm512_add_epi32(_mm512_load_si512(sums + i * kBlock), _mm512_loadu_si512(spot.bias + own));
    if (c < in)
      sum = Wide512::passed(sum, spot.middle + pixel * spot.in_pixel + c, spot.wide->in + at * in + c,
                            spot.wide->weight + c);
    const float *const by = spot.multiplier + own;
    const __m512i zero = spot.wide->added ? Wide512::widened(spot.wide->added + at * spot.outputs + c)
                                          : _mm512_loadu_si512(by + 2 * spot.outputs);
    Wide512::store_wide(sum, zero, by, spot.outputs, spot.out + pixel * spot.out_pixel + own,
                        c < fine ? spot.wide->out + at * fine + c : nullptr);
  }
}

// The sums are tiles 0 to 3, [rows of A 0..15, 16..31][column], or 0 to 5 with three columns. The bias comes later:
// loading it into tiles would be four of 28 loads, and zeroing costs nothing.
template <int N>
SB_INLINE void start() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  if constexpr (N == 3) {
    _tile_zero(4);
    _tile_zero(5);
  }
}

// The products of 64 bytes of M x 16 rows of A.
template <int N, int M>
SB_INLINE void step(const uint8_t *a, long stride, const uint8_t *w) {
  if constexpr (N == 2) {
    _tile_loadd(6, w, kRow);
    _tile_loadd(4, a, stride);
    _tile_dpbusd(0, 4, 6);
    _tile_loadd(7, w + kTile, kRow);
    _tile_dpbusd(1, 4, 7);
    if constexpr (M == 2) {
      _tile_loadd(5, a + 16 * stride, stride);
      _tile_dpbusd(2, 5, 6);
      _tile_dpbusd(3, 5, 7);
    }
  } else {
    _tile_loadd(6, a, stride);
    _tile_loadd(7, w, kRow);
    _tile_dpbusd(0, 6, 7);
    _tile_loadd(7, w + kTile, kRow);
    _tile_dpbusd(1, 6, 7);
    _tile_loadd(7, w + 2 * kTile, kRow);
    _tile_dpbusd(2, 6, 7);
    if constexpr (M == 2) {
      _tile_loadd(6, a + 16 * stride, stride);
      _tile_dpbusd(5, 6, 7);
      _tile_loadd(7, w + kTile, kRow);
      _tile_dpbusd(4, 6, 7);
      _tile_loadd(7, w, kRow);
      _tile_dpbusd(3, 6, 7);
    }
  }
}

// [row of A][column][16]
template <int N, int M>
SB_INLINE void finish(int32_t *sums) {
  constexpr long stride = N * kRow;
  int32_t *const second = sums + 16 * N * kBlock;
  _tile_stored(0, sums, stride);
  _tile_stored(1, sums + kBlock, stride);
  if constexpr (N == 3) _tile_stored(2, sums + 2 * kBlock, stride);
  if constexpr (M == 2 && N == 2) {
    _tile_stored(2, second, stride);
    _tile_stored(3, second + kBlock, stride);
  } else if constexpr (M == 2) {
    _tile_stored(3, second, stride);
    _tile_stored(4, second + kBlock, stride);
    _tile_stored(5, second + 2 * kBlock, stride);
  }
}

// The products of M x 16 rows of A, `first` bytes on in `rows`, into `sums`, and meanwhile `wanted` portions of the
// sums of the block before it into bytes.
template <int N, int M, bool SPLIT, bool SLOPED, bool WIDE>
SB_INLINE void block(const Shape &shape, const uint8_t *const *rows, long first, const uint8_t *weights,
                     const Scales<N, SLOPED> &scales, int32_t *sums, const int32_t *before, int wanted,
                     uint8_t *out, const Spot &spot) {
  const long stride = shape.rows == 1 ? kRow : shape.pixel * shape.pair;
  const int steps = shape.steps();
  start<N>();
  int due = 0, row = 0;
  for (int ky = 0; ky < shape.rows; ky++) {
    const uint8_t *a = rows[ky] + first;
    for (int s = 0; s < shape.per_row; s++, a += kRow, weights += N * kTile) {
      step<N, M>(a, stride, weights);
      for (due += wanted; due >= steps; due -= steps) {
        if constexpr (WIDE)
          requantize_wide<N>(before, spot, row), row += kRows / portions(N);
        else
          requantize<N, SPLIT, SLOPED>(before, scales, out);
        before += kRows * N * kBlock / portions(N);
        out += kRows * N * kBlock / portions(N) * (SPLIT ? 2 : 1);
      }
    }
  }
  finish<N, M>(sums);
}

// Rows of A of the first layer for up to 32 rows from pixel x on, as many as `pixels` needs.
SB_INLINE void unfold(const Shape &shape, const uint8_t *const *rows, int32_t x, int32_t pixels, uint8_t *a) {
  const int count = x + 16 * shape.pair < pixels ? kRows : kRows / 2;
  for (int i = 0; i < count; i++) {
    const long from = long(x + i * shape.pair) * 4;
    const auto load = [&](int ky) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(rows[ky] + from)); };
    const __m256i two = _mm256_inserti128_si256(_mm256_castsi128_si256(load(0)), load(1), 1);
    _mm512_store_si512(a + i * kRow, _mm512_inserti32x4(_mm512_castsi256_si512(two), load(2), 2));
  }
  SB_FORGET;  // compilers do not know that loading a tile reads memory: what is written for it must be written now
}

template <int N, bool SPLIT, bool SLOPED, bool FIRST, bool WIDE>
void tiles(const Shape &shape, int out_blocks, const uint8_t *const *rows, const uint8_t *weights, const int32_t *bias,
           const float *multiplier, uint8_t *out, int32_t pixels, const Wide *wide) {
  const int half = 16 * shape.pair;
  alignas(64) int32_t sums[2][kRows * N * kBlock];
  alignas(64) uint8_t unfolded[2][FIRST ? kRows * kRow : 64];
  const uint8_t *const *from = rows;
  for (int pass = 0; pass < shape.passes; pass++) {
    const Scales<N, SLOPED> scales(bias, multiplier, out_blocks);
    uint8_t *to = out;  // of the block before, which the first one lacks
    int turn = 0, filled = 0;
    Spot spot;  // of the block before, like `to`
    if constexpr (WIDE) {
      spot.wide = wide;
      spot.bias = bias;
      spot.multiplier = multiplier;
      spot.in_pixel = shape.pixel;
      spot.out_pixel = out_blocks * kBlock;
      spot.pair = shape.pair;
      spot.channel = pass * N * kBlock;
      spot.outputs = out_blocks * kBlock;
    }
    if constexpr (FIRST) unfold(shape, rows, 0, pixels, unfolded[0]);
    for (int32_t x = 0; x < pixels; turn ^= 1) {
      const uint8_t *const now = unfolded[turn];
      if constexpr (FIRST) {  // one block ahead, as tiles wait for what has just been written
        from = &now;
        if (x + 2 * half < pixels) unfold(shape, rows, x + 2 * half, pixels, unfolded[turn ^ 1]);
      }
      const long first = FIRST ? 0 : long(x) * shape.pixel;
      const int wanted = x == 0 ? 0 : portions(N);
      if (x + half < pixels) {
        block<N, 2, SPLIT, SLOPED, WIDE>(shape, from, first, weights, scales, sums[turn], sums[turn ^ 1], wanted, to,
                                         spot);
        filled = 2;
      } else {
        block<N, 1, SPLIT, SLOPED, WIDE>(shape, from, first, weights, scales, sums[turn], sums[turn ^ 1], wanted, to,
                                         spot);
        filled = 1;
      }
      to = out + long(x) * out_blocks * kBlock;
      if constexpr (WIDE) {
        spot.middle = rows[1] + long(x + 1) * shape.pixel;
        spot.out = to;
        spot.first = x;
      }
      x += filled * half;
    }
    const int32_t *last = sums[turn ^ 1];
    for (int i = 0; i < portions(N) * filled / 2; i++) {
      if constexpr (WIDE)
        requantize_wide<N>(last, spot, i * (kRows / portions(N)));
      else
        requantize<N, SPLIT, SLOPED>(last, scales, to);
      last += kRows * N * kBlock / portions(N);
      to += kRows * N * kBlock / portions(N) * (SPLIT ? 2 : 1);
    }
    weights += size_t(shape.steps()) * N * kTile;
    bias += N * kBlock;
    multiplier += N * kBlock;
    out += N * kBlock;
  }
}

template <int IN, int OUT, int KIND>
void tile_row(const uint8_t *const *rows, const uint8_t *weights, const int32_t *bias, const float *multiplier,
              uint8_t *out, int32_t pixels, const Wide *wide) {
  tiles<OUT == 3 ? 3 : 2, OUT == 4, KIND == 1, IN == 0, KIND == 2>(Shape(IN, OUT), OUT, rows, weights, bias, multiplier,
                                                                   out, pixels, wide);
}

// `static const`: GCC 12 believes that the instruction reads 8 bytes, and drops what else is written to a variable.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

void begin() {
  static const TileConfig config;
  _tile_loadconfig(&config);
}

void end() { _tile_release(); }

uint64_t peak(uint64_t rounds) {
  alignas(64) static const uint8_t zeros[kTile] = {};
  begin();
  start<2>();
  _tile_loadd(4, zeros, kRow);
  _tile_loadd(5, zeros, kRow);
  _tile_loadd(6, zeros, kRow);
  _tile_loadd(7, zeros, kRow);
  for (uint64_t i = 0; i < rounds; i++) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  end();
  return rounds * 4 * 16 * 16 * 64;
}

#define SB_TILE_ROWS_OF(in, kind) \
  {nullptr, tile_row<in, 1, kind>, tile_row<in, 2, kind>, tile_row<in, 3, kind>, tile_row<in, 4, kind>}
#define SB_TILE_ROWS(kind)                                                                                   \
  {SB_TILE_ROWS_OF(0, kind), SB_TILE_ROWS_OF(1, kind), SB_TILE_ROWS_OF(2, kind), SB_TILE_ROWS_OF(3, kind),   \
   SB_TILE_ROWS_OF(4, kind)}
const Row kTileRows[3][kMaxBlocks + 1][kMaxBlocks + 1] = {SB_TILE_ROWS(0), SB_TILE_ROWS(1), SB_TILE_ROWS(2)};

}  // namespace

const Isa kAmxInt8 = {"amx-int8",
                      cpu::has_amx_int8,
                      Activation::u8,
                      {},
                      {},
                      peak,
                      nullptr,
                      pack_tiles,
                      &kAvx512Vnni,
                      begin,
                      end,
                      amx_convolve};

}  // namespace sharpbit
