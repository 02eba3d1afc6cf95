/* usage: crash-matrix [-j WORKERS] [FILTER]...
 *
 * Tries the cells of the matrix that match a filter ("C5", "killed/A3/2/agents"), or all. Each
 * worker is a process with PostgreSQL servers of its own; the workers take cell after cell from a
 * list in shared memory and write what they find there. What a worker prints on a failure is shown
 * before the tables. A worker that dies has failed its cell, and another takes its place.
 *
 * The last line is alone: "N passed, N failed". Exit 0 when all have passed, else 1; 2: usage.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestRun.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/crash-matrix/matrix.h"

enum { WORKERS_DEFAULT = 2, WORKERS_MAX = 16, LOOK_MS = 50, PROGRESS_STEPS = 10 };

struct shared {
  atomic_size_t next, done, failed;
  struct result results[CELLS_MAX];
};

struct worker {
  pid_t pid;    /* 0: none */
  FILE *output; /* of all that were in this place */
};

static struct cell cells[CELLS_MAX];
static size_t cell_count;
static struct shared *shared;
static struct worker workers[WORKERS_MAX];
static volatile sig_atomic_t interrupted;

/* ---- a worker ---------------------------------------------------------------------------------- */

static size_t current;

static void try_current(void) {
  trial_run(&cells[current], &shared->results[current]);
}

static void print_failures(const char *name) {
  (void)printf("\n==== %s: FAILED\n", name);
  for (CU_pFailureRecord f = CU_get_failure_list(); f; f = f->pNext)
    (void)printf("  %s:%u: %s\n", f->strFileName ? f->strFileName : "", f->uiLineNumber,
                 f->strCondition ? f->strCondition : "");
  (void)fflush(stdout);
}

static void try_cell(CU_pSuite suite, CU_pTest test, size_t index) {
  struct result *result = &shared->results[index];
  char name[CELL_NAME_SIZE];
  current = index;
  result->verdict = UNDER_WAY;
  CU_ErrorCode ran = CU_run_test(suite, test);
  bool passed = ran == CUE_SUCCESS && CU_get_number_of_failures() == 0;
  plan_name(&cells[index], name);
  if (!passed) print_failures(name);
  if (!passed) (void)atomic_fetch_add(&shared->failed, 1);
  result->verdict = passed ? PASSED : FAILED;
  (void)atomic_fetch_add(&shared->done, 1);
}

/* Ends by exit(), so that the servers are stopped. */
static _Noreturn void work(void) {
  CU_pSuite suite;
  CU_pTest test;
  if (CU_initialize_registry() != CUE_SUCCESS) exit(2);
  suite = CU_add_suite("crash_matrix", NULL, NULL);
  test = suite ? CU_add_test(suite, "cell", try_current) : NULL;
  if (!test) exit(2);
  world_sync_servers();
  for (;;) {
    size_t index = atomic_fetch_add(&shared->next, 1);
    if (index >= cell_count) break;
    try_cell(suite, test, index);
  }
  CU_cleanup_registry();
  exit(0);
}

/* ---- the workers ------------------------------------------------------------------------------- */

