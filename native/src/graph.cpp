// Rows pipelined through all nodes: each tensor keeps as many rows, in a ring, as those that read it lie behind it.
#include "graph.h"

#include <algorithm>
#include <cstring>

namespace sharpbit {
namespace {

constexpr int kMiddle = 128;  // the second byte where the first one is exact

// The rows of one tensor. Column 0 of a row is `columns.begin` of the tensor.
struct Ring {
  Span rows, columns;
  int kept = 0;
  size_t pixel = 0, row_bytes = 0, offset = 0;  // where column 0 lies in a row, at the start of a cache line
  uint8_t *memory = nullptr;

  uint8_t *at(int y, int x) const {
    return memory + size_t(y % kept) * row_bytes + offset + ptrdiff_t(x - columns.begin) * ptrdiff_t(pixel);
  }
  bool used() const { return rows.size() > 0; }
};

// A row that is put together, of at most four bytes for each of so many channels.
size_t gathered_bytes(int channels, int pixels) { return whole_lines(size_t(channels) * 4 * size_t(pixels + kMaxTile)); }

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
    const std::vector<int> kept = kept_rows(graph, rows, heights);
    for (int t = 0; t <= graph.last(); t++) {
      Ring ring;
      ring.rows = rows[size_t(t)];
      ring.columns = columns[size_t(t)];
      ring.kept = kept[size_t(t)];
      ring.pixel = pixel_bytes(graph, t);
      ring.offset = whole_lines(kMargin * ring.pixel);
      // Kernels read and write too much behind a row, and convolutions read margins.
      ring.row_bytes = ring.offset + whole_lines(size_t(ring.columns.size() + kMargin + kMaxTile) * ring.pixel) + kLine;
      rings.push_back(ring);
      bytes += ring.used() ? ring.row_bytes * size_t(ring.kept) : 0;
    }
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
};

class Runner {
 public:
  Runner(const Graph &graph, const ImageData &image, const Region &region, uint8_t *scratch)
      : graph_(graph), image_(image), region_(region), layout_(graph, image, region), scratch_(scratch),
        element_(size_t(channel_bytes(graph.isa->activation))) {
    uint8_t *memory = scratch;
    for (int t = 0; t <= graph.last(); t++) {
      Ring &ring = layout_.rings[size_t(t)];
      if (!ring.used()) continue;
      ring.memory = memory;
      memory += ring.row_bytes * size_t(ring.kept);
      for (int y = 0; y < ring.kept; y++) fill(ring.at(y, ring.columns.begin - kMargin), t, kMargin);
    }
  }

  void run(const std::atomic<bool> &cancel) {
    Schedule schedule(graph_, layout_.rows, layout_.heights);
    schedule.until(graph_.last(), ring(graph_.last()).rows.end, [&](int tensor, int y) {
      if (cancel.load(std::memory_order_relaxed)) return false;
      make(tensor, y);
      return true;
    });
  }

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

  void make(int t, int y) const {
    if (t == 0) {
      load(y);
    } else {
      const Node &node = graph_.maker(t);
      switch (node.op) {
        case Op::convolution: convolve(node, t, y); break;
        case Op::sum: {
          AddedRow rows[64];
          graph_.isa->graph->sum(result(node, t, y, rows));
          break;
        }
        case Op::product: multiply(node, t, y); break;
        case Op::table: look_up(node, t, y); break;
        case Op::nearest: nearest(node, t, y); break;
        case Op::unshuffle: unshuffle(node, t, y); break;
        case Op::shuffle: shuffle(node, t, y); break;
        case Op::largest: largest(node, t, y); break;
        case Op::bilinear: interpolate(node, t, y); break;
      }
    }
    fill(ring(t).at(y, ring(t).columns.end), t, kMargin);
    if (t == graph_.last()) emit(y);
  }

  void load(int y) const {
    const Span &span = ring(0).columns;
    const uint8_t *in = image_.in + std::min(y, image_.height - 1) * image_.in_stride;
    uint8_t *to = ring(0).at(y, span.begin);
    for (int x = span.begin; x < span.end; x++, to += ring(0).pixel) {
      const uint8_t *from = in + ptrdiff_t(std::min(x, image_.width - 1)) * 3;
      for (size_t c = 0; c < 3; c++) put(to + c * element_, from[c]);
      put(to + 3 * element_, 0);
    }
  }

