// What makes a region of the result of a graph: where all rows lie, and what makes the next row of each node. Operators are
// in graph.cpp, and those that move pixels or look at many in graph_moves.cpp.
#pragma once

#include <algorithm>

#include "graph.h"

namespace sharpbit {

constexpr int kMiddle = 128;  // the second byte where the first one is exact

// The rows of one tensor. Column 0 of a row is `columns.begin` of the tensor.
struct Ring {
  Span rows, columns;
  int kept = 0;
  size_t pixel = 0, row_bytes = 0, offset = 0;  // where column 0 lies in a row, at the start of a cache line
  size_t place = 0;                             // where it lies in the memory of a region
  uint8_t *memory = nullptr;

  uint8_t *at(int y, int x) const {
    return memory + size_t(y % kept) * row_bytes + offset + ptrdiff_t(x - columns.begin) * ptrdiff_t(pixel);
  }
  bool used() const { return rows.size() > 0; }
  size_t bytes() const { return row_bytes * size_t(kept); }
};

// A row that is put together, of at most four bytes for each of so many channels.
inline size_t gathered_bytes(int channels, int pixels) { return whole_lines(size_t(channels) * 4 * size_t(pixels + kMaxTile)); }

// Where everything lies that a region needs.
struct Layout {
  std::vector<int> heights, widths;  // of each tensor
  std::vector<Span> rows;
  std::vector<Ring> rings;
  size_t outside = 0, gathered = 0, bytes = 0;  // the first two: where memory of one row at a time begins

  Layout(const Graph &graph, const ImageData &image, const Region &region) {
    heights = sides_of(graph, graph.filled(image.height));
    widths = sides_of(graph, graph.filled(image.width));
    rows = needed(graph, region.top, region.bottom, heights);
    const std::vector<Span> columns = needed(graph, region.left, region.right, widths);
    const std::vector<Kept> kept = kept_rows(graph, rows, heights);
    for (int t = 0; t <= graph.last(); t++) {
      Ring ring;
      ring.rows = rows[size_t(t)];
      ring.columns = columns[size_t(t)];
      ring.kept = kept[size_t(t)].rows;
      ring.pixel = pixel_bytes(graph, t);
      ring.offset = whole_lines(kMargin * ring.pixel);
      // Kernels read and write too much behind a row, and convolutions read margins.
      ring.row_bytes = ring.offset + whole_lines(size_t(ring.columns.size() + kMargin + kMaxTile) * ring.pixel) + kLine;
      rings.push_back(ring);
    }
    place_rings(kept);
    size_t most_outside = 0, most_gathered = 0;
    for (int t = 1; t <= graph.last(); t++) {
      size_t out = 0, gather = 0;
      for (const int input : graph.maker(t).inputs) out += rings[size_t(input)].row_bytes;
      for (const Added &added : graph.maker(t).added)
        gather += added.from.empty() ? 0 : gathered_bytes(pixel_channels(graph, t), rings[size_t(t)].columns.size());
      most_outside = std::max(most_outside, out);
      most_gathered = std::max(most_gathered, gather);
    }
    outside = bytes;
    gathered = outside + most_outside;
    bytes = gathered + most_gathered;
  }

  // Rings lie where no other one lies at the same time. Where all of an image is needed for a pixel, they hold all rows.
  void place_rings(const std::vector<Kept> &kept) {
    std::vector<size_t> order, placed;
    for (size_t t = 0; t < rings.size(); t++)
      if (rings[t].used()) order.push_back(t);
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return kept[a].made < kept[b].made; });
    for (const size_t t : order) {
      size_t at = 0;  // `placed` are in the order of their places
      const size_t size = rings[t].bytes();
      for (const size_t other : placed) {
        if (kept[other].read < kept[t].made || rings[other].place >= at + size) continue;
        at = std::max(at, rings[other].place + rings[other].bytes());
      }
      rings[t].place = at;
      bytes = std::max(bytes, at + size);
      placed.insert(std::upper_bound(placed.begin(), placed.end(), t,
                                     [&](size_t a, size_t b) { return rings[a].place < rings[b].place; }), t);
    }
  }
};

class Runner {
 public:
  Runner(const Graph &graph, const ImageData &image, const Region &region, uint8_t *scratch)
      : graph_(graph), image_(image), region_(region), layout_(graph, image, region), scratch_(scratch),
        element_(size_t(channel_bytes(graph.isa->activation))) {
    for (Ring &ring : layout_.rings) ring.memory = scratch + ring.place;
  }

  void run(const std::atomic<bool> &cancel);

 private:
  const Ring &ring(int tensor) const { return layout_.rings[size_t(tensor)]; }
  const Tensor &tensor(int number) const { return graph_.tensors[size_t(number)]; }

  void put(uint8_t *to, int32_t byte) const {
    const int16_t wide = static_cast<int16_t>(byte);
    if (element_ == 2) {
      std::memcpy(to, &wide, 2);
    } else {
      *to = static_cast<uint8_t>(graph_.isa->activation == Activation::s8 ? byte ^ 0x80 : byte);
    }
  }
  int32_t get(const uint8_t *from) const {  // the low byte comes first in either form
    return graph_.isa->activation == Activation::s8 ? *from ^ 0x80 : *from;
  }

  // Pixels of zero points.
  void fill(uint8_t *to, int t, int count) const {
    const size_t pixel = ring(t).pixel, channels = size_t(pixel_channels(graph_, t));
    for (int i = 0; i < count; i++, to += pixel) {
      for (size_t c = 0; c < channels; c++) put(to + c * element_, tensor(t).zero[c]);
      for (size_t c = channels; c * element_ < pixel; c++) put(to + c * element_, kMiddle);
    }
  }

  // Second bytes move along with the first.
  int planes(int t) const { return tensor(t).wide ? 2 : 1; }

  // Calls `piece(x, from, step)` for each pixel of a shuffled row: channels lie `step` elements apart.
  template <typename Piece>
  void shuffled(const Node &node, int y, int begin, int end, const Piece &piece) const {
    const Ring &from = ring(node.inputs[0]);
    const int f = node.factor, channels = tensor(node.inputs[0]).channels / (f * f);
    const bool ordered = tensor(node.inputs[0]).shuffled != 0;
    for (int x = begin; x < end; x++) {
      const int place = y % f * f + x % f;
      piece(x, from.at(y / f, x / f) + size_t(ordered ? place * channels : place) * element_, ordered ? 1 : f * f);
    }
  }

  void make(int t, int y) const;
  void load(int y) const;
  const uint8_t *row_of(int t, int y, int from, int count, uint8_t *&outside) const;
  void convolve(const Node &node, int t, int y) const;
  ResultRow result(const Node &node, int t, int y, AddedRow *rows) const;
  void gather(const Added &added, const uint8_t *from, size_t pixel, size_t bytes, uint8_t *to, size_t to_pixel,
              int pixels) const;
  void multiply(const Node &node, int t, int y) const;
  void look_up(const Node &node, int t, int y) const;
  void largest(const Node &node, int t, int y) const;
  void interpolate(const Node &node, int t, int y) const;
  void mean(const Node &node, int t) const;
  void nearest(const Node &node, int t, int y) const;
  void pad(const Node &node, int t, int y) const;
  void unshuffle(const Node &node, int t, int y) const;
  void shuffle(const Node &node, int t, int y) const;
  void emit(int y) const;

  const Graph &graph_;
  const ImageData &image_;
  const Region &region_;
  Layout layout_;
  uint8_t *scratch_;
  size_t element_;
};

}  // namespace sharpbit
