// Takes bytes that nobody vouches for apart.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "network.h"

namespace sharpbit {

class Reader {
 public:
  Reader(const uint8_t *data, size_t size, const char *what) : data_(data), left_(size), what_(what) {}

  const uint8_t *take(size_t bytes) {
    if (bytes > left_) damaged("cut off");
    const uint8_t *at = data_;
    data_ += bytes;
    left_ -= bytes;
    return at;
  }
  uint32_t number() { return number(take(4)); }
  static uint32_t number(const uint8_t *p) {  // little endian
    return uint32_t{p[0]} | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24;
  }
  void end() const {
    if (left_ != 0) damaged(std::to_string(left_) + " bytes too many");
  }
  [[noreturn]] void damaged(const std::string &how) const {
    throw ModelError(std::string("the integer ") + what_ + " is damaged (" + how + "); get it again");
  }

 private:
  const uint8_t *data_;
  size_t left_;
  const char *what_;
};

}  // namespace sharpbit
