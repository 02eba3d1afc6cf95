/* See memory.h. */
#include "common/memory.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* Apart, or the compiler makes calloc() of the two. */
__attribute__((noinline)) static void *clear(void *memory, size_t size) {
  return memset(memory, 0, size);
}

void *memory_zeroed(size_t size) {
  void *memory = malloc(size ? size : 1);
  return memory ? clear(memory, size) : NULL;
}

void memory_give_back(void) {
  (void)malloc_trim(0);
}
