// How tiles of AMX read one row of a kernel from a row of activations: in steps of 64 bytes of as many pixels as a tile has
// rows, each of which begins a pixel after the one before. What a step reads too much meets weights of zero.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sharpbit {

constexpr int kTileRow = 64, kTileBytes = 1024;

struct TileSteps {
  long pixel;             // bytes from one pixel to the next
  int32_t bytes, kernel;  // of a pixel that are read, and columns

  // Columns lie behind each other: one stretch of them where that takes fewer steps, else each by itself.
  int32_t stretch() const { return int32_t((kernel - 1) * pixel + bytes + kTileRow - 1) / kTileRow; }
  int32_t of_column() const { return (bytes + kTileRow - 1) / kTileRow; }
  bool one_stretch() const { return stretch() < kernel * of_column(); }
  int32_t count() const { return one_stretch() ? stretch() : kernel * of_column(); }

  // Where a step begins, in bytes from the first column.
  long begin(int32_t step) const {
    return one_stretch() ? long{step} * kTileRow : step / of_column() * pixel + step % of_column() * kTileRow;
  }
  // The byte of a column, counted through all steps.
  size_t place(int32_t column, int32_t byte) const {
    return one_stretch() ? size_t(column * pixel + byte) : size_t(column) * size_t(of_column()) * kTileRow + size_t(byte);
  }
};

}  // namespace sharpbit
