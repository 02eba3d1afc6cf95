/* Between load.c and load_prepared.c. */
#ifndef ASSENT_CLI_LOAD_INTERNAL_H
#define ASSENT_CLI_LOAD_INTERNAL_H

#include <libpq-fe.h>
#include <pthread.h>

#include "cli/client.h"
#include "cli/load.h"
#include "common/id.h"

enum { URL_SIZE = 512 };

struct load {
  struct load_options options;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  bool is_up, is_stopping, is_draining;
  unsigned life;
  const char *detour; /* NULL: none */
  unsigned begun;     /* transfers; the next one has the index first + begun */
  unsigned running;   /* threads */
  struct load_counts counts;
  struct error failure;
  struct load_record *records;
  pthread_t *threads;
  unsigned thread_count;
};

struct client_thread {
  struct load *load;
  struct http_caller *caller;
  PGconn *connections[2]; /* to the banks; NULL: none yet */
};

enum step {
  STEP_TOLD,       /* the record has the outcome */
  STEP_BEGUN,      /* the transaction is open */
  STEP_SEND_AGAIN, /* nothing happened */
  STEP_ASK,        /* not known */
  STEP_STOP
};

/* ---- load.c ------------------------------------------------------------------------------------ */

/* Where calls go now. Borrowed. */
const char *load_url(struct load *load, bool *is_detour);
/* Owner: answer_close(), on error too. */
enum error_code load_call(struct http_caller *caller, const char *method, const char *url,
                          const char *body, struct answer *answer, struct error *err)
    __attribute__((warn_unused_result));
/* POSTs to /v1/transactions and what follows, `path`. `life`: of the coordinator that was sent to, or, where
 * the call was lost on a detour, the one that may have got it. `id` (TXID_SIZE, may be NULL) gets the
 * transaction's when it is open. */
enum step load_post(struct client_thread *thread, const char *path, const char *body,
                    const char *label, struct load_record *record, unsigned *life, char *id);

/* ---- load_prepared.c --------------------------------------------------------------------------- */

/* One transfer whose branches the client prepares: begun, prepared, and its commit asked for, or its
 * rollback where something stood in the way. STEP_SEND_AGAIN: it was not begun. */
enum step prepared_send(struct client_thread *thread, const struct transfer_plan *plan,
                        const char *label, struct load_record *record, unsigned *life);
void prepared_close(struct client_thread *thread);

#endif
