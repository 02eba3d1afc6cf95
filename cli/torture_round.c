/* A round of a torture: transfers run while the plan's faults come and go. See torture.h. */
#include <stdlib.h>
#include <string.h>

#include "cli/process.h"
#include "cli/torture.h"
#include "common/clock.h"

enum { TRANSFER_TIMEOUT_MS = 1500, SLICE_MS = 10 };

struct round {
  struct round_plan plan;
  uint64_t begin_us;
  unsigned broken;                /* events up to here have had their time */
  bool is_open[ROUND_EVENTS_MAX]; /* broken, and not mended yet */
};

static uint64_t elapsed_ms(const struct round *round) {
  return (clock_monotonic_us() - round->begin_us) / 1000;
}

struct step {
  uint64_t at_ms; /* UINT64_MAX: nothing is left to do */
  unsigned index;
  bool is_mend;
};

/* The first event to break, or to mend. */
static struct step next_step(const struct round *round) {
  struct step step = {.at_ms = UINT64_MAX};
  if (round->broken < round->plan.count)
    step = (struct step){round->plan.events[round->broken].at_ms, round->broken, false};
  for (unsigned i = 0; i < round->broken; i++) {
    const struct fault_event *event = &round->plan.events[i];
    uint64_t mend_ms = (uint64_t)event->at_ms + event->for_ms;
    if (round->is_open[i] && mend_ms < step.at_ms) step = (struct step){mend_ms, i, true};
  }
  return step;
}

/* Whether the round goes on. */
static bool watch_over(struct torture *t, struct error *err) {
  struct error why = {0};
  torture_show(t, false);
  if (load_failure(t->load, &why)) torture_violation(t, "a client: %s", why.text);
  return torture_watch_over(t, err) == ERR_OK && t->findings.violations.count == 0 &&
         !torture_interrupted();
}

/* False: the round is over before its time. */
static bool wait_until(struct torture *t, const struct round *round, uint64_t at_ms,
                       struct error *err) {
  for (;;) {
    uint64_t now_ms = elapsed_ms(round);
    if (!watch_over(t, err)) return false;
    if (now_ms >= at_ms) return true;
    process_pause_ms(at_ms - now_ms < SLICE_MS ? (unsigned)(at_ms - now_ms) : SLICE_MS);
  }
}

static enum error_code run_faults(struct torture *t, struct round *round, struct error *err) {
  for (;;) {
    struct step step = next_step(round);
    if (step.at_ms >= round->plan.length_ms || !wait_until(t, round, step.at_ms, err)) break;
    const struct fault_event *event = &round->plan.events[step.index];
    if (!step.is_mend) {
      round->is_open[round->broken++] = torture_break(t, event);
      continue;
    }
    round->is_open[step.index] = false;
    enum error_code code = torture_mend(t, event, err);
    if (code != ERR_OK) return code;
  }
  (void)wait_until(t, round, round->plan.length_ms, err);
  return err->code;
}

static enum error_code mend_all(struct torture *t, struct round *round, struct error *err) {
  for (unsigned i = 0; i < round->broken; i++) {
    if (!round->is_open[i]) continue;
    enum error_code code = torture_mend(t, &round->plan.events[i], err);
    if (code != ERR_OK) return code;
  }
  return ERR_OK;
}

/* ---- what was told ----------------------------------------------------------------------------- */

static void add_counts(struct load_counts *to, const struct load_counts *from) {
  to->finished += from->finished;
  to->committed += from->committed;
  to->aborted += from->aborted;
  to->mixed += from->mixed;
  to->aborted_by_timeout += from->aborted_by_timeout;
  to->lost += from->lost;
  to->lost_committed += from->lost_committed;
  to->lost_aborted += from->lost_aborted;
  to->resent += from->resent;
  to->detours += from->detours;
  to->prepared += from->prepared;
}

enum told torture_told(const struct torture *t, unsigned index) {
  return t->told[index].told;
}

bool torture_lost(const struct torture *t, unsigned index, int bank) {
  return t->told[index].lost[bank];
}

static enum error_code keep_told(struct torture *t, struct error *err) {
  unsigned begun = load_begun(t->load);
  struct load_counts counts = load_count(t->load);
  while (t->first + begun > t->told_capacity) {
    size_t capacity = t->told_capacity ? 2 * t->told_capacity : TORTURE_TRANSFERS_MAX;
    struct torture_verdict *told = realloc(t->told, capacity * sizeof *told);
    if (!told) return error_set(err, ERR_MEMORY, "out of memory");
    t->told = told;
    t->told_capacity = capacity;
  }
  for (unsigned i = 0; i < begun; i++)
    t->told[t->first + i] =
        t->verdicts ? t->verdicts[i]
                    : (struct torture_verdict){.told = load_record(t->load, t->first + i)->told};
  t->first += begun;
  add_counts(&t->findings.load, &counts);
  t->marks[t->findings.rounds % TORTURE_MARKS] =
      (struct torture_mark){clock_monotonic_us(), t->first};
  return ERR_OK;
}

/* Calls under way must end before the threads can: nobody is left to answer them. */
static void end_load(struct torture *t, bool is_drained) {
  load_stop(t->load);
  if (!is_drained) {
    torture_resume_all(t);
    stage_kill(t->stage, STAGE_COORDINATOR);
  }
  load_free(t->load);
  t->load = NULL;
}

enum error_code torture_round(struct torture *t, struct error *err) {
  const struct load_options options = {.url = stage_url(t->stage),
                                       .participants = {stage_bank_name(t->stage, 0),
                                                        stage_bank_name(t->stage, 1)},
                                       .schema = torture_schema,
                                       .dsns = {t->dsn[0], t->dsn[1]},
                                       .source = t->source,
                                       .first = t->first,
                                       .transfers = TORTURE_TRANSFERS_MAX,
                                       .clients = (unsigned)t->options.clients,
                                       .timeout_ms = TRANSFER_TIMEOUT_MS};
  struct round round = {.begin_us = clock_monotonic_us()};
  torture_plan_round(t->source.seed, t->findings.rounds, t->choices, t->choice_count, &round.plan);
  enum error_code code = load_start(&t->load, &options, err);
  if (code == ERR_OK) code = run_faults(t, &round, err);
  bool goes_on = code == ERR_OK && !torture_interrupted() && t->findings.violations.count == 0;
  if (goes_on) code = mend_all(t, &round, err);
  if (goes_on && code == ERR_OK) code = torture_settle(t, clock_monotonic_us(), err);
  goes_on =
      goes_on && code == ERR_OK && !torture_interrupted() && t->findings.violations.count == 0;
  if (goes_on) code = torture_check(t, err);
  if (goes_on && code == ERR_OK) code = keep_told(t, err);
  if (goes_on && code == ERR_OK) t->findings.rounds++;
  end_load(t, goes_on);
  return code;
}
