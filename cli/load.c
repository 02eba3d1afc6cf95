/* See load.h.
 *
 * Invariants: `mutex` guards all of struct load but `options`; a record is written by the one
 * thread that took its index, before it counts as finished. `life` grows whenever the coordinator
 * comes up: a transfer lost in an earlier life than the present one cannot still arrive, so when
 * nobody knows its label it was never decided. One that was sent on a detour may have been passed on to
 * a later life than the one it was sent in, but not to a later one than that in which it was lost.
 */
#include "cli/load_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/process.h"
#include "common/clock.h"
#include "common/http_client.h"
#include "common/json.h"

enum {
  CALL_TIMEOUT_MS = 30000,
  SETTLE_MS_MAX = 60000, /* an outcome must be known by then */
  RETRY_PAUSE_MS = 5,
  SQL_SIZE = 128
};

/* ---- shared state ---------------------------------------------------------------------------- */

static void lock(struct load *load) {
  if (pthread_mutex_lock(&load->mutex) != 0) abort();
}

static void unlock(struct load *load) {
  if (pthread_mutex_unlock(&load->mutex) != 0) abort();
}

void load_set_up(struct load *load, bool is_up) {
  lock(load);
  if (is_up && !load->is_up) load->life++;
  load->is_up = is_up;
  (void)pthread_cond_broadcast(&load->changed);
  unlock(load);
}

void load_detour(struct load *load, const char *url) {
  lock(load);
  load->detour = url;
  unlock(load);
}

void load_stop(struct load *load) {
  lock(load);
  load->is_stopping = true;
  (void)pthread_cond_broadcast(&load->changed);
  unlock(load);
}

/* False when all is to stop. */
static bool wait_until_up(struct load *load, unsigned *life, unsigned in_flight) {
  lock(load);
  while (!load->is_up && !load->is_stopping)
    (void)pthread_cond_wait(&load->changed, &load->mutex);
  *life = load->life;
  bool goes_on = !load->is_stopping;
  if (goes_on) load->counts.in_flight += in_flight;
  unlock(load);
  return goes_on;
}

/* Where calls go now. */
const char *load_url(struct load *load, bool *is_detour) {
  lock(load);
  *is_detour = load->detour != NULL;
  const char *url = *is_detour ? load->detour : load->options.url;
  unlock(load);
  return url;
}

static unsigned life_now(struct load *load) {
  lock(load);
  unsigned life = load->life;
  unlock(load);
  return life;
}

static void fail(struct load *load, const struct error *err) {
  lock(load);
  if (load->failure.code == ERR_OK) load->failure = *err;
  load->is_stopping = true;
  (void)pthread_cond_broadcast(&load->changed);
  unlock(load);
}

bool load_failure(struct load *load, struct error *err) {
  lock(load);
  bool failed = load->failure.code != ERR_OK;
  if (failed) *err = load->failure;
  unlock(load);
  return failed;
}

struct load_counts load_count(struct load *load) {
  lock(load);
  struct load_counts counts = load->counts;
  unlock(load);
  return counts;
}

