/* What a session keeps prepared on the server: statements that come again are parsed once a connection,
 * and planned as often as the server finds it good (plan_cache_mode). And how a session is made clean
 * without losing them.
 *
 * What is kept is found by its text, all of it. The server must do with a kept statement what it would do
 * with the same text sent anew, or refuse it loudly:
 *
 *  1. It is kept only when its text is `statement_is_lasting()`: an INSERT, UPDATE, DELETE, MERGE or WITH
 *     that has no literal in quotes. A literal becomes a value when the text is parsed, by the TimeZone,
 *     the DateStyle and, for 'now', the clock of that moment.
 *  2. It gives no rows. One that does may be refused after an ALTER TABLE ("cached plan must not change
 *     result type"), where the same text sent anew would not.
 *  3. Parameters get their types when the text is parsed. Should a column become another type later, the
 *     value passes through the former type. So these types are text, integers and numeric only, and the
 *     two latter take only values written as the server itself would write them: of these every type makes
 *     the same, whichever way they come. Any other value sends the text anew.
 *  4. What else a text means, names, search_path, rights, the server itself looks at again.
 *
 * A change of an integer column to a wider type may be met by a refusal (22003) of a value that fits now,
 * once a connection: after any refusal the session forgets everything.
 *
 * Our own statements name what they use and take no part in this: 2 to 4 cannot happen to them.
 *
 * Invariants:
 *  5. A branch can prepare and deallocate statements, in a function, too, and even take our names. What the
 *     server has is counted before the next branch gets the session: it has as many as we know, and
 *     none that was made by SQL. Else DISCARD ALL.
 *  6. Names are never used twice in a session. Whatever is sent behind an error is skipped by the server,
 *     a Parse, too; then comes DISCARD ALL, and we forget as it is sent.
 * Limits: PLANS_MAX statements, of at most PLAN_TEXT_MAX bytes and PLAN_PARAMS_MAX parameters.
 */
#include "adapters/postgres.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/postgres_sql.h"

enum {
  PLANS_MAX = 32,
  PLAN_TEXT_MAX = 4096,
  PLAN_PARAMS_MAX = 32,
  PLAN_IDLE_MAX = 4 * PLANS_MAX, /* other looks since it was used last: it may make room */
  SEEN_MAX = 64,
  NAME_SIZE = 32
};

enum plan_state {
  PLAN_UNFIT,   /* kept, and not used */
  PLAN_UNKNOWN, /* what it takes and gives has not been told yet */
  PLAN_READY
};

struct plan {
  char *sql; /* NULL: free */
  uint64_t hash, used_at;
  unsigned number;
  enum plan_state state;
  size_t param_count;
  enum value_form forms[PLAN_PARAMS_MAX];
};

struct plans {
  struct plan plans[PLANS_MAX];
  size_t count;
  unsigned last_number;    /* of all times */
  uint64_t looks;          /* a clock for used_at */
  uint64_t seen[SEEN_MAX]; /* hashes of texts that came once; a ring */
  size_t seen_next;
};

/* ---- the table ------------------------------------------------------------------------------- */

static uint64_t hash_of(const char *sql, size_t length) {
  uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
  for (size_t i = 0; i < length; i++)
    hash = (hash ^ (unsigned char)sql[i]) * UINT64_C(1099511628211);
  return hash;
}

static struct plan *find(struct plans *plans, const char *sql, uint64_t hash) {
  for (size_t i = 0; i < PLANS_MAX; i++) {
    struct plan *plan = &plans->plans[i];
    if (plan->sql && plan->hash == hash && strcmp(plan->sql, sql) == 0) return plan;
  }
  return NULL;
}

/* What comes once is not worth more than one look. */
static bool was_seen(struct plans *plans, uint64_t hash) {
  for (size_t i = 0; i < SEEN_MAX; i++)
    if (plans->seen[i] == hash) return true;
  plans->seen[plans->seen_next] = hash;
  plans->seen_next = (plans->seen_next + 1) % SEEN_MAX;
  return false;
}

static void name_of(const struct plan *plan, char name[NAME_SIZE]) {
  (void)snprintf(name, NAME_SIZE, "assent_%u", plan->number);
}

static void drop(struct plans *plans, struct plan *plan) {
  free(plan->sql);
  plan->sql = NULL;
  plans->count--;
}

static struct plan *oldest(struct plans *plans) {
  struct plan *oldest = NULL;
  for (size_t i = 0; i < PLANS_MAX; i++) {
    struct plan *plan = &plans->plans[i];
    if (!plan->sql) return plan;
    if (!oldest || plan->used_at < oldest->used_at) oldest = plan;
  }
  return oldest;
}

/* NULL: all are in use. */
static struct plan *make_room(struct session *s) {
  struct plans *plans = s->plans;
  struct plan *plan = oldest(plans);
  if (!plan->sql) return plan;
  if (plans->looks - plan->used_at < PLAN_IDLE_MAX) return NULL;
  char name[NAME_SIZE], sql[NAME_SIZE + 16];
  name_of(plan, name);
  (void)snprintf(sql, sizeof sql, "DEALLOCATE %s", name);
  wire_query(s, STEP_SETTING, 0, sql, 0, NULL);
  drop(plans, plan);
  return plan;
}

