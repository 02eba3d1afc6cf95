/* See torture.h. A thread with sessions of its own, since a look at a paused database waits until
 * it goes on.
 *
 * Invariants: `mutex` guards all but the banks, which are the thread's; times of the databases are
 * compared with times of the databases only: `ahead_us` is how far each clock is before ours.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cli/process.h"
#include "cli/torture.h"
#include "common/clock.h"

enum { WAITING_MAX = 256, LOOK_MS = 5 };

struct restart {
  int64_t wall_us;
  uint64_t monotonic_us;
};

struct watch {
  pthread_t thread;
  pthread_mutex_t mutex;
  bool has_thread, is_stopping;
  struct bank *banks[BANKS];
  int64_t ahead_us[BANKS];
  struct restart waiting[WAITING_MAX];
  unsigned waiting_count;
  struct samples measured_us;
  int64_t in_doubt;
};

static void lock(struct watch *watch) {
  if (pthread_mutex_lock(&watch->mutex) != 0) abort();
}

static void unlock(struct watch *watch) {
  if (pthread_mutex_unlock(&watch->mutex) != 0) abort();
}

/* By our clock; false when it cannot be seen now. */
static bool look(struct watch *watch, int64_t *oldest_us, int64_t *in_doubt) {
  *oldest_us = INT64_MAX;
  *in_doubt = 0;
  for (int i = 0; i < BANKS; i++) {
    int64_t oldest, count;
    struct error err = {0};
    if (bank_oldest_prepared(watch->banks[i], &oldest, &count, &err) != ERR_OK) {
      struct error again = {0};
      (void)!bank_refresh(watch->banks[i], &again);
      return false;
    }
    *in_doubt += count;
    if (oldest != INT64_MAX && oldest - watch->ahead_us[i] < *oldest_us)
      *oldest_us = oldest - watch->ahead_us[i];
  }
  return true;
}

static void note(struct watch *watch, uint64_t now_us, int64_t looked_us, int64_t oldest_us) {
  unsigned kept = 0;
  for (unsigned i = 0; i < watch->waiting_count; i++) {
    const struct restart *restart = &watch->waiting[i];
    /* A look that began before the restart says nothing about it. */
    if (looked_us > restart->wall_us && oldest_us > restart->wall_us)
      samples_add(&watch->measured_us, (int64_t)(now_us - restart->monotonic_us));
    else
      watch->waiting[kept++] = *restart;
  }
  watch->waiting_count = kept;
}

static void *run(void *data) {
  struct watch *watch = data;
  bool is_stopping = false;
  while (!is_stopping) {
    int64_t oldest_us, in_doubt, looked_us = clock_wall_us();
    bool is_seen = look(watch, &oldest_us, &in_doubt);
    lock(watch);
    if (is_seen) {
      watch->in_doubt = in_doubt;
      note(watch, clock_monotonic_us(), looked_us, oldest_us);
    }
    is_stopping = watch->is_stopping;
    unlock(watch);
    process_pause_ms(LOOK_MS);
  }
  return NULL;
}

enum error_code watch_start(struct watch **out, const struct torture *t, struct error *err) {
  struct watch *watch = calloc(1, sizeof *watch);
  *out = watch;
  if (!watch) return error_set(err, ERR_MEMORY, "out of memory");
  (void)pthread_mutex_init(&watch->mutex, NULL);
  for (int i = 0; i < BANKS; i++) {
    int64_t theirs_us;
    enum error_code code = bank_open(&watch->banks[i], t->dsn[i], torture_schema, err);
    if (code == ERR_OK) code = bank_clock_us(watch->banks[i], &theirs_us, err);
    if (code != ERR_OK) return code;
    watch->ahead_us[i] = theirs_us - clock_wall_us();
    bank_copy_ours(watch->banks[i], t->banks[i]);
  }
  int failed = pthread_create(&watch->thread, NULL, run, watch);
  if (failed) return error_set(err, ERR_IO, "pthread_create: %s", strerror(failed));
  watch->has_thread = true;
  return ERR_OK;
}

void watch_free(struct watch *watch) {
  if (!watch) return;
  lock(watch);
  watch->is_stopping = true;
  unlock(watch);
  if (watch->has_thread) (void)pthread_join(watch->thread, NULL);
  for (int i = 0; i < BANKS; i++)
    bank_close(watch->banks[i]);
  (void)pthread_mutex_destroy(&watch->mutex);
  samples_free(&watch->measured_us);
  free(watch);
}

void watch_restart(struct watch *watch) {
  lock(watch);
  if (watch->waiting_count < WAITING_MAX)
    watch->waiting[watch->waiting_count++] =
        (struct restart){clock_wall_us(), clock_monotonic_us()};
  unlock(watch);
}

int64_t watch_in_doubt(struct watch *watch) {
  lock(watch);
  int64_t in_doubt = watch->in_doubt;
  unlock(watch);
  return in_doubt;
}

unsigned watch_take(struct watch *watch, struct samples *recovery_us) {
  lock(watch);
  for (size_t i = 0; i < watch->measured_us.count; i++)
    samples_add(recovery_us, watch->measured_us.values[i]);
  watch->measured_us.count = 0;
  unsigned waiting = watch->waiting_count;
  unlock(watch);
  return waiting;
}
