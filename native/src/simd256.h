// What the instruction sets with sixteen registers of 256 bits share. Included like kernel.h: before it, in the same
// unnamed namespace.

struct Simd256 {
  using Vector = __m256i;
  using Sum = __m256i;
  static constexpr int lanes = 8, registers = 16;
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
  static __m256i scaled(Sum sum, const float *multiplier) {
    const __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(multiplier));
    return _mm256_cvtps_epi32(_mm256_min_ps(value, _mm256_set1_ps(255.0f)));
  }
  // One block: 16 numbers of 16 bits in order, at most 255 but not yet clamped below.
  static __m256i block(Sum low, Sum high, const float *multiplier) {
    const __m256i packed = _mm256_packs_epi32(scaled(low, multiplier), scaled(high, multiplier + 8));
    return _mm256_permute4x64_epi64(packed, 0xD8);
  }
};
