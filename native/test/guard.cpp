// Linked with check.cpp or graphs.cpp: what the engine allocates ends where a page begins that nobody may touch. A kernel that reads
// or writes too far is a fault here, even in instructions that sanitizers do not see into, such as loads of tiles.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

static std::size_t page() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }
static std::size_t whole(std::size_t size, std::size_t part) { return (size + part - 1) / part * part; }

// [a page that holds the size of all and is only read][pages that the memory ends with][a page that nobody may touch]
void *operator new[](std::size_t size, std::align_val_t alignment) {
  const std::size_t all = whole(size, page()) + 2 * page();
  void *mapped = mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  char *const begin = static_cast<char *>(mapped), *const end = begin + all - page();
  std::memcpy(begin, &all, sizeof all);
  mprotect(begin, page(), PROT_READ);
  mprotect(end, page(), PROT_NONE);
  return end - whole(size, static_cast<std::size_t>(alignment));
}

void operator delete[](void *memory, std::align_val_t) noexcept {
  if (!memory) return;
  const std::uintptr_t first = reinterpret_cast<std::uintptr_t>(memory) / page() * page();
  void *const begin = reinterpret_cast<void *>(first - page());
  std::size_t all;
  std::memcpy(&all, begin, sizeof all);
  munmap(begin, all);
}

void operator delete[](void *memory, std::size_t, std::align_val_t alignment) noexcept {
  operator delete[](memory, alignment);
}
