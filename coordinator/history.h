/* Timelines of transactions that have ended; see observe.c. */
#ifndef ASSENT_COORDINATOR_HISTORY_H
#define ASSENT_COORDINATOR_HISTORY_H

#include "coordinator/internal.h"

struct past {
  struct txid id;
  const char *state; /* static */
  enum wal_outcome outcome;
  struct cause *cause; /* owned; NULL: none */
  struct timeline timeline;
  struct past *prev, *next;
  UT_hash_handle hh;
  const char *owner; /* behind the members */
  unsigned branch_count;
  const struct member *members[]; /* of the branches, by index */
};

const struct past *history_find(const struct coordinator *c, const struct txid *id);

#endif
