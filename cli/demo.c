/* `assent demo`: two databases, thousands of concurrent transfers, the coordinator killed in
 * between; then everything that clients were told is checked against the databases.
 *
 * Invariants: all processes are started by the main thread, which lives to the end (they die with
 * it); whatever happens, Ctrl-C included, the stage is closed before we return, unless it is to be
 * kept and all went well as far as the checks.
 */
#include "cli/demo.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/demo_kept.h"
#include "cli/ledger.h"
#include "cli/options.h"
#include "cli/process.h"
#include "cli/table.h"
#include "common/clock.h"
#include "common/id.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum {
  TRANSFERS_DEFAULT = 3000,
  TRANSFERS_MAX = 1000000,
  CLIENTS_DEFAULT = 16,
  CLIENTS_MAX = 100,
  KILLS_DEFAULT = 5,
  TRANSFER_TIMEOUT_MS = 2000,
  WATCH_MS = 100,
  READY_MS_MAX = 30000,
  SETTLED_MS_MAX = 30000,
  SETTLED_POLL_MS = 2,
  EXIT_INTERRUPTED = 130
};

static volatile sig_atomic_t is_interrupted;

struct demo {
  struct demo_options options;
  struct transfer_source source;
  struct demo_findings findings;
  struct stage *stage;
  struct bank *banks[BANKS];
  struct load *load;
  struct progress progress;
};

static void on_signal(int signum) {
  (void)signum;
  is_interrupted = 1;
}

static void catch_signals(void) {
  struct sigaction action = {.sa_handler = on_signal};
  (void)sigemptyset(&action.sa_mask);
  (void)sigaction(SIGINT, &action, NULL);
  (void)sigaction(SIGTERM, &action, NULL);
  (void)sigaction(SIGHUP, &action, NULL);
}

/* ---- a kill ---------------------------------------------------------------------------------- */

static enum error_code read_clocks(struct demo *demo, int64_t now_us[BANKS], struct error *err) {
  for (int i = 0; i < BANKS; i++) {
    enum error_code code = bank_clock_us(demo->banks[i], &now_us[i], err);
    if (code != ERR_OK) return code;
  }
  return ERR_OK;
}

/* Until nothing that was prepared before `start_us` (by the databases' clocks) is left. */
static enum error_code wait_settled(struct demo *demo, const int64_t start_us[BANKS],
                                    struct error *err) {
  uint64_t begin_us = clock_monotonic_us();
  int64_t left[BANKS];
  do {
    enum error_code code = ledger_prepared(demo->banks, start_us, left, err);
    if (code == ERR_OK) code = stage_check_alive(demo->stage, err);
    if (code != ERR_OK || left[0] + left[1] == 0) return code;
    process_pause_ms(SETTLED_POLL_MS);
  } while (!is_interrupted && (clock_monotonic_us() - begin_us) / 1000 < SETTLED_MS_MAX);
  if (is_interrupted) return ERR_OK;
  return error_set(err, ERR_UNAVAILABLE,
                   "%" PRId64 " transactions of before the kill are still prepared after %d s",
                   left[0] + left[1], SETTLED_MS_MAX / 1000);
}

static enum error_code kill_and_recover(struct demo *demo, enum stage_target target,
                                        struct error *err) {
  struct demo_recovery *one = &demo->findings.recoveries[demo->findings.recovery_count];
  bool is_coordinator = target == STAGE_COORDINATOR;
  int64_t start_us[BANKS], left[BANKS];
  struct load_counts counts = load_count(demo->load);
  *one = (struct demo_recovery){.target = target,
                                .finished = counts.finished,
                                .in_flight = counts.in_flight};
  if (is_coordinator) load_set_up(demo->load, false);
  stage_kill(demo->stage, target);
  enum error_code code = read_clocks(demo, start_us, err);
  if (code == ERR_OK) code = ledger_prepared(demo->banks, start_us, left, err);
  if (code != ERR_OK) return code;
  one->left_prepared = left[0] + left[1];
  uint64_t begin_us = clock_monotonic_us();
  code = stage_start(demo->stage, target, err);
  if (code == ERR_OK) code = stage_wait_ready(demo->stage, target, READY_MS_MAX, err);
  if (code != ERR_OK) return code;
  one->ready_us = (int64_t)(clock_monotonic_us() - begin_us);
  if (is_coordinator) load_set_up(demo->load, true);
  code = wait_settled(demo, start_us, err);
  one->settled_us = (int64_t)(clock_monotonic_us() - begin_us);
  if (code == ERR_OK) demo->findings.recovery_count++;
  return code;
}

/* ---- the run --------------------------------------------------------------------------------- */

