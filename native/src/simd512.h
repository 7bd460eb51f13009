// AVX-512 VNNI in the words of kernel.h, for itself and for what AMX leaves to it. Included like that: before it, in the same
// unnamed namespace.

#include "wide512.h"

struct Simd : Wide512 {
  using Vector = __m512i;
  using Sum = __m512i;
  static constexpr int lanes = 16, registers = 32;
  static constexpr bool one_kind = false, puts_values = true;
  static constexpr Activation activation = Activation::u8;
  static constexpr int pixels(int blocks) { return blocks == 3 ? 7 : 24 / blocks; }
  static constexpr int pass(int blocks) { return blocks == 4 ? 2 : blocks; }

  static Sum load(const int32_t *from) { return _mm512_loadu_si512(from); }
  static void spill(int32_t *to, Sum sum) { _mm512_storeu_si512(to, sum); }
  static Vector broadcast(const uint8_t *from) {
    int32_t four;
    std::memcpy(&four, from, 4);
    return _mm512_set1_epi32(four);
  }
  static Vector weights(const uint8_t *from) { return _mm512_loadu_si512(from); }
  static Sum looked_up(const uint32_t *table, Sum entries) { return _mm512_i32gather_epi32(entries, table, 4); }
  static Sum dot(Sum sum, Vector a, Vector w) { return _mm512_dpbusd_epi32(sum, a, w); }

  // Packing 32 to 16 bits saturates large numbers, but the conversion to integers does not: hence the minimum.
  template <bool SLOPED>
  static __m512i scaled(Sum sum, const float *multiplier, long outputs) {
    __m512 by = _mm512_loadu_ps(multiplier);
    if constexpr (SLOPED) by = _mm512_mask_loadu_ps(by, _mm512_movepi32_mask(sum), multiplier + outputs);
    return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), by), _mm512_set1_ps(255.0f)));
  }
  // 16 bits: room for the sum of two bytes, of which the next packing keeps 0 to 255.
  template <bool SLOPED>
  static __m512i packed(__m512i a, __m512i b, const float *multiplier_a, const float *multiplier_b, long outputs) {
    const __m512i both = _mm512_packs_epi32(a, b);
    if constexpr (!SLOPED) return both;
    const __m512i zeros_a = _mm512_loadu_si512(multiplier_a + 2 * outputs);
    const __m512i zeros_b = _mm512_loadu_si512(multiplier_b + 2 * outputs);
    return _mm512_adds_epi16(both, _mm512_packs_epi32(zeros_a, zeros_b));
  }

  static SB_INLINE __m512i second_bytes(Sum sum, const float *multiplier, long outputs, __m512i &steps) {
    return rounded(product(sum, multiplier, outputs), _mm512_loadu_si512(multiplier + 2 * outputs), steps);
  }

  // Where all blocks of a pixel are computed together, the blocks of P pixels follow each other: 4 of them fill 64 bytes.
  // Half of 4 blocks are 32 bytes of each of two pixels. With FINE the first register of each pixel has second bytes, 16 a
  // pixel, and N is 2.
  template <int P, int N, bool SLOPED, bool FINE = false>
  static void store(const Sum (&sums)[P][N], const float *multiplier, uint8_t *out, long pixel, long outputs,
                    uint8_t *fine = nullptr) {
    static_assert(!FINE || (N == 2 && P % 4 == 0), "");
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const bool halves = N == 2 && pixel != 16 * N;
    const int whole = N == 4 || halves || pixel == 16 * N ? P * N / 4 * 4 : 0;
    __m512i steps[P];
    SB_UNROLL for (int i = 0; i + 4 <= whole; i += 4) {
      __m512i v[4];
      const float *m[4];
      SB_UNROLL for (int j = 0; j < 4; j++) {
        m[j] = multiplier + (i + j) % N * 16;
        const Sum sum = sums[(i + j) / N][(i + j) % N];
        v[j] = FINE && j % 2 == 0 ? second_bytes(sum, m[j], outputs, steps[(i + j) / N]) : scaled<SLOPED>(sum, m[j], outputs);
      }
      const __m512i bytes = _mm512_packus_epi16(packed<SLOPED>(v[0], v[1], m[0], m[1], outputs),
                                                packed<SLOPED>(v[2], v[3], m[2], m[3], outputs));
      const __m512i ordered = _mm512_permutexvar_epi32(order, bytes);
      if (halves) {
        _mm256_storeu_si256((__m256i *)(out + i / 2 * pixel), _mm512_castsi512_si256(ordered));
        _mm256_storeu_si256((__m256i *)(out + (i / 2 + 1) * pixel), _mm512_extracti64x4_epi64(ordered, 1));
      } else
        _mm512_storeu_si512(out + (N == 4 ? i / 4 * pixel : 16 * i), ordered);
    }
    SB_UNROLL for (int i = whole; i < P * N; i++) {
      const float *m = multiplier + 16 * (i % N);
      __m512i v = scaled<SLOPED>(sums[i / N][i % N], m, outputs);
      if constexpr (SLOPED) v = _mm512_add_epi32(v, _mm512_loadu_si512(m + 2 * outputs));
      __m128i *const to = (__m128i *)(out + i / N * pixel + i % N * 16);
      _mm_storeu_si128(to, _mm512_cvtusepi32_epi8(_mm512_max_epi32(v, _mm512_setzero_si512())));
    }
    if constexpr (FINE) {
      SB_UNROLL for (int p = 0; p + 4 <= P; p += 4) {
        const __m512i bytes = _mm512_packs_epi16(_mm512_packs_epi32(steps[p], steps[p + 1]),
                                                 _mm512_packs_epi32(steps[p + 2], steps[p + 3]));
        _mm512_storeu_si512(fine + 16 * p, _mm512_xor_si512(_mm512_permutexvar_epi32(order, bytes), _mm512_set1_epi8(-128)));
      }
    }
  }
};
