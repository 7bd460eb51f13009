// Rows of graphs: convolutions of any number of channels, sums and products. Included by kernel.h, where it is said what
// may stand in such a file.
//
// Sums of convolutions to which nothing is added become bytes in registers. All others are put into memory, a tile at
// a time, and what follows is plain C++, which compilers turn into the instructions of the file.

// An activation as a byte, and back.
static SB_INLINE int32_t byte_at(const uint8_t *row, long channel) {
  if constexpr (Simd::activation == Activation::s16) {
    int16_t value;
    std::memcpy(&value, row + 2 * channel, 2);
    return value & 255;  // what fills channels up to whole blocks may be any number
  }
  return Simd::activation == Activation::s8 ? row[channel] ^ 0x80 : row[channel];
}

static SB_INLINE void put_byte(uint8_t *row, long channel, int32_t value) {
  if constexpr (Simd::activation == Activation::s16) {
    const int16_t wide = static_cast<int16_t>(value);
    std::memcpy(row + 2 * channel, &wide, 2);
  } else {
    row[channel] = static_cast<uint8_t>(Simd::activation == Activation::s8 ? value ^ 0x80 : value);
  }
}

constexpr long kElement = Simd::activation == Activation::s16 ? 2 : 1;

// W activations of a pixel as bytes, and back. What follows works on arrays of its own: compilers make vectors of that, as
// they need not ask whether what is written is what is read.
template <int W>
static SB_INLINE void bytes_at(int32_t (&level)[W], const uint8_t *row, long channel) {
  for (int i = 0; i < W; i++) level[i] = byte_at(row, channel + i);
}

template <int W>
static SB_INLINE void put_bytes(uint8_t *row, long channel, const int32_t (&level)[W]) {
  for (int i = 0; i < W; i++) put_byte(row, channel + i, level[i]);
}

// Bytes less their zero points, and in parts of 256 with second bytes, if there are any.
template <int W>
static SB_INLINE void levels_at(int32_t (&level)[W], const uint8_t *row, const uint8_t *fine, long channel,
                                const int32_t *zero) {
  bytes_at(level, row, channel);
  for (int i = 0; i < W; i++) level[i] -= zero[i];
  if (!fine) return;
  int32_t second[W];
  bytes_at(second, fine, channel);
  for (int i = 0; i < W; i++) level[i] = 256 * level[i] + second[i] - 128;
}

// In two loops: compilers make branches of both ends in one.
template <int W>
static SB_INLINE void clip(float (&value)[W], float most) {
  for (int i = 0; i < W; i++) value[i] = value[i] < -most ? -most : value[i];
  for (int i = 0; i < W; i++) value[i] = value[i] > most ? most : value[i];
}

// Adds the terms to W values of one pixel, the first of which is channel `c`, and makes them bytes.
template <int W>
static SB_INLINE void finish_here(float (&value)[W], const ResultRow &to, long x, long c) {
  constexpr float magic = 12582912.0f;  // 1.5 * 2**23: adding it rounds half to even, as no fractions are left there
  for (int32_t t = 0; t < to.added_count; t++) {
    const AddedRow &added = to.added[t];
    const float *const multiplier = added.multiplier + c;
    int32_t level[W];
    levels_at(level, added.row + x * added.pixel, added.fine ? added.fine + x * added.pixel : nullptr, c, added.zero + c);
    for (int i = 0; i < W; i++) value[i] += static_cast<float>(level[i]) * multiplier[i];
  }
  uint8_t *const out = to.out + x * to.pixel;
  int32_t zero[W], byte[W];
  for (int i = 0; i < W; i++) zero[i] = to.zero[c + i];
  if (!to.fine) {
    clip(value, 255.0f);
    for (int i = 0; i < W; i++) {
      const int32_t level = static_cast<int32_t>((value[i] + magic) - magic) + zero[i];
      byte[i] = level < 0 ? 0 : level > 255 ? 255 : level;
    }
    put_bytes(out, c, byte);
    return;
  }
  // Far beyond a byte both results are at their ends, so values may be clipped there.
  int32_t second[W];
  clip(value, 512.0f);
  for (int i = 0; i < W; i++) {
    const int32_t level = static_cast<int32_t>((value[i] + magic) - magic) + zero[i];
    byte[i] = level < 0 ? 0 : level > 255 ? 255 : level;
    const float left = (value[i] - static_cast<float>(byte[i] - zero[i])) * 256.0f;
    const int32_t steps = static_cast<int32_t>((left + magic) - magic) + 128;
    second[i] = steps < 0 ? 0 : steps > 255 ? 255 : steps;
  }
  put_bytes(out, c, byte);
  put_bytes(to.fine + x * to.pixel, c, second);
}

