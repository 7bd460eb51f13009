// Rows of graphs: convolutions of any number of channels, sums and products. Included by kernel.h, where it is said what
// may stand in such a file.
//
// Sums of convolutions to which nothing is added become bytes in registers. All others are put into memory, a tile at
// a time, and what follows is plain C++, which compilers turn into the instructions of the file.

#include "kernel_values.h"

// As `products`, of kernels of any size whose pixels lie `stride` apart, in one function for all: less code.
template <int P, int N>
static SB_INLINE const uint8_t *products_any(typename Simd::Sum (&sums)[P][N], const uint8_t *row, const Source &source,
                                             int kernel, long stride, const uint8_t *weights) {
  constexpr int bytes = Simd::lanes * 4;
  for (int g = 0; g < source.groups; g++, row += 4) {
    for (int k = 0; k < kernel; k++, weights += N * bytes) {
      const uint8_t *const column = row + k * source.pixel;
      SB_UNROLL for (int n = 0; n < N; n++) {
        const typename Simd::Vector w = Simd::weights(weights + n * bytes);
        SB_UNROLL for (int p = 0; p < P; p++) sums[p][n] = Simd::dot(sums[p][n], Simd::broadcast(column + p * stride), w);
      }
    }
  }
  return weights;
}

// P pixels from `first` on, of B blocks from channel `c` on. K is the side of the kernel, or 0 for `products_any`.
template <int K, int B, int P>
static SB_INLINE void convolved_tile(const ConvolvedRow &row, long first, long c, const uint8_t *weights) {
  constexpr int N = B * kBlock / Simd::lanes, W = B * kBlock;
  const ResultRow to = row.result;  // a copy: what is written cannot be a part of it
  static const int32_t nothing[W] = {};
  typename Simd::Sum sums[P][N];
  alignas(64) int32_t spilled[P][W];
  for (int part = row.both ? 0 : 1; part < 2; part++) {  // first bytes, and then second ones, begin with 256 times that
    const bool second = row.both && part;
    const uint8_t *w = weights;
    SB_UNROLL for (int p = 0; p < P; p++) {
      const int32_t *const start = second ? spilled[p] : part ? row.bias + c : nothing;
      SB_UNROLL for (int n = 0; n < N; n++) sums[p][n] = Simd::load(start + Simd::lanes * n);
    }
    for (int32_t s = 0; s < row.source_count; s++) {
      const Source &source = row.sources[s];
      const int kernel = K ? K : row.kernel;
      if (second && !source.fine) {
        w += long{kernel} * kernel * source.groups * W * 4;
        continue;
      }
      const long stride = (K ? 1 : row.stride) * source.pixel, begin = first * stride + (second ? source.fine : 0);
      for (int ky = 0; ky < kernel; ky++) {
        if constexpr (K == 0)
          w = products_any<P, N>(sums, source.rows[ky] + begin, source, kernel, stride, w);
        else
          w = products<K, P, N>(sums, source.rows[ky] + begin, source.pixel, source.groups, w);
      }
    }
    if (!part) {
      SB_UNROLL for (int p = 0; p < P; p++) {
        SB_UNROLL for (int n = 0; n < N; n++) Simd::spill(spilled[p] + Simd::lanes * n, sums[p][n]);
        for (int i = 0; i < W; i++)  // behind the row these may be any numbers
          spilled[p][i] = static_cast<int32_t>(256u * static_cast<uint32_t>(spilled[p][i]) + static_cast<uint32_t>(row.bias[c + i]));
      }
    }
  }
  const float *const multiplier = row.multiplier + c, *const negative = multiplier + to.channels;
  if (!to.added_count && !to.fine && !row.both) {
    uint8_t *const out = to.out + first * to.pixel + c * kElement;
    Simd::template store<P, N, true>(sums, multiplier, out, to.pixel, to.channels);
    return;
  }
  SB_UNROLL for (int p = 0; p < P; p++) {
    SB_UNROLL for (int n = 0; n < N; n++) Simd::spill(spilled[p] + Simd::lanes * n, sums[p][n]);
  }
  for (int i = 0; i < W; i += Simd::lanes) {
    Floats positive, slope, values[P];
    numbers_at(positive, multiplier + i);
    numbers_at(slope, negative + i);
    for (int p = 0; p < P; p++) {
      Ints sum;
      numbers_at(sum, spilled[p] + i);
      values[p] = __builtin_convertvector(sum, Floats) * (sum < 0 ? slope : positive);
    }
    finish(values, P, to, first, c + i);
  }
}

template <int K, int B>
static void convolved_pass(const ConvolvedRow &row, long c, const uint8_t *weights) {
  constexpr int P = Simd::pixels(B), HALF = K == 0 ? 1 : (P + 1) / 2;
  const int32_t pixels = row.result.pixels;
  int32_t x = 0;
  if constexpr (K == 0) {  // with a stride too much would be read behind the row
    for (; x + P <= pixels; x += P) convolved_tile<K, B, P>(row, x, c, weights);
    for (; x < pixels; x++) convolved_tile<K, B, HALF>(row, x, c, weights);
  } else {
    for (; x + HALF < pixels; x += P) convolved_tile<K, B, P>(row, x, c, weights);
    if (x < pixels) convolved_tile<K, B, HALF>(row, x, c, weights);
  }
}

