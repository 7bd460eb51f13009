// How tiles of AMX read one row of a kernel from a row of activations: in steps of 64 bytes of as many pixels as a tile has
// rows, each of which begins a pixel after the one before. What a step reads too much meets weights of zero.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sharpbit {

constexpr int kTileRow = 64, kTileBytes = 1024;

struct TileSteps {
  long pitch;              // bytes from one column of the kernel to the next
  int32_t columns, steps;  // by themselves, with so many steps each; or one, where all columns are one stretch

  // Of pixels of `pixel` bytes, the first `bytes` of which are read. One stretch is taken where that takes fewer steps.
  static TileSteps of(long pixel, int32_t bytes, int32_t kernel) {
    const int32_t own = (bytes + kTileRow - 1) / kTileRow;
    const int32_t stretch = (int32_t((kernel - 1) * pixel) + bytes + kTileRow - 1) / kTileRow;
    return stretch < kernel * own ? TileSteps{pixel, 1, stretch} : TileSteps{pixel, kernel, own};
  }
  int32_t count() const { return columns * steps; }
  // The byte of a column, counted through all steps.
  size_t place(int32_t column, int32_t byte) const {
    return size_t(columns == 1 ? column * pitch : long{column} * steps * kTileRow) + size_t(byte);
  }
};

}  // namespace sharpbit
