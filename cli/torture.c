/* `assent torture`: transfers between two databases while everything is broken at random by a seed,
 * in rounds; after each round all is mended, and everything that clients were told is checked.
 *
 * Invariants: all processes are started by the main thread, which lives to the end (they die with
 * it); whatever happens, Ctrl-C included, they are ended before we return. The run ends with the
 * first round that has a violation: what there is to see is still there.
 */
#include "cli/torture_config.h"
#include "cli/torture_kinds.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/ledger.h"
#include "cli/options.h"
#include "cli/table.h"
#include "common/clock.h"
#include "common/http_client.h"
#include "common/id.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum {
  SECONDS_DEFAULT = 60,
  SECONDS_MAX = 7 * 86400,
  ROUNDS_MAX = 10000000,
  CLIENTS_DEFAULT = 16,
  CLIENTS_MAX = 100,
  EXIT_VIOLATION = 1,
  EXIT_NOT_RUN = 3,
  EXIT_INTERRUPTED = 130
};

const char torture_schema[] = "assent_torture.";

static volatile sig_atomic_t is_interrupted;

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

bool torture_interrupted(void) {
  return is_interrupted != 0;
}

void torture_violation(struct torture *t, const char *format, ...) {
  char text[PROBLEM_TEXT_SIZE];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof text, format, args);
  va_end(args);
  problems_add(&t->findings.violations, "round %u: %s", t->findings.rounds + 1, text);
}

/* ---- set up ------------------------------------------------------------------------------------ */

/* Short times, so that they are up often; frequent looks, so that they get in the way. */
static const char coordinator_keys[] = "log_format = json\n"
                                       "retention = 180s\n"
                                       "agent_timeout = 1s\n"
                                       "sweep_interval = 1s\n"
                                       "health_interval = 200ms\n";
static const char database_keys[] = "call_timeout = 1s\n";
static const char synchronous_keys[] = "call_timeout = 1s\n"
                                       "synchronous_failover = yes\n"; /* see torture_replicas.c */
/* A start after a kill syncs all files: in one call, not a thousand. A standby comes back soon. */
static const char *const server_settings[] = {"recovery_init_sync_method=syncfs",
                                              "wal_retrieve_retry_interval=100ms", NULL};

static enum error_code make_banks(struct torture *t, struct error *err) {
  enum error_code code = ERR_OK;
  for (int i = 0; code == ERR_OK && i < BANKS; i++) {
    code = bank_open(&t->banks[i], t->dsn[i], torture_schema, err);
    if (code == ERR_OK) code = bank_exec(t->banks[i], "CREATE SCHEMA assent_torture", err);
    if (code == ERR_OK) t->has_schema[i] = true;
    if (code == ERR_OK) code = bank_make_tables(t->banks[i], err);
  }
  return code == ERR_OK ? ledger_money(t->banks, &t->findings.money_before, err) : code;
}

static bool needs_library(const struct torture *t) {
  return torture_has_kinds(t, "disk") || torture_has_kinds(t, "memory") ||
         torture_has_kinds(t, "descriptors");
}

static enum error_code set_up(struct torture *t, struct error *err) {
  const struct stage_options options = {.agents = t->options.agents,
                                        .coordinator_keys = coordinator_keys,
                                        .database_keys = t->options.asynchronous ? database_keys
                                                                                 : synchronous_keys,
                                        .server_settings = server_settings,
                                        .databases = t->options.config ? t->databases.stage : NULL};
  t->caller = http_caller_new();
  if (t->options.asynchronous) t->verdicts = calloc(TORTURE_TRANSFERS_MAX, sizeof *t->verdicts);
  if (!t->caller || (t->options.asynchronous && !t->verdicts))
    return error_set(err, ERR_MEMORY, "out of memory");
  enum error_code code = stage_new(&t->stage, &options, err);
  for (int i = 0; code == ERR_OK && i < BANKS; i++)
    (void)snprintf(t->dsn[i], sizeof t->dsn[i], "%s", stage_dsn(t->stage, i));
  if (code == ERR_OK && torture_needs_proxies(t)) code = net_open(t, err);
  if (code == ERR_OK && t->options.standbys) code = replicas_open(t, err);
  if (code == ERR_OK && needs_library(t)) code = calls_open(t, err);
  if (code == ERR_OK) code = stage_run(t->stage, err);
  if (code == ERR_OK) code = make_banks(t, err);
  if (code == ERR_OK && t->options.config) code = torture_config_know_ours(t, err);
  if (code == ERR_OK) code = watch_start(&t->watch, t, err);
  return code;
}

/* ---- the run ----------------------------------------------------------------------------------- */

