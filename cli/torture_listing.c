/* See torture_listing.h. */
#include "cli/torture_listing.h"

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
  bool *is_listed; /* of the index, less the round's first */
  bool is_over;    /* older ones are of another round */
};

static enum told told_by(const json_t *transaction) {
  const char *outcome = member_text(transaction, "outcome", "");
  if (strcmp(outcome, "committed") == 0) return TOLD_COMMITTED;
  return strcmp(outcome, "aborted") == 0 ? TOLD_ABORTED : TOLD_NOTHING;
}

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

static void look_at(struct walk *walk, const json_t *transaction) {
  static const char *const words[] = {"nothing", "committed", "aborted"};
  struct torture *t = walk->t;
  const char *label = member_text(transaction, "label", "");
  int64_t index = transfer_label_index(&t->source, label);
  if (index < t->first) {
    walk->is_over = index >= 0;
    return;
  }
  if (index >= (int64_t)t->first + walk->begun) return;
  enum told told = load_record(t->load, (unsigned)index)->told, listed = told_by(transaction);
  walk->is_listed[index - t->first] = true;
  if (listed == told && is_whole(transaction, told)) return;
  char *text = json_dumps(transaction, JSON_COMPACT);
  torture_violation(t, "transfer %" PRId64 ": told %s, but listed as %.300s", index, words[told],
                    text ? text : "?");
  free(text);
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
    if (told != (enum told)t->told[index])
      torture_violation(t, "transfer %u: its outcome is told otherwise when asked again", index);
  }
  return ERR_OK;
}