static void show_progress(struct demo *demo) {
  struct load_counts counts = load_count(demo->load);
  progress_show(&demo->progress, &counts, (unsigned)demo->options.transfers,
                demo->findings.recovery_count, demo->findings.kills_planned);
}

/* Waits until so many transfers have ended, watching over the processes meanwhile. */
static enum error_code wait_finished(struct demo *demo, unsigned count, struct error *err) {
  bool is_reached = false;
  while (!is_reached && !is_interrupted) {
    is_reached = load_wait_finished(demo->load, count, WATCH_MS);
    show_progress(demo);
    enum error_code code = stage_check_alive(demo->stage, err);
    if (code != ERR_OK) return code;
    if (load_failure(demo->load, err)) return err->code;
  }
  return ERR_OK;
}

/* Only while transfers are in flight: a kill in an idle moment would show nothing. False when there
 * are none to come. */
static bool wait_in_flight(struct demo *demo) {
  for (;;) {
    struct load_counts counts = load_count(demo->load);
    if (counts.finished >= demo->options.transfers || is_interrupted) return false;
    if (counts.in_flight > 0) return true;
    process_pause_ms(1);
  }
}

static enum error_code run_load(struct demo *demo, struct error *err) {
  const struct demo_options *options = &demo->options;
  static struct demo_kill kills[DEMO_KILLS_MAX];
  const struct load_options load = {.url = stage_url(demo->stage),
                                    .participants = {stage_bank_name(demo->stage, 0),
                                                     stage_bank_name(demo->stage, 1)},
                                    .schema = "",
                                    .source = demo->source,
                                    .transfers = (unsigned)options->transfers,
                                    .clients = (unsigned)options->clients,
                                    .timeout_ms = TRANSFER_TIMEOUT_MS};
  size_t count = demo_plan_kills(load.source.seed, (unsigned)options->kills, options->agents,
                                 load.transfers, kills);
  demo->findings.kills_planned = (unsigned)count;
  uint64_t begin_us = clock_monotonic_us();
  enum error_code code = load_start(&demo->load, &load, err);
  for (size_t i = 0; code == ERR_OK && i < count && !is_interrupted; i++) {
    code = wait_finished(demo, kills[i].after, err);
    if (code != ERR_OK || is_interrupted) break;
    process_pause_ms(kills[i].delay_us / 1000);
    if (wait_in_flight(demo)) code = kill_and_recover(demo, kills[i].target, err);
  }
  if (code == ERR_OK) code = wait_finished(demo, load.transfers, err);
  demo->findings.elapsed_us = (int64_t)(clock_monotonic_us() - begin_us);
  if (demo->load) demo->findings.load = load_count(demo->load);
  return code;
}

static enum error_code check_all(struct demo *demo, struct error *err) {
  struct demo_findings *findings = &demo->findings;
  enum error_code code = demo_check_in_doubt(demo->banks, findings, err);
  if (code == ERR_OK) code = ledger_money(demo->banks, &findings->money_after, err);
  if (code == ERR_OK)
    code = demo_check_ledgers(demo->banks, demo->load, &demo->source,
                              (unsigned)demo->options.transfers, findings, err);
  if (code == ERR_OK)
    code = demo_check_told(stage_url(demo->stage), demo->load, &demo->source,
                           (unsigned)demo->options.transfers, &is_interrupted, findings, err);
  if (code == ERR_OK && findings->money_after != findings->money_before)
    problems_add(&findings->problems, "money is not conserved");
  return code;
}

