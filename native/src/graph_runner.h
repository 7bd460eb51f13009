// What makes a region of the result of a graph: where all rows lie, and what makes the next row of each node. Operators are
// in graph.cpp, and those that move pixels or look at many in graph_moves.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "graph.h"

namespace sharpbit {

// The rows of one tensor. Column 0 of a row is `columns.begin` of the tensor.
struct Ring {
  Span rows, columns;
  int kept = 0;
  size_t pixel = 0, row_bytes = 0, offset = 0;  // where column 0 lies in a row, at the start of a cache line
  size_t place = 0;                             // where it lies in the memory of a region
  uint8_t *memory = nullptr;                    // null at first: that of a region

  uint8_t *at(int y, int x) const {
    return memory + size_t(y % kept) * row_bytes + offset + ptrdiff_t(x - columns.begin) * ptrdiff_t(pixel);
  }
  bool used() const { return rows.size() > 0; }
  size_t bytes() const { return row_bytes * size_t(kept); }
};

// A row that is put together, of at most four bytes for each of so many channels.
inline size_t gathered_bytes(int channels, int pixels) { return whole_lines(size_t(channels) * 4 * size_t(pixels + kMaxTile)); }

// Puts rings, which `kept` says the times of, where no other one lies at the same time. Returns how many bytes they take.
size_t place_rings(std::vector<Ring> &rings, const std::vector<Kept> &kept);

// Where everything lies that targets need, or a region.
struct Layout {
  std::vector<int> heights, widths;  // of each tensor
  std::vector<Target> targets;
  std::vector<Span> rows;
  std::vector<Ring> rings;
  size_t outside = 0, gathered = 0, bytes = 0;  // the first two: where memory of one row at a time begins

  Layout(const Graph &graph, const ImageData &image, const Region &region)
      : Layout(graph, image, region, {{graph.last(), {region.top * graph.scale, region.bottom * graph.scale}}}, {}) {}
  Layout(const Graph &graph, const ImageData &image, const Region &region, const std::vector<Target> &wanted,
         const std::vector<bool> &made);
};

class Runner {
 public:
  Runner(const Graph &graph, const ImageData &image, const Region &region, Layout layout, uint8_t *scratch)
      : graph_(graph), image_(image), region_(region), layout_(std::move(layout)), scratch_(scratch),
        element_(size_t(channel_bytes(graph.isa->activation))) {
    for (Ring &ring : layout_.rings)
      if (!ring.memory) ring.memory = scratch + ring.place;
  }

  using Sums = std::array<int64_t, kMaxChannels>;  // of each channel, in parts of 256 of a byte

  // Adds a row of a tensor to the sums of all of its pixels; and what a mean makes of them.
  void add_row(int t, int y, Sums &sums) const;
  void mean(const Node &node, int t, const Sums &sums) const;

  // Makes all targets; `made(tensor, row)` is called after each row.
  template <typename Made>
  void run(const std::atomic<bool> &cancel, const Made &made) {
    const Prepared prepared(*graph_.given);
    Schedule(graph_, layout_.rows, layout_.heights).all(layout_.targets, [&](int tensor, int y) {
      if (cancel.load(std::memory_order_relaxed)) return false;
      make(tensor, y);
      made(tensor, y);
      return true;
    });
  }
  const Ring &ring(int tensor) const { return layout_.rings[size_t(tensor)]; }

  // Zero points around a row.
  void fill_margins(int t, int y) const {
    fill(ring(t).at(y, ring(t).columns.begin - kMargin), t, kMargin);
    fill(ring(t).at(y, ring(t).columns.end), t, kMargin);
  }

 private:
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
    const std::vector<uint8_t> &pixel = tensor(t).outside;
    for (int i = 0; i < count; i++, to += pixel.size()) std::memcpy(to, pixel.data(), pixel.size());
  }

  // Second bytes move along with the first.
  int planes(int t) const { return tensor(t).wide ? 2 : 1; }

  // Calls `piece(x, from, step)` for each pixel of a shuffled row: channels lie `step` elements apart.
  template <typename Piece>
  void shuffled(const Node &node, int y, int begin, int end, const Piece &piece) const {
    const Ring &from = ring(node.inputs[0]);
    const int f = node.factor, channels = tensor(node.inputs[0]).channels / (f * f);
    const bool ordered = tensor(node.inputs[0]).shuffled != 0;
    const size_t next = size_t(ordered ? channels : 1) * element_;
    for (int x = begin; x < end;) {
      const uint8_t *pixel = from.at(y / f, x / f) + size_t(y % f * f + x % f) * next;
      for (int column = x % f; column < f && x < end; column++, x++, pixel += next) piece(x, pixel, ordered ? 1 : f * f);
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
