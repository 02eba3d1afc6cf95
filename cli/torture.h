/* What the parts of `assent torture` share: what was asked for, what stands, what was found. */
#ifndef ASSENT_CLI_TORTURE_H
#define ASSENT_CLI_TORTURE_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/bank.h"
#include "cli/load.h"
#include "cli/problems.h"
#include "cli/samples.h"
#include "cli/stage.h"
#include "cli/torture_plan.h"
#include "common/error.h"

enum {
  TORTURE_MARKS = 1024,
  TORTURE_TRANSFERS_MAX = 20000, /* in a round: more than any machine can */
  TORTURE_RETENTION_MS = 180000 /* of the coordinator: longer than any client asks for an outcome */
};

struct torture_options {
  bool agents, standbys, asynchronous, json, keep, write;
  int64_t seconds, rounds, kills; /* the first limit reached ends the run; 0: no such limit */
  int64_t clients, seed;
  const char *faults; /* NULL: all */
  const char *config; /* NULL: throwaway servers */
};

struct torture_findings {
  unsigned rounds, kills, faults[FAULT_KINDS_MAX];
  struct load_counts load; /* of all rounds */
  int64_t elapsed_us;
  struct samples recovery_us; /* of each restart: until nothing prepared before it was left */
  struct samples settle_us;   /* of each round: from its last mend until nothing was in doubt */
  unsigned unrecovered;       /* restarts of which that never came to be seen */
  unsigned checked, asked_again;
  int64_t money_before, money_after;
  /* With asynchronous standbys: branches that failovers have lost, and what they had moved. */
  unsigned hazards;  /* told by the coordinator */
  unsigned unseen;   /* confirmed before, so that it does not know */
  unsigned resolved; /* unknown to it, until we had looked */
  int64_t money_lost;
  int64_t memory_kb_max, descriptors_max, log_bytes_max;
  struct problems violations;
};

/* At the end of a round. */
struct torture_mark {
  uint64_t at_us;
  unsigned transfers;
};

struct watch;
struct http_caller;
struct proxy;

enum { TORTURE_PATH_SIZE = 512, TORTURE_FAULTS_SIZE = 64, TORTURE_FORMERS_MAX = 5 };

/* Of a transfer, when its round was over. */
struct torture_verdict {
  enum told told;
  bool lost[BANKS]; /* its branch, by a failover */
};

/* The user's (torture_config.c). */
struct torture_database {
  char name[64], keys[2048], dsn[TORTURE_PATH_SIZE];
};

struct torture_databases {
  struct torture_database databases[BANKS];
  struct stage_database stage[BANKS]; /* the same, as the stage wants them */
};

enum hop { HOP_DATABASE, HOP_AGENT, HOP_OURS, HOP_CLIENT /* one, not one a bank */, HOPS };

/* What a daemon is started with (torture_calls.c). */
struct torture_life {
  char preload[TORTURE_PATH_SIZE + 32], faults[TORTURE_FAULTS_SIZE + 32];
  char below[TORTURE_PATH_SIZE + 32], only_while[TORTURE_PATH_SIZE + 32];
  const char *environment[6];
  bool may_abort;
};

struct torture {
  struct torture_options options;
  struct transfer_source source;
  struct fault_choice choices[FAULT_KINDS_MAX];
  size_t choice_count;
  struct stage *stage;
  struct torture_databases databases; /* only with options.config */
  char cluster[16];                   /* only then */
  bool has_schema[BANKS];             /* made by us */
  struct bank *banks[BANKS];
  struct watch *watch;
  struct load *load; /* of this round; NULL between rounds */
  struct http_caller *caller;
  struct torture_findings findings;
  uint64_t begin_us;
  unsigned first;                   /* index of this round's first transfer */
  struct torture_verdict *told;     /* of each transfer of the rounds before */
  struct torture_verdict *verdicts; /* of this round's; TORTURE_TRANSFERS_MAX; NULL: as was told */
  size_t told_capacity;
  struct torture_mark marks[TORTURE_MARKS];
  int64_t remembered_max; /* transfers in the log, as a bound */
  /* What is broken now. */
  bool is_down[STAGE_TARGETS], is_paused[STAGE_TARGETS];
  bool is_faulty[STAGE_TARGETS]; /* lives in which calls fail: it may end by itself */
  bool is_database_down[BANKS], is_database_paused[BANKS];
  bool is_hop_bad[HOPS][BANKS];
  bool is_disk_full, was_disk_full;         /* now; in the coordinator's present life */
  struct proxy *proxies[HOPS][BANKS];       /* NULL: none */
  char client_url[64];                      /* by HOP_CLIENT */
  struct throwaway_server *standbys[BANKS]; /* NULL: none */
  bool is_held[BANKS];                      /* they receive nothing */
  unsigned standby_number;
  /* Of this round's failovers to asynchronous standbys: what was replaced. */
  struct throwaway_server *formers[BANKS][TORTURE_FORMERS_MAX];
  unsigned former_count[BANKS];
  char dsn[BANKS][TORTURE_PATH_SIZE]; /* by which we look at the databases */
  struct torture_life lives[STAGE_TARGETS];
  char library[TORTURE_PATH_SIZE]; /* "": not in use */
  char disk_full[TORTURE_PATH_SIZE];
  /* For the live view. */
  bool is_terminal;
  uint64_t shown_us;
  char last[64];
};

