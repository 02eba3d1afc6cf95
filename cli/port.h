/* Ports of servers that are stopped and started again. A port that is free now may be another's a
 * moment later; a reserved one is kept for as long as its socket is open, also while nobody listens. */
#ifndef ASSENT_CLI_PORT_H
#define ASSENT_CLI_PORT_H

#include <stdint.h>

#include "common/error.h"

/* Reserves a port of 127.0.0.1 that nobody uses, from below the kernel's ephemeral range: no outgoing
 * connection can take it, nor connect to itself on it. Who listens there must set SO_REUSEADDR (as
 * PostgreSQL and our daemons do). `*fd` goes with us, and is not inherited.
 * Owner: the caller, close(). Errors: ERR_UNAVAILABLE. */
enum error_code port_reserve(uint16_t *port, int *fd, struct error *err)
    __attribute__((warn_unused_result));

#endif
