/* See client.h. An errand is a small machine: each step sends one request, or prepares one branch, and
 * the answer leads to the next. The money an errand moves adds up to nothing.
 *
 *   one call:      POST (commit) -> done | by label | poll
 *   step by step:  POST -> [statement | enlist, prepare] for each branch -> commit | rollback | nothing
 *   both end in:   poll (GET by id) until the outcome is told, and some polls more, much later
 */
#include "tests/sim/client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/checks.h"
#include "tests/sim/client_internal.h"

#define BEGIN_TARGET "/v1/transactions"
enum { TARGET_SIZE = 96, REPEATS_MAX = 12, HURRIED_MAX = 4 };
enum {
  ANSWER_US = 12000000,
  REGRET_MAX_US = 15000,
  PAUSE_MIN_US = 1000,
  ATTEMPTS_MAX = 4,
  ASKED_MAX = 20
};
enum { START_SHORT_US = 50000, START_MAX_US = 3000000 };

static struct sim *sim_of(const struct errand *errand) {
  return errand->clients->options.sim;
}

/* ---- steps ------------------------------------------------------------------------------------ */

static void paused(void *data) {
  struct errand *errand = data;
  errand->pause = NULL;
  errand->next(errand);
}

static void later(struct errand *errand, uint64_t us, void (*next)(struct errand *errand)) {
  errand->next = next;
  errand->pause = sim_after(sim_of(errand), NULL, us, paused, errand);
}

static void soon(struct errand *errand, void (*next)(struct errand *errand)) {
  later(errand, sim_between(sim_of(errand), PAUSE_MIN_US, errand->clients->pause_max_us), next);
}

/* For a branch that is prepared late nothing is to be late before it. */
static void proceed(struct errand *errand, void (*next)(struct errand *errand)) {
  if (errand->prepares_late)
    later(errand, PAUSE_MIN_US, next);
  else
    soon(errand, next);
}

static struct net_request request_of(const char *method, const char *target,
                                     struct json_writer *body) {
  size_t length = 0;
  char *text = body ? json_writer_take(body, &length) : NULL;
  return (struct net_request){.address = "coordinator:7410",
                              .method = method,
                              .target = target,
                              .body = text,
                              .length = length,
                              .timeout_us = ANSWER_US};
}

static void ask(struct errand *errand, const char *method, const char *target,
                struct json_writer *body, bool once, http_client_fn fn) {
  struct clients *clients = errand->clients;
  struct net_request request = request_of(method, target, body);
  if (errand->keyed && strcmp(target, BEGIN_TARGET) == 0) request.key = errand->label;
  request.once = once;
  assert(!errand->exchange);
  errand->life = clients->options.coordinator->lives;
  errand->old_log = !clients->options.coordinator->rightful;
  errand->old_logs = clients->options.coordinator->old_logs;
  errand->exchange = network_call(clients->options.network, &request, fn, errand);
}

static void finish(struct errand *errand) {
  errand->done = true;
}

/* ---- what is told ----------------------------------------------------------------------------- */

/* While an old log is in its place, and nobody has refused it yet, the coordinator tells what that log
 * knows: it cannot know better. It may have come and gone since the request was sent. */
static bool is_from_right_log(const struct errand *errand) {
  const struct program *coordinator = errand->clients->options.coordinator;
  return !errand->old_log && coordinator->rightful && coordinator->old_logs == errand->old_logs;
}

static void note_unknown(struct errand *errand) {
  if (is_from_right_log(errand)) checks_told_nothing(errand->clients->options.checks, errand->txid);
}

