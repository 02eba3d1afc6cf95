/* Clients of a demonstration or a torture: threads that make transfers over HTTP and remember what
 * they were told about each.
 *
 * A transfer ends when its outcome is known: told in its answer, or, where the answer was lost,
 * asked for by its label. A transfer is sent again only when the answer says that nothing happened.
 * While the coordinator is down (load_set_up) clients wait; those whose request is under way lose
 * their answer.
 */
#ifndef ASSENT_CLI_LOAD_H
#define ASSENT_CLI_LOAD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/transfer_plan.h"
#include "common/error.h"

struct load;

struct load_options {
  const char *url;             /* borrowed, as all here */
  const char *participants[2]; /* the banks' names */
  const char *schema;          /* of their tables, with its dot: "other."; or "" */
  /* Of the banks, for transfers that the clients prepare themselves. NULL: the coordinator runs these, too. */
  const char *dsns[2];
  struct transfer_source source;
  unsigned first, transfers; /* the indices from `first` on */
  unsigned clients;
  unsigned timeout_ms; /* of each transfer */
};

enum told { TOLD_NOTHING, TOLD_COMMITTED, TOLD_ABORTED, TOLD_MIXED };
const char *told_name(enum told told);

struct load_record {
  enum told told;
  bool is_lost;     /* the answer was lost, or said that it is not settled yet: told when asked */
  bool is_prepared; /* by the client: both branches */
};

struct load_counts {
  unsigned finished, in_flight;
  unsigned committed, aborted, mixed;
  unsigned aborted_by_timeout;
  unsigned lost, lost_committed, lost_aborted;
  unsigned resent;   /* the request never left, or was refused for the moment */
  unsigned detours;  /* requests sent by load_detour() */
  unsigned prepared; /* transfers committed of those that the clients have prepared themselves */
};

/* All threads end by load_stop() or load_drain(), or when all transfers have. Owner: load_free(). */
enum error_code load_start(struct load **out, const struct load_options *options, struct error *err)
    __attribute__((warn_unused_result));
/* Stops, if need be, and joins; calls under way must end by themselves (kill the coordinator). */
void load_free(struct load *load);
void load_stop(struct load *load);

/* Begins no more transfers; waits until those begun have ended. False: not within the time. */
bool load_drain(struct load *load, unsigned timeout_ms);

void load_set_up(struct load *load, bool is_up);
/* Calls from now on go there, to one that passes them on to the coordinator and may lose them on the way;
 * NULL: to the coordinator again. Borrowed until load_free(). */
void load_detour(struct load *load, const char *url);

/* Waits until so many have ended, at most so long. */
bool load_wait_finished(struct load *load, unsigned count, unsigned timeout_ms);
struct load_counts load_count(struct load *load);
/* What went wrong in a way that no outcome is (an answer that is not in the contract, no outcome
 * within a minute); false: nothing. */
bool load_failure(struct load *load, struct error *err);

/* After all have ended: the number of transfers begun, which are the first ones. */
unsigned load_begun(struct load *load);
/* After all have ended; index from options.first on. */
const struct load_record *load_record(const struct load *load, unsigned index);

/* What a transaction object says of its outcome. */
enum told load_outcome(const json_t *transaction);

/* Asks by label what became of a transfer; NOTHING while it has no outcome. `is_listed` false: the
 * coordinator does not know the label, told is ABORTED (never decided committed). For one thread.
 */
struct http_caller;
enum error_code load_ask(struct http_caller *caller, const char *url, const char *label,
                         enum told *told, bool *is_listed, struct error *err)
    __attribute__((warn_unused_result));

#endif