[[maybe_unused]] static void finish_block(float (&value)[kBlock], const ResultRow &to, long x, long c) {
  finish_here(value, to, x, c);
}

// The same; where registers are small, one function for all blocks: less code.
template <int W>
static SB_INLINE void finish(float (&value)[W], const ResultRow &to, long x, long c) {
  if constexpr (W == kBlock && Simd::lanes < 8)
    finish_block(value, to, x, c);
  else
    finish_here(value, to, x, c);
}

// As `products`, of kernels of any size whose pixels lie `stride` apart, in one function for all: less code.
template <int P, int N>
static SB_INLINE const uint8_t *products_any(typename Simd::Sum (&sums)[P][N], const uint8_t *row, const Source &source,
                                             int kernel, long stride, const uint8_t *weights) {
  constexpr int bytes = Simd::lanes * 4;
  for (int g = 0; g < source.groups; g++, row += 4) {
    for (int k = 0; k < kernel; k++, weights += N * bytes) {
      const uint8_t *const column = row + k * source.pixel;
      SB_UNROLL for (int n = 0; n < N; n++) {
        const typename Simd::Vector w = Simd::weights(weights + n * bytes);
        SB_UNROLL for (int p = 0; p < P; p++) sums[p][n] = Simd::dot(sums[p][n], Simd::broadcast(column + p * stride), w);
      }
    }
  }
  return weights;
}

// P pixels from `first` on, of B blocks from channel `c` on. K is the side of the kernel, or 0 for `products_any`.
template <int K, int B, int P>
static SB_INLINE void convolved_tile(const ConvolvedRow &row, long first, long c, const uint8_t *weights) {
  constexpr int N = B * kBlock / Simd::lanes, W = B * kBlock;
  const ResultRow &to = row.result;
  static const int32_t nothing[W] = {};
  typename Simd::Sum sums[P][N];
  alignas(64) int32_t spilled[P][W];
  for (int part = row.both ? 0 : 1; part < 2; part++) {  // first bytes, and then second ones, begin with 256 times that
    const bool second = row.both && part;
    const uint8_t *w = weights;
    SB_UNROLL for (int p = 0; p < P; p++) {
      const int32_t *const start = second ? spilled[p] : part ? row.bias + c : nothing;
      SB_UNROLL for (int n = 0; n < N; n++) sums[p][n] = Simd::load(start + Simd::lanes * n);
    }
    for (int32_t s = 0; s < row.source_count; s++) {
      const Source &source = row.sources[s];
      const int kernel = K ? K : row.kernel;
      if (second && !source.fine) {
        w += long{kernel} * kernel * source.groups * W * 4;
        continue;
      }
      const long stride = (K ? 1 : row.stride) * source.pixel, begin = first * stride + (second ? source.fine : 0);
      for (int ky = 0; ky < kernel; ky++) {
        if constexpr (K == 0)
          w = products_any<P, N>(sums, source.rows[ky] + begin, source, kernel, stride, w);
        else
          w = products<K, P, N>(sums, source.rows[ky] + begin, source.pixel, source.groups, w);
      }
    }
    if (!part) {
      SB_UNROLL for (int p = 0; p < P; p++) {
        SB_UNROLL for (int n = 0; n < N; n++) Simd::spill(spilled[p] + Simd::lanes * n, sums[p][n]);
        for (int i = 0; i < W; i++)  // behind the row these may be any numbers
          spilled[p][i] = static_cast<int32_t>(256u * static_cast<uint32_t>(spilled[p][i]) + static_cast<uint32_t>(row.bias[c + i]));
      }
    }
  }
  const float *const multiplier = row.multiplier + c, *const negative = multiplier + to.channels;
  if (!to.added_count && !to.fine && !row.both) {
    uint8_t *const out = to.out + first * to.pixel + c * kElement;
    Simd::template store<P, N, true>(sums, multiplier, out, to.pixel, to.channels);
    return;
  }
  SB_UNROLL for (int p = 0; p < P; p++) {
    SB_UNROLL for (int n = 0; n < N; n++) Simd::spill(spilled[p] + Simd::lanes * n, sums[p][n]);
  }
  for (int p = 0; p < P; p++) {
    float value[W];
    for (int i = 0; i < W; i++) {
      const int32_t sum = spilled[p][i];
      value[i] = static_cast<float>(sum) * (sum < 0 ? negative[i] : multiplier[i]);
    }
    finish(value, to, first + p, c);
  }
}

