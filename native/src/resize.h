// Brings RGB pixels to another size: each sample of the result is a weighted sum of those in a rectangle of the image.
//
// Sums are in float32 and in one order, and nothing is fused, so that every processor gives the same bytes. A file that
// is compiled for an instruction set includes this for a version of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace sharpbit {

struct Resizing {
  const uint8_t *in;
  ptrdiff_t in_stride;
  int32_t in_width;
  uint8_t *out;
  int32_t height, width;
  const int32_t *first_rows, *first_columns;
  const float *row_weights, *column_weights;
  int32_t row_taps, column_taps;
};

void resize_avx512(const Resizing &r);

namespace {

constexpr int kChannels = 3, kLanes = 16, kRun = 64;

// The weighted sum of some rows; sums of `kRun` samples stay in registers meanwhile.
void add_rows(const uint8_t *in, ptrdiff_t stride, const float *weights, int32_t taps, int64_t samples, float *line) {
  int64_t i = 0;
  for (; i + kRun <= samples; i += kRun) {
    float sums[kRun] = {};
    for (int32_t k = 0; k < taps; k++) {
      const uint8_t *const row = in + k * stride + i;
      for (int j = 0; j < kRun; j++) sums[j] += weights[k] * float(row[j]);
    }
    std::memcpy(line + i, sums, sizeof sums);
  }
  for (; i < samples; i++) {
    float sum = 0;
    for (int32_t k = 0; k < taps; k++) sum += weights[k] * float(in[k * stride + i]);
    line[i] = sum;
  }
}

// The weighted sums of the samples of a row, as bytes: a pixel at a time.
void add_columns(const float *line, const Resizing &r, uint8_t *out) {
  constexpr float magic = 12582912.0f;  // 1.5 * 2**23: adding it rounds half to even, as no fractions are left there
  const float *weights = r.column_weights;
  for (int32_t x = 0; x < r.width; x++, weights += r.column_taps, out += kChannels) {
    const float *const at = line + int64_t{r.first_columns[x]} * kChannels;
    float sums[4] = {};  // the last is not used
    for (int32_t k = 0; k < r.column_taps; k++) {
      float pixel[4];
      std::memcpy(pixel, at + int64_t{k} * kChannels, sizeof pixel);
      for (int c = 0; c < 4; c++) sums[c] += weights[k] * pixel[c];
    }
    for (int c = 0; c < 4; c++) sums[c] = sums[c] < 0.0f ? 0.0f : sums[c];
    for (int c = 0; c < 4; c++) sums[c] = sums[c] > 255.0f ? 255.0f : sums[c];
    for (int c = 0; c < 4; c++) sums[c] += magic;
    uint32_t levels[4];
    std::memcpy(levels, sums, sizeof levels);
    for (int c = 0; c < kChannels; c++) out[c] = uint8_t(levels[c]);
  }
}

#if defined(__AVX512F__) && defined(__AVX512BW__)
// The same of 16 samples at a time. All that one weight of each is for lie within 32 samples, out of which one
// instruction picks them; where pixels lie further apart this does not work.
class Picked {
 public:
  explicit Picked(const Resizing &r) : r_(r), blocks_((int64_t{kChannels} * r.width + kLanes - 1) / kLanes) {
    const int64_t samples = int64_t{kChannels} * r.width;
    from_.resize(size_t(blocks_));
    pick_.resize(size_t(blocks_) * kLanes);
    weights_.resize(size_t(blocks_) * kLanes * size_t(r.column_taps));
    for (int64_t block = 0; block < blocks_; block++) {
      int32_t low = INT32_MAX, high = 0;
      int32_t place[kLanes];
      for (int lane = 0; lane < kLanes; lane++) {
        const int64_t sample = block * kLanes + lane < samples ? block * kLanes + lane : samples - 1;
        const int64_t x = sample / kChannels;
        place[lane] = r.first_columns[x] * kChannels + int32_t(sample % kChannels);
        low = place[lane] < low ? place[lane] : low;
        high = place[lane] > high ? place[lane] : high;
        for (int32_t k = 0; k < r.column_taps; k++)
          weights_[size_t((block * r.column_taps + k) * kLanes + lane)] = r.column_weights[x * r.column_taps + k];
      }
      works_ = works_ && high - low < 2 * kLanes;
      from_[size_t(block)] = low;
      for (int lane = 0; lane < kLanes; lane++) pick_[size_t(block * kLanes + lane)] = place[lane] - low;
    }
  }
  bool works() const { return works_; }

  void add_columns(const float *line, uint8_t *out) const {
    const __m512 white = _mm512_set1_ps(255.0f);
    const float *weights = weights_.data();
    const int64_t samples = int64_t{kChannels} * r_.width;
    for (int64_t block = 0; block < blocks_; block++) {
      const float *at = line + from_[size_t(block)];
      const __m512i pick = _mm512_loadu_si512(pick_.data() + block * kLanes);
      __m512 sums = _mm512_setzero_ps();
      for (int32_t k = 0; k < r_.column_taps; k++, weights += kLanes, at += kChannels) {
        const __m512 some = _mm512_permutex2var_ps(_mm512_loadu_ps(at), pick, _mm512_loadu_ps(at + kLanes));
        sums = _mm512_add_ps(sums, _mm512_mul_ps(_mm512_loadu_ps(weights), some));
      }
      const __m512i levels = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(sums, _mm512_setzero_ps()), white));
      const int64_t left = samples - block * kLanes;
      const __mmask16 mask = left < kLanes ? __mmask16((1 << left) - 1) : __mmask16(-1);
      _mm512_mask_cvtusepi32_storeu_epi8(out + block * kLanes, mask, levels);
    }
  }

 private:
  const Resizing &r_;
  int64_t blocks_;
  bool works_ = true;
  std::vector<int32_t> from_, pick_;
  std::vector<float> weights_;
};
#endif

void resize(const Resizing &r) {
  const int64_t samples = int64_t{kChannels} * r.in_width;
  std::vector<float> line(size_t(samples) + 2 * kLanes);  // more is read behind it, and not used
#if defined(__AVX512F__) && defined(__AVX512BW__)
  const Picked picked(r);
#endif
  for (int32_t y = 0; y < r.height; y++) {
    add_rows(r.in + r.first_rows[y] * r.in_stride, r.in_stride, r.row_weights + int64_t{y} * r.row_taps, r.row_taps,
             samples, line.data());
    uint8_t *const out = r.out + int64_t{y} * kChannels * r.width;
#if defined(__AVX512F__) && defined(__AVX512BW__)
    if (picked.works()) {
      picked.add_columns(line.data(), out);
      continue;
    }
#endif
    add_columns(line.data(), r, out);
  }
}

}  // namespace
}  // namespace sharpbit
