/* What the transfers run on: two throwaway servers with a table of accounts each, and the daemons in both
 * ways of hosting the agents, side by side. All are children of ours with their calls counted (count.h),
 * and fsync is on.
 */
#ifndef ASSENT_BENCH_SITE_H
#define ASSENT_BENCH_SITE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/count.h"
#include "cli/process.h"
#include "cli/throwaway.h"

enum { BANKS = 2, ACCOUNTS = 100000, BALANCE = 1000000000, CLIENTS_MAX = 512 };

/* OTHER: embedded, too; a second one, or one with settings of its own. */
enum hosting { HOSTING_NONE, HOSTING_EMBEDDED, HOSTING_AGENTS, HOSTING_OTHER, HOSTINGS };

struct daemons {
  struct process *coordinator, *agents[BANKS]; /* NULL: none */
  uint16_t port;
};

struct site {
  struct throwaway *throwaway;
  struct throwaway_server *servers[BANKS];
  char dsn[BANKS][THROWAWAY_DSN_SIZE];
  char directory[400];
  PGconn *connections[BANKS]; /* to look and to check */
  int64_t balance[BANKS];     /* what the accounts hold together */
  struct daemons daemons[HOSTINGS];
  struct count_file *counts;
  unsigned connections_setting; /* of the daemons; 0: their default */
  const char *const *wrapper;   /* words before the daemons' programs; NULL: none */
  const char *data_dir;         /* of the next coordinator; NULL: a new one */
  const char *settings;         /* more lines of its section; NULL: none */
  const char *participants;     /* more sections of its file; NULL: none */
  bool quiet;                   /* the daemons do nothing by the clock */
  unsigned lives;               /* daemons started; each has a name of its own */
};

/* Servers and tables. */
void site_open(struct site *site);
/* With a log of its own, which knows of nothing. */
void site_start(struct site *site, enum hosting hosting);
/* Asks the daemons to end. */
void site_stop(struct site *site, enum hosting hosting);
void site_close(struct site *site);

/* Waits until nothing is prepared, and ends the program when money is not where `moved` (from bank 0 to
 * bank 1) says. */
void site_check(struct site *site, int64_t moved);
/* So that one round's dirty pages are not the next one's. */
void site_checkpoint(struct site *site);

#endif
