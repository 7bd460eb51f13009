// A graph that has been read, checked and packed for one instruction set (src/sharpbit/modelfile/integer_graph.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "network.h"

namespace sharpbit {

constexpr int kMargin = kMaxKernel / 2;  // pixels beside a row that kernels read

enum class Op : uint8_t { convolution = 1, sum, shuffle, unshuffle, nearest, product, table };

// Numbers of channels are filled up with zeros to whole blocks, in whatever belongs to a channel.
struct Tensor {
  int channels = 0;
  int64_t up = 1, down = 1;    // its side is that of the image times up / down, in lowest terms
  std::vector<int32_t> zero;   // zero points
  int shuffled = 0;            // factor of the shuffle in whose order the channels are kept; 0: in order
};

struct Added {
  int tensor = 0;
  std::vector<float> multiplier;
  std::vector<uint16_t> from;  // the channel of each channel of the result; empty where all are their own
  std::vector<int32_t> zero;   // then: the zero points that they bring along
};

struct Node {
  Op op = Op::sum;
  std::vector<int> inputs;
  std::vector<Added> added;
  int kernel = 1, factor = 1, groups = 1;
  const int8_t *weight = nullptr;  // [outputs][inputs / groups][kernel][kernel] in the bytes that were read
  std::vector<int32_t> bias;
  std::vector<float> multiplier;   // of sums from 0 on, then of negative sums, then zero points (bits of int32)
  Buffer packed;
  std::vector<uint8_t> table;      // 256 bytes for each channel

  int reach() const { return kernel / 2; }
};

struct Span {
  int begin = 0, end = 0;
  int size() const { return end - begin; }
};

struct Graph : Network {
  int scale = 0, common = 1, reaches = 0;  // `common`: sides are filled up to a multiple of it
  size_t column = 0;
  std::vector<Tensor> tensors;  // the image, then what each node makes
  std::vector<Node> nodes;
  const Isa *isa = nullptr;

  const Node &maker(int tensor) const { return nodes[size_t(tensor) - 1]; }
  int last() const { return static_cast<int>(nodes.size()); }

  int enlarges() const override { return scale; }
  int halo() const override { return reaches; }
  size_t column_bytes() const override { return column; }
  size_t scratch_bytes(const ImageData &image, const Region &region) const override;
  void run(const ImageData &image, const Region &region, uint8_t *scratch,
           const std::atomic<bool> &cancel) const override;
};

constexpr int blocks_of(int channels) { return (channels + kBlock - 1) / kBlock * kBlock; }

// Bytes of a pixel in a row. The image has four.
inline size_t pixel_bytes(const Graph &graph, int tensor) {
  const int channels = tensor == 0 ? 4 : blocks_of(graph.tensors[size_t(tensor)].channels);
  return size_t(channels * channel_bytes(graph.isa->activation));
}

// Where rows or columns of each tensor begin and end that a region needs; empty of those that nobody reads.
// `size`: rows or columns of the filled up image; 0: without ends.
std::vector<Span> needed(const Graph &graph, int begin, int end, int size);

// Rows of each tensor that must be kept at a time.
std::vector<int> kept_rows(const Graph &graph, const std::vector<Span> &rows);

// What a row of a tensor, on its way from begin to end, reads of its inputs: calls `read(tensor, begin, end)`.
template <typename Read>
void reads(const Node &node, int begin, int end, const Read &read) {
  switch (node.op) {
    case Op::unshuffle: read(node.inputs[0], begin * node.factor, end * node.factor); return;
    case Op::shuffle:
    case Op::nearest: {
      const auto below = [&](int at) { return at >= 0 ? at / node.factor : -((node.factor - 1 - at) / node.factor); };
      read(node.inputs[0], below(begin), below(end - 1) + 1);
      return;
    }
    default:
      for (const int tensor : node.inputs) read(tensor, begin - node.reach(), end + node.reach());
      for (const Added &added : node.added) read(added.tensor, begin, end);
  }
}

// Makes rows of a graph in the order in which they are asked for: of no tensor more than what others need next.
class Schedule {
 public:
  Schedule(const Graph &graph, const std::vector<Span> &rows) : graph_(graph), rows_(rows) {
    for (const Span &span : rows) next_.push_back(span.begin);
  }

  // Makes all rows of a tensor before `end`: `make(tensor, row)`, false to stop.
  template <typename Make>
  bool until(int tensor, int end, const Make &make) {
    int &next = next_[size_t(tensor)];
    if (end > rows_[size_t(tensor)].end) end = rows_[size_t(tensor)].end;
    for (; next < end; next++) {
      bool goes_on = true;
      if (tensor > 0)
        reads(graph_.maker(tensor), next, next + 1,
              [&](int input, int, int last) { goes_on = goes_on && until(input, last, make); });
      if (!goes_on || !make(tensor, next)) return false;
    }
    return true;
  }
  int next(int tensor) const { return next_[size_t(tensor)]; }

 private:
  const Graph &graph_;
  const std::vector<Span> &rows_;
  std::vector<int> next_;
};

// Reads what src/sharpbit/modelfile/integer_graph_payload.py writes, with the limits of integer_graph.py.
Graph read_graph(const uint8_t *data, size_t size);

// Brings weights into the order of the kernels and forgets the bytes that were read.
void pack(Graph &graph, const Isa &isa);

// Whether a payload is one of a graph.
bool is_graph(const uint8_t *data, size_t size);

}  // namespace sharpbit
