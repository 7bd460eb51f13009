// Plain C++: the same arithmetic for every processor.
#include <cfloat>
#include <cstdint>
#include <cstring>

#include "isa.h"
#include "unroll.h"

// The requantization is defined in float32; wider intermediate results (x87) would round differently.
static_assert(FLT_EVAL_METHOD == 0, "compile with strict float arithmetic, on 32-bit x86 with -msse2 -mfpmath=sse");

namespace sharpbit {
namespace {

#define SB_OPAQUE(x) SB_HIDE("+m", x)

struct Simd {
  struct Sum {
    int32_t lane[16];
  };
  struct Vector {
    int16_t lane[32];  // of a broadcast only the first two are used
  };
  static constexpr int lanes = 16, registers = 0;
  static constexpr bool one_kind = true, puts_values = false;
  static constexpr Activation activation = Activation::s16;
  static constexpr int pixels(int) { return 1; }
  static constexpr int pass(int) { return 1; }

  static Sum load(const int32_t *from) {
    Sum sum;
    std::memcpy(sum.lane, from, sizeof sum.lane);
    return sum;
  }
  static void spill(int32_t *to, const Sum &sum) { std::memcpy(to, sum.lane, sizeof sum.lane); }
  static Vector broadcast(const uint8_t *from) {
    Vector v;
    std::memcpy(v.lane, from, 4);
    return v;
  }
  static Vector weights(const uint8_t *from) {
    Vector v;
    std::memcpy(v.lane, from, 64);
    return v;
  }
  static Sum dot(Sum sum, const Vector &a, const Vector &w) {
    for (int i = 0; i < 16; i++) sum.lane[i] += a.lane[0] * w.lane[2 * i] + a.lane[1] * w.lane[2 * i + 1];
    return sum;
  }
  static Sum looked_up(const uint32_t *table, const Sum &entries) {
    Sum found;
    for (int i = 0; i < 16; i++) found.lane[i] = static_cast<int32_t>(table[entries.lane[i]]);
    return found;
  }
  template <int P, int N, bool SLOPED>
  static void store(const Sum (&sums)[P][N], const float *multiplier, uint8_t *out, long, long outputs) {
    constexpr float magic = 12582912.0f;  // 1.5 * 2**23: adding it rounds half to even, as no fractions are left there
    for (int i = 0; i < 16; i++) {
      const int32_t sum = sums[0][0].lane[i];
      float value = static_cast<float>(sum) * multiplier[sum < 0 ? i + outputs : i];
      value = value < -255.0f ? -255.0f : value > 255.0f ? 255.0f : value;  // zero points lie within 0 to 255
      int32_t zero;
      std::memcpy(&zero, multiplier + 2 * outputs + i, 4);
      const int32_t level = static_cast<int32_t>((value + magic) - magic) + zero;
      const int16_t byte = static_cast<int16_t>(level < 0 ? 0 : level > 255 ? 255 : level);
      std::memcpy(out + 2 * i, &byte, 2);
    }
  }

  static Sum widened(const uint8_t *bytes) {
    Sum sum;
    for (int i = 0; i < 16; i++) sum.lane[i] = bytes[i];
    return sum;
  }
  static Sum activations(const uint8_t *from) {
    Sum sum;
    for (int i = 0; i < 16; i++) {
      int16_t byte;
      std::memcpy(&byte, from + 2 * i, 2);
      sum.lane[i] = byte & 255;  // what fills blocks up may be any number
    }
    return sum;
  }
  static void put_activations(uint8_t *to, const Sum &bytes) {
    for (int i = 0; i < 16; i++) {
      const int16_t byte = static_cast<int16_t>(bytes.lane[i]);
      std::memcpy(to + 2 * i, &byte, 2);
    }
  }
  static Sum passed(Sum sum, const uint8_t *bytes, const uint8_t *fine, const int32_t *weight) {
    for (int i = 0; i < 16; i++) {
      int16_t byte;
      std::memcpy(&byte, bytes + 2 * i, 2);
      sum.lane[i] += (256 * byte + fine[i] - 128) * weight[i];
    }
    return sum;
  }
  // Far beyond a byte both results are at their ends, so products may be clipped there.
  static void store_wide(const Sum &sum, const Sum &zeros, const float *multiplier, long outputs, uint8_t *out,
                         uint8_t *fine) {
    for (int i = 0; i < 16; i++) {
      const int32_t total = sum.lane[i];
      float value = static_cast<float>(total) * multiplier[total < 0 ? i + outputs : i];
      value = value < -512.0f ? -512.0f : value > 512.0f ? 512.0f : value;
      const int32_t zero = zeros.lane[i];
      const int16_t byte = static_cast<int16_t>(clipped(rounded(value) + zero));
      std::memcpy(out + 2 * i, &byte, 2);
      if (fine) fine[i] = static_cast<uint8_t>(clipped(rounded((value - static_cast<float>(byte - zero)) * 256) + 128));
    }
  }
  static int32_t rounded(float value) {
    constexpr float magic = 12582912.0f;
    return static_cast<int32_t>((value + magic) - magic);
  }
  static int32_t clipped(int32_t level) { return level < 0 ? 0 : level > 255 ? 255 : level; }
};

#include "kernel.h"

bool always() { return true; }

}  // namespace

const Isa kPlain = SB_ISA("c", always);

}  // namespace sharpbit
