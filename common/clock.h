/* Wall clock and RFC 3339. For what people read only: no decision depends on it (timers are
 * monotonic, see loop.h). */
#ifndef ASSENT_COMMON_CLOCK_H
#define ASSENT_COMMON_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Units: microseconds since 1970-01-01 UTC. */
int64_t clock_wall_us(void);

/* Monotonic, finer than loop_now_ms() and not bound to a loop; for measuring. Units: microseconds.
 */
uint64_t clock_monotonic_us(void);

enum { RFC3339_SIZE = 28 }; /* "2026-11-21T03:04:05.123456Z" and its NUL */
void clock_format_rfc3339(int64_t wall_us, char out[RFC3339_SIZE]);

#endif
