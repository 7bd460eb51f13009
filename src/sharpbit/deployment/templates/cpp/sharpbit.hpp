// The engine of sharpbit for C++17: an Upscaler that owns its model, and throws where something fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "sharpbit.h"

namespace sharpbit {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// An opened model; may be used by several threads at once.
class Upscaler {
 public:
  // The bytes are those of a .sharpbit file; they are not needed any more afterwards.
  Upscaler(const uint8_t *data, size_t size) {
    sb_chain *opened = nullptr;
    char message[512] = "";
    const int32_t state = sb_open(data, size, nullptr, &opened, message, sizeof message);
    if (state != SB_DONE) throw Error(message[0] ? message : "no memory for the model");
    chain_.reset(opened);
  }

  int scale() const { return sb_scale(chain_.get()); }

  // `in` holds `height` rows of `width` RGB pixels without gaps, and so does the result, `scale()` times larger.
  std::vector<uint8_t> operator()(const uint8_t *in, int height, int width, int threads = 1) const {
    if (height < 1 || width < 1) throw Error("an image has at least one pixel");
    const size_t times = static_cast<size_t>(scale()), row = size_t{3} * static_cast<size_t>(width);
    std::vector<uint8_t> out(row * times * static_cast<size_t>(height) * times);
    const int32_t state = sb_upscale(chain_.get(), in, static_cast<ptrdiff_t>(row), out.data(),
                                     static_cast<ptrdiff_t>(row * times), height, width, threads);
    if (state == SB_ERROR_SIZE) throw Error("sides have 1 to 65535 pixels, and 1 to 256 threads may work");
    if (state == SB_ERROR_MEMORY) throw Error("no memory for this image");
    if (state != SB_DONE) throw Error("the engine answered " + std::to_string(state));
    return out;
  }

 private:
  struct Close {
    void operator()(sb_chain *chain) const { sb_close(chain); }
  };
  std::unique_ptr<sb_chain, Close> chain_;
};

}  // namespace sharpbit
