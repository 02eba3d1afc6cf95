/* One script of calls to an adapter, and what each was answered, as text.
 *
 * It is run twice: against PostgreSQL, and against the model of it that the simulator stands on
 * (tests/sim/database.h). `make twin` compares the two, line by line: kinds of answers, SQLSTATEs,
 * results, whether a session lives on, and xids, counted from the first one.
 */
#ifndef ASSENT_TESTS_MODEL_TRANSCRIPT_H
#define ASSENT_TESTS_MODEL_TRANSCRIPT_H

#include "adapters/adapter.h"

enum {
  TRANSCRIPT_ACCOUNTS = 8,
  TRANSCRIPT_BALANCE = 100, /* of each */
  TRANSCRIPT_PREPARED_MAX = 5,
  TRANSCRIPT_DEADLOCK_MS = 200
};

struct transcript_server {
  struct adapter *adapter;
  void (*step)(void);            /* runs the loop for a moment */
  size_t (*waiting)(void);       /* sessions that wait for a lock, as the server sees it */
  const char *add, *read, *fail; /* the statements of tests/sim/database.h */
};

/* Runs the script on it; to standard output. */
void transcript_write(const struct transcript_server *to);

#endif