static bool is_over(const struct torture *t) {
  const struct torture_options *options = &t->options;
  uint64_t elapsed_us = clock_monotonic_us() - t->begin_us;
  return torture_interrupted() || t->findings.violations.count > 0 ||
         (options->seconds > 0 && elapsed_us >= (uint64_t)options->seconds * 1000000) ||
         (options->rounds > 0 && t->findings.rounds >= options->rounds) ||
         (options->kills > 0 && t->findings.kills >= options->kills);
}

static enum error_code run_rounds(struct torture *t, struct error *err) {
  enum error_code code = ERR_OK;
  t->begin_us = clock_monotonic_us();
  while (code == ERR_OK && !is_over(t))
    code = torture_round(t, err);
  t->findings.elapsed_us = (int64_t)(clock_monotonic_us() - t->begin_us);
  torture_show_end(t);
  if (code == ERR_OK && !torture_interrupted() && t->findings.violations.count == 0)
    code = torture_check_all(t, err);
  return code;
}

/* After a violation the databases stay as they are, to be looked at. */
static void leave_databases(struct torture *t) {
  struct error err = {0};
  if (!t->options.config || !(t->has_schema[0] || t->has_schema[1])) return;
  if (t->findings.violations.count > 0 || t->options.keep)
    (void)fprintf(stderr,
                  "schema assent_torture is left in both databases, and in assent.coordinator the "
                  "row of cluster %s.\nPrepared transactions whose gid begins with assent_%s_ are "
                  "of this run: ROLLBACK PREPARED ends them.\n",
                  t->cluster, t->cluster);
  else if (torture_config_tidy(t, &err) != ERR_OK)
    (void)fprintf(stderr, "assent torture: cannot tidy up: %s\n", err.text);
}

static void tear_down(struct torture *t) {
  bool keeps = t->stage && (t->options.keep || t->findings.violations.count > 0);
  if (t->stage) torture_resume_all(t);
  watch_free(t->watch);
  if (keeps) {
    stage_keep_files(t->stage);
    (void)fprintf(stderr, "logs and data are kept in %s\n", stage_directory(t->stage));
  }
  for (int i = 0; t->stage && i < STAGE_TARGETS; i++)
    stage_kill(t->stage, (enum stage_target)i);
  leave_databases(t);
  for (int i = 0; i < BANKS; i++)
    bank_close(t->banks[i]);
  stage_close(t->stage);
  net_close(t);
  http_caller_free(t->caller);
}

static int run_torture(struct torture *t) {
  const char *term = getenv("TERM");
  struct error err = {0};
  t->is_terminal = isatty(STDERR_FILENO) == 1 && term && strcmp(term, "dumb") != 0;
  (void)fprintf(stderr, "seed %" PRId64 "; %sstarting assentd%s\n", t->options.seed,
                t->options.config ? "" : "making two PostgreSQL servers and ",
                t->options.agents ? " and two agents" : "");
  enum error_code code = set_up(t, &err);
  if (code == ERR_OK && !torture_interrupted()) code = run_rounds(t, &err);
  if (torture_interrupted()) {
    (void)fputs("assent torture: interrupted; ending everything\n", stderr);
  } else if (code != ERR_OK) {
    char text[sizeof err.text];
    text_for_terminal(err.text, text, sizeof text);
    (void)fprintf(stderr, "assent torture: %s\n", text);
    stage_tell_dead(t->stage, stderr);
  } else if (t->findings.violations.count == 0 && stage_stop_daemons(t->stage, &err) != ERR_OK) {
    torture_violation(t, "%s", err.text);
    stage_tell_dead(t->stage, stderr);
  }
  tear_down(t);
  if (t->findings.rounds > 0 || t->findings.violations.count > 0)
    (t->options.json ? torture_report_json : torture_report)(t);
  samples_free(&t->findings.recovery_us);
  samples_free(&t->findings.settle_us);
  free(t->told);
  free(t->verdicts);
  if (t->findings.violations.count > 0) return EXIT_VIOLATION;
  if (torture_interrupted()) return EXIT_INTERRUPTED;
  return code == ERR_OK ? EXIT_DONE : EXIT_NOT_RUN;
}

/* ---- the command line -------------------------------------------------------------------------- */

static const char about[] =
    "Runs transfers between two throwaway PostgreSQL servers while processes are killed, paused "
    "and\n"
    "cut off at random by a seed, in rounds of about a second. After each round everything is\n"
    "mended, and everything that clients were told is checked against both databases and the\n"
    "coordinator: that no money is lost, no outcome has changed, and nothing is left behind.\n\n"
    "kinds of faults (--faults kill-agent,pause: these only; a first word names all of its kind):\n"
    "%s\n"
    "exit codes: 0 no violation; 1 a violation (logs and data are kept); 2 usage; 3 could not be "
    "run";

