/* Upscales a PPM: example IN.ppm OUT.ppm [THREADS]. The model is part of the program (model.c). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "model.h"
#include "sharpbit.h"

/* The next number of a PPM header; comments begin with '#'. -1 where there is none. */
static long number(FILE *file) {
  int c = getc(file);
  long value = 0;
  while (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '#') {
    if (c == '#')
      while (c != '\n' && c != EOF) c = getc(file);
    c = getc(file);
  }
  if (c < '0' || c > '9') return -1;
  for (; c >= '0' && c <= '9' && value < 1000000; c = getc(file)) value = 10 * value + (c - '0');
  return value; /* the one byte of white space behind the number is read as well */
}

static int fail(const char *what, const char *name) {
  fprintf(stderr, "example: %s: %s\n", name, what);
  return 1;
}

static int save(const char *name, const uint8_t *pixels, long width, long height) {
  FILE *file = fopen(name, "wb");
  int good;
  if (!file) return fail("it cannot be written", name);
  good = fprintf(file, "P6\n%ld %ld\n255\n", width, height) > 0;
  good = fwrite(pixels, 3, (size_t)width * (size_t)height, file) == (size_t)width * (size_t)height && good;
  good = fclose(file) == 0 && good;
  return good ? 0 : fail("it could not be written whole", name);
}

static int upscale(FILE *file, const char *in, const char *out, int threads) {
  char message[512] = "";
  sb_chain *model = NULL;
  uint8_t *small = NULL, *large = NULL;
  long width, height, scale;
  int32_t state;
  int code;
  if (getc(file) != 'P' || getc(file) != '6') return fail("it is no binary PPM (P6)", in);
  width = number(file);
  height = number(file);
  if (number(file) != 255 || width < 1 || height < 1 || width > 65535 || height > 65535)
    return fail("it is no PPM of 8 bits with sides of 1 to 65535 pixels", in);
  if (sb_open(model_data, model_size, NULL, &model, message, sizeof message) != SB_DONE) return fail(message, "model");
  scale = sb_scale(model);
  small = malloc((size_t)width * (size_t)height * 3);
  large = malloc((size_t)width * (size_t)height * 3 * (size_t)(scale * scale));
  if (!small || !large) {
    code = fail("there is no memory for it", in);
  } else if (fread(small, 3, (size_t)width * (size_t)height, file) != (size_t)width * (size_t)height) {
    code = fail("it is cut off", in);
  } else {
    state = sb_upscale(model, small, 3 * width, large, 3 * width * scale, (int32_t)height, (int32_t)width, threads);
    code = state == SB_DONE ? save(out, large, width * scale, height * scale) : fail("the engine failed", in);
  }
  free(small);
  free(large);
  sb_close(model);
  return code;
}

int main(int count, char **arguments) {
  const int threads = count > 3 ? atoi(arguments[3]) : 1;
  FILE *file;
  int code;
  if (count < 3 || count > 4 || threads < 1 || threads > 256) {
    fprintf(stderr, "usage: example IN.ppm OUT.ppm [THREADS]\n");
    return 2;
  }
  file = fopen(arguments[1], "rb");
  if (!file) return fail("it cannot be read", arguments[1]);
  code = upscale(file, arguments[1], arguments[2], threads);
  fclose(file);
  return code;
}
