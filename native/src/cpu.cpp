#include "cpu.h"

#include <cstdint>

#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
#define SB_X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_M_ARM64)
#include <windows.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#endif

namespace sharpbit::cpu {

#if defined(SB_X86)
namespace {

struct Leaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf leaf(uint32_t number, uint32_t sub) {
  Leaf r;
#if defined(_MSC_VER)
  int v[4];
  __cpuid(v, 0);
  if (static_cast<uint32_t>(v[0]) < number) return r;
  __cpuidex(v, static_cast<int>(number), static_cast<int>(sub));
  r = {uint32_t(v[0]), uint32_t(v[1]), uint32_t(v[2]), uint32_t(v[3])};
#else
  __get_cpuid_count(number, sub, &r.eax, &r.ebx, &r.ecx, &r.edx);
#endif
  return r;
}

// Which registers the operating system saves: bit 1 SSE, 2 AVX, 5 to 7 AVX-512, 17 and 18 the tiles of AMX.
uint64_t saved_registers() {
  if (!(leaf(1, 0).ecx >> 27 & 1)) return 0;  // no xgetbv
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
#endif
}

bool bit(uint32_t word, int number) { return word >> number & 1; }

}  // namespace

bool has_avx2() { return (saved_registers() & 0x6) == 0x6 && bit(leaf(7, 0).ebx, 5); }

bool has_avx_vnni() { return has_avx2() && leaf(7, 0).eax >= 1 && bit(leaf(7, 1).eax, 4); }

bool has_avx512_vnni() {
  const Leaf seven = leaf(7, 0);
  const bool avx512 = bit(seven.ebx, 16) && bit(seven.ebx, 17) && bit(seven.ebx, 30) && bit(seven.ebx, 31);
  return (saved_registers() & 0xE6) == 0xE6 && avx512 && bit(seven.ecx, 11);
}

namespace {

// Linux gives a process the 8 KiB of tiles for each of its threads only when it asks (5.16 and newer; older ones do not
// save them at all). It refuses where a thread has a stack for signals that the larger frames would not fit into. A
// process asks once: all its threads may use them from then on, and so may its children after a fork.
bool tiles_allowed() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// The kernels know one form: 8 tiles of 16 rows of 64 bytes. All processors with AMX have it so far.
bool tiles_as_known() {
  const Leaf form = leaf(0x1D, 1);
  return form.eax >> 16 == 1024 && (form.ebx & 0xFFFF) == 64 && form.ebx >> 16 == 8 && (form.ecx & 0xFFFF) == 16;
}

}  // namespace

bool has_amx_int8() {
  static const bool has = [] {
#if defined(SB_EMULATED_TILES)
    return has_avx512_vnni();
#endif
    const Leaf seven = leaf(7, 0);
    const bool tiles = bit(seven.edx, 24) && bit(seven.edx, 25) && (saved_registers() >> 17 & 3) == 3;
    return has_avx512_vnni() && tiles && tiles_as_known() && tiles_allowed();
  }();
  return has;
}
#else
bool has_amx_int8() { return false; }
bool has_avx2() { return false; }
bool has_avx_vnni() { return false; }
bool has_avx512_vnni() { return false; }
#endif

#if defined(__aarch64__) && defined(__linux__)
bool has_neon_dotprod() { return getauxval(AT_HWCAP) >> 20 & 1; }  // HWCAP_ASIMDDP
#elif defined(__aarch64__) && defined(__APPLE__)
bool has_neon_dotprod() {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname("hw.optional.arm.FEAT_DotProd", &value, &size, nullptr, 0) == 0 && value != 0;
}
#elif defined(_M_ARM64)
bool has_neon_dotprod() { return IsProcessorFeaturePresent(43) != 0; }  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
#else
bool has_neon_dotprod() { return false; }
#endif

size_t l2_bytes() {
  static const size_t bytes = [] {
    long size = 0;
#if defined(_SC_LEVEL2_CACHE_SIZE)
    size = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    if (size <= 0) size = 512 << 10;
    // A cache that several cores share counts with what one of them may expect of it.
    return static_cast<size_t>(size < (256 << 10) ? 256 << 10 : size > (2 << 20) ? 2 << 20 : size);
  }();
  return bytes;
}

}  // namespace sharpbit::cpu
