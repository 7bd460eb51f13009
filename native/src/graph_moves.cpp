// Operators of graphs that move pixels, or look at many of them without a convolution.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "graph_runner.h"

namespace sharpbit {

// The largest byte of each channel that the window sees; there is none outside.
void Runner::largest(const Node &node, int t, int y) const {
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

void Runner::interpolate(const Node &node, int t, int y) const {
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

void Runner::add_row(int t, int y, Sums &sums) const {
  const size_t channels = size_t(tensor(t).channels), pixel = ring(t).pixel;
  const uint8_t flipped = graph_.isa->activation == Activation::s8 ? 0x80 : 0;
  for (int plane = 0; plane < planes(t); plane++) {
    std::array<uint32_t, kMaxChannels> row{};
    const uint8_t *from = ring(t).at(y, 0) + pixel / 2 * size_t(plane);
    for (int x = 0; x < layout_.widths[size_t(t)]; x++, from += pixel) {
      if (element_ == 1)
        for (size_t c = 0; c < channels; c++) row[c] += uint32_t{from[c]} ^ flipped;
      else
        for (size_t c = 0; c < channels; c++) row[c] += from[2 * c];
    }
    for (size_t c = 0; c < channels; c++) sums[c] += int64_t{row[c]} * (plane ? 1 : 256);
  }
}

// The mean of all pixels of each channel, in parts of 65536 of a byte, rounded to the nearest, becomes bytes.
void Runner::mean(const Node &node, int t, const Sums &sums) const {
  const int input = node.inputs[0], height = layout_.heights[size_t(input)], width = layout_.widths[size_t(input)];
  const size_t channels = size_t(tensor(t).channels);
  const int64_t pixels = int64_t{height} * width, count = 2 * pixels;
  uint8_t *const to = ring(t).at(0, 0);
  for (size_t c = 0; c < channels; c++) {
    const int64_t around = 256 * tensor(input).zero[c] + (planes(input) == 2 ? kMiddle : 0);
    const int64_t all = (sums[c] - around * pixels) * 512 + pixels, rest = all % count;
    const float whole = static_cast<float>(all / count - (rest < 0)) * node.multiplier[c];
    const float value = std::clamp(whole, -512.0f, 512.0f);  // far beyond a byte results are at their ends
    const int32_t zero = tensor(t).zero[c];
    const int32_t level = std::clamp(static_cast<int32_t>(std::nearbyint(value)) + zero, 0, 255);
    put(to + c * element_, level);
    if (planes(t) == 1) continue;
    const float left = (value - static_cast<float>(level - zero)) * 256;
    const int32_t fine = std::clamp(static_cast<int32_t>(std::nearbyint(left)) + kMiddle, 0, 255);
    put(to + ring(t).pixel / 2 + c * element_, fine);
  }
}

void Runner::nearest(const Node &node, int t, int y) const {
  const Span &span = ring(t).columns;
  const Ring &from = ring(node.inputs[0]);
  uint8_t *to = ring(t).at(y, span.begin);
  const size_t bytes = ring(t).pixel;
  for (int x = span.begin; x < span.end; x++, to += ring(t).pixel)
    std::memcpy(to, from.at(y / node.factor, x / node.factor), std::min(bytes, from.pixel));
}

void Runner::pad(const Node &node, int t, int y) const {
  const Span &span = ring(t).columns;
  const Ring &from = ring(node.inputs[0]);
  const int height = layout_.heights[size_t(node.inputs[0])], width = layout_.widths[size_t(node.inputs[0])];
  const int row = padded_place(node, y, height);
  uint8_t *to = ring(t).at(y, span.begin);
  for (int x = span.begin; x < span.end; x++, to += ring(t).pixel) {
    const int column = padded_place(node, x, width);
    if (row < 0 || row >= height || column < 0 || column >= width)
      fill(to, t, 1);
    else
      std::memcpy(to, from.at(row, column), std::min(ring(t).pixel, from.pixel));
  }
}

void Runner::unshuffle(const Node &node, int t, int y) const {
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

void Runner::shuffle(const Node &node, int t, int y) const {
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
void Runner::emit(int y) const {
  const int s = graph_.scale, begin = region_.left * s, end = region_.right * s;
  const Node &node = graph_.maker(graph_.last());
  uint8_t *const to = image_.out + ptrdiff_t(y) * image_.out_stride;
  const uint8_t flipped = graph_.isa->activation == Activation::s8 ? 0x80 : 0;
  const auto pixel = [&](int x, const uint8_t *from, int step) {
    const size_t next = size_t(step) * element_;  // the low byte comes first in either form
    uint8_t *const result = to + ptrdiff_t(x) * 3;
    for (size_t c = 0; c < 3; c++) result[c] = from[c * next] ^ flipped;
  };
  if (node.op == Op::shuffle) {
    shuffled(node, y, begin, end, pixel);
  } else {
    for (int x = begin; x < end; x++) pixel(x, ring(graph_.last()).at(y, x), 1);
  }
}

}  // namespace sharpbit
