// What this processor and its operating system can do.
#pragma once

#include <cstddef>

namespace sharpbit::cpu {

bool has_amx_int8();  // asks the operating system for the tiles, once
bool has_avx512_vnni();
bool has_avx_vnni();
bool has_avx2();
bool has_neon_dotprod();

size_t l2_bytes();  // of one core; a guess where the system does not say

}  // namespace sharpbit::cpu
