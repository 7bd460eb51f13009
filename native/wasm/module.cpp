// The engine as a module of WebAssembly: one network, one thread, and what C++ needs where nothing catches exceptions.
// scripts/build_wasm.py compiles it; deployment/web/worker.js calls it.
#include <__verbose_abort>
#include <atomic>
#include <exception>
#include <memory>
#include <typeinfo>

#include "buffer.h"
#include "cpu.h"
#include "network.h"
#include "plan.h"

#define SB_EXPORT(name) extern "C" __attribute__((export_name(#name), visibility("default")))

// Of the page: ends the call by an exception of JavaScript, after which the module must not be used.
__attribute__((import_module("page"), import_name("fail"))) extern "C" void page_fail(const char *sentence);

namespace sharpbit {

extern const Isa kWasm;

size_t cpu::l2_bytes() { return 512 << 10; }  // as where a system does not say

namespace {

std::unique_ptr<Network> network;
const std::atomic<bool> goes_on{false};

}  // namespace
}  // namespace sharpbit

using sharpbit::network;

SB_EXPORT(take) uint8_t *take(size_t bytes) { return sharpbit::make_buffer(bytes).release(); }

SB_EXPORT(give) void give(uint8_t *bytes) { sharpbit::FreeLines()(bytes); }

SB_EXPORT(open) void open(const uint8_t *data, size_t size) {
  network = sharpbit::read_network(data, size, sharpbit::kWasm);
}

SB_EXPORT(scale) int32_t scale() { return network->enlarges(); }

SB_EXPORT(halo) int32_t halo() { return network->halo(); }

// Upscales a region of an image of RGB pixels; the rest of it are its surroundings. `out` has room for all of the result.
SB_EXPORT(run) void run(const uint8_t *in, uint8_t *out, int32_t height, int32_t width, int32_t top, int32_t bottom,
                        int32_t left, int32_t right) {
  const ptrdiff_t row = ptrdiff_t{3} * width, s = network->enlarges();
  const sharpbit::ImageData image{in, row, out, row * s, height, width};
  const sharpbit::Region region{top, bottom, left, right};
  const auto scratch = sharpbit::make_buffer(network->scratch_bytes(image, region));
  network->run(image, region, scratch.get(), sharpbit::goes_on);
}

// What the library says where it can't go on, without all that printf brings along.
_LIBCPP_BEGIN_NAMESPACE_STD
[[noreturn]] void __libcpp_verbose_abort(const char *format, ...) noexcept {
  page_fail(format);
  __builtin_trap();
}
_LIBCPP_END_NAMESPACE_STD

// Exceptions are thrown and never caught here: what they say goes to the page.
extern "C" {
void *__cxa_allocate_exception(size_t size) noexcept { return ::operator new(size); }
void __cxa_free_exception(void *) noexcept {}
void *__cxa_begin_catch(void *) noexcept { __builtin_trap(); }
void __cxa_end_catch() { __builtin_trap(); }
void __cxa_rethrow() { __builtin_trap(); }
void __cxa_throw(void *thrown, std::type_info *, void (*)(void *)) {  // all of ours are of std::exception
  page_fail(static_cast<std::exception *>(thrown)->what());
  __builtin_trap();
}
}