  // Where a row of a tensor begins that is perhaps outside; such rows are made one behind the other.
  const uint8_t *row_of(int t, int y, int from, int count, uint8_t *&outside) const {
    if (y >= 0 && y < layout_.heights[size_t(t)]) return ring(t).at(y, from);
    uint8_t *const row = outside;
    fill(row, t, count);
    return row;
  }

  void convolve(const Node &node, int t, int y) const {
    const Span &span = ring(t).columns;
    Source sources[64];
    AddedRow added[64];
    uint8_t *outside = scratch_ + layout_.outside;
    for (size_t s = 0; s < node.inputs.size(); s++) {
      const int input = node.inputs[s];
      const int group = 4 / static_cast<int>(element_);
      for (int k = 0; k < node.kernel; k++)
        sources[s].rows[k] = row_of(input, y * node.stride - node.padding + k, span.begin * node.stride - node.padding,
                                    (span.size() - 1) * node.stride + node.kernel, outside);
      outside += ring(input).row_bytes;
      sources[s].pixel = static_cast<long>(ring(input).pixel);
      sources[s].groups = (tensor(input).channels + group - 1) / group;
      sources[s].fine = node.both && tensor(input).wide ? long(ring(input).pixel / 2) : 0;
    }
    const ConvolvedRow row{sources, static_cast<int32_t>(node.inputs.size()), node.kernel, node.stride,
                           node.packed.get(), node.both, node.bias.data(), node.multiplier.data(), graph_.isa->pass,
                           result(node, t, y, added)};
    const bool common = node.stride == 1 && node.kernel % 2 && node.kernel <= kCommonKernel;
    (common ? graph_.isa->graph->convolve[node.kernel / 2] : graph_.isa->graph->convolve_any)(row);
  }

  ResultRow result(const Node &node, int t, int y, AddedRow *rows) const {
    const Ring &own = ring(t);
    const int channels = static_cast<int>(tensor(t).zero.size());
    uint8_t *gathered = scratch_ + layout_.gathered;
    for (size_t i = 0; i < node.added.size(); i++) {
      const Added &added = node.added[i];
      const uint8_t *from = ring(added.tensor).at(y, own.columns.begin);
      const bool wide = tensor(added.tensor).wide;
      size_t pixel = ring(added.tensor).pixel, bytes = size_t(pixel_channels(graph_, added.tensor)) * element_;
      const int32_t *zero = tensor(added.tensor).zero.data();
      if (!added.from.empty()) {
        const size_t whole = size_t(channels) * element_, wider = wide ? 2 * whole : whole;
        gather(added, from, pixel, bytes, gathered, wider, own.columns.size());
        from = gathered;
        pixel = wider;
        bytes = whole;
        zero = added.zero.data();
        gathered += gathered_bytes(channels, own.columns.size());
      }
      rows[i] = {from, wide ? from + bytes : nullptr, static_cast<long>(pixel), added.multiplier.data(), zero};
    }
    uint8_t *const to = own.at(y, own.columns.begin);
    return {rows, static_cast<int32_t>(node.added.size()),
            reinterpret_cast<const int32_t *>(node.multiplier.data() + 2 * channels), to,
            tensor(t).wide ? to + size_t(channels) * element_ : nullptr, static_cast<long>(own.pixel), own.columns.size(),
            channels};
  }

  // A row that is added, each channel where and as often as the result has it. Second bytes lie `bytes` behind the first.
  void gather(const Added &added, const uint8_t *from, size_t pixel, size_t bytes, uint8_t *to, size_t to_pixel,
              int pixels) const {
    const auto spread = [&](const uint8_t *first, uint8_t *result) {
      const size_t channels = added.from.size();
      if (element_ == 1)
        for (size_t c = 0; c < channels; c++) result[c] = first[added.from[c]];
      else
        for (size_t c = 0; c < channels; c++) std::memcpy(result + 2 * c, first + 2 * added.from[c], 2);
    };
    for (int x = 0; x < pixels; x++, from += pixel, to += to_pixel) {
      spread(from, to);
      if (tensor(added.tensor).wide) spread(from + bytes, to + to_pixel / 2);
    }
  }

