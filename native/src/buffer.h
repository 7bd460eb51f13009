// Memory that starts at a cache line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace sharpbit {

constexpr size_t kLine = 64;

struct FreeLines {
  void operator()(uint8_t *p) const { ::operator delete[](p, std::align_val_t(kLine)); }
};

using Buffer = std::unique_ptr<uint8_t[], FreeLines>;

// Throws std::bad_alloc. The content is not set.
inline Buffer make_buffer(size_t bytes) {
  return Buffer(static_cast<uint8_t *>(::operator new[](bytes, std::align_val_t(kLine))));
}

constexpr size_t whole_lines(size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

}  // namespace sharpbit
