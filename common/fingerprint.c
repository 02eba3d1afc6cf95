/* See fingerprint.h. */
#include "common/fingerprint.h"

#include <gnutls/crypto.h>
#include <stdio.h>

enum error_code fingerprint_make(const void *data, size_t length, char out[FINGERPRINT_SIZE],
                                 struct error *err) {
  unsigned char digest[32];
  if (gnutls_hash_fast(GNUTLS_DIG_SHA256, length > 0 ? data : "", length, digest) != 0)
    return error_set(err, ERR_MEMORY, "no memory for a fingerprint");
  for (size_t i = 0; i < sizeof digest; i++)
    (void)snprintf(out + 2 * i, 3, "%02x", digest[i]);
  return ERR_OK;
}
