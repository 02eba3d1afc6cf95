/* See torture_listing.h. */
#include "cli/torture_listing.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/seed.h"
#include "common/http_client.h"
#include "common/json.h"

enum { CALL_TIMEOUT_MS = 10000, URL_SIZE = 512, ASK_AGAIN = 20 };

static enum error_code get(struct torture *t, const char *query, json_t **out, struct error *err) {
  char url[URL_SIZE];
  struct answer answer = {0};
  size_t length = 0;
  (void)snprintf(url, sizeof url, "%s/v1/transactions?%s", stage_url(t->stage), query);
  enum error_code code = http_caller_call(t->caller, "GET", url, NULL, CALL_TIMEOUT_MS,
                                          &answer.status, &answer.text, &length, err);
  if (code != ERR_OK) return code;
  *out = json_loadb(answer.text, length, 0, NULL);
  if (answer.status != 200 || !json_is_array(json_object_get(*out, "transactions"))) {
    json_decref(*out);
    *out = NULL;
    code = error_set(err, ERR_INVALID, "GET %s: %d: %.200s", url, answer.status, answer.text);
  }
  answer_close(&answer);
  return code;
}

enum error_code listing_undecided(struct torture *t, int64_t *count, struct error *err) {
  static const char *const states[] = {"open", "preparing", "committing", "aborting"};
  *count = 0;
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
    char query[64];
    json_t *body;
    (void)snprintf(query, sizeof query, "limit=500&state=%s", states[i]);
    enum error_code code = get(t, query, &body, err);
    if (code != ERR_OK) return code;
    *count += (int64_t)json_array_size(json_object_get(body, "transactions"));
    json_decref(body);
  }
  return ERR_OK;
}

void listing_tell(struct torture *t, unsigned index) {
  char label[TRANSFER_LABEL_SIZE], query[64];
  json_t *body = NULL;
  struct error err = {0};
  transfer_label(&t->source, index, label);
  (void)snprintf(query, sizeof query, "label=%s", label);
  (void)!get(t, query, &body, &err);
  char *text = body ? json_dumps(json_object_get(body, "transactions"), JSON_COMPACT) : NULL;
  (void)fprintf(stderr, "%s: the coordinator's account: %s\n", label, text ? text : err.text);
  free(text);
  json_decref(body);
}

/* ---- the round's ------------------------------------------------------------------------------- */

struct walk {
  struct torture *t;
  unsigned begun;
  /* One of these, by the index less the round's first: what is listed, to be judged later; or that it is,
   * and it is compared at once. */
  struct listed *listed;
  bool *is_listed;
  bool is_over; /* older ones are of another round */
};

/* Each branch has ended as the whole. */
static bool is_whole(const json_t *transaction, enum told told) {
  size_t i;
  const json_t *branch;
  const char *wanted = told == TOLD_COMMITTED ? "committed" : "aborted";
  json_array_foreach(json_object_get(transaction, "branches"), i, branch) {
    const char *state = member_text(branch, "state", "");
    if (strcmp(state, wanted) != 0 && strcmp(state, "read_only") != 0) return false;
  }
  return true;
}

static int bank_of(const struct torture *t, const json_t *branch) {
  const char *name = member_text(branch, "participant", "");
  for (int i = 0; i < BANKS; i++)
    if (strcmp(name, stage_bank_name(t->stage, i)) == 0) return i;
  return -1;
}

static void take_down(const struct torture *t, const json_t *transaction, struct listed *out) {
  size_t i;
  const json_t *branch;
  *out = (struct listed){.is_listed = true, .outcome = load_outcome(transaction)};
  json_array_foreach(json_object_get(transaction, "branches"), i, branch) {
    const char *state = member_text(branch, "state", "");
    int bank = bank_of(t, branch);
    if (bank < 0) continue;
    if (strcmp(state, "committed") == 0) out->branches[bank] = BRANCH_TOLD_COMMITTED;
    if (strcmp(state, "aborted") == 0) out->branches[bank] = BRANCH_TOLD_ABORTED;
  }
}

static void compare(struct torture *t, unsigned index, const json_t *transaction) {
  enum told told = load_record(t->load, index)->told;
  if (load_outcome(transaction) == told && is_whole(transaction, told)) return;
  char *text = json_dumps(transaction, JSON_COMPACT);
  torture_violation(t, "transfer %u: told %s, but listed as %.300s", index, told_name(told),
                    text ? text : "?");
  free(text);
}

static void look_at(struct walk *walk, const json_t *transaction) {
  struct torture *t = walk->t;
  const char *label = member_text(transaction, "label", "");
  int64_t index = transfer_label_index(&t->source, label);
  if (index < t->first) {
    walk->is_over = index >= 0;
    return;
  }
  if (index >= (int64_t)t->first + walk->begun) return;
  if (walk->listed) {
    take_down(t, transaction, &walk->listed[index - t->first]);
    return;
  }
  assert(walk->is_listed);
  walk->is_listed[index - t->first] = true;
  compare(t, (unsigned)index, transaction);
}

