/* See campaign.h.
 *
 * A worker is a process, because the code under test may stop it (an assertion), and because what a
 * killed life leaves allocated goes with it: each does CHUNK seeds and is followed by a new one. What
 * it finds it adds to its slot in shared memory; which seed it is at stands there too.
 */
#include "tests/sim/campaign.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 2000, JOBS_MAX = 64, TWICE_EVERY = 97, POLL_MS = 200, LINE_EVERY_S = 10 };

struct slot {
  uint64_t next; /* index of the run under way, or to come */
  pid_t pid;     /* 0: done */
  struct tally tally;
};

struct work {
  const struct campaign *campaign;
  struct slot *slots;
  unsigned jobs;
  uint64_t total;
};

static void *shared_memory(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

/* ---- one run ---------------------------------------------------------------------------------- */

/* The known ones come first. */
static struct run_options options_of(const struct campaign *c, uint64_t index) {
  if (index < c->known_count)
    return (
        struct run_options){.sim = {.seed = c->known[index].seed, .faults = c->known[index].faults},
                            .errands_max = c->known[index].errands_max};
  return (
      struct run_options){.sim = {.seed = c->from + (index - c->known_count), .faults = c->faults},
                          .errands_max = c->errands_max};
}

static void add_failure(struct tally *tally, const struct run_options *options, unsigned invariant,
                        int signal, const char *text) {
  tally->failed++;
  if (tally->failure_count == FAILURES_MAX) return;
  struct failure *failure = &tally->failures[tally->failure_count++];
  *failure = (struct failure){.seed = options->sim.seed,
                              .invariant = invariant,
                              .signal = signal,
                              .faults = options->sim.faults,
                              .errands_max = options->errands_max};
  (void)snprintf(failure->text, sizeof failure->text, "%s", text);
}

static void add_result(struct tally *tally, const struct run_result *result) {
  tally->events += result->events;
  tally->virtual_us += result->virtual_us;
  for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
    tally->faults[i] += result->faults[i];
  tally->lives_killed += result->lives_killed;
  tally->lives_halted += result->lives_halted;
  tally->lives_stopped += result->lives_stopped;
  tally->committed += result->outcomes.committed;
  tally->aborted += result->outcomes.aborted;
  tally->mixed += result->outcomes.mixed;
  tally->unknown += result->outcomes.unknown;
}

static void run_at(const struct campaign *c, uint64_t index, struct tally *tally) {
  struct run_options options = options_of(c, index);
  struct run_result result, again;
  bool twice = index % TWICE_EVERY == 0;
  options.sim.hash = twice;
  run_one(&options, &result);
  add_result(tally, &result);
  if (twice) {
    run_one(&options, &again);
    tally->twice++;
    if (again.hash != result.hash && !result.broken) {
      result.broken = 15;
      (void)snprintf(result.text, sizeof result.text, "the same seed has given another trace");
    }
  }
  if (result.broken)
    add_failure(tally, &options, result.broken, 0, result.text);
  else
    tally->passed++;
  tally->done++;
}

/* ---- workers ---------------------------------------------------------------------------------- */

static void work_chunk(const struct work *work, struct slot *slot) {
  coverage_use(&slot->tally.coverage);
  for (unsigned i = 0; i < CHUNK && slot->next < work->total; i++) {
    run_at(work->campaign, slot->next, &slot->tally);
    slot->next += work->jobs;
  }
}

/* False: no process could be made. */
static bool start_worker(const struct work *work, struct slot *slot) {
  slot->pid = 0;
  if (slot->next >= work->total) return true;
  (void)fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    work_chunk(work, slot);
    _exit(0);
  }
  slot->pid = pid > 0 ? pid : 0;
  return pid > 0;
}

static void note_stop(const struct work *work, struct slot *slot, int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  struct run_options options = options_of(work->campaign, slot->next);
  int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  add_failure(&slot->tally, &options, 0, signal,
              signal ? strsignal(signal) : "the run's process has failed");
  slot->tally.done++;
  slot->next += work->jobs;
}

/* ---- progress --------------------------------------------------------------------------------- */