template <int K, int B>
static void convolved_pass(const ConvolvedRow &row, long c, const uint8_t *weights) {
  constexpr int P = Simd::pixels(B), HALF = K == 0 ? 1 : (P + 1) / 2;
  const int32_t pixels = row.result.pixels;
  int32_t x = 0;
  if constexpr (K == 0) {  // with a stride too much would be read behind the row
    for (; x + P <= pixels; x += P) convolved_tile<K, B, P>(row, x, c, weights);
    for (; x < pixels; x++) convolved_tile<K, B, HALF>(row, x, c, weights);
  } else {
    for (; x + HALF < pixels; x += P) convolved_tile<K, B, P>(row, x, c, weights);
    if (x < pixels) convolved_tile<K, B, HALF>(row, x, c, weights);
  }
}

template <int K>
static void convolve(const ConvolvedRow &row) {
  long groups = 0;
  for (int32_t s = 0; s < row.source_count; s++) groups += row.sources[s].groups;
  const uint8_t *weights = row.weights;
  const int32_t kernel = K == 0 ? row.kernel : K;
  int32_t blocks = row.result.channels / kBlock;
  for (long c = 0; blocks > 0;) {
    const int32_t together = row.pass[blocks < kMaxBlocks ? blocks : kMaxBlocks];
    switch (together) {
      case 1: convolved_pass<K, 1>(row, c, weights); break;
      case 2: if constexpr (Simd::pass(2) == 2) convolved_pass<K, 2>(row, c, weights); break;
      case 3: if constexpr (Simd::pass(3) == 3) convolved_pass<K, 3>(row, c, weights); break;
      default: if constexpr (Simd::pass(4) == 4) convolved_pass<K, 4>(row, c, weights); break;
    }
    weights += kernel * kernel * groups * together * kBlock * 4;
    c += together * kBlock;
    blocks -= together;
  }
}

// Several blocks at once where registers are large: what is done to few numbers waits for one another.
constexpr int kTogether = Simd::lanes >= 8 ? 3 * kBlock : kBlock;

template <int W>
static SB_INLINE void sum_of(const ResultRow &to, long x, long c) {
  float value[W] = {};
  finish(value, to, x, c);
}

static void sum(const ResultRow &to) {
  for (int32_t x = 0; x < to.pixels; x++) {
    long c = 0;
    if constexpr (kTogether > kBlock)
      for (; c + kTogether <= to.channels; c += kTogether) sum_of<kTogether>(to, x, c);
    for (; c < to.channels; c += kBlock) sum_of<kBlock>(to, x, c);
  }
}

