/* See job.h. */
#include "wal/job.h"

#include <assert.h>
#include <stdlib.h>

#include "common/memory.h"

void job_push(struct job_list *list, struct job *job) {
  job->next = NULL;
  if (list->last)
    list->last->next = job;
  else
    list->first = job;
  list->last = job;
  list->count++;
}

struct job *job_pop(struct job_list *list) {
  struct job *job = list->first;
  if (!job) return NULL;
  list->first = job->next;
  if (!list->first) list->last = NULL;
  list->count--;
  job->next = NULL;
  return job;
}

struct job *job_new(enum job_kind kind) {
  struct job *job = memory_must(memory_zeroed(sizeof *job));
  job->kind = kind;
  return job;
}

const char *job_keep_text(struct job *job, const char *text) {
  char **place = job->owned;
  while (place < &job->owned[JOB_TEXTS_MAX - 1] && *place)
    place++;
  assert(!*place);
  return *place = text_copy(text);
}

struct error *job_error(struct job *job) {
  if (!job->err) job->err = memory_must(memory_zeroed(sizeof *job->err));
  return job->err;
}

void job_free(struct job *job) {
  if (job->kind == JOB_DECIDE || job->kind == JOB_NOTE) free(job->is.put.record);
  if (job->kind == JOB_REMEMBER || job->kind == JOB_ANSWER) free(job->is.key);
  if (job->with) job_free(job->with);
  free(job->found_key);
  free(job->err);
  for (size_t i = 0; i < JOB_TEXTS_MAX; i++)
    free(job->owned[i]);
  record_list_clear(&job->records);
  free(job);
}

void job_clear(struct job_list *list) {
  for (struct job *job; (job = job_pop(list));)
    job_free(job);
}

bool job_is_lazy(const struct job *job) {
  return job->kind == JOB_NOTE || job->kind == JOB_CONFIRM || job->kind == JOB_END ||
         job->kind == JOB_ANSWER;
}

bool job_is_durable(const struct job *job) {
  return job->kind == JOB_DECIDE || job->kind == JOB_AUDIT || job->kind == JOB_REMEMBER;
}

void job_answer_error(struct job *job, enum wal_result result, const struct error *err) {
  job->result = result;
  *job_error(job) = *err;
}

void job_call_back(struct job *job) {
  const struct error *err = job->err && job->err->code != ERR_OK ? job->err : NULL;
  switch (job->kind) {
  case JOB_DECIDE:
  case JOB_AUDIT:
  case JOB_REMEMBER: job->fn.decided(job->data, job->result, err); break;
  case JOB_LOOK_UP: job->fn.found(job->data, job->records.items, err); break;
  case JOB_LOOK_UP_KEY:
    job->fn.key_found(job->data, job->found_key, job->records.items, err);
    break;
  case JOB_LIST: job->fn.listed(job->data, job->records.items, job->records.count, err); break;
  case JOB_NOTE:
  case JOB_CONFIRM:
  case JOB_END:
  case JOB_ANSWER: break;
  }
}
