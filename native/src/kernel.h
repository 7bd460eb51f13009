// The kernel: one row of a 3x3 convolution, written once for all instruction sets.
//
// Include it in one file per instruction set, after `struct Simd` there, in an unnamed namespace: each file is compiled
// with its own flags, so nothing of it may be shared with another file. For the same reason no function of the
// standard library is used here.
//
// Simd offers:
//   Vector, Sum                     registers of weights or activations, and of `lanes` 32-bit sums
//   lanes, registers, activation    16, 8 or 4; how many registers there are; how activations are kept
//   one_kind                        whether layers without slopes are computed as if they had them: less code
//   pixels(blocks), pass(blocks)    pixels of a tile; how many output blocks are computed together
//   load, broadcast, weights        Sum from int32; Vector from 4 bytes, repeated; Vector as it is in memory
//   dot(sum, activations, weights)  adds the products of each group
//   store<P, N, SLOPED>(sums, multiplier, out, pixel_bytes, outputs)   requantizes P pixels of N registers;
//                                         with 16 lanes and passes of two blocks also store<P, 2, true, true>(..., fine),
//                                         which gives second bytes to the first register
//   activations(from), put_activations(to, bytes)   `lanes` activations as 32-bit numbers 0 to 255, and back
//   looked_up(table, entries)       Sum of these 32-bit entries
//   puts_values                     whether there is put_value(value, zero, out, fine), which puts `lanes` values, clipped
//                                   to bytes around zero points, and what that leaves if `fine` is not null
//   passed(sum, bytes, fine, weight)      adds the 16 bits of `lanes` wide channels times their weights
//   widened(bytes)                        Sum from bytes
//   store_wide(sum, zero, multiplier, outputs, out, fine)   requantizes one register to bytes around these zero points,
//                                         and to second bytes if not null
//   spill                           puts a Sum into memory
//
// With SLOPED negative sums have multipliers of their own, and zero points are added: both lie behind the multipliers,
// `outputs` numbers on (see Layer in chain.h).

// The kinds of layers: see Isa::rows.
enum { kRelu, kSlopes, kWide };

// What wide layers do with some pixels of `registers` sums each, the first of which is `channel`. `middle` are the bytes of
// these pixels. Not a part of `tile`, which is there for every shape.
static void finish_wide(const typename Simd::Sum *sums, int pixels, int registers, const uint8_t *middle, long in_pixel,
                        long first, int channel, const float *multiplier, uint8_t *out, long out_pixel, long outputs,
                        const Wide &wide) {
  constexpr int element = Simd::activation == Activation::s16 ? 2 : 1;
  const long in = wide.in_blocks * kBlock, fine = wide.out_blocks * kBlock;
  for (int n = 0; n < registers; n++) {
    const int own = n * Simd::lanes, c = channel + own;
    const uint8_t *bytes = middle + c * element, *from = c < in ? wide.in + first * in + c : nullptr;
    const uint8_t *added = wide.added ? wide.added + first * outputs + c : nullptr;
    const float *const by = multiplier + own;
    typename Simd::Sum zero = Simd::load(reinterpret_cast<const int32_t *>(by + 2 * outputs));
    uint8_t *to = out + own * element, *second = c < fine ? wide.out + first * fine + c : nullptr;
    for (int p = 0; p < pixels; p++) {
      typename Simd::Sum sum = sums[p * registers + n];
      if (from) sum = Simd::passed(sum, bytes + p * in_pixel, from + p * in, wide.weight + c);
      if (added) zero = Simd::widened(added + p * outputs);
      Simd::store_wide(sum, zero, by, outputs, to + p * out_pixel, second ? second + p * fine : nullptr);
    }
  }
}

