// What reads a graph from bytes that nobody vouches for. The limits are those of src/sharpbit/modelfile/integer_graph.py.
#pragma once

#include "graph.h"
#include "reader.h"

namespace sharpbit {

constexpr uint32_t kGraph = 1 << 16;  // beside the scale
// Beside an operator: kept in 16 bits; with a stride and a padding; reads second bytes as well.
constexpr uint32_t kWide = 256, kStepped = 512, kBoth = 1024;
constexpr uint32_t kMaxNodes = 1024, kMaxInputs = 2048, kMaxTensors = 64, kMaxScale = 16;
constexpr uint32_t kMaxFactor = 8, kMaxStride = 8, kMaxPad = 64;
constexpr int64_t kMaxOffset = 1 << 16;
constexpr size_t kMaxRoots = 16;
constexpr int kMaxLeast = 256;
constexpr int64_t kMaxSum = (int64_t{1} << 31) - 1, kMaxMultiple = 64;
constexpr size_t kMaxPacked = size_t{1} << 30;
constexpr float kMaxMultiplier = 1 << 20;

class GraphReader {
 public:
  GraphReader(const uint8_t *data, size_t size) : reader_(data, size, "graph") {}
  Graph read();

 private:
  [[noreturn]] void refuse(const std::string &what) const {
    throw ModelError("node " + std::to_string(graph_.nodes.size()) + " of the integer graph " + what);
  }
  int limited(uint32_t limit) {
    const uint32_t number = reader_.number();
    if (number < 1 || number > limit)
      refuse("has " + std::to_string(number) + " where 1 to " + std::to_string(limit) + " is possible");
    return static_cast<int>(number);
  }
  int tensor() {
    const uint32_t number = reader_.number();
    if (number >= graph_.tensors.size()) refuse("reads tensor " + std::to_string(number) + ", which comes later");
    return static_cast<int>(number);
  }
  const Tensor &at(int number) const { return graph_.tensors[size_t(number)]; }

  // Zeros for all that belongs to the channels of the result.
  static void start(Node &node, Tensor &made) {
    const size_t channels = size_t(blocks_of(made.channels));
    node.bias.assign(channels, 0);
    node.multiplier.assign(3 * channels, 0.0f);
    made.zero.assign(channels, 0);
  }

  void check_level(const Tensor &made);
  Node read_node(Tensor &made);
  void read_zero(Node &node, Tensor &made);
  void read_floats(std::vector<float> &to, size_t first, int count);
  void read_added(Node &node, Tensor &made, bool sized);
  void same_size(Tensor &made, int input, bool first, bool spreads = false);
  void step(Node &node, Tensor &made);
  void read_largest(Node &node, Tensor &made);
  void read_bilinear(Node &node, Tensor &made);
  void read_pad(Node &node, Tensor &made);
  static void times(Tensor &made, int factor);
  void read_convolution(Node &node, Tensor &made, bool stepped);
  void read_move(Node &node, Tensor &made);

  Reader reader_;
  Graph graph_;
  size_t packed_ = 0;
};

}  // namespace sharpbit
