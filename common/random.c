/* The kernel's randomness: see id.h. A file of its own, so that a simulator can put another source in
 * its place. */
#include <assert.h>
#include <stdlib.h>
#include <sys/random.h>

#include "common/id.h"

void id_random(void *out, unsigned long size) {
  assert(size <= 256); /* getrandom() gives up to 256 bytes whole, without being interrupted */
  if (getrandom(out, size, 0) != (ssize_t)size) abort();
}