/* A transaction object, wherever it stands in the answer. Notes what it says. */
static bool note_transaction(struct errand *errand, const json_t *answer) {
  const json_t *object = json_object_get(answer, "transaction");
  if (!object) object = answer;
  const char *id = json_string_value(json_object_get(object, "id"));
  const char *label = json_string_value(json_object_get(object, "label"));
  if (!id) return false;
  if (!errand->final && (!label || strcmp(label, errand->label) != 0)) {
    sim_violation(sim_of(errand), 4, "asked about %s, told about %s", errand->label,
                  label ? label : "another");
    return false;
  }
  (void)snprintf(errand->txid, sizeof errand->txid, "%s", id);
  if (errand->failing && !errand_reads_too_much(errand) &&
      errand_has(errand->involved & ~errand->external, errand->failing - 1))
    checks_hopeless(errand->clients->options.checks, id, errand->failing - 1);
  const char *outcome = json_string_value(json_object_get(object, "outcome"));
  struct told told = {.txid = id,
                      .state = json_string_value(json_object_get(object, "state")),
                      .outcome = outcome};
  const struct program *coordinator = errand->clients->options.coordinator;
  /* A request repeated with its key is told what it was told, whatever has come since. */
  if (coordinator->lives == errand->life && errand->repeats == 0) told.life = errand->life;
  if (is_from_right_log(errand)) checks_told(errand->clients->options.checks, &told);
  if (outcome) errand->settled = true;
  return true;
}

/* The answer as JSON; NULL: there is none that proves anything. Owner: json_decref(). */
static json_t *take_answer(struct errand *errand, const char *body, size_t length,
                           const struct error *err) {
  errand->exchange = NULL;
  return err ? NULL : json_parse(body, length, NULL);
}

/* ---- reading ---------------------------------------------------------------------------------- */

static void poll_again(struct errand *errand);
static void post(struct errand *errand);

static void look_later(struct errand *errand) {
  if (errand->prepares_twice && !errand->prepares_late) errand_prepare_again(errand);
  if (errand->told_id[0] && errand->repeats < REPEATS_MAX && errand->looks > 0) {
    errand->repeats = REPEATS_MAX; /* once, and whatever is answered */
    later(errand, sim_between(sim_of(errand), 1000, LATER_MAX_US), post);
    return;
  }
  if (errand->final || errand->looks == 0) {
    finish(errand);
    return;
  }
  errand->looks--;
  later(errand, sim_between(sim_of(errand), 1000, LATER_MAX_US), poll_again);
}

static void polled(void *data, int status, const char *body, size_t length,
                   const struct error *err) {
  struct errand *errand = data;
  json_t *answer = take_answer(errand, body, length, err);
  if (status == 404 && answer) {
    note_unknown(errand);
    errand->settled = true;
  } else if (answer && status == 200) {
    (void)note_transaction(errand, answer);
  }
  json_decref(answer);
  /* Some outcomes nobody can know any more (checks_is_excused() judges): no use in asking on. */
  if (sim_healed(sim_of(errand)) && answer) errand->asked++;
  if (errand->settled || (errand->final && answer) || errand->asked > ASKED_MAX)
    look_later(errand);
  else
    soon(errand, poll_again);
}

static void poll_again(struct errand *errand) {
  char target[128];
  (void)snprintf(target, sizeof target, "/v1/transactions/%s%s", errand->txid,
                 errand->final          ? ""
                 : errand->wait_decided ? "?wait=decided&timeout_ms=1000"
                                        : "?wait=applied&timeout_ms=1000");
  ask(errand, "GET", target, NULL, false, polled);
}

static void find_by_label(struct errand *errand);

static void found_by_label(void *data, int status, const char *body, size_t length,
                           const struct error *err) {
  struct errand *errand = data;
  json_t *answer = take_answer(errand, body, length, err);
  const json_t *list = status == 200 ? json_object_get(answer, "transactions") : NULL;
  bool known = list != NULL, found = false;
  if (json_array_size(list) > 0) found = note_transaction(errand, json_array_get(list, 0));
  json_decref(answer);
  if (found && errand->settled)
    look_later(errand);
  else if (found)
    soon(errand, poll_again);
  else if (known)
    finish(errand); /* it never was, or has been forgotten as aborted */
  else
    soon(errand, find_by_label);
}

static void find_by_label(struct errand *errand) {
  char target[128];
  (void)snprintf(target, sizeof target, "/v1/transactions?label=%s", errand->label);
  ask(errand, "GET", target, NULL, false, found_by_label);
}

/* It is not known what became of the last request. */
static void find_out(struct errand *errand) {
  if (errand->txid[0])
    soon(errand, poll_again);
  else
    soon(errand, find_by_label);
}

/* ---- the end of an errand: commit, rollback --------------------------------------------------- */

static void commit(struct errand *errand);
static void begin(struct errand *errand);

/* ---- the key of a request --------------------------------------------------------------------- */

