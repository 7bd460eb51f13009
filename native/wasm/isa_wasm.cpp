// SIMD of WebAssembly: products of 16 bits, two of which are added at once.
#include <wasm_simd128.h>

#include <cstdint>
#include <cstring>

#include "isa.h"
#include "unroll.h"

namespace sharpbit {
namespace {

#define SB_OPAQUE(x) SB_HIDE("+r", x)

struct Simd {
  using Vector = v128_t;
  using Sum = v128_t;
  static constexpr int lanes = 4, registers = 0;
  static constexpr bool one_kind = true, puts_values = false;
  static constexpr Activation activation = Activation::s16;
  static constexpr int pixels(int) { return 2; }
  static constexpr int pass(int) { return 1; }

  static Sum load(const int32_t *from) { return wasm_v128_load(from); }
  static void spill(int32_t *to, Sum sum) { wasm_v128_store(to, sum); }
  static Vector broadcast(const uint8_t *from) { return wasm_v128_load32_splat(from); }
  static Vector weights(const uint8_t *from) { return wasm_v128_load(from); }
  static Sum dot(Sum sum, Vector a, Vector w) { return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(a, w)); }
  static Sum looked_up(const uint32_t *table, Sum entries) {
    return wasm_u32x4_make(table[wasm_i32x4_extract_lane(entries, 0)], table[wasm_i32x4_extract_lane(entries, 1)],
                           table[wasm_i32x4_extract_lane(entries, 2)], table[wasm_i32x4_extract_lane(entries, 3)]);
  }

  // To the nearest, half to even, of numbers far below 2**22: adding 1.5 * 2**23 leaves no fractions.
  static v128_t rounded(v128_t value) {
    return wasm_i32x4_sub(wasm_f32x4_add(value, wasm_f32x4_const_splat(12582912.0f)), wasm_i32x4_const_splat(0x4B400000));
  }
  static v128_t within(v128_t value, float low, float high) {
    return wasm_f32x4_pmin(wasm_f32x4_pmax(value, wasm_f32x4_splat(low)), wasm_f32x4_splat(high));
  }
  static v128_t product(Sum sum, const float *multiplier, long outputs) {
    const v128_t negative = wasm_i32x4_shr(sum, 31);
    const v128_t by = wasm_v128_bitselect(wasm_v128_load(multiplier + outputs), wasm_v128_load(multiplier), negative);
    return wasm_f32x4_mul(wasm_f32x4_convert_i32x4(sum), by);
  }
  template <bool SLOPED>
  static v128_t level(Sum sum, const float *multiplier, long outputs) {
    if constexpr (SLOPED)
      return wasm_i32x4_add(rounded(within(product(sum, multiplier, outputs), -255.0f, 255.0f)),
                            wasm_v128_load(multiplier + 2 * outputs));
    return rounded(within(wasm_f32x4_mul(wasm_f32x4_convert_i32x4(sum), wasm_v128_load(multiplier)), 0.0f, 255.0f));
  }

  template <int P, int N, bool SLOPED>
  static void store(const Sum (&sums)[P][N], const float *multiplier, uint8_t *out, long pixel, long outputs) {
    SB_UNROLL for (int n = 0; n < N; n += 2) {
      SB_UNROLL for (int p = 0; p < P; p++) {
        const float *const by = multiplier + 4 * n;
        v128_t levels = wasm_i16x8_narrow_i32x4(level<SLOPED>(sums[p][n], by, outputs),
                                                level<SLOPED>(sums[p][n + 1], by + 4, outputs));
        if constexpr (SLOPED)
          levels = wasm_i16x8_min(wasm_i16x8_max(levels, wasm_i16x8_const_splat(0)), wasm_i16x8_const_splat(255));
        wasm_v128_store(out + p * pixel + 8 * n, levels);
      }
    }
  }

  static v128_t widened(const uint8_t *bytes) {
    return wasm_u32x4_extend_low_u16x8(wasm_u16x8_extend_low_u8x16(wasm_v128_load32_zero(bytes)));
  }
  static Sum activations(const uint8_t *from) {
    // What fills channels up to whole blocks may be any number.
    return wasm_v128_and(wasm_i32x4_load16x4(from), wasm_i32x4_const_splat(255));
  }
  static void put_activations(uint8_t *to, Sum bytes) {
    wasm_v128_store64_lane(to, wasm_i16x8_narrow_i32x4(bytes, bytes), 0);
  }
  static Sum passed(Sum sum, const uint8_t *bytes, const uint8_t *fine, const int32_t *weight) {
    const v128_t level = wasm_i32x4_shl(wasm_i32x4_load16x4(bytes), 8);
    const v128_t value = wasm_i32x4_add(level, wasm_i32x4_sub(widened(fine), wasm_i32x4_const_splat(128)));
    return wasm_i32x4_add(sum, wasm_i32x4_mul(value, wasm_v128_load(weight)));
  }
  // Far beyond a byte both results are at their ends, so products may be clipped there.
  static void store_wide(Sum sum, Sum zero, const float *multiplier, long outputs, uint8_t *out, uint8_t *fine) {
    const v128_t value = within(product(sum, multiplier, outputs), -512.0f, 512.0f);
    const v128_t byte = clipped(wasm_i32x4_add(rounded(value), zero));
    wasm_v128_store64_lane(out, wasm_i16x8_narrow_i32x4(byte, byte), 0);
    if (!fine) return;
    const v128_t left = wasm_f32x4_sub(value, wasm_f32x4_convert_i32x4(wasm_i32x4_sub(byte, zero)));
    const v128_t steps = rounded(wasm_f32x4_mul(left, wasm_f32x4_const_splat(256.0f)));
    const v128_t second = clipped(wasm_i32x4_add(steps, wasm_i32x4_const_splat(128)));
    const v128_t half = wasm_i16x8_narrow_i32x4(second, second);
    wasm_v128_store32_lane(fine, wasm_u8x16_narrow_i16x8(half, half), 0);
  }
  static v128_t clipped(v128_t v) {
    return wasm_i32x4_min(wasm_i32x4_max(v, wasm_i32x4_const_splat(0)), wasm_i32x4_const_splat(255));
  }
};

#include "kernel.h"

bool always() { return true; }

}  // namespace

extern const Isa kWasm;
const Isa kWasm = SB_ISA("wasm-simd128", always);

}  // namespace sharpbit
