/* See disk.h. The order of things is that of wal/writer.c: the queue is taken as a whole, applied to
 * what the process sees, committed as one group when somebody waits for that, and answered in its
 * order, reads last.
 *
 * Invariants (numbers in brackets: those of wal.h)
 *  1. `view` is the file with `lazies` applied to it, outside of a group's time. [7]
 *  2. A group that is refused was not applied to the file, and never will be. [4]
 *  3. After `failed` nothing of this life reaches the file. [5]
 *  4. A crash while a group is being written leaves all of it in the file, or nothing.
 */
#include "tests/sim/disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/sim/checks.h"
#include "tests/sim/disk_image.h"

enum {
  LIVES_MAX = 256,
  READ_MIN_US = 10,
  READ_MAX_US = 80,
  WRITE_MIN_US = 200,
  WRITE_MAX_US = 3000,
  SLOW_MIN_US = 50000,
  SLOW_MAX_US = 2500000,
  FULL_MIN_US = 50000,
  FULL_MAX_US = 3000000,
  FULL_RETRY_MS = 1000, /* as in wal/writer.c */
  LAZY_FLUSH_MS = 100
};

struct disk {
  struct sim *sim;
  struct cluster_id cluster;
  uint64_t epoch; /* so many lives it has had */
  char lives[LIVES_MAX][RUN_ID_SIZE];
  struct image file;
  uint64_t full_until_us;
  struct wal *open; /* who holds the lock */
};

struct wal {
  struct disk *disk;
  struct process *process;
  uint64_t epoch;
  struct image view;
  struct job_list queue, group, lazies;
  bool writing; /* a group is under way */
  bool durable; /* and somebody waits for it to be */
  struct sim_event *done;
  struct loop_timer *lazy_timer;
  int64_t lazy_flush_ms, retention_ms;
  bool failed, started, lazy_due;
  struct error failure;
  struct wal_stats stats;
};

/* ---- the file --------------------------------------------------------------------------------- */

struct disk *disk_new(struct sim *sim) {
  struct disk *disk = memory_must(calloc(1, sizeof *disk));
  disk->sim = sim;
  disk->cluster = cluster_id_make();
  return disk;
}

struct disk *disk_copy(const struct disk *disk) {
  struct disk *copy = memory_must(calloc(1, sizeof *copy));
  copy->sim = disk->sim;
  copy->cluster = disk->cluster;
  copy->epoch = disk->epoch;
  memcpy(copy->lives, disk->lives, sizeof copy->lives);
  image_copy(&copy->file, &disk->file);
  return copy;
}

void disk_free(struct disk *disk) {
  if (!disk) return;
  assert(!disk->open);
  image_clear(&disk->file);
  free(disk);
}

const struct disk_entry *disk_find(const struct disk *disk, const char *txid) {
  return image_find(&disk->file, txid);
}

size_t disk_count(const struct disk *disk) {
  return disk->file.count;
}

const struct disk_entry *disk_at(const struct disk *disk, size_t index) {
  assert(index < disk->file.count);
  return &disk->file.entries[index];
}

bool disk_is_audited(const struct disk *disk, const char *txid, const char *event) {
  for (size_t i = 0; i < disk->file.audit_count; i++)
    if (strcmp(disk->file.audits[i].txid, txid) == 0 &&
        strcmp(disk->file.audits[i].event, event) == 0)
      return true;
  return false;
}

uint64_t disk_epoch(const struct disk *disk) {
  return disk->epoch;
}

const struct cluster_id *disk_cluster(const struct disk *disk) {
  return &disk->cluster;
}

bool disk_is_open(const struct disk *disk) {
  return disk->open != NULL;
}

static void put_in_file(struct wal *wal, const struct job_list *jobs) {
  for (const struct job *job = jobs->first; job; job = job->next) {
    (void)image_apply(&wal->disk->file, job);
    if (job->kind == JOB_DECIDE) checks_durable(wal->process, job->is.put.record);
  }
}

/* ---- a group's end ---------------------------------------------------------------------------- */

static void apply(struct wal *wal, const struct job *job) {
  if (!image_apply(&wal->view, job))
    sim_violation(wal->disk->sim, 2, "transaction %s is decided twice, or another of its key",
                  job->kind == JOB_REMEMBER || job->kind == JOB_ANSWER
                      ? job->is.key->txid.text
                      : job->is.put.record->txid.text);
}

static void fail(struct wal *wal, const char *why) {
  wal->failed = true;
  (void)error_set(&wal->failure, ERR_LOG, "%s", why);
  wal->stats.poisoned = true;
  job_clear(&wal->lazies);
}

enum written { WRITTEN, WRITTEN_NOT, WRITTEN_UNKNOWN };

