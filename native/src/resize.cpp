// Resizing for every processor, and its part of the C interface.
#include "resize.h"

#include <new>

#include "cpu.h"
#include "sharpbit.h"

namespace {

constexpr int32_t kMaxSide = 1 << 20;

bool within(const int32_t *first, int32_t count, int32_t taps, int32_t size) {
  if (count < 1 || count > kMaxSide || size > kMaxSide || taps < 1 || taps > size) return false;
  for (int32_t i = 0; i < count; i++)
    if (first[i] < 0 || first[i] > size - taps) return false;
  return true;
}

}  // namespace

int32_t sb_resize(const uint8_t *in, ptrdiff_t in_stride, int32_t in_height, int32_t in_width, uint8_t *out,
                  int32_t height, int32_t width, const int32_t *first_rows, const float *row_weights,
                  int32_t row_taps, const int32_t *first_columns, const float *column_weights, int32_t column_taps) {
  if (!in || !out || !first_rows || !row_weights || !first_columns || !column_weights ||
      !within(first_rows, height, row_taps, in_height) || !within(first_columns, width, column_taps, in_width) ||
      in_stride < ptrdiff_t{3} * in_width)
    return SB_ERROR_SIZE;
  const sharpbit::Resizing all{in,         in_stride,     in_width,    out,            height,   width,
                               first_rows, first_columns, row_weights, column_weights, row_taps, column_taps};
  try {
#if defined(SB_AVX512_VNNI)
    if (sharpbit::cpu::has_avx512_vnni()) {
      sharpbit::resize_avx512(all);
      return SB_DONE;
    }
#endif
    sharpbit::resize(all);
    return SB_DONE;
  } catch (const std::bad_alloc &) {
    return SB_ERROR_MEMORY;
  }
}
