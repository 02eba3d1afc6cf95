/* The files of a base backup: see throwaway_internal.h.
 *
 * Between pg_backup_start() and pg_backup_stop() any copy of the files will do, torn pages and files
 * that go meanwhile included: replaying the WAL from the start's checkpoint mends them.
 * Source: PostgreSQL's documentation, "Making a Base Backup Using the Low Level API".
 * Limits: no tablespaces.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/throwaway_internal.h"

/* Directories that are made, but empty: a running server fills them. */
static const char *const emptied[] = {"pg_wal",      "pg_replslot", "pg_dynshmem",
                                      "pg_notify",   "pg_serial",   "pg_snapshots",
                                      "pg_stat_tmp", "pg_subtrans", "pgsql_tmp",
                                      NULL};
static const char *const left_out[] = {"postmaster.pid", "postmaster.opts", "standby.signal",
                                       "backup_label", NULL};

static bool is_among(const char *name, const char *const *names) {
  while (*names && strcmp(name, *names) != 0)
    names++;
  return *names != NULL;
}

static bool give_away(const struct throwaway *t, const char *path) {
  return !t->change_user || chown(path, t->uid, t->gid) == 0;
}

/* False with errno. */
static bool copy_bytes(int from, int to) {
  for (;;) {
    ssize_t sent = sendfile(to, from, NULL, (size_t)1 << 30);
    if (sent == 0) return true;
    if (sent < 0 && errno != EINTR) return false;
  }
}

/* A file that has gone meanwhile is no failure. */
static bool copy_file(const struct throwaway *t, const char *from, const char *to) {
  int source = open(from, O_RDONLY | O_CLOEXEC);
  if (source < 0) return errno == ENOENT;
  int target = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  bool ok = target >= 0 && copy_bytes(source, target) && give_away(t, to);
  int cause = errno;
  (void)close(source);
  if (target >= 0) (void)close(target);
  errno = cause;
  return ok;
}

static bool copy_entry(const struct throwaway *t, FTS *tree, FTSENT *entry, const char *to) {
  switch (entry->fts_info) {
  case FTS_D:
    if (mkdir(to, 0700) != 0 || !give_away(t, to)) return false;
    if (is_among(entry->fts_name, emptied)) (void)fts_set(tree, entry, FTS_SKIP);
    return true;
  case FTS_F: return is_among(entry->fts_name, left_out) || copy_file(t, entry->fts_path, to);
  case FTS_DP: return true;
  case FTS_NS:
  case FTS_DNR:
  case FTS_ERR: errno = entry->fts_errno; return errno == ENOENT;
  default: errno = EINVAL; return false; /* a link: there is no tablespace */
  }
}

enum error_code throwaway_copy_data(const struct throwaway *t, const char *from, const char *to,
                                    struct error *err) {
  char root[THROWAWAY_PATH_SIZE], path[THROWAWAY_PATH_SIZE * 2];
  (void)snprintf(root, sizeof root, "%s", from);
  char *const roots[] = {root, NULL};
  FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
  enum error_code code = ERR_OK;
  if (!tree) return error_set(err, ERR_IO, "cannot read %s: %s", from, strerror(errno));
  for (FTSENT *entry; code == ERR_OK && (entry = fts_read(tree)) != NULL;) {
    int length = snprintf(path, sizeof path, "%s%s", to, entry->fts_path + strlen(from));
    assert(length > 0 && (size_t)length < sizeof path);
    if (!copy_entry(t, tree, entry, path))
      code = error_set(err, ERR_IO, "cannot copy %s: %s", entry->fts_path, strerror(errno));
  }
  (void)fts_close(tree);
  return code;
}
