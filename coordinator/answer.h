/* What is told of a transaction: a status and a document, from a live transaction or from its record. */
#ifndef ASSENT_COORDINATOR_ANSWER_H
#define ASSENT_COORDINATOR_ANSWER_H

#include "common/http_server.h"
#include "coordinator/coordinator.h"

enum purpose {
  TO_COMMIT,   /* 200 committed, 409 aborted, 202 not settled */
  TO_ROLLBACK, /* 200 aborted, 409 committed, 202 not settled */
  TO_READ,     /* 200 */
  TO_BEGIN,    /* 201, 409 aborted */
  TO_EXECUTE,  /* 200 {"branch","results"}, 409 aborted */
  TO_RESOLVE   /* 409: it has ended; live ones have an answer of their own */
};

struct answer {
  int status;
  char *body; /* free(); NULL: there was no memory for it */
  size_t length;
  struct txid id; /* of the transaction */
};

/* `branch`: for TO_EXECUTE. With `results` those of the statements go in, where there are any. */
void answer_make(struct answer *out, const struct transaction *t, enum purpose purpose,
                 enum wait_until until, unsigned branch, bool results);
/* `results` as in struct wal_key, or NULL. */
void answer_make_from_record(struct answer *out, const struct wal_record *record,
                             enum purpose purpose, const char *results);
/* The member that carries the object in a problem: "\"transaction\":{...}". Owner: the caller, free();
 * NULL: no memory. */
char *answer_object(const struct transaction *t);
/* `err` with that. */
void answer_make_problem(struct answer *out, const struct transaction *t, const struct error *err);

/* Takes the body. A 201 gets its Location; a replayed one says so. */
void answer_send(struct answer *answer, struct http_request *request, bool replayed);
/* A JSON document of one's own. */
void answer_json(struct http_request *request, int status, struct json_writer *w);

#endif
