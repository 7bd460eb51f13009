// Mutated payloads: each is refused with a sentence or opened, and some of those that open are run. Nothing may crash.
//   fuzz [opens] [seed]
#include <cstdio>
#include <cstdlib>

#include "mutate.h"

int main(int count, char **arguments) {
  const int opens = count > 1 ? std::atoi(arguments[1]) : 20000;
  Random random(count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 0);
  const std::vector<std::string> isas = instruction_sets();
  int opened = 0, runs = 0;
  PlainChain seed;
  for (int n = 0; n < opens; n++) {
    if (n % 16 == 0) seed = random_chain(random, uniform(random, 0, 9) ? 3 : 64);
    Bytes payload = seed.payload();
    mutate(random, payload);
    payload.shrink_to_fit();
    sb_chain *chain = nullptr;
    char message[160] = "";
    const std::string &isa = isas[random() % isas.size()];
    const int32_t code = sb_open(payload.data(), payload.size(), isa.c_str(), &chain, message, sizeof message);
    if ((code == SB_DONE) != (chain != nullptr) || (code == SB_ERROR_MODEL) != (message[0] != 0)) {
      std::fprintf(stderr, "code %d, message '%s'\n", int(code), message);
      return 1;
    }
    if (!chain) continue;
    opened++;
    if (seed.layers.size() <= 3 ? opened % 40 == 0 : opened % 400 == 0) {
      runs++;
      const int height = uniform(random, 1, 12), width = uniform(random, 1, 40);
      const Bytes image = random_image(random, height, width);
      Bytes out;
      if (run_to_end(chain, image, height, width, payload[0], uniform(random, 1, 4), out) != SB_DONE) return 1;
    }
    sb_close(chain);
  }
  std::printf("%d payloads, %d opened, %d run\n", opens, opened, runs);
  return 0;
}
