// Reading the nodes of a graph that look at windows or move pixels.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "graph_reader.h"
#include "graph_tiles.h"

namespace sharpbit {

// What a window that moves by a stride makes of a side.
void GraphReader::step(Node &node, Tensor &made) {
  const Size &read = made.size;
  const int64_t offset = read.offset + 2 * node.padding - node.kernel;
  if (node.padding > node.kernel / 2) refuse("has a padding beyond half of its kernel");
  if (node.stride == 1) {
    made.size.offset = offset + 1;
    return;
  }
  graph_.anywhere = false;
  made.level /= node.stride;
  const Size divided{read.root, read.up, read.down, offset};
  size_t number = 0;
  while (number < graph_.roots.size() &&
         !(graph_.roots[number].size == divided && graph_.roots[number].divisor == node.stride))
    number++;
  if (number == graph_.roots.size()) graph_.roots.push_back({divided, node.stride});
  made.size = Size{static_cast<int>(number) + 1, 1, 1, 1};
}

void GraphReader::read_largest(Node &node, Tensor &made) {
  node.inputs = {tensor()};
  node.kernel = limited(kMaxKernel);
  node.stride = limited(kMaxStride);
  node.padding = limited(kMaxKernel + 1) - 1;
  made = at(node.inputs[0]);
  made.wide = false;
  made.shuffled = 0;
  step(node, made);
}

void GraphReader::read_bilinear(Node &node, Tensor &made) {
  node.inputs = {tensor()};
  const int like = tensor();
  node.factor = limited(kMaxFactor + 1) - 1;
  node.aligned = limited(2) == 2;
  const Tensor &read = at(node.inputs[0]), &model = at(like);
  const bool wide = made.wide;
  made = read;
  made.wide = wide;
  if (node.factor) {
    times(made, node.factor);
  } else {
    made.size = model.size;
    made.level = model.level;
  }
  if (!node.factor || node.aligned) graph_.anywhere = false;
}

void GraphReader::read_pad(Node &node, Tensor &made) {
  node.inputs = {tensor()};
  const auto pixels = [&] { return limited(2 * kMaxPad + 1) - int(kMaxPad) - 1; };
  node.before = pixels();
  made = at(node.inputs[0]);
  made.size.offset += node.before + pixels();
  node.edge = Edge(limited(uint32_t(Edge::reflect)));
}

void GraphReader::times(Tensor &made, int factor) {
  made.level *= factor;
  made.size.offset *= factor;
  made.size.up *= factor;
  const int64_t common = std::gcd(made.size.up, made.size.down);
  made.size.up /= common;
  made.size.down /= common;
}

void GraphReader::read_convolution(Node &node, Tensor &made, bool stepped) {
  const int count = limited(kMaxTensors);
  made.channels = limited(kMaxChannels);
  const int inputs = limited(kMaxInputs);
  node.kernel = limited(kMaxKernel);
  node.groups = limited(kMaxInputs);
  node.padding = node.kernel / 2;
  if (stepped) {
    node.stride = limited(kMaxStride);
    node.padding = limited(kMaxKernel + 1) - 1;
  }
  int channels = 0;
  size_t packed = 0;  // bytes for an output, of whichever instruction set needs most
  for (int i = 0; i < count; i++) {
    node.inputs.push_back(tensor());
    same_size(made, node.inputs.back(), i == 0);
    const Tensor &read = at(node.inputs.back());
    channels += read.channels;
    const size_t kernel = size_t(node.kernel), own = size_t(read.channels) + 4;
    const long pixel = pixel_channels(graph_, node.inputs.back()) * (read.wide ? 2 : 1);
    const TileSteps steps = TileSteps::of(pixel, (read.channels + 3) / 4 * 4, node.kernel);
    packed += std::max(own * kernel * kernel * 2, kernel * size_t(steps.count()) * kTileRow);
  }
  if ((node.kernel % 2 == 0 && !stepped) || channels > int(kMaxInputs) || int64_t{inputs} * node.groups != channels ||
      made.channels % node.groups)
    refuse("has weights of another form than its tensors");
  step(node, made);
  start(node, made);
  const size_t of_one = size_t(inputs) * size_t(node.kernel * node.kernel), all = of_one * size_t(made.channels);
  packed_ += made.zero.size() * packed;
  if (packed_ > kMaxPacked) throw ModelError("the integer graph needs more than a gibibyte for its weights");
  node.weight = reinterpret_cast<const int8_t *>(reader_.take(all));
  if (std::memchr(node.weight, 0x80, all)) refuse("has a weight of -128; weights lie between -127 and 127");
  const uint8_t *bias = reader_.take(size_t(made.channels) * 4);
  const int64_t most = node.both ? 66048 : 256;  // of an activation, with room for how instruction sets keep it
  for (size_t o = 0; o < size_t(made.channels); o++) {
    const uint32_t bits = Reader::number(bias + 4 * o);
    std::memcpy(&node.bias[o], &bits, 4);
    int64_t largest = std::llabs(int64_t{node.bias[o]});
    for (size_t i = 0; i < of_one; i++) largest += most * std::abs(int{node.weight[o * of_one + i]});
    if (largest > kMaxSum) refuse("has weights and a bias whose sum may leave 32 bits");
  }
  read_floats(node.multiplier, 0, made.channels);
  read_floats(node.multiplier, made.zero.size(), made.channels);
  read_zero(node, made);
  read_added(node, made, true);
}

void GraphReader::read_move(Node &node, Tensor &made) {
  node.inputs = {tensor()};
  node.factor = limited(kMaxFactor);
  if (node.factor < 2) refuse("moves pixels by a factor of 1");
  const Tensor &read = at(node.inputs[0]);
  const int area = node.factor * node.factor;
  made = read;
  made.zero.clear();
  if (node.op == Op::unshuffle) {
    made.channels = read.channels * area;
    const int64_t common = std::gcd(made.size.up, int64_t{node.factor});
    made.size.up /= common;
    made.size.down *= node.factor / common;
    made.level /= node.factor;
    if (made.size.root || made.size.offset % node.factor) refuse("unshuffles a tensor that may have any size");
    made.size.offset /= node.factor;
    if (made.channels > int(kMaxChannels)) refuse("makes too many channels");
  } else {
    times(made, node.factor);
    if (node.op == Op::shuffle) made.channels = read.channels / area;
    if (node.op == Op::shuffle && read.channels % area) refuse("shuffles channels that are no multiple of its area");
  }
  for (int c = 0; c < made.channels; c++)
    made.zero.push_back(read.zero[size_t(node.op == Op::unshuffle ? c / area : node.op == Op::shuffle ? c * area : c)]);
  for (int c = 0; node.op == Op::shuffle && c < read.channels; c++)
    if (read.zero[size_t(c)] != made.zero[size_t(c / area)]) refuse("shuffles channels whose zero points differ");
  made.zero.resize(size_t(blocks_of(made.channels)), 0);
}

}  // namespace sharpbit
