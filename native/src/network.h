// What runs an image: a chain, a graph or a pair that has been read, checked and packed for one instruction set.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>

#include "isa.h"

namespace sharpbit {

// The bytes are no network; what() is a sentence.
struct ModelError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct ImageData {
  const uint8_t *in;
  ptrdiff_t in_stride;
  uint8_t *out;
  ptrdiff_t out_stride;
  int height, width;
};

struct Region {
  int top, bottom, left, right;  // of the input image
};

class Network {
 public:
  virtual ~Network() = default;
  virtual int enlarges() const = 0;         // so many times
  virtual int halo() const = 0;             // pixels around a region that its result depends on
  virtual size_t column_bytes() const = 0;  // memory that a column of the image takes while rows are in work
  virtual bool begins_anywhere() const { return true; }  // whether the result is the same wherever an image begins
  virtual int uneven() const { return 1; }               // so many times slower are parts of an image than others
  virtual double small_share() const { return 0; }       // of all pixels so far, that of a pair's small network

  virtual bool divides() const { return true; }  // whether parts of an image may be regions

  // Memory that `run` needs for a region.
  virtual size_t scratch_bytes(const ImageData &image, const Region &region) const = 0;
  // Upscales a region, with what it needs of the image around it; looks at `cancel` once a row.
  virtual void run(const ImageData &image, const Region &region, uint8_t *scratch,
                   const std::atomic<bool> &cancel) const = 0;
};

// An image that threads compute in parts which wait for each other; they must be taken in their order.
class SharedImage {
 public:
  using Scratch = std::function<uint8_t *(size_t)>;  // gives this thread so many bytes

  virtual ~SharedImage() = default;
  virtual int parts() const = 0;
  virtual int together() const = 0;  // as many threads have something to do at a time
  virtual void run(int part, const Scratch &scratch, const std::atomic<bool> &cancel) = 0;
};

// What several threads do for a network that does not divide; null for all others. Throws std::bad_alloc.
std::unique_ptr<SharedImage> shared_image(const Network &network, const ImageData &image, int threads);

// Reads a payload of a chain or a graph. Throws ModelError.
std::unique_ptr<Network> read_one(const uint8_t *data, size_t size, const Isa &isa);

// Reads a payload of any kind, or a whole native file. Throws ModelError.
std::unique_ptr<Network> read_network(const uint8_t *data, size_t size, const Isa &isa);

}  // namespace sharpbit