void plans_forget(struct session *s) {
  if (!s->plans) return;
  for (size_t i = 0; i < PLANS_MAX; i++)
    if (s->plans->plans[i].sql) drop(s->plans, &s->plans->plans[i]);
  memset(s->plans->seen, 0, sizeof s->plans->seen);
}

void plans_free(struct session *s) {
  plans_forget(s);
  free(s->plans);
  s->plans = NULL;
}

/* ---- using ----------------------------------------------------------------------------------- */

/* Sends the text to be kept; in the same flush it may be used as if it were sent anew. */
static void keep(struct session *s, struct plan *plan, enum step_kind kind, unsigned index,
                 const char *sql, uint64_t hash) {
  struct plans *plans = s->plans;
  bool own = kind != STEP_STATEMENT;
  char name[NAME_SIZE];
  *plan = (struct plan){.sql = strdup(sql),
                        .hash = hash,
                        .used_at = plans->looks,
                        .number = ++plans->last_number,
                        .state = own ? PLAN_READY : PLAN_UNKNOWN};
  assert(plan->sql);
  plans->count++;
  name_of(plan, name);
  wire_parse(s, own ? STEP_SETTING : STEP_PLAN, index, name, sql);
  if (!own) wire_describe(s, STEP_DESCRIBE, plan->number, name);
}

void plans_described(struct session *s, unsigned number, PGresult *result) {
  for (size_t i = 0; s->plans && i < PLANS_MAX; i++) {
    struct plan *plan = &s->plans->plans[i];
    if (!plan->sql || plan->number != number) continue;
    int count = PQnparams(result);
    plan->state = PLAN_UNFIT;
    if (result_is_error(result) || PQnfields(result) > 0 || count > PLAN_PARAMS_MAX) return;
    for (int k = 0; k < count; k++)
      if (!value_form_of(PQparamtype(result, k), &plan->forms[k])) return;
    plan->param_count = (size_t)count;
    plan->state = PLAN_READY;
  }
}

static bool takes(const struct plan *plan, enum step_kind kind, size_t param_count,
                  const char *const *params) {
  if (plan->state != PLAN_READY) return false;
  if (kind != STEP_STATEMENT) return true;
  if (plan->param_count != param_count) return false;
  for (size_t i = 0; i < param_count; i++)
    if (params[i] && !value_is_plain(plan->forms[i], params[i])) return false;
  return true;
}

/* The name it is kept under; false: send the text. */
static bool look(struct session *s, enum step_kind kind, unsigned index, const char *sql,
                 size_t param_count, const char *const *params, char name[NAME_SIZE]) {
  size_t length = strlen(sql);
  if (s->state == SESSION_BROKEN || s->tainted || length > PLAN_TEXT_MAX) return false;
  if (kind == STEP_STATEMENT && !statement_is_lasting(sql)) return false;
  if (!s->plans) s->plans = calloc(1, sizeof *s->plans);
  assert(s->plans);
  uint64_t hash = hash_of(sql, length);
  struct plan *plan = find(s->plans, sql, hash);
  s->plans->looks++;
  if (plan) {
    plan->used_at = s->plans->looks;
    if (!takes(plan, kind, param_count, params)) return false;
  } else {
    if (!was_seen(s->plans, hash)) return false;
    plan = make_room(s);
    if (!plan) return false;
    keep(s, plan, kind, index, sql, hash);
  }
  name_of(plan, name);
  return true;
}

void plans_query(struct session *s, enum step_kind kind, unsigned index, const char *sql,
                 size_t param_count, const char *const *params) {
  char name[NAME_SIZE];
  if (look(s, kind, index, sql, param_count, params, name))
    wire_execute(s, kind, index, name, param_count, params);
  else
    wire_query(s, kind, index, sql, param_count, params);
}

/* ---- between two branches -------------------------------------------------------------------- */

void plans_discard_all(struct session *s) {
  plans_forget(s);
  s->tainted = false;
  wire_query(s, STEP_RESET, 0, "DISCARD ALL", 0, NULL);
}

/* What DISCARD ALL does, but for the end of prepared statements; who is in force is looked at, as nearly
 * nobody changes it. Of the rest PREPARE TRANSACTION leaves nothing to do: it refuses a transaction that has
 * touched temporary tables, has a cursor WITH HOLD, or has said LISTEN. */
void plans_reset(struct session *s) {
  plans_query(s, STEP_SETTING, 0, "RESET ALL", 0, NULL);
  plans_query(s, STEP_SETTING, 0, "DISCARD SEQUENCES", 0, NULL);
  plans_query(s, STEP_LOOK, 0,
              "SELECT pg_catalog.pg_advisory_unlock_all(), pg_catalog.count(*), "
              "pg_catalog.count(*) FILTER (WHERE from_sql), current_user, session_user "
              "FROM pg_catalog.pg_prepared_statement()",
              0, NULL);
}

bool plans_are_clean(const struct session *s, PGresult *result) {
  size_t known = s->plans ? s->plans->count : 0;
  return PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 &&
         strtoull(PQgetvalue(result, 0, 1), NULL, 10) == known &&
         strcmp(PQgetvalue(result, 0, 2), "0") == 0 &&
         strcmp(PQgetvalue(result, 0, 3), s->role) == 0 &&
         strcmp(PQgetvalue(result, 0, 4), s->session_user) == 0;
}
