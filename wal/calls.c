/* The log's calls on the loop thread: each becomes a job, with copies of what it was given. Who carries the
 * jobs out has wal_submit(): writer.c, and the simulator's model of a disk. */
#include <assert.h>

#include "common/clock.h"
#include "wal/job.h"

/* ---- records, answers, audit lines ------------------------------------------------------------ */

void wal_decide(struct wal *wal, const struct wal_record *record, wal_decided_fn fn, void *data) {
  assert(record_fault(record, wal_cluster(wal)) == NULL); /* it could not be read back */
  assert((record->kind == WAL_KIND_COMMIT && record->outcome == WAL_OUTCOME_COMMITTED) ||
         (record->kind == WAL_KIND_DELEGATED && record->outcome == WAL_OUTCOME_NONE));
  struct job *job = job_new(JOB_DECIDE);
  job->is.put.record = record_copy(record);
  job->fn.decided = fn;
  job->data = data;
  wal_submit(wal, job);
}

static struct job *note_job(const struct wal *wal, const struct wal_record *record) {
  assert(record_fault(record, wal_cluster(wal)) == NULL);
  assert(record->kind == WAL_KIND_ABORTED);
  struct job *job = job_new(JOB_NOTE);
  job->is.put.record = record_copy(record);
  job->is.put.ended_at_us = clock_wall_us();
  return job;
}

void wal_note_aborted(struct wal *wal, const struct wal_record *record) {
  wal_submit(wal, note_job(wal, record));
}

static struct job *confirm_job(const struct txid *txid, unsigned id, enum branch_outcome outcome,
                               int64_t at_us) {
  assert(id >= 1 && id <= BRANCH_ID_MAX && outcome != BRANCH_OUTCOME_RETRY);
  struct job *job = job_new(JOB_CONFIRM);
  job->is.confirm =
      (struct store_confirm){.txid = *txid, .branch = id, .outcome = outcome, .at_us = at_us};
  return job;
}

void wal_confirm(struct wal *wal, const struct txid *txid, unsigned id, enum branch_outcome outcome,
                 int64_t at_us) {
  wal_submit(wal, confirm_job(txid, id, outcome, at_us));
}

void wal_end(struct wal *wal, const struct txid *txid, enum wal_outcome outcome,
             const struct cause *cause, int64_t decided_at_us, int64_t applied_at_us) {
  assert(outcome != WAL_OUTCOME_NONE);
  struct job *job = job_new(JOB_END);
  job->is.end = (struct store_end){.txid = *txid,
                                   .outcome = outcome,
                                   .has_cause = cause != NULL,
                                   .decided_at_us = decided_at_us,
                                   .applied_at_us = applied_at_us,
                                   .ended_at_us = clock_wall_us()};
  if (cause) job->is.end.cause = *cause;
  wal_submit(wal, job);
}

void wal_audit(struct wal *wal, const struct txid *txid, unsigned branch, const char *event,
               const char *detail, int64_t at_us, wal_decided_fn fn, void *data) {
  const struct wal_alarm line = {
      .branch = branch, .event = event, .detail = detail, .at_us = at_us};
  wal_alarm(wal, txid, &line, fn, data);
}

void wal_alarm(struct wal *wal, const struct txid *txid, const struct wal_alarm *alarm,
               wal_decided_fn fn, void *data) {
  struct job *job = job_new(JOB_AUDIT);
  job->is.audit = (struct store_audit){.txid = *txid,
                                       .branch = alarm->branch,
                                       .event = job_keep_text(job, alarm->event),
                                       .detail = job_keep_text(job, alarm->detail),
                                       .at_us = alarm->at_us};
  if (alarm->noted)
    job->with = note_job(wal, alarm->noted);
  else if (alarm->outcome != BRANCH_OUTCOME_RETRY)
    job->with = confirm_job(txid, alarm->branch, alarm->outcome, alarm->at_us);
  job->fn.decided = fn;
  job->data = data;
  wal_submit(wal, job);
}

void wal_answer(struct wal *wal, const struct wal_key *key) {
  assert(key_fault(key) == NULL && key->status != 0);
  struct job *job = job_new(JOB_ANSWER);
  job->is.key = key_copy(key);
  wal_submit(wal, job);
}

void wal_remember(struct wal *wal, const struct wal_key *key, wal_decided_fn fn, void *data) {
  assert(key_fault(key) == NULL && key->status != 0);
  struct job *job = job_new(JOB_REMEMBER);
  job->is.key = key_copy(key);
  job->fn.decided = fn;
  job->data = data;
  wal_submit(wal, job);
}

/* ---- reading ---------------------------------------------------------------------------------- */

void wal_look_up(struct wal *wal, const struct txid *txid, wal_found_fn fn, void *data) {
  struct job *job = job_new(JOB_LOOK_UP);
  job->is.txid = *txid;
  job->fn.found = fn;
  job->data = data;
  wal_submit(wal, job);
}

void wal_look_up_key(struct wal *wal, const char *name_space, const char *name, wal_key_found_fn fn,
                     void *data) {
  struct job *job = job_new(JOB_LOOK_UP_KEY);
  job->is.named.name_space = job_keep_text(job, name_space);
  job->is.named.name = job_keep_text(job, name);
  job->fn.key_found = fn;
  job->data = data;
  wal_submit(wal, job);
}

void wal_list(struct wal *wal, const struct wal_filter *filter, wal_listed_fn fn, void *data) {
  assert(filter->limit >= 1 && filter->limit <= 1000);
  struct job *job = job_new(JOB_LIST);
  job->is.filter = *filter;
  job->is.filter.participant = job_keep_text(job, filter->participant);
  job->is.filter.label = job_keep_text(job, filter->label);
  job->is.filter.owner = job_keep_text(job, filter->owner);
  job->fn.listed = fn;
  job->data = data;
  wal_submit(wal, job);
}
