/* The decision log's two sides: calls on the loop thread (calls.c), and the thread that owns the store.
 *
 *   loop thread:    call -> queue ..........................-> done -> callback
 *   writer thread:            \-> apply all -> COMMIT -> read -/
 *
 * Invariants
 *  1. Only the writer thread touches the store from the first call on, or from when the unfinished
 *     records have been read; before it, and after the thread has been joined, only the loop thread.
 *  2. Jobs leave in the order in which they came: the writer takes the whole queue, and answers all
 *     of it, reads after the commit. So a read tells nothing that could still be refused, other
 *     than lazy records, of which none is a promise. Only a list that is not whole after one step waits
 *     in `walks`, and takes another step in each turn.
 *  3. A lazy record is in `lazies` from the moment it is applied until a COMMIT has succeeded. The
 *     store is in a transaction exactly while `lazies` is not empty, or a group is being applied.
 *  4. After `failed` is set nothing is asked of the store any more.
 *
 * Limits: what is under way is bounded by who calls (open transactions). Beyond LAZIES_MAX records
 * waiting for space, notes of plain aborts are dropped: their absence means the same. A group has at most
 * GROUP_MAX jobs.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "common/memory.h"
#include "wal/job.h"

enum {
  GROUP_MAX = 4096,
  LAZIES_MAX = 100000,
  LAZY_FLUSH_MS = 100,     /* unless told */
  FULL_RETRY_MS = 1000,    /* lazy records on a full disk */
  REMOVAL_WAIT_MS = 60000, /* the longest sleep: the wall clock may be set */
  REST_MS = 5000           /* unless told */
};
static const double group_bounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, GROUP_MAX};
#define REMOVAL_LATE_US UINT64_C(1000000) /* then it no longer waits for a quiet moment */

struct wal {
  struct store *store;
  struct cluster_id cluster;
  uint64_t epoch;
  int64_t retention_ms, key_retention_ms, lazy_flush_ms, rest_ms;
  /* Loop thread. */
  struct loop_wakeup *wakeup;
  bool delivering;
  pthread_t thread;
  /* Both, under the mutex. */
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  struct job_list queue, done;
  struct histogram group_sizes, commits;
  bool started, stopping;
  bool wanted; /* the writer is to look at the queue; it has been told, or is at work */
  bool dozing; /* it has lazy records, and looks at the queue when these are due */
  /* Writer thread. */
  struct job_list lazies, walks;
  uint64_t lazy_due_us, removal_due_us, rest_due_us; /* monotonic */
  bool failed, full;
  struct error failure;
  atomic_uint_fast64_t decisions, groups, last_group_us;
  atomic_bool poisoned;
};

/* ---- writer thread: failing ----------------------------------------------------------------- */

static void fail(struct wal *wal, const struct error *err) {
  assert(!wal->failed);
  wal->failed = true;
  wal->failure = *err;
  wal->failure.code = ERR_LOG;
  atomic_store(&wal->poisoned, true);
  job_clear(&wal->lazies); /* allowed to be lost, and there is nothing to write them to */
  log_error("decision_log_failed", "error", "s", wal->failure.text, NULL);
}

/* ---- writer thread: writing ----------------------------------------------------------------- */

static void plan_removal(struct wal *wal, int64_t in_ms) {
  int64_t wait_ms = in_ms < 0 ? 0 : in_ms > REMOVAL_WAIT_MS ? REMOVAL_WAIT_MS : in_ms;
  uint64_t due = clock_monotonic_us() + (uint64_t)wait_ms * 1000;
  if (due < wal->removal_due_us) wal->removal_due_us = due;
}

static enum store_result apply(struct wal *wal, struct job *job, struct error *err) {
  enum store_result result;
  switch (job->kind) {
  case JOB_DECIDE:
  case JOB_NOTE:
    if (job->is.put.record->key) plan_removal(wal, wal->key_retention_ms);
    return store_put(wal->store, job->is.put.record, job->is.put.ended_at_us, err);
  case JOB_REMEMBER:
  case JOB_ANSWER:
    plan_removal(wal, wal->key_retention_ms);
    return store_put_key(wal->store, job->is.key, err);
  case JOB_AUDIT:
    job->is.audit.id = store_next_audit_id(wal->store);
    if (job->with) plan_removal(wal, wal->retention_ms);
    result = job->with ? apply(wal, job->with, err) : STORE_OK;
    return result == STORE_OK ? store_audit(wal->store, &job->is.audit, err) : result;
  case JOB_CONFIRM: return store_confirm(wal->store, &job->is.confirm, err);
  case JOB_END: return store_end(wal->store, &job->is.end, err);
  case JOB_LOOK_UP:
  case JOB_LOOK_UP_KEY:
  case JOB_LIST: break;
  }
  return STORE_OK;
}

