// Random chains and images for the test programs, and the plainest way to compute them.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "sharpbit.h"

using Bytes = std::vector<uint8_t>;
using Random = std::mt19937_64;

inline int uniform(Random &random, int low, int high) {
  return int(low + int64_t(random() % uint64_t(int64_t(high) - low + 1)));
}

struct PlainLayer {
  int outputs, inputs;
  std::vector<int8_t> weight;
  std::vector<int32_t> bias;
  std::vector<float> multiplier;
  std::vector<float> negative;  // empty in all layers, or in none
  std::vector<uint8_t> zero;
  int wide = -1;                // outputs with a second byte; below 0 in all layers, or in none
  std::vector<int32_t> passed;  // weights of the wide channels that come in
};

struct PlainChain {
  int scale;
  std::vector<PlainLayer> layers;
  bool adds_image = false;

  Bytes payload() const {
    Bytes bytes;
    const auto number = [&](uint32_t n) {
      for (int i = 0; i < 4; i++) bytes.push_back(uint8_t(n >> 8 * i));
    };
    number(uint32_t(scale) | (layers[0].negative.empty() ? 0 : 1 << 8) | (adds_image ? 1 << 9 : 0) |
           (layers[0].wide < 0 ? 0 : 1 << 10));
    number(uint32_t(layers.size()));
    for (const PlainLayer &layer : layers) {
      number(uint32_t(layer.outputs));
      number(uint32_t(layer.inputs));
      for (const int8_t w : layer.weight) bytes.push_back(uint8_t(w));
      for (const int32_t b : layer.bias) number(uint32_t(b));
      for (const std::vector<float> *part : {&layer.multiplier, &layer.negative})
        for (const float m : *part) {
          uint32_t bits;
          std::memcpy(&bits, &m, 4);
          number(bits);
        }
      bytes.insert(bytes.end(), layer.zero.begin(), layer.zero.end());
      if (layer.wide < 0) continue;
      number(uint32_t(layer.wide));
      for (const int32_t w : layer.passed) number(uint32_t(w));
    }
    return bytes;
  }

  // (height, width, 3) to (height * scale, width * scale, 3), as src/sharpbit/modelfile/integer_chain.py defines it.
  Bytes run(const Bytes &image, int height, int width) const {
    Bytes x = image, around(3), fine;
    int wide = 0;
    for (const PlainLayer &layer : layers) {
      const bool adds = adds_image && &layer == &layers.back();
      Bytes next(size_t(height) * width * layer.outputs);
      const int more = std::max(layer.wide, 0);
      Bytes next_fine(size_t(height) * width * size_t(more));
      for (int y = 0; y < height; y++)
        for (int column = 0; column < width; column++)
          for (int o = 0; o < layer.outputs; o++) {
            int64_t sum = layer.bias[o];
            for (int tap = 0; tap < 9; tap++) {
              const int v = y + tap / 3 - 1, u = column + tap % 3 - 1;
              const bool inside = v >= 0 && v < height && u >= 0 && u < width;
              const uint8_t *pixel = inside ? &x[(size_t(v) * width + u) * layer.inputs] : around.data();
              for (int i = 0; i < layer.inputs; i++)
                sum += int64_t(layer.weight[(size_t(o) * layer.inputs + i) * 9 + tap]) * pixel[i];
            }
            const size_t here = size_t(y) * width + column;
            if (o < wide)
              sum += int64_t(layer.passed[o]) * (256 * x[here * layer.inputs + o] + fine[here * wide + o] - 128);
            const bool sloped = !layer.negative.empty();
            const float product = float(sum) * (sloped && sum < 0 ? layer.negative : layer.multiplier)[o];
            float value = std::nearbyint(product);
            if (sloped) value += float(layer.zero[o]);
            if (adds) value += float(image[(size_t(y) * width + column) * 3 + o / (scale * scale)]);
            const float level = std::clamp(value, 0.0f, 255.0f);
            next[here * layer.outputs + o] = uint8_t(level);
            if (o >= more) continue;
            const float left = std::nearbyint((product - (level - float(layer.zero[o]))) * 256) + 128;
            next_fine[here * more + o] = uint8_t(std::clamp(left, 0.0f, 255.0f));
          }
      x = next;
      fine = next_fine;
      wide = more;
      around = layer.zero.empty() ? Bytes(size_t(layer.outputs)) : layer.zero;
    }
    Bytes out(x.size());
    for (int y = 0; y < height; y++)
      for (int column = 0; column < width; column++)
        for (int colour = 0; colour < 3; colour++)
          for (int r = 0; r < scale; r++)
            for (int c = 0; c < scale; c++)
              out[((size_t(y) * scale + r) * width * scale + size_t(column) * scale + c) * 3 + colour] =
                  x[((size_t(y) * width + column) * 3 + colour) * scale * scale + r * scale + c];
    return out;
  }
};

