/* The simulator's command: campaigns of seeds, single runs, failures made small.
 *
 * The last line alone is "N passed, N failed", in seeds. Exit status: 0 all held, 1 not, 2 usage.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/report.h"
#include "tests/sim/seeds.h"

enum { SEEDS_DEFAULT = 10000, MINIMISED_MAX = 4 };

static const char help[] =
    "usage: sim [--seeds N] [--from S] [--jobs N] [--known FILE] [--json]\n"
    "       sim --seed S [--trace]\n"
    "       sim --minimise S [--keep FILE]\n"
    "\n"
    "Runs the coordinator and the agents on models of everything below them, with faults of every\n"
    "kind, and checks what they promise. The same seed gives the same run, byte for byte.\n"
    "\n"
    "  --seeds N        run N seeds (default 10000)\n"
    "  --from S         beginning with S (default 1)\n"
    "  --jobs N         processes (default: one a processor)\n"
    "  --known FILE     run the seeds of FILE first\n"
    "  --json           print the report as JSON\n"
    "  --pairs          print every pair of a state and an event that was met\n"
    "  --seed S         run one seed\n"
    "  --trace          and print what happens\n"
    "  --minimise S     find out how little it takes to fail as seed S does\n"
    "  --keep FILE      and add it to FILE\n"
    "  --without A,B    without these faults\n"
    "  --only A,B       with these faults only\n"
    "  --errands N      with at most N errands of clients\n"
    "  --help           print this\n";

struct arguments {
  struct campaign campaign;
  uint64_t seed;
  bool single, trace, minimise, json, pairs;
  const char *known, *keep, *without, *program;
};

/* Leaks: what a killed life had allocated for somebody who was to be called back stays behind, as in a
 * killed process; the sanitizer is not to call it a bug of the code under test. */
const char *__asan_default_options(void);  /* NOLINT(bugprone-reserved-identifier) */
const char *__asan_default_options(void) { /* NOLINT(bugprone-reserved-identifier) */
  return "detect_leaks=0";
}

/* ---- arguments -------------------------------------------------------------------------------- */

static bool read_number(const char *text, uint64_t min, uint64_t max, uint64_t *out) {
  char *end;
  errno = 0;
  *out = strtoull(text, &end, 10);
  if (errno == 0 && *end == '\0' && end != text && *text != '-' && *out >= min && *out <= max)
    return true;
  (void)fprintf(stderr, "sim: %s is not a number that is possible here\n", text);
  return false;
}

static bool read_option(int option, struct arguments *args) {
  struct campaign *c = &args->campaign;
  uint64_t number = 0;
  switch (option) {
  case 'n': return read_number(optarg, 1, UINT64_C(1) << 40, &c->count);
  case 'f': return read_number(optarg, 0, UINT64_MAX / 2, &c->from);
  case 'j':
    if (!read_number(optarg, 1, 64, &number)) return false;
    c->jobs = (unsigned)number;
    return true;
  case 'e':
    if (!read_number(optarg, 1, 10, &number)) return false;
    c->errands_max = (unsigned)number;
    return true;
  case 's': args->single = true; return read_number(optarg, 0, UINT64_MAX / 2, &args->seed);
  case 'm': args->minimise = true; return read_number(optarg, 0, UINT64_MAX / 2, &args->seed);
  case 'k': args->known = optarg; return true;
  case 'K': args->keep = optarg; return true;
  case 'w': return seeds_forbid(optarg, &c->faults);
  case 'o': return seeds_allow_only(optarg, &c->faults);
  case 't': args->trace = true; return true;
  case 'J': args->json = true; return true;
  case 'p': args->pairs = true; return true;
  default: return false;
  }
}