static enum written write_group(struct wal *wal, const struct job_list *group) {
  struct disk *disk = wal->disk;
  struct sim *sim = disk->sim;
  const char *name = wal->process->name;
  if (sim_fault(sim, SIM_DISK_FULL, name))
    disk->full_until_us = sim_now_us(sim) + sim_between(sim, FULL_MIN_US, FULL_MAX_US);
  if (sim_now_us(sim) < disk->full_until_us && !sim_healed(sim)) return WRITTEN_NOT;
  if (sim_fault(sim, SIM_DISK_EIO_LOST, name)) return WRITTEN_UNKNOWN;
  put_in_file(wal, &wal->lazies);
  put_in_file(wal, group);
  if (sim_fault(sim, SIM_DISK_EIO_WRITTEN, name)) return WRITTEN_UNKNOWN;
  job_clear(&wal->lazies);
  wal->lazy_due = false;
  loop_timer_stop(wal->lazy_timer);
  return WRITTEN;
}

/* What was in the transaction is undone; the lazy records wait for space. */
static void begin_again(struct wal *wal) {
  image_copy(&wal->view, &wal->disk->file);
  for (const struct job *job = wal->lazies.first; job; job = job->next)
    apply(wal, job);
  wal->lazy_due = false;
  loop_timer_start(wal->lazy_timer, FULL_RETRY_MS);
}

static void settle(struct wal *wal, struct job_list *group, enum written written) {
  struct error full = {0};
  (void)error_set(&full, ERR_LOG_FULL, "the disk is full");
  if (written == WRITTEN_NOT) begin_again(wal);
  if (written == WRITTEN_UNKNOWN && !wal->failed) fail(wal, "the disk failed");
  for (struct job *job = group->first; job; job = job->next) {
    if (!job_is_durable(job)) continue;
    if (written == WRITTEN) {
      job->result = WAL_DURABLE;
      wal->stats.decisions += job->kind == JOB_DECIDE;
    } else {
      job_answer_error(job, written == WRITTEN_NOT ? WAL_REFUSED : WAL_UNKNOWN,
                       written == WRITTEN_NOT ? &full : &wal->failure);
    }
  }
}

static void keep_lazy(struct wal *wal, struct job *job) {
  if (wal->lazies.count == 0) loop_timer_start(wal->lazy_timer, (uint64_t)wal->lazy_flush_ms);
  job_push(&wal->lazies, job);
}

/* Lazy jobs go to `lazies`; what is answered stays. */
static void apply_group(struct wal *wal, struct job_list *group) {
  struct job_list all = *group;
  *group = (struct job_list){0};
  for (struct job *job; (job = job_pop(&all));) {
    if (!wal->failed) apply(wal, job);
    if (!job_is_lazy(job))
      job_push(group, job);
    else if (wal->failed)
      job_free(job);
    else
      keep_lazy(wal, job);
  }
}

static void start_group(struct wal *wal);

static void flush_if_due(struct wal *wal) {
  const struct job_list nobody = {0};
  if (wal->failed || !wal->lazy_due || wal->writing) return;
  struct job_list none = nobody;
  if (wal->lazies.count > 0) settle(wal, &none, write_group(wal, &none));
}

static void answer_all(struct job_list *group) {
  for (struct job *job; (job = job_pop(group));) {
    job_call_back(job);
    job_free(job);
  }
}

static void remove_expired(struct wal *wal) {
  int64_t ended_us = clock_wall_us() - wal->retention_ms * 1000;
  if (wal->failed) return;
  image_remove(&wal->disk->file, &wal->view, ended_us);
}

static void group_is_done(void *data) {
  struct wal *wal = data;
  struct job_list group = wal->group;
  wal->done = NULL;
  wal->group = (struct job_list){0};
  apply_group(wal, &group);
  if (wal->failed)
    settle(wal, &group, WRITTEN_UNKNOWN);
  else if (wal->durable)
    settle(wal, &group, write_group(wal, &group));
  remove_expired(wal);
  for (struct job *job = group.first; job; job = job->next) {
    if (job_is_durable(job)) continue;
    if (wal->failed)
      job_answer_error(job, WAL_UNKNOWN, &wal->failure);
    else
      image_read(&wal->view, job);
  }
  wal->writing = false;
  wal->stats.groups += wal->durable;
  flush_if_due(wal);
  start_group(wal);
  answer_all(&group);
}

static void start_group(struct wal *wal) {
  struct sim *sim = wal->disk->sim;
  if (wal->writing || wal->queue.count == 0) return;
  wal->writing = true;
  wal->group = wal->queue;
  wal->queue = (struct job_list){0};
  wal->durable = false;
  for (const struct job *job = wal->group.first; job; job = job->next)
    wal->durable = wal->durable || job_is_durable(job);
  uint64_t us = wal->durable ? sim_between(sim, WRITE_MIN_US, WRITE_MAX_US)
                             : sim_between(sim, READ_MIN_US, READ_MAX_US);
  if (wal->durable && sim_fault(sim, SIM_DISK_SLOW, wal->process->name))
    us = sim_between(sim, SLOW_MIN_US, SLOW_MAX_US);
  wal->stats.last_group_us = us;
  wal->done = sim_after(sim, wal->process->loop, us, group_is_done, wal);
}

