// Rows pipelined through all layers: as soon as a layer has three rows, the next one can make one of its own. Of each
// layer only three rows are kept, in a ring, so that they stay in the cache of the core.
#include "chain.h"

#include <algorithm>
#include <cstring>

namespace sharpbit {
namespace {

struct Span {
  int begin, end;
  int size() const { return end - begin; }
};

// Where the rows of one layer (or of the image, before the first) lie. Column 0 of a row is `origin` of the image.
struct Ring {
  uint8_t *rows = nullptr;
  size_t row_bytes = 0;
  size_t pixel = 0;  // bytes

  std::vector<uint8_t> zero;  // a pixel that lies outside of the image, as the layer keeps it

  void fill(uint8_t *to, int count) const {
    for (int i = 0; i < count; i++) std::memcpy(to + size_t(i) * pixel, zero.data(), pixel);
  }
  uint8_t *at(int y, int column) const { return rows + size_t(y % 3) * row_bytes + size_t(column + 1) * pixel + pad(); }
  uint8_t *fine = nullptr;  // three rows of the second bytes of wide channels, which have no margins
  size_t fine_bytes = 0;    // of a row
  size_t fine_pixel = 0;

  uint8_t *fine_at(int y, int column) const {
    return fine_pixel ? fine + size_t(y % 3) * fine_bytes + size_t(column) * fine_pixel : nullptr;
  }
  size_t pad() const { return whole_lines(pixel) - pixel; }  // so that column 0 starts a cache line
};

class Runner {
 public:
  Runner(const Chain &chain, const ImageData &image, const Region &region, uint8_t *scratch)
      : chain_(chain), image_(image), region_(region), depth_(chain.depth()) {
    origin_ = columns(-1).begin;
    rings_.reserve(size_t(depth_) + 1);
    const int width = columns(-1).size();
    size_t longest = 0;
    for (int layer = -1; layer < depth_; layer++) {
      Ring ring;
      ring.pixel = pixel_bytes(chain, layer);
      ring.row_bytes = row_bytes(ring.pixel, width);
      ring.rows = scratch;
      ring.zero = zero_pixel(layer);
      const int rows = ring_rows(chain, layer);
      for (int y = 0; y < rows; y++) ring.fill(ring.at(y, -1), 1);
      scratch += ring.row_bytes * size_t(rows);
      longest = std::max(longest, ring.row_bytes);
      ring.fine = scratch;
      ring.fine_bytes = fine_bytes(chain, layer, width);
      ring.fine_pixel = fine_pixel(chain, layer);
      scratch += 3 * ring.fine_bytes;
      rings_.push_back(ring);
    }
    std::memset(scratch, chain.isa->activation == Activation::s8 ? 0x80 : 0, longest);
    outside_ = scratch;
  }

  // The last layer has but the row that is written at once; and one for the image
  // where that is added.
  static int ring_rows(const Chain &chain, int layer) {
    return layer < chain.depth() - 1 ? 3 : chain.adds_image ? 2 : 1;
  }

  static size_t pixel_bytes(const Chain &chain, int layer) {  // -1: the image
    const int channels = layer < 0 ? 4 : chain.layers[size_t(layer)].out_blocks * kBlock;
    return size_t(channels * channel_bytes(chain.isa->activation));
  }
  // One pixel before, and behind it what kernels read and write too much.
  static size_t row_bytes(size_t pixel, int width) {
    return whole_lines(pixel) + whole_lines(size_t(width + kMaxTile + 2) * pixel) + kLine;
  }

  static size_t fine_pixel(const Chain &chain, int layer) {
    return layer < 0 ? 0 : size_t(chain.layers[size_t(layer)].wide_blocks() * kBlock);
  }
  static size_t fine_bytes(const Chain &chain, int layer, int width) {
    return whole_lines(size_t(width + kMaxTile) * fine_pixel(chain, layer));
  }

