// Reading a graph from bytes that nobody vouches for. The limits are those of src/sharpbit/modelfile/integer_graph.py.
#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "graph.h"
#include "reader.h"

namespace sharpbit {
namespace {

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

  Graph read() {
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

  void same_size(Tensor &made, int input, bool first, bool spreads = false) {
    const Tensor &read = at(input);
    if (!first && spreads && graph_.single(input)) return;
    if (!first && !(read.size == made.size)) refuse("reads tensors of different sizes");
    made.size = read.size;
    made.level = read.level;
  }

  void check_level(const Tensor &made) {
    if (made.channels > int(kMaxChannels)) refuse("makes " + std::to_string(made.channels) + " channels");
    const int64_t common = std::lcm(int64_t{graph_.common}, made.size.down);
    const double most = kMaxScale * 1.0001;  // levels are rounded
    const bool sized = made.size == kOnePixel || (made.level <= most && made.level * most >= 1);
    if (!sized || common > kMaxMultiple || std::llabs(made.size.offset) > kMaxOffset ||
        graph_.roots.size() > kMaxRoots)
      refuse("makes a tensor of a size that is not possible");
    graph_.common = static_cast<int>(common);
  }

  Node read_node(Tensor &made) {
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

  // Zeros for all that belongs to the channels of the result.
  static void start(Node &node, Tensor &made) {
    const size_t channels = size_t(blocks_of(made.channels));
    node.bias.assign(channels, 0);
    node.multiplier.assign(3 * channels, 0.0f);
    made.zero.assign(channels, 0);
  }

  void read_zero(Node &node, Tensor &made) {
    const uint8_t *zero = reader_.take(size_t(made.channels));
    for (size_t c = 0; c < size_t(made.channels); c++) {
      made.zero[c] = zero[c];
      std::memcpy(&node.multiplier[2 * made.zero.size() + c], &made.zero[c], 4);
    }
  }

  void read_floats(std::vector<float> &to, size_t first, int count) {
    const uint8_t *values = reader_.take(size_t(count) * 4);
    for (size_t c = 0; c < size_t(count); c++) {
      const uint32_t bits = Reader::number(values + 4 * c);
      float value;
      std::memcpy(&value, &bits, 4);
      if (!std::isfinite(value) || std::fabs(value) > kMaxMultiplier) refuse("has a multiplier beyond 2**20");
      to[first + c] = value;
    }
  }

  void read_added(Node &node, Tensor &made, bool sized) {
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

  // What a window that moves by a stride makes of a side.
  void step(Node &node, Tensor &made) {
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

  void read_largest(Node &node, Tensor &made) {
    node.inputs = {tensor()};
    node.kernel = limited(kMaxKernel);
    node.stride = limited(kMaxStride);
    node.padding = limited(kMaxKernel + 1) - 1;
    made = at(node.inputs[0]);
    made.wide = false;
    made.shuffled = 0;
    step(node, made);
  }

  void read_bilinear(Node &node, Tensor &made) {
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

  void read_pad(Node &node, Tensor &made) {
    node.inputs = {tensor()};
    const auto pixels = [&] { return limited(2 * kMaxPad + 1) - int(kMaxPad) - 1; };
    node.before = pixels();
    made = at(node.inputs[0]);
    made.size.offset += node.before + pixels();
    node.edge = Edge(limited(uint32_t(Edge::reflect)));
  }

  static void times(Tensor &made, int factor) {
    made.level *= factor;
    made.size.offset *= factor;
    made.size.up *= factor;
    const int64_t common = std::gcd(made.size.up, made.size.down);
    made.size.up /= common;
    made.size.down /= common;
  }

  void read_convolution(Node &node, Tensor &made, bool stepped) {
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
    for (int i = 0; i < count; i++) {
      node.inputs.push_back(tensor());
      same_size(made, node.inputs.back(), i == 0);
      channels += at(node.inputs.back()).channels;
    }
    if ((node.kernel % 2 == 0 && !stepped) || channels > int(kMaxInputs) || int64_t{inputs} * node.groups != channels ||
        made.channels % node.groups)
      refuse("has weights of another form than its tensors");
    step(node, made);
    start(node, made);
    const size_t of_one = size_t(inputs) * size_t(node.kernel * node.kernel), all = of_one * size_t(made.channels);
    packed_ += size_t(made.zero.size()) * size_t(channels + 4 * count) * size_t(node.kernel * node.kernel) * 2;
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

  void read_move(Node &node, Tensor &made) {
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

  Reader reader_;
  Graph graph_;
  size_t packed_ = 0;
};

}  // namespace

bool is_graph(const uint8_t *data, size_t size) { return size >= 4 && (Reader::number(data) & kGraph); }

Graph read_graph(const uint8_t *data, size_t size) { return GraphReader(data, size).read(); }

}  // namespace sharpbit