static struct timespec after_ms(unsigned ms) {
  struct timespec until;
  (void)clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += ms / 1000;
  until.tv_nsec += (long)(ms % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  return until;
}

bool load_drain(struct load *load, unsigned timeout_ms) {
  struct timespec until = after_ms(timeout_ms);
  lock(load);
  load->is_draining = true;
  while (load->running > 0)
    if (pthread_cond_timedwait(&load->changed, &load->mutex, &until) == ETIMEDOUT) break;
  bool is_drained = load->running == 0;
  unlock(load);
  return is_drained;
}

bool load_wait_finished(struct load *load, unsigned count, unsigned timeout_ms) {
  struct timespec until = after_ms(timeout_ms);
  lock(load);
  while (load->counts.finished < count && !load->is_stopping)
    if (pthread_cond_timedwait(&load->changed, &load->mutex, &until) == ETIMEDOUT) break;
  bool reached = load->counts.finished >= count;
  unlock(load);
  return reached;
}

unsigned load_begun(struct load *load) {
  lock(load);
  unsigned begun = load->begun;
  unlock(load);
  return begun;
}

const struct load_record *load_record(const struct load *load, unsigned index) {
  return &load->records[index - load->options.first];
}

/* ---- a transfer as JSON ---------------------------------------------------------------------- */

static void write_statement(struct json_writer *w, const char *sql, int64_t number, int64_t id,
                            const char *label) {
  json_object_begin(w);
  json_key(w, "sql");
  json_write_string(w, sql);
  json_key(w, "params");
  json_array_begin(w);
  if (label) json_write_string(w, label);
  json_write_integer(w, number);
  if (!label) json_write_integer(w, id);
  json_array_end(w);
  json_key(w, "expect_rows");
  json_write_integer(w, 1);
  json_object_end(w);
}

static void begin_branch(struct json_writer *w, const char *participant) {
  json_object_begin(w);
  json_key(w, "participant");
  json_write_string(w, participant);
  json_key(w, "statements");
  json_array_begin(w);
}

static void end_branch(struct json_writer *w) {
  json_array_end(w);
  json_object_end(w);
}

static void write_change(struct json_writer *w, const char *schema, int64_t id, int64_t change) {
  char sql[SQL_SIZE];
  (void)snprintf(sql, sizeof sql, "UPDATE %saccount SET balance = balance + $1 WHERE id = $2",
                 schema);
  write_statement(w, sql, change, id, NULL);
}

static void write_row(struct json_writer *w, const char *schema, const char *label,
                      int64_t amount) {
  char sql[SQL_SIZE];
  (void)snprintf(sql, sizeof sql, "INSERT INTO %sledger (label, amount) VALUES ($1, $2)", schema);
  write_statement(w, sql, amount, 0, label);
}

static void write_read(struct json_writer *w, const char *schema, int64_t id) {
  char sql[SQL_SIZE];
  (void)snprintf(sql, sizeof sql, "SELECT balance + $1 FROM %saccount WHERE id = $2", schema);
  write_statement(w, sql, 0, id, NULL);
}

/* All that the transfer does in one bank. */
static void write_branch(struct json_writer *w, const struct load_options *options, int bank,
                         const struct transfer_plan *plan, const char *label) {
  bool pays = bank == plan->from_bank;
  int64_t amount;
  begin_branch(w, options->participants[bank]);
  if (plan->shape == TRANSFER_READ && !pays)
    write_read(w, options->schema, plan->to_id);
  else if (pays)
    write_change(w, options->schema, plan->from_id, -plan->amount);
  if (pays ? plan->shape != TRANSFER_BOTH : plan->shape == TRANSFER_BOTH)
    write_change(w, options->schema, plan->to_id, plan->amount);
  if (transfer_plan_row(plan, bank, &amount)) write_row(w, options->schema, label, amount);
  end_branch(w);
}

static char *transfer_body(const struct load_options *options, unsigned index) {
  struct transfer_plan plan = options->source.plan(options->source.seed, index);
  bool has_other = plan.shape != TRANSFER_ONE;
  char label[TRANSFER_LABEL_SIZE];
  struct json_writer w;
  transfer_label(&options->source, index, label);
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "commit");
  json_write_boolean(&w, true);
  json_key(&w, "timeout_ms");
  json_write_integer(&w, options->timeout_ms);
  json_key(&w, "label");
  json_write_string(&w, label);
  json_key(&w, "branches");
  json_array_begin(&w);
  if (has_other && plan.credit_first) write_branch(&w, options, 1 - plan.from_bank, &plan, label);
  write_branch(&w, options, plan.from_bank, &plan, label);
  if (has_other && !plan.credit_first) write_branch(&w, options, 1 - plan.from_bank, &plan, label);
  json_array_end(&w);
  json_object_end(&w);
  return json_writer_take(&w, NULL);
}

