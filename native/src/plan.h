// How an image is cut into regions: bands for the threads, strips so that the rows in work stay in the cache.
#pragma once

#include "network.h"

namespace sharpbit {

struct Plan {
  int bands = 1, strips = 1;

  int regions() const { return bands * strips; }
  Region region(const ImageData &image, int index) const;
};

Plan make_plan(const Network &network, const ImageData &image, int threads);

}  // namespace sharpbit
