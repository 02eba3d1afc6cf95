/* Making the file of a decision log: the schema, the first row, and the name it gets when it is
 * whole. See sqlite.c for the format. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "wal/sqlite.h"

enum error_code sqlite_sync_directory(const char *path, struct error *err) {
  char copy[PATH_MAX];
  (void)snprintf(copy, sizeof copy, "%s", path);
  int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool synced = fd >= 0 && fsync(fd) == 0;
  enum error_code code = synced ? ERR_OK : sqlite_system_error(err, "sync its directory", path);
  if (fd >= 0) (void)close(fd);
  return code;
}

static enum store_result name_it(struct store *store, const struct cluster_id *cluster,
                                 struct error *err) {
  struct binder b = {.next = 1};
  b.rc = sqlite3_prepare_v2(store->db, "INSERT INTO meta VALUES (1, ?1, 0, ?2, 0, 0, NULL)", -1,
                            &b.statement, NULL);
  bind_text(&b, cluster->text);
  bind_int(&b, clock_wall_us());
  enum store_result result = sqlite_run(store, &b, NULL, "cannot name it", err);
  (void)sqlite3_finalize(b.statement);
  return result;
}

/* With a rollback journal: its COMMIT leaves one whole, synced file and nothing beside it. */
enum store_result sqlite_fill(struct store *store, const char *path,
                              const struct cluster_id *cluster, struct error *err) {
  char setup[200];
  (void)snprintf(setup, sizeof setup,
                 "PRAGMA synchronous=EXTRA; BEGIN; PRAGMA application_id=%d;"
                 " PRAGMA user_version=%d;",
                 LOG_APPLICATION_ID, LOG_FORMAT);
  enum store_result result = sqlite_open_file(store, path, err);
  if (result == STORE_OK) result = sqlite_run_text(store, setup, err);
  if (result == STORE_OK) result = sqlite_run_text(store, sqlite_schema, err);
  if (result == STORE_OK) result = sqlite_run_text(store, sqlite_request_schema, err);
  if (result == STORE_OK) result = sqlite_run_text(store, sqlite_owner_schema, err);
  if (result == STORE_OK) result = name_it(store, cluster, err);
  return result;
}

enum error_code sqlite_create_empty(const char *path, struct error *err) {
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return sqlite_system_error(err, "make it", path);
  (void)close(fd);
  return ERR_OK;
}

enum error_code sqlite_make(struct store *store, struct error *err) {
  char new_path[PATH_MAX], journal[PATH_MAX];
  const struct cluster_id cluster = cluster_id_make();
  sqlite_beside(new_path, store->path, ".new");
  /* What a start left that was killed here. */
  (void)unlink(sqlite_beside(journal, new_path, "-journal"));
  (void)unlink(new_path);
  enum error_code code = sqlite_create_empty(new_path, err);
  if (code != ERR_OK) return code;
  enum store_result result = sqlite_fill(store, new_path, &cluster, err);
  if (result == STORE_OK) result = sqlite_run_text(store, "COMMIT", err);
  sqlite_disconnect(store, true);
  if (result != STORE_OK)
    code = error_wrap(err, "making a new decision log");
  else if (rename(new_path, store->path) != 0)
    code = sqlite_system_error(err, "name it", store->path);
  else
    return sqlite_sync_directory(store->path, err);
  (void)unlink(new_path);
  return code;
}
