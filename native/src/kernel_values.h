// How rows of graphs read and write activations: as bytes, and as second bytes that hold what rounding left. Included by
// kernel_graph.h, and after a Simd by what convolves in tiles; kernel.h says what may stand in such a file.

// An activation as a byte.
static SB_INLINE int32_t byte_at(const uint8_t *row, long channel) {
  if constexpr (Simd::activation == Activation::s16) {
    int16_t value;
    std::memcpy(&value, row + 2 * channel, 2);
    return value & 255;  // what fills channels up to whole blocks may be any number
  }
  return Simd::activation == Activation::s8 ? row[channel] ^ 0x80 : row[channel];
}

constexpr long kElement = Simd::activation == Activation::s16 ? 2 : 1;

// As many numbers as a register holds. Compilers keep these in registers as they stand here; of loops over arrays they make
// vectors of some and lists of others.
using Ints = int32_t __attribute__((vector_size(4 * Simd::lanes)));
using Floats = float __attribute__((vector_size(4 * Simd::lanes)));

template <class To, class From>
static SB_INLINE void same_bits(To &to, const From &from) {
  static_assert(sizeof to == sizeof from, "");
  std::memcpy(&to, &from, sizeof to);
}

template <class Numbers, class T>
static SB_INLINE void numbers_at(Numbers &numbers, const T *from) {
  static_assert(sizeof(T) == 4, "");
  std::memcpy(&numbers, from, sizeof numbers);
}

// Some activations of a pixel as bytes, and back.
static SB_INLINE void bytes_at(Ints &level, const uint8_t *row, long channel) {
  same_bits(level, Simd::activations(row + kElement * channel));
}

static SB_INLINE void put_bytes(uint8_t *row, long channel, const Ints &level) {
  typename Simd::Sum bytes;
  same_bits(bytes, level);
  Simd::put_activations(row + kElement * channel, bytes);
}

// Bytes less their zero points, and in parts of 256 with second bytes, if there are any.
static SB_INLINE void levels_at(Ints &level, const uint8_t *row, const uint8_t *fine, long channel, const Ints &zero) {
  bytes_at(level, row, channel);
  if (!fine) {
    level -= zero;
    return;
  }
  Ints second;
  bytes_at(second, fine, channel);
  level = 256 * level + second - (256 * zero + 128);  // of which the last part is the same for all pixels
}

template <class Numbers, class T>
static SB_INLINE void clip(Numbers &numbers, T least, T most) {
  const Numbers low = Numbers{} + least, high = Numbers{} + most;
  numbers = numbers < low ? low : numbers;
  numbers = numbers > high ? high : numbers;
}

static SB_INLINE void rounded(Ints &level, const Floats &value) {
  constexpr float magic = 12582912.0f;  // 1.5 * 2**23: adding it rounds half to even, as no fractions are left there
  level = __builtin_convertvector((value + magic) - magic, Ints);
}

// Values around zero points become bytes, and what these leave second ones, if `fine` is not null. Far beyond a byte results
// are at their ends, so values may be clipped there.
template <class S>
static SB_INLINE void put_values(Floats &value, const Ints &zero, uint8_t *out, uint8_t *fine) {
  if constexpr (S::puts_values) {
    typename S::Sum zeros;
    same_bits(zeros, zero);
    S::put_value(value, zeros, out, fine);
  } else {
    Ints byte, second;
    if (fine)
      clip(value, -512.0f, 512.0f);
    else
      clip(value, -255.0f, 255.0f);
    rounded(byte, value);
    byte += zero;
    clip(byte, 0, 255);
    put_bytes(out, 0, byte);
    if (!fine) return;
    rounded(second, (value - __builtin_convertvector(byte - zero, Floats)) * 256.0f);
    second += 128;
    clip(second, 0, 255);
    put_bytes(fine, 0, second);
  }
}

// Adds the terms to values of `count` pixels from `first` on, the first of which is channel `c`, and makes them bytes. One
// term and one kind of bytes after the other, so that what all pixels share is read once.
static void finish(Floats *values, long count, const ResultRow &row, long first, long c) {
  const ResultRow to = row;  // a copy: what is written cannot be a part of it
  Ints zero;
  for (int32_t t = 0; t < to.added_count; t++) {
    const AddedRow added = to.added[t];
    Floats multiplier;
    numbers_at(multiplier, added.multiplier + c);
    numbers_at(zero, added.zero + c);
    const uint8_t *const bytes = added.row + first * added.pixel;
    const auto add = [&](const uint8_t *fine) {
      for (long p = 0; p < count; p++) {
        Ints level;
        levels_at(level, bytes + p * added.pixel, fine ? fine + p * added.pixel : nullptr, c, zero);
        values[p] += __builtin_convertvector(level, Floats) * multiplier;
      }
    };
    if (added.fine)
      add(added.fine + first * added.pixel);
    else
      add(nullptr);
  }
  numbers_at(zero, to.zero + c);
  const long at = first * to.pixel + c * kElement;
  if (to.fine)
    for (long p = 0; p < count; p++) put_values<Simd>(values[p], zero, to.out + at + p * to.pixel, to.fine + at + p * to.pixel);
  else
    for (long p = 0; p < count; p++) put_values<Simd>(values[p], zero, to.out + at + p * to.pixel, nullptr);
}
