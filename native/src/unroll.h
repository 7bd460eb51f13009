// How compilers are told to unroll the loops over registers, to inline, and not to know too much: SB_FORGET what was
// loaded, SB_HIDE where a value comes from.
#pragma once

#if defined(SB_NO_UNROLL)  // for sanitizers, which would compile for minutes
#define SB_UNROLL
#elif defined(__clang__)
#define SB_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define SB_UNROLL _Pragma("GCC unroll 32")
#else
#define SB_UNROLL
#endif
#if defined(__GNUC__)
#define SB_INLINE inline __attribute__((always_inline))
#define SB_FORGET __asm__ volatile("" : : : "memory")
#define SB_HIDE(constraint, x) __asm__ volatile("" : constraint(x))
#else
#define SB_FORGET
#define SB_HIDE(constraint, x)
#define SB_INLINE __forceinline
#endif