static void keep_lazy(struct wal *wal, struct job *job) {
  if (wal->lazies.count == 0)
    wal->lazy_due_us = clock_monotonic_us() + (uint64_t)wal->lazy_flush_ms * 1000;
  job_push(&wal->lazies, job);
  if (job->kind == JOB_END || job->kind == JOB_NOTE) plan_removal(wal, wal->retention_ms);
}

static enum store_result commit(struct wal *wal, struct error *err) {
  uint64_t began = clock_monotonic_us();
  enum store_result result = store_commit(wal->store, err);
  if (result != STORE_OK) return result;
  uint64_t lasted_us = clock_monotonic_us() - began;
  atomic_store(&wal->last_group_us, lasted_us);
  (void)pthread_mutex_lock(&wal->mutex);
  histogram_observe(&wal->commits, (double)lasted_us / 1e6);
  (void)pthread_mutex_unlock(&wal->mutex);
  (void)atomic_fetch_add(&wal->groups, 1);
  job_clear(&wal->lazies);
  if (wal->full) log_info("decision_log_has_space", NULL);
  wal->full = false;
  return STORE_OK;
}

static void note_group(struct wal *wal, size_t durable) {
  (void)pthread_mutex_lock(&wal->mutex);
  histogram_observe(&wal->group_sizes, (double)durable);
  (void)pthread_mutex_unlock(&wal->mutex);
}

static enum store_result is_present(struct wal *wal, const struct job *job, bool *present,
                                    struct error *err) {
  if (job->kind == JOB_AUDIT) return store_has_audit(wal->store, job->is.audit.id, present, err);
  if (job->kind == JOB_REMEMBER) return store_has_answer(wal->store, job->is.key, present, err);
  return store_has_decision(wal->store, &job->is.put.record->txid, present, err);
}

/* The file has been read again; nothing of `group` may be in it. */
static enum store_result prove_absent(struct wal *wal, const struct job_list *group,
                                      struct error *err) {
  for (const struct job *job = group->first; job; job = job->next) {
    bool present = false;
    if (!job_is_durable(job)) continue;
    enum store_result result = is_present(wal, job, &present, err);
    if (result != STORE_OK) return result;
    if (present) {
      (void)error_set(err, ERR_LOG, "a group was refused for want of space, and is in the log");
      return STORE_FAILED;
    }
  }
  return STORE_OK;
}

/* After STORE_FULL: whatever was in the transaction is undone, and proven so; the lazy records go
 * into a new one, to wait for space. False: the log has failed. */
static bool begin_again(struct wal *wal, const struct job_list *group, const struct error *full) {
  struct error err = {0};
  if (!wal->full) log_warn("decision_log_full", "error", "s", full->text, NULL);
  wal->full = true;
  enum store_result result = store_reopen(wal->store, &err);
  if (result == STORE_OK) result = prove_absent(wal, group, &err);
  for (struct job *job = wal->lazies.first; job && result == STORE_OK; job = job->next)
    result = apply(wal, job, &err);
  if (result != STORE_OK) {
    fail(wal, &err);
    return false;
  }
  wal->lazy_due_us = clock_monotonic_us() + (uint64_t)FULL_RETRY_MS * 1000;
  return true;
}

/* What every decision, answer and audit line of the group is told. */
static void settle(struct wal *wal, struct job_list *group, enum store_result result,
                   const struct error *err) {
  if (result == STORE_FULL && begin_again(wal, group, err)) {
    for (struct job *job = group->first; job; job = job->next)
      if (job_is_durable(job)) job_answer_error(job, WAL_REFUSED, err);
    return;
  }
  if (result != STORE_OK && result != STORE_FULL) fail(wal, err);
  for (struct job *job = group->first; job; job = job->next) {
    if (!job_is_durable(job)) continue;
    if (result != STORE_OK) {
      job_answer_error(job, WAL_UNKNOWN, &wal->failure);
      continue;
    }
    job->result = WAL_DURABLE;
    if (job->kind == JOB_DECIDE) (void)atomic_fetch_add(&wal->decisions, 1);
  }
}

