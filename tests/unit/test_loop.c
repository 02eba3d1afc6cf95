/* common/loop.c */
#include "common/loop.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/suite.h"

struct fixture {
  struct loop *loop;
  struct loop_soon *soon;
  struct loop_timer *timer, *other;
  struct loop_poll *poll;
  struct loop_wakeup *wakeup;
  int pipe[2];
  char trace[64]; /* a letter an event */
  unsigned count;
  uint64_t at_ms;
};

static void note(struct fixture *f, char letter) {
  size_t length = strlen(f->trace);
  if (length + 1 < sizeof f->trace) f->trace[length] = letter;
}

static void setup(struct fixture *f) {
  memset(f, 0, sizeof *f);
  f->loop = loop_new();
  CU_ASSERT_FATAL(pipe2(f->pipe, O_NONBLOCK | O_CLOEXEC) == 0);
}

static void teardown(struct fixture *f) {
  loop_free(f->loop);
  (void)close(f->pipe[0]);
  (void)close(f->pipe[1]);
}

static void on_a(void *data) {
  note(data, 'a');
}
static void on_b(void *data) {
  note(data, 'b');
}
static void on_stop(void *data) {
  struct fixture *f = data;
  note(f, '.');
  loop_stop(f->loop);
}

/* ---- deferred calls ---- */

static void defer_runs_in_order_and_not_at_once(void) {
  struct fixture f;
  setup(&f);
  loop_defer(f.loop, on_a, &f);
  loop_defer(f.loop, on_b, &f);
  loop_defer(f.loop, on_stop, &f);
  CU_ASSERT_STRING_EQUAL(f.trace, "");
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(f.trace, "ab.");
  teardown(&f);
}

static void on_nest(void *data) {
  struct fixture *f = data;
  note(f, 'n');
  loop_defer(f->loop, on_b, f);
  loop_defer(f->loop, on_stop, f);
}

static void defer_from_a_deferred_call_waits_a_turn(void) {
  struct fixture f;
  setup(&f);
  loop_defer(f.loop, on_nest, &f);
  loop_defer(f.loop, on_a, &f);
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(f.trace, "nab.");
  teardown(&f);
}

static void on_many(void *data) {
  struct fixture *f = data;
  if (++f->count == 1000) loop_stop(f->loop);
}

static void defer_of_many_loses_none(void) {
  struct fixture f;
  setup(&f);
  for (int i = 0; i < 1000; i++)
    loop_defer(f.loop, on_many, &f);
  loop_run(f.loop);
  CU_ASSERT_EQUAL(f.count, 1000);
  teardown(&f);
}

static void on_again(void *data) {
  struct fixture *f = data;
  if (f->trace[0] == '\0') loop_defer(f->loop, on_again, f);
}

static void on_timer_stop(void *data) {
  struct fixture *f = data;
  note(f, 't');
  loop_stop(f->loop);
}

static void on_count(void *data) {
  ((struct fixture *)data)->count++;
}

/* A call that defers itself again and again does not keep timers from running. */
static void defer_without_end_starves_nobody(void) {
  struct fixture f;
  setup(&f);
  f.timer = loop_timer_new(f.loop, on_timer_stop, &f);
  loop_timer_start(f.timer, 1);
  loop_defer(f.loop, on_again, &f);
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(f.trace, "t");
  loop_timer_free(f.timer);
  teardown(&f);
}

static void free_runs_what_is_deferred(void) {
  struct fixture f;
  setup(&f);
  loop_defer(f.loop, on_count, &f);
  teardown(&f);
  CU_ASSERT_EQUAL(f.count, 1);
}

static void stop_before_run_returns_at_once(void) {
  struct fixture f;
  setup(&f);
  loop_stop(f.loop);
  loop_run(f.loop);
  loop_defer(f.loop, on_stop, &f);
  loop_run(f.loop); /* and can run again */
  CU_ASSERT_STRING_EQUAL(f.trace, ".");
  teardown(&f);
}

/* ---- timers ---- */

static void timers_fire_in_order_of_time(void) {
  struct fixture f;
  setup(&f);
  f.timer = loop_timer_new(f.loop, on_b, &f);
  f.other = loop_timer_new(f.loop, on_a, &f);
  struct loop_timer *last = loop_timer_new(f.loop, on_stop, &f);
  loop_timer_start(last, 30);
  loop_timer_start(f.timer, 20);
  loop_timer_start(f.other, 10);
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(f.trace, "ab.");
  loop_timer_free(f.timer);
  loop_timer_free(f.other);
  loop_timer_free(last);
  teardown(&f);
}

