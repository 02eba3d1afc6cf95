/* See report.h. */
#include "tests/sim/report.h"

#include <inttypes.h>
#include <string.h>

enum { CHOICE_SIZE = 1024 };

void report_choice(const struct sim_faults *faults, char *out, size_t size) {
  unsigned allowed = 0;
  for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
    allowed += faults->allowed[i];
  out[0] = '\0';
  if (allowed == SIM_FAULT_COUNT) return;
  bool only = allowed < SIM_FAULT_COUNT / 2;
  size_t used = (size_t)snprintf(out, size, only ? "only=" : "without=");
  const char *comma = "";
  for (unsigned i = 0; i < SIM_FAULT_COUNT && used < size; i++) {
    if (faults->allowed[i] != only) continue;
    used +=
        (size_t)snprintf(out + used, size - used, "%s%s", comma, sim_fault_name((enum sim_fault)i));
    comma = ",";
  }
}

void report_failure(const struct failure *failure, const char *program) {
  char choice[CHOICE_SIZE];
  report_choice(&failure->faults, choice, sizeof choice);
  if (failure->signal)
    printf("seed %" PRIu64 ": stopped by signal %d (%s)\n", failure->seed, failure->signal,
           failure->text);
  else
    printf("seed %" PRIu64 ": invariant %u: %s\n", failure->seed, failure->invariant,
           failure->text);
  printf("  replay: %s --seed %" PRIu64 " --trace", program, failure->seed);
  if (choice[0]) printf(" --%s", choice);
  if (failure->errands_max) printf(" --errands %u", failure->errands_max);
  printf("\n");
}

static unsigned report_faults(const struct tally *tally) {
  unsigned missing = 0;
  printf("faults\n");
  for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
    printf("  %-22s %10" PRIu64 "%s", sim_fault_name((enum sim_fault)i), tally->faults[i],
           i % 2 == 1 || i + 1 == SIM_FAULT_COUNT ? "\n" : "");
    missing += tally->faults[i] == 0;
  }
  return missing;
}

unsigned report_tally(const struct tally *t) {
  unsigned missing = report_faults(t);
  printf("lives         %" PRIu64 " killed, %" PRIu64 " halted, %" PRIu64 " stopped\n",
         t->lives_killed, t->lives_halted, t->lives_stopped);
  printf("transactions  %" PRIu64 " committed, %" PRIu64 " aborted, %" PRIu64 " mixed, %" PRIu64
         " of which nobody can say\n",
         t->committed, t->aborted, t->mixed, t->unknown);
  struct coverage_sum sum = coverage_report(&t->coverage, stdout);
  printf("pairs         %u of %u pairs of a state and an event\n", sum.reached, sum.required);
  if (sum.impossible > 0)
    printf("              %u more that coverage.c takes for impossible: it is to be corrected\n",
           sum.impossible);
  printf("same trace    %" PRIu64 " seeds run twice\n", t->twice);
  printf("time          %.1f s, %.0f seeds a second; %" PRIu64 " events, %.1f hours simulated\n",
         t->seconds, t->seconds > 0 ? (double)t->done / t->seconds : 0, t->events,
         (double)t->virtual_us / 3.6e9);
  return missing + (sum.required - sum.reached) + sum.impossible;
}

void report_json(const struct tally *t, FILE *out) {
  struct coverage_sum sum = coverage_report(&t->coverage, NULL);
  (void)fprintf(out,
                "{\"seeds\":%" PRIu64 ",\"passed\":%" PRIu64 ",\"failed\":%" PRIu64
                ",\"seconds\":%.3f,\"events\":%" PRIu64 ",\"virtual_us\":%" PRIu64
                ",\"lives\":{\"killed\":%" PRIu64 ",\"halted\":%" PRIu64 ",\"stopped\":%" PRIu64
                "},\"transactions\":{\"committed\":%" PRIu64 ",\"aborted\":%" PRIu64
                ",\"mixed\":%" PRIu64 ",\"unknown\":%" PRIu64
                "},\"pairs\":{\"reached\":%u,\"required\":%u},\"faults\":{",
                t->done, t->passed, t->failed, t->seconds, t->events, t->virtual_us,
                t->lives_killed, t->lives_halted, t->lives_stopped, t->committed, t->aborted,
                t->mixed, t->unknown, sum.reached, sum.required);
  for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
    (void)fprintf(out, "%s\"%s\":%" PRIu64, i ? "," : "", sim_fault_name((enum sim_fault)i),
                  t->faults[i]);
  (void)fprintf(out, "},\"failures\":[");
  for (uint64_t i = 0; i < t->failure_count; i++)
    (void)fprintf(out, "%s{\"seed\":%" PRIu64 ",\"invariant\":%u,\"signal\":%d}", i ? "," : "",
                  t->failures[i].seed, t->failures[i].invariant, t->failures[i].signal);
  (void)fprintf(out, "]}\n");
}