// Adds what one row of a kernel of K columns gives for P pixels: of each input pixel, `pixel` bytes behind the one before
// it, G groups of 4 bytes. Weights: [G][K columns][N registers]. Returns where the weights end.
template <int K, int P, int N>
static SB_INLINE const uint8_t *products(typename Simd::Sum (&sums)[P][N], const uint8_t *row, long pixel, int G,
                                         const uint8_t *weights) {
  constexpr int bytes = Simd::lanes * 4;
  // With enough registers for the weights of all columns, one broadcast serves as many output pixels.
  constexpr bool shared = P * N + K * N + 1 <= Simd::registers;
  for (int g = 0; g < G; g++, row += 4, weights += K * N * bytes) {
    if constexpr (shared) {
      typename Simd::Vector w[K][N];
      SB_UNROLL for (int k = 0; k < K; k++) {
        SB_UNROLL for (int n = 0; n < N; n++) w[k][n] = Simd::weights(weights + (k * N + n) * bytes);
      }
      SB_UNROLL for (int q = 0; q < P + K - 1; q++) {
        const typename Simd::Vector a = Simd::broadcast(row + q * pixel);
        SB_UNROLL for (int k = 0; k < K; k++) {
          const int p = q - k;
          if (p >= 0 && p < P) {
            SB_UNROLL for (int n = 0; n < N; n++) sums[p][n] = Simd::dot(sums[p][n], a, w[k][n]);
          }
        }
      }
    } else {
      SB_UNROLL for (int k = 0; k < K; k++) {
        SB_FORGET;  // else compilers keep activations for the next column, and lack registers for sums
        const uint8_t *const column = row + k * pixel;
        const uint8_t *const wk = weights + k * N * bytes;
        if constexpr (N <= P) {
          typename Simd::Vector w[N];
          SB_UNROLL for (int n = 0; n < N; n++) w[n] = Simd::weights(wk + n * bytes);
          SB_UNROLL for (int p = 0; p < P; p++) {
            const typename Simd::Vector a = Simd::broadcast(column + p * pixel);
            SB_UNROLL for (int n = 0; n < N; n++) sums[p][n] = Simd::dot(sums[p][n], a, w[n]);
          }
        } else {
          typename Simd::Vector a[P];
          SB_UNROLL for (int p = 0; p < P; p++) a[p] = Simd::broadcast(column + p * pixel);
          SB_UNROLL for (int n = 0; n < N; n++) {
            const typename Simd::Vector w = Simd::weights(wk + n * bytes);
            SB_UNROLL for (int p = 0; p < P; p++) sums[p][n] = Simd::dot(sums[p][n], a[p], w);
          }
        }
      }
    }
  }
  return weights;
}

// P pixels of B blocks; each input pixel has G groups of 4 bytes. Weights: [3 rows][G][3 columns][16 B outputs][group].
template <int G, int B, int P, int KIND>
static SB_INLINE void tile(const uint8_t *const *rows, long first, const uint8_t *weights, const int32_t *bias,
                           const float *multiplier, uint8_t *out, long out_pixel, long outputs, int channel,
                           const Wide *wide) {
  constexpr int N = B * kBlock / Simd::lanes;
  typename Simd::Sum sums[P][N];
  SB_UNROLL for (int p = 0; p < P; p++) {
    SB_UNROLL for (int n = 0; n < N; n++) sums[p][n] = Simd::load(bias + Simd::lanes * n);
  }
  for (int ky = 0; ky < 3; ky++) weights = products<3, P, N>(sums, rows[ky] + first * G * 4, G * 4, G, weights);
  if constexpr (KIND == kWide) {
    typename Simd::Sum kept[P * N];
    const int left = (wide->in_blocks > wide->out_blocks ? wide->in_blocks : wide->out_blocks) * kBlock - channel;
    if constexpr (B > 1) {  // less code where passes have one block
      if (!wide->added && left <= 0) {
        Simd::template store<P, N, true>(sums, multiplier, out + first * out_pixel, out_pixel, outputs);
        return;
      }
    }
    if constexpr (B == 2 && Simd::lanes == 16) {
      // As most layers are: one block of wide channels, the first, comes in, or none does, and one goes out.
      if (!wide->added && channel == 0 && left == kBlock && wide->out_blocks == 1) {
        if (wide->in_blocks) {
          SB_UNROLL for (int p = 0; p < P; p++)
            sums[p][0] = Simd::passed(sums[p][0], rows[1] + (first + 1 + p) * G * 4, wide->in + (first + p) * kBlock,
                                      wide->weight);
        }
        Simd::template store<P, N, true, true>(sums, multiplier, out + first * out_pixel, out_pixel, outputs,
                                               wide->out + first * kBlock);
        return;
      }
    }
    if constexpr (B > 1 && Simd::lanes == 8) {
      // Often only the first of several blocks has wide channels: all others become bytes in registers.
      constexpr int R = kBlock / Simd::lanes;
      if (!wide->added && left <= kBlock) {
        typename Simd::Sum others[P][N - R];
        SB_UNROLL for (int p = 0; p < P; p++) {
          SB_UNROLL for (int n = 0; n < R; n++) kept[p * R + n] = sums[p][n];
          SB_UNROLL for (int n = R; n < N; n++) others[p][n - R] = sums[p][n];
        }
        constexpr long block = kBlock * (Simd::activation == Activation::s16 ? 2 : 1);
        Simd::template store<P, N - R, true>(others, multiplier + kBlock, out + first * out_pixel + block, out_pixel,
                                             outputs);
        finish_wide(kept, P, R, rows[1] + (first + 1) * G * 4, G * 4, first, channel, multiplier,
                    out + first * out_pixel, out_pixel, outputs, *wide);
        return;
      }
    }
    SB_UNROLL for (int p = 0; p < P; p++) {
      SB_UNROLL for (int n = 0; n < N; n++) kept[p * N + n] = sums[p][n];
    }
    finish_wide(kept, P, N, rows[1] + (first + 1) * G * 4, G * 4, first, channel, multiplier, out + first * out_pixel,
                out_pixel, outputs, *wide);
  } else
    Simd::template store<P, N, KIND == kSlopes>(sums, multiplier, out + first * out_pixel, out_pixel, outputs);
}

