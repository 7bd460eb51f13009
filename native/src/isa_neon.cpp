// NEON with the dot products of ARMv8.2: sdot multiplies signed with signed, so activations are kept minus 128.
#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#include "cpu.h"
#include "isa.h"
#include "unroll.h"

namespace sharpbit {
namespace {

#define SB_OPAQUE(x) SB_HIDE("+w", x)

struct Simd {
  using Vector = int8x16_t;
  using Sum = int32x4_t;
  static constexpr int lanes = 4, registers = 32;
  static constexpr bool one_kind = false, puts_values = false;
  static constexpr Activation activation = Activation::s8;
  static constexpr int pixels(int) { return 6; }
  static constexpr int pass(int) { return 1; }

  static Sum load(const int32_t *from) { return vld1q_s32(from); }
  static void spill(int32_t *to, Sum sum) { vst1q_s32(to, sum); }
  static Vector broadcast(const uint8_t *from) {
    int32_t four;
    std::memcpy(&four, from, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
  }
  static Vector weights(const uint8_t *from) { return vld1q_s8(reinterpret_cast<const int8_t *>(from)); }
  static Sum dot(Sum sum, Vector a, Vector w) { return vdotq_s32(sum, a, w); }
  static Sum looked_up(const uint32_t *table, Sum entries) {
    const uint32_t found[4] = {table[vgetq_lane_s32(entries, 0)], table[vgetq_lane_s32(entries, 1)],
                               table[vgetq_lane_s32(entries, 2)], table[vgetq_lane_s32(entries, 3)]};
    return vreinterpretq_s32_u32(vld1q_u32(found));
  }

  // Both the conversion (half to even) and the narrowing saturate, as does the addition of zero points.
  template <bool SLOPED>
  static uint16x4_t scaled(Sum sum, const float *multiplier, long outputs) {
    float32x4_t by = vld1q_f32(multiplier);
    if constexpr (SLOPED) by = vbslq_f32(vcltzq_s32(sum), vld1q_f32(multiplier + outputs), by);
    int32x4_t level = vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sum), by));
    if constexpr (SLOPED)
      level = vqaddq_s32(level, vld1q_s32(reinterpret_cast<const int32_t *>(multiplier + 2 * outputs)));
    return vqmovun_s32(level);
  }

  template <int P, int N, bool SLOPED>
  static void store(const Sum (&sums)[P][N], const float *multiplier, uint8_t *out, long pixel, long outputs) {
    SB_UNROLL for (int p = 0; p < P; p++) {
      SB_UNROLL for (int n = 0; n < N; n += 4) {
        const float *m = multiplier + 4 * n;
        const auto part = [&](int k) { return scaled<SLOPED>(sums[p][n + k], m + 4 * k, outputs); };
        const uint16x8_t low = vcombine_u16(part(0), part(1)), high = vcombine_u16(part(2), part(3));
        const uint8x16_t bytes = vcombine_u8(vqmovn_u16(low), vqmovn_u16(high));
        vst1q_u8(out + p * pixel + 4 * n, veorq_u8(bytes, vdupq_n_u8(0x80)));
      }
    }
  }

  static int32x4_t widened(const uint8_t *bytes) {
    uint32_t four;
    std::memcpy(&four, bytes, 4);
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four)))));
  }
  static Sum activations(const uint8_t *from) { return veorq_s32(widened(from), vdupq_n_s32(0x80)); }
  static void put_activations(uint8_t *to, Sum bytes) { narrow(veorq_s32(bytes, vdupq_n_s32(0x80)), to); }
  static Sum passed(Sum sum, const uint8_t *bytes, const uint8_t *fine, const int32_t *weight) {
    uint32_t four;
    std::memcpy(&four, bytes, 4);
    const int16x8_t level = vmovl_s8(vcreate_s8(four));  // less 128
    const int32x4_t value = vaddq_s32(vshlq_n_s32(vmovl_s16(vget_low_s16(level)), 8), widened(fine));
    return vmlaq_s32(sum, vaddq_s32(value, vdupq_n_s32(128 * 256 - 128)), vld1q_s32(weight));
  }
  // The conversions and the narrowing saturate.
  static void store_wide(Sum sum, Sum zero, const float *multiplier, long outputs, uint8_t *out, uint8_t *fine) {
    const float32x4_t by = vbslq_f32(vcltzq_s32(sum), vld1q_f32(multiplier + outputs), vld1q_f32(multiplier));
    const float32x4_t product = vmulq_f32(vcvtq_f32_s32(sum), by);
    const int32x4_t level = clipped(vqaddq_s32(vcvtnq_s32_f32(product), zero));
    narrow(veorq_s32(level, vdupq_n_s32(0x80)), out);
    if (!fine) return;
    const float32x4_t left = vsubq_f32(product, vcvtq_f32_s32(vsubq_s32(level, zero)));
    const int32x4_t steps = vcvtnq_s32_f32(vmulq_f32(left, vdupq_n_f32(256.0f)));
    narrow(clipped(vqaddq_s32(steps, vdupq_n_s32(128))), fine);
  }
  static int32x4_t clipped(int32x4_t v) { return vminq_s32(vmaxq_s32(v, vdupq_n_s32(0)), vdupq_n_s32(255)); }
  static void narrow(int32x4_t v, uint8_t *to) {
    const uint16x4_t half = vmovn_u32(vreinterpretq_u32_s32(v));
    const uint32_t four = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(half, half))), 0);
    std::memcpy(to, &four, 4);
  }
};

#include "kernel.h"

}  // namespace

const Isa kNeonDotprod = SB_ISA("neon-dotprod", cpu::has_neon_dotprod);

}  // namespace sharpbit
