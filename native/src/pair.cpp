#include "pair.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "reader.h"

namespace sharpbit {
namespace {

constexpr uint32_t kPair = 1 << 17;  // beside the scale
constexpr uint32_t kLeastTile = 8, kMostTile = 256;
constexpr int kNeighbours = 2;

// The tiles of a region, row by row, and which go through the small network: those with little detail that have two such
// neighbours, as single ones cost more than they save. What lies outside of the image counts as such.
class Tiles {
 public:
  Tiles(const Pair &pair, const ImageData &image, const Region &region)
      : tile_(pair.tile), region_(region), top_(region.top / tile_), left_(region.left / tile_),
        rows_((region.bottom - 1) / tile_ + 1 - top_), columns_((region.right - 1) / tile_ + 1 - left_) {
    const int wide = columns_ + 2;  // one more around
    std::vector<char> calm;
    for (int row = -1; row <= rows_; row++)
      for (int column = -1; column <= columns_; column++) {
        const int y = (top_ + row) * tile_, x = (left_ + column) * tile_;
        const bool outside = y < 0 || x < 0 || y >= image.height || x >= image.width;
        const Region whole{y, std::min(y + tile_, image.height), x, std::min(x + tile_, image.width)};
        calm.push_back(outside || pair.is_small(image, whole));
      }
    for (int row = 0; row < rows_; row++)
      for (int column = 0; column < columns_; column++) {
        const char *own = &calm[size_t(row + 1) * size_t(wide) + size_t(column + 1)];
        kinds_.push_back(*own && own[-wide] + own[wide] + own[-1] + own[1] >= kNeighbours ? kSmall : kLarge);
      }
  }

  // Calls `run(small, region)` for rectangles of tiles of one kind that cover the region; false to stop.
  template <typename Run>
  void each(const Run &run) {
    for (int row = 0; row < rows_; row++)
      for (int column = 0; column < columns_; column++) {
        const char kind = at(row, column);
        if (kind == kDone) continue;
        int right = column + 1, below = row + 1;
        while (right < columns_ && at(row, right) == kind) right++;
        while (below < rows_ && std::all_of(&at(below, column), &at(below, column) + (right - column),
                                            [&](char other) { return other == kind; }))
          below++;
        for (int y = row; y < below; y++) std::fill_n(&at(y, column), right - column, kDone);
        const Region part{std::max((top_ + row) * tile_, region_.top), std::min((top_ + below) * tile_, region_.bottom),
                          std::max((left_ + column) * tile_, region_.left),
                          std::min((left_ + right) * tile_, region_.right)};
        if (!run(kind == kSmall, part)) return;
      }
  }

 private:
  static constexpr char kLarge = 0, kSmall = 1, kDone = 2;

  char &at(int row, int column) { return kinds_[size_t(row) * size_t(columns_) + size_t(column)]; }

  int tile_;
  Region region_;
  int top_, left_, rows_, columns_;  // in tiles
  std::vector<char> kinds_;
};

uint64_t area(const Region &region) {
  return uint64_t(region.bottom - region.top) * uint64_t(region.right - region.left);
}

}  // namespace

int Pair::halo() const { return std::max(large->halo(), small->halo()); }

size_t Pair::column_bytes() const { return std::max(large->column_bytes(), small->column_bytes()); }

size_t Pair::scratch_bytes(const ImageData &image, const Region &region) const {
  return std::max(large->scratch_bytes(image, region), small->scratch_bytes(image, region));
}

double Pair::small_share() const {
  const uint64_t all = pixels.load();
  return all == 0 ? 0 : double(of_small.load()) / double(all);
}

bool Pair::is_small(const ImageData &image, const Region &tile) const {
  const int width = tile.right - tile.left, height = tile.bottom - tile.top;
  int before[kMostTile], now[kMostTile];
  uint64_t sum = 0;
  for (int y = 0; y < height; y++) {
    const uint8_t *in = image.in + (tile.top + y) * image.in_stride + ptrdiff_t(tile.left) * 3;
    for (int x = 0; x < width; x++) now[x] = in[3 * x] + in[3 * x + 1] + in[3 * x + 2];
    uint32_t row = 0;  // at most 512 times 765 squared
    for (int x = 1; x < width; x++) row += uint32_t((now[x] - now[x - 1]) * (now[x] - now[x - 1]));
    if (y > 0)
      for (int x = 0; x < width; x++) row += uint32_t((now[x] - before[x]) * (now[x] - before[x]));
    sum += row;
    std::copy_n(now, width, before);
  }
  uint64_t pairs = uint64_t(height) * uint64_t(width - 1) + uint64_t(height - 1) * uint64_t(width);
  pairs = std::max<uint64_t>(pairs, 1);
  return 256 * sum < threshold * pairs;
}

void Pair::run(const ImageData &image, const Region &region, uint8_t *scratch, const std::atomic<bool> &cancel) const {
  Tiles(*this, image, region).each([&](bool is_small, const Region &part) {
    (is_small ? small : large)->run(image, part, scratch, cancel);
    if (is_small) of_small += area(part);
    return !cancel.load(std::memory_order_relaxed);
  });
  pixels += area(region);
}

bool is_pair(const uint8_t *data, size_t size) { return size >= 4 && (Reader::number(data) & kPair) != 0; }

std::unique_ptr<Pair> read_pair(const uint8_t *data, size_t size, const Isa &isa) {
  Reader reader(data, size, "pair");
  const uint32_t scale = reader.number() & ~kPair;
  auto pair = std::make_unique<Pair>();
  const uint32_t tile = reader.number();
  if (tile < kLeastTile || tile > kMostTile)
    throw ModelError("the integer pair has tiles of " + std::to_string(tile) + " pixels; expected are 8 to 256");
  pair->tile = static_cast<int>(tile);
  pair->threshold = reader.number();
  for (std::unique_ptr<Network> *network : {&pair->large, &pair->small}) {
    const uint32_t bytes = reader.number();
    *network = read_one(reader.take(bytes), bytes, isa);
    if (uint32_t((*network)->enlarges()) != scale)
      throw ModelError("the integer pair enlarges " + std::to_string(scale) + " times, and a network in it " +
                       std::to_string((*network)->enlarges()));
    if (!(*network)->begins_anywhere())
      throw ModelError("a network of the integer pair depends on where an image begins, so tiles cannot be cut for it");
  }
  reader.end();
  return pair;
}

}  // namespace sharpbit
