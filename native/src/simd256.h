// What the instruction sets with sixteen registers of 256 bits share. Included like kernel.h: before it, in the same
// unnamed namespace.

struct Simd256 {
  using Vector = __m256i;
  using Sum = __m256i;
  static constexpr int lanes = 8, registers = 16;
  static constexpr bool one_kind = false, puts_values = true;
  // Twelve registers of sums leave room for weights and activations.
  static constexpr int pixels(int blocks) { return 6 / blocks; }
  static constexpr int pass(int blocks) { return blocks % 2 == 0 ? 2 : 1; }

  static Sum load(const int32_t *from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)); }
  static void spill(int32_t *to, Sum sum) { _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), sum); }
  static Vector broadcast(const uint8_t *from) {
    int32_t four;
    std::memcpy(&four, from, 4);
    return _mm256_set1_epi32(four);
  }
  static Vector weights(const uint8_t *from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)); }
  static Sum looked_up(const uint32_t *table, Sum entries) {
    return _mm256_i32gather_epi32(reinterpret_cast<const int *>(table), entries, 4);
  }

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

  // Wide channels. `bytes` are 8 of 32 bits.
  static __m256i widened(const uint8_t *bytes) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(bytes)));
  }
  static Sum add_passed(Sum sum, __m256i bytes, const uint8_t *fine, const int32_t *weight) {
    const __m256i level = _mm256_add_epi32(_mm256_slli_epi32(bytes, 8), widened(fine));
    const __m256i value = _mm256_sub_epi32(level, _mm256_set1_epi32(128));
    const __m256i by = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(weight));
    return _mm256_add_epi32(sum, _mm256_mullo_epi32(value, by));
  }
  static __m256 product(Sum sum, const float *multiplier, long outputs) {
    const __m256 by = _mm256_blendv_ps(_mm256_loadu_ps(multiplier), _mm256_loadu_ps(multiplier + outputs),
                                       _mm256_castsi256_ps(sum));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(sum), by);
  }
  // 8 bytes of 16 bits, and 8 more of what they leave. With second bytes values are kept within what still rounds to the
  // levels 0 and 255; of the steps left only the 128 halfway between two levels are clipped.
  struct Bytes {
    __m128i first, second;
  };
  template <bool WIDE>
  static SB_INLINE Bytes bytes_of(__m256 value, Sum zero) {
    if constexpr (!WIDE) {  // far beyond a byte they are at their ends
      const __m256i level = _mm256_add_epi32(_mm256_cvtps_epi32(clipped(value, -512.0f, 512.0f)), zero);
      return {halved(_mm256_min_epi32(_mm256_max_epi32(level, _mm256_setzero_si256()), _mm256_set1_epi32(255))),
              _mm_setzero_si128()};
    }
    const __m256 around = _mm256_cvtepi32_ps(zero);
    const __m256 least = _mm256_sub_ps(_mm256_set1_ps(kLeastValue), around);
    const __m256 most = _mm256_sub_ps(_mm256_set1_ps(kMostValue), around);
    const __m256 kept = _mm256_min_ps(_mm256_max_ps(value, least), most);
    const __m256i level = _mm256_cvtps_epi32(kept);
    const __m256 left = _mm256_sub_ps(kept, _mm256_cvtepi32_ps(level));
    const __m256i steps = _mm256_cvtps_epi32(_mm256_mul_ps(left, _mm256_set1_ps(256.0f)));
    const __m256i second = _mm256_min_epi32(_mm256_add_epi32(steps, _mm256_set1_epi32(128)), _mm256_set1_epi32(255));
    return {halved(_mm256_add_epi32(level, zero)), halved(second)};
  }
  static __m128i requantized(Sum sum, Sum zero, const float *multiplier, long outputs, uint8_t *fine) {
    const __m256 value = product(sum, multiplier, outputs);
    if (!fine) return bytes_of<false>(value, zero).first;
    const Bytes bytes = bytes_of<true>(value, zero);
    put_narrow(fine, bytes.second);
    return bytes.first;
  }
  static void put_narrow(uint8_t *to, __m128i bytes) {
    _mm_storel_epi64(reinterpret_cast<__m128i *>(to), _mm_packus_epi16(bytes, bytes));
  }
  static __m128i halved(__m256i v) { return _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)); }
  static __m256 clipped(__m256 x, float low, float high) {
    return _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(low)), _mm256_set1_ps(high));
  }
};
