/* How many instructions does a transaction cost the daemons? Times on a shared machine say little; this
 * hardly varies. `make bench-guard` holds it against bench/guard.txt, so that a change that makes the hot
 * path dearer is seen in the change, not a year later.
 *
 * Each daemon runs under valgrind (cachegrind, without its caches), embedded and as coordinator with two
 * agents, for a short and for a long run of transfers by one client. The difference between the two runs
 * is that of the transfers alone: starting, connecting and ending are in both.
 *
 * The figures are those of Debian 12's compiler and libraries at -O2. More than TOLERANCE_PERCENT above
 * them fails; as much below asks for the new figure to be stored.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/load.h"
#include "bench/site.h"

enum { SHORT_RUN = 100, LONG_RUN = 600, TOLERANCE_PERCENT = 8, NAME_SIZE = 32 };

static struct site site;

static void tear_down(void) {
  site_close(&site);
}

/* "I refs: 12,345" at the end of what valgrind wrote into the daemon's log. */
static double read_instructions(const char *path) {
  char line[300];
  double count = 0;
  FILE *file = fopen(path, "re");
  must(file != NULL, path, strerror(errno));
  while (fgets(line, sizeof line, file)) {
    const char *at = strstr(line, "refs:");
    if (!at || !strstr(line, "I ")) continue;
    for (count = 0; *at; at++)
      if (*at >= '0' && *at <= '9') count = count * 10 + (*at - '0');
  }
  (void)fclose(file);
  must(count > 0, path, "valgrind has counted nothing");
  return count;
}

static void *run_clients(void *data) {
  http_run(data);
  return NULL;
}

/* Exactly `count` transfers of one client. */
static void run_transfers(enum hosting hosting, unsigned count, uint64_t seed) {
  struct load load = {.site = &site,
                      .clients = 1,
                      .transfers_max = count,
                      .port = site.daemons[hosting].port,
                      .seed = seed};
  pthread_t thread;
  must(pthread_create(&thread, NULL, run_clients, &load) == 0, "threads", "cannot be made");
  (void)pthread_join(thread, NULL);
  must(atomic_load(&load.committed) == count, "transfers", "are missing");
  site_check(&site, atomic_load(&load.moved));
}

struct instructions {
  double coordinator, agent;
};

static void log_of(const struct process *process, char path[512]) {
  (void)snprintf(path, 512, "%s", process ? process_log_path(process) : "");
}

static struct instructions count_run(enum hosting hosting, unsigned transfers) {
  struct instructions found = {0};
  char coordinator[512], agent[512];
  site_start(&site, hosting);
  log_of(site.daemons[hosting].coordinator, coordinator);
  log_of(site.daemons[hosting].agents[0], agent);
  run_transfers(hosting, transfers, transfers);
  site_stop(&site, hosting);
  found.coordinator = read_instructions(coordinator);
  if (hosting == HOSTING_AGENTS) found.agent = read_instructions(agent);
  return found;
}

static struct instructions count_transfer(enum hosting hosting) {
  struct instructions few = count_run(hosting, SHORT_RUN), many = count_run(hosting, LONG_RUN);
  double more = LONG_RUN - SHORT_RUN;
  return (struct instructions){(many.coordinator - few.coordinator) / more,
                               (many.agent - few.agent) / more};
}

/* True when it is not dearer than stored; `path` has lines "NAME COUNT". */
static bool hold_against(const char *path, const char *name, double is) {
  char known[NAME_SIZE];
  double stored = 0, count;
  FILE *file = fopen(path, "re");
  must(file != NULL, path, strerror(errno));
  while (fscanf(file, "%31s %lf", known, &count) == 2)
    if (strcmp(known, name) == 0) stored = count;
  (void)fclose(file);
  double percent = stored > 0 ? (is / stored - 1) * 100 : 0;
  const char *word = stored == 0                            ? "not stored yet"
                     : percent > TOLERANCE_PERCENT          ? "TOO MANY"
                     : percent < -(double)TOLERANCE_PERCENT ? "fewer: store it"
                                                            : "as stored";
  printf("%-12s %9.0f instructions a transaction, stored %9.0f (%+.1f %%): %s\n", name, is, stored,
         percent, word);
  return stored > 0 && percent <= TOLERANCE_PERCENT;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    (void)fprintf(stderr, "usage: bench-guard FILE\n");
    return 2;
  }
  static const char *const valgrind[] = {"/usr/bin/valgrind", "--tool=cachegrind", "--cache-sim=no",
                                         "--cachegrind-out-file=/dev/null", NULL};
  must(atexit(tear_down) == 0, "atexit", strerror(errno));
  site.wrapper = valgrind;
  site.quiet = true;
  site_open(&site);
  struct instructions embedded = count_transfer(HOSTING_EMBEDDED);
  struct instructions agents = count_transfer(HOSTING_AGENTS);
  bool good = hold_against(argv[1], "embedded", embedded.coordinator);
  good = hold_against(argv[1], "coordinator", agents.coordinator) && good;
  good = hold_against(argv[1], "agent", agents.agent) && good;
  return good ? 0 : 1;
}