static enum error_code look_at_page(struct walk *walk, char *cursor, size_t cursor_size,
                                    struct error *err) {
  char query[URL_SIZE / 2];
  json_t *body;
  size_t i;
  const json_t *transaction;
  (void)snprintf(query, sizeof query, "limit=500%s%s", cursor[0] ? "&cursor=" : "", cursor);
  enum error_code code = get(walk->t, query, &body, err);
  if (code != ERR_OK) return code;
  json_array_foreach(json_object_get(body, "transactions"), i, transaction) {
    if (!walk->is_over) look_at(walk, transaction);
  }
  (void)snprintf(cursor, cursor_size, "%s", member_text(body, "next_cursor", ""));
  if (!cursor[0]) walk->is_over = true;
  json_decref(body);
  return ERR_OK;
}

enum error_code listing_check(struct torture *t, struct error *err) {
  struct walk walk = {.t = t, .begun = load_begun(t->load)};
  char cursor[128] = "";
  enum error_code code = ERR_OK;
  walk.is_listed = calloc(walk.begun + 1, sizeof *walk.is_listed);
  if (!walk.is_listed) return error_set(err, ERR_MEMORY, "out of memory");
  while (code == ERR_OK && !walk.is_over)
    code = look_at_page(&walk, cursor, sizeof cursor, err);
  for (unsigned i = 0; code == ERR_OK && i < walk.begun; i++)
    if (!walk.is_listed[i] && load_record(t->load, t->first + i)->told == TOLD_COMMITTED)
      torture_violation(t, "transfer %u: told committed, but not listed", t->first + i);
  free(walk.is_listed);
  return code;
}

enum error_code listing_read(struct torture *t, struct listed *out, struct error *err) {
  struct walk walk = {.t = t, .listed = out, .begun = load_begun(t->load)};
  char cursor[128] = "";
  enum error_code code = ERR_OK;
  while (code == ERR_OK && !walk.is_over)
    code = look_at_page(&walk, cursor, sizeof cursor, err);
  return code;
}

/* ---- the operator's part ----------------------------------------------------------------------- */

/* A refusal is no error: the coordinator has found it out itself meanwhile, or is asked again. */
static enum error_code say(struct torture *t, const char *id, int64_t branch, bool is_there,
                           unsigned *count, struct error *err) {
  char url[URL_SIZE], body[160];
  struct answer answer = {0};
  size_t length = 0;
  (void)snprintf(url, sizeof url, "%s/v1/transactions/%s/resolve", stage_url(t->stage), id);
  (void)snprintf(body, sizeof body,
                 "{\"branch\":%" PRId64 ",\"outcome\":\"%s\",\"reason\":\"its ledger %s it\"}",
                 branch, is_there ? "committed" : "aborted", is_there ? "has" : "lacks");
  enum error_code code = http_caller_call(t->caller, "POST", url, body, CALL_TIMEOUT_MS,
                                          &answer.status, &answer.text, &length, err);
  if (code == ERR_OK) *count += answer.status == 200;
  answer_close(&answer);
  return code;
}

static enum error_code resolve_one(struct torture *t, const json_t *transaction,
                                   listing_look_fn look, unsigned *count, struct error *err) {
  const char *label = member_text(transaction, "label", "");
  enum error_code code = ERR_OK;
  size_t i;
  const json_t *branch;
  json_array_foreach(json_object_get(transaction, "branches"), i, branch) {
    int bank = bank_of(t, branch);
    bool is_there = false;
    if (code != ERR_OK || bank < 0 || strcmp(member_text(branch, "state", ""), "unknown") != 0)
      continue;
    code = look(t, bank, label, &is_there, err);
    if (code == ERR_OK)
      code = say(t, member_text(transaction, "id", ""), member_integer(branch, "id", 0), is_there,
                 count, err);
  }
  return code;
}

enum error_code listing_resolve(struct torture *t, listing_look_fn look, unsigned *count,
                                struct error *err) {
  static const char *const states[] = {"preparing", "committing", "aborting"};
  enum error_code code = ERR_OK;
  *count = 0;
  for (size_t n = 0; code == ERR_OK && n < sizeof states / sizeof states[0]; n++) {
    char query[64];
    size_t i;
    json_t *body;
    const json_t *transaction;
    (void)snprintf(query, sizeof query, "limit=500&state=%s", states[n]);
    code = get(t, query, &body, err);
    if (code != ERR_OK) return code;
    json_array_foreach(json_object_get(body, "transactions"), i, transaction) {
      if (code == ERR_OK) code = resolve_one(t, transaction, look, count, err);
    }
    json_decref(body);
  }
  return code;
}

/* ---- earlier ones ------------------------------------------------------------------------------ */

enum error_code listing_ask_again(struct torture *t, unsigned from, struct error *err) {
  struct seed_stream stream = seed_stream(t->source.seed, UINT64_MAX / 2 - t->findings.rounds);
  for (unsigned i = 0; i < ASK_AGAIN && from < t->first; i++) {
    unsigned index = from + seed_below(&stream, t->first - from);
    char label[TRANSFER_LABEL_SIZE];
    enum told told = TOLD_NOTHING;
    bool is_listed;
    transfer_label(&t->source, index, label);
    enum error_code code = load_ask(t->caller, stage_url(t->stage), label, &told, &is_listed, err);
    if (code != ERR_OK) return code;
    t->findings.asked_again++;
    if (told != torture_told(t, index))
      torture_violation(t, "transfer %u: its outcome is told otherwise when asked again", index);
  }
  return ERR_OK;
}