  void run(const std::atomic<bool> &cancel) {
    for (int t = rows(-1).begin; t < region_.bottom + depth_; t++) {
      if (cancel.load(std::memory_order_relaxed)) return;
      if (t < rows(-1).end) load(t);
      for (int layer = 0; layer < depth_; layer++) {
        const int y = t - 1 - layer;
        const Span wanted = rows(layer);
        if (y >= wanted.begin && y < wanted.end) convolve(layer, y);
      }
    }
  }

 private:
  // What must be known of the layer for the region: each following layer takes one more on each side.
  Span rows(int layer) const { return grown(region_.top, region_.bottom, image_.height, layer); }
  Span columns(int layer) const { return grown(region_.left, region_.right, image_.width, layer); }
  Span grown(int begin, int end, int size, int layer) const {
    const int halo = depth_ - 1 - layer;
    return {std::max(begin - halo, 0), std::min(end + halo, size)};
  }

  // Zero points are what counts as 0: outside of the image as well.
  std::vector<uint8_t> zero_pixel(int layer) const {
    const size_t element = size_t(channel_bytes(chain_.isa->activation));
    std::vector<uint8_t> pixel(pixel_bytes(chain_, layer));
    for (size_t c = 0; c * element < pixel.size(); c++) {
      int32_t zero = 0;
      if (layer >= 0) {
        const Layer &l = chain_.layers[size_t(layer)];
        std::memcpy(&zero, &l.multiplier[2 * l.bias.size() + c], 4);
      }
      pixel[c * element] = static_cast<uint8_t>(chain_.isa->activation == Activation::s8 ? zero - 128 : zero);
    }
    return pixel;
  }

  // A row outside of the image, below or above what `layer` gave. Chains without slopes have zeros everywhere.
  const uint8_t *outside(int layer, int pixels) const {
    if (chain_.layers[0].sloped) ring(layer).fill(outside_, pixels);
    return outside_;
  }
  const Ring &ring(int layer) const { return rings_[size_t(layer + 1)]; }

  // The column behind a row counts as 0 (where the image ends there; else nobody reads it).
  void close(int layer, int y, const Span &span) const {
    ring(layer).fill(ring(layer).at(y, span.end - origin_), 1);
  }

  void load(int y) const {
    const Span span = columns(-1);
    const uint8_t *in = image_.in + y * image_.in_stride + ptrdiff_t(span.begin) * 3;
    uint8_t *to = ring(-1).at(y, 0);
    const int count = span.size();
    if (chain_.isa->activation == Activation::s16) {
      for (int x = 0; x < count; x++) {
        const int16_t pixel[4] = {in[3 * x], in[3 * x + 1], in[3 * x + 2], 0};
        std::memcpy(to + 8 * x, pixel, 8);
      }
    } else {
      // The fourth byte is the next pixel's red: its weights are 0.
      for (int x = 0; x + 1 < count; x++) std::memcpy(to + 4 * x, in + 3 * x, 4);
      std::memcpy(to + 4 * (count - 1), in + 3 * (count - 1), 3);
      to[4 * count - 1] = 0;
      if (chain_.isa->activation == Activation::s8)
        for (int i = 0; i < 4 * count; i++) to[i] ^= 0x80;
    }
    close(-1, y, span);
  }

  void convolve(int layer, int y) const {
    const Layer &l = chain_.layers[size_t(layer)];
    const bool last = layer == depth_ - 1;
    const Span span = columns(layer);
    const uint8_t *from[3];
    for (int k = 0; k < 3; k++) {
      const int v = y - 1 + k;
      from[k] = v < 0 || v >= image_.height ? outside(layer - 1, span.size() + 2)
                                            : ring(layer - 1).at(v, span.begin - 1 - origin_);
    }
    const int to = last ? 0 : y, column = span.begin - origin_;
    const Wide wide = {ring(layer - 1).fine_at(y, column), l.passed.data(), ring(layer).fine_at(to, column),
                       int32_t(l.passed.size()) / kBlock, l.wide_blocks(),
                       l.adds_image ? image_row(y, span, ring(layer).at(1, column)) : nullptr};
    l.row(from, l.packed.get(), l.bias.data(), l.multiplier.data(), ring(layer).at(to, column), span.size(),
          l.kind() == 2 ? &wide : nullptr);
    if (last) {
      to_bytes(ring(layer).at(0, span.begin - origin_), span);
      store(ring(layer).at(0, span.begin - origin_), y, span);
    } else {
      close(layer, y, span);
    }
  }

