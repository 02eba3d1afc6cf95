/* Limits that a refusal can tell of: which, and how much it allows. */
#ifndef ASSENT_COMMON_LIMIT_H
#define ASSENT_COMMON_LIMIT_H

#include <stdint.h>

/* The names, as in the configuration where they stand there ("headers" and "event_readers" are fixed);
 * ended by a NULL. */
extern const char *const limit_names[];

struct limit_met {
  const char *name; /* of limit_names; NULL: none */
  int64_t value;    /* bytes, milliseconds or a count, as the name says */
};

/* The one of limit_names; NULL: there is none. */
const char *limit_name_find(const char *text);

#endif
