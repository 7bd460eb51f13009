// The order of the kernels: [pass][3 rows][input group][3 columns][output of the pass][channel of the group].
#include <cstring>

#include "chain.h"

namespace sharpbit {
namespace {

// The last layer's channels come as (colour, row, column). Kernels write them as (row, column, colour), so that the
// bytes of one output row lie together.
void shuffle_outputs(Layer &layer, int scale) {
  const int area = scale * scale;
  std::vector<int32_t> bias(layer.bias.size());
  std::vector<float> multiplier(layer.multiplier.size());
  const size_t outputs = layer.bias.size();
  for (int o = 0; o < layer.outputs; o++) {
    const int to = o % area * 3 + o / area;
    bias[size_t(to)] = layer.bias[size_t(o)];
    for (size_t part = 0; part < 3; part++)
      multiplier[part * outputs + size_t(to)] = layer.multiplier[part * outputs + size_t(o)];
  }
  layer.bias = bias;
  layer.multiplier = multiplier;
}

void pack_layer(Layer &layer, const Isa &isa, int area) {
  const int element = channel_bytes(isa.activation), group = 4 / element;
  const int groups = (layer.in_blocks == 0 ? 4 : layer.in_blocks * kBlock) / group;
  const int together = isa.pass[layer.out_blocks] * kBlock, outputs = layer.out_blocks * kBlock;
  const size_t bytes = size_t(9) * groups * outputs * 4;
  layer.packed = make_buffer(bytes);
  std::memset(layer.packed.get(), 0, bytes);
  for (int o = 0; o < layer.outputs; o++) {
    const int to = area ? o % area * 3 + o / area : o;
    int32_t sum = 0;
    for (int i = 0; i < layer.inputs; i++) {
      for (int tap = 0; tap < 9; tap++) {
        const int8_t w = layer.weight[(size_t(o) * layer.inputs + i) * 9 + tap];
        sum += w;
        const int ky = tap / 3, kx = tap % 3;
        const size_t step = ((size_t(to / together) * 3 + ky) * groups + i / group) * 3 + kx;
        uint8_t *at = layer.packed.get() + (step * together + to % together) * 4 + i % group * element;
        const int16_t wide = w;
        std::memcpy(at, element == 2 ? static_cast<const void *>(&wide) : &w, size_t(element));
      }
    }
    // Activations that are kept minus 128 (zeros outside of the image as well) lose 128 times the weights.
    if (isa.activation == Activation::s8) layer.bias[size_t(to)] += 128 * sum;
  }
  layer.weight = nullptr;
}

}  // namespace

void pack(Chain &chain, const Isa &isa) {
  chain.isa = &isa;
  for (Layer &layer : chain.layers) {
    const bool last = &layer == &chain.layers.back();
    if (last) shuffle_outputs(layer, chain.scale);
    const int area = last ? chain.scale * chain.scale : 0;
    if (isa.pack && isa.pack(layer, area)) continue;
    const Isa &plain = isa.base ? *isa.base : isa;
    layer.row = plain.rows[layer.kind()][layer.in_blocks][layer.out_blocks];
    pack_layer(layer, plain, area);
  }
}

}  // namespace sharpbit
