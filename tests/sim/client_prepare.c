/* Branches that an application prepares, on a connection of its own. See client.c. */
#include "tests/sim/client_internal.h"

enum { SOON_MAX_US = 5000, WHILE_MAX_US = 300000 };

static void ignored(void *data, bool prepared) {
  (void)data;
  (void)prepared;
}

/* One account stands for all that the branch was to move. */
void errand_prepare(struct errand *errand, unsigned database,
                    void (*done)(void *data, bool prepared)) {
  const struct clients_options *options = &errand->clients->options;
  int64_t sum = 0;
  unsigned account = 1;
  for (unsigned i = 0; i < errand->move_count; i++) {
    if (errand->moves[i].database != database) continue;
    account = errand->moves[i].account;
    sum += errand->moves[i].amount;
  }
  sim_database_prepare(options->databases[database], errand->gids[database], account, sum,
                       done ? done : ignored, errand);
}

/* An application that has lost its answer, and knows nothing of what became of the first: as long as
 * that one is prepared, this one waits for its lock. */
void errand_prepare_again(struct errand *errand) {
  errand->prepares_twice = false;
  for (unsigned i = 0; i < errand->clients->options.database_count; i++)
    if (errand->gids[i][0]) errand_prepare(errand, i, NULL);
}

static void due(void *data) {
  struct errand *errand = data;
  errand->again = NULL;
  if (errand->prepares_twice) errand_prepare_again(errand);
}

static void prepare_in(struct errand *errand, uint64_t us) {
  errand->again = sim_after(errand->clients->options.sim, NULL, us, due, errand);
}

/* Mostly while the first is prepared: this one has its lock as soon as that one is committed. */
void errand_prepare_soon(struct errand *errand) {
  struct sim *sim = errand->clients->options.sim;
  uint64_t most_us = sim_random(sim, 4) > 0 ? SOON_MAX_US : WHILE_MAX_US;
  prepare_in(errand, sim_random(sim, most_us));
}

/* Between the first gid and then the coordinator may have had other lives, and been fenced again. */
void errand_prepare_late(struct errand *errand) {
  if (!errand->again && errand->prepares_twice)
    prepare_in(errand, sim_random(errand->clients->options.sim, LATER_MAX_US));
}
