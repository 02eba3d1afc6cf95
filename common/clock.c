/* See clock.h. */
#include "common/clock.h"

#include <stdio.h>
#include <time.h>

enum { US_PER_S = 1000000 };

/* RFC 3339 has four digits for the year. */
static const int64_t EARLIEST_S = -62135596800; /* 0001-01-01T00:00:00Z */
static const int64_t LATEST_S = 253402300799;   /* 9999-12-31T23:59:59Z */

int64_t clock_wall_us(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

uint64_t clock_monotonic_us(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * US_PER_S + (uint64_t)now.tv_nsec / 1000;
}

void clock_format_rfc3339(int64_t wall_us, char out[RFC3339_SIZE]) {
  int64_t seconds = wall_us / US_PER_S;
  int64_t micros = wall_us % US_PER_S;
  if (micros < 0) {
    seconds--;
    micros += US_PER_S;
  }
  if (seconds < EARLIEST_S) seconds = EARLIEST_S;
  if (seconds > LATEST_S) seconds = LATEST_S;
  time_t t = (time_t)seconds;
  struct tm utc;
  (void)gmtime_r(&t, &utc);
  /* Each part is in range; the remainders let the compiler see it. */
  (void)snprintf(out, RFC3339_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ",
                 (unsigned)(utc.tm_year + 1900) % 10000, (unsigned)(utc.tm_mon + 1) % 100,
                 (unsigned)utc.tm_mday % 100, (unsigned)utc.tm_hour % 100,
                 (unsigned)utc.tm_min % 100, (unsigned)utc.tm_sec % 100,
                 (unsigned)micros % US_PER_S);
}