/* Is the same POST sent again, for its key will tell? */
static bool repeats(struct errand *errand, int status, const json_t *answer) {
  const char *code = json_string_value(json_object_get(answer, "code"));
  bool running = code && strcmp(code, "key_in_progress") == 0;
  bool refused_again = status == 503 && errand->repeats > 0; /* says nothing of the first one */
  bool asks = !errand->txid[0] || errand->one_call;
  if (!errand->keyed || !asks || errand->repeats == REPEATS_MAX) return false;
  if (answer && !running && !refused_again) return false;
  errand->repeats++;
  soon(errand, post);
  return true;
}

/* What was told for a key for good is told for it ever after. */
static void check_told_id(struct errand *errand, int status) {
  if (!errand->keyed || !errand->one_call || !is_from_right_log(errand)) return;
  if (status != 200 && status != 409) return;
  if (errand->told_id[0] && strcmp(errand->told_id, errand->txid) != 0)
    sim_violation(sim_of(errand), 4, "for key %s %s was told, and now %s", errand->label,
                  errand->told_id, errand->txid);
  if (errand->settled) (void)snprintf(errand->told_id, TXID_SIZE, "%s", errand->txid);
}

static void try_again(struct errand *errand) {
  errand->txid[0] = '\0';
  errand->branch = 0;
  if (++errand->attempt == ATTEMPTS_MAX)
    finish(errand);
  else
    soon(errand, begin);
}

/* The answer to what ends the transaction. */
static void ended(void *data, int status, const char *body, size_t length,
                  const struct error *err) {
  struct errand *errand = data;
  json_t *answer = take_answer(errand, body, length, err);
  bool known = answer && (status == 200 || status == 202 || status == 409) &&
               note_transaction(errand, answer);
  bool again = repeats(errand, status, answer);
  json_decref(answer);
  if (known && !again) check_told_id(errand, status);
  if (again) return;
  if (known && errand->settled) {
    look_later(errand);
  } else if (answer && status == 503 && errand->one_call && errand->repeats == 0) {
    checks_told_refused(errand->clients->options.checks, errand->label);
    try_again(errand);
  } else if (answer && status == 404 && errand->txid[0]) {
    note_unknown(errand);
    finish(errand);
  } else if (answer && status >= 400 && status < 500 && errand->one_call) {
    finish(errand);
  } else if (!answer && !errand->one_call && errand->ending == END_COMMIT &&
             sim_random(sim_of(errand), 2) == 0) {
    soon(errand, commit); /* may be repeated */
  } else {
    find_out(errand);
  }
}

static void nobody_waits(void *data, int status, const char *body, size_t length,
                         const struct error *err) {
  struct errand *errand = data;
  (void)status;
  (void)body;
  (void)length;
  (void)err;
  errand->second = NULL;
}

static void write_rollback(struct json_writer *w, const struct errand *errand,
                           char target[TARGET_SIZE]) {
  (void)snprintf(target, TARGET_SIZE, "/v1/transactions/%s/rollback", errand->txid);
  json_writer_init(w);
  json_object_begin(w);
  json_object_end(w);
}

static void regret(void *data) {
  struct errand *errand = data;
  char target[TARGET_SIZE];
  struct json_writer w;
  errand->regret = NULL;
  write_rollback(&w, errand, target);
  struct net_request request = request_of("POST", target, &w);
  errand->second = network_call(errand->clients->options.network, &request, nobody_waits, errand);
}

static void commit(struct errand *errand) {
  char target[96];
  if (errand->changes_mind)
    errand->regret =
        sim_after(sim_of(errand), NULL, sim_random(sim_of(errand), REGRET_MAX_US), regret, errand);
  errand->changes_mind = false;
  if (errand->prepares_twice && !errand->prepares_late && !errand->again &&
      sim_random(sim_of(errand), 4) > 0)
    errand_prepare_soon(errand);
  (void)snprintf(target, sizeof target, "/v1/transactions/%s/commit", errand->txid);
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "wait");
  json_write_string(&w, errand->wait_decided ? "decided" : "applied");
  json_object_end(&w);
  ask(errand, "POST", target, &w, false, ended);
}