  void multiply(const Node &node, int t, int y) const {
    const Ring &first = ring(node.inputs[0]), &second = ring(node.inputs[1]);
    const int begin = ring(t).columns.begin;
    AddedRow none[1];
    const uint8_t *const from = first.at(y, begin);
    const uint8_t *const other = second.at(y, begin);
    const bool wide = tensor(node.inputs[0]).wide, both = node.both && tensor(node.inputs[1]).wide;
    graph_.isa->graph->multiply({from, wide ? from + first.pixel / 2 : nullptr, other,
                                 both ? other + second.pixel / 2 : nullptr, static_cast<long>(first.pixel),
                                 static_cast<long>(second.pixel), tensor(node.inputs[0]).zero.data(),
                                 tensor(node.inputs[1]).zero.data(),
                                 tensor(node.inputs[1]).channels != tensor(t).channels, node.multiplier.data(),
                                 result(node, t, y, none)});
  }

  void look_up(const Node &node, int t, int y) const {
    const Span &span = ring(t).columns;
    const uint8_t *from = ring(node.inputs[0]).at(y, span.begin);
    uint8_t *to = ring(t).at(y, span.begin);
    const size_t channels = size_t(tensor(t).channels), pixel = ring(t).pixel;
    if (tensor(t).wide) {
      const size_t in_pixel = ring(node.inputs[0]).pixel;
      graph_.isa->graph->look_up({from, tensor(node.inputs[0]).wide ? from + in_pixel / 2 : nullptr, static_cast<long>(in_pixel),
                                  node.between.data(), to, to + pixel / 2, static_cast<long>(pixel), span.size(),
                                  static_cast<int32_t>(tensor(t).zero.size())});
      return;
    }
    for (int x = 0; x < span.size(); x++, from += ring(node.inputs[0]).pixel, to += pixel)
      for (size_t c = 0; c < channels; c++) put(to + c * element_, node.table[c * 256 + size_t(get(from + c * element_))]);
  }

  // The largest byte of each channel that the window sees; there is none outside.
  void largest(const Node &node, int t, int y) const {
    const Span &span = ring(t).columns;
    const Ring &from = ring(node.inputs[0]);
    const int height = layout_.heights[size_t(node.inputs[0])], width = layout_.widths[size_t(node.inputs[0])];
    const int top = y * node.stride - node.padding, channels = tensor(t).channels;
    uint8_t *to = ring(t).at(y, span.begin);
    for (int x = span.begin; x < span.end; x++, to += ring(t).pixel) {
      const int left = x * node.stride - node.padding;
      std::memset(to, graph_.isa->activation == Activation::s8 ? 0x80 : 0, size_t(channels) * element_);
      for (int row = std::max(top, 0); row < std::min(top + node.kernel, height); row++) {
        const uint8_t *pixel = from.at(row, std::max(left, 0));
        for (int column = std::max(left, 0); column < std::min(left + node.kernel, width); column++, pixel += from.pixel)
          for (size_t c = 0; c < size_t(channels); c++)
            put(to + c * element_, std::max(get(to + c * element_), get(pixel + c * element_)));
      }
    }
  }

  void interpolate(const Node &node, int t, int y) const {
    constexpr int most = 64;
    const Span &span = ring(t).columns;
    const Ring &from = ring(node.inputs[0]), &own = ring(t);
    const size_t input = size_t(node.inputs[0]), made = size_t(t);
    const Place rows = place_of(y, layout_.heights[input], layout_.heights[made], node.aligned);
    const size_t bytes = size_t(pixel_channels(graph_, t)) * element_;
    for (int begin = span.begin; begin < span.end; begin += most) {
      const int pixels = std::min(span.end - begin, most);
      int32_t first[most], second[most], weight[most];
      for (int x = 0; x < pixels; x++) {
        const Place place = place_of(begin + x, layout_.widths[input], layout_.widths[made], node.aligned);
        first[x] = place.first - from.columns.begin;
        second[x] = place.second - from.columns.begin;
        weight[x] = place.weight;
      }
      uint8_t *const to = own.at(y, begin);
      const InterpolatedRow row{
             from.at(rows.first, from.columns.begin), from.at(rows.second, from.columns.begin), rows.weight,
             first, second, weight, static_cast<long>(from.pixel), to, tensor(t).wide ? to + bytes : nullptr,
             static_cast<long>(own.pixel), pixels, static_cast<int32_t>(tensor(t).zero.size())};
      graph_.isa->graph->interpolate(row);
    }
  }

