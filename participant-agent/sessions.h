/* What the three users of sessions (pool, control, finisher) share: names and patience. */
#ifndef ASSENT_PARTICIPANT_AGENT_SESSIONS_H
#define ASSENT_PARTICIPANT_AGENT_SESSIONS_H

#include <stdint.h>

#include "adapters/adapter.h"
#include "common/id.h"

/* application_name = assent:<agent_id>:<incarnation>:<n>
 *                    7 + <=32 + 1 + 16 + 1 + 6 = at most 63 bytes, PostgreSQL's limit.
 * n is in base 36 and of fixed width, so that no name is another's prefix: a session's backend is
 * found, and ended, by its full name; those of former lives by "assent:<agent_id>:". */
enum { SESSION_NAME_SIZE = 64, AGENT_ID_SIZE = 33 };

struct session_names {
  char any_life[SESSION_NAME_SIZE];  /* "assent:<agent_id>:" */
  char this_life[SESSION_NAME_SIZE]; /* and the incarnation */
  uint64_t next;
};

void session_names_init(struct session_names *names, const char *agent_id, const char *incarnation);
void session_names_next(struct session_names *names, char out[SESSION_NAME_SIZE]);

/* Doubling pauses between attempts to connect, from 20 ms to 250 ms. Zero-initialised. */
struct backoff {
  uint64_t delay_ms; /* the last one; 0: the last attempt went well */
};
uint64_t backoff_next_ms(struct backoff *backoff);

/* A session was opened, to another server than the agent works with. */
typedef void (*session_stranger_fn)(void *data, const struct session_identity *identity);

/* Memory or the end: an agent that stops is recovered from, one that lost a request is not. */
void *must_allocate(size_t size);
void *must_resize(void *memory, size_t size); /* as realloc() */
char *must_copy(const char *text);            /* NULL gives NULL */
/* Copies what fits, always terminated. */
void copy_text(char *out, size_t size, const char *text);
void agent_cause_set(struct cause *cause, enum cause_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
