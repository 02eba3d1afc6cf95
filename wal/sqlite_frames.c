/* See sqlite_frames.h. Why this is not left to SQLite:
 *
 *  1. SQLite reads its write-ahead file up to the first frame that is not valid, and takes the rest
 *     for a transaction that was never finished. After a power cut that is right. After a flipped
 * bit it silently forgets every decision behind it, and forgetting means abort.
 *  2. A write whose fsync failed may stay in the kernel's memory, marked clean, and never reach the
 *     disk. The process that saw the failure stops; the next one reads the frame from memory and
 *     would build on something that a power cut takes away again.
 *
 * The check for 1 rests on this: with synchronous=FULL a transaction's frames are on the disk
 * before the next one writes. So an invalid frame with a commit frame behind it, and any frame of
 * the same generation (salt) behind that, is damage. A transaction cut off by a crash has its
 * commit frame last, and nothing of its generation follows, because every start empties the file
 * (sqlite_open.c). Limit: damage in the last transactions of the file cannot be told from one that
 * was never finished; the number of commits in PATH.lock tells it (sqlite_open.c).
 *
 * Against 2 the valid frames are written again, unchanged, and synced: they are dirty once more,
 * and this fsync speaks for them. A power cut in the middle leaves each sector old or new, and both
 * are the same.
 *
 * Source: https://www.sqlite.org/fileformat2.html#walformat
 */
#include "wal/sqlite_frames.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wal/record.h"

enum { HEADER_SIZE = 32, FRAME_HEADER_SIZE = 24, PAGE_MIN = 512, PAGE_MAX = 65536 };

struct sum {
  uint32_t a, b;
};

struct frames {
  int fd;
  const char *path;
  off_t size;
  size_t frame_size; /* header and page */
  unsigned char salt[8];
  bool big_endian; /* how the words are read that are summed up */
  struct sum sum;  /* of all valid frames so far */
  unsigned char *frame;
};

static uint32_t word(const unsigned char *at, bool big_endian) {
  return big_endian ? (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]
                    : (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

/* Fields are big-endian, whatever the sums are. */
static uint32_t field(const unsigned char *at) {
  return word(at, true);
}

static struct sum sum_up(struct sum sum, const unsigned char *at, size_t size, bool big_endian) {
  for (size_t i = 0; i < size; i += 8) {
    sum.a += word(at + i, big_endian) + sum.b;
    sum.b += word(at + i + 4, big_endian) + sum.a;
  }
  return sum;
}

static bool sum_is(struct sum sum, const unsigned char *at) {
  return field(at) == sum.a && field(at + 4) == sum.b;
}

static enum error_code unreadable(const struct frames *f, struct error *err) {
  int cause = errno;
  enum error_code code = error_set(err, ERR_LOG, "cannot read or write %s: %s", f->path,
                                   cause ? strerror(cause) : "it ends early");
  if (err) err->sys_errno = cause;
  return code;
}

static enum error_code damaged(const struct frames *f, off_t at, struct error *err) {
  return error_set(err, ERR_LOG,
                   "%s is damaged at byte %lld, and decisions are behind it: restore the decision "
                   "log (the file and its -wal together) from a copy of this very state, or "
                   "resolve what is open by asking the databases; do not delete it",
                   f->path, (long long)at);
}

static bool read_at(const struct frames *f, void *to, size_t size, off_t at) {
  errno = 0;
  return pread(f->fd, to, size, at) == (ssize_t)size;
}

static enum error_code read_header(struct frames *f, struct error *err) {
  unsigned char header[HEADER_SIZE];
  if (!read_at(f, header, sizeof header, 0)) return unreadable(f, err);
  uint32_t magic = field(header);
  uint32_t page_size = field(header + 8);
  f->big_endian = magic & 1;
  f->sum = sum_up((struct sum){0, 0}, header, 24, f->big_endian);
  /* SQLite syncs the header before the first frame: with frames behind it, it cannot be half there.
   */
  if ((magic & ~UINT32_C(1)) != UINT32_C(0x377f0682) || page_size < PAGE_MIN ||
      page_size > PAGE_MAX || (page_size & (page_size - 1)) != 0 || !sum_is(f->sum, header + 24))
    return damaged(f, 0, err);
  memcpy(f->salt, header + 16, sizeof f->salt);
  f->frame_size = FRAME_HEADER_SIZE + page_size;
  return ERR_OK;
}

/* The frame in f->frame continues the valid ones. */
static bool frame_is_valid(struct frames *f) {
  if (memcmp(f->frame + 8, f->salt, sizeof f->salt) != 0 || field(f->frame) == 0) return false;
  struct sum sum = sum_up(f->sum, f->frame, 8, f->big_endian);
  sum = sum_up(sum, f->frame + FRAME_HEADER_SIZE, f->frame_size - FRAME_HEADER_SIZE, f->big_endian);
  if (!sum_is(sum, f->frame + 16)) return false;
  f->sum = sum;
  return true;
}

/* Goes through the valid frames, writing each again; *end is where they end. */
static enum error_code renew_valid(struct frames *f, off_t *end, struct error *err) {
  off_t at = HEADER_SIZE;
  for (; at + (off_t)f->frame_size <= f->size; at += (off_t)f->frame_size) {
    if (!read_at(f, f->frame, f->frame_size, at)) return unreadable(f, err);
    if (!frame_is_valid(f)) break;
    errno = 0;
    if (pwrite(f->fd, f->frame, f->frame_size, at) != (ssize_t)f->frame_size)
      return unreadable(f, err);
  }
  *end = at;
  return ERR_OK;
}

static enum error_code check_rest(const struct frames *f, off_t from, struct error *err) {
  bool commit_seen = false;
  for (off_t at = from; at + (off_t)f->frame_size <= f->size; at += (off_t)f->frame_size) {
    unsigned char header[FRAME_HEADER_SIZE];
    if (!read_at(f, header, sizeof header, at)) return unreadable(f, err);
    if (memcmp(header + 8, f->salt, sizeof f->salt) != 0) continue;
    if (commit_seen) return damaged(f, from, err);
    commit_seen = field(header + 4) != 0; /* the database's size in pages: only a commit has it */
  }
  return ERR_OK;
}

static enum error_code check(struct frames *f, struct error *err) {
  struct stat status;
  if (fstat(f->fd, &status) != 0) return unreadable(f, err);
  f->size = status.st_size;
  if (f->size <= HEADER_SIZE) return ERR_OK; /* nothing was ever committed in it */
  enum error_code code = read_header(f, err);
  if (code != ERR_OK) return code;

  off_t end = 0;
  f->frame = memory_must(malloc(f->frame_size));
  code = renew_valid(f, &end, err);
  if (code == ERR_OK) code = check_rest(f, end, err);
  errno = 0;
  if (code == ERR_OK && fdatasync(f->fd) != 0) code = unreadable(f, err);
  free(f->frame);
  return code;
}

enum error_code frames_check(const char *path, struct error *err) {
  struct frames f = {.path = path, .fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)};
  if (f.fd < 0) return errno == ENOENT ? ERR_OK : unreadable(&f, err);
  enum error_code code = check(&f, err);
  (void)close(f.fd);
  return code;
}