/* Whatever it was to come to: it is not committed any more. */
static void rollback(struct errand *errand) {
  char target[TARGET_SIZE];
  struct json_writer w;
  errand->ending = END_ROLLBACK;
  write_rollback(&w, errand, target);
  ask(errand, "POST", target, &w, false, ended);
}

/* ---- branches that the application prepares --------------------------------------------------- */

static void next_branch(struct errand *errand);

/* Whatever came out: the coordinator looks for itself. */
static void application_is_done(struct errand *errand) {
  next_branch(errand);
}

static void prepared(void *data, bool prepared) {
  struct errand *errand = data;
  (void)prepared;
  errand->preparing = false;
  if (!errand->dropped) soon(errand, application_is_done);
}

static void told_gid(struct errand *errand) {
  if (errand->prepares_late) {
    errand_prepare_late(errand);
    proceed(errand, next_branch);
    return;
  }
  errand->preparing = !errand->impatient;
  errand_prepare(errand, errand->branch - 1, errand->impatient ? NULL : prepared);
  if (errand->impatient) soon(errand, application_is_done);
}

static void enlisted(void *data, int status, const char *body, size_t length,
                     const struct error *err) {
  struct errand *errand = data;
  json_t *answer = take_answer(errand, body, length, err);
  const char *gid = json_string_value(json_object_get(answer, "gid"));
  if (status == 201 && gid) {
    checks_external(errand->clients->options.checks, errand->branch - 1, gid);
    (void)snprintf(errand->gids[errand->branch - 1], GID_SIZE, "%s", gid);
    told_gid(errand);
  } else if (answer && status == 503 && errand->prepares_late) {
    errand->branch--; /* nothing was done */
    soon(errand, next_branch);
  } else if (answer) {
    (void)note_transaction(errand, answer);
    find_out(errand);
  } else {
    soon(errand, rollback);
  }
  json_decref(answer);
}

static void enlist(struct errand *errand, unsigned database) {
  char target[96];
  (void)snprintf(target, sizeof target, "/v1/transactions/%s/branches", errand->txid);
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "participant");
  json_write_string(&w, database_name(database));
  json_object_end(&w);
  ask(errand, "POST", target, &w, false, enlisted);
}

/* ---- step by step ----------------------------------------------------------------------------- */

static void end_errand(struct errand *errand) {
  if (errand->ending == END_COMMIT)
    commit(errand);
  else if (errand->ending == END_ROLLBACK)
    rollback(errand);
  else
    later(errand, (uint64_t)errand->timeout_ms * 1000, poll_again);
}

static void statement_ran(void *data, int status, const char *body, size_t length,
                          const struct error *err) {
  struct errand *errand = data;
  json_t *answer = take_answer(errand, body, length, err);
  if (status == 200 && answer) {
    soon(errand, next_branch);
  } else if (answer && note_transaction(errand, answer)) {
    find_out(errand);
  } else {
    soon(errand, rollback); /* nobody knows whether it ran */
  }
  json_decref(answer);
}

static void run_statement(struct errand *errand, const struct move *move) {
  char target[96];
  (void)snprintf(target, sizeof target, "/v1/transactions/%s/statements", errand->txid);
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "participant");
  json_write_string(&w, database_name(move->database));
  errand_write_statement(&w, errand, move);
  json_object_end(&w);
  ask(errand, "POST", target, &w, true, statement_ran);
}

/* `branch` counts moves whose statements are sent; for a prepared branch it is the database from 1. */
static void next_branch(struct errand *errand) {
  unsigned databases = errand->clients->options.database_count;
  for (; errand->branch < databases; errand->branch++) {
    unsigned database = errand->branch;
    if (!errand_has(errand->external, database)) continue;
    errand->branch++;
    enlist(errand, database);
    return;
  }
  while (errand->branch < databases + errand->move_count) {
    const struct move *move = &errand->moves[errand->branch++ - databases];
    if (errand_has(errand->external, move->database)) continue;
    if (errand->statements_at_begin) continue;
    run_statement(errand, move);
    return;
  }
  if (errand->prepares_late)
    later(errand, sim_random(sim_of(errand), LATER_MAX_US), end_errand);
  else
    end_errand(errand);
}

