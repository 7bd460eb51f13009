// Payloads as nobody should write them.
#pragma once

#include "chains.h"

// Changes a few bytes or numbers, or the length. Numbers of the first 24 bytes are changed most often.
inline void mutate(Random &random, Bytes &bytes) {
  const auto anywhere = [&](size_t most) { return size_t(random() % (std::min(bytes.size(), most) + 1)); };
  for (int n = uniform(random, 0, 4); n > 0 && !bytes.empty(); n--) {
    const size_t head = random() % std::min<size_t>(bytes.size(), 24), any = random() % bytes.size();
    switch (uniform(random, 0, 8)) {
      case 0: bytes[any] = uint8_t(random()); break;
      case 1: bytes[head] = uint8_t(random()); break;
      case 2: bytes[head] ^= uint8_t(1 << random() % 8); break;
      case 3: bytes.resize(anywhere(bytes.size())); break;
      case 4: bytes.insert(bytes.end(), size_t(uniform(random, 1, 9)), uint8_t(random())); break;
      case 5: bytes.erase(bytes.begin() + ptrdiff_t(any)); break;
      case 6: bytes[any] = random() % 2 ? 0x80 : 0xFF; break;
      default: {  // a large number where one is read, or anywhere
        const uint32_t large[] = {0, 1, 64, 65, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7F800000};
        const uint32_t value = large[random() % 8];
        const size_t at = random() % 2 ? head / 4 * 4 : any;
        for (size_t i = 0; i < 4 && at + i < bytes.size(); i++) bytes[at + i] = uint8_t(value >> 8 * i);
      }
    }
  }
}
