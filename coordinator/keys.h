/* Requests that their clients have named (Idempotency-Key), so that they can be repeated.
 *
 * A key is claimed by the first request that comes with it, in memory, until its transaction has ended;
 * from the decision on the log has it, too (wal.h), and what it was answered. Whoever asks about a key
 * is told what is known of it:
 *
 *   nothing -> NEW, claimed -> RUNNING -> ANSWERED, LIVE (told that it is not settled)
 *                                           after a crash: LIVE, RECORDED, ANSWERED; or NEW: never decided
 *
 * An answer is told when it will be found again: at once where a decision is in the log, from which it
 * could be made again; an abort without one when the answer itself is durable.
 */
#ifndef ASSENT_COORDINATOR_KEYS_H
#define ASSENT_COORDINATOR_KEYS_H

#include "coordinator/coordinator.h"

enum { KEY_RESULTS_MAX = 65536 }; /* results of statements that are kept for a repeated request */

struct key_claim;

/* Borrowed. */
struct key_id {
  const char *name_space, *name, *fingerprint;
};

enum key_news {
  KEY_UNKNOWABLE, /* the log cannot be read: `err` */
  KEY_NEW,        /* it is yours: key_claim_attach() or key_claim_drop() */
  KEY_RUNNING,    /* the first request has not been answered; `transaction` if it is known */
  KEY_REUSED,     /* for another request */
  KEY_ANSWERED,   /* `status`, `body`, `txid` */
  KEY_LIVE,       /* no answer is kept, or it is out of date: `transaction`, which has a claim */
  KEY_RECORDED    /* the same: `key` and `record` */
};

struct key_found {
  enum key_news news;
  struct key_claim *claim;
  struct transaction *transaction;
  const struct txid *txid;
  int status;
  const char *body;
  const struct wal_key *key;
  const struct wal_record *record;
  const struct error *err;
};

/* Calls fn(data, found) once, perhaps before this returns. `data` is allocated: when the coordinator is
 * freed before, fn is not called and data is free()d; so it is for key_claim_answer(). */
typedef void (*key_fn)(void *data, const struct key_found *found);
void keys_ask(struct coordinator *c, const struct key_id *id, key_fn fn, void *data);

/* From here on the claim is the transaction's, and goes with it. */
void key_claim_attach(struct key_claim *claim, struct transaction *t);
/* Nothing has come of it: the next request with this key is a first one. */
void key_claim_drop(struct key_claim *claim);
struct key_claim *transaction_claim(const struct transaction *t); /* NULL: it has no key */

/* An answer is on its way to the disk: no other may be given. */
bool key_claim_is_busy(const struct key_claim *claim);
/* The answer to the first request, or a later one to a repeated one. `body` is borrowed; NULL: there was
 * no memory for it. fn(data, true) is called when it may be told, perhaps before this returns;
 * fn(data, false) when it cannot be kept: then the claim is gone. 202 is not kept, but may be told. */
typedef void (*key_kept_fn)(void *data, bool kept);
void key_claim_answer(struct key_claim *claim, int status, const char *body, key_kept_fn fn,
                      void *data);
/* The same for what was found in the log and is decided. */
void key_answer(struct coordinator *c, const struct wal_key *key, int status, const char *body);

/* The results of the statements of branch `id`, in what wal_key.results holds. Owner: the caller,
 * free(); NULL: none. */
char *key_results_of(const char *results, unsigned id);

#endif
