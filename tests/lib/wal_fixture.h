/* A decision log in a directory of its own, on the fault VFS, and the waiting for its answers. */
#ifndef ASSENT_TESTS_LIB_WAL_FIXTURE_H
#define ASSENT_TESTS_LIB_WAL_FIXTURE_H

#include <limits.h>

#include "common/loop.h"
#include "wal/record.h"
#include "wal/wal.h"

enum { ANSWERS_MAX = 256 };

struct wal_fixture {
  char directory[64], path[128];
  struct loop *loop;
  struct wal *wal;
  struct wal_options options;
  struct error open_error;
  unsigned answers, awaited;
  enum wal_result results[ANSWERS_MAX]; /* of decisions and audit lines, as they came */
  struct error errors[ANSWERS_MAX];     /* of all calls */
  struct record_list records;           /* what the last look-up or list found */
};

/* A fresh directory, a log in it, open; retention is an hour. */
void fixture_begin(struct wal_fixture *f);
void fixture_end(struct wal_fixture *f); /* closes, removes everything */

enum error_code fixture_open(struct wal_fixture *f);
void fixture_close(struct wal_fixture *f);
void fixture_reopen(struct wal_fixture *f);

/* Runs the loop until `answers` have come since fixture_begin(). */
void fixture_await(struct wal_fixture *f, unsigned answers);
void fixture_on_decided(void *data, enum wal_result result, const struct error *err);

/* Each of these waits for its answer. */
enum wal_result fixture_decide(struct wal_fixture *f, const struct wal_record *record);
enum wal_result fixture_audit(struct wal_fixture *f, const struct txid *txid);
/* NULL: there is none, or an error (then the last of errors[] is set). Until the next call. */
const struct wal_record *fixture_look_up(struct wal_fixture *f, const struct txid *txid);
size_t fixture_list(struct wal_fixture *f, const struct wal_filter *filter);
/* Fills f->records; to be called before any other call on the log. */
enum error_code fixture_unfinished(struct wal_fixture *f, struct error *err);

/* These two while it is closed: changes the file; and makes a log anew from what is there, as
 * `assent recover` does. */
void fixture_run_sql(struct wal_fixture *f, const char *sql);
void fixture_rebuild(struct wal_fixture *f, uint64_t epoch);

/* Forks; the child opens the log, runs `play`, and is then killed as by kill -9. Returns when it
 * has gone: true if by that signal. The log is closed here meanwhile. */
bool fixture_killed_after(struct wal_fixture *f, void (*play)(struct wal_fixture *f));

/* A record of the cluster of f->wal, made of fixed values and a fresh txid. */
enum { SAMPLE_BRANCHES = 3 };
struct sample {
  struct wal_record record;
  struct wal_branch branches[SAMPLE_BRANCHES];
  char gids[SAMPLE_BRANCHES][GID_SIZE];
};
void sample_commit(struct wal_fixture *f, struct sample *out);
void sample_delegated(struct wal_fixture *f, struct sample *out);
void sample_aborted(struct wal_fixture *f, struct sample *out);

bool records_are_equal(const struct wal_record *a, const struct wal_record *b);

/* The whole file beside the log's path ("" for the log itself); free(). */
unsigned char *fixture_read_file(struct wal_fixture *f, const char *suffix, size_t *size);
void fixture_write_file(struct wal_fixture *f, const char *suffix, const void *bytes, size_t size);
void fixture_remove_file(struct wal_fixture *f, const char *suffix);
bool fixture_has_file(struct wal_fixture *f, const char *suffix);

#endif