/* ---- writer thread: reading ----------------------------------------------------------------- */

static enum store_result find_record(struct wal *wal, struct job *job, const struct txid *txid) {
  const struct wal_record *record = NULL;
  enum store_result result = store_find(wal->store, txid, &record, job_error(job));
  if (record) record_list_add(&job->records, record);
  return result;
}

/* False: it is a list, and not whole yet. */
static bool read_job(struct wal *wal, struct job *job) {
  enum store_result result;
  struct txid rest = {""};
  if (wal->failed) {
    job_answer_error(job, WAL_UNKNOWN, &wal->failure);
    record_list_clear(&job->records);
    return true;
  }
  if (job->kind == JOB_LIST) {
    result = store_list(wal->store, &job->is.filter, &job->records, &rest, job_error(job));
    job->is.filter.before = rest; /* for the next step */
  } else if (job->kind == JOB_LOOK_UP_KEY) {
    result = store_find_key(wal->store, job->is.named.name_space, job->is.named.name,
                            &job->found_key, job_error(job));
    if (job->found_key) result = find_record(wal, job, &job->found_key->txid);
  } else {
    result = find_record(wal, job, &job->is.txid);
  }
  if (result == STORE_OK) return rest.text[0] == '\0';
  record_list_clear(&job->records); /* all or an error */
  free(job->found_key);
  job->found_key = NULL;
  if (result != STORE_UNREADABLE) fail(wal, job_error(job));
  return true;
}

/* What has its answer stays in the group. */
static void read_all(struct wal *wal, struct job_list *group) {
  struct job_list jobs = *group;
  *group = (struct job_list){0};
  for (struct job *job; (job = job_pop(&jobs));)
    job_push(job_is_durable(job) || read_job(wal, job) ? group : &wal->walks, job);
}

/* ---- writer thread: a turn ------------------------------------------------------------------ */

/* A note of an abort says what no note says, too; one of a transaction at odds does not. */
static bool may_be_dropped(const struct job *job) {
  return job->kind == JOB_NOTE && job->is.put.record->outcome == WAL_OUTCOME_ABORTED;
}

/* Applies the jobs; the lazy ones move to `lazies`, the others, which have an answer to come, to
 * `group`. Returns how many must be durable. */
static size_t apply_all(struct wal *wal, struct job_list *jobs, struct job_list *group,
                        enum store_result *result, struct error *err) {
  size_t durable = 0;
  for (struct job *job; (job = job_pop(jobs));) {
    if (wal->lazies.count >= LAZIES_MAX && may_be_dropped(job)) {
      job_free(job);
      continue;
    }
    if (*result == STORE_OK) *result = apply(wal, job, err);
    if (job_is_lazy(job))
      keep_lazy(wal, job);
    else
      job_push(group, job);
    if (job_is_durable(job)) durable++;
  }
  return durable;
}

static void refuse_all(struct wal *wal, struct job_list *jobs, struct job_list *group) {
  for (struct job *job; (job = job_pop(jobs));) {
    if (job_is_lazy(job)) {
      job_free(job);
    } else {
      job_answer_error(job, WAL_UNKNOWN, &wal->failure);
      job_push(group, job);
    }
  }
}

static void post(struct wal *wal, struct job_list *group) {
  if (group->count == 0) return;
  (void)pthread_mutex_lock(&wal->mutex);
  for (struct job *job; (job = job_pop(group));)
    job_push(&wal->done, job);
  (void)pthread_mutex_unlock(&wal->mutex);
  loop_wakeup_send(wal->wakeup);
}

static void run_jobs(struct wal *wal, struct job_list *jobs) {
  struct job_list group = {0};
  struct error err = {0};
  enum store_result result = STORE_OK;
  if (wal->failed) {
    refuse_all(wal, jobs, &group);
  } else {
    size_t durable = apply_all(wal, jobs, &group, &result, &err);
    if (result == STORE_OK && durable > 0) {
      CRASH_POINT("C4");
      result = commit(wal, &err);
      if (result == STORE_OK) note_group(wal, durable);
    }
    settle(wal, &group, result, &err);
    read_all(wal, &group);
  }
  post(wal, &group);
}

