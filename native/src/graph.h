// A graph that has been read, checked and packed for one instruction set (src/sharpbit/modelfile/integer_graph.py).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "network.h"

namespace sharpbit {

constexpr uint32_t kMaxChannels = 512;   // of a tensor
constexpr int kMiddle = 128;              // the second byte where the first one is exact
constexpr int kMargin = kMaxKernel / 2;  // pixels beside a row that kernels read, at most

enum class Op : uint8_t { convolution = 1, sum, shuffle, unshuffle, nearest, product, table, largest, bilinear, pad, mean };

enum class Edge : uint8_t { zero = 1, replicate, reflect };  // what is put around a tensor

// A side as a function of that of the image: `root` times up / down, plus `offset`. Root 0 is the image, and root k the
// side that `Graph::roots[k - 1]` divides, rounded down.
struct Size {
  int root = 0;
  int64_t up = 1, down = 1, offset = 0;

  bool operator==(const Size &other) const {
    return root == other.root && up == other.up && down == other.down && offset == other.offset;
  }
};

constexpr Size kOnePixel{0, 0, 1, 1};

struct Root {
  Size size;
  int divisor = 1;
};

// Numbers of channels are filled up with zeros to whole blocks, in whatever belongs to a channel.
struct Tensor {
  int channels = 0;
  Size size;
  double level = 1;            // its side for a side of the image of 1, about; 0 of a single pixel
  std::vector<int32_t> zero;   // zero points
  bool wide = false;           // whether second bytes of a pixel follow the first ones
  std::vector<uint8_t> outside;  // a pixel of zero points, as it lies in a row
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
  int kernel = 1, stride = 1, padding = 0, factor = 1, groups = 1;
  int before = 0;                  // pixels that are put above and on the left; negative: taken away
  Edge edge = Edge::zero;
  bool aligned = false;            // whether corners are, in bilinear upsampling
  bool both = false;               // whether a convolution, or a product of its second tensor, reads second bytes as well
  const int8_t *weight = nullptr;  // [outputs][inputs / groups][kernel][kernel] in the bytes that were read
  std::vector<int32_t> bias;
  std::vector<float> multiplier;   // of sums from 0 on, then of negative sums, then zero points (bits of int32)
  Buffer packed;
  void (*row)(const ConvolvedRow &) = nullptr;  // that convolves with `packed`
  std::vector<uint8_t> table;      // 256 bytes for each channel; of a wide result:
  std::vector<uint32_t> between;   // 257 for each: the entries at both ends, the first in the low half
};

struct Span {
  int begin = 0, end = 0;
  int size() const { return end - begin; }
};

struct Graph : Network {
  int scale = 0, common = 1, least = 1, reaches = 0;  // sides are filled up to a multiple of `common`, `least` at least
  bool anywhere = true;                               // whether parts of an image may begin at any multiple
  bool whole = false;                                 // whether each pixel depends on all of the image
  size_t column = 0;
  std::vector<Root> roots;
  std::vector<Tensor> tensors;  // the image, then what each node makes
  std::vector<Node> nodes;
  const Isa *isa = nullptr;    // whose rows of graphs are used
  const Isa *given = nullptr;  // that was asked for: `isa`, or one that adds only convolutions in tiles

  const Node &maker(int tensor) const { return nodes[size_t(tensor) - 1]; }
  bool single(int tensor) const { return tensors[size_t(tensor)].size == kOnePixel; }
  int last() const { return static_cast<int>(nodes.size()); }
  int filled(int side) const { return std::max((side + common - 1) / common * common, least); }

