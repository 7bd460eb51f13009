// Weights of a graph in the order of the kernels, and what else is known before an image is.
#include <algorithm>
#include <cstring>
#include <string>

#include "graph.h"
#include "graph_tiles.h"

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

// Where the weights of a convolution lie. A tensor that is read: its channels in groups of 4 bytes, and bytes of a pixel.
struct Read {
  int channels = 0, groups = 0;
  long pixel = 0;
};

// [pass][tensor][row][group of 4 bytes][column][output of the pass][4 bytes]
class InRegisters {
 public:
  InRegisters(const Isa &isa, const std::vector<Read> &read, int kernel, int blocks)
      : kernel_(size_t(kernel)), element_(size_t(channel_bytes(isa.activation))) {
    for (const Read &one : read) {
      first_group_.push_back(groups_);
      own_groups_.push_back(size_t(one.groups));
      groups_ += size_t(one.groups);
    }
    for (int block = 0; block < blocks;) {
      const int count = isa.pass[std::min(blocks - block, kMaxBlocks)];
      pass_begin_.insert(pass_begin_.end(), size_t(count), size_t(block) * kBlock);
      width_.insert(width_.end(), size_t(count), size_t(count) * kBlock);
      block += count;
    }
  }
  size_t bytes() const { return kernel_ * kernel_ * groups_ * pass_begin_.size() * kBlock * 4; }
  size_t place(size_t output, size_t source, size_t channel, size_t ky, size_t kx) const {
    const size_t group = 4 / element_, begin = pass_begin_[output / kBlock], width = width_[output / kBlock];
    const size_t step = (first_group_[source] * kernel_ + ky * own_groups_[source] + channel / group) * kernel_ + kx;
    return (kernel_ * kernel_ * groups_ * begin + step * width + output - begin) * 4 + channel % group * element_;
  }

 private:
  size_t kernel_, element_, groups_ = 0;
  std::vector<size_t> first_group_, own_groups_;  // of each tensor
  std::vector<size_t> pass_begin_, width_;        // of each block: the first output of its pass, and how many that has
};

#if defined(SB_AMX_INT8)
// [pass of at most 2 blocks][tensor][row][step][block][16 groups of 4 bytes][16 outputs][4]: see graph_tiles.h
class InTiles {
 public:
  InTiles(const std::vector<Read> &read, int kernel, int blocks) : kernel_(size_t(kernel)), blocks_(size_t(blocks)) {
    for (const Read &one : read) {
      steps_.push_back(TileSteps::of(one.pixel, one.groups * 4, kernel));
      first_step_.push_back(all_);
      all_ += kernel_ * size_t(steps_.back().count());
    }
  }
  size_t bytes() const { return all_ * blocks_ * kTileBytes; }
  size_t place(size_t output, size_t source, size_t channel, size_t ky, size_t kx) const {
    const TileSteps &steps = steps_[source];
    const size_t byte = steps.place(int32_t(kx), int32_t(channel)), k = byte % kTileRow;
    const size_t begin = output / (2 * kBlock) * 2, width = std::min<size_t>(2, blocks_ - begin);  // of the pass, in blocks
    const size_t step = first_step_[source] + ky * size_t(steps.count()) + byte / kTileRow;
    const size_t tile = all_ * begin + step * width + output / kBlock - begin;
    return tile * kTileBytes + k / 4 * kTileRow + output % kBlock * 4 + k % 4;
  }

 private:
  size_t kernel_, blocks_, all_ = 0;
  std::vector<TileSteps> steps_;
  std::vector<size_t> first_step_;
};
#endif

template <class Order>
void pack_weights(const Graph &graph, Node &node, const Tensor &made, const std::vector<Read> &read, const Order &order) {
  const Isa &isa = *graph.isa;
  const int element = channel_bytes(isa.activation), taps = node.kernel * node.kernel;
  node.packed = make_buffer(order.bytes());
  std::memset(node.packed.get(), 0, order.bytes());
  size_t channels = 0;
  for (const Read &one : read) channels += size_t(one.channels);
  const size_t of_group = channels / size_t(node.groups), outputs_of_group = size_t(made.channels / node.groups);
  for (int o = 0; o < made.channels; o++) {
    const size_t to = size_t(place(made, o)), begins = size_t(o) / outputs_of_group * of_group;
    int32_t sum = 0, second = 0;
    size_t channel = 0;
    for (size_t s = 0; s < read.size(); s++) {
      const bool wide = node.both && graph.tensors[size_t(node.inputs[s])].wide;
      for (size_t i = 0; i < size_t(read[s].channels); i++, channel++) {
        if (channel < begins || channel >= begins + of_group) continue;  // of another group
        const int8_t *const weight = node.weight + (size_t(o) * of_group + channel - begins) * size_t(taps);
        for (int tap = 0; tap < taps; tap++) {
          sum += weight[tap];
          second += wide ? weight[tap] : 0;
          uint8_t *const at = node.packed.get() + order.place(to, s, i, size_t(tap / node.kernel), size_t(tap % node.kernel));
          const int16_t longer = weight[tap];
          std::memcpy(at, element == 2 ? static_cast<const void *>(&longer) : &weight[tap], size_t(element));
        }
      }
    }
    // Activations that are kept minus 128 lose 128 times the weights. Second bytes count less 128.
    if (isa.activation == Activation::s8)
      node.bias[to] += 128 * (node.both ? 256 : 1) * sum;
    else
      node.bias[to] -= 128 * second;
  }
}

void pack_convolution(const Graph &graph, Node &node, const Tensor &made) {
  const Isa &isa = *graph.isa;
  const int group = 4 / channel_bytes(isa.activation), blocks = blocks_of(made.channels) / kBlock;
  const bool common = node.stride == 1 && node.kernel % 2 && node.kernel <= kCommonKernel;
  std::vector<Read> read;
  for (const int input : node.inputs) {
    const int channels = graph.tensors[size_t(input)].channels;
    read.push_back({channels, (channels + group - 1) / group, static_cast<long>(pixel_bytes(graph, input))});
  }
#if defined(SB_AMX_INT8)
  if (common && graph.given->convolve_in_tiles) {
    node.row = graph.given->convolve_in_tiles;
    return pack_weights(graph, node, made, read, InTiles(read, node.kernel, blocks));
  }
#endif
  node.row = common ? isa.graph->convolve[node.kernel / 2] : isa.graph->convolve_any;
  pack_weights(graph, node, made, read, InRegisters(isa, read, node.kernel, blocks));
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
  graph.given = &isa;
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
    if (node.op == Op::convolution) pack_convolution(graph, node, made);
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