static void timer_started_again_fires_once(void) {
  struct fixture f;
  setup(&f);
  f.timer = loop_timer_new(f.loop, on_a, &f);
  f.other = loop_timer_new(f.loop, on_stop, &f);
  loop_timer_start(f.timer, 1);
  loop_timer_start(f.timer, 5);
  loop_timer_start(f.other, 20);
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(f.trace, "a.");
  loop_timer_free(f.timer);
  loop_timer_free(f.other);
  teardown(&f);
}

static void timer_stopped_does_not_fire(void) {
  struct fixture f;
  setup(&f);
  f.timer = loop_timer_new(f.loop, on_a, &f);
  f.other = loop_timer_new(f.loop, on_stop, &f);
  loop_timer_start(f.timer, 1);
  loop_timer_stop(f.timer);
  loop_timer_stop(f.timer);
  loop_timer_start(f.other, 10);
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(f.trace, ".");
  loop_timer_free(f.timer);
  loop_timer_free(f.other);
  loop_timer_free(NULL);
  teardown(&f);
}

static void on_timer_free(void *data) {
  struct fixture *f = data;
  note(f, 'f');
  loop_timer_free(f->timer);
  loop_timer_free(f->other); /* due as well: must not fire */
  loop_defer(f->loop, on_stop, f);
}

static void timer_freed_in_its_callback_is_gone(void) {
  struct fixture f;
  setup(&f);
  f.timer = loop_timer_new(f.loop, on_timer_free, &f);
  f.other = loop_timer_new(f.loop, on_a, &f);
  loop_timer_start(f.timer, 1);
  loop_timer_start(f.other, 1);
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(f.trace, "f.");
  teardown(&f);
}

static void on_rearm(void *data) {
  struct fixture *f = data;
  f->count++;
  loop_timer_start(f->timer, 0);
}

static void timer_without_delay_starves_nobody(void) {
  struct fixture f;
  setup(&f);
  f.timer = loop_timer_new(f.loop, on_rearm, &f);
  f.other = loop_timer_new(f.loop, on_stop, &f);
  loop_timer_start(f.timer, 0);
  loop_timer_start(f.other, 10);
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(f.trace, ".");
  loop_timer_free(f.timer);
  loop_timer_free(f.other);
  teardown(&f);
}

/* ---- descriptors ---- */

static void on_readable(void *data, bool readable, bool writable) {
  struct fixture *f = data;
  char byte;
  CU_ASSERT_TRUE(readable);
  CU_ASSERT_FALSE(writable);
  note(f, read(f->pipe[0], &byte, 1) == 1 ? byte : '!');
  if (byte == 'z') {
    loop_poll_free(f->poll);
    loop_defer(f->loop, on_stop, f);
  }
}

static void poll_is_level_triggered(void) {
  struct fixture f;
  setup(&f);
  f.poll = loop_poll_new(f.loop, f.pipe[0], on_readable, &f);
  CU_ASSERT_PTR_NOT_NULL_FATAL(f.poll);
  loop_poll_set(f.poll, true, false);
  loop_poll_set(f.poll, true, false);
  CU_ASSERT_EQUAL(write(f.pipe[1], "xyz", 3), 3);
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(f.trace, "xyz.");
  teardown(&f);
}

static void poll_of_a_bad_descriptor_is_null(void) {
  struct fixture f;
  setup(&f);
  CU_ASSERT_PTR_NULL(loop_poll_new(f.loop, -1, on_readable, &f));
  int fd = dup(f.pipe[0]);
  (void)close(fd);
  CU_ASSERT_PTR_NULL(loop_poll_new(f.loop, fd, on_readable, &f));
  loop_poll_free(NULL);
  teardown(&f);
}

static void on_error(void *data, bool readable, bool writable) {
  struct fixture *f = data;
  note(f, readable || writable ? 'e' : '?');
  if (++f->count < 3) return; /* ignored: told again */
  loop_poll_free(f->poll);
  loop_stop(f->loop);
}

/* The reading end of a pipe is gone: POLLERR at the writing end. */
static void poll_with_an_error_reports_until_freed(void) {
  struct fixture f;
  setup(&f);
  int ends[2];
  CU_ASSERT_FATAL(pipe2(ends, O_NONBLOCK) == 0);
  char full[65536] = {0};
  while (write(ends[1], full, sizeof full) > 0)
    ;
  (void)close(ends[0]);
  f.poll = loop_poll_new(f.loop, ends[1], on_error, &f);
  CU_ASSERT_PTR_NOT_NULL_FATAL(f.poll);
  loop_poll_set(f.poll, false, true);
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(f.trace, "eee");
  (void)close(ends[1]);
  teardown(&f);
}

