/* Looking around the machine: see throwaway_find.h. Linux only (/proc, Debian's directories). */
#include "cli/throwaway_find.h"

#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char debian_pattern[] = "/usr/lib/postgresql/*/bin";

static bool has_programs(const char *directory) {
  char path[THROWAWAY_PATH_SIZE + 16];
  if (strlen(directory) >= THROWAWAY_PATH_SIZE) return false;
  (void)snprintf(path, sizeof path, "%s/initdb", directory);
  if (access(path, X_OK) != 0) return false;
  (void)snprintf(path, sizeof path, "%s/postgres", directory);
  return access(path, X_OK) == 0;
}

static bool take(const char *directory, char out[THROWAWAY_PATH_SIZE]) {
  if (!has_programs(directory)) return false;
  (void)snprintf(out, THROWAWAY_PATH_SIZE, "%s", directory);
  return true;
}

static bool from_pg_config(char out[THROWAWAY_PATH_SIZE]) {
  char line[THROWAWAY_PATH_SIZE] = "";
  FILE *pipe = popen("pg_config --bindir 2>/dev/null", "re");
  if (!pipe) return false;
  bool read = fgets(line, sizeof line, pipe) != NULL;
  (void)pclose(pipe);
  line[strcspn(line, "\n")] = '\0';
  return read && take(line, out);
}

static bool from_debian(char out[THROWAWAY_PATH_SIZE]) {
  glob_t found;
  double highest = -1;
  if (glob(debian_pattern, GLOB_NOSORT, NULL, &found) != 0) return false;
  for (size_t i = 0; i < found.gl_pathc; i++) {
    /* "/usr/lib/postgresql/15/bin": the version is what the star stood for */
    double version = strtod(found.gl_pathv[i] + strcspn(debian_pattern, "*"), NULL);
    if (version > highest && take(found.gl_pathv[i], out)) highest = version;
  }
  globfree(&found);
  return highest >= 0;
}

static bool from_path(char out[THROWAWAY_PATH_SIZE]) {
  const char *path = getenv("PATH");
  char *copy = path ? strdup(path) : NULL;
  char *rest = copy, *directory;
  bool found = false;
  while (!found && rest && (directory = strsep(&rest, ":")) != NULL)
    found = *directory == '/' && take(directory, out);
  free(copy);
  return found;
}

enum error_code throwaway_find_programs(char out[THROWAWAY_PATH_SIZE], struct error *err) {
  const char *told = getenv("ASSENT_PG_BIN");
  if (told && *told) { /* who says where it is means it: no other is taken in its place */
    if (take(told, out)) return ERR_OK;
    return error_set(err, ERR_UNAVAILABLE, "ASSENT_PG_BIN=%s has no programs initdb and postgres",
                     told);
  }
  if (from_pg_config(out) || from_debian(out) || from_path(out)) return ERR_OK;
  return error_set(err, ERR_UNAVAILABLE,
                   "PostgreSQL's server programs initdb and postgres were not found: looked where "
                   "pg_config --bindir says, in %s and in $PATH. `make deps` installs them; "
                   "ASSENT_PG_BIN names another directory",
                   debian_pattern);
}

struct throwaway_process throwaway_process_of(pid_t pid) {
  struct throwaway_process process = {.parent = -1, .ended = true};
  char path[64], line[512], state;
  long parent;
  (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
  FILE *file = fopen(path, "re");
  if (!file) return process;
  size_t length = fread(line, 1, sizeof line - 1, file);
  (void)fclose(file);
  line[length] = '\0';
  /* "123 (name) S 45 ...": the name may hold anything, also a closing parenthesis */
  const char *after = strrchr(line, ')');
  if (!after || sscanf(after + 1, " %c %ld", &state, &parent) != 2) return process;
  process.parent = (pid_t)parent;
  process.ended = state == 'Z' || state == 'X';
  return process;
}