/* -1 to go on, else the exit status. */
static int read_arguments(int argc, char **argv, struct arguments *args) {
  static const struct option options[] = {{"seeds", required_argument, NULL, 'n'},
                                          {"from", required_argument, NULL, 'f'},
                                          {"jobs", required_argument, NULL, 'j'},
                                          {"errands", required_argument, NULL, 'e'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"minimise", required_argument, NULL, 'm'},
                                          {"known", required_argument, NULL, 'k'},
                                          {"keep", required_argument, NULL, 'K'},
                                          {"without", required_argument, NULL, 'w'},
                                          {"trace", no_argument, NULL, 't'},
                                          {"only", required_argument, NULL, 'o'},
                                          {"json", no_argument, NULL, 'J'},
                                          {"pairs", no_argument, NULL, 'p'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 'h') {
      (void)fputs(help, stdout);
      return 0;
    }
    if (!read_option(option, args)) {
      (void)fputs(help, stderr);
      return 2;
    }
  }
  if (optind == argc) return -1;
  (void)fprintf(stderr, "sim: %s is not an option\n", argv[optind]);
  return 2;
}

/* ---- what it does ----------------------------------------------------------------------------- */

static struct failure failure_of(const struct arguments *args) {
  return (struct failure){.seed = args->seed,
                          .faults = args->campaign.faults,
                          .errands_max = args->campaign.errands_max};
}

static int finish(uint64_t passed, uint64_t failed, bool ok) {
  printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
  return ok && failed == 0 ? 0 : 1;
}

static int run_single(const struct arguments *args) {
  struct run_options options = {.sim = {.seed = args->seed,
                                        .faults = args->campaign.faults,
                                        .trace = args->trace ? stdout : NULL},
                                .errands_max = args->campaign.errands_max};
  struct run_result result;
  (void)setvbuf(stdout, NULL, _IOLBF, 0); /* an assertion would lose what is not written */
  run_one(&options, &result);
  if (result.broken) {
    struct failure failure = failure_of(args);
    failure.invariant = result.broken;
    (void)snprintf(failure.text, sizeof failure.text, "%.500s", result.text);
    report_failure(&failure, args->program);
  }
  return finish(!result.broken, result.broken != 0, true);
}

static int run_minimise(const struct arguments *args) {
  struct failure failure = failure_of(args);
  if (!campaign_fails(&failure)) {
    printf("seed %" PRIu64 " does not fail\n", args->seed);
    return finish(1, 0, true);
  }
  campaign_minimise(&failure);
  report_failure(&failure, args->program);
  if (args->keep && !seeds_keep(args->keep, &failure)) return 1;
  return finish(0, 1, true);
}

static int run_campaign(struct arguments *args) {
  static struct tally tally;
  struct campaign *c = &args->campaign;
  if (args->known && !seeds_read(args->known, c)) return 2;
  if (!campaign_run(c, &tally)) (void)fprintf(stderr, "sim: a process could not be made\n");
  bool complete = tally.done == c->known_count + c->count;
  for (uint64_t i = 0; i < tally.failure_count; i++) {
    if (args->json) break; /* it has their seeds and invariants */
    if (i < MINIMISED_MAX) campaign_minimise(&tally.failures[i]);
    report_failure(&tally.failures[i], args->program);
  }
  if (args->pairs) coverage_list(&tally.coverage, stdout);
  if (args->json) {
    report_json(&tally, stdout);
    return complete && tally.failed == 0 ? 0 : 1;
  }
  unsigned missing = report_tally(&tally);
  bool all_allowed = true;
  for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
    all_allowed = all_allowed && c->faults.allowed[i];
  bool demanded = all_allowed && c->errands_max == 0 && c->count >= COMPLETE_SEEDS;
  if (demanded && missing > 0)
    printf("%u kinds of faults or pairs are not as they have to be: one that never came is not "
           "tested\n",
           missing);
  return finish(tally.passed, tally.failed, complete && !(demanded && missing > 0));
}

int main(int argc, char **argv) {
  static struct arguments args;
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  args.program = argv[0];
  args.campaign.from = 1;
  args.campaign.count = SEEDS_DEFAULT;
  args.campaign.jobs = processors > 0 ? (unsigned)processors : 1;
  args.campaign.progress = isatty(STDERR_FILENO) == 1;
  for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
    args.campaign.faults.allowed[i] = true;
  int status = read_arguments(argc, argv, &args);
  if (status >= 0) return status;
  if (args.minimise) return run_minimise(&args);
  return args.single ? run_single(&args) : run_campaign(&args);
}
