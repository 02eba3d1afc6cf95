/* Draining: a participant that takes no new branches, so that it can be taken down when those it has
 * have ended. What is decided still reaches it.
 *
 * It lasts over restarts: who drains a database to work on it must not find branches there since the
 * coordinator was restarted meanwhile. The names are in a file, one a line, which is replaced as a whole
 * and durable before anybody is told. An operator does this now and then: the loop waits for the disk.
 * Limits: a name in the file that is no participant any more is left out at the next change.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "coordinator/internal.h"

enum { NAME_LINE_SIZE = 256 };

static enum error_code sync_directory(const char *path, struct error *err) {
  char directory[PATH_MAX];
  (void)snprintf(directory, sizeof directory, "%s", path);
  char *slash = strrchr(directory, '/');
  if (slash) *slash = '\0';
  int fd = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool synced = fd >= 0 && fsync(fd) == 0;
  int failed = errno;
  if (fd >= 0) (void)close(fd);
  if (synced) return ERR_OK;
  return error_set(err, ERR_UNAVAILABLE, "it could not be recorded: %s", strerror(failed));
}

static bool write_names(FILE *file, const struct coordinator *c) {
  for (const struct member *m = c->members; m; m = m->hh.next)
    if (m->draining && fprintf(file, "%s\n", m->name) < 0) return false;
  return fflush(file) == 0 && fsync(fileno(file)) == 0;
}

static enum error_code save(const struct coordinator *c, struct error *err) {
  const char *path = c->options.drained_path;
  char fresh[PATH_MAX];
  if (!path) return ERR_OK;
  (void)snprintf(fresh, sizeof fresh, "%s.new", path);
  FILE *file = fopen(fresh, "we");
  bool written = file && write_names(file, c);
  int failed = errno;
  if (file && fclose(file) != 0) written = false;
  if (written && rename(fresh, path) == 0) return sync_directory(path, err);
  if (written) failed = errno;
  return error_set(err, ERR_UNAVAILABLE, "it could not be recorded: %s", strerror(failed));
}

enum error_code drain_load(struct coordinator *c, struct error *err) {
  const char *path = c->options.drained_path;
  char name[NAME_LINE_SIZE];
  FILE *file = path ? fopen(path, "re") : NULL;
  if (!file && path && errno != ENOENT)
    return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
  if (!file) return ERR_OK;
  while (fgets(name, sizeof name, file)) {
    name[strcspn(name, "\n")] = '\0';
    struct member *member = member_find(c, name);
    if (!member) continue;
    member->draining = true;
    log_warn("participant_draining", "participant", "s", name, "detail", "s",
             "since before this start: it takes no new branches", NULL);
  }
  bool failed = ferror(file);
  (void)fclose(file);
  return failed ? error_set(err, ERR_IO, "%s cannot be read", path) : ERR_OK;
}

enum error_code coordinator_drain(struct coordinator *c, const char *name, bool draining,
                                  struct error *err) {
  struct member *member = member_find(c, name);
  if (!member) return error_set(err, ERR_NOT_FOUND, "no participant is called \"%.80s\"", name);
  if (member->draining == draining) return ERR_OK;
  member->draining = draining;
  enum error_code code = save(c, err);
  if (code != ERR_OK) {
    member->draining = !draining;
    return code;
  }
  log_warn(draining ? "participant_draining" : "participant_drain_ended", "participant", "s", name,
           NULL);
  observe_member(member);
  return ERR_OK;
}

enum error_code coordinator_check_takes_branches(struct coordinator *c, const char *name,
                                                 struct error *err) {
  enum error_code code = coordinator_check_participant(c, name, err);
  if (code != ERR_OK || !member_find(c, name)->draining) return code;
  return error_set(err, ERR_DRAINING, "participant %s is draining: it takes no new branches", name);
}
