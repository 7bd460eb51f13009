// AVX2: activations and weights of 16 bits, as the products of bytes (vpmaddubsw) would saturate in pairs.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "cpu.h"
#include "isa.h"
#include "unroll.h"

namespace sharpbit {
namespace {

#define SB_OPAQUE(x) SB_HIDE("+x", x)

#include "simd256.h"

struct Simd : Simd256 {
  static constexpr Activation activation = Activation::s16;
  static constexpr int registers = 14;  // products need some as well
  static constexpr int pixels(int blocks) { return 4 / blocks; }

  static Sum dot(Sum sum, Vector a, Vector w) {
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, w));
    SB_OPAQUE(sum);  // else compilers add products to products first, and lack registers for them
    return sum;
  }

  template <int P, int N, bool SLOPED>
  static void store(const Sum (&sums)[P][N], const float *multiplier, uint8_t *out, long pixel, long outputs) {
    (void)outputs;
    SB_UNROLL for (int p = 0; p < P; p++) {
      SB_UNROLL for (int n = 0; n < N; n += 2) {
        __m256i v = block<SLOPED>(sums[p][n], sums[p][n + 1], multiplier + 8 * n, outputs);
        if constexpr (SLOPED) v = _mm256_min_epi16(v, _mm256_set1_epi16(255));
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + p * pixel + 16 * n),
                            _mm256_max_epi16(v, _mm256_setzero_si256()));
      }
    }
  }

  static Sum activations(const uint8_t *from) {
    const __m128i wide = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
    return _mm256_and_si256(_mm256_cvtepi16_epi32(wide), _mm256_set1_epi32(255));  // what fills blocks up may be any number
  }
  static void put_activations(uint8_t *to, Sum bytes) {
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to), halved(bytes));
  }
  static void put_value(__m256 value, Sum zero, uint8_t *out, uint8_t *fine) {
    const Bytes bytes = fine ? bytes_of<true>(value, zero) : bytes_of<false>(value, zero);
    _mm_storeu_si128(reinterpret_cast<__m128i *>(out), bytes.first);
    if (fine) _mm_storeu_si128(reinterpret_cast<__m128i *>(fine), bytes.second);
  }
  static Sum passed(Sum sum, const uint8_t *bytes, const uint8_t *fine, const int32_t *weight) {
    const __m128i level = _mm_loadu_si128(reinterpret_cast<const __m128i *>(bytes));
    return add_passed(sum, _mm256_cvtepi16_epi32(level), fine, weight);
  }
  static void store_wide(Sum sum, Sum zero, const float *multiplier, long outputs, uint8_t *out, uint8_t *fine) {
    _mm_storeu_si128(reinterpret_cast<__m128i *>(out), requantized(sum, zero, multiplier, outputs, fine));
  }
};

#include "kernel.h"

}  // namespace

const Isa kAvx2 = SB_ISA("avx2", cpu::has_avx2);

}  // namespace sharpbit
