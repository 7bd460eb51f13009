// How a picture is cut into regions: bands for the threads, strips so that the rows in work stay in the cache.
#pragma once

#include "chain.h"

namespace sharpbit {

struct Plan {
  int bands = 1, strips = 1;

  int regions() const { return bands * strips; }
  Region region(const Picture &picture, int index) const;
  int widest(const Picture &picture) const { return (picture.width + strips - 1) / strips; }
};

Plan make_plan(const Chain &chain, const Picture &picture, int threads);

}  // namespace sharpbit
