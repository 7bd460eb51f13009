/* The integer engine of sharpbit: chains of 3x3 convolutions, graphs of operators on bytes, and pairs of them, exact to the
 * last bit.
 *
 * `sb_open` takes the bytes of a `.sharpbit` file as it is, or of its payload alone (docs/format.md), which
 * src/sharpbit/modelfile/integer_chain.py, integer_graph.py and integer_pair.py define. Nothing in them is trusted; the
 * hashes in the header of a file are not compared ('sharpbit verify' does that). All functions are safe to call from
 * several threads; one chain may run several jobs at a time.
 */
#ifndef SHARPBIT_H
#define SHARPBIT_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define SB_API __declspec(dllexport)
#else
#define SB_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define SB_ABI 2

typedef struct sb_chain sb_chain;
typedef struct sb_job sb_job;

enum {
  SB_DONE = 0,
  SB_RUNNING = 1,
  SB_CANCELLED = 2,
  SB_ERROR_MODEL = -1,   /* the bytes are no chain; sb_open writes why */
  SB_ERROR_SIZE = -2,    /* a height, width, stride or count of threads that cannot be */
  SB_ERROR_MEMORY = -3,
  SB_ERROR_ISA = -4,     /* this processor or build has no such instruction set */
};

/* SB_ABI of the library, so that a stale one is noticed. */
SB_API int32_t sb_abi(void);

/* The names of the instruction sets that can run here, fastest first, separated by spaces; "c" is always the last. */
SB_API const char *sb_instruction_sets(void);

/* Read a chain, a graph or a pair and pack its weights for one instruction set (NULL: the fastest). Writes a sentence to `message` on
 * failure. */
SB_API int32_t sb_open(const uint8_t *data, size_t size, const char *instruction_set, sb_chain **chain, char *message,
                       size_t message_size);

/* So many times larger are the sides of the result. */
SB_API int32_t sb_scale(const sb_chain *chain);

/* Of a pair, the share of the pixels so far that its small network upscaled; 0 of all others. */
SB_API double sb_small_share(const sb_chain *chain);

/* Free a chain. Its jobs must have been freed before. */
SB_API void sb_close(sb_chain *chain);

/* Begin to upscale an image on a resident pool of threads; returns at once.
 *
 * `in` holds `height` rows of `width` RGB pixels, `in_stride` bytes apart; `out` takes `height * scale` rows,
 * `out_stride` bytes apart. Both must stay until the job is freed. What lies beyond the image counts as 0. */
SB_API int32_t sb_start(sb_chain *chain, const uint8_t *in, ptrdiff_t in_stride, uint8_t *out, ptrdiff_t out_stride,
                        int32_t height, int32_t width, int32_t threads, sb_job **job);

/* Wait for at most `milliseconds` (0: only look; below 0: for ever): SB_DONE, SB_RUNNING, SB_CANCELLED or an error. */
SB_API int32_t sb_wait(sb_job *job, int32_t milliseconds);

/* Ask a job to stop soon. */
SB_API void sb_cancel(sb_job *job);

/* Free a job; waits until it has ended. */
SB_API void sb_free(sb_job *job);

/* Upscale an image and return when it is done; the arguments are those of `sb_start`. */
SB_API int32_t sb_upscale(sb_chain *chain, const uint8_t *in, ptrdiff_t in_stride, uint8_t *out, ptrdiff_t out_stride,
                          int32_t height, int32_t width, int32_t threads);

/* Bring an image to another size: each row of the result is a sum of `row_taps` rows of the image from the first of its
 * own on, each with a weight of its own, and so are columns. `in` holds `in_height` rows of `in_width` RGB pixels,
 * `in_stride` bytes apart; `out` takes `height` rows of `width`, one after the other. */
SB_API int32_t sb_resize(const uint8_t *in, ptrdiff_t in_stride, int32_t in_height, int32_t in_width, uint8_t *out,
                         int32_t height, int32_t width, const int32_t *first_rows, const float *row_weights,
                         int32_t row_taps, const int32_t *first_columns, const float *column_weights,
                         int32_t column_taps);

/* Measure how many multiply-accumulate operations of bytes a second `threads` threads can do at most with an
 * instruction set (NULL: the fastest), in about `seconds`; 0 where it cannot be measured. */
SB_API double sb_peak(const char *instruction_set, int32_t threads, double seconds);

#ifdef __cplusplus
}
#endif
#endif
