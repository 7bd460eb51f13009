// Mutated payloads: each is refused with a sentence or opened, and some of those that open are run. Nothing may crash.
//   fuzz [opens] [seed]
#include <cstdio>
#include <cstdlib>

#include "chains.h"

static void mutate(Random &random, Bytes &bytes) {
  const auto anywhere = [&](size_t most) { return size_t(random() % (std::min(bytes.size(), most) + 1)); };
  for (int n = uniform(random, 0, 4); n > 0 && !bytes.empty(); n--) {
    const size_t head = random() % std::min<size_t>(bytes.size(), 24), any = random() % bytes.size();
    switch (uniform(random, 0, 7)) {
      case 0: bytes[any] = uint8_t(random()); break;
      case 1: bytes[head] = uint8_t(random()); break;
      case 2: bytes[head] ^= uint8_t(1 << random() % 8); break;
      case 3: bytes.resize(anywhere(bytes.size())); break;
      case 4: bytes.insert(bytes.end(), size_t(uniform(random, 1, 9)), uint8_t(random())); break;
      case 5: bytes.erase(bytes.begin() + ptrdiff_t(any)); break;
      case 6: bytes[any] = random() % 2 ? 0x80 : 0xFF; break;
      default: {  // a large number where one is read
        const uint32_t large[] = {0, 1, 64, 65, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7F800000};
        const uint32_t value = large[random() % 8];
        for (size_t i = 0; i < 4 && head / 4 * 4 + i < bytes.size(); i++)
          bytes[head / 4 * 4 + i] = uint8_t(value >> 8 * i);
      }
    }
  }
}

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
