/* See clock.h. */
#include "common/clock.h"

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

/* The lowest digits, and what stands behind them. By hand: three times are told in every answer. */
static char *put_digits(char *to, int value, int digits, char behind) {
  for (int i = digits; i > 0; i--, value /= 10)
    to[i - 1] = (char)('0' + value % 10);
  to[digits] = behind;
  return to + digits + 1;
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
  out = put_digits(out, utc.tm_year + 1900, 4, '-');
  out = put_digits(out, utc.tm_mon + 1, 2, '-');
  out = put_digits(out, utc.tm_mday, 2, 'T');
  out = put_digits(out, utc.tm_hour, 2, ':');
  out = put_digits(out, utc.tm_min, 2, ':');
  out = put_digits(out, utc.tm_sec, 2, '.');
  out = put_digits(out, (int)micros, 6, 'Z');
  *out = '\0';
}