static void begun(void *data, int status, const char *body, size_t length,
                  const struct error *err) {
  struct errand *errand = data;
  json_t *answer = take_answer(errand, body, length, err);
  if (repeats(errand, status, answer)) {
    json_decref(answer);
    return;
  }
  bool known = answer && (status == 201 || status == 409) && note_transaction(errand, answer);
  if (known && errand->settled)
    look_later(errand);
  else if (known)
    proceed(errand, next_branch);
  else if (answer && status == 503 && errand->repeats == 0) {
    checks_told_refused(errand->clients->options.checks, errand->label);
    try_again(errand);
  } else if (answer && status >= 400 && status < 500)
    finish(errand);
  else
    find_out(errand);
  json_decref(answer);
}

static void begin(struct errand *errand) {
  (void)snprintf(errand->label, sizeof errand->label, "errand-%u-%u", errand->number,
                 errand->attempt);
  errand->repeats = 0;
  post(errand);
}

static void post(struct errand *errand) {
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "label");
  json_write_string(&w, errand->label);
  json_key(&w, "timeout_ms");
  json_write_integer(&w, errand->timeout_ms);
  if (errand->one_call) {
    json_key(&w, "commit");
    json_write_boolean(&w, true);
    json_key(&w, "wait");
    json_write_string(&w, errand->wait_decided ? "decided" : "applied");
  }
  if (errand->one_call || errand->statements_at_begin) errand_write_branches(&w, errand);
  json_object_end(&w);
  ask(errand, "POST", BEGIN_TARGET, &w, true, errand->one_call ? ended : begun);
}

/* ---- all of them ------------------------------------------------------------------------------ */

/* There is room for those that come without having been planned. */
static void make_errands(struct clients *clients, size_t count) {
  clients->errands = calloc(count + HURRIED_MAX, sizeof *clients->errands);
  if (!clients->errands) abort();
  clients->count = count;
  for (unsigned i = 0; i < count + HURRIED_MAX; i++) {
    clients->errands[i].clients = clients;
    clients->errands[i].number = i;
  }
}

struct clients *clients_new(const struct clients_options *options) {
  struct clients *clients = calloc(1, sizeof *clients);
  if (!clients) abort();
  clients->options = *options;
  static const uint64_t pauses_us[] = {2000, 30000, 300000};
  clients->pause_max_us = pauses_us[sim_random(options->sim, 3)];
  uint64_t start_max_us = sim_random(options->sim, 2) ? START_MAX_US : START_SHORT_US;
  make_errands(clients, options->errands);
  for (unsigned i = 0; i < options->errands; i++) {
    errand_choose(&clients->errands[i]);
    later(&clients->errands[i], sim_random(options->sim, start_max_us), begin);
  }
  return clients;
}

void clients_hurry(struct clients *clients) {
  if (clients->hurried == HURRIED_MAX) return;
  clients->hurried++;
  struct errand *errand = &clients->errands[clients->count++];
  errand->prepares_late = true;
  errand_choose(errand);
  proceed(errand, begin);
}

static void drop_errands(struct clients *clients) {
  for (size_t i = 0; i < clients->count; i++) {
    struct errand *errand = &clients->errands[i];
    sim_cancel(errand->pause);
    sim_cancel(errand->regret);
    sim_cancel(errand->again);
    if (errand->second) network_withdraw(errand->second);
    if (errand->exchange) network_withdraw(errand->exchange);
    errand->dropped = true;
  }
}

void clients_free(struct clients *clients) {
  drop_errands(clients);
  free(clients->errands);
  free(clients->former);
  free(clients);
}

bool clients_are_done(const struct clients *clients) {
  for (size_t i = 0; i < clients->count; i++)
    if (!clients->errands[i].done || clients->errands[i].again) return false;
  return true;
}

void clients_read_all(struct clients *clients) {
  struct checks *checks = clients->options.checks;
  drop_errands(clients);
  assert(!clients->former);
  clients->former = clients->errands; /* a database may still have an answer for one of them */
  size_t count = checks_count(checks);
  make_errands(clients, count);
  for (size_t i = 0; i < count; i++) {
    struct errand *errand = &clients->errands[i];
    errand->final = true;
    (void)snprintf(errand->txid, sizeof errand->txid, "%s", checks_txid(checks, i));
    soon(errand, poll_again);
  }
}