/* A step of the list that has waited longest. */
static void walk(struct wal *wal) {
  struct job_list group = {0};
  struct job *job = job_pop(&wal->walks);
  if (job) job_push(&group, job);
  read_all(wal, &group);
  post(wal, &group);
}

static void flush_lazies(struct wal *wal) {
  const struct job_list nobody = {0};
  struct error err = {0};
  enum store_result result = commit(wal, &err);
  if (result == STORE_FULL)
    (void)begin_again(wal, &nobody, &err);
  else if (result != STORE_OK)
    fail(wal, &err);
}

static void checkpoint(struct wal *wal) {
  struct error err = {0};
  CRASH_POINT("C9");
  enum store_result result = store_checkpoint(wal->store, &err);
  CRASH_POINT("C9");
  if (result == STORE_FAILED) fail(wal, &err);
}

static int64_t until_expired_ms(int64_t earliest_us, int64_t expired_us) {
  if (earliest_us == 0) return INT64_MAX;
  return earliest_us > expired_us ? (earliest_us - expired_us) / 1000 + 1 : 0;
}

/* When there will be something to remove: in *wait_ms, 0 for now, INT64_MAX for nothing. */
static enum store_result look_for_expired(struct wal *wal, int64_t ended_us, int64_t keys_us,
                                          int64_t *wait_ms, struct error *err) {
  int64_t earliest_end = 0, earliest_key = 0;
  enum store_result result = store_earliest_end(wal->store, &earliest_end, err);
  if (result == STORE_OK) result = store_earliest_key(wal->store, &earliest_key, err);
  int64_t end_ms = until_expired_ms(earliest_end, ended_us);
  int64_t key_ms = until_expired_ms(earliest_key, keys_us);
  *wait_ms = end_ms < key_ms ? end_ms : key_ms;
  return result;
}

/* Removes one step of what has expired, in a transaction of its own. */
static void remove_expired(struct wal *wal) {
  const struct job_list nobody = {0};
  struct error err = {0};
  int64_t wait_ms = 0;
  unsigned keys = 0, ended = 0;
  wal->removal_due_us = UINT64_MAX;
  int64_t now_us = clock_wall_us();
  int64_t ended_us = now_us - wal->retention_ms * 1000;
  int64_t keys_us = now_us - wal->key_retention_ms * 1000;
  enum store_result result = look_for_expired(wal, ended_us, keys_us, &wait_ms, &err);
  if (result == STORE_OK && wait_ms > 0) {
    if (wait_ms < INT64_MAX) plan_removal(wal, wait_ms);
    return;
  }
  if (result == STORE_OK) result = store_remove_keys(wal->store, keys_us, &keys, &err);
  if (result == STORE_OK) result = store_remove_ended(wal->store, ended_us, &ended, &err);
  if (result == STORE_OK) result = commit(wal, &err);
  /* What has expired and is still needed is looked at again later. */
  if (result == STORE_OK)
    plan_removal(wal, keys + ended > 0 ? 0 : REMOVAL_WAIT_MS);
  else if (result != STORE_FULL)
    fail(wal, &err);
  else if (begin_again(wal, &nobody, &err))
    plan_removal(wal, REMOVAL_WAIT_MS);
}

/* Removal waits for a quiet moment, but not for ever. */
static bool removal_may_begin(struct wal *wal) {
  uint64_t now = clock_monotonic_us();
  if (wal->lazies.count > 0 || now < wal->removal_due_us) return false;
  (void)pthread_mutex_lock(&wal->mutex);
  bool quiet = wal->queue.count == 0 && !wal->stopping;
  (void)pthread_mutex_unlock(&wal->mutex);
  return quiet || now - wal->removal_due_us > REMOVAL_LATE_US;
}

static struct timespec to_timespec(uint64_t us) {
  return (struct timespec){.tv_sec = (time_t)(us / 1000000),
                           .tv_nsec = (long)(us % 1000000) * 1000};
}

static uint64_t next_due(const struct wal *wal) {
  if (wal->failed) return UINT64_MAX;
  if (wal->lazies.count > 0) return wal->lazy_due_us;
  return wal->removal_due_us < wal->rest_due_us ? wal->removal_due_us : wal->rest_due_us;
}