static enum error_code set_up(struct demo *demo, struct error *err) {
  const struct stage_options options = {.agents = demo->options.agents, .keep = demo->options.keep};
  enum error_code code = stage_open(&demo->stage, &options, err);
  for (int i = 0; code == ERR_OK && i < BANKS; i++) {
    code = bank_open(&demo->banks[i], stage_dsn(demo->stage, i), "", err);
    if (code == ERR_OK) code = bank_make_tables(demo->banks[i], err);
  }
  if (code == ERR_OK) code = ledger_money(demo->banks, &demo->findings.money_before, err);
  return code;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void tell_failure(struct demo *demo, const struct error *err) {
  char text[sizeof err->text];
  text_for_terminal(err->text, text, sizeof text);
  problems_add(&demo->findings.problems, "%s", text);
  (void)fprintf(stderr, "assent demo: %s\n", text);
  stage_tell_dead(demo->stage, stderr);
}

/* Ends the clients: their calls end when nobody is there to answer. */
static void end_load(struct demo *demo, bool is_over) {
  if (demo->load) load_stop(demo->load);
  if (demo->stage && !is_over) stage_kill(demo->stage, STAGE_COORDINATOR);
  load_free(demo->load);
  for (int i = 0; i < BANKS; i++)
    bank_close(demo->banks[i]);
}

/* True when the stage stays, and is no longer ours. */
static bool leave_stage(struct demo *demo) {
  char url[128], directory[512], dsn[BANKS][512];
  struct error err = {0};
  (void)snprintf(url, sizeof url, "%s", stage_url(demo->stage));
  (void)snprintf(directory, sizeof directory, "%s", stage_directory(demo->stage));
  for (int i = 0; i < BANKS; i++)
    (void)snprintf(dsn[i], sizeof dsn[i], "%s", stage_dsn(demo->stage, i));
  if (stage_leave(demo->stage, &err) != ERR_OK) {
    tell_failure(demo, &err);
    return false;
  }
  if (!demo->options.json)
    demo_report_kept(url, directory, (const char *const[BANKS]){dsn[0], dsn[1]});
  return true;
}

static int run_demo(struct demo *demo) {
  struct error err = {0};
  demo->progress = progress_begin();
  (void)fprintf(stderr, "seed %" PRId64 "; making two PostgreSQL servers and starting assentd%s\n",
                demo->options.seed, demo->options.agents ? " and two agents" : "");
  enum error_code code = set_up(demo, &err);
  if (code == ERR_OK && !is_interrupted) code = run_load(demo, &err);
  progress_end(&demo->progress);
  if (code == ERR_OK && !is_interrupted) code = check_all(demo, &err);
  bool is_over = code == ERR_OK && !is_interrupted;
  if (is_interrupted)
    (void)fputs("assent demo: interrupted; ending and removing everything\n", stderr);
  else if (code != ERR_OK)
    tell_failure(demo, &err);
  end_load(demo, is_over);
  if (is_over && !demo->options.keep && stage_stop_daemons(demo->stage, &err) != ERR_OK)
    tell_failure(demo, &err);
  if (is_over && !demo->options.json) demo_report(&demo->options, &demo->findings);
  if (!is_over || !demo->options.keep || !leave_stage(demo)) stage_close(demo->stage);
  if (is_interrupted) return EXIT_INTERRUPTED;
  if (demo->options.json) demo_report_json(&demo->options, &demo->findings);
  return demo->findings.problems.count == 0 ? EXIT_DONE : EXIT_REFUSED;
}

static int stop_kept(const char *directory) {
  struct error err = {0};
  if (kept_stop(directory, &err) != ERR_OK) {
    (void)fprintf(stderr, "assent demo: %s\n", err.text);
    return EXIT_REFUSED;
  }
  (void)printf("Ended and removed: %s\n", directory);
  return EXIT_DONE;
}

static const char about[] =
    "Makes two throwaway PostgreSQL servers, starts assentd, runs concurrent transfers between\n"
    "the two, kills assentd with SIGKILL in between and starts it again; then checks what every\n"
    "client was told against both databases. Ends with 0 when money is conserved, nothing is in\n"
    "doubt, and no outcome that was told turned out otherwise; else with 1. Leaves nothing behind.";

int command_demo(int argc, char **argv) {
  static struct demo demo;
  const char *stop = NULL;
  struct demo_options *o = &demo.options;
  *o = (struct demo_options){.transfers = TRANSFERS_DEFAULT,
                             .clients = CLIENTS_DEFAULT,
                             .kills = KILLS_DEFAULT,
                             .seed = -1};
  const struct option options[] = {
      {"agents", NULL, "with two assent-agent processes, killed too", OPTION_FLAG, &o->agents, 0, 0,
       NULL},
      {"transfers", "3000", "how many", OPTION_INTEGER, &o->transfers, 1, TRANSFERS_MAX, NULL},
      {"clients", "16", "how many at the same time", OPTION_INTEGER, &o->clients, 1, CLIENTS_MAX,
       NULL},
      {"kills", "5", "how often assentd is killed", OPTION_INTEGER, &o->kills, 0,
       DEMO_KILLS_MAX / 2, NULL},
      {"seed", "N", "make the choices of that run again", OPTION_INTEGER, &o->seed, 0, INT64_MAX,
       NULL},
      {"keep", NULL, "leave all running, and say what to type next", OPTION_FLAG, &o->keep, 0, 0,
       NULL},
      {"stop", "DIR", "end and remove what --keep left", OPTION_TEXT, &stop, 0, 0, NULL},
      {"json", NULL, "the report as JSON", OPTION_FLAG, &o->json, 0, 0, NULL}};
  const struct command_line line = {"assent demo", "", about, options, COUNT(options), 0, 0};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
  if (stop) return stop_kept(stop);
  if (o->seed < 0) {
    uint32_t random;
    id_random(&random, sizeof random);
    o->seed = random;
  }
  demo.source = (struct transfer_source){"demo", (uint64_t)o->seed, transfer_plan_simple};
  catch_signals();
  return run_demo(&demo);
}
