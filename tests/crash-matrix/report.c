/* The tables: a row for each crash point, a column for each kind of transaction. */
#include "tests/crash-matrix/matrix.h"

#include <string.h>

#include "cli/table.h"

enum { COLUMN_WIDTH = 7, ROW_WIDTH = 9 };

static const char *const fault_titles[FAULTS] = {
    "the process killed where it meets the point, and killed again while it recovers",
    "a database killed while the process stands at the point, back before it goes on",
    "a database killed while the process stands at the point, back after that was noticed",
};

static const char green[] = "\033[32m", dim[] = "\033[2m", red[] = "\033[31m",
                  bright[] = "\033[1;31m", blue[] = "\033[36m";

static void print_cell(FILE *out, const char *word, const char *colour) {
  (void)fprintf(out, " %s%*s%s", colour ? colour : "", COLUMN_WIDTH - 1, word,
                colour ? colour_off : "");
}

static void print_result(FILE *out, const struct cell *cell, const struct result *result,
                         bool colour) {
  const char *word = "", *in = "";
  if (result->verdict == FAILED) {
    word = "FAILED";
    in = bright;
  } else if (result->verdict == PASSED && plan_expected(cell) == NEVER_MET) {
    word = "-";
    in = dim;
  } else if (result->verdict == PASSED) {
    word = result->outcome == OUTCOME_COMMITTED ? "commit" : "abort";
    in = result->outcome == OUTCOME_COMMITTED ? green : cell->abort ? blue : red;
  }
  print_cell(out, word, colour ? in : NULL);
}

static void print_head(FILE *out, enum fault fault) {
  static const char *const numbers[BANKS_MAX + 1] = {"", "1 participant", "2", "3"};
  (void)fprintf(out, "\n%s: %s\n\n%-*s", fault_name(fault), fault_titles[fault], ROW_WIDTH, "");
  for (int mode = WORLD_EMBEDDED; mode <= WORLD_AGENTS; mode++)
    (void)fprintf(out, " | %-*s", 2 * BANKS_MAX * COLUMN_WIDTH,
                  mode == WORLD_EMBEDDED ? "embedded agents" : "agents as processes");
  (void)fprintf(out, "\n%-*s", ROW_WIDTH, "");
  for (int mode = WORLD_EMBEDDED; mode <= WORLD_AGENTS; mode++) {
    (void)fprintf(out, " |");
    for (int banks = 1; banks <= BANKS_MAX; banks++)
      (void)fprintf(out, " %-*s", 2 * COLUMN_WIDTH - 1, numbers[banks]);
  }
  (void)fprintf(out, "\n%-*s", ROW_WIDTH, "");
  for (int mode = WORLD_EMBEDDED; mode <= WORLD_AGENTS; mode++) {
    (void)fprintf(out, " |");
    for (int column = 0; column < 2 * BANKS_MAX; column++)
      print_cell(out, column % 2 ? "abort" : "commit", NULL);
  }
  (void)fprintf(out, "\n");
}

static const struct result *result_of(const struct cell *wanted, const struct cell *cells,
                                      const struct result *results, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (cells[i].fault == wanted->fault && cells[i].point == wanted->point &&
        cells[i].mode == wanted->mode && cells[i].banks == wanted->banks &&
        cells[i].abort == wanted->abort)
      return &results[i];
  return NULL;
}

static void print_row(FILE *out, enum fault fault, const struct point *point,
                      const struct cell *cells, const struct result *results, size_t count) {
  bool colour = colour_wanted(out);
  (void)fprintf(out, "%-*s", ROW_WIDTH, point->label);
  for (int mode = WORLD_EMBEDDED; mode <= WORLD_AGENTS; mode++) {
    (void)fprintf(out, " |");
    for (int column = 0; column < 2 * BANKS_MAX; column++) {
      struct cell cell = {.fault = fault,
                          .point = point,
                          .mode = (enum world_mode)mode,
                          .banks = 1 + column / 2,
                          .abort = column % 2};
      const struct result *result = result_of(&cell, cells, results, count);
      if (result)
        print_result(out, &cell, result, colour);
      else
        print_cell(out, "", NULL);
    }
  }
  (void)fprintf(out, "\n");
}

static bool has_cells(enum fault fault, const struct point *point, const struct cell *cells,
                      size_t count) {
  for (size_t i = 0; i < count; i++)
    if (cells[i].fault == fault && (!point || cells[i].point == point)) return true;
  return false;
}

size_t report_print(FILE *out, const struct cell *cells, const struct result *results,
                    size_t count) {
  size_t failed = 0, never = 0;
  unsigned again = 0;
  for (int fault = 0; fault < FAULTS; fault++) {
    if (!has_cells((enum fault)fault, NULL, cells, count)) continue;
    print_head(out, (enum fault)fault);
    for (size_t i = 0; i < point_count; i++)
      if (has_cells((enum fault)fault, &points[i], cells, count))
        print_row(out, (enum fault)fault, &points[i], cells, results, count);
  }
  for (size_t i = 0; i < count; i++) {
    failed += results[i].verdict != PASSED;
    never += plan_expected(&cells[i]) == NEVER_MET;
    again += results[i].again;
  }
  (void)fprintf(out,
                "\ncommit, abort: what became of the transaction, at every participant; -: as "
                "expected, the point is never met; empty: not tried (plan.c says why)\n"
                "%zu cells, in %zu of them the point is never met; %u recoveries killed in turn\n",
                count, never, again);
  return failed;
}
