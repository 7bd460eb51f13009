// Sizes of the tensors of a graph, and which rows of them a region needs.
#include <algorithm>

#include "graph.h"

namespace sharpbit {

std::vector<int> sides_of(const Graph &graph, int side) {
  std::vector<int64_t> roots{side};
  const auto of = [&](const Size &size) { return roots[size_t(size.root)] * size.up / size.down + size.offset; };
  for (const Root &root : graph.roots) roots.push_back(of(root.size) / root.divisor);
  std::vector<int> sides;
  for (const Tensor &tensor : graph.tensors) sides.push_back(static_cast<int>(of(tensor.size)));
  return sides;
}

bool fits(const Graph &graph, int side) {
  std::vector<int64_t> roots{side};
  const auto of = [&](const Size &size) { return roots[size_t(size.root)] * size.up / size.down + size.offset; };
  for (const Root &root : graph.roots) {
    if (of(root.size) < 0) return false;
    roots.push_back(of(root.size) / root.divisor);
  }
  return std::all_of(graph.tensors.begin(), graph.tensors.end(), [&](const Tensor &tensor) { return of(tensor.size) > 0; });
}

std::vector<Span> needed(const Graph &graph, int begin, int end, const std::vector<int> &sides) {
  return needed(graph, {{graph.last(), {begin * graph.scale, end * graph.scale}}}, sides);
}

std::vector<Span> needed(const Graph &graph, const std::vector<Target> &targets, const std::vector<int> &sides,
                         const std::vector<bool> &made) {
  std::vector<Span> spans(graph.tensors.size());
  for (const Target &target : targets) spans[size_t(target.tensor)] = target.span;
  for (int t = graph.last(); t > 0; t--) {
    if (!made.empty() && !made[size_t(t)]) spans[size_t(t)] = {sides[size_t(t)], sides[size_t(t)]};
    const Span own = spans[size_t(t)];
    if (own.size() <= 0) continue;
    reads(graph, t, own.begin, own.end, sides, [&](int input, int first, int last) {
      Span &span = spans[size_t(input)];
      first = std::max(first, 0);
      last = std::min(last, sides[size_t(input)]);
      span = span.size() <= 0 ? Span{first, last} : Span{std::min(span.begin, first), std::max(span.end, last)};
    });
  }
  return spans;
}

std::vector<Kept> kept_rows(const Graph &graph, const std::vector<Span> &rows, const std::vector<int> &sides,
                            const std::vector<Target> &targets) {
  std::vector<Kept> kept(rows.size());
  std::vector<bool> seen(rows.size(), false);
  size_t time = 0;
  Schedule schedule(graph, rows, sides);
  schedule.all(targets, [&](int tensor, int y) {
    time++;
    if (!seen[size_t(tensor)]) kept[size_t(tensor)].made = time;
    seen[size_t(tensor)] = true;
    kept[size_t(tensor)].read = time;
    if (tensor > 0)
      reads(graph, tensor, y, y + 1, sides, [&](int input, int first, int) {
        kept[size_t(input)].read = time;
        int &most = kept[size_t(input)].rows;
        most = std::max(most, schedule.next(input) - std::max(first, rows[size_t(input)].begin));
      });
    return true;
  });
  return kept;
}

// Half to even is not needed: a weight of 256 parts that lies between two is rounded up.
Place place_of(int pixel, int from, int to, bool aligned) {
  const int64_t parts = aligned ? std::max(to - 1, 1) : int64_t{2} * to;
  const int64_t at = aligned ? int64_t{pixel} * (from - 1) : std::max<int64_t>((int64_t{2} * pixel + 1) * from - to, 0);
  const int64_t whole = at / parts, left = at % parts;
  const int first = static_cast<int>(std::min<int64_t>(whole, from - 1));
  return {first, std::min(first + 1, from - 1), static_cast<int>((left * 512 + parts) / (2 * parts))};
}

}  // namespace sharpbit