extern const char torture_schema[]; /* "assent_torture.": where its tables are */

enum told torture_told(const struct torture *t, unsigned index); /* of an earlier round */
bool torture_lost(const struct torture *t, unsigned index, int bank);
/* True once the user has pressed Ctrl-C. */
bool torture_interrupted(void);
void torture_violation(struct torture *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- torture_faults.c: the kinds of faults ---------------------------------------------------- */

/* All kinds with the weights that this stage allows for. */
void torture_kinds(const struct torture_options *options, struct fault_choice *out, size_t *count);
const char *torture_kind_name(unsigned kind);
/* Some of the kinds that begin so ("disk") are among those chosen. */
bool torture_has_kinds(const struct torture *t, const char *begin);
bool torture_needs_proxies(const struct torture *t);
/* A line for each kind, for --help. */
extern const char torture_kinds_help[];
/* Breaks it. False when it could not be done now, being broken already; then there is nothing to
 * mend. */
bool torture_break(struct torture *t, const struct fault_event *event);
enum error_code torture_mend(struct torture *t, const struct fault_event *event, struct error *err)
    __attribute__((warn_unused_result));
/* Daemons may end only by our hand, or where calls of theirs fail. One that ended on a full disk is
 * started again when there is room. What is not so is a violation. */
enum error_code torture_watch_over(struct torture *t, struct error *err)
    __attribute__((warn_unused_result));
/* Whatever is paused goes on, so that nobody waits for it. */
void torture_resume_all(struct torture *t);

/* ---- torture_round.c ------------------------------------------------------------------------- */

/* One round with its checks; what is wrong is a violation. An error: it could not be run. */
enum error_code torture_round(struct torture *t, struct error *err)
    __attribute__((warn_unused_result));

/* ---- torture_check.c ------------------------------------------------------------------------- */

/* Everything runs again: waits until all transfers have an outcome and nothing is in doubt. */
enum error_code torture_settle(struct torture *t, uint64_t mended_us, struct error *err)
    __attribute__((warn_unused_result));
/* Money, the ledgers and the coordinator's list against what was told in this round, and what the
 * daemons hold of the machine. */
enum error_code torture_check(struct torture *t, struct error *err)
    __attribute__((warn_unused_result));
/* All rounds once more against the ledgers. */
enum error_code torture_check_all(struct torture *t, struct error *err)
    __attribute__((warn_unused_result));

/* ---- torture_watch.c: a thread that looks how long a recovery takes ---------------------------- */

/* Looks at what t->banks look at, on connections of its own. Owner: watch_free(). */
enum error_code watch_start(struct watch **out, const struct torture *t, struct error *err)
    __attribute__((warn_unused_result));
/* NULL is allowed; nothing may be paused any more. */
void watch_free(struct watch *watch);
/* Something is started now: takes the time until nothing that is prepared now is left. */
void watch_restart(struct watch *watch);
/* Prepared transactions, at the last look. */
int64_t watch_in_doubt(struct watch *watch);
/* What has been measured since the last call is added; returns how many are still waited for. */
unsigned watch_take(struct watch *watch, struct samples *recovery_us);

/* ---- torture_report.c -------------------------------------------------------------------------- */

/* A line that is written over on a terminal; else a line now and then. */
void torture_show(struct torture *t, bool is_now);
void torture_show_end(const struct torture *t);
void torture_report(struct torture *t);
void torture_report_json(struct torture *t);

#endif