/* ---- what was told --------------------------------------------------------------------------- */

const char *told_name(enum told told) {
  static const char *const names[] = {"nothing", "committed", "aborted", "mixed"};
  return names[told];
}

enum told load_outcome(const json_t *transaction) {
  const char *outcome = member_text(transaction, "outcome", "");
  if (strcmp(outcome, "committed") == 0) return TOLD_COMMITTED;
  if (strcmp(outcome, "aborted") == 0) return TOLD_ABORTED;
  return strcmp(outcome, "mixed") == 0 ? TOLD_MIXED : TOLD_NOTHING;
}

enum error_code load_call(struct http_caller *caller, const char *method, const char *url,
                          const char *body, struct answer *answer, struct error *err) {
  size_t length = 0;
  *answer = (struct answer){0};
  enum error_code code = http_caller_call(caller, method, url, body, CALL_TIMEOUT_MS,
                                          &answer->status, &answer->text, &length, err);
  if (code == ERR_OK) answer->body = json_loadb(answer->text, length, 0, NULL);
  return code;
}

static enum error_code unexpected(const struct answer *answer, const char *label,
                                  struct error *err) {
  return error_set(err, ERR_INVALID, "%s: an answer that was not expected (%d): %.300s", label,
                   answer->status, answer->text);
}

enum error_code load_ask(struct http_caller *caller, const char *url, const char *label,
                         enum told *told, bool *is_listed, struct error *err) {
  char full[URL_SIZE];
  struct answer answer;
  (void)snprintf(full, sizeof full, "%s/v1/transactions?label=%s", url, label);
  enum error_code code = load_call(caller, "GET", full, NULL, &answer, err);
  if (code != ERR_OK) return code;
  const json_t *list = json_object_get(answer.body, "transactions");
  if (answer.status == 503 || answer.status == 429) {
    code = error_set(err, ERR_UNAVAILABLE, "%s: %d", label, answer.status);
  } else if (answer.status != 200 || !json_is_array(list) || json_array_size(list) > 1) {
    code = unexpected(&answer, label, err);
  } else {
    *is_listed = json_array_size(list) == 1;
    *told = *is_listed ? load_outcome(json_array_get(list, 0)) : TOLD_ABORTED;
  }
  answer_close(&answer);
  return code;
}

/* ---- one transfer ---------------------------------------------------------------------------- */

/* Whether the cause of an abort is that its time was up. */
static bool is_timeout(const json_t *transaction) {
  return strcmp(member_text(json_object_get(transaction, "cause"), "kind", ""), "timeout") == 0;
}

static enum step read_answer(struct load *load, const struct answer *answer, const char *label,
                             struct load_record *record) {
  const json_t *transaction = answer_transaction(answer);
  record->told = load_outcome(transaction);
  /* Said by the problem's code alone, where there was no memory for more. */
  if (!transaction && answer->status == 409 &&
      strcmp(member_text(answer->body, "code", ""), "aborted") == 0)
    record->told = TOLD_ABORTED;
  if (record->told == TOLD_ABORTED && is_timeout(transaction)) {
    lock(load);
    load->counts.aborted_by_timeout++;
    unlock(load);
  }
  if (record->told != TOLD_NOTHING) return STEP_TOLD;
  /* It was open in an earlier life: by its label it is known, or was never decided. */
  if (answer->status == 404) return STEP_ASK;
  switch (answer_exit(answer)) {
  case EXIT_NOT_TAKEN: return STEP_SEND_AGAIN;
  case EXIT_DONE:
    if (transaction) return STEP_ASK; /* 202: not settled yet */
    break;
  case EXIT_UNKNOWN:
    if (answer->status == 503) return STEP_ASK;
    break;
  case EXIT_REFUSED:
  case EXIT_USAGE:
  case EXIT_MIXED: break;
  }
  struct error err = {0};
  (void)unexpected(answer, label, &err);
  fail(load, &err);
  return STEP_STOP;
}