static void lazy_is_due(void *data) {
  struct wal *wal = data;
  wal->lazy_due = true;
  flush_if_due(wal);
}

/* What the code under test says by it is judged at once. */
static void judge(const struct wal *wal, const struct job *job) {
  switch (job->kind) {
  case JOB_DECIDE: checks_decide(wal->process, job->is.put.record); break;
  case JOB_NOTE: checks_end(wal->process, job->is.put.record, job->is.put.record->outcome); break;
  case JOB_END: {
    const struct disk_entry *entry = image_find(&wal->disk->file, job->is.end.txid.text);
    if (entry) checks_end(wal->process, entry->record, job->is.end.outcome);
    break;
  }
  case JOB_AUDIT:
    if (job->with) judge(wal, job->with);
    break;
  case JOB_CONFIRM:
  case JOB_REMEMBER:
  case JOB_ANSWER:
  case JOB_LOOK_UP:
  case JOB_LOOK_UP_KEY:
  case JOB_LIST: break;
  }
}

void wal_submit(struct wal *wal, struct job *job) {
  if (wal->process->dead) {
    job_free(job);
    return;
  }
  judge(wal, job);
  wal->started = true;
  job_push(&wal->queue, job);
  start_group(wal);
}

/* ---- open, close, crash ----------------------------------------------------------------------- */

enum error_code wal_open(struct wal **out, struct loop *loop, const char *path,
                         const struct wal_options *options, struct error *err) {
  struct process *process = loop_process(loop);
  struct disk *disk = process->disk;
  if (disk->open) return error_set(err, ERR_LOG, "%s is in use by another coordinator", path);
  struct wal *wal = memory_must(calloc(1, sizeof *wal));
  wal->disk = disk;
  wal->process = process;
  assert(disk->epoch < LIVES_MAX);
  run_id_make(disk->lives[disk->epoch]);
  wal->epoch = ++disk->epoch;
  wal->lazy_flush_ms = options->lazy_flush_ms ? options->lazy_flush_ms : LAZY_FLUSH_MS;
  wal->retention_ms = options->retention_ms;
  wal->lazy_timer = loop_timer_new(loop, lazy_is_due, wal);
  image_copy(&wal->view, &disk->file);
  disk->open = wal;
  process->wal = wal;
  *out = wal;
  return ERR_OK;
}

/* The process is dead: what was being written is there or not. */
static void crash(struct wal *wal) {
  struct sim *sim = wal->disk->sim;
  if (wal->failed) return;
  bool written = wal->writing && wal->durable && sim_random(sim, 2) == 0;
  if (wal->writing && wal->durable)
    sim_trace(sim, "crash amid a group: %s", written ? "written" : "lost");
  if (!written && (wal->lazies.count == 0 || sim_fault(sim, SIM_DISK_LAZY_LOST, "crash"))) return;
  put_in_file(wal, &wal->lazies);
  if (written) put_in_file(wal, &wal->group);
}

void wal_close(struct wal *wal) {
  if (wal->process->dead) {
    crash(wal);
  } else if (!wal->failed) {
    put_in_file(wal, &wal->lazies);
    put_in_file(wal, &wal->group);
    put_in_file(wal, &wal->queue);
  }
  wal->disk->open = NULL;
  wal->process->wal = NULL;
  sim_cancel(wal->done);
  loop_timer_free(wal->lazy_timer);
  job_clear(&wal->queue);
  job_clear(&wal->group);
  job_clear(&wal->lazies);
  image_clear(&wal->view);
  free(wal);
}

const struct cluster_id *wal_cluster(const struct wal *wal) {
  return &wal->disk->cluster;
}

uint64_t wal_epoch(const struct wal *wal) {
  return wal->epoch;
}

const char *wal_run_id(const struct wal *wal) {
  return wal->disk->lives[wal->epoch - 1];
}

bool wal_had_life(const struct wal *wal, uint64_t epoch, const char *run_id) {
  return epoch >= 1 && epoch <= wal->epoch && strcmp(wal->disk->lives[epoch - 1], run_id) == 0;
}

struct wal_stats wal_stats(const struct wal *wal) {
  return wal->stats;
}

void wal_histograms(struct wal *wal, struct histogram *group_sizes, struct histogram *commits) {
  (void)wal;
  histogram_init(group_sizes, NULL, 0);
  histogram_init(commits, NULL, 0);
}

enum error_code wal_each_unfinished(struct wal *wal, wal_each_fn fn, void *data,
                                    struct error *err) {
  assert(!wal->started);
  for (size_t i = 0; i < wal->view.count; i++) {
    const struct disk_entry *entry = &wal->view.entries[i];
    if (entry->ended) continue;
    enum error_code code = fn(data, entry->record, err);
    if (code != ERR_OK) return code;
  }
  remove_expired(wal);
  return ERR_OK;
}
