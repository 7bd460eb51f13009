// What the instruction sets with sixteen registers of 256 bits share. Included like kernel.h: before it, in the same
// unnamed namespace.

struct Simd256 {
  using Vector = __m256i;
  using Sum = __m256i;
  static constexpr int lanes = 8, registers = 16;
  static constexpr bool one_kind = false;
  // Twelve registers of sums leave room for weights and activations.
  static constexpr int pixels(int blocks) { return 6 / blocks; }
  static constexpr int pass(int blocks) { return blocks % 2 == 0 ? 2 : 1; }

  static Sum load(const int32_t *from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)); }
  static Vector broadcast(const uint8_t *from) {
    int32_t four;
    std::memcpy(&four, from, 4);
    return _mm256_set1_epi32(four);
  }
  static Vector weights(const uint8_t *from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)); }

  // Packing 32 to 16 bits saturates large numbers, but the conversion to integers does not: hence the minimum.
  template <bool SLOPED>
  static __m256i scaled(Sum sum, const float *multiplier, long outputs) {
    __m256 by = _mm256_loadu_ps(multiplier);
    if constexpr (SLOPED) by = _mm256_blendv_ps(by, _mm256_loadu_ps(multiplier + outputs), _mm256_castsi256_ps(sum));
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), by), _mm256_set1_ps(255.0f)));
  }
  // One block: 16 numbers of 16 bits in order; at most 255, or 510 with zero points, and not yet clamped below.
  template <bool SLOPED>
  static __m256i block(Sum low, Sum high, const float *multiplier, long outputs) {
    __m256i packed = _mm256_packs_epi32(scaled<SLOPED>(low, multiplier, outputs),
                                        scaled<SLOPED>(high, multiplier + 8, outputs));
    if constexpr (SLOPED) {
      const __m256i *zero = reinterpret_cast<const __m256i *>(multiplier + 2 * outputs);
      packed = _mm256_adds_epi16(packed, _mm256_packs_epi32(_mm256_loadu_si256(zero), _mm256_loadu_si256(zero + 1)));
    }
    return _mm256_permute4x64_epi64(packed, 0xD8);
  }
};