static void on_never(void *data, bool readable, bool writable) {
  (void)readable;
  (void)writable;
  note(data, '!');
}

static void ask_twice(void *data) {
  struct fixture *f = data;
  note(f, 't');
  loop_soon_ask(f->soon);
  loop_soon_ask(f->soon);
}

static void on_soon(void *data) {
  struct fixture *f = data;
  note(f, 's');
  loop_timer_start(f->timer, 1);
}

static void soon_comes_once_however_often_it_was_asked_for(void) {
  struct fixture f;
  setup(&f);
  struct loop_timer *first = loop_timer_new(f.loop, ask_twice, &f);
  f.timer = loop_timer_new(f.loop, on_stop, &f);
  f.soon = loop_soon_new(f.loop, on_soon, &f);
  loop_timer_start(first, 1);
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(f.trace, "ts.");
  loop_timer_start(first, 1);
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(f.trace, "ts.ts.");
  loop_soon_ask(f.soon);
  loop_soon_free(f.soon); /* what was asked for does not come */
  loop_timer_start(f.timer, 1);
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(f.trace, "ts.ts..");
  loop_timer_free(first);
  loop_timer_free(f.timer);
  teardown(&f);
}

static void poll_set_to_nothing_is_silent(void) {
  struct fixture f;
  setup(&f);
  f.poll = loop_poll_new(f.loop, f.pipe[0], on_never, &f);
  f.timer = loop_timer_new(f.loop, on_stop, &f);
  loop_poll_set(f.poll, true, false);
  loop_poll_set(f.poll, false, false);
  CU_ASSERT_EQUAL(write(f.pipe[1], "x", 1), 1);
  loop_timer_start(f.timer, 10);
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(f.trace, ".");
  loop_poll_free(f.poll);
  loop_timer_free(f.timer);
  teardown(&f);
}

/* ---- threads and signals ---- */

static void *send_wakeup(void *data) {
  loop_wakeup_send(data);
  return NULL;
}

static void on_wakeup(void *data) {
  struct fixture *f = data;
  note(f, 'w');
  loop_wakeup_free(f->wakeup);
  loop_stop(f->loop);
}

static void wakeup_from_a_thread_arrives(void) {
  struct fixture f;
  setup(&f);
  f.wakeup = loop_wakeup_new(f.loop, on_wakeup, &f);
  pthread_t thread;
  CU_ASSERT_FATAL(pthread_create(&thread, NULL, send_wakeup, f.wakeup) == 0);
  loop_run(f.loop);
  (void)pthread_join(thread, NULL);
  CU_ASSERT_STRING_EQUAL(f.trace, "w");
  teardown(&f);
}

static void signal_arrives_on_the_loop(void) {
  struct fixture f;
  setup(&f);
  loop_on_signal(f.loop, SIGUSR1, on_stop, &f);
  CU_ASSERT_EQUAL(raise(SIGUSR1), 0);
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(f.trace, ".");
  teardown(&f);
}

static void write_to_a_gone_peer_is_no_signal(void) {
  struct fixture f;
  setup(&f);
  int ends[2];
  CU_ASSERT_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  (void)close(ends[0]);
  CU_ASSERT_EQUAL(write(ends[1], "x", 1), -1);
  (void)close(ends[1]);
  teardown(&f);
}

SUITE(loop, CASE(defer_runs_in_order_and_not_at_once),
      CASE(defer_from_a_deferred_call_waits_a_turn), CASE(defer_of_many_loses_none),
      CASE(defer_without_end_starves_nobody), CASE(free_runs_what_is_deferred),
      CASE(stop_before_run_returns_at_once), CASE(timers_fire_in_order_of_time),
      CASE(timer_started_again_fires_once), CASE(timer_stopped_does_not_fire),
      CASE(timer_freed_in_its_callback_is_gone), CASE(timer_without_delay_starves_nobody),
      CASE(poll_is_level_triggered), CASE(poll_of_a_bad_descriptor_is_null),
      CASE(poll_with_an_error_reports_until_freed), CASE(poll_set_to_nothing_is_silent),
      CASE(soon_comes_once_however_often_it_was_asked_for), CASE(wakeup_from_a_thread_arrives),
      CASE(signal_arrives_on_the_loop), CASE(write_to_a_gone_peer_is_no_signal))
