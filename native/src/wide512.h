// Wide channels in 16 lanes of 32 bits: what AVX-512 does for itself and for AMX. Included like kernel.h: before it, in the
// same unnamed namespace.

struct Wide512 {
  static __m512i widened(const void *bytes) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i *>(bytes)));
  }
  static __m512i activations(const uint8_t *from) { return widened(from); }
  static void put_activations(uint8_t *to, __m512i bytes) {
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to), _mm512_cvtepi32_epi8(bytes));
  }
  static __m512i passed(__m512i sum, const uint8_t *bytes, const uint8_t *fine, const int32_t *weight) {
    const __m512i level = _mm512_add_epi32(_mm512_slli_epi32(widened(bytes), 8), widened(fine));
    const __m512i value = _mm512_sub_epi32(level, _mm512_set1_epi32(128));
    return _mm512_add_epi32(sum, _mm512_mullo_epi32(value, _mm512_loadu_si512(weight)));
  }
  static __m512 product(__m512i sum, const float *multiplier, long outputs) {
    const __m512 by =
        _mm512_mask_loadu_ps(_mm512_loadu_ps(multiplier), _mm512_movepi32_mask(sum), multiplier + outputs);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(sum), by);
  }
  static void store_wide(__m512i sum, __m512i zero, const float *multiplier, long outputs, uint8_t *out, uint8_t *fine) {
    put_value(product(sum, multiplier, outputs), zero, out, fine);
  }
  // The level less its zero point, and the steps of 256 that are left, which packing keeps below 128. Values are kept within
  // what still rounds to the levels 0 and 255 and leaves -128 and 127 steps, so that neither need be clipped.
  static SB_INLINE __m512i rounded(__m512 value, __m512i zero, __m512i &steps) {
    const __m512 around = _mm512_cvtepi32_ps(zero);
    const __m512 least = _mm512_sub_ps(_mm512_set1_ps(kLeastValue), around);
    const __m512 most = _mm512_sub_ps(_mm512_set1_ps(kMostValue), around);
    const __m512 kept = _mm512_min_ps(_mm512_max_ps(value, least), most);
    const __m512i level = _mm512_cvtps_epi32(kept);
    const __m512 left = _mm512_sub_ps(kept, _mm512_cvtepi32_ps(level));
    steps = _mm512_cvtps_epi32(_mm512_mul_ps(left, _mm512_set1_ps(256.0f)));
    return level;
  }
  // Far beyond a byte results are at their ends, so values may be clipped there.
  static void put_value(__m512 value, __m512i zero, uint8_t *out, uint8_t *fine) {
    if (!fine) {  // what is far below becomes the smallest integer
      const __m512 scaled = _mm512_min_ps(value, _mm512_set1_ps(512.0f));
      const __m512i level = _mm512_max_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(scaled), zero), _mm512_setzero_si512());
      _mm_storeu_si128(reinterpret_cast<__m128i *>(out), _mm512_cvtusepi32_epi8(level));
      return;
    }
    __m512i steps;
    const __m512i level = _mm512_add_epi32(rounded(value, zero, steps), zero);
    _mm_storeu_si128(reinterpret_cast<__m128i *>(out), _mm512_cvtepi32_epi8(level));
    const __m128i bytes = _mm512_cvtsepi32_epi8(steps);
    _mm_storeu_si128(reinterpret_cast<__m128i *>(fine), _mm_xor_si128(bytes, _mm_set1_epi8(-128)));
  }
};
