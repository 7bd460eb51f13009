// Which instruction sets this build has. CMake defines a macro for each that the compiler knows.
#include "isa.h"

namespace sharpbit {

const Isa *const kInstructionSets[] = {
#if defined(SB_AMX_INT8)
    &kAmxInt8,
#endif
#if defined(SB_AVX512_VNNI)
    &kAvx512Vnni,
#endif
#if defined(SB_AVX_VNNI)
    &kAvxVnni,
#endif
#if defined(SB_AVX2)
    &kAvx2,
#endif
#if defined(SB_NEON_DOTPROD)
    &kNeonDotprod,
#endif
    &kPlain, nullptr};

}  // namespace sharpbit
