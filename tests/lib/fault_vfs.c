/* See fault_vfs.h.
 *
 * A file of ours is a small struct, followed in the same memory by the wrapped VFS's file. For the
 * power cut every write first saves what was there; a sync forgets what was saved for its file, and
 * power_back() puts a random part of the rest back, newest first. The disk itself is never asked to
 * sync: what a sync makes safe is modelled here, and the wait would only cost time.
 */
#include "tests/lib/fault_vfs.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fault_file {
  sqlite3_file base;
  char *path;
  sqlite3_file *real;
};

struct saved {
  struct saved *older;
  char *path;
  int64_t offset, file_size;
  size_t size, was_there;
  unsigned char *bytes;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct {
  unsigned fail_sync, cut_at_sync, syncs;
  int64_t space;
  bool hold, held, recording, dead;
  struct saved *saved;
} disk;
static sqlite3_vfs *real_vfs;
static sqlite3_vfs fault_vfs;
static sqlite3_io_methods methods;

static sqlite3_file *real_of(sqlite3_file *file) {
  return ((struct fault_file *)file)->real;
}

/* ---- what a write replaces ------------------------------------------------------------------ */

static void saved_free(struct saved *saved) {
  free(saved->path);
  free(saved->bytes);
  free(saved);
}

/* The mutex is held. Reads by a descriptor of its own would drop SQLite's locks when closed. */
static void save(struct fault_file *file, size_t size, int64_t offset) {
  sqlite3_int64 file_size = 0;
  if (file->real->pMethods->xFileSize(file->real, &file_size) != SQLITE_OK) abort();
  struct saved *saved = calloc(1, sizeof *saved);
  if (!saved) abort();
  saved->path = strdup(file->path);
  saved->offset = offset;
  saved->size = size;
  saved->file_size = file_size;
  if (offset < file_size) {
    int64_t rest = file_size - offset;
    saved->was_there = rest < (int64_t)size ? (size_t)rest : size;
    saved->bytes = malloc(saved->was_there);
    if (!saved->bytes || file->real->pMethods->xRead(file->real, saved->bytes,
                                                     (int)saved->was_there, offset) != SQLITE_OK)
      abort();
  }
  saved->older = disk.saved;
  disk.saved = saved;
}

static void forget(const char *path) {
  for (struct saved **at = &disk.saved; *at;) {
    struct saved *saved = *at;
    if (path && strcmp(saved->path, path) != 0) {
      at = &saved->older;
      continue;
    }
    *at = saved->older;
    saved_free(saved);
  }
}

static void undo(const struct saved *saved) {
  int fd = open(saved->path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return; /* removed since */
  if ((saved->was_there > 0 &&
       pwrite(fd, saved->bytes, saved->was_there, saved->offset) != (ssize_t)saved->was_there))
    abort();
  if (saved->file_size < saved->offset + (int64_t)saved->size) {
    /* It had made the file longer: what it brought is zeros now, or gone where it is the end. */
    struct saved zeros = {.size = saved->size - saved->was_there};
    zeros.bytes = calloc(1, zeros.size);
    off_t from = (off_t)(saved->offset + (int64_t)saved->was_there);
    off_t end = lseek(fd, 0, SEEK_END);
    if (!zeros.bytes) abort();
    if (end <= from + (off_t)zeros.size) {
      if (ftruncate(fd, from) != 0) abort();
    } else if (pwrite(fd, zeros.bytes, zeros.size, from) != (ssize_t)zeros.size) {
      abort();
    }
    free(zeros.bytes);
  }
  (void)close(fd);
}

/* ---- file methods --------------------------------------------------------------------------- */

static int on_close(sqlite3_file *file) {
  struct fault_file *f = (struct fault_file *)file;
  int rc = f->real->pMethods ? f->real->pMethods->xClose(f->real) : SQLITE_OK;
  free(f->path);
  f->path = NULL;
  return rc;
}

static int on_read(sqlite3_file *file, void *to, int size, sqlite3_int64 offset) {
  return real_of(file)->pMethods->xRead(real_of(file), to, size, offset);
}

static int on_write(sqlite3_file *file, const void *from, int size, sqlite3_int64 offset) {
  int fits = size;
  (void)pthread_mutex_lock(&mutex);
  bool dead = disk.dead;
  if (!dead && disk.space >= 0) {
    if (disk.space < fits) fits = (int)disk.space;
    disk.space -= fits;
  }
  if (!dead && disk.recording) save((struct fault_file *)file, (size_t)size, offset);
  (void)pthread_mutex_unlock(&mutex);
  if (dead) return SQLITE_IOERR_WRITE;
  int rc =
      fits > 0 ? real_of(file)->pMethods->xWrite(real_of(file), from, fits, offset) : SQLITE_OK;
  return rc == SQLITE_OK && fits < size ? SQLITE_FULL : rc;
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size) {
  (void)pthread_mutex_lock(&mutex);
  bool dead = disk.dead;
  (void)pthread_mutex_unlock(&mutex);
  return dead ? SQLITE_IOERR_TRUNCATE : real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int on_sync(sqlite3_file *file, int flags) {
  (void)pthread_mutex_lock(&mutex);
  disk.syncs++;
  bool fails = disk.fail_sync > 0 && --disk.fail_sync == 0;
  if (disk.cut_at_sync > 0 && --disk.cut_at_sync == 0) disk.dead = true;
  while (disk.hold) {
    disk.held = true;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_cond_wait(&changed, &mutex);
  }
  disk.held = false;
  fails = fails || disk.dead;
  if (!fails) forget(((struct fault_file *)file)->path);
  (void)pthread_mutex_unlock(&mutex);
  (void)flags;
  return fails ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int on_size(sqlite3_file *file, sqlite3_int64 *size) {
  return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int on_lock(sqlite3_file *file, int level) {
  return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int on_unlock(sqlite3_file *file, int level) {
  return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int on_check_lock(sqlite3_file *file, int *out) {
  return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static int on_control(sqlite3_file *file, int operation, void *argument) {
  return real_of(file)->pMethods->xFileControl(real_of(file), operation, argument);
}

static int on_sector_size(sqlite3_file *file) {
  return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int on_characteristics(sqlite3_file *file) {
  return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

/* Version 1: no shared memory, which the log does not use. */
static sqlite3_io_methods methods = {.iVersion = 1,
                                     .xClose = on_close,
                                     .xRead = on_read,
                                     .xWrite = on_write,
                                     .xTruncate = on_truncate,
                                     .xSync = on_sync,
                                     .xFileSize = on_size,
                                     .xLock = on_lock,
                                     .xUnlock = on_unlock,
                                     .xCheckReservedLock = on_check_lock,
                                     .xFileControl = on_control,
                                     .xSectorSize = on_sector_size,
                                     .xDeviceCharacteristics = on_characteristics};

static int on_open(sqlite3_vfs *vfs, sqlite3_filename path, sqlite3_file *file, int flags,
                   int *out_flags) {
  struct fault_file *f = (struct fault_file *)file;
  (void)vfs;
  f->base.pMethods = NULL;
  f->real = (sqlite3_file *)(f + 1);
  f->path = strdup(path ? path : "");
  int rc = real_vfs->xOpen(real_vfs, path, f->real, flags, out_flags);
  if (rc == SQLITE_OK) {
    f->base.pMethods = &methods;
  } else {
    free(f->path);
  }
  return rc;
}

/* ---- controls ------------------------------------------------------------------------------- */

void fault_vfs_reset(void) {
  (void)pthread_mutex_lock(&mutex);
  if (!real_vfs) {
    real_vfs = sqlite3_vfs_find(NULL);
    fault_vfs = *real_vfs;
    fault_vfs.zName = "fault";
    fault_vfs.pNext = NULL;
    fault_vfs.szOsFile += (int)sizeof(struct fault_file);
    fault_vfs.xOpen = on_open;
    if (sqlite3_vfs_register(&fault_vfs, 1) != SQLITE_OK) abort();
  }
  forget(NULL);
  disk.fail_sync = disk.cut_at_sync = disk.syncs = 0;
  disk.space = -1;
  disk.hold = disk.recording = disk.dead = false;
  (void)pthread_cond_broadcast(&changed);
  (void)pthread_mutex_unlock(&mutex);
}

void fault_vfs_fail_sync(unsigned nth) {
  (void)pthread_mutex_lock(&mutex);
  disk.fail_sync = nth;
  (void)pthread_mutex_unlock(&mutex);
}

void fault_vfs_set_space(int64_t bytes) {
  (void)pthread_mutex_lock(&mutex);
  disk.space = bytes;
  (void)pthread_mutex_unlock(&mutex);
}

void fault_vfs_hold_syncs(void) {
  (void)pthread_mutex_lock(&mutex);
  disk.hold = true;
  (void)pthread_mutex_unlock(&mutex);
}

void fault_vfs_await_held(void) {
  (void)pthread_mutex_lock(&mutex);
  while (!disk.held)
    (void)pthread_cond_wait(&changed, &mutex);
  (void)pthread_mutex_unlock(&mutex);
}

void fault_vfs_release_syncs(void) {
  (void)pthread_mutex_lock(&mutex);
  disk.hold = false;
  (void)pthread_cond_broadcast(&changed);
  (void)pthread_mutex_unlock(&mutex);
}

void fault_vfs_power_cut(unsigned nth) {
  (void)pthread_mutex_lock(&mutex);
  disk.recording = true;
  disk.cut_at_sync = nth;
  (void)pthread_mutex_unlock(&mutex);
}

void fault_vfs_power_back(unsigned seed) {
  (void)pthread_mutex_lock(&mutex);
  for (struct saved *saved = disk.saved; saved; saved = saved->older) {
    seed = seed * 1103515245U + 12345U;
    if ((seed >> 16) % 3 != 0) undo(saved);
  }
  forget(NULL);
  disk.recording = disk.dead = false;
  disk.cut_at_sync = 0;
  (void)pthread_mutex_unlock(&mutex);
}

unsigned fault_vfs_syncs(void) {
  (void)pthread_mutex_lock(&mutex);
  unsigned syncs = disk.syncs;
  (void)pthread_mutex_unlock(&mutex);
  return syncs;
}
