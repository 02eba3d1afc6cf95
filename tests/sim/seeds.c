/* See seeds.h. */
#include "tests/sim/seeds.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/report.h"

enum { LINE_SIZE = 2048 };

static bool mark(const char *name, size_t length, bool allowed, struct sim_faults *faults) {
  for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
    const char *known = sim_fault_name((enum sim_fault)i);
    if (strlen(known) != length || strncmp(known, name, length) != 0) continue;
    faults->allowed[i] = allowed;
    return true;
  }
  (void)fprintf(stderr, "sim: there is no fault called %.*s\n", (int)length, name);
  return false;
}

static bool mark_all(const char *names, bool allowed, struct sim_faults *faults) {
  while (*names) {
    size_t length = strcspn(names, ",");
    if (length > 0 && !mark(names, length, allowed, faults)) return false;
    names += length + (names[length] == ',');
  }
  return true;
}

bool seeds_forbid(const char *names, struct sim_faults *faults) {
  return mark_all(names, false, faults);
}

bool seeds_allow_only(const char *names, struct sim_faults *faults) {
  *faults = (struct sim_faults){0};
  return mark_all(names, true, faults);
}

static bool read_word(const char *word, struct known_seed *known) {
  char *end;
  if (strncmp(word, "without=", 8) == 0) return seeds_forbid(word + 8, &known->faults);
  if (strncmp(word, "only=", 5) == 0) return seeds_allow_only(word + 5, &known->faults);
  errno = 0;
  if (strncmp(word, "errands=", 8) == 0)
    known->errands_max = (unsigned)strtoul(word + 8, &end, 10);
  else
    known->seed = strtoull(word, &end, 10);
  return errno == 0 && *end == '\0' && end != word;
}

/* True also for a line without anything. */
static bool read_line(char *line, const struct campaign *campaign, struct known_seed *known,
                      bool *found) {
  *found = false;
  line[strcspn(line, "#\n")] = '\0';
  *known = (struct known_seed){.faults = campaign->faults, .errands_max = campaign->errands_max};
  for (char *rest = line, *word; (word = strsep(&rest, " \t"));) {
    if (*word == '\0') continue;
    if (!read_word(word, known)) return false;
    *found = true;
  }
  return true;
}

bool seeds_read(const char *path, struct campaign *campaign) {
  FILE *file = fopen(path, "r");
  if (!file) {
    (void)fprintf(stderr, "sim: %s: %s\n", path, strerror(errno));
    return false;
  }
  char line[LINE_SIZE];
  bool ok = true;
  for (unsigned number = 1; ok && fgets(line, sizeof line, file); number++) {
    struct known_seed known;
    bool found = false;
    ok = read_line(line, campaign, &known, &found);
    if (ok && found && campaign->known_count == KNOWN_SEEDS_MAX) ok = false;
    if (!ok) (void)fprintf(stderr, "%s:%u: not a line of seeds\n", path, number);
    if (ok && found) campaign->known[campaign->known_count++] = known;
  }
  (void)fclose(file);
  return ok;
}

bool seeds_keep(const char *path, const struct failure *failure) {
  char choice[1024];
  FILE *file = fopen(path, "a");
  if (!file) {
    (void)fprintf(stderr, "sim: %s: %s\n", path, strerror(errno));
    return false;
  }
  report_choice(&failure->faults, choice, sizeof choice);
  (void)fprintf(file, "%" PRIu64, failure->seed);
  if (choice[0]) (void)fprintf(file, " %s", choice);
  if (failure->errands_max) (void)fprintf(file, " errands=%u", failure->errands_max);
  (void)fprintf(file, "  # invariant %u: %.200s\n", failure->invariant, failure->text);
  return fclose(file) == 0;
}
