/* See keys.h.
 *
 * Invariants
 *  1. From the first request with a key to the end of its transaction there is one claim of it, and so
 *     one transaction. It is made before the log is asked, and goes when the log has been handed all it
 *     will know: who asks the log afterwards finds that.
 *  2. A claim is looked up (no transaction yet, others wait with it), or running (the first request has
 *     no answer), or answered.
 *  3. What is told of a claim that is answered (other than 202) is in the log, is handed to it with the
 *     decision, or is 201: then, until the decision, only in memory. A crash takes the transaction, too.
 */
#include "coordinator/keys.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "coordinator/internal.h"

/* Who waits for the look-up. */
struct key_asker {
  char fingerprint[FINGERPRINT_SIZE];
  key_fn fn;
  void *data;
  struct key_asker *prev, *next;
};

struct key_claim {
  struct coordinator *coordinator;
  char name_space[KEY_NAMESPACE_MAX + 1], name[KEY_NAME_MAX + 1];
  char fingerprint[FINGERPRINT_SIZE];
  struct transaction *transaction; /* NULL: looked up, or being begun */
  struct key_asker *askers;        /* while it is looked up */
  bool answered;                   /* perhaps with 202 */
  int status;                      /* of the answer that is kept; 0: none */
  char *body;
  /* An answer on its way to the disk. */
  int status_to_be;
  char *body_to_be;
  key_kept_fn kept;
  void *data;
  UT_hash_handle hh;
  char id[]; /* "name space\nname" */
};

static void *allocate(size_t size) {
  void *memory = calloc(1, size);
  if (!memory) abort();
  return memory;
}

/* ---- claims ----------------------------------------------------------------------------------- */

static void id_format(const struct key_id *id, char *out, size_t size) {
  int length = snprintf(out, size, "%s\n%s", id->name_space, id->name);
  assert(length > 0 && (size_t)length < size);
}

enum { ID_SIZE = KEY_NAMESPACE_MAX + KEY_NAME_MAX + 2 };

static struct key_claim *claim_find(struct coordinator *c, const struct key_id *id) {
  char text[ID_SIZE];
  struct key_claim *claim;
  id_format(id, text, sizeof text);
  HASH_FIND_STR(c->claims, text, claim);
  return claim;
}

static struct key_claim *claim_new(struct coordinator *c, const struct key_id *id) {
  struct key_claim *claim = allocate(sizeof *claim + ID_SIZE);
  claim->coordinator = c;
  (void)snprintf(claim->name_space, sizeof claim->name_space, "%s", id->name_space);
  (void)snprintf(claim->name, sizeof claim->name, "%s", id->name);
  (void)snprintf(claim->fingerprint, sizeof claim->fingerprint, "%s", id->fingerprint);
  id_format(id, claim->id, ID_SIZE);
  HASH_ADD_STR(c->claims, id, claim);
  return claim;
}

void key_claim_drop(struct key_claim *claim) {
  struct key_asker *asker, *next;
  HASH_DEL(claim->coordinator->claims, claim);
  if (claim->transaction) claim->transaction->claim = NULL;
  DL_FOREACH_SAFE(claim->askers, asker, next) {
    free(asker->data);
    free(asker);
  }
  free(claim->data);
  free(claim->body_to_be);
  free(claim->body);
  free(claim);
}

void key_claim_attach(struct key_claim *claim, struct transaction *t) {
  assert(!claim->transaction && !t->claim);
  claim->transaction = t;
  t->claim = claim;
}

struct key_claim *transaction_claim(const struct transaction *t) {
  return t->claim;
}

void keys_free(struct coordinator *c) {
  struct key_claim *claim, *next;
  HASH_ITER(hh, c->claims, claim, next) key_claim_drop(claim);
}

/* ---- asking ----------------------------------------------------------------------------------- */

/* An answer that says less than is known by now: a branch has ended against the decision since. */
static bool is_out_of_date(int status, const struct transaction *live,
                           const struct wal_record *record) {
  enum wal_outcome outcome = live     ? transaction_outcome(live)
                             : record ? record->outcome
                                      : WAL_OUTCOME_NONE;
  return outcome == WAL_OUTCOME_MIXED && status != 201;
}