static enum step begun(const struct answer *answer, char *id) {
  const json_t *transaction = answer_transaction(answer);
  (void)snprintf(id, TXID_SIZE, "%s", member_text(transaction, "id", ""));
  return *id ? STEP_BEGUN : STEP_ASK;
}

enum step load_post(struct client_thread *thread, const char *path, const char *body,
                    const char *label, struct load_record *record, unsigned *life, char *id) {
  struct load *load = thread->load;
  char url[URL_SIZE];
  struct answer answer;
  struct error err = {0};
  bool is_detour;
  if (!wait_until_up(load, life, 1)) return STEP_STOP;
  (void)snprintf(url, sizeof url, "%s/v1/transactions%s", load_url(load, &is_detour), path);
  enum error_code code = load_call(thread->caller, "POST", url, body, &answer, &err);
  if (is_detour) *life = life_now(load);
  enum step step = code == ERR_UNAVAILABLE ? STEP_SEND_AGAIN : STEP_ASK;
  if (code == ERR_OK)
    step =
        id && answer.status == 201 ? begun(&answer, id) : read_answer(load, &answer, label, record);
  answer_close(&answer);
  lock(load);
  load->counts.in_flight--;
  if (step == STEP_SEND_AGAIN) load->counts.resent++;
  load->counts.detours += is_detour;
  unlock(load);
  return step;
}

/* Asks until there is an outcome. `life`: of the coordinator that was sent to. */
static enum step ask_until_told(struct client_thread *thread, const char *label, unsigned life,
                                struct load_record *record) {
  struct load *load = thread->load;
  uint64_t begin_us = clock_monotonic_us(), waited_ms = 0;
  do {
    unsigned now_life;
    struct error err = {0};
    enum told told = TOLD_NOTHING;
    bool is_listed = false, is_detour;
    if (!wait_until_up(load, &now_life, 0)) return STEP_STOP;
    enum error_code code =
        load_ask(thread->caller, load_url(load, &is_detour), label, &told, &is_listed, &err);
    waited_ms = (clock_monotonic_us() - begin_us) / 1000;
    if (code == ERR_INVALID) {
      fail(load, &err);
      return STEP_STOP;
    }
    /* Not listed proves nothing while the request may still be on its way to the same process. */
    bool may_come =
        !is_listed && now_life == life && waited_ms < UINT64_C(2) * load->options.timeout_ms;
    if (code == ERR_OK && told != TOLD_NOTHING && !may_come) {
      record->told = told;
      return STEP_TOLD;
    }
    process_pause_ms(RETRY_PAUSE_MS);
  } while (waited_ms < SETTLE_MS_MAX);
  struct error err = {0};
  (void)error_set(&err, ERR_LOST, "%s: no outcome within %d ms", label, SETTLE_MS_MAX);
  fail(load, &err);
  return STEP_STOP;
}

static enum step send_once(struct client_thread *thread, unsigned index, const char *body,
                           const char *label, struct load_record *record, unsigned *life) {
  const struct load_options *options = &thread->load->options;
  struct transfer_plan plan = options->source.plan(options->source.seed, index);
  if (plan.is_prepared && options->dsns[0])
    return prepared_send(thread, &plan, label, record, life);
  return load_post(thread, "", body, label, record, life, NULL);
}