template <int W>
static SB_INLINE void product_of(const MultipliedRow &row, long x, long c) {
  const uint8_t *const first = row.first + x * row.first_pixel, *const second = row.second + x * row.second_pixel;
  const uint8_t *const first_fine = row.first_fine ? row.first_fine + x * row.first_pixel : nullptr;
  const uint8_t *const second_fine = row.second_fine ? row.second_fine + x * row.second_pixel : nullptr;
  float value[W];
  int32_t level[W], other[W];
  levels_at(level, first, first_fine, c, row.first_zero + c);
  if (row.one_channel) {
    int32_t one[1];
    levels_at(one, second, second_fine, 0, row.second_zero);
    for (int i = 0; i < W; i++) other[i] = one[0];
  } else {
    levels_at(other, second, second_fine, c, row.second_zero + c);
  }
  for (int i = 0; i < W; i++)
    value[i] = static_cast<float>(level[i]) * static_cast<float>(other[i]) * row.multiplier[c + i];
  finish(value, row.result, x, c);
}

static void multiply(const MultipliedRow &row) {
  for (int32_t x = 0; x < row.result.pixels; x++) {
    long c = 0;
    if constexpr (kTogether > kBlock)
      for (; c + kTogether <= row.result.channels; c += kTogether) product_of<kTogether>(row, x, c);
    for (; c < row.result.channels; c += kBlock) product_of<kBlock>(row, x, c);
  }
}

static void look_up(const LookedUpRow &row) {
  for (int32_t x = 0; x < row.pixels; x++) {
    const uint8_t *const in = row.in + x * row.in_pixel, *const in_fine = row.in_fine ? row.in_fine + x * row.in_pixel : nullptr;
    uint8_t *const out = row.out + x * row.pixel, *const fine = row.fine + x * row.pixel;
    for (long c = 0; c < row.channels; c += kBlock) {
      static const int32_t nothing[kBlock] = {};
      int32_t level[kBlock], place[kBlock], byte[kBlock];
      uint32_t ends[kBlock];
      levels_at(level, in, in_fine, c, nothing);
      for (int i = 0; i < kBlock; i++) place[i] = (in_fine ? level[i] : 256 * level[i]) + 256;
      for (int i = 0; i < kBlock; i++) ends[i] = row.between[257 * (c + i) + (place[i] >> 8)];
      for (int i = 0; i < kBlock; i++) {
        const uint32_t right = uint32_t(place[i]) & 255;
        level[i] = int32_t((ends[i] & 0xffff) * (256 - right) + (ends[i] >> 16) * right + 128) >> 8;
        byte[i] = level[i] >> 8;
      }
      put_bytes(out, c, byte);
      for (int i = 0; i < kBlock; i++) level[i] &= 255;
      put_bytes(fine, c, level);
    }
  }
}

static void interpolate(const InterpolatedRow &row) {
  for (int32_t x = 0; x < row.pixels; x++) {
    const long first = row.first[x] * row.in_pixel, second = row.second[x] * row.in_pixel;
    const int32_t right = row.weight[x], left = 256 - right;
    uint8_t *const out = row.out + x * row.pixel;
    for (long c = 0; c < row.channels; c += kBlock) {
      int32_t level[kBlock];  // 256 for each step of a byte
      for (int i = 0; i < kBlock; i++) {
        const int32_t above = byte_at(row.above + first, c + i) * left + byte_at(row.above + second, c + i) * right;
        const int32_t below = byte_at(row.below + first, c + i) * left + byte_at(row.below + second, c + i) * right;
        level[i] = above * (256 - row.lower) + below * row.lower;
      }
      if (row.fine) {
        for (int i = 0; i < kBlock; i++) {
          const int32_t fine = (level[i] + 128) >> 8, byte = (fine + 128) >> 8;
          put_byte(out, c + i, byte);
          put_byte(row.fine + x * row.pixel, c + i, fine - 256 * byte + 128);
        }
      } else {
        for (int i = 0; i < kBlock; i++) put_byte(out, c + i, (level[i] + 32768) >> 16);
      }
    }
  }
}

static const GraphRows kGraphRows = {
    {convolve<1>, convolve<3>, convolve<5>}, convolve<0>, sum, multiply, look_up, interpolate};
