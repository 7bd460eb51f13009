// AVX-512 VNNI: vpdpbusd on 64 bytes.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "cpu.h"
#include "isa.h"
#include "resize.h"
#include "unroll.h"

namespace sharpbit {
namespace {

#define SB_OPAQUE(x) SB_HIDE("+v", x)

#include "simd512.h"
#include "kernel.h"

}  // namespace

void resize_avx512(const Resizing &r) { resize(r); }

const Isa kAvx512Vnni = SB_ISA("avx512-vnni", cpu::has_avx512_vnni);

}  // namespace sharpbit