static enum step run_transfer(struct client_thread *thread, unsigned index, const char *body,
                              struct load_record *record) {
  char label[TRANSFER_LABEL_SIZE];
  unsigned life = 0;
  uint64_t begin_us = clock_monotonic_us();
  transfer_label(&thread->load->options.source, index, label);
  for (;;) {
    enum step step = send_once(thread, index, body, label, record, &life);
    if (step == STEP_ASK) {
      record->is_lost = true;
      return ask_until_told(thread, label, life, record);
    }
    if (step != STEP_SEND_AGAIN) return step;
    if ((clock_monotonic_us() - begin_us) / 1000 > SETTLE_MS_MAX) break;
    process_pause_ms(RETRY_PAUSE_MS);
  }
  struct error err = {0};
  (void)error_set(&err, ERR_UNAVAILABLE, "%s: the coordinator takes no work for %d ms", label,
                  SETTLE_MS_MAX);
  fail(thread->load, &err);
  return STEP_STOP;
}

/* ---- threads --------------------------------------------------------------------------------- */

static bool take_next(struct load *load, unsigned *index) {
  lock(load);
  bool is_there = load->begun < load->options.transfers && !load->is_stopping && !load->is_draining;
  if (is_there) *index = load->options.first + load->begun++;
  unlock(load);
  return is_there;
}

static void finish(struct load *load, const struct load_record *record) {
  bool is_committed = record->told == TOLD_COMMITTED;
  lock(load);
  load->counts.finished++;
  load->counts.committed += is_committed;
  load->counts.aborted += record->told == TOLD_ABORTED;
  load->counts.mixed += record->told == TOLD_MIXED;
  load->counts.prepared += record->is_prepared && is_committed;
  load->counts.lost += record->is_lost;
  load->counts.lost_committed += record->is_lost && is_committed;
  load->counts.lost_aborted += record->is_lost && record->told == TOLD_ABORTED;
  (void)pthread_cond_broadcast(&load->changed);
  unlock(load);
}

static void *client_run(void *data) {
  struct client_thread thread = {.load = data, .caller = http_caller_new()};
  unsigned index;
  struct error err = {0};
  if (!thread.caller) {
    (void)error_set(&err, ERR_MEMORY, "out of memory");
    fail(thread.load, &err);
  }
  while (take_next(thread.load, &index)) {
    struct load_record *record = &thread.load->records[index - thread.load->options.first];
    char *body = transfer_body(&thread.load->options, index);
    enum step step = body ? run_transfer(&thread, index, body, record) : STEP_STOP;
    free(body);
    if (step != STEP_TOLD) break;
    finish(thread.load, record);
  }
  http_caller_free(thread.caller);
  prepared_close(&thread);
  lock(thread.load);
  thread.load->running--;
  (void)pthread_cond_broadcast(&thread.load->changed);
  unlock(thread.load);
  return NULL;
}

enum error_code load_start(struct load **out, const struct load_options *options,
                           struct error *err) {
  pthread_condattr_t monotonic;
  struct load *load = calloc(1, sizeof *load);
  *out = load;
  if (!load) return error_set(err, ERR_MEMORY, "out of memory");
  load->options = *options;
  load->is_up = true;
  (void)pthread_mutex_init(&load->mutex, NULL);
  (void)pthread_condattr_init(&monotonic);
  (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  (void)pthread_cond_init(&load->changed, &monotonic);
  (void)pthread_condattr_destroy(&monotonic);
  load->records = calloc(options->transfers, sizeof *load->records);
  load->threads = calloc(options->clients, sizeof *load->threads);
  if (!load->records || !load->threads) return error_set(err, ERR_MEMORY, "out of memory");
  for (; load->thread_count < options->clients; load->thread_count++) {
    lock(load);
    load->running++;
    unlock(load);
    int failed = pthread_create(&load->threads[load->thread_count], NULL, client_run, load);
    if (failed) return error_set(err, ERR_IO, "pthread_create: %s", strerror(failed));
  }
  return ERR_OK;
}

void load_free(struct load *load) {
  if (!load) return;
  load_stop(load);
  for (unsigned i = 0; i < load->thread_count; i++)
    (void)pthread_join(load->threads[i], NULL);
  (void)pthread_cond_destroy(&load->changed);
  (void)pthread_mutex_destroy(&load->mutex);
  free(load->records);
  free(load->threads);
  free(load);
}
