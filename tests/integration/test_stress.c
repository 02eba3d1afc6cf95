/* Transfers from many threads while processes are killed. Each transfer leaves its name in both
 * banks' ledgers, so that afterwards it can be seen whether it happened: in both, if it was told
 * committed; in none, if it was told aborted; and in both or none in any case. No money is lost.
 */
#include "tests/lib/world.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { WORKERS = 8, TRANSFERS_MAX = 5000, NAME_SIZE = 16, AMOUNT_MAX = 9 };

enum told { TOLD_NOTHING, TOLD_COMMITTED, TOLD_ABORTED };

struct load;

struct worker {
  struct load *load;
  unsigned index;
  pthread_t thread;
  enum told told[TRANSFERS_MAX];
  unsigned count;
};

struct load {
  struct world *world;
  pthread_mutex_t lock;
  char url[64]; /* of the coordinator's present life; under the lock */
  atomic_bool stop;
  atomic_uint committed;
  struct worker workers[WORKERS];
};

/* ---- the workers ----------------------------------------------------------------------------- */

static void name_of(const struct worker *worker, unsigned number, char out[NAME_SIZE]) {
  (void)snprintf(out, NAME_SIZE, "w%u-%04u", worker->index, number);
}

/* Mostly between accounts of its own; sometimes between two that all use. */
static const struct reply *send_transfer(struct api *api, const struct worker *worker,
                                         unsigned number) {
  char name[NAME_SIZE];
  unsigned account = number % 8 == 0 ? 10 : 1 + worker->index;
  name_of(worker, number, name);
  return api_run(api,
                 "{'commit':true,'timeout_ms':3000,'label':'%s','branches':["
                 "{'participant':'%s','statements':["
                 "{'sql':'UPDATE account SET balance = balance - $1 WHERE id = $2',"
                 "'params':[%u,%u],'expect_rows':1},"
                 "{'sql':'INSERT INTO ledger VALUES ($1)','params':['%s']}]},"
                 "{'participant':'%s','statements':["
                 "{'sql':'UPDATE account SET balance = balance + $1 WHERE id = $2',"
                 "'params':[%u,%u],'expect_rows':1},"
                 "{'sql':'INSERT INTO ledger VALUES ($1)','params':['%s']}]}]}",
                 name, number % 2 ? "bank_a" : "bank_b", 1 + number % AMOUNT_MAX, account, name,
                 number % 2 ? "bank_b" : "bank_a", 1 + number % AMOUNT_MAX, account, name);
}

/* Only what was said: a lost answer, or one that says "not known", tells nothing. */
static enum told told_by(const struct reply *reply) {
  const char *outcome = reply_string(reply, "/outcome"), *code = reply_string(reply, "/code");
  if (strcmp(outcome, "committed") == 0) return TOLD_COMMITTED;
  if (reply->status == 409 && strcmp(code, "aborted") == 0) return TOLD_ABORTED;
  if (reply->status == 0 && reply->error == ERR_UNAVAILABLE) return TOLD_ABORTED; /* never left */
  if (strcmp(code, "stopping") == 0 || strcmp(code, "unavailable") == 0) return TOLD_ABORTED;
  return TOLD_NOTHING;
}

static void find_coordinator(struct worker *worker, struct api *api) {
  (void)pthread_mutex_lock(&worker->load->lock);
  api_set_url(api, worker->load->url);
  (void)pthread_mutex_unlock(&worker->load->lock);
}

static void *work(void *data) {
  struct worker *worker = data;
  struct load *load = worker->load;
  struct api *api = api_new("http://127.0.0.1:0");
  find_coordinator(worker, api);
  while (!atomic_load(&load->stop) && worker->count < TRANSFERS_MAX) {
    const struct reply *reply = send_transfer(api, worker, worker->count);
    worker->told[worker->count++] = told_by(reply);
    if (told_by(reply) == TOLD_COMMITTED) {
      atomic_fetch_add(&load->committed, 1);
    } else {
      process_pause_ms(2); /* it may be on its way back */
      find_coordinator(worker, api);
    }
  }
  api_free(api);
  return NULL;
}

