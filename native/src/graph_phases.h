// A graph with means of all pixels, computed by several threads: a mean ends a phase, whose parts are bands of rows.
#pragma once

#include <condition_variable>
#include <mutex>

#include "graph_runner.h"

namespace sharpbit {

// In which phase each tensor is made, and what later phases read of it. A mean, and all that needs it, is made after the phase
// that makes its tensor; all else as late as those that read it allow.
struct Phases {
  int count = 1;
  std::vector<int> made;     // of each tensor; of a mean the phase at whose end it is made
  std::vector<int> read;     // the last phase that reads it
  std::vector<bool> stored;  // whether that is a later one: then all of it is kept

  explicit Phases(const Graph &graph);
};

class PhasedImage : public SharedImage {
 public:
  PhasedImage(const Graph &graph, const ImageData &image, int threads);

  int parts() const override { return phases_.count * bands_; }
  int together() const override { return bands_; }
  void run(int part, const Scratch &scratch, const std::atomic<bool> &cancel) override;

 private:
  bool wait(int phase, const std::atomic<bool> &cancel);
  Layout layout(int phase, int band) const;
  void finish(int phase, const Runner &runner);

  const Graph &graph_;
  const ImageData image_;
  const Region region_;
  const int bands_;
  const Phases phases_;
  std::vector<int> heights_;
  std::vector<Ring> stored_;  // of tensors that are kept for later phases
  Buffer memory_;
  std::vector<std::unique_ptr<Runner::Sums>> sums_;  // of tensors of which there is a mean
  std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<int> done_;  // parts of each phase; guarded by the mutex, as sums are
};

}  // namespace sharpbit
