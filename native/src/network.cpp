#include "network.h"

#include <cstring>

#include "chain.h"
#include "graph.h"
#include "pair.h"
#include "reader.h"

namespace sharpbit {
namespace {

constexpr char kMagic[] = "SHARPBIT";  // what a native file begins with (docs/format.md)
constexpr size_t kStart = 16, kAlign = 64;
constexpr uint32_t kVersion = 1;

// Of a whole native file the payload, which lies behind the header; bytes without its mark are a payload already.
void skip_header(const uint8_t *&data, size_t &size) {
  if (size < kStart || std::memcmp(data, kMagic, sizeof kMagic - 1) != 0) return;
  const uint32_t version = Reader::number(data + 8);
  if (version != kVersion)
    throw ModelError("this is a native file of version " + std::to_string(version) + ", and this engine reads version " +
                     std::to_string(kVersion));
  const size_t header = Reader::number(data + 12), left = size - kStart;
  if (header > left) throw ModelError("the native file is damaged (cut off in its header); get it again");
  const size_t end = kStart + header, start = end + (kAlign - end % kAlign) % kAlign;
  if (start > size) throw ModelError("the native file is damaged (cut off behind its header); get it again");
  data += start;
  size -= start;
}

}  // namespace

std::unique_ptr<Network> read_one(const uint8_t *data, size_t size, const Isa &isa) {
  if (is_graph(data, size)) {
    auto graph = std::make_unique<Graph>(read_graph(data, size));
    pack(*graph, isa);
    return graph;
  }
  auto chain = std::make_unique<Chain>(read_chain(data, size));
  pack(*chain, isa);
  return chain;
}

std::unique_ptr<Network> read_network(const uint8_t *data, size_t size, const Isa &isa) {
  skip_header(data, size);
  if (is_pair(data, size)) return read_pair(data, size, isa);
  return read_one(data, size, isa);
}

}  // namespace sharpbit