constexpr int groups(int blocks) {
  return (blocks == 0 ? 4 : blocks * kBlock) * (Simd::activation == Activation::s16 ? 2 : 1) / 4;
}

template <int IN, int OUT, int KIND>
static void row(const uint8_t *const *rows, const uint8_t *weights, const int32_t *bias, const float *multiplier,
                uint8_t *out, int32_t pixels, const Wide *wide) {
  constexpr int G = groups(IN), B = Simd::pass(OUT), P = Simd::pixels(B);
  constexpr int HALF = KIND == kWide ? 0 : (P + 1) / 2;  // for the rest of a row; wide layers do without: less code
  constexpr long block = kBlock * (Simd::activation == Activation::s16 ? 2 : 1);
  static_assert(OUT % B == 0 && P <= kMaxTile, "");
  for (int b = 0; b < OUT; b += B) {
    int32_t x = 0;
    for (; x + HALF < pixels; x += P)
      tile<G, B, P, KIND>(rows, x, weights, bias, multiplier, out, OUT * block, OUT * kBlock, b * kBlock, wide);
    if constexpr (HALF != 0) {
      if (x < pixels)
        tile<G, B, HALF, KIND>(rows, x, weights, bias, multiplier, out, OUT * block, OUT * kBlock, b * kBlock, wide);
    }
    weights += 9 * G * B * kBlock * 4;
    bias += B * kBlock;
    multiplier += B * kBlock;
    out += B * block;
  }
}

// As many independent sums as fit into the registers, so that the latency of a product is hidden.
static uint64_t peak(uint64_t rounds) {
#if defined(__GNUC__)
  constexpr int count = Simd::registers >= 24 ? 16 : 12;
  static const uint8_t operand[64] = {1, 1, 1, 1};
  typename Simd::Vector a = Simd::broadcast(operand), w = Simd::weights(operand);
  SB_OPAQUE(w);
  static const int32_t zeros[16] = {};
  typename Simd::Sum sums[count];
  SB_UNROLL for (int i = 0; i < count; i++) sums[i] = Simd::load(zeros);
  for (uint64_t t = 0; t < rounds; t++) {
    SB_UNROLL for (int i = 0; i < count; i++) {
      SB_OPAQUE(a);  // else part of the product could be taken out of the loop
      sums[i] = Simd::dot(sums[i], a, w);
    }
  }
  SB_UNROLL for (int i = 0; i < count; i++) SB_OPAQUE(sums[i]);
  return rounds * count * Simd::lanes * (Simd::activation == Activation::s16 ? 2 : 4);
#else
  (void)rounds;
  return 0;
#endif
}

#define SB_ROWS_OF(in, kind) {nullptr, row<in, 1, kind>, row<in, 2, kind>, row<in, 3, kind>, row<in, 4, kind>}
#define SB_ROWS(kind) \
  {SB_ROWS_OF(0, kind), SB_ROWS_OF(1, kind), SB_ROWS_OF(2, kind), SB_ROWS_OF(3, kind), SB_ROWS_OF(4, kind)}
#define SB_ISA(name, supported)                                                                                        \
  {                                                                                                                    \
    name, supported, Simd::activation,                                                                                 \
        {0, (uint8_t)Simd::pass(1), (uint8_t)Simd::pass(2), (uint8_t)Simd::pass(3), (uint8_t)Simd::pass(4)},           \
        {SB_ROWS(Simd::one_kind), SB_ROWS(kSlopes), SB_ROWS(kWide)}, peak, &kGraphRows                                       \
  }

#include "kernel_graph.h"
