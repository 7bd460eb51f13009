// AVX-512 VNNI: vpdpbusd on 64 bytes.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "cpu.h"
#include "isa.h"
#include "unroll.h"

namespace sharpbit {
namespace {

#define SB_OPAQUE(x) SB_HIDE("+v", x)

struct Simd {
  using Vector = __m512i;
  using Sum = __m512i;
  static constexpr int lanes = 16, registers = 32;
  static constexpr Activation activation = Activation::u8;
  static constexpr int pixels(int blocks) { return blocks == 3 ? 7 : 24 / blocks; }
  static constexpr int pass(int blocks) { return blocks; }

  static Sum load(const int32_t *from) { return _mm512_loadu_si512(from); }
  static Vector broadcast(const uint8_t *from) {
    int32_t four;
    std::memcpy(&four, from, 4);
    return _mm512_set1_epi32(four);
  }
  static Vector weights(const uint8_t *from) { return _mm512_loadu_si512(from); }
  static Sum dot(Sum sum, Vector a, Vector w) { return _mm512_dpbusd_epi32(sum, a, w); }

  // Packing 32 to 16 bits saturates large numbers, but the conversion to integers does not: hence the minimum.
  static __m512i scaled(Sum sum, __m512 multiplier) {
    const __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), multiplier);
    return _mm512_cvtps_epi32(_mm512_min_ps(value, _mm512_set1_ps(255.0f)));
  }

  // All blocks of a pixel are computed together, so the blocks of P pixels follow each other: 4 of them fill 64 bytes.
  template <int P, int N>
  static void store(const Sum (&sums)[P][N], const float *multiplier, uint8_t *out, long) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    SB_UNROLL for (int i = 0; i + 4 <= P * N; i += 4) {
      __m512i v[4];
      SB_UNROLL for (int j = 0; j < 4; j++) {
        const int p = (i + j) / N, n = (i + j) % N;
        v[j] = scaled(sums[p][n], _mm512_loadu_ps(multiplier + 16 * n));
      }
      const __m512i packed = _mm512_packus_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));
      _mm512_storeu_si512(out + 16 * i, _mm512_permutexvar_epi32(order, packed));
    }
    SB_UNROLL for (int i = P * N / 4 * 4; i < P * N; i++) {
      const __m512i v = scaled(sums[i / N][i % N], _mm512_loadu_ps(multiplier + 16 * (i % N)));
      _mm_storeu_si128((__m128i *)(out + 16 * i), _mm512_cvtusepi32_epi8(_mm512_max_epi32(v, _mm512_setzero_si512())));
    }
  }
};

#include "kernel.h"

}  // namespace

const Isa kAvx512Vnni = SB_ISA("avx512-vnni", cpu::has_avx512_vnni);

}  // namespace sharpbit