  // Second bytes move along with the first.
  int planes(int t) const { return tensor(t).wide ? 2 : 1; }

  void nearest(const Node &node, int t, int y) const {
    const Span &span = ring(t).columns;
    const Ring &from = ring(node.inputs[0]);
    uint8_t *to = ring(t).at(y, span.begin);
    const size_t bytes = ring(t).pixel;
    for (int x = span.begin; x < span.end; x++, to += ring(t).pixel)
      std::memcpy(to, from.at(y / node.factor, x / node.factor), std::min(bytes, from.pixel));
  }

  void unshuffle(const Node &node, int t, int y) const {
    const Span &span = ring(t).columns;
    const Ring &from = ring(node.inputs[0]);
    const int f = node.factor, channels = tensor(node.inputs[0]).channels;
    uint8_t *to = ring(t).at(y, span.begin);
    for (int x = span.begin; x < span.end; x++, to += ring(t).pixel)
      for (int i = 0; i < f * f * planes(t); i++) {
        const int place = i % (f * f), plane = i / (f * f);
        const uint8_t *pixel = from.at(y * f + place / f, x * f + place % f) + from.pixel / 2 * size_t(plane);
        uint8_t *result = to + ring(t).pixel / 2 * size_t(plane);
        for (int c = 0; c < channels; c++)
          std::memcpy(result + size_t(c * f * f + place) * element_, pixel + size_t(c) * element_, element_);
      }
  }

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

  void shuffle(const Node &node, int t, int y) const {
    if (t == graph_.last()) return;  // `emit` takes its bytes from where they are
    const Ring &own = ring(t);
    const size_t channels = size_t(tensor(t).channels), second = ring(node.inputs[0]).pixel / 2;
    shuffled(node, y, own.columns.begin, own.columns.end, [&](int x, const uint8_t *first, int step) {
      for (int plane = 0; plane < planes(t); plane++) {
        const uint8_t *from = first + second * size_t(plane);
        uint8_t *to = own.at(y, x) + own.pixel / 2 * size_t(plane);
        if (step == 1)
          std::memcpy(to, from, channels * element_);
        else
          for (size_t c = 0; c < channels; c++)
            std::memcpy(to + c * element_, from + c * size_t(step) * element_, element_);
      }
    });
  }

  // The result in the image, without what sides were filled up with.
  void emit(int y) const {
    const int s = graph_.scale, begin = region_.left * s, end = region_.right * s;
    const Node &node = graph_.maker(graph_.last());
    uint8_t *const to = image_.out + ptrdiff_t(y) * image_.out_stride;
    const auto pixel = [&](int x, const uint8_t *from, int step) {
      for (size_t c = 0; c < 3; c++)
        to[ptrdiff_t(x) * 3 + ptrdiff_t(c)] = static_cast<uint8_t>(get(from + c * size_t(step) * element_));
    };
    if (node.op == Op::shuffle) {
      shuffled(node, y, begin, end, pixel);
    } else {
      for (int x = begin; x < end; x++) pixel(x, ring(graph_.last()).at(y, x), 1);
    }
  }

  const Graph &graph_;
  const ImageData &image_;
  const Region &region_;
  Layout layout_;
  uint8_t *scratch_;
  size_t element_;
};

}  // namespace

size_t Graph::scratch_bytes(const ImageData &image, const Region &region) const {
  return Layout(*this, image, region).bytes;
}

void Graph::run(const ImageData &image, const Region &region, uint8_t *scratch,
                const std::atomic<bool> &cancel) const {
  Runner(*this, image, region, scratch).run(cancel);
}

}  // namespace sharpbit