/* In a group of its own: an interrupt from the terminal is for us, and we ask the workers to end. */
static void start_worker(struct worker *worker) {
  pid_t parent = getpid();
  if (!worker->output) worker->output = tmpfile();
  if (!worker->output) {
    perror("crash-matrix: tmpfile");
    exit(1);
  }
  (void)fflush(NULL);
  worker->pid = fork();
  if (worker->pid < 0) {
    perror("crash-matrix: fork");
    exit(1);
  }
  if (worker->pid > 0) return;
  (void)signal(SIGINT, SIG_DFL);
  (void)signal(SIGTERM, SIG_DFL);
  if (setpgid(0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent ||
      dup2(fileno(worker->output), STDOUT_FILENO) < 0 ||
      dup2(fileno(worker->output), STDERR_FILENO) < 0)
    _exit(2);
  work();
}

/* Those that a dead worker had under way have failed. */
static void note_death(struct worker *worker, int status) {
  worker->pid = 0;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  (void)fprintf(worker->output, "\n==== a worker has ended: status 0x%x\n", (unsigned)status);
  if (!interrupted && atomic_load(&shared->next) < cell_count) start_worker(worker);
}

static void look_after(size_t count) {
  for (size_t i = 0; i < count; i++) {
    int status;
    if (workers[i].pid != 0 && waitpid(workers[i].pid, &status, WNOHANG) == workers[i].pid)
      note_death(&workers[i], status);
  }
}

static bool any_works(size_t count) {
  for (size_t i = 0; i < count; i++)
    if (workers[i].pid != 0) return true;
  return false;
}

static void show_failures(void) {
  static bool shown[CELLS_MAX];
  for (size_t i = 0; i < cell_count; i++) {
    char name[CELL_NAME_SIZE];
    if (shown[i] || shared->results[i].verdict != FAILED) continue;
    shown[i] = true;
    plan_name(&cells[i], name);
    (void)printf("%s%s failed\n", isatty(STDOUT_FILENO) == 1 ? "\r" : "", name);
  }
}

static void show_progress(void) {
  static size_t shown;
  bool terminal = isatty(STDOUT_FILENO) == 1;
  size_t done = atomic_load(&shared->done), failed = atomic_load(&shared->failed);
  size_t step = terminal ? 1 : cell_count / PROGRESS_STEPS + 1;
  if (done / step == shown / step) return;
  shown = done;
  (void)printf("%s%zu of %zu cells, %zu failed%s", terminal ? "\r" : "", done, cell_count, failed,
               terminal ? "" : "\n");
  (void)fflush(stdout);
}

static void on_signal(int signum) {
  interrupted = signum;
}

/* Asked once to end, a worker does so in good order; asked again, at once. */
static void pass_on_signal(size_t count, int *passed_on) {
  if (interrupted == *passed_on) return;
  *passed_on = interrupted;
  for (size_t i = 0; i < count; i++)
    if (workers[i].pid != 0) (void)kill(workers[i].pid, SIGTERM);
}

static void run_workers(size_t count) {
  const struct sigaction action = {.sa_handler = on_signal};
  int passed_on = 0;
  (void)sigaction(SIGINT, &action, NULL);
  (void)sigaction(SIGTERM, &action, NULL);
  for (size_t i = 0; i < count; i++)
    start_worker(&workers[i]);
  while (any_works(count)) {
    pass_on_signal(count, &passed_on);
    look_after(count);
    show_failures();
    show_progress();
    process_pause_ms(LOOK_MS);
  }
  if (isatty(STDOUT_FILENO) == 1) (void)printf("\n");
}

static void show_output(size_t count) {
  for (size_t i = 0; i < count; i++) {
    char text[4096];
    size_t length;
    rewind(workers[i].output);
    while ((length = fread(text, 1, sizeof text, workers[i].output)) > 0)
      (void)fwrite(text, 1, length, stdout);
    (void)fclose(workers[i].output);
  }
}

/* ---- main -------------------------------------------------------------------------------------- */

static bool is_wanted(const struct cell *cell, char *const *filters) {
  if (!*filters) return true;
  for (; *filters; filters++)
    if (plan_matches(cell, *filters)) return true;
  return false;
}

static size_t choose(char *const *filters) {
  static struct cell all[CELLS_MAX];
  size_t planned = plan_cells(all), count = 0;
  for (size_t i = 0; i < planned; i++)
    if (is_wanted(&all[i], filters)) cells[count++] = all[i];
  return count;
}

static int usage(const char *why) {
  (void)fprintf(stderr, "crash-matrix: %s\nusage: crash-matrix [-j WORKERS] [FILTER]...\n", why);
  return 2;
}

int main(int argc, char **argv) {
  size_t count = WORKERS_DEFAULT;
  for (int option; (option = getopt(argc, argv, "j:")) != -1;) {
    count = option == 'j' ? strtoul(optarg, NULL, 10) : 0;
    if (count < 1 || count > WORKERS_MAX) return usage("from 1 to 16 workers");
  }
  cell_count = choose(argv + optind);
  if (cell_count == 0) return usage("no cell has such a name");
  if (count > cell_count) count = cell_count;
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    perror("crash-matrix: mmap");
    return 1;
  }
  run_workers(count);
  show_output(count);
  for (size_t i = 0; i < cell_count; i++)
    if (shared->results[i].verdict == UNDER_WAY) shared->results[i].verdict = FAILED;
  size_t failed = report_print(stdout, cells, shared->results, cell_count);
  (void)printf("%zu passed, %zu failed\n", cell_count - failed, failed);
  return failed == 0 && !interrupted ? 0 : 1;
}