/* ---- the load -------------------------------------------------------------------------------- */

static void tell_url(struct load *load) {
  (void)pthread_mutex_lock(&load->lock);
  (void)snprintf(load->url, sizeof load->url, "http://127.0.0.1:%d",
                 (int)load->world->ports[COORDINATOR]);
  (void)pthread_mutex_unlock(&load->lock);
}

/* Static, since a failed test leaves its threads behind: they end soon, and touch nothing else. */
static struct load the_load;

static struct load *load_start(struct world *w) {
  struct load *load = &the_load;
  memset(load, 0, sizeof *load);
  load->world = w;
  (void)pthread_mutex_init(&load->lock, NULL);
  tell_url(load);
  for (unsigned i = 0; i < WORKERS; i++) {
    load->workers[i].load = load;
    load->workers[i].index = i;
    int created = pthread_create(&load->workers[i].thread, NULL, work, &load->workers[i]);
    assert(created == 0);
  }
  return load;
}

static void load_wait_for_more(struct load *load, unsigned more) {
  unsigned target = atomic_load(&load->committed) + more;
  UNTIL(atomic_load(&load->committed) >= target);
}

static void load_stop(struct load *load) {
  atomic_store(&load->stop, true);
  for (unsigned i = 0; i < WORKERS; i++)
    (void)pthread_join(load->workers[i].thread, NULL);
}

/* ---- the reckoning --------------------------------------------------------------------------- */

static PGresult *read_ledger(const struct world *w, int bank) {
  PGconn *session = world_connect(w, bank);
  PGresult *names = PQexec(session, "SELECT id FROM ledger ORDER BY id COLLATE \"C\"");
  if (PQresultStatus(names) != PGRES_TUPLES_OK)
    check_failed(__FILE__, __LINE__, true, "%s", PQerrorMessage(session));
  PQfinish(session);
  return names;
}