/* Until there are jobs somebody waits for, or something is due, or it is to stop: returns that. */
static bool wait_for_jobs(struct wal *wal, struct job_list *jobs) {
  uint64_t due = next_due(wal);
  (void)pthread_mutex_lock(&wal->mutex);
  wal->dozing = wal->lazies.count > 0;
  if (!wal->dozing && wal->queue.count > 0) wal->wanted = true;
  while (!wal->stopping && !wal->wanted && wal->walks.count == 0) {
    if (!wal->started || due == UINT64_MAX) {
      (void)pthread_cond_wait(&wal->changed, &wal->mutex);
      continue;
    }
    struct timespec until = to_timespec(due);
    if (pthread_cond_timedwait(&wal->changed, &wal->mutex, &until) == ETIMEDOUT) break;
  }
  while (wal->queue.count > 0 && jobs->count < GROUP_MAX)
    job_push(jobs, job_pop(&wal->queue));
  wal->wanted = wal->queue.count > 0;
  bool stopping = wal->stopping;
  (void)pthread_mutex_unlock(&wal->mutex);
  return stopping;
}

static void rest_later(struct wal *wal) {
  wal->rest_due_us = clock_monotonic_us() + (uint64_t)wal->rest_ms * 1000;
}

/* When nothing has been written or read for a while, the whole process has little to do: it is the moment to
 * give back what the log, and anybody else, no longer needs. */
static void rest_if_due(struct wal *wal) {
  if (wal->failed || wal->lazies.count > 0 || clock_monotonic_us() < wal->rest_due_us) return;
  wal->rest_due_us = UINT64_MAX;
  store_rest(wal->store);
  memory_give_back();
}

static void *writer(void *data) {
  struct wal *wal = data;
  rest_later(wal);
  for (;;) {
    struct job_list jobs = {0};
    bool stopping = wait_for_jobs(wal, &jobs);
    bool last = stopping && jobs.count == 0;
    if (jobs.count > 0) rest_later(wal);
    run_jobs(wal, &jobs);
    if (!last) walk(wal);
    if (!wal->failed && wal->lazies.count > 0 && (last || clock_monotonic_us() >= wal->lazy_due_us))
      flush_lazies(wal);
    if (!wal->failed && store_wants_checkpoint(wal->store)) checkpoint(wal);
    if (last) return NULL;
    if (!wal->failed && removal_may_begin(wal)) remove_expired(wal);
    rest_if_due(wal);
  }
}

/* ---- loop thread: opening and closing ------------------------------------------------------- */

static void deliver(void *data) {
  struct wal *wal = data;
  (void)pthread_mutex_lock(&wal->mutex);
  struct job_list done = wal->done;
  wal->done = (struct job_list){0};
  (void)pthread_mutex_unlock(&wal->mutex);
  wal->delivering = true;
  for (struct job *job; (job = job_pop(&done));) {
    job_call_back(job);
    job_free(job);
  }
  wal->delivering = false;
}

/* Signals are the loop thread's. */
static int start_thread(struct wal *wal) {
  sigset_t all, before;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  int failed = pthread_create(&wal->thread, NULL, writer, wal);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  return failed;
}

static void init_sync(struct wal *wal) {
  pthread_condattr_t attr;
  if (pthread_mutex_init(&wal->mutex, NULL) != 0 || pthread_condattr_init(&attr) != 0 ||
      pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) != 0 ||
      pthread_cond_init(&wal->changed, &attr) != 0)
    abort(); /* no memory, at start */
  (void)pthread_condattr_destroy(&attr);
  histogram_init(&wal->group_sizes, group_bounds, sizeof group_bounds / sizeof group_bounds[0]);
  histogram_init(&wal->commits, metrics_duration_bounds, metrics_duration_bound_count);
}

static void wal_free(struct wal *wal) {
  loop_wakeup_free(wal->wakeup);
  store_close(wal->store, !wal->failed);
  (void)pthread_cond_destroy(&wal->changed);
  (void)pthread_mutex_destroy(&wal->mutex);
  free(wal);
}

