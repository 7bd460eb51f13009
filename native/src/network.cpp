#include "network.h"

#include "chain.h"
#include "graph.h"

namespace sharpbit {

std::unique_ptr<Network> read_network(const uint8_t *data, size_t size, const Isa &isa) {
  if (is_graph(data, size)) {
    auto graph = std::make_unique<Graph>(read_graph(data, size));
    pack(*graph, isa);
    return graph;
  }
  auto chain = std::make_unique<Chain>(read_chain(data, size));
  pack(*chain, isa);
  return chain;
}

}  // namespace sharpbit
