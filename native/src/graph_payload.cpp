// Reading a graph: its nodes one after the other, and what all of them have. Windows and moves are in graph_windows.cpp.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "graph_reader.h"

namespace sharpbit {

Graph GraphReader::read() {
  const uint32_t first = reader_.number(), count = reader_.number(), outside = reader_.number();
  const uint32_t scale = first & ~kGraph;
  if (scale < 1 || scale > kMaxScale || count < 1 || count > kMaxNodes || outside >> 24)
    throw ModelError("an integer graph upscales 1 to 16 times with 1 to 1024 nodes, not " + std::to_string(scale) +
                     " times with " + std::to_string(count));
  graph_.scale = static_cast<int>(scale);
  Tensor image;
  image.channels = 3;
  for (int c = 0; c < kBlock; c++) image.zero.push_back(c < 3 ? int32_t(outside >> 8 * c & 255) : 0);
  graph_.tensors.push_back(image);
  for (uint32_t k = 0; k < count; k++) {
    Tensor made;
    Node node = read_node(made);
    check_level(made);
    graph_.nodes.push_back(std::move(node));
    graph_.tensors.push_back(std::move(made));
  }
  reader_.end();
  const Tensor &last = graph_.tensors.back();
  if (last.channels != 3 || !(last.size == Size{0, graph_.scale, 1, 0}))
    throw ModelError("the integer graph gives " + std::to_string(last.channels) +
                     " channels, or another size than its scale says");
  for (graph_.least = graph_.common; !fits(graph_, graph_.least); graph_.least += graph_.common)
    if (graph_.least > kMaxLeast) throw ModelError("the integer graph takes no image with sides of up to 256 pixels");
  return std::move(graph_);
}

void GraphReader::check_level(const Tensor &made) {
  if (made.channels > int(kMaxChannels)) refuse("makes " + std::to_string(made.channels) + " channels");
  const int64_t common = std::lcm(int64_t{graph_.common}, made.size.down);
  const double most = kMaxScale * 1.0001;  // levels are rounded
  const bool sized = made.size == kOnePixel || (made.level <= most && made.level * most >= 1);
  if (!sized || common > kMaxMultiple || std::llabs(made.size.offset) > kMaxOffset ||
      graph_.roots.size() > kMaxRoots)
    refuse("makes a tensor of a size that is not possible");
  graph_.common = static_cast<int>(common);
}

Node GraphReader::read_node(Tensor &made) {
  Node node;
  const uint32_t code = reader_.number(), op = code & ~(kWide | kStepped | kBoth);
  const bool stepped = code & kStepped;
  node.op = Op(op);
  node.both = code & kBoth;
  made.wide = code & kWide;
  const bool convolves = node.op == Op::convolution, multiplies = node.op == Op::product;
  const bool widens = convolves || multiplies || node.op == Op::sum || node.op == Op::table ||
                      node.op == Op::bilinear || node.op == Op::mean;
  if (op < 1 || op > uint32_t(Op::mean) || (made.wide && !widens) || (stepped && !convolves) ||
      (node.both && !convolves && !multiplies))
    refuse("is an operator " + std::to_string(code));
  switch (node.op) {
    case Op::convolution: read_convolution(node, made, stepped); break;
    case Op::largest: read_largest(node, made); break;
    case Op::bilinear: read_bilinear(node, made); break;
    case Op::pad: read_pad(node, made); break;
    case Op::mean:
      node.inputs = {tensor()};
      made.channels = limited(kMaxChannels);
      start(node, made);
      read_floats(node.multiplier, 0, made.channels);
      read_zero(node, made);
      if (at(node.inputs[0]).channels != made.channels) refuse("is a mean of other channels than it reads");
      made.size = kOnePixel;
      made.level = 0;
      graph_.anywhere = false;
      graph_.whole = true;
      break;
    case Op::sum:
      made.channels = limited(kMaxChannels);
      start(node, made);
      read_zero(node, made);
      read_added(node, made, false);
      if (node.added.empty()) refuse("adds nothing");
      break;
    case Op::product:
      node.inputs = {tensor(), tensor()};
      made.channels = limited(kMaxChannels);
      start(node, made);
      read_floats(node.multiplier, 0, made.channels);
      read_zero(node, made);
      for (const int input : node.inputs) same_size(made, input, input == node.inputs[0], true);
      if (at(node.inputs[0]).channels != made.channels ||
          (at(node.inputs[1]).channels != made.channels && at(node.inputs[1]).channels != 1))
        refuse("multiplies tensors of other channels than it makes");
      break;
    case Op::table: {
      node.inputs = {tensor()};
      made.channels = limited(kMaxChannels);
      start(node, made);
      if (made.wide) {
        const uint8_t *values = reader_.take(size_t(made.channels) * 258 * 2);
        for (int c = 0; c < made.channels; c++, values += 2)
          for (int k = 0; k < 257; k++, values += 2) node.between.push_back(Reader::number(values));
        node.between.resize(made.zero.size() * 257, 0);  // of channels that fill the last block
      } else {
        const size_t bytes = size_t(made.channels) * 256;
        const uint8_t *values = reader_.take(bytes);
        node.table.assign(values, values + bytes);
      }
      read_zero(node, made);
      same_size(made, node.inputs[0], true);
      if (at(node.inputs[0]).channels != made.channels) refuse("has tables for other channels than it reads");
      break;
    }
    default: read_move(node, made);
  }
  return node;
}

void GraphReader::read_zero(Node &node, Tensor &made) {
  const uint8_t *zero = reader_.take(size_t(made.channels));
  for (size_t c = 0; c < size_t(made.channels); c++) {
    made.zero[c] = zero[c];
    std::memcpy(&node.multiplier[2 * made.zero.size() + c], &made.zero[c], 4);
  }
}

void GraphReader::read_floats(std::vector<float> &to, size_t first, int count) {
  const uint8_t *values = reader_.take(size_t(count) * 4);
  for (size_t c = 0; c < size_t(count); c++) {
    const uint32_t bits = Reader::number(values + 4 * c);
    float value;
    std::memcpy(&value, &bits, 4);
    if (!std::isfinite(value) || std::fabs(value) > kMaxMultiplier) refuse("has a multiplier beyond 2**20");
    to[first + c] = value;
  }
}

void GraphReader::read_added(Node &node, Tensor &made, bool sized) {
  const uint32_t count = reader_.number();
  if (count > kMaxTensors) refuse("adds " + std::to_string(count) + " tensors");
  for (uint32_t i = 0; i < count; i++) {
    Added added;
    added.tensor = tensor();
    added.multiplier.assign(made.zero.size(), 0.0f);
    read_floats(added.multiplier, 0, made.channels);
    same_size(made, added.tensor, i == 0 && !sized, true);
    const int channels = at(added.tensor).channels;
    if (made.channels % channels) refuse("adds " + std::to_string(channels) + " channels to others");
    if (channels != made.channels)
      for (int c = 0; c < made.channels; c++)
        added.from.push_back(static_cast<uint16_t>(c / (made.channels / channels)));
    node.added.push_back(std::move(added));
  }
}

void GraphReader::same_size(Tensor &made, int input, bool first, bool spreads) {
  const Tensor &read = at(input);
  if (!first && spreads && graph_.single(input)) return;
  if (!first && !(read.size == made.size)) refuse("reads tensors of different sizes");
  made.size = read.size;
  made.level = read.level;
}

bool is_graph(const uint8_t *data, size_t size) { return size >= 4 && (Reader::number(data) & kGraph); }

Graph read_graph(const uint8_t *data, size_t size) { return GraphReader(data, size).read(); }

}  // namespace sharpbit