// Now and then with values at the limits: sums and multipliers that saturate by far, or products of the two about as
// large as 32 bits hold, on either side (there some kernels leave a layer to others).
inline PlainChain random_chain(Random &random, int most_layers) {
  PlainChain chain{uniform(random, 1, 4), {}, false};
  const int depth = uniform(random, 1, most_layers);
  const int kind = uniform(random, 0, 7);
  const bool extreme = kind < 2, near = kind == 2, sloped = uniform(random, 0, 1);
  chain.adds_image = sloped && uniform(random, 0, 1);
  const bool has_wide = sloped && uniform(random, 0, 2);
  int wide = 0;
  int channels = 3;
  for (int i = 0; i < depth; i++) {
    const int outputs = i == depth - 1 ? 3 * chain.scale * chain.scale : uniform(random, std::max(wide, 1), 64);
    PlainLayer layer{outputs, channels, {}, {}, {}, {}, {}, -1, {}};
    for (int n = 0; n < outputs * channels * 9; n++) layer.weight.push_back(int8_t(uniform(random, -127, 127)));
    for (int o = 0; o < outputs; o++) {
      const int limit = extreme ? 1 << 30 : 20000;
      layer.bias.push_back(uniform(random, 0, 3) ? uniform(random, -limit, limit) : limit);
      const float gain = extreme ? std::ldexp(1.0f, uniform(random, -30, 20)) : 0.1f / std::sqrt(9.0f * channels);
      layer.multiplier.push_back(uniform(random, 0, 9) ? gain * float(uniform(random, 1, 1000)) / 1000 : 0.0f);
    }
    const int64_t products = int64_t(255) * 127 * 9 * channels;
    for (int o = 0; near && o < outputs; o++)
      layer.multiplier[o] = std::ldexp(1.0f, uniform(random, 28, 31)) / float(products + std::abs(layer.bias[o]));
    for (int o = 0; sloped && o < outputs; o++) {
      layer.negative.push_back(layer.multiplier[o] * float(uniform(random, -1000, 1000)) / 1000);
      layer.zero.push_back(chain.adds_image && i == depth - 1 ? 0 : uint8_t(uniform(random, 0, 255)));
    }
    for (int w = 0; w < wide; w++) {
      const int most[] = {4, 4, 100, 8192}, limit = most[uniform(random, 0, 3)];
      layer.passed.push_back(uniform(random, -limit, limit));
    }
    if (has_wide) layer.wide = wide = i + 2 < depth && uniform(random, 0, 3) ? uniform(random, 0, outputs) : 0;
    chain.layers.push_back(layer);
    channels = outputs;
  }
  return chain;
}

inline Bytes random_image(Random &random, int height, int width) {
  Bytes image(size_t(height) * width * 3);
  for (uint8_t &value : image) value = uint8_t(random());
  return image;
}

inline std::vector<std::string> instruction_sets() {
  std::vector<std::string> names(1);
  for (const char *c = sb_instruction_sets(); *c; c++) {
    if (*c == ' ') {
      names.emplace_back();
    } else {
      names.back() += *c;
    }
  }
  return names;
}

// Runs to the end; the memory of `out` is exactly as long as it must be, so that a sanitizer sees every byte too far.
inline int32_t run_to_end(sb_chain *chain, const Bytes &image, int height, int width, int scale, int threads,
                          Bytes &out) {
  out.assign(image.size() * size_t(scale) * size_t(scale), 0);
  sb_job *job = nullptr;
  const ptrdiff_t row = ptrdiff_t(width) * 3;
  const int32_t started =
      sb_start(chain, image.data(), row, out.data(), row * scale, height, width, threads, &job);
  if (started != SB_DONE) return started;
  const int32_t state = sb_wait(job, -1);
  sb_free(job);
  return state;
}
