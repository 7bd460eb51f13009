#include "graph_phases.h"

#include <chrono>
#include <new>

namespace sharpbit {
namespace {

constexpr size_t kMostStored = size_t{1} << (sizeof(size_t) > 4 ? 34 : 30);

// Rows `band` of `bands` parts of a side.
Span part_of(int side, int band, int bands) {
  const auto cut = [&](int part) { return static_cast<int>(int64_t{side} * part / bands); };
  return {cut(band), cut(band + 1)};
}

template <typename Read>
void each_read(const Node &node, const Read &read) {
  for (const int input : node.inputs) read(input);
  for (const Added &added : node.added) read(added.tensor);
}

}  // namespace

Phases::Phases(const Graph &graph) {
  const size_t tensors = graph.tensors.size();
  std::vector<int> first(tensors, 0);  // before which a tensor cannot be made
  for (int t = 1; t <= graph.last(); t++) {
    const Node &node = graph.maker(t);
    each_read(node, [&](int input) { first[size_t(t)] = std::max(first[size_t(t)], first[size_t(input)]); });
    if (node.op == Op::mean) first[size_t(t)]++;
  }
  count = first.back() + 1;
  made.assign(tensors, count);  // nobody reads it
  made.back() = count - 1;
  read.assign(tensors, 0);
  stored.assign(tensors, false);
  for (int t = graph.last(); t > 0; t--) {
    if (made[size_t(t)] == count) continue;
    const Node &node = graph.maker(t);
    int &own = made[size_t(t)];
    if (node.op == Op::mean) own = first[size_t(t)] - 1;
    each_read(node, [&](int input) {
      made[size_t(input)] = std::min(made[size_t(input)], own);
      read[size_t(input)] = std::max(read[size_t(input)], own);
    });
  }
  for (size_t t = 1; t < tensors; t++) stored[t] = made[t] < count && read[t] > made[t];
}

PhasedImage::PhasedImage(const Graph &graph, const ImageData &image, int threads)
    : graph_(graph),
      image_(image),
      region_{0, image.height, 0, image.width},
      bands_(std::min(threads, image.height)),
      phases_(graph),
      heights_(sides_of(graph, graph.filled(image.height))),
      stored_(graph.tensors.size()),
      sums_(graph.tensors.size()),
      done_(size_t(phases_.count), 0) {
  const Layout whole(graph, image, region_, {}, {});
  std::vector<Kept> kept(stored_.size());
  for (size_t t = 1; t < stored_.size(); t++) {
    const bool makes = phases_.made[t] < phases_.count;
    if (makes && graph.maker(int(t)).op == Op::mean) {
      const size_t input = size_t(graph.maker(int(t)).inputs[0]);
      if (!sums_[input]) sums_[input] = std::make_unique<Runner::Sums>();
    }
    if (!phases_.stored[t]) continue;
    Ring &ring = stored_[t] = whole.rings[t];
    ring.rows = {0, heights_[t]};
    ring.kept = heights_[t];
    kept[t].made = size_t(phases_.made[t]);
    kept[t].read = size_t(phases_.read[t]);
  }
  const size_t bytes = place_rings(stored_, kept);
  if (bytes > kMostStored) throw std::bad_alloc();
  memory_ = make_buffer(bytes);
  for (Ring &ring : stored_)
    if (ring.used()) ring.memory = memory_.get() + ring.place;
}

Layout PhasedImage::layout(int phase, int band) const {
  std::vector<Target> targets;
  std::vector<bool> here(stored_.size());
  here[0] = true;  // the image is read in every phase
  if (sums_[0] && phase == 0) targets.push_back({0, part_of(heights_[0], band, bands_)});
  for (int t = 1; t <= graph_.last(); t++) {
    const bool mean = graph_.maker(t).op == Op::mean;
    here[size_t(t)] = !mean && phases_.made[size_t(t)] == phase;
    if (here[size_t(t)] && (phases_.stored[size_t(t)] || sums_[size_t(t)]))
      targets.push_back({t, part_of(heights_[size_t(t)], band, bands_)});
  }
  if (phase == phases_.count - 1) {
    const Span rows = part_of(image_.height, band, bands_);
    targets.push_back({graph_.last(), {rows.begin * graph_.scale, rows.end * graph_.scale}});
  }
  Layout layout(graph_, image_, region_, targets, here);
  for (size_t t = 0; t < stored_.size(); t++)
    if (!here[t] && stored_[t].memory) layout.rings[t] = stored_[t];
  return layout;
}

// Parts are taken in their order, so those of the phase before are done or at work.
bool PhasedImage::wait(int phase, const std::atomic<bool> &cancel) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (phase > 0 && done_[size_t(phase) - 1] < bands_) {
    if (cancel.load(std::memory_order_relaxed)) return false;
    ended_.wait_for(lock, std::chrono::milliseconds(2));
  }
  return true;
}

void PhasedImage::run(int part, const Scratch &scratch, const std::atomic<bool> &cancel) {
  const int phase = part / bands_, band = part % bands_;
  Layout own = layout(phase, band);
  uint8_t *const memory = scratch(own.bytes);
  const std::vector<Target> targets = own.targets;
  Runner runner(graph_, image_, region_, std::move(own), memory);
  std::vector<std::unique_ptr<Runner::Sums>> sums(stored_.size());
  for (const Target &target : targets)
    if (sums_[size_t(target.tensor)]) sums[size_t(target.tensor)] = std::make_unique<Runner::Sums>();
  if (!wait(phase, cancel)) return;
  std::vector<Span> wanted(stored_.size());
  for (const Target &target : targets) wanted[size_t(target.tensor)] = target.span;
  runner.run(cancel, [&](int t, int y) {
    if (y < wanted[size_t(t)].begin || y >= wanted[size_t(t)].end) return;
    const Ring &from = runner.ring(t), &to = stored_[size_t(t)];
    const ptrdiff_t margin = kMargin;
    if (phases_.stored[size_t(t)])
      std::memcpy(to.at(y, to.columns.begin - margin), from.at(y, from.columns.begin - margin),
                  size_t(from.columns.size() + 2 * margin) * from.pixel);
    if (sums[size_t(t)]) runner.add_row(t, y, *sums[size_t(t)]);
  });
  if (cancel.load(std::memory_order_relaxed)) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  for (size_t t = 0; t < sums.size(); t++)
    for (size_t c = 0; sums[t] && c < sums[t]->size(); c++) (*sums_[t])[c] += (*sums[t])[c];
  if (++done_[size_t(phase)] < bands_) return;
  finish(phase, runner);
  ended_.notify_all();
}

// The means that end a phase.
void PhasedImage::finish(int phase, const Runner &runner) {
  for (int t = 1; t <= graph_.last(); t++) {
    const Node &node = graph_.maker(t);
    if (node.op != Op::mean || phases_.made[size_t(t)] != phase || !stored_[size_t(t)].memory) continue;
    runner.mean(node, t, *sums_[size_t(node.inputs[0])]);
    runner.fill_margins(t, 0);
    if (sums_[size_t(t)]) runner.add_row(t, 0, *sums_[size_t(t)]);  // a mean of what has one pixel
  }
}

std::unique_ptr<SharedImage> shared_image(const Network &network, const ImageData &image, int threads) {
  const Graph *const graph = threads > 1 && !network.divides() ? dynamic_cast<const Graph *>(&network) : nullptr;
  if (!graph || image.height < 2) return nullptr;
  return std::make_unique<PhasedImage>(*graph, image, threads);
}

}  // namespace sharpbit