template <int K>
static void convolve(const ConvolvedRow &row) {
  long groups = 0;
  for (int32_t s = 0; s < row.source_count; s++) groups += row.sources[s].groups;
  const uint8_t *weights = row.weights;
  const int32_t kernel = K == 0 ? row.kernel : K;
  int32_t blocks = row.result.channels / kBlock;
  for (long c = 0; blocks > 0;) {
    const int32_t now = row.pass[blocks < kMaxBlocks ? blocks : kMaxBlocks];
    switch (now) {
      case 1: convolved_pass<K, 1>(row, c, weights); break;
      case 2: if constexpr (Simd::pass(2) == 2) convolved_pass<K, 2>(row, c, weights); break;
      case 3: if constexpr (Simd::pass(3) == 3) convolved_pass<K, 3>(row, c, weights); break;
      default: if constexpr (Simd::pass(4) == 4) convolved_pass<K, 4>(row, c, weights); break;
    }
    weights += kernel * kernel * groups * now * kBlock * 4;
    c += now * kBlock;
    blocks -= now;
  }
}

constexpr int32_t kTogether = 16;  // pixels whose values are in memory at once
static SB_INLINE int32_t together(int32_t left) { return left < kTogether ? left : kTogether; }

static void sum(const ResultRow &row) {
  const ResultRow to = row;
  for (int32_t x = 0; x < to.pixels; x += kTogether)
    for (long c = 0; c < to.channels; c += Simd::lanes) {
      Floats values[kTogether] = {};
      finish(values, together(to.pixels - x), to, x, c);
    }
}

static void multiply(const MultipliedRow &all) {
  const MultipliedRow row = all;
  for (int32_t x = 0; x < row.result.pixels; x += kTogether) {
    const int32_t count = together(row.result.pixels - x);
    const uint8_t *const first = row.first + x * row.first_pixel, *const second = row.second + x * row.second_pixel;
    const uint8_t *const first_fine = row.first_fine ? row.first_fine + x * row.first_pixel : nullptr;
    const uint8_t *const second_fine = row.second_fine ? row.second_fine + x * row.second_pixel : nullptr;
    float one[kTogether];
    for (int32_t p = 0; row.one_channel && p < count; p++) {
      const int32_t level = byte_at(second + p * row.second_pixel, 0) - row.second_zero[0];
      one[p] = float(second_fine ? 256 * level + byte_at(second_fine + p * row.second_pixel, 0) - 128 : level);
    }
    for (long c = 0; c < row.result.channels; c += Simd::lanes) {
      Ints level, zero, other_zero = {};
      Floats multiplier, values[kTogether];
      numbers_at(multiplier, row.multiplier + c);
      numbers_at(zero, row.first_zero + c);
      if (!row.one_channel) numbers_at(other_zero, row.second_zero + c);
      for (int32_t p = 0; p < count; p++) {
        const long at = p * row.first_pixel, by = p * row.second_pixel;
        levels_at(level, first + at, first_fine ? first_fine + at : nullptr, c, zero);
        values[p] = __builtin_convertvector(level, Floats);
        if (row.one_channel) {
          values[p] = values[p] * one[p] * multiplier;
        } else {
          levels_at(level, second + by, second_fine ? second_fine + by : nullptr, c, other_zero);
          values[p] = values[p] * __builtin_convertvector(level, Floats) * multiplier;
        }
      }
      finish(values, count, row.result, x, c);
    }
  }
}

// Where the table of each channel of a register begins.
struct FirstEntries {
  int32_t entry[Simd::lanes];
};
static SB_INLINE constexpr FirstEntries first_entries() {
  FirstEntries first = {};
  for (int i = 0; i < Simd::lanes; i++) first.entry[i] = 257 * i;
  return first;
}

static void look_up(const LookedUpRow &all) {
  const LookedUpRow row = all;
  static constexpr FirstEntries first = first_entries();
  Ints begins;
  numbers_at(begins, first.entry);
  for (int32_t x = 0; x < row.pixels; x++) {
    const uint8_t *const in = row.in + x * row.in_pixel, *const in_fine = row.in_fine ? row.in_fine + x * row.in_pixel : nullptr;
    uint8_t *const out = row.out + x * row.pixel, *const fine = row.fine + x * row.pixel;
    for (long c = 0; c < row.channels; c += Simd::lanes) {
      Ints place, ends;
      levels_at(place, in, in_fine, c, Ints{});
      place = (in_fine ? place : 256 * place) + 256;
      typename Simd::Sum entries;
      same_bits(entries, begins + (place >> 8));
      same_bits(ends, Simd::looked_up(row.between + 257 * c, entries));
      const Ints right = place & 255, left = 256 - right;
      const Ints level = ((ends & 0xffff) * left + ((ends >> 16) & 0xffff) * right + 128) >> 8;
      put_bytes(out, c, level >> 8);
      put_bytes(fine, c, level & 255);
    }
  }
}

static void interpolate(const InterpolatedRow &row) {
  for (int32_t x = 0; x < row.pixels; x++) {
    const long first = row.first[x] * row.in_pixel, second = row.second[x] * row.in_pixel;
    const int32_t right = row.weight[x], left = 256 - right;
    uint8_t *const out = row.out + x * row.pixel;
    for (long c = 0; c < row.channels; c += Simd::lanes) {
      Ints level, one, two;  // 256 for each step of a byte
      bytes_at(one, row.above + first, c);
      bytes_at(two, row.above + second, c);
      level = (one * left + two * right) * (256 - row.lower);
      bytes_at(one, row.below + first, c);
      bytes_at(two, row.below + second, c);
      level += (one * left + two * right) * row.lower;
      if (row.fine) {
        const Ints steps = (level + 128) >> 8, byte = (steps + 128) >> 8;
        put_bytes(out, c, byte);
        put_bytes(row.fine + x * row.pixel, c, steps - 256 * byte + 128);
      } else {
        put_bytes(out, c, (level + 32768) >> 16);
      }
    }
  }
}

static const GraphRows kGraphRows = {
    {convolve<1>, convolve<3>, convolve<5>}, convolve<0>, sum, multiply, look_up, interpolate};