enum error_code wal_open(struct wal **out, struct loop *loop, const char *path,
                         const struct wal_options *options, struct error *err) {
  struct store *store;
  assert(options->retention_ms >= 0 && options->retention_ms <= INT64_MAX / 1000000);
  assert(options->key_retention_ms >= 0 && options->key_retention_ms <= INT64_MAX / 1000000);
  assert(options->lazy_flush_ms >= 0 && options->lazy_flush_ms <= INT_MAX);
  assert(options->rest_ms >= 0 && options->rest_ms <= INT_MAX);
  enum error_code code = store_open(&store, path, err);
  if (code != ERR_OK) return code;

  struct wal *wal = memory_must(calloc(1, sizeof *wal));
  wal->store = store;
  wal->cluster = *store_cluster(store);
  wal->epoch = store_epoch(store);
  wal->retention_ms = options->retention_ms;
  wal->key_retention_ms = options->key_retention_ms;
  wal->rest_ms = options->rest_ms ? options->rest_ms : REST_MS;
  wal->lazy_flush_ms = options->lazy_flush_ms ? options->lazy_flush_ms : LAZY_FLUSH_MS;
  wal->wakeup = loop_wakeup_new(loop, deliver, wal);
  init_sync(wal);
  int failed = start_thread(wal);
  if (failed != 0) {
    wal_free(wal);
    return error_set(err, ERR_LOG, "cannot start the decision log's writer: %s", strerror(failed));
  }
  *out = wal;
  return ERR_OK;
}

void wal_close(struct wal *wal) {
  assert(!wal->delivering);
  (void)pthread_mutex_lock(&wal->mutex);
  wal->stopping = true;
  (void)pthread_cond_signal(&wal->changed);
  (void)pthread_mutex_unlock(&wal->mutex);
  (void)pthread_join(wal->thread, NULL);
  job_clear(&wal->done);
  job_clear(&wal->walks);
  wal_free(wal);
}

const struct cluster_id *wal_cluster(const struct wal *wal) {
  return &wal->cluster;
}

uint64_t wal_epoch(const struct wal *wal) {
  return wal->epoch;
}

const char *wal_run_id(const struct wal *wal) {
  size_t count;
  const struct log_life *lives = store_lives(wal->store, &count);
  assert(count > 0);
  return lives[count - 1].run_id;
}

/* The lives do not change while the log is open: the writer thread does not matter here. */
bool wal_had_life(const struct wal *wal, uint64_t epoch, const char *run_id) {
  size_t count;
  const struct log_life *lives = store_lives(wal->store, &count);
  for (size_t i = count; i-- > 0;)
    if (lives[i].epoch == epoch) return strcmp(lives[i].run_id, run_id) == 0;
  return false;
}

void wal_histograms(struct wal *wal, struct histogram *group_sizes, struct histogram *commits) {
  (void)pthread_mutex_lock(&wal->mutex);
  *group_sizes = wal->group_sizes;
  *commits = wal->commits;
  (void)pthread_mutex_unlock(&wal->mutex);
}

struct wal_stats wal_stats(const struct wal *wal) {
  return (struct wal_stats){.decisions = atomic_load(&wal->decisions),
                            .groups = atomic_load(&wal->groups),
                            .last_group_us = atomic_load(&wal->last_group_us),
                            .poisoned = atomic_load(&wal->poisoned)};
}

/* ---- loop thread: jobs ---------------------------------------------------------------------- */

/* The writer is woken once: it takes all there is, and looks before it sleeps; and for a lazy record only
 * when it has none: else this one may go with a decision, or when the others are due. Woken under the
 * mutex, it would only go to sleep again for that. */
void wal_submit(struct wal *wal, struct job *job) {
  (void)pthread_mutex_lock(&wal->mutex);
  bool wake = !wal->wanted && !(wal->dozing && job_is_lazy(job));
  job_push(&wal->queue, job);
  wal->started = true;
  if (wake) wal->wanted = true;
  (void)pthread_mutex_unlock(&wal->mutex);
  if (wake) (void)pthread_cond_signal(&wal->changed);
}

/* There is something to do without anybody's asking: what has expired is to be removed. */
static void start_writing(struct wal *wal) {
  (void)pthread_mutex_lock(&wal->mutex);
  wal->started = true;
  (void)pthread_mutex_unlock(&wal->mutex);
  (void)pthread_cond_signal(&wal->changed);
}

enum error_code wal_each_unfinished(struct wal *wal, wal_each_fn fn, void *data,
                                    struct error *err) {
  assert(!wal->started); /* from then on the store is the writer's */
  enum error_code code = store_each_unfinished(wal->store, fn, data, err);
  if (code == ERR_OK) start_writing(wal);
  return code;
}
