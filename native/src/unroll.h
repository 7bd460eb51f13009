// How compilers are told to keep the loops over registers out of the binary, and to inline.
#pragma once

#if defined(__clang__)
#define SB_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define SB_UNROLL _Pragma("GCC unroll 32")
#else
#define SB_UNROLL
#endif
#if defined(__GNUC__)
#define SB_INLINE inline __attribute__((always_inline))
#else
#define SB_INLINE __forceinline
#endif
