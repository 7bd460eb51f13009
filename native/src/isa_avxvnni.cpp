// AVX-VNNI: vpdpbusd on 32 bytes.
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
  static constexpr Activation activation = Activation::u8;

  static Sum dot(Sum sum, Vector a, Vector w) { return _mm256_dpbusd_avx_epi32(sum, a, w); }

  template <int P, int N, bool SLOPED>
  static void store(const Sum (&sums)[P][N], const float *multiplier, uint8_t *out, long pixel, long outputs) {
    (void)outputs;
    SB_UNROLL for (int p = 0; p < P; p++) {
      SB_UNROLL for (int n = 0; n < N; n += 2) {
        const __m256i v = block<SLOPED>(sums[p][n], sums[p][n + 1], multiplier + 8 * n, outputs);
        const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i *>(out + p * pixel + 8 * n), bytes);
      }
    }
  }

  static Sum activations(const uint8_t *from) { return widened(from); }
  static void put_activations(uint8_t *to, Sum bytes) {
    put_narrow(to, halved(bytes));
  }
  static void put_value(__m256 value, Sum zero, uint8_t *out, uint8_t *fine) {
    if (!fine) return put_narrow(out, bytes_of<false>(value, zero).first);
    const Bytes bytes = bytes_of<true>(value, zero);
    put_narrow(out, bytes.first);
    put_narrow(fine, bytes.second);
  }
  static Sum passed(Sum sum, const uint8_t *bytes, const uint8_t *fine, const int32_t *weight) {
    return add_passed(sum, widened(bytes), fine, weight);
  }
  static void store_wide(Sum sum, Sum zero, const float *multiplier, long outputs, uint8_t *out, uint8_t *fine) {
    put_narrow(out, requantized(sum, zero, multiplier, outputs, fine));
  }
};

#include "kernel.h"

}  // namespace

const Isa kAvxVnni = SB_ISA("avx-vnni", cpu::has_avx_vnni);

}  // namespace sharpbit