  // The pixel shuffle: each pixel holds `scale` pieces of `scale` RGB pixels, one for each output row.
  void store(const uint8_t *row, int y, const Span &span) const {
    const int s = chain_.scale, channels = chain_.layers.back().out_blocks * kBlock;
    for (int d = 0; d < s; d++) {
      const uint8_t *from = row + 3 * s * d;
      uint8_t *to = image_.out + (ptrdiff_t(y) * s + d) * image_.out_stride + ptrdiff_t(span.begin) * 3 * s;
      switch (s) {
        case 1: pieces<3>(from, to, span.size(), channels); break;
        case 2: pieces<6>(from, to, span.size(), channels); break;
        case 3: pieces<9>(from, to, span.size(), channels); break;
        default: pieces<12>(from, to, span.size(), channels); break;
      }
    }
  }

  // Copies of 16 bytes are the fastest, and what they write too much the next one replaces; but nothing may be written
  // behind the region, where another thread may be at work.
  template <int Bytes>
  static void pieces(const uint8_t *from, uint8_t *to, int count, int channels) {
    int x = 0;
    for (; (count - x) * Bytes >= 16; x++) std::memcpy(to + ptrdiff_t(x) * Bytes, from + ptrdiff_t(x) * channels, 16);
    for (; x < count; x++) std::memcpy(to + ptrdiff_t(x) * Bytes, from + ptrdiff_t(x) * channels, Bytes);
  }

  // The image as often as each pixel is enlarged, in the order of the outputs of the last layer: its zero points.
  const uint8_t *image_row(int y, const Span &span, uint8_t *row) const {
    const int outputs = chain_.layers.back().outputs, channels = chain_.layers.back().out_blocks * kBlock;
    const uint8_t *in = image_.in + y * image_.in_stride + ptrdiff_t(span.begin) * 3;
    uint8_t *to = row;
    for (int x = 0; x < span.size(); x++, in += 3, to += channels)
      for (int i = 0; i < outputs; i += 3) std::memcpy(to + i, in, 3);
    return row;
  }

  void to_bytes(uint8_t *row, const Span &span) const {
    const size_t count = size_t(span.size() * chain_.layers.back().out_blocks * kBlock);
    if (chain_.isa->activation == Activation::s8)
      for (size_t i = 0; i < count; i++) row[i] ^= 0x80;
    if (chain_.isa->activation == Activation::s16)
      for (size_t i = 0; i < count; i++) {
        int16_t value;
        std::memcpy(&value, row + 2 * i, 2);
        row[i] = static_cast<uint8_t>(value);
      }
  }

  const Chain &chain_;
  const ImageData &image_;
  const Region &region_;
  int depth_;
  int origin_ = 0;
  std::vector<Ring> rings_;
  uint8_t *outside_ = nullptr;
};

size_t bytes_for(const Chain &chain, int width) {
  size_t bytes = 0, longest = 0;
  for (int layer = -1; layer < chain.depth(); layer++) {
    const size_t row = Runner::row_bytes(Runner::pixel_bytes(chain, layer), width + 2 * chain.depth());
    bytes += row * size_t(Runner::ring_rows(chain, layer));
    bytes += 3 * Runner::fine_bytes(chain, layer, width + 2 * chain.depth());
    longest = std::max(longest, row);
  }
  return bytes + longest;
}

}  // namespace

size_t Chain::column_bytes() const { return (bytes_for(*this, 4096) - bytes_for(*this, 0)) / 4096; }

size_t Chain::scratch_bytes(const ImageData &, const Region &region) const {
  return bytes_for(*this, region.right - region.left);
}

void Chain::run(const ImageData &image, const Region &region, uint8_t *scratch, const std::atomic<bool> &cancel) const {
  const Prepared prepared(*isa);
  Runner(*this, image, region, scratch).run(cancel);
}

}  // namespace sharpbit
