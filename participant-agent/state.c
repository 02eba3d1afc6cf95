/* See state.h. Files are small, written as a temporary one, synced, renamed, and the directory
 * synced, so that each is either the old or the new one after a power cut. */
#include "participant-agent/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_TEXT_SIZE = 64 };

static enum error_code failed(struct error *err, const char *doing, const char *path) {
  int cause = errno;
  if (err && err->code == ERR_OK) err->sys_errno = cause;
  return error_set(err, ERR_IO, "%s %s: %s", doing, path, strerror(cause));
}

static enum error_code join(char out[PATH_MAX], const char *directory, const char *name,
                            struct error *err) {
  int length = snprintf(out, PATH_MAX, "%s/%s", directory, name);
  if (length > 0 && length < PATH_MAX) return ERR_OK;
  return error_set(err, ERR_CONFIG, "state_dir: the path is too long");
}

/* ---- small files -------------------------------------------------------------------------------
 */

/* "" when there is no such file. */
static enum error_code read_file(const char *path, char out[FILE_TEXT_SIZE], struct error *err) {
  out[0] = '\0';
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? ERR_OK : failed(err, "reading", path);
  ssize_t length = read(fd, out, FILE_TEXT_SIZE - 1);
  enum error_code code = length < 0 ? failed(err, "reading", path) : ERR_OK;
  (void)close(fd);
  out[length > 0 ? length : 0] = '\0';
  out[strcspn(out, "\n")] = '\0';
  return code;
}

static enum error_code sync_directory(const char *path, struct error *err) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return failed(err, "opening", path);
  enum error_code code = fsync(fd) == 0 ? ERR_OK : failed(err, "syncing", path);
  (void)close(fd);
  return code;
}

static enum error_code write_whole(const char *path, const char *text, struct error *err) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return failed(err, "writing", path);
  size_t length = strlen(text);
  ssize_t written = write(fd, text, length);
  enum error_code code = ERR_OK;
  if (written >= 0 && (size_t)written != length) errno = ENOSPC;
  if (written < 0 || (size_t)written != length || fsync(fd) != 0)
    code = failed(err, "writing", path);
  if (close(fd) != 0 && code == ERR_OK) code = failed(err, "writing", path);
  return code;
}

static enum error_code replace_file(const char *directory, const char *name, const char *text,
                                    struct error *err) {
  char path[PATH_MAX], temporary[PATH_MAX];
  char temporary_name[NAME_MAX];
  int length = snprintf(temporary_name, sizeof temporary_name, "%s.new", name);
  if (length < 0 || length >= (int)sizeof temporary_name)
    return error_set(err, ERR_CONFIG, "state_dir: the name is too long");
  if (join(path, directory, name, err) || join(temporary, directory, temporary_name, err))
    return ERR_CONFIG;
  enum error_code code = write_whole(temporary, text, err);
  if (code) return code;
  if (rename(temporary, path) != 0) return failed(err, "renaming to", path);
  return sync_directory(directory, err);
}

/* ---- the directory -----------------------------------------------------------------------------
 */

static enum error_code take_lock(const char *directory, struct state_dir *dir, struct error *err) {
  char path[PATH_MAX];
  if (join(path, directory, "lock", err)) return ERR_CONFIG;
  dir->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (dir->lock < 0) return failed(err, "opening", path);
  if (flock(dir->lock, LOCK_EX | LOCK_NB) == 0) return ERR_OK;
  if (errno != EWOULDBLOCK) return failed(err, "locking", path);
  return error_set(err, ERR_CONFIG,
                   "%s is in use by another agent: each agent needs a state_dir of its own",
                   directory);
}

static bool is_agent_id(const char *text) {
  size_t length = strlen(text);
  return length > 0 && length < AGENT_ID_SIZE &&
         strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

static enum error_code know_agent_id(const char *directory, struct state_dir *dir,
                                     struct error *err) {
  char path[PATH_MAX], text[FILE_TEXT_SIZE];
  if (join(path, directory, "agent_id", err)) return ERR_CONFIG;
  enum error_code code = read_file(path, text, err);
  if (code) return code;
  if (text[0]) {
    if (!is_agent_id(text)) return error_set(err, ERR_CONFIG, "%s does not hold an agent id", path);
    copy_text(dir->agent_id, sizeof dir->agent_id, text);
    return ERR_OK;
  }
  run_id_make(dir->agent_id);
  (void)snprintf(text, sizeof text, "%s\n", dir->agent_id);
  return replace_file(directory, "agent_id", text, err);
}

enum error_code state_dir_open(const char *path, struct state_dir *out, struct error *err) {
  *out = (struct state_dir){.lock = -1};
  if (mkdir(path, 0700) != 0 && errno != EEXIST) return failed(err, "making", path);
  if (chmod(path, 0700) != 0) return failed(err, "securing", path);
  enum error_code code = take_lock(path, out, err);
  if (!code) code = know_agent_id(path, out, err);
  if (code) state_dir_close(out);
  return code;
}

void state_dir_close(struct state_dir *dir) {
  if (dir->lock >= 0) (void)close(dir->lock);
  dir->lock = -1;
}

/* ---- epochs ------------------------------------------------------------------------------------
 */

static void epoch_name(char out[NAME_MAX], const char *participant,
                       const struct cluster_id *cluster) {
  (void)snprintf(out, NAME_MAX, "epoch.%s.%s", cluster->text, participant);
}

enum error_code state_epoch_read(const char *path, const char *participant,
                                 const struct cluster_id *cluster, uint64_t *known,
                                 char run_id[RUN_ID_SIZE], struct error *err) {
  char name[NAME_MAX], file[PATH_MAX], text[FILE_TEXT_SIZE];
  *known = 0;
  run_id[0] = '\0';
  epoch_name(name, participant, cluster);
  if (join(file, path, name, err)) return ERR_CONFIG;
  enum error_code code = read_file(file, text, err);
  if (code || !text[0]) return code;
  char *end = NULL;
  errno = 0;
  *known = strtoull(text, &end, 10);
  if (errno || *known == 0 || *end != ' ' || strlen(end + 1) >= RUN_ID_SIZE)
    return error_set(err, ERR_IO, "%s does not hold an epoch", file);
  copy_text(run_id, RUN_ID_SIZE, end + 1);
  return ERR_OK;
}

enum error_code state_epoch_write(const char *path, const char *participant,
                                  const struct epoch_claim *claim, struct error *err) {
  char name[NAME_MAX], text[FILE_TEXT_SIZE];
  epoch_name(name, participant, &claim->cluster);
  (void)snprintf(text, sizeof text, "%" PRIu64 " %s\n", claim->epoch, claim->run_id);
  return replace_file(path, name, text, err);
}
