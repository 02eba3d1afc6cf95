/* One call of the log on its way from the loop thread to the writer and back. */
#ifndef ASSENT_WAL_JOB_H
#define ASSENT_WAL_JOB_H

#include "wal/store.h"

enum job_kind {
  JOB_DECIDE,
  JOB_AUDIT,
  JOB_REMEMBER,
  JOB_NOTE,
  JOB_CONFIRM,
  JOB_END,
  JOB_ANSWER,
  JOB_LOOK_UP,
  JOB_LOOK_UP_KEY,
  JOB_LIST
};

enum { JOB_TEXTS_MAX = 3 };

struct job {
  struct job *next;
  enum job_kind kind;
  union {
    struct {
      struct wal_record *record;
      int64_t ended_at_us; /* 0: a decision */
    } put;
    struct store_audit audit;
    struct store_confirm confirm;
    struct store_end end;
    struct wal_key *key; /* REMEMBER and ANSWER */
    struct {
      const char *name_space, *name;
    } named;
    struct txid txid;
    struct wal_filter filter;
  } is;
  union {
    wal_decided_fn decided;
    wal_found_fn found;
    wal_key_found_fn key_found;
    wal_listed_fn listed;
  } fn;
  void *data;
  struct job *with; /* owned: written with this one or not at all; NULL: nothing */
  enum wal_result result;
  struct record_list records; /* found or listed */
  struct wal_key *found_key;
  char *owned[JOB_TEXTS_MAX]; /* texts that `is` points to */
  struct error *err;          /* owned; NULL: none; job_error() makes it */
};

struct job_list {
  struct job *first, *last;
  size_t count;
};

/* Owner: job_free(), with all that it holds. */
struct job *job_new(enum job_kind kind);
void job_free(struct job *job);
struct error *job_error(struct job *job); /* to be filled; one without a code is none */
/* A copy of `text` that goes with the job; NULL gives NULL. */
const char *job_keep_text(struct job *job, const char *text);

bool job_is_lazy(const struct job *job);    /* has no answer, waits for the next COMMIT */
bool job_is_durable(const struct job *job); /* answered when it is on the disk */
void job_answer_error(struct job *job, enum wal_result result, const struct error *err);
void job_call_back(struct job *job);

/* The log takes the job over: wal.h says when it is answered, and what that proves. */
void wal_submit(struct wal *wal, struct job *job);

void job_push(struct job_list *list, struct job *job); /* at the end */
struct job *job_pop(struct job_list *list);            /* from the front; NULL: it is empty */
void job_clear(struct job_list *list);

#endif