/* Nothing of a user's is written without a clear word. */
static bool check_config(struct torture *t) {
  struct error err = {0};
  if (t->options.config && t->options.standbys) {
    (void)fputs("assent torture: --standbys: not with --config\n", stderr);
    return false;
  }
  if (t->options.asynchronous && !t->options.standbys) {
    (void)fputs("assent torture: --asynchronous goes with --standbys\n", stderr);
    return false;
  }
  if (!t->options.config) {
    if (t->options.write) (void)fputs("assent torture: --write goes with --config\n", stderr);
    return !t->options.write;
  }
  if (torture_config_read(t->options.config, &t->databases, &err) != ERR_OK) {
    (void)fprintf(stderr, "assent torture: %s: %s\n", t->options.config, err.text);
    return false;
  }
  if (!t->options.write)
    (void)fprintf(stderr,
                  "assent torture: this would write to the databases of %s and %s: a schema "
                  "assent_torture,\nand a row in assent.coordinator, both removed at the end. Say "
                  "--write to allow it.\n",
                  t->databases.databases[0].name, t->databases.databases[1].name);
  return t->options.write;
}

static bool check_faults(struct torture *t) {
  char wrong[64];
  unsigned weights = 0;
  torture_kinds(&t->options, t->choices, &t->choice_count);
  if (t->options.faults &&
      !torture_choose(t->options.faults, t->choices, t->choice_count, wrong, sizeof wrong)) {
    (void)fprintf(stderr, "assent torture: --faults: there is no kind \"%s\"\n", wrong);
    return false;
  }
  for (size_t i = 0; i < t->choice_count; i++)
    weights += t->choices[i].weight;
  if (weights == 0)
    (void)fprintf(stderr, "assent torture: --faults: none of these can be done here\n");
  return weights > 0;
}

int command_torture(int argc, char **argv) {
  static struct torture t;
  char about_all[sizeof about + 2048];
  struct torture_options *o = &t.options;
  (void)snprintf(about_all, sizeof about_all, about, torture_kinds_help);
  *o = (struct torture_options){.clients = CLIENTS_DEFAULT, .seed = -1};
  const struct option options[] = {
      {"seconds", "60", "ends after this time", OPTION_INTEGER, &o->seconds, 1, SECONDS_MAX, NULL},
      {"rounds", "N", "ends after so many rounds", OPTION_INTEGER, &o->rounds, 1, ROUNDS_MAX, NULL},
      {"kills", "N", "ends after so many kills", OPTION_INTEGER, &o->kills, 1, ROUNDS_MAX, NULL},
      {"clients", "16", "how many at the same time", OPTION_INTEGER, &o->clients, 1, CLIENTS_MAX,
       NULL},
      {"agents", NULL, "with two assent-agent processes", OPTION_FLAG, &o->agents, 0, 0, NULL},
      {"standbys", NULL, "each database with a synchronous standby, which is promoted", OPTION_FLAG,
       &o->standbys, 0, 0, NULL},
      {"asynchronous", NULL, "these do not hold up commits, and may lack the last ones",
       OPTION_FLAG, &o->asynchronous, 0, 0, NULL},
      {"faults", "KINDS", "these kinds only", OPTION_TEXT, &o->faults, 0, 0, NULL},
      {"seed", "N", "make the plan of that run again", OPTION_INTEGER, &o->seed, 0, INT64_MAX,
       NULL},
      {"config", "FILE",
       "between the first two databases of this assentd.ini, which are not broken", OPTION_TEXT,
       &o->config, 0, 0, NULL},
      {"write", NULL, "allow it to write to them", OPTION_FLAG, &o->write, 0, 0, NULL},
      {"keep", NULL, "keep logs and data, also when all is well", OPTION_FLAG, &o->keep, 0, 0,
       NULL},
      {"json", NULL, "the report as JSON", OPTION_FLAG, &o->json, 0, 0, NULL}};
  const struct command_line line = {"assent torture", "", about_all, options, COUNT(options), 0, 0};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
  if (!check_config(&t) || !check_faults(&t)) return EXIT_USAGE;
  if (o->seconds == 0 && o->rounds == 0 && o->kills == 0) o->seconds = SECONDS_DEFAULT;
  if (o->seed < 0) {
    uint32_t random;
    id_random(&random, sizeof random);
    o->seed = random;
  }
  t.source = (struct transfer_source){"torture", (uint64_t)o->seed, transfer_plan_mixed};
  catch_signals();
  return run_torture(&t);
}
