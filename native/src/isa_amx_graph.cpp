// Convolutions of graphs in tiles of AMX: 32 pixels times 32 outputs at once. Weights: [pass of at most 2 blocks][tensor][row of
// the kernel][step, see graph_tiles.h][block][16 groups of 4 bytes][16 outputs][4].
//
// As in chains the sums leave tiles through memory, and those of one strip of pixels are finished by AVX-512 while the tiles
// of the next are at work, a few after every step.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "graph_tiles.h"
#include "isa.h"
#include "unroll.h"

#if defined(SB_EMULATED_TILES)
#include "../test/tiles.h"
#endif

namespace sharpbit {
namespace {

#include "simd512.h"
#include "kernel_values.h"

constexpr int kStrip = 32, kUnit = 8;  // pixels of a strip, and of what is finished at once

// The sums of a strip: of first bytes, where second ones are read as well, and of those that the bias belongs to.
struct alignas(64) Sums {
  int32_t firsts[kStrip * 2 * kBlock], sums[kStrip * 2 * kBlock];
};

template <int N>
SB_INLINE void store_tiles(int32_t *to, bool whole) {
  constexpr long stride = N * kTileRow;
  _tile_stored(0, to, stride);
  if constexpr (N == 2) _tile_stored(1, to + kBlock, stride);
  if (!whole) return;
  _tile_stored(2, to + 16 * N * kBlock, stride);
  if constexpr (N == 2) _tile_stored(3, to + 16 * N * kBlock + kBlock, stride);
}

// Makes bytes of the sums of 8 pixels, the first of which is `first` in the row and `at` in the strip.
template <int N>
SB_INLINE void finish_unit(const ConvolvedRow &row, long c, const Sums &strip, long first, int at) {
  const ResultRow &to = row.result;
  const int32_t *const sums = strip.sums + at * N * kBlock, *const firsts = strip.firsts + at * N * kBlock;
  const float *const multiplier = row.multiplier + c, *const negative = multiplier + to.channels;
  if (!to.added_count && !to.fine && !row.both) {
    for (int half = 0; half < kUnit; half += 4) {
      __m512i kept[4][N];
      SB_UNROLL for (int p = 0; p < 4; p++) {
        SB_UNROLL for (int n = 0; n < N; n++)
          kept[p][n] = _mm512_add_epi32(_mm512_load_si512(sums + ((half + p) * N + n) * kBlock),
                                        _mm512_loadu_si512(row.bias + c + n * kBlock));
      }
      Simd::store<4, N, true>(kept, multiplier, to.out + (first + half) * to.pixel + c, to.pixel, to.channels);
    }
    return;
  }
  for (int n = 0; n < N; n++) {
    const __m512i bias = _mm512_loadu_si512(row.bias + c + n * kBlock);
    Floats values[kUnit], positive, slope;
    numbers_at(positive, multiplier + n * kBlock);
    numbers_at(slope, negative + n * kBlock);
    for (int p = 0; p < kUnit; p++) {
      __m512i all = _mm512_add_epi32(_mm512_load_si512(sums + (p * N + n) * kBlock), bias);
      if (row.both)
        all = _mm512_add_epi32(all, _mm512_slli_epi32(_mm512_load_si512(firsts + (p * N + n) * kBlock), 8));
      Ints sum;
      same_bits(sum, all);
      values[p] = __builtin_convertvector(sum, Floats) * (sum < 0 ? slope : positive);
    }
    finish(values, kUnit, to, first, c + n * kBlock);
  }
}

// What is left to finish of the strip before, and how much of it after each step.
template <int N>
struct Rest {
  const ConvolvedRow &row;
  long c;
  const Sums *strip = nullptr;
  long first = 0;
  int units = 0, done = 0, due = 0, steps = 0;

  void after_step() {
    for (due += units; due >= steps; due -= steps) one();
  }
  void all() {
    while (done < units) one();
  }
  void one() {
    finish_unit<N>(row, c, *strip, first + done * kUnit, done * kUnit);
    done++;
  }
};

TileSteps steps_of(const ConvolvedRow &row, const Source &source) {
  return TileSteps::of(source.pixel, source.groups * 4, row.kernel);
}

// The products of one kind of bytes of 32 pixels (`whole`) or 16 from `first` on.
template <int N>
SB_INLINE void products(const ConvolvedRow &row, long first, bool second, bool whole, const uint8_t *weights, int32_t *to,
                        Rest<N> &rest) {
  _tile_zero(0);
  _tile_zero(2);
  if constexpr (N == 2) {
    _tile_zero(1);
    _tile_zero(3);
  }
  for (int32_t s = 0; s < row.source_count; s++) {
    const Source &source = row.sources[s];
    const TileSteps steps = steps_of(row, source);
    if (second && !source.fine) {
      weights += size_t(row.kernel) * size_t(steps.count()) * N * kTileBytes;
      continue;
    }
    for (int line = 0; line < row.kernel * steps.columns; line++) {
      const uint8_t *a = source.rows[line / steps.columns] + line % steps.columns * steps.pitch + first * source.pixel +
                         (second ? source.fine : 0);
      for (int32_t step = 0; step < steps.steps; step++, a += kTileRow, weights += N * kTileBytes) {
        _tile_loadd(6, weights, kTileRow);
        _tile_loadd(4, a, source.pixel);
        _tile_dpbusd(0, 4, 6);
        if constexpr (N == 2) {
          _tile_loadd(7, weights + kTileBytes, kTileRow);
          _tile_dpbusd(1, 4, 7);
        }
        if (whole) {
          _tile_loadd(5, a + 16 * source.pixel, source.pixel);
          _tile_dpbusd(2, 5, 6);
          if constexpr (N == 2) _tile_dpbusd(3, 5, 7);
        }
        rest.after_step();
      }
    }
  }
  store_tiles<N>(to, whole);
}

int32_t all_steps(const ConvolvedRow &row, bool second) {
  int32_t steps = 0;
  for (int32_t s = 0; s < row.source_count; s++)
    if (!second || row.sources[s].fine) steps += row.kernel * steps_of(row, row.sources[s]).count();
  return steps;
}

template <int N>
void pass(const ConvolvedRow &row, long c, const uint8_t *weights) {
  Sums strips[2];
  Rest<N> rest{row, c};
  rest.steps = all_steps(row, false) + (row.both ? all_steps(row, true) : 0);
  int turn = 0;
  for (int32_t x = 0; x < row.result.pixels; x += kStrip, turn ^= 1) {
    const bool whole = x + kStrip / 2 < row.result.pixels;
    if (row.both) products<N>(row, x, false, whole, weights, strips[turn].firsts, rest);
    products<N>(row, x, row.both, whole, weights, strips[turn].sums, rest);
    rest.all();
    rest.strip = &strips[turn];
    rest.first = x;
    rest.units = (whole ? kStrip : kStrip / 2) / kUnit;
    rest.done = rest.due = 0;
  }
  rest.all();
}

}  // namespace

void amx_convolve(const ConvolvedRow &all) {
  const ConvolvedRow row = all;  // a copy: what is written cannot be a part of it
  const uint8_t *weights = row.weights;
  const size_t of_block = size_t(all_steps(row, false)) * kTileBytes;  // weights
  for (long c = 0; c < row.result.channels;) {
    const int blocks = row.result.channels - c > kBlock ? 2 : 1;
    blocks == 2 ? pass<2>(row, c, weights) : pass<1>(row, c, weights);
    weights += size_t(blocks) * of_block;
    c += blocks * kBlock;
  }
}

}  // namespace sharpbit
