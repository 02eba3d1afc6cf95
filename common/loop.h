/* The event loop: timers, file descriptors, deferred calls, wake-ups from other threads, signals.
 *
 * One loop, one thread. Everything in a daemon but the log writer runs on it, so no call made on it
 * may block. This header is all the drivers know of time: a simulator links another loop with a
 * virtual clock behind the same names. loop.c (libuv) is the real one; no other file includes uv.h.
 *
 * Handles are made with _new and given back with _free, which may be called at any time on the loop
 * thread, also from the handle's own callback; no callback comes after _free.
 */
#ifndef ASSENT_COMMON_LOOP_H
#define ASSENT_COMMON_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_soon;
struct loop_timer;
struct loop_poll;
struct loop_wakeup;

typedef void (*loop_fn)(void *data);
typedef void (*loop_poll_fn)(void *data, bool readable, bool writable);

/* Aborts the process when the kernel refuses (no descriptors at start: nothing can run). */
struct loop *loop_new(void);
/* All handles of this loop must have been freed. Runs their closing to the end, and what was
 * deferred. */
void loop_free(struct loop *loop);
/* Returns after loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Monotonic, as of the start of this turn of the loop. Units: milliseconds. */
uint64_t loop_now_ms(struct loop *loop);

/* Calls fn(data) on a later turn of the loop, in the order of the calls, never from inside this
 * call. What `data` points to must live until then. */
void loop_defer(struct loop *loop, loop_fn fn, void *data);

/* Calls fn(data) once after each asking, when this turn has nothing more to do: for what many calls of a
 * turn are to share. Not to be asked for from inside fn. */
struct loop_soon *loop_soon_new(struct loop *loop, loop_fn fn, void *data);
void loop_soon_ask(struct loop_soon *soon);
void loop_soon_free(struct loop_soon *soon); /* NULL is allowed; what was asked for does not come */

struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *data);
/* Fires once after delay_ms (at least 1); starting a running timer moves it. */
void loop_timer_start(struct loop_timer *timer, uint64_t delay_ms);
void loop_timer_stop(struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer); /* NULL is allowed */

/* Watches a descriptor, level-triggered. The descriptor stays the caller's; free the poll before
 * closing it. Returns NULL when the kernel refuses (the caller treats it as a failed connection).
 */
struct loop_poll *loop_poll_new(struct loop *loop, int fd, loop_poll_fn fn, void *data);
void loop_poll_set(struct loop_poll *poll, bool readable, bool writable);
void loop_poll_free(struct loop_poll *poll); /* NULL is allowed */

/* loop_wakeup_send() is the one call of this header that any thread may make. Several sends may
 * come out as one callback. */
struct loop_wakeup *loop_wakeup_new(struct loop *loop, loop_fn fn, void *data);
void loop_wakeup_send(struct loop_wakeup *wakeup);
void loop_wakeup_free(struct loop_wakeup *wakeup);

/* Calls fn(data) on the loop when the signal arrives; for the life of the loop. */
void loop_on_signal(struct loop *loop, int signum, loop_fn fn, void *data);

#endif
