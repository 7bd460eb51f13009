// Graphs that tests/runtime/test_native_programs.py writes: run on every instruction set, and mutated.
//   graphs check FILE...                  each gives what the file says
//   graphs fuzz OPENS SEED FILE...        mutated payloads are refused with a sentence or opened, and some are run
//
// A file has five numbers of four bytes, little endian: scale, height, width, bytes of the payload, and 0; then the
// payload, the image and the result.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "mutate.h"

struct Case {
  int scale = 0, height = 0, width = 0;
  Bytes payload, image, wanted;
};

static Case read_case(const char *path) {
  std::ifstream file(path, std::ios::binary);
  const Bytes bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto number = [&](size_t i) {
    return int(bytes[4 * i] | bytes[4 * i + 1] << 8 | bytes[4 * i + 2] << 16 | bytes[4 * i + 3] << 24);
  };
  if (bytes.size() < 20) std::exit(2);
  Case found{number(0), number(1), number(2), {}, {}, {}};
  auto at = bytes.begin() + 20;
  const ptrdiff_t pixels = ptrdiff_t(found.height) * found.width * 3;
  found.payload.assign(at, at + number(3));
  at += number(3);
  found.image.assign(at, at + pixels);
  found.wanted.assign(at + pixels, bytes.end());
  return found;
}

static int check(const std::vector<Case> &cases) {
  int wrong = 0;
  for (const Case &one : cases)
    for (const std::string &isa : instruction_sets()) {
      sb_chain *opened = nullptr;
      char message[256];
      if (sb_open(one.payload.data(), one.payload.size(), isa.c_str(), &opened, message, sizeof message) != SB_DONE) {
        std::fprintf(stderr, "not opened: %s\n", message);
        return 1;
      }
      for (int threads = 1; threads <= 3; threads += 2) {
        Bytes out;
        wrong += run_to_end(opened, one.image, one.height, one.width, one.scale, threads, out) != SB_DONE ||
                 out != one.wanted;
      }
      sb_close(opened);
    }
  std::printf("%zu graphs on %s: %d wrong\n", cases.size(), sb_instruction_sets(), wrong);
  return wrong != 0;
}

static int fuzz(int opens, Random &random, const std::vector<Case> &cases) {
  const std::vector<std::string> isas = instruction_sets();
  int opened = 0, runs = 0;
  for (int n = 0; n < opens; n++) {
    Bytes payload = cases[random() % cases.size()].payload;
    mutate(random, payload);
    payload.shrink_to_fit();
    sb_chain *graph = nullptr;
    char message[160] = "";
    const int32_t code =
        sb_open(payload.data(), payload.size(), isas[random() % isas.size()].c_str(), &graph, message, sizeof message);
    if ((code == SB_DONE) != (graph != nullptr) || (code == SB_ERROR_MODEL) != (message[0] != 0)) {
      std::fprintf(stderr, "code %d, message '%s'\n", int(code), message);
      return 1;
    }
    if (!graph) continue;
    if (++opened % 20 == 0) {
      runs++;
      const int height = uniform(random, 1, 12), width = uniform(random, 1, 40);
      const Bytes image = random_image(random, height, width);
      Bytes out;
      const int32_t state = run_to_end(graph, image, height, width, payload[0], uniform(random, 1, 4), out);
      if (state != SB_DONE && state != SB_ERROR_MEMORY) return 1;
    }
    sb_close(graph);
  }
  std::printf("%d payloads, %d opened, %d run\n", opens, opened, runs);
  return 0;
}

int main(int count, char **arguments) {
  const bool fuzzes = count > 1 && std::string(arguments[1]) == "fuzz";
  std::vector<Case> cases;
  for (int i = fuzzes ? 4 : 2; i < count; i++) cases.push_back(read_case(arguments[i]));
  if (cases.empty()) return 2;
  if (!fuzzes) return check(cases);
  Random random(std::strtoull(arguments[3], nullptr, 10));
  return fuzz(std::atoi(arguments[2]), random, cases);
}
