/* A listening TCP socket. */
#ifndef ASSENT_COMMON_HTTP_LISTEN_H
#define ASSENT_COMMON_HTTP_LISTEN_H

#include <stdint.h>

#include "common/error.h"

/* `host` is an address or "localhost"; `*port` 0 becomes the one that was got.
 * Owner: the caller, close(*fd). ERR_IO names address and port. */
enum error_code http_listen(const char *host, uint16_t *port, int *fd, struct error *err)
    __attribute__((warn_unused_result));

#endif