static bool is_in_ledger(const PGresult *ledger, const char *name) {
  int low = 0, high = PQntuples(ledger);
  while (low < high) {
    int middle = low + (high - low) / 2;
    int order = strcmp(PQgetvalue(ledger, middle, 0), name);
    if (order == 0) return true;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return false;
}

static void check_transfer(struct world *w, const char *name, enum told told, bool in_a,
                           bool in_b) {
  if (in_a != in_b)
    check_failed(__FILE__, __LINE__, false, "%s: bank_a %s it, bank_b %s", name,
                 in_a ? "has" : "has not", in_b ? "has" : "has not");
  if (told == TOLD_COMMITTED && !in_a)
    check_failed(__FILE__, __LINE__, false, "%s was told committed and did not happen", name);
  if (told == TOLD_ABORTED && in_a)
    check_failed(__FILE__, __LINE__, false, "%s was told aborted and happened", name);
  if (told == TOLD_NOTHING && in_a != (strcmp(api_outcome(w->api, name), "committed") == 0))
    check_failed(__FILE__, __LINE__, false, "%s: its outcome is told otherwise than it is", name);
}

/* Afterwards everything agrees. */
static void load_check(struct load *load) {
  struct world *w = load->world;
  world_wait_ready(w);
  world_wait_nothing_prepared(w);
  UNTIL(json_array_size(
            reply_at(api_get(w->api, "/v1/transactions?state=committing"), "/transactions")) == 0);
  PGresult *ledger[BANKS] = {read_ledger(w, BANK_A), read_ledger(w, BANK_B)};
  for (unsigned i = 0; i < WORKERS; i++) {
    const struct worker *worker = &load->workers[i];
    CU_ASSERT(worker->count < TRANSFERS_MAX);
    for (unsigned number = 0; number < worker->count; number++) {
      char name[NAME_SIZE];
      name_of(worker, number, name);
      check_transfer(w, name, worker->told[number], is_in_ledger(ledger[BANK_A], name),
                     is_in_ledger(ledger[BANK_B], name));
    }
  }
  CU_ASSERT_EQUAL(world_money(w), (int64_t)BANKS * ACCOUNTS * ACCOUNT_BALANCE);
  PQclear(ledger[BANK_A]);
  PQclear(ledger[BANK_B]);
}

/* Sweeps and looks at participants come as often as they may, to get in the way. */
static struct world *open_busy(enum world_mode mode) {
  return world_open(mode, &(struct world_options){.settings = "sweep_interval = 100ms\n"
                                                              "health_interval = 50ms\n"});
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void coordinator_killed_under_load_keeps_its_word(enum world_mode mode) {
  struct world *w = open_busy(mode);
  struct load *load = load_start(w);
  for (int i = 0; i < 3; i++) {
    load_wait_for_more(load, 60);
    world_kill(w, COORDINATOR);
    world_start(w, COORDINATOR, NULL);
    tell_url(load);
  }
  load_wait_for_more(load, 60);
  load_stop(load);
  load_check(load);
  world_close(w);
}
IN_BOTH_MODES(coordinator_killed_under_load_keeps_its_word)

/* Everything in turn, each while the others serve. */
static void everything_killed_in_turn_under_load_keeps_its_word(enum world_mode mode) {
  struct world *w = open_busy(mode);
  struct load *load = load_start(w);
  load_wait_for_more(load, 40);
  world_server_kill(w, BANK_B);
  world_server_start(w, BANK_B);
  load_wait_for_more(load, 40);
  enum world_target agent = world_agent_of(w, BANK_A);
  world_kill(w, agent);
  world_start(w, agent, NULL);
  tell_url(load);
  load_wait_for_more(load, 40);
  world_server_kill(w, BANK_A);
  world_kill(w, COORDINATOR);
  world_server_start(w, BANK_A);
  world_start(w, COORDINATOR, NULL);
  tell_url(load);
  load_wait_for_more(load, 40);
  load_stop(load);
  load_check(load);
  world_close(w);
}
IN_BOTH_MODES(everything_killed_in_turn_under_load_keeps_its_word)

/* C9 is before and after the log's checkpoint, which comes after many decisions. */
static void coordinator_killed_at_c9_under_load_keeps_its_word(void) {
  static const char *const points[] = {"C9", "C9:2"};
  struct world *w = open_busy(WORLD_EMBEDDED);
  struct load *load = load_start(w);
  for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
    world_kill(w, COORDINATOR);
    world_start(w, COORDINATOR, points[i]);
    tell_url(load);
    world_wait_crashed(w, COORDINATOR);
  }
  world_start(w, COORDINATOR, NULL);
  tell_url(load);
  load_wait_for_more(load, 60);
  load_stop(load);
  load_check(load);
  world_close(w);
}

static void coordinator_stopped_under_load_ends_well_and_goes_on(enum world_mode mode) {
  struct world *w = open_busy(mode);
  struct load *load = load_start(w);
  load_wait_for_more(load, 60);
  process_kill(w->processes[COORDINATOR], SIGTERM);
  int status = world_wait_ended(w, COORDINATOR);
  CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  world_start(w, COORDINATOR, NULL);
  tell_url(load);
  load_wait_for_more(load, 60);
  load_stop(load);
  load_check(load);
  world_close(w);
}
IN_BOTH_MODES(coordinator_stopped_under_load_ends_well_and_goes_on)

SUITE(stress, BOTH(coordinator_killed_under_load_keeps_its_word),
      BOTH(everything_killed_in_turn_under_load_keeps_its_word),
      CASE(coordinator_killed_at_c9_under_load_keeps_its_word),
      BOTH(coordinator_stopped_under_load_ends_well_and_goes_on))