static struct key_found found_in_memory(struct key_claim *claim, const char *fingerprint) {
  struct key_found found = {.news = KEY_RUNNING, .transaction = claim->transaction};
  if (claim->transaction) found.txid = &claim->transaction->id;
  bool live = claim->answered && !claim->kept;
  if (strcmp(claim->fingerprint, fingerprint) != 0) {
    found.news = KEY_REUSED;
  } else if (claim->status != 0 && !is_out_of_date(claim->status, claim->transaction, NULL)) {
    found.news = KEY_ANSWERED;
    found.status = claim->status;
    found.body = claim->body;
  } else if (live) {
    found.news = KEY_LIVE;
  }
  return found;
}

/* Of a transaction that was decided in a former life: as if its request had come in this one. */
static void adopt(struct transaction *t, const struct key_id *id, const char *results) {
  struct key_claim *claim = claim_new(t->coordinator, id);
  claim->answered = true;
  key_claim_attach(claim, t);
  for (unsigned branch = 1; branch <= t->core.branch_count; branch++)
    transaction_set_results(t, branch, key_results_of(results, branch));
}

static struct key_found found_in_log(struct coordinator *c, const struct wal_key *key,
                                     const struct wal_record *record, const char *fingerprint) {
  struct transaction *live = transaction_find(c, &key->txid);
  struct key_found found = {.key = key, .record = record, .transaction = live, .txid = &key->txid};
  if (strcmp(key->fingerprint, fingerprint) != 0) {
    found.news = KEY_REUSED;
  } else if (key->status != 0 && !is_out_of_date(key->status, live, record)) {
    found.news = KEY_ANSWERED;
    found.status = key->status;
    found.body = key->body;
  } else if (live) {
    const struct key_id id = {key->name_space, key->name, key->fingerprint};
    if (!live->claim) adopt(live, &id, key->results);
    return found_in_memory(live->claim, fingerprint);
  } else if (record) {
    found.news = KEY_RECORDED;
  }
  return found;
}

static void looked_up(void *data, const struct wal_key *key, const struct wal_record *record,
                      const struct error *err) {
  struct key_claim *claim = data;
  struct coordinator *c = claim->coordinator;
  bool unfinished = record && record->kind != WAL_KIND_ABORTED && record->applied_at_us == 0;
  if (unfinished && !transaction_find(c, &record->txid)) {
    /* It has ended while the log was read; and the log has been handed that. */
    wal_look_up_key(c->wal, claim->name_space, claim->name, looked_up, claim);
    return;
  }
  struct key_asker *asker, *next, *askers = claim->askers;
  char fingerprint[FINGERPRINT_SIZE];
  bool is_new = !err && !key;
  memcpy(fingerprint, claim->fingerprint, sizeof fingerprint);
  claim->askers = NULL;
  if (!is_new) key_claim_drop(claim);
  DL_FOREACH_SAFE(askers, asker, next) {
    struct key_found found = {.news = KEY_UNKNOWABLE, .err = err};
    if (key && !err)
      found = found_in_log(c, key, record, asker->fingerprint);
    else if (is_new && asker == askers)
      found = (struct key_found){.news = KEY_NEW, .claim = claim};
    else if (is_new) /* the first one may have dropped the claim by now */
      found.news = strcmp(fingerprint, asker->fingerprint) == 0 ? KEY_RUNNING : KEY_REUSED;
    asker->fn(asker->data, &found);
  }
  DL_FOREACH_SAFE(askers, asker, next) free(asker);
}

static void ask_with(struct key_claim *claim, const struct key_id *id, key_fn fn, void *data) {
  struct key_asker *asker = allocate(sizeof *asker);
  (void)snprintf(asker->fingerprint, sizeof asker->fingerprint, "%s", id->fingerprint);
  asker->fn = fn;
  asker->data = data;
  DL_APPEND(claim->askers, asker);
}

void keys_ask(struct coordinator *c, const struct key_id *id, key_fn fn, void *data) {
  struct key_claim *claim = claim_find(c, id);
  if (!claim) {
    claim = claim_new(c, id);
    ask_with(claim, id, fn, data);
    wal_look_up_key(c->wal, id->name_space, id->name, looked_up, claim);
  } else if (claim->askers) {
    ask_with(claim, id, fn, data);
  } else {
    const struct key_found found = found_in_memory(claim, id->fingerprint);
    fn(data, &found);
  }
}

