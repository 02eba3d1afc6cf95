/* What there is to try, and what is promised: docs/design.md's table of crashes, cell by cell.
 *
 * A is "aborts", C "commits", E "either", - "never met": there the trial checks that the
 * transaction ends without meeting the point. In a transaction of several participants that aborts,
 * the last one refuses to prepare once the others have prepared; a sole participant that aborts
 * votes ready and then fails in COMMIT, so that it goes through the log.
 *
 * Why, where it is not plain from the table there:
 *   C3..C6, one participant   its branch is open, not prepared: it goes with its session, and the
 *                             delegated record names an xid that has not committed
 *   C3..C5, several, abort    an abort is not logged before it is told
 *   A3, A4, one participant   nothing is prepared in one phase
 *   last, abort               the last participant has no vote to lose and nothing to roll back
 *   database killed           before its branch is prepared, the branch is lost and the transaction
 *                             aborts; afterwards the branch is back with the database
 *   C1, C2, database back     nothing was sent to it yet: the branch runs, or is refused on a
 *                             connection that has broken
 *   A4, database killed       the vote has come to the agent; whether it is taken depends on what
 *                             else was read before the connection broke
 *   C9                        any transaction may be under way while the log is checkpointed
 *   C10, A7                   what a former life left: killed after its decision (C), or before (A)
 */
#include "tests/crash-matrix/matrix.h"

#include <assert.h>
#include <string.h>

#define LAST     .last = true
#define AGENTS   .agents = true
#define RECOVERY .recovery = true

const struct point points[] = {
    {"C1", "C1", .expected = {"AAAA", "EAEA", "AAAA"}},
    {"C2", "C2", .expected = {"AAAA", "EAEA", "AAAA"}},
    {"C2-last", "C2", LAST, .expected = {"AA", "EA", "AA"}},
    {"C3", "C3", .expected = {"A-AA", "C-AA", "C-AA"}},
    {"C4", "C4", .expected = {"E-AA", "C-AA", "C-AA"}},
    {"C5", "C5", .expected = {"C-AA", "C-AA", "C-AA"}},
    {"C6", "C6", .expected = {"CAAA", "CAAA", "CAAA"}},
    {"C6-last", "C6", LAST, .expected = {"C-", "C-", "C-"}},
    {"C7", "C7", .expected = {"CACA", "CACA", "CACA"}},
    {"C8", "C8", .expected = {"CACA", "CACA", "CACA"}},
    {"C9", "C9", .expected = {"EAEA", "EAEA", "EAEA"}},
    {"C10", "C10", RECOVERY, .expected = {"CACA", "CACA", "CACA"}},
    {"A1", "A1", AGENTS, .expected = {"AAAA", "AAAA", "AAAA"}},
    {"A1-last", "A1", AGENTS, LAST, .expected = {"AA", "AA", "AA"}},
    {"A2", "A2", AGENTS, .expected = {"AAAA", "AAAA", "AAAA"}},
    {"A2-last", "A2", AGENTS, LAST, .expected = {"AA", "AA", "AA"}},
    {"A3", "A3", AGENTS, .expected = {"AA--", "AA--", "AA--"}},
    {"A3-last", "A3", AGENTS, LAST, .expected = {"AA", "AA", "AA"}},
    {"A4", "A4", AGENTS, .expected = {"AA--", "EA--", "EA--"}},
    {"A4-last", "A4", AGENTS, LAST, .expected = {"A-", "E-", "E-"}},
    {"A5", "A5", AGENTS, .expected = {"CAAA", "CAAA", "CAAA"}},
    {"A5-last", "A5", AGENTS, LAST, .expected = {"C-", "C-", "C-"}},
    {"A6", "A6", AGENTS, .expected = {"CAC-", "CAC-", "CAC-"}},
    {"A6-last", "A6", AGENTS, LAST, .expected = {"C-", "C-", "C-"}},
    {"A7", "A7", AGENTS, RECOVERY, .expected = {"CACA", "CACA", "CACA"}},
};
const size_t point_count = sizeof points / sizeof points[0];

const char *fault_name(enum fault fault) {
  static const char *const names[FAULTS] = {"killed", "database-back", "database-down"};
  return names[fault];
}

enum expected plan_expected(const struct cell *cell) {
  const char *letters = cell->point->expected[cell->fault];
  size_t at = (size_t)(cell->banks == 1 ? 2 : 0) + (cell->abort ? 1 : 0);
  assert(at < strlen(letters));
  switch (letters[at]) {
  case 'A': return ABORTS;
  case 'C': return COMMITS;
  case 'E': return EITHER;
  default: assert(letters[at] == '-'); return NEVER_MET;
  }
}

/* What would tell nothing, or nothing certain: where the point is never met nothing is killed, which
 * one table of the three says; and in one process the last passage may be any participant's, so it
 * is not known whose database to kill. */
static bool is_worthwhile(const struct cell *cell) {
  if (cell->fault == KILLED) return true;
  if (plan_expected(cell) == NEVER_MET) return false;
  return !(cell->point->last && cell->point->agents && cell->mode == WORLD_EMBEDDED);
}

static size_t cells_of(enum fault fault, const struct point *point, struct cell *out) {
  size_t count = 0;
  for (int mode = WORLD_EMBEDDED; mode <= WORLD_AGENTS; mode++)
    for (int banks = point->last ? 2 : 1; banks <= BANKS_MAX; banks++)
      for (int abort = 0; abort <= 1; abort++) {
        out[count] = (struct cell){.fault = fault,
                                   .point = point,
                                   .mode = (enum world_mode)mode,
                                   .banks = banks,
                                   .abort = abort};
        count += is_worthwhile(&out[count]);
      }
  return count;
}

size_t plan_cells(struct cell out[CELLS_MAX]) {
  size_t count = 0;
  for (int fault = 0; fault < FAULTS; fault++)
    for (size_t i = 0; i < point_count; i++)
      count += cells_of((enum fault)fault, &points[i], out + count);
  assert(count <= CELLS_MAX);
  return count;
}

void plan_name(const struct cell *cell, char out[CELL_NAME_SIZE]) {
  (void)snprintf(out, CELL_NAME_SIZE, "%s/%s/%d/%s/%s", fault_name(cell->fault), cell->point->label,
                 cell->banks, cell->abort ? "abort" : "commit",
                 cell->mode == WORLD_EMBEDDED ? "embedded" : "agents");
}

/* Parts are between slashes. */
static bool has_part(const char *name, const char *part, size_t length) {
  for (; *name; name += strcspn(name, "/"), name += *name == '/')
    if (strcspn(name, "/") == length && strncmp(name, part, length) == 0) return true;
  return false;
}

bool plan_matches(const struct cell *cell, const char *filter) {
  char name[CELL_NAME_SIZE];
  plan_name(cell, name);
  for (; *filter; filter += *filter == '/') {
    size_t length = strcspn(filter, "/");
    bool is_point =
        strlen(cell->point->name) == length && strncmp(cell->point->name, filter, length) == 0;
    if (!is_point && !has_part(name, filter, length)) return false;
    filter += length;
  }
  return true;
}
