// Weights of a graph in the order of the kernels: [pass][tensor][row][group of 4 bytes][column][output of the pass].
#include <algorithm>
#include <cstring>
#include <string>

#include "graph.h"

namespace sharpbit {
namespace {

constexpr int kMaxHalo = 2047;

// Channels of a convolution that is only shuffled afterwards are kept in the order (row, column, channel): so what
// lies side by side after the shuffle does so before.
void find_shuffled(Graph &graph) {
  std::vector<int> factor(graph.tensors.size(), 0);  // -1: read by others too
  for (const Node &node : graph.nodes) {
    for (const int input : node.inputs) {
      int &known = factor[size_t(input)];
      known = node.op == Op::shuffle && (known == 0 || known == node.factor) ? node.factor : -1;
    }
    for (const Added &added : node.added) factor[size_t(added.tensor)] = -1;
  }
  for (int t = 1; t <= graph.last(); t++)
    if (graph.maker(t).op == Op::convolution && factor[size_t(t)] > 0) graph.tensors[size_t(t)].shuffled = factor[size_t(t)];
  // A convolution that is only added to such a one has the same order.
  std::vector<int> readers(graph.tensors.size(), 0), adds(graph.tensors.size(), 0);
  for (int t = 1; t <= graph.last(); t++) {
    for (const int input : graph.maker(t).inputs) readers[size_t(input)]++;
    for (const Added &added : graph.maker(t).added) readers[size_t(added.tensor)]++, adds[size_t(added.tensor)] = t;
  }
  for (int t = graph.last(); t > 0; t--) {
    Tensor &own = graph.tensors[size_t(t)];
    const Tensor &sum = graph.tensors[size_t(adds[size_t(t)])];
    const bool convolves = graph.maker(t).op == Op::convolution;
    if (convolves && readers[size_t(t)] == 1 && adds[size_t(t)] && sum.channels == own.channels) own.shuffled = sum.shuffled;
  }
}

int place(const Tensor &made, int output) {
  const int area = made.shuffled * made.shuffled;
  return area ? output % area * (made.channels / area) + output / area : output;
}

template <typename T>
void reorder(std::vector<T> &values, const Tensor &made) {
  const std::vector<T> before = values;
  const size_t channels = size_t(blocks_of(made.channels));
  for (size_t part = 0; part < values.size(); part += channels)
    for (int o = 0; o < made.channels; o++) values[part + size_t(place(made, o))] = before[part + size_t(o)];
}

void reorder_outputs(const Graph &graph, Node &node, Tensor &made) {
  if (!made.shuffled) return;
  reorder(node.bias, made);
  reorder(node.multiplier, made);
  reorder(made.zero, made);
  for (Added &added : node.added) {
    reorder(added.multiplier, made);
    if (graph.tensors[size_t(added.tensor)].shuffled == made.shuffled) continue;  // it is in this order itself
    const std::vector<uint16_t> before = added.from;
    added.from.resize(size_t(made.channels));
    for (int o = 0; o < made.channels; o++)
      added.from[size_t(place(made, o))] = before.empty() ? static_cast<uint16_t>(o) : before[size_t(o)];
  }
}

// How many blocks each pass takes of so many, one after the other.
int together(const Isa &isa, int left) { return isa.pass[std::min(left, kMaxBlocks)]; }

void pack_convolution(Graph &graph, Node &node, const Tensor &made, const Isa &isa) {
  const int element = channel_bytes(isa.activation), group = 4 / element, taps = node.kernel * node.kernel;
  const int blocks = blocks_of(made.channels) / kBlock;
  std::vector<size_t> pass_begin, in_pass;  // of each block: where its pass begins, in blocks; how many that has
  for (int block = 0; block < blocks;) {
    const int count = together(isa, blocks - block);
    for (int i = 0; i < count; i++) {
      pass_begin.push_back(size_t(block));
      in_pass.push_back(size_t(count));
    }
    block += count;
  }
  std::vector<size_t> first_group, first_channel;
  size_t groups = 0, channels = 0;
  for (const int input : node.inputs) {
    first_group.push_back(groups);
    first_channel.push_back(channels);
    const int own = graph.tensors[size_t(input)].channels;
    groups += size_t((own + group - 1) / group);
    channels += size_t(own);
  }
  const size_t bytes = size_t(taps) * groups * size_t(blocks) * kBlock * 4;
  node.packed = make_buffer(bytes);
  std::memset(node.packed.get(), 0, bytes);
  const size_t of_group = channels / size_t(node.groups), outputs_of_group = size_t(made.channels / node.groups);
  for (int o = 0; o < made.channels; o++) {
    const int to = place(made, o), block = to / kBlock;
    const size_t width = in_pass[size_t(block)] * kBlock, begin = pass_begin[size_t(block)] * kBlock;
    uint8_t *const pass = node.packed.get() + size_t(taps) * groups * begin * 4;
    int32_t sum = 0, second = 0;
    for (size_t s = 0; s < node.inputs.size(); s++) {
      const size_t own = size_t(graph.tensors[size_t(node.inputs[s])].channels);
      const size_t own_groups = (own + size_t(group) - 1) / size_t(group);
      const bool wide = node.both && graph.tensors[size_t(node.inputs[s])].wide;
      for (size_t i = 0; i < own; i++) {
        const size_t channel = first_channel[s] + i, begins = size_t(o) / outputs_of_group * of_group;
        if (channel < begins || channel >= begins + of_group) continue;  // of another group
        const int8_t *const weight = node.weight + (size_t(o) * of_group + channel - begins) * size_t(taps);
        for (int tap = 0; tap < taps; tap++) {
          sum += weight[tap];
          second += wide ? weight[tap] : 0;
          const size_t ky = size_t(tap / node.kernel), kx = size_t(tap % node.kernel), k = size_t(node.kernel);
          const size_t step = (first_group[s] * k + ky * own_groups + i / size_t(group)) * k + kx;
          uint8_t *at = pass + (step * width + size_t(to) - begin) * 4 + i % size_t(group) * size_t(element);
          const int16_t wide = weight[tap];
          std::memcpy(at, element == 2 ? static_cast<const void *>(&wide) : &weight[tap], size_t(element));
        }
      }
    }
    // Activations that are kept minus 128 lose 128 times the weights. Second bytes count less 128.
    if (isa.activation == Activation::s8)
      node.bias[size_t(to)] += 128 * (node.both ? 256 : 1) * sum;
    else
      node.bias[size_t(to)] -= 128 * second;
  }
}

// A pixel of zero points, and of second bytes that add nothing, as rows keep it.
std::vector<uint8_t> outside_of(const Graph &graph, int tensor) {
  const size_t element = size_t(channel_bytes(graph.isa->activation)), channels = size_t(pixel_channels(graph, tensor));
  std::vector<uint8_t> pixel(pixel_bytes(graph, tensor), 0);
  for (size_t at = 0; at * element < pixel.size(); at++) {
    const int32_t byte = at < channels ? graph.tensors[size_t(tensor)].zero[at] : kMiddle;
    pixel[at * element] = static_cast<uint8_t>(graph.isa->activation == Activation::s8 ? byte ^ 0x80 : byte);
  }
  return pixel;
}

}  // namespace

void pack(Graph &graph, const Isa &isa) {
  graph.isa = isa.graph ? &isa : isa.base;
  find_shuffled(graph);
  for (int t = 1; t <= graph.last(); t++) {
    Node &node = graph.nodes[size_t(t) - 1];
    Tensor &made = graph.tensors[size_t(t)];
    reorder_outputs(graph, node, made);
    for (Added &added : node.added) {
      added.zero.assign(made.zero.size(), 0);
      for (size_t c = 0; c < added.from.size(); c++) added.zero[c] = graph.tensors[size_t(added.tensor)].zero[added.from[c]];
    }
    if (node.op == Op::convolution) pack_convolution(graph, node, made, *graph.isa);
    node.weight = nullptr;
  }
  for (int t = 0; t <= graph.last(); t++) graph.tensors[size_t(t)].outside = outside_of(graph, t);
  // In the middle of a large image.
  const int half = (kMaxHalo + graph.least) / graph.common * graph.common + graph.common;
  const Span all = needed(graph, half, half + graph.common, sides_of(graph, 2 * half + graph.common))[0];
  graph.reaches = std::max({0, half - all.begin, all.end - half - graph.common});
  if (graph.reaches > kMaxHalo && graph.anywhere)
    throw ModelError("the integer graph sees " + std::to_string(graph.reaches) + " pixels around each; 2047 are possible");
  // As in the middle of an image that is high enough for all rows to be in work.
  const std::vector<int> sides = sides_of(graph, graph.filled(2 * graph.reaches + 8 * graph.common));
  const std::vector<Span> all_rows = needed(graph, 0, sides[0], sides);
  const std::vector<Kept> rows = kept_rows(graph, all_rows, sides, {{graph.last(), all_rows.back()}});
  for (int t = 0; t <= graph.last(); t++) {
    const Tensor &tensor = graph.tensors[size_t(t)];
    graph.column += static_cast<size_t>(double(pixel_bytes(graph, t)) * rows[size_t(t)].rows * tensor.level) + 1;
  }
}

}  // namespace sharpbit