/* ---- answering -------------------------------------------------------------------------------- */

static struct wal_key key_of(const struct key_claim *claim) {
  return (struct wal_key){.name_space = claim->name_space,
                          .name = claim->name,
                          .fingerprint = claim->fingerprint,
                          .txid = claim->transaction->id,
                          .at_us = clock_wall_us(),
                          .status = claim->status,
                          .body = claim->body};
}

static void keep(struct key_claim *claim, int status, char *body) {
  free(claim->body);
  claim->body = body;
  claim->status = status;
  claim->answered = true;
}

static void remembered(void *data, enum wal_result result, const struct error *err) {
  struct key_claim *claim = data;
  struct transaction *t = claim->transaction;
  key_kept_fn kept = claim->kept;
  void *told = claim->data;
  (void)err;
  if (result == WAL_UNKNOWN) claim->coordinator->options.halt("the decision log failed");
  claim->data = NULL;
  claim->kept = NULL;
  if (result == WAL_DURABLE) {
    keep(claim, claim->status_to_be, claim->body_to_be);
    claim->body_to_be = NULL;
  } else {
    key_claim_drop(claim);
  }
  kept(told, result == WAL_DURABLE);
  transaction_release(t);
}

bool key_claim_is_busy(const struct key_claim *claim) {
  return claim->kept != NULL;
}

void key_claim_answer(struct key_claim *claim, int status, const char *body, key_kept_fn fn,
                      void *data) {
  struct transaction *t = claim->transaction;
  char *copy = body && status != 202 ? strdup(body) : NULL;
  assert(!claim->kept);
  if (!copy) { /* for want of memory, too: then the next one is told what is known */
    claim->answered = true;
    fn(data, true);
    return;
  }
  if (status == 201 || t->logged) {
    keep(claim, status, copy);
    const struct wal_key key = key_of(claim);
    if (t->logged) wal_answer(t->coordinator->wal, &key);
    fn(data, true);
    return;
  }
  claim->status_to_be = status;
  claim->body_to_be = copy;
  claim->kept = fn;
  claim->data = data;
  struct wal_key key = key_of(claim);
  key.status = status;
  key.body = copy;
  transaction_hold(t);
  wal_remember(t->coordinator->wal, &key, remembered, claim);
}

void key_answer(struct coordinator *c, const struct wal_key *key, int status, const char *body) {
  if (status == 202 || !body) return;
  struct wal_key answered = *key;
  answered.at_us = clock_wall_us();
  answered.status = status;
  answered.body = body;
  answered.results = NULL;
  wal_answer(c->wal, &answered);
}

/* ---- for the log ------------------------------------------------------------------------------ */

/* A line for each branch; JSON has no need of a line's end. */
static char *join_results(const struct transaction *t) {
  size_t size = 0;
  for (unsigned i = 0; i < t->core.branch_count; i++)
    size += (t->branches[i]->results ? strlen(t->branches[i]->results) : 0) + 1;
  if (size > KEY_RESULTS_MAX) return NULL;
  char *joined = allocate(size + 1), *at = joined;
  for (unsigned i = 0; i < t->core.branch_count; i++) {
    const char *from = t->branches[i]->results ? t->branches[i]->results : "";
    for (; *from; from++)
      *at++ = *from == '\n' ? ' ' : *from;
    *at++ = '\n';
  }
  return joined;
}

bool key_fill(const struct transaction *t, struct wal_key *out, char **results) {
  *results = NULL;
  if (!t->claim) return false;
  *out = key_of(t->claim);
  if (out->status == 0) *results = join_results(t);
  out->results = *results;
  return true;
}

char *key_results_of(const char *results, unsigned id) {
  for (unsigned i = 1; results && *results; i++) {
    size_t length = strcspn(results, "\n");
    if (i == id) {
      char *copy = length > 0 ? strndup(results, length) : NULL;
      if (length > 0 && !copy) abort();
      return copy;
    }
    results += length + (results[length] != '\0');
  }
  return NULL;
}
