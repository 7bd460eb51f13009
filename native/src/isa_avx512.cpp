// AVX-512 VNNI: vpdpbusd on 64 bytes.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "cpu.h"
#include "isa.h"
#include "unroll.h"

namespace sharpbit {
namespace {

#include "simd512.h"

#include "kernel.h"

}  // namespace

const Isa kAvx512Vnni = SB_ISA("avx512-vnni", cpu::has_avx512_vnni);

}  // namespace sharpbit