static double seconds_now(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct progress {
  double began, last_line;
};

static void show_progress(const struct work *work, struct progress *progress, bool last) {
  uint64_t done = 0, failed = 0;
  for (unsigned i = 0; i < work->jobs; i++) {
    done += work->slots[i].tally.done;
    failed += work->slots[i].tally.failed;
  }
  double now = seconds_now(), passed_s = now - progress->began;
  double rate = passed_s > 0 ? (double)done / passed_s : 0;
  if (work->campaign->progress) {
    enum { WIDTH = 30 };
    char bar[WIDTH + 1] = "";
    for (unsigned i = 0; i < WIDTH; i++)
      bar[i] = (uint64_t)i * work->total < done * WIDTH ? '#' : '.';
    (void)fprintf(stderr, "\r[%s] %" PRIu64 "/%" PRIu64 " seeds, %" PRIu64 " failed, %.0f/s %s",
                  bar, done, work->total, failed, rate, last ? "\n" : "");
  } else if (last || now - progress->last_line >= LINE_EVERY_S) {
    (void)fprintf(stderr, "sim: %" PRIu64 "/%" PRIu64 " seeds, %" PRIu64 " failed, %.0f/s\n", done,
                  work->total, failed, rate);
    progress->last_line = now;
  }
}

/* ---- all of them ------------------------------------------------------------------------------ */

static struct slot *slot_of(const struct work *work, pid_t pid) {
  for (unsigned i = 0; i < work->jobs; i++)
    if (work->slots[i].pid == pid) return &work->slots[i];
  return NULL;
}

static bool is_busy(const struct work *work) {
  for (unsigned i = 0; i < work->jobs; i++)
    if (work->slots[i].pid) return true;
  return false;
}

/* SIGCHLD is blocked, so that it can be waited for together with the time. */
static void wait_a_moment(const sigset_t *child) {
  const struct timespec timeout = {.tv_nsec = POLL_MS * 1000000L};
  (void)sigtimedwait(child, NULL, &timeout);
}

static bool run_workers(const struct work *work, const sigset_t *child) {
  struct progress progress = {.began = seconds_now(), .last_line = seconds_now()};
  bool ok = true;
  for (unsigned i = 0; i < work->jobs && ok; i++) {
    work->slots[i].next = i;
    ok = start_worker(work, &work->slots[i]);
  }
  while (is_busy(work)) {
    wait_a_moment(child);
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
      struct slot *slot = slot_of(work, pid);
      assert(slot);
      note_stop(work, slot, status);
      if (!start_worker(work, slot)) ok = false;
    }
    show_progress(work, &progress, false);
  }
  show_progress(work, &progress, true);
  return ok;
}

static void add_up(struct tally *to, const struct tally *from) {
  to->done += from->done;
  to->passed += from->passed;
  to->failed += from->failed;
  to->events += from->events;
  to->virtual_us += from->virtual_us;
  to->twice += from->twice;
  to->lives_killed += from->lives_killed;
  to->lives_halted += from->lives_halted;
  to->lives_stopped += from->lives_stopped;
  to->committed += from->committed;
  to->aborted += from->aborted;
  to->mixed += from->mixed;
  to->unknown += from->unknown;
  for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
    to->faults[i] += from->faults[i];
  coverage_add(&to->coverage, &from->coverage);
  for (uint64_t i = 0; i < from->failure_count && to->failure_count < FAILURES_MAX; i++)
    to->failures[to->failure_count++] = from->failures[i];
}

static int by_seed(const void *a, const void *b) {
  const struct failure *x = a, *y = b;
  return (x->seed > y->seed) - (x->seed < y->seed);
}

bool campaign_run(const struct campaign *campaign, struct tally *tally) {
  unsigned jobs = campaign->jobs < JOBS_MAX ? campaign->jobs : JOBS_MAX;
  struct work work = {.campaign = campaign,
                      .jobs = jobs,
                      .total = campaign->known_count + campaign->count,
                      .slots = shared_memory(jobs * sizeof(struct slot))};
  sigset_t child, before;
  *tally = (struct tally){0};
  if (!work.slots) return false;
  (void)sigemptyset(&child);
  (void)sigaddset(&child, SIGCHLD);
  (void)sigprocmask(SIG_BLOCK, &child, &before);
  double began = seconds_now();
  bool ok = run_workers(&work, &child);
  tally->seconds = seconds_now() - began;
  (void)sigprocmask(SIG_SETMASK, &before, NULL);
  for (unsigned i = 0; i < jobs; i++)
    add_up(tally, &work.slots[i].tally);
  qsort(tally->failures, tally->failure_count, sizeof tally->failures[0], by_seed);
  (void)munmap(work.slots, jobs * sizeof(struct slot));
  return ok;
}

/* ---- one failure ------------------------------------------------------------------------------ */

bool campaign_fails(struct failure *failure) {
  struct run_result *result = shared_memory(sizeof *result);
  if (!result) abort();
  (void)fflush(NULL);
  pid_t pid = fork();
  if (pid < 0) abort();
  if (pid == 0) {
    struct run_options options = {.sim = {.seed = failure->seed, .faults = failure->faults},
                                  .errands_max = failure->errands_max};
    /* An assertion's words would come again and again. */
    if (!freopen("/dev/null", "w", stderr)) _exit(1);
    run_one(&options, result);
    _exit(0);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    continue;
  failure->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  failure->invariant = failure->signal ? 0 : result->broken;
  if (failure->invariant)
    (void)snprintf(failure->text, sizeof failure->text, "%.500s", result->text);
  (void)munmap(result, sizeof *result);
  return failure->invariant || failure->signal;
}

/* Is it the same failure still? Then it is kept. */
static bool try_less(struct failure *failure, const struct failure *less) {
  struct failure tried = *less;
  if (!campaign_fails(&tried)) return false;
  if (tried.invariant != failure->invariant || tried.signal != failure->signal) return false;
  *failure = tried;
  return true;
}

void campaign_minimise(struct failure *failure) {
  for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
    struct failure less = *failure;
    if (!less.faults.allowed[i]) continue;
    less.faults.allowed[i] = false;
    (void)try_less(failure, &less);
  }
  for (unsigned errands = 1; errands < 10; errands++) {
    struct failure less = *failure;
    less.errands_max = errands;
    if (try_less(failure, &less)) return;
  }
}
