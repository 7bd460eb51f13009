// Where the rows of all tensors lie.
#include "graph_runner.h"

namespace sharpbit {

Layout::Layout(const Graph &graph, const ImageData &image, const Region &region, const std::vector<Target> &wanted,
               const std::vector<bool> &made)
    : heights(sides_of(graph, graph.filled(image.height))),
      widths(sides_of(graph, graph.filled(image.width))),
      targets(wanted),
      rows(needed(graph, wanted, heights, made)) {
  const std::vector<Span> columns = needed(graph, region.left, region.right, widths);
  const std::vector<Kept> kept = kept_rows(graph, rows, heights, targets);
  for (int t = 0; t <= graph.last(); t++) {
    Ring ring;
    ring.rows = rows[size_t(t)];
    ring.columns = columns[size_t(t)];
    ring.kept = kept[size_t(t)].rows;
    ring.pixel = pixel_bytes(graph, t);
    ring.offset = whole_lines(kMargin * ring.pixel);
    // Kernels read and write too much behind a row, and convolutions read margins.
    ring.row_bytes = ring.offset + whole_lines(size_t(ring.columns.size() + kMargin + kMaxTile) * ring.pixel) + kLine;
    rings.push_back(ring);
  }
  bytes = place_rings(rings, kept);
  size_t most_outside = 0, most_gathered = 0;
  for (int t = 1; t <= graph.last(); t++) {
    size_t out = 0, gather = 0;
    for (const int input : graph.maker(t).inputs) out += rings[size_t(input)].row_bytes;
    for (const Added &added : graph.maker(t).added)
      gather += added.from.empty() ? 0 : gathered_bytes(pixel_channels(graph, t), rings[size_t(t)].columns.size());
    most_outside = std::max(most_outside, out);
    most_gathered = std::max(most_gathered, gather);
  }
  outside = bytes;
  gathered = outside + most_outside;
  bytes = gathered + most_gathered;
}

size_t place_rings(std::vector<Ring> &rings, const std::vector<Kept> &kept) {
  std::vector<size_t> order, placed;
  size_t bytes = 0;
  for (size_t t = 0; t < rings.size(); t++)
    if (rings[t].used()) order.push_back(t);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return kept[a].made < kept[b].made; });
  for (const size_t t : order) {
    size_t at = 0;  // `placed` are in the order of their places
    const size_t size = rings[t].bytes();
    for (const size_t other : placed) {
      if (kept[other].read < kept[t].made || rings[other].place >= at + size) continue;
      at = std::max(at, rings[other].place + rings[other].bytes());
    }
    rings[t].place = at;
    bytes = std::max(bytes, at + size);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), t,
                                   [&](size_t a, size_t b) { return rings[a].place < rings[b].place; }),
                  t);
  }
  return bytes;
}

}  // namespace sharpbit
