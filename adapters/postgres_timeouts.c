/* What a server itself keeps of a branch's time: a statement's, that of a wait for a lock, and how long
 * a transaction may be idle.
 *
 * A connection for branches asks for them when it is made, as the last branch wanted them, so that RESET
 * ALL and DISCARD ALL go back to them, and a branch that wants the same sends none. Any other one sends SET
 * LOCAL. Poolers may refuse such options of a connection, or take them and not heed them: the first refusal
 * is followed by an attempt without, and what the server says that it would go back to is what counts.
 * Source: PostgreSQL's documentation, "Client Connection Defaults", and libpq's on `options`.
 * Limits: where a service file may name options of its own nothing is asked for.
 */
#include "adapters/postgres.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEFT_DEFAULT_MS = 30000, TIMEOUTS_TEXT_SIZE = 200 };

/* Down to one of eight steps between two powers of 2: so branches that come after another want the same. */
static int64_t coarse_ms(int64_t ms) {
  int64_t step = 1;
  while (ms / step >= 16)
    step *= 2;
  return ms - ms % step;
}

/* A wait for a lock is given up a little before the statement's time is, so that it is called by its
 * name. The transaction's time is kept by the coordinator, whose abort comes first: what the server has
 * of it is for when nobody is left to say so, and may be up to an eighth more. */
struct timeouts timeouts_of(int64_t left_ms) {
  int64_t ms = left_ms < 10 ? 10 : left_ms > INT_MAX / 2 ? INT_MAX / 2 : left_ms;
  return (struct timeouts){.statement_ms = coarse_ms(ms + ms / 8),
                           .lock_ms = coarse_ms(ms - ms / 10)};
}

bool timeouts_equal(const struct timeouts *a, const struct timeouts *b) {
  return a->statement_ms == b->statement_ms && a->lock_ms == b->lock_ms;
}

/* ---- asking for them at connect --------------------------------------------------------------- */

static const char *own_options(const PQconninfoOption *options) {
  const char *own = getenv("PGOPTIONS");
  for (const PQconninfoOption *option = options; option->keyword; option++) {
    if (!option->val || !*option->val) continue;
    if (strcmp(option->keyword, "service") == 0) return NULL;
    if (strcmp(option->keyword, "options") == 0) own = option->val;
  }
  return getenv("PGSERVICE") ? NULL : own ? own : "";
}

void timeouts_init(struct postgres *postgres) {
  PQconninfoOption *options = PQconninfoParse(postgres->dsn, NULL);
  assert(options);
  const char *own = own_options(options);
  postgres->timeouts = timeouts_of(LEFT_DEFAULT_MS);
  postgres->own_options = own ? strdup(own) : NULL;
  assert(!own || postgres->own_options);
  PQconninfoFree(options);
}

void timeouts_ask(struct session *s) {
  struct postgres *postgres = s->postgres;
  s->timeouts_asked = s->timeouts = (struct timeouts){0};
  if (!s->runs_branches || !postgres->own_options) return;
  if (s->without_options || postgres->options_refused) return;
  s->timeouts_asked = postgres->timeouts;
}

bool timeouts_are_asked(const struct session *s) {
  return s->timeouts_asked.statement_ms > 0;
}

void timeouts_connected(struct session *s) {
  s->connected = true;
  if (timeouts_are_asked(s)) s->postgres->options_taken = true;
  if (s->without_options && !s->postgres->options_taken) s->postgres->options_refused = true;
}

/* Once a connection that asked has stood, it is not for that reason that another one fails. */
bool timeouts_may_have_failed(const struct session *s, const struct error *err) {
  return timeouts_are_asked(s) && !s->connected && !s->postgres->options_taken &&
         err->sys_errno != ETIMEDOUT;
}

char *timeouts_options(const struct session *s) {
  const struct timeouts *asked = &s->timeouts_asked;
  const char *own = s->postgres->own_options;
  if (!timeouts_are_asked(s)) return NULL;
  size_t size = strlen(own) + TIMEOUTS_TEXT_SIZE;
  char *text = malloc(size);
  assert(text);
  (void)snprintf(text, size,
                 "%s -c statement_timeout=%" PRId64 " -c lock_timeout=%" PRId64
                 " -c idle_in_transaction_session_timeout=%" PRId64,
                 own, asked->statement_ms, asked->lock_ms, asked->statement_ms);
  return text;
}

const char timeouts_query[] =
    "SELECT reset_val FROM pg_catalog.pg_settings WHERE name IN "
    "('idle_in_transaction_session_timeout', 'lock_timeout', 'statement_timeout') ORDER BY name";

/* An error, or other values: every branch sends its own. */
void timeouts_take(struct session *s, const PGresult *result) {
  const struct timeouts *asked = &s->timeouts_asked;
  const int64_t expected[] = {asked->statement_ms, asked->lock_ms, asked->statement_ms};
  if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 3) return;
  for (int i = 0; i < 3; i++)
    if (strtoll(PQgetvalue(result, i, 0), NULL, 10) != expected[i]) return;
  s->timeouts = *asked;
}
