// Rows pipelined through all nodes: each tensor keeps as many rows, in a ring, as those that read it lie behind it.
#include "graph.h"

#include <algorithm>
#include <cstring>

#include "graph_runner.h"

namespace sharpbit {

void Runner::make(int t, int y) const {
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
      case Op::pad: pad(node, t, y); break;
      case Op::mean: {
        Sums sums{};
        for (int row = 0; row < layout_.heights[size_t(node.inputs[0])]; row++) add_row(node.inputs[0], row, sums);
        mean(node, t, sums);
        break;
      }
      case Op::unshuffle: unshuffle(node, t, y); break;
      case Op::shuffle: shuffle(node, t, y); break;
      case Op::largest: largest(node, t, y); break;
      case Op::bilinear: interpolate(node, t, y); break;
    }
  }
  fill_margins(t, y);
  if (t == graph_.last()) emit(y);
}

void Runner::load(int y) const {
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
const uint8_t *Runner::row_of(int t, int y, int from, int count, uint8_t *&outside) const {
  if (y >= 0 && y < layout_.heights[size_t(t)]) return ring(t).at(y, from);
  uint8_t *const row = outside;
  fill(row, t, count);
  return row;
}

void Runner::convolve(const Node &node, int t, int y) const {
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
  node.row(row);
}

ResultRow Runner::result(const Node &node, int t, int y, AddedRow *rows) const {
  const Ring &own = ring(t);
  const int channels = static_cast<int>(tensor(t).zero.size());
  uint8_t *gathered = scratch_ + layout_.gathered;
  for (size_t i = 0; i < node.added.size(); i++) {
    const Added &added = node.added[i];
    const bool single = graph_.single(added.tensor);
    const uint8_t *from = ring(added.tensor).at(single ? 0 : y, single ? 0 : own.columns.begin);
    const bool wide = tensor(added.tensor).wide;
    size_t pixel = single ? 0 : ring(added.tensor).pixel, bytes = size_t(pixel_channels(graph_, added.tensor)) * element_;
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
void Runner::gather(const Added &added, const uint8_t *from, size_t pixel, size_t bytes, uint8_t *to, size_t to_pixel,
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

void Runner::multiply(const Node &node, int t, int y) const {
  const Ring &first = ring(node.inputs[0]), &second = ring(node.inputs[1]);
  const int begin = ring(t).columns.begin;
  AddedRow none[1];
  const uint8_t *const from = first.at(y, begin);
  const bool single = graph_.single(node.inputs[1]);
  const uint8_t *const other = second.at(single ? 0 : y, single ? 0 : begin);
  const bool wide = tensor(node.inputs[0]).wide, both = node.both && tensor(node.inputs[1]).wide;
  graph_.isa->graph->multiply({from, wide ? from + first.pixel / 2 : nullptr, other,
                               both ? other + second.pixel / 2 : nullptr, static_cast<long>(first.pixel),
                               single ? 0 : static_cast<long>(second.pixel), tensor(node.inputs[0]).zero.data(),
                               tensor(node.inputs[1]).zero.data(),
                               tensor(node.inputs[1]).channels != tensor(t).channels, node.multiplier.data(),
                               result(node, t, y, none)});
}

void Runner::look_up(const Node &node, int t, int y) const {
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
  const size_t in_pixel = ring(node.inputs[0]).pixel, flipped = graph_.isa->activation == Activation::s8 ? 0x80 : 0;
  for (int x = 0; x < span.size(); x++, from += in_pixel, to += pixel) {
    const uint8_t *table = node.table.data();
    if (element_ == 1)
      for (size_t c = 0; c < channels; c++, table += 256) to[c] = static_cast<uint8_t>(table[from[c] ^ flipped] ^ flipped);
    else
      for (size_t c = 0; c < channels; c++, table += 256) put(to + 2 * c, table[from[2 * c]]);
  }
}

size_t Graph::scratch_bytes(const ImageData &image, const Region &region) const {
  return Layout(*this, image, region).bytes;
}

void Graph::run(const ImageData &image, const Region &region, uint8_t *scratch,
                const std::atomic<bool> &cancel) const {
  Runner(*this, image, region, Layout(*this, image, region), scratch).run(cancel, [](int, int) {});
}

}  // namespace sharpbit