  int enlarges() const override { return scale; }
  int halo() const override { return reaches; }
  size_t column_bytes() const override { return column; }
  bool divides() const override { return !whole; }
  bool begins_anywhere() const override { return anywhere && !whole && common == 1; }
  size_t scratch_bytes(const ImageData &image, const Region &region) const override;
  void run(const ImageData &image, const Region &region, uint8_t *scratch,
           const std::atomic<bool> &cancel) const override;
};

constexpr int blocks_of(int channels) { return (channels + kBlock - 1) / kBlock * kBlock; }

// Numbers of a pixel in a row, and their bytes. The image has four.
inline int pixel_channels(const Graph &graph, int tensor) {
  return tensor == 0 ? 4 : blocks_of(graph.tensors[size_t(tensor)].channels);
}
inline size_t pixel_bytes(const Graph &graph, int tensor) {
  const int element = channel_bytes(graph.isa->activation);
  return size_t(pixel_channels(graph, tensor) * element * (graph.tensors[size_t(tensor)].wide ? 2 : 1));
}

// The side of each tensor, where that of the filled up image is `side`.
std::vector<int> sides_of(const Graph &graph, int side);

// Whether each tensor has a pixel then.
bool fits(const Graph &graph, int side);

// Rows or columns of a tensor that are wanted.
struct Target {
  int tensor = 0;
  Span span;
};

// Where rows or columns of each tensor begin and end that targets, or a region of the image, need; empty of those that nobody
// reads. `sides` are the rows or columns of all tensors. Those that are not `made` here, if that is not empty, are whole and
// lie elsewhere: nothing of them is needed.
std::vector<Span> needed(const Graph &graph, const std::vector<Target> &targets, const std::vector<int> &sides,
                         const std::vector<bool> &made = {});
std::vector<Span> needed(const Graph &graph, int begin, int end, const std::vector<int> &sides);

// Rows of a tensor that must be kept at a time, and when the first one is made and the last one read: a number of rows of
// any tensor that were made before.
struct Kept {
  int rows = 1;
  size_t made = 0, read = 0;
};
std::vector<Kept> kept_rows(const Graph &graph, const std::vector<Span> &rows, const std::vector<int> &sides,
                            const std::vector<Target> &targets);

// Between which pixels of `from` a pixel of `to` lies, and how far from the first, in parts of 256.
struct Place {
  int first, second, weight;
};
Place place_of(int pixel, int from, int to, bool aligned);

// The pixel of a tensor that a pixel of a padded one is, where it has `side`; beyond 0 to side - 1: there is none.
inline int padded_place(const Node &node, int pixel, int side) {
  int place = pixel - node.before;
  if (node.edge == Edge::reflect) place = place < 0 ? -place : place >= side ? 2 * (side - 1) - place : place;
  return node.edge == Edge::zero ? place : std::clamp(place, 0, side - 1);
}

// What rows of a tensor from begin to end read of its inputs: calls `read(tensor, begin, end)`.
template <typename Read>
void reads(const Graph &graph, int tensor, int begin, int end, const std::vector<int> &sides, const Read &read) {
  const Node &node = graph.maker(tensor);
  switch (node.op) {
    case Op::unshuffle: read(node.inputs[0], begin * node.factor, end * node.factor); return;
    case Op::shuffle:
    case Op::nearest: read(node.inputs[0], begin / node.factor, (end - 1) / node.factor + 1); return;
    case Op::bilinear: {
      const int from = sides[size_t(node.inputs[0])], to = sides[size_t(tensor)];
      read(node.inputs[0], place_of(begin, from, to, node.aligned).first,
           place_of(end - 1, from, to, node.aligned).second + 1);
      return;
    }
    case Op::pad: {
      const int side = sides[size_t(node.inputs[0])];
      int first = side - 1, last = 0;
      for (int pixel = begin; pixel < end; pixel++) {
        const int place = std::clamp(padded_place(node, pixel, side), 0, side - 1);
        first = std::min(first, place);
        last = std::max(last, place);
      }
      read(node.inputs[0], first, last + 1);
      return;
    }
    case Op::mean: read(node.inputs[0], 0, sides[size_t(node.inputs[0])]); return;
    default:
      for (const int input : node.inputs) {
        if (node.op == Op::product && graph.single(input)) {
          read(input, 0, 1);
          continue;
        }
        read(input, begin * node.stride - node.padding, (end - 1) * node.stride - node.padding + node.kernel);
      }
      for (const Added &added : node.added)
        graph.single(added.tensor) ? read(added.tensor, 0, 1) : read(added.tensor, begin, end);
  }
}

// Makes rows of a graph in the order in which they are asked for: of no tensor more than what others need next.
class Schedule {
 public:
  Schedule(const Graph &graph, const std::vector<Span> &rows, const std::vector<int> &sides)
      : graph_(graph), rows_(rows), sides_(sides) {
    for (const Span &span : rows) next_.push_back(span.begin);
  }

  // Makes all rows of targets, side by side: of each the same share at a time.
  template <typename Make>
  bool all(const std::vector<Target> &targets, const Make &make) {
    int most = 0;
    for (const Target &target : targets) most = std::max(most, target.span.size());
    for (int step = 1; step <= most; step++)
      for (const auto &[tensor, span] : targets)
        if (!until(tensor, span.begin + static_cast<int>(int64_t{span.size()} * step / most), make)) return false;
    return true;
  }

  // Makes all rows of a tensor before `end`: `make(tensor, row)`, false to stop.
  template <typename Make>
  bool until(int tensor, int end, const Make &make) {
    int &next = next_[size_t(tensor)];
    if (end > rows_[size_t(tensor)].end) end = rows_[size_t(tensor)].end;
    for (; next < end; next++) {
      bool goes_on = true;
      if (tensor > 0)
        reads(graph_, tensor, next, next + 1, sides_,
              [&](int input, int, int last) { goes_on = goes_on && until(input, last, make); });
      if (!goes_on || !make(tensor, next)) return false;
    }
    return true;
  }
  int next(int tensor) const { return next_[size_t(tensor)]; }

 private:
  const Graph &graph_;
  const std::vector<Span> &rows_;
  const std::vector<int> &sides_;
  std::vector<int> next_;
};

// Reads what src/sharpbit/modelfile/integer_graph_payload.py writes, with the limits of integer_graph.py.
Graph read_graph(const uint8_t *data, size_t size);

// Brings weights into the order of the kernels and forgets the bytes that were read.
void pack(Graph &graph, const Isa &isa);

// Whether a payload is one of a graph.
bool is_graph(const uint8_t *data, size_t size);

}  // namespace sharpbit
