/* The model file as bytes, for sb_open. */
#ifndef MODEL_H
#define MODEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

extern const uint8_t model_data[];
extern const size_t model_size;

#ifdef __cplusplus
}
#endif
#endif
