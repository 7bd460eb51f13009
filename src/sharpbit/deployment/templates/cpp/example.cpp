// Upscales a PPM: example IN.ppm OUT.ppm [THREADS]. The model is part of the program (model.c).
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>

#include "model.h"
#include "sharpbit.hpp"

int main(int count, char **arguments) {
  if (count < 3 || count > 4) {
    std::cerr << "usage: example IN.ppm OUT.ppm [THREADS]\n";
    return 2;
  }
  try {
    std::ifstream file(arguments[1], std::ios::binary);
    std::string kind;
    int width = 0, height = 0, white = 0;
    file >> kind >> width >> height >> white;
    file.get();
    if (!file || kind != "P6" || white != 255 || width < 1 || height < 1 || width > 65535 || height > 65535)
      throw sharpbit::Error(std::string(arguments[1]) + " is no PPM (P6, 8 bits, no comments)");
    std::vector<uint8_t> small(size_t{3} * static_cast<size_t>(width) * static_cast<size_t>(height));
    file.read(reinterpret_cast<char *>(small.data()), static_cast<std::streamsize>(small.size()));
    if (static_cast<size_t>(file.gcount()) != small.size()) throw sharpbit::Error("the image is cut off");
    const sharpbit::Upscaler upscale(model_data, model_size);
    const auto large = upscale(small.data(), height, width, count > 3 ? std::atoi(arguments[3]) : 1);
    std::ofstream out(arguments[2], std::ios::binary);
    out << "P6\n" << width * upscale.scale() << ' ' << height * upscale.scale() << "\n255\n";
    out.write(reinterpret_cast<const char *>(large.data()), static_cast<std::streamsize>(large.size()));
    if (!out.flush()) throw sharpbit::Error(std::string(arguments[2]) + " could not be written");
  } catch (const std::exception &error) {
    std::cerr << "example: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
