/* The fingerprint of a request: equal bytes have equal ones, and nobody can find others that do
 * (SHA-256). */
#ifndef ASSENT_COMMON_FINGERPRINT_H
#define ASSENT_COMMON_FINGERPRINT_H

#include <stddef.h>

#include "common/error.h"

enum { FINGERPRINT_SIZE = 65 }; /* 64 hexadecimal digits */

/* ERR_MEMORY. `data` may be NULL when length is 0. */
enum error_code fingerprint_make(const void *data, size_t length, char out[FINGERPRINT_SIZE],
                                 struct error *err) __attribute__((warn_unused_result));

#endif
