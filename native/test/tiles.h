// The tiles of AMX in AVX-512, so that what uses them can be checked on processors without them (check_tiles, graphs_tiles).
#pragma once

#include <cstdlib>

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbusd

namespace sharpbit_tiles {

inline thread_local uint8_t tile[8][1024];
inline thread_local bool configured = false;

inline void configure(bool now) {
  if (configured == now) std::abort();  // twice, or released without
  configured = now;
  std::memset(tile, 0xA5, sizeof tile);  // nobody may count on what was there
}
inline uint8_t *used(int t) {
  if (!configured) std::abort();  // a processor would end the program, too
  return tile[t];
}
inline void zero(int t) { std::memset(used(t), 0, 1024); }
inline void load(int t, const void *from, long stride) {
  for (int row = 0; row < 16; row++) std::memcpy(used(t) + 64 * row, static_cast<const uint8_t *>(from) + row * stride, 64);
}
inline void store(int t, void *to, long stride) {
  for (int row = 0; row < 16; row++) std::memcpy(static_cast<uint8_t *>(to) + row * stride, used(t) + 64 * row, 64);
}
inline void dot(int sums, int a, int w) {
  for (int row = 0; row < 16; row++) {
    __m512i sum = _mm512_loadu_si512(used(sums) + 64 * row);
    for (int group = 0; group < 16; group++) {
      int32_t four;
      std::memcpy(&four, tile[a] + 64 * row + 4 * group, 4);
      sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi32(four), _mm512_loadu_si512(tile[w] + 64 * group));
    }
    _mm512_storeu_si512(tile[sums] + 64 * row, sum);
  }
}

}  // namespace sharpbit_tiles

#define _tile_loadconfig(config) ((void)(config), sharpbit_tiles::configure(true))
#define _tile_release() sharpbit_tiles::configure(false)
#define _tile_zero(t) sharpbit_tiles::zero(t)
#define _tile_loadd(t, from, stride) sharpbit_tiles::load(t, from, stride)
#define _tile_stored(t, to, stride) sharpbit_tiles::store(t, to, stride)
#define _tile_dpbusd(sums, a, w) sharpbit_tiles::dot(sums, a, w)
