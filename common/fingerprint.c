/* See fingerprint.h. */
#include "common/fingerprint.h"

#include <openssl/sha.h>
#include <stdio.h>

enum error_code fingerprint_make(const void *data, size_t length, char out[FINGERPRINT_SIZE],
                                 struct error *err) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  if (!SHA256(length > 0 ? data : (const void *)"", length, digest))
    return error_set(err, ERR_MEMORY, "no memory for a fingerprint");
  for (size_t i = 0; i < sizeof digest; i++)
    (void)snprintf(out + 2 * i, 3, "%02x", digest[i]);
  return ERR_OK;
}
