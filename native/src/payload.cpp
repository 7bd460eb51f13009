// Reading a chain from bytes that nobody vouches for. The limits are those of src/sharpbit/modelfile/integer_chain.py.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "chain.h"
#include "reader.h"

namespace sharpbit {
namespace {

constexpr uint32_t kMaxLayers = 64, kMaxChannels = 64, kMaxScale = 4;
constexpr uint32_t kSloped = 1 << 8, kAddsImage = 1 << 9, kWide = 1 << 10;  // beside the scale
constexpr int64_t kMaxBias = int64_t{1} << 30;
constexpr float kMaxMultiplier = 1 << 20;
constexpr int32_t kMaxPassed = 1 << 13;

[[noreturn]] void refuse(uint32_t layer, const std::string &what) {
  throw ModelError("layer " + std::to_string(layer) + " of the integer chain has " + what);
}

void check_multiplier(float value, uint32_t index) {
  if (!std::isfinite(value)) refuse(index, "a multiplier that is not a number");
  if (std::fabs(value) > kMaxMultiplier) refuse(index, "a multiplier above 2**20");
}

// Multipliers of negative sums, which may be negative themselves, and zero points.
void read_slopes(Reader &reader, Layer &layer, uint32_t index) {
  const size_t outputs = size_t(layer.outputs), all = layer.bias.size();
  const uint8_t *negative = reader.take(outputs * 4), *zero = reader.take(outputs);
  for (size_t o = 0; o < outputs; o++) {
    const uint32_t bits = Reader::number(negative + 4 * o);
    const int32_t level = zero[o];
    std::memcpy(&layer.multiplier[all + o], &bits, 4);
    std::memcpy(&layer.multiplier[2 * all + o], &level, 4);
    check_multiplier(layer.multiplier[all + o], index);
  }
  layer.sloped = true;
}

// How many outputs have a second byte, and the weights of the `passed` wide channels that come in.
void read_wide(Reader &reader, Layer &layer, uint32_t index, uint32_t passed) {
  const uint32_t wide = reader.number(), outputs = static_cast<uint32_t>(layer.outputs);
  if (wide > outputs || passed > outputs)
    refuse(index, std::to_string(passed) + " wide channels in and " + std::to_string(wide) + " out; expected are at most " +
                      std::to_string(outputs));
  layer.wide = static_cast<int>(wide);
  layer.passed.assign((size_t{passed} + kBlock - 1) / kBlock * kBlock, 0);
  const uint8_t *weight = reader.take(size_t{passed} * 4);
  for (uint32_t o = 0; o < passed; o++) {
    const uint32_t bits = Reader::number(weight + 4 * o);
    std::memcpy(&layer.passed[o], &bits, 4);
    if (layer.passed[o] > kMaxPassed || layer.passed[o] < -kMaxPassed)
      refuse(index, "a weight of a wide channel beyond 2**13");
  }
}

Layer read_layer(Reader &reader, uint32_t index, uint32_t channels, bool sloped) {
  const uint32_t outputs = reader.number(), inputs = reader.number();
  if (inputs != channels || outputs < 1 || outputs > kMaxChannels)
    refuse(index, std::to_string(inputs) + " channels in and " + std::to_string(outputs) + " out; expected are " +
                      std::to_string(channels) + " in and 1 to 64 out");
  Layer layer;
  layer.inputs = static_cast<int>(inputs);
  layer.outputs = static_cast<int>(outputs);
  layer.in_blocks = index == 0 ? 0 : (layer.inputs + kBlock - 1) / kBlock;
  layer.out_blocks = (layer.outputs + kBlock - 1) / kBlock;
  const size_t count = size_t{outputs} * inputs * 9;
  layer.weight = reinterpret_cast<const int8_t *>(reader.take(count));
  if (std::memchr(layer.weight, 0x80, count)) refuse(index, "a weight of -128; weights lie between -127 and 127");

  layer.bias.assign(size_t(layer.out_blocks) * kBlock, 0);
  layer.multiplier.assign(3 * layer.bias.size(), 0.0f);
  const uint8_t *bias = reader.take(size_t{outputs} * 4), *multiplier = reader.take(size_t{outputs} * 4);
  for (uint32_t o = 0; o < outputs; o++) {
    const uint32_t b = Reader::number(bias + 4 * o), m = Reader::number(multiplier + 4 * o);
    std::memcpy(&layer.bias[o], &b, 4);
    std::memcpy(&layer.multiplier[o], &m, 4);
    if (std::llabs(int64_t{layer.bias[o]}) > kMaxBias) refuse(index, "a bias beyond 2**30");
    check_multiplier(layer.multiplier[o], index);
    if (layer.multiplier[o] < 0) refuse(index, "a multiplier that is negative");
  }
  if (sloped) read_slopes(reader, layer, index);
  return layer;
}

// Of the bits: small numbers are tiny as floats.
bool nonzero(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits != 0;
}

}  // namespace

Chain read_chain(const uint8_t *data, size_t size) {
  Reader reader(data, size, "chain");
  const uint32_t first = reader.number(), depth = reader.number();
  const bool sloped = first & kSloped, adds_image = first & kAddsImage, wide = first & kWide;
  const uint32_t scale = first & ~(kSloped | kAddsImage | kWide);
  if (scale < 1 || scale > kMaxScale)
    throw ModelError("an integer chain upscales 1 to 4 times, not " + std::to_string(scale));
  if (depth < 1 || depth > kMaxLayers)
    throw ModelError("an integer chain has 1 to 64 layers, not " + std::to_string(depth));
  Chain chain;
  chain.scale = static_cast<int>(scale);
  chain.adds_image = adds_image;
  if (adds_image && !sloped) throw ModelError("an integer chain that adds the image has no slopes; get it again");
  if (wide && !sloped) throw ModelError("an integer chain with wide channels has no slopes; get it again");
  uint32_t channels = 3, passed = 0;
  for (uint32_t i = 0; i < depth; i++) {
    chain.layers.push_back(read_layer(reader, i, channels, sloped));
    Layer &layer = chain.layers.back();
    if (wide) read_wide(reader, layer, i, passed);
    channels = static_cast<uint32_t>(layer.outputs);
    passed = static_cast<uint32_t>(layer.wide);
    if (passed != 0 && i + 2 >= depth) refuse(i, "wide channels; the last two layers have none");
  }
  if (channels != 3 * scale * scale)
    throw ModelError("the last layer of the integer chain gives " + std::to_string(channels) + " channels; x" +
                     std::to_string(scale) + " takes " + std::to_string(3 * scale * scale));
  Layer &last = chain.layers.back();
  last.adds_image = adds_image;
  if (adds_image && std::any_of(last.multiplier.end() - ptrdiff_t(last.bias.size()), last.multiplier.end(), nonzero))
    refuse(depth - 1, "a zero point where the image is added");
  reader.end();
  return chain;
}

}  // namespace sharpbit
