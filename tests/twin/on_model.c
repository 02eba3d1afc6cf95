/* The script of transcript.c on the model database: no fault happens. */
#include <stdbool.h>
#include <stdlib.h>
#include <utlist.h>

#include "tests/twin/transcript.h"
#include "tests/sim/database_internal.h"
#include "tests/sim/process.h"

static struct sim *sim;
static struct sim_database *db;

static void step(void) {
  if (!sim_step(sim)) abort(); /* nothing is under way that could be waited for */
}

static size_t waiting(void) {
  size_t count = 0;
  const struct backend *b;
  DL_FOREACH(db->backends, b) count += b->wait == WAIT_LOCK && !b->lock_granted;
  return count;
}

static bool before(void *data, struct loop *loop) {
  (void)data;
  process_set_current(loop_process(loop));
  return true;
}

static void after(void *data, struct loop *loop) {
  (void)data;
  (void)loop;
  process_set_current(NULL);
}

int main(void) {
  const struct sim_settings settings = {.seed = 1};
  const struct sim_hooks hooks = {before, after, NULL};
  sim = sim_new(&settings);
  sim_hook(sim, &hooks);
  ambient_enter(sim);
  struct process process = {.sim = sim, .name = "transcript"};
  process.loop = sim_loop_new(sim, &process);
  const struct sim_database_options options = {.name = "model",
                                               .accounts = TRANSCRIPT_ACCOUNTS,
                                               .balance = TRANSCRIPT_BALANCE,
                                               .prepared_max = TRANSCRIPT_PREPARED_MAX};
  db = sim_database_new(sim, &options);
  const struct transcript_server server = {.adapter = sim_database_adapter(db, process.loop),
                                           .step = step,
                                           .waiting = waiting,
                                           .add = "UPDATE account",
                                           .read = "SELECT balance",
                                           .fail = "SELECT 1/0"};
  transcript_write(&server);
  server.adapter->ops->free(server.adapter);
  sim_database_free(db);
  loop_free(process.loop);
  sim_free(sim);
  return 0;
}
