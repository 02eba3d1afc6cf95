/* cli/proxy.c, with both ends in the test: what is sent at one, and what comes at the other. */
#include "cli/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/suite.h"

enum { FAR_S = 20, FAR_MS = 20000, QUIET_MS = 60, SEED = 1 };

static struct proxy *proxy;
static int listener, client, target;

static void limit(int fd, long far_ms) {
  const struct timeval time = {.tv_sec = far_ms / 1000, .tv_usec = far_ms % 1000 * 1000};
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
}

static int listen_somewhere(unsigned *port) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t length = sizeof address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CU_ASSERT_FATAL(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
  CU_ASSERT_FATAL(listen(fd, 16) == 0);
  CU_ASSERT_FATAL(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
  *port = ntohs(address.sin_port);
  limit(fd, FAR_MS);
  return fd;
}

/* -1: refused. */
static int try_connect(void) {
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)proxy_port(proxy))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  limit(fd, FAR_MS);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  CU_ASSERT_EQUAL(errno, ECONNREFUSED);
  (void)close(fd);
  return -1;
}

static int accept_target(void) {
  int fd = accept(listener, NULL, NULL);
  CU_ASSERT_FATAL(fd >= 0);
  limit(fd, FAR_MS);
  return fd;
}

static void open_proxy(void) {
  struct error err = {0};
  unsigned port;
  char address[64];
  listener = listen_somewhere(&port);
  (void)snprintf(address, sizeof address, "127.0.0.1:%u", port);
  CU_ASSERT_EQUAL_FATAL(proxy_start(&proxy, address, SEED, &err), ERR_OK);
}

/* A proxy with one connection through it. */
static void begin(void) {
  open_proxy();
  client = try_connect();
  target = accept_target();
}

static void end(void) {
  (void)close(client);
  (void)close(target);
  (void)close(listener);
  proxy_free(proxy);
}

static void put(int fd, const char *text) {
  CU_ASSERT_EQUAL(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Just these bytes are next. */
static void check_gets(int fd, const char *text) {
  char got[256] = "";
  size_t length = strlen(text);
  for (size_t have = 0; have < length;) {
    ssize_t n = recv(fd, got + have, length - have, 0);
    if (n <= 0) break;
    have += (size_t)n;
  }
  CU_ASSERT_STRING_EQUAL(got, text);
}

static void check_ends(int fd) {
  char byte;
  CU_ASSERT_EQUAL(recv(fd, &byte, 1, 0), 0);
}

static void check_is_reset(int fd) {
  char byte;
  CU_ASSERT_EQUAL(recv(fd, &byte, 1, 0), -1);
  CU_ASSERT_EQUAL(errno, ECONNRESET);
}

/* That nothing comes can only be waited for; a machine that is slow passes, too. */
static void check_is_quiet(int fd) {
  char byte;
  limit(fd, QUIET_MS);
  CU_ASSERT_EQUAL(recv(fd, &byte, 1, 0), -1);
  CU_ASSERT(errno == EAGAIN);
  limit(fd, FAR_MS);
}

static unsigned on(enum proxy_direction direction, const char *bytes, enum proxy_action action) {
  return proxy_on(proxy, direction, bytes, action);
}

/* ---- a good network -------------------------------------------------------------------------- */

static void bytes_and_ends_pass_both_ways(void) {
  begin();
  put(client, "question");
  check_gets(target, "question");
  put(target, "answer");
  check_gets(client, "answer");
  (void)shutdown(client, SHUT_WR);
  check_ends(target);
  put(target, "last words");
  check_gets(client, "last words");
  (void)shutdown(target, SHUT_WR);
  check_ends(client);
  struct proxy_counts counts = proxy_counts(proxy);
  CU_ASSERT_EQUAL(counts.connections, 1);
  CU_ASSERT_EQUAL(counts.bytes_to_target, strlen("question"));
  CU_ASSERT_EQUAL(counts.bytes_to_client, strlen("answerlast words"));
  CU_ASSERT_EQUAL(counts.cut + counts.truncated + counts.repeated + counts.delayed, 0);
  end();
}

static void more_than_a_pipe_holds_passes_in_order(void) {
  enum { BYTES = 3 << 20 };
  static char out[BYTES], in[BYTES];
  begin();
  for (size_t i = 0; i < BYTES; i++)
    out[i] = (char)(i * 7 + i / 251);
  size_t sent = 0, got = 0;
  while (got < BYTES) {
    ssize_t n = send(client, out + sent, BYTES - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) sent += (size_t)n;
    n = recv(target, in + got, BYTES - got, sent < BYTES ? MSG_DONTWAIT : 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) break;
    if (n > 0) got += (size_t)n;
  }
  CU_ASSERT_EQUAL(got, BYTES);
  CU_ASSERT_EQUAL(memcmp(in, out, BYTES), 0);
  end();
}

static void unix_socket_is_a_target(void) {
  struct error err = {0};
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  (void)snprintf(address.sun_path, sizeof address.sun_path, "/tmp/assent-proxy-%ld",
                 (long)getpid());
  (void)unlink(address.sun_path);
  listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CU_ASSERT_FATAL(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
  CU_ASSERT_FATAL(listen(listener, 1) == 0);
  CU_ASSERT_EQUAL_FATAL(proxy_start(&proxy, address.sun_path, SEED, &err), ERR_OK);
  client = try_connect();
  target = accept_target();
  put(client, "question");
  check_gets(target, "question");
  (void)unlink(address.sun_path);
  end();
}

static void target_that_does_not_listen_resets_the_client(void) {
  begin();
  (void)close(listener);
  int second = try_connect();
  check_is_reset(second);
  (void)close(second);
  end();
}

static void target_that_is_none_is_refused(void) {
  static const char *const wrong[] = {
      "",           "127.0.0.1",       "127.0.0.1:",   "127.0.0.1:0",
      "example:80", "127.0.0.1:70000", "127.0.0.1:80x"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    struct error err = {0};
    struct proxy *none;
    CU_ASSERT_EQUAL(proxy_start(&none, wrong[i], SEED, &err), ERR_INVALID);
    CU_ASSERT_PTR_NULL(none);
  }
}

static void retarget_is_for_connections_to_come(void) {
  unsigned port;
  char address[64];
  begin();
  int first = listener;
  listener = listen_somewhere(&port);
  (void)snprintf(address, sizeof address, "127.0.0.1:%u", port);
  proxy_retarget(proxy, address);
  int second = try_connect(), there = accept_target();
  put(second, "new");
  check_gets(there, "new");
  put(client, "old");
  check_gets(target, "old");
  (void)close(second);
  (void)close(there);
  (void)close(first);
  end();
}

/* ---- faults by chance ------------------------------------------------------------------------ */

static void hold_one_way_keeps_bytes_until_it_is_over(void) {
  begin();
  proxy_set(proxy, &(struct proxy_faults){.hold_to_client = true});
  put(client, "question");
  check_gets(target, "question");
  put(target, "answer");
  check_is_quiet(client);
  proxy_set(proxy, &(struct proxy_faults){.hold_to_target = true});
  check_gets(client, "answer");
  put(client, "again");
  (void)shutdown(client, SHUT_WR);
  check_is_quiet(target);
  proxy_set(proxy, &(struct proxy_faults){.refuse = false});
  check_gets(target, "again");
  check_ends(target);
  end();
}

static void delay_passes_all_in_order(void) {
  begin();
  proxy_set(proxy, &(struct proxy_faults){.delay_ms_min = 1, .delay_ms_max = 5});
  put(client, "one");
  put(client, "two");
  check_gets(target, "onetwo");
  put(target, "three");
  check_gets(client, "three");
  CU_ASSERT(proxy_counts(proxy).delayed >= 2);
  end();
}

static void cut_by_chance_resets_both(void) {
  begin();
  proxy_set(proxy, &(struct proxy_faults){.cut_per_mille = 1000});
  put(client, "lost");
  check_is_reset(client);
  check_is_reset(target);
  CU_ASSERT_EQUAL(proxy_counts(proxy).cut, 1);
  end();
}

static void truncate_by_chance_passes_a_part_and_ends(void) {
  char got[64];
  begin();
  proxy_set(proxy, &(struct proxy_faults){.truncate_per_mille = 1000});
  put(client, "not all of this arrives");
  ssize_t length = recv(target, got, sizeof got, MSG_WAITALL);
  CU_ASSERT(length >= 0 && length < (ssize_t)strlen("not all of this arrives"));
  CU_ASSERT_EQUAL(strncmp(got, "not all of this arrives", (size_t)length), 0);
  check_ends(client);
  CU_ASSERT_EQUAL(proxy_counts(proxy).truncated, 1);
  end();
}

static void refused_port_is_the_same_afterwards(void) {
  begin();
  unsigned port = proxy_port(proxy);
  for (int i = 0; i < 3; i++) {
    proxy_set(proxy, &(struct proxy_faults){.refuse = true});
    CU_ASSERT_EQUAL(try_connect(), -1);
    put(client, "still there");
    check_gets(target, "still there");
    proxy_set(proxy, &(struct proxy_faults){.refuse = false});
    CU_ASSERT_EQUAL(proxy_port(proxy), port);
    int second = try_connect(), there = accept_target();
    put(second, "new");
    check_gets(there, "new");
    (void)close(second);
    (void)close(there);
  }
  end();
}

static void cut_all_resets_all(void) {
  begin();
  int second = try_connect(), there = accept_target();
  proxy_cut_all(proxy);
  check_is_reset(client);
  check_is_reset(target);
  check_is_reset(second);
  check_is_reset(there);
  CU_ASSERT_EQUAL(proxy_counts(proxy).cut, 2);
  (void)close(second);
  (void)close(there);
  end();
}

static const char request[] =
    "POST /run HTTP/1.1\r\nHost: a\r\ncontent-length: 9\r\n\r\n{\"n\":120}";

static void request_repeated_by_chance_arrives_twice(void) {
  begin();
  proxy_set(proxy, &(struct proxy_faults){.repeat_per_mille = 1000});
  put(client, request);
  check_gets(target, request);
  int again = accept_target();
  check_gets(again, request);
  put(again, "its answer");
  check_ends(again);
  put(target, "the answer");
  check_gets(client, "the answer");
  CU_ASSERT_EQUAL(proxy_counts(proxy).repeated, 1);
  (void)close(again);
  end();
}

/* ---- rules ----------------------------------------------------------------------------------- */

static void rule_hold_waits_for_release(void) {
  begin();
  unsigned rule = on(PROXY_TO_CLIENT, "PREPARED", PROXY_HOLD);
  put(target, "before PREPARED behind");
  check_gets(client, "before ");
  CU_ASSERT_TRUE(proxy_wait_fired(proxy, rule, FAR_MS));
  check_is_quiet(client);
  put(client, "the other way");
  check_gets(target, "the other way");
  proxy_release(proxy);
  check_gets(client, "PREPARED behind");
  put(target, "PREPARED"); /* it fires once */
  check_gets(client, "PREPARED");
  end();
}

static void rule_hold_delivers_after_the_sender_has_gone(void) {
  begin();
  unsigned rule = on(PROXY_TO_TARGET, "late", PROXY_HOLD);
  put(client, "too late");
  CU_ASSERT_TRUE(proxy_wait_fired(proxy, rule, FAR_MS));
  (void)close(client);
  client = try_connect();
  proxy_release(proxy);
  check_gets(target, "too late");
  check_ends(target);
  end();
}

static void rule_hold_answer_passes_the_question(void) {
  begin();
  unsigned rule = on(PROXY_TO_TARGET, "COMMIT", PROXY_HOLD_ANSWER);
  put(client, "COMMIT");
  check_gets(target, "COMMIT");
  CU_ASSERT_TRUE(proxy_wait_fired(proxy, rule, FAR_MS));
  put(target, "done");
  check_is_quiet(client);
  proxy_release(proxy);
  check_gets(client, "done");
  end();
}

static void rule_cut_loses_the_bytes(void) {
  begin();
  unsigned rule = on(PROXY_TO_TARGET, "COMMIT", PROXY_CUT);
  put(client, "COMMIT");
  check_is_reset(target);
  check_is_reset(client);
  CU_ASSERT_TRUE(proxy_wait_fired(proxy, rule, 0));
  end();
}

static void rule_cut_answer_loses_the_answer(void) {
  begin();
  (void)on(PROXY_TO_TARGET, "COMMIT", PROXY_CUT_ANSWER);
  put(client, "COMMIT");
  check_gets(target, "COMMIT");
  put(target, "done");
  check_is_reset(client);
  check_is_reset(target);
  end();
}

static void rule_pass_and_cut_delivers_and_resets_the_sender(void) {
  begin();
  (void)on(PROXY_TO_TARGET, "COMMIT", PROXY_PASS_AND_CUT);
  put(client, "COMMIT");
  check_gets(target, "COMMIT");
  check_ends(target);
  check_is_reset(client);
  end();
}

static void rule_truncate_ends_both_behind_the_bytes(void) {
  begin();
  (void)on(PROXY_TO_CLIENT, "Length: 9", PROXY_TRUNCATE);
  put(target, "Length: 90 and a body");
  check_gets(client, "Length: 9");
  check_ends(client);
  check_ends(target);
  end();
}

static void rule_replace_passes_other_bytes(void) {
  begin();
  (void)proxy_replace(proxy, PROXY_TO_CLIENT, "_1\"", "_2\"");
  put(target, "gid_1\" and gid_1\"");
  check_gets(client, "gid_2\" and gid_1\"");
  end();
}

static void rule_repeat_late_waits_for_release(void) {
  begin();
  unsigned rule = on(PROXY_TO_TARGET, "\"n\":12", PROXY_REPEAT_LATE);
  put(client, request);
  check_gets(target, request);
  CU_ASSERT_TRUE(proxy_wait_fired(proxy, rule, FAR_MS));
  put(target, "answer");
  check_gets(client, "answer");
  CU_ASSERT_EQUAL(proxy_counts(proxy).repeated, 0);
  proxy_release(proxy);
  int again = accept_target();
  check_gets(again, request);
  (void)close(again);
  end();
}

static void rule_stray_arrives_after_release_only(void) {
  begin();
  unsigned rule = on(PROXY_TO_TARGET, "/run", PROXY_STRAY);
  put(client, request);
  CU_ASSERT_TRUE(proxy_wait_fired(proxy, rule, FAR_MS));
  put(client, "more");
  (void)shutdown(client, SHUT_WR);
  check_gets(target, "POST "); /* what was before the bytes */
  check_ends(target);
  proxy_release(proxy);
  int again = accept_target();
  check_gets(again, request);
  CU_ASSERT_EQUAL(proxy_counts(proxy).answered, 0);
  put(again, "answer");
  check_ends(again);
  CU_ASSERT_EQUAL(proxy_counts(proxy).answered, 1);
  (void)close(again);
  end();
}

static void rule_finds_bytes_that_come_one_by_one(void) {
  begin();
  unsigned rule = on(PROXY_TO_TARGET, "aab", PROXY_PASS);
  unsigned never = on(PROXY_TO_TARGET, "abc", PROXY_PASS);
  static const char *const parts[] = {"a", "a", "a", "b"};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
    CU_ASSERT_FALSE(proxy_wait_fired(proxy, rule, 0));
    put(client, parts[i]);
    check_gets(target, parts[i]);
  }
  CU_ASSERT_TRUE(proxy_wait_fired(proxy, rule, 0));
  CU_ASSERT_FALSE(proxy_wait_fired(proxy, never, 0));
  end();
}

static void rules_fire_one_after_the_other_over_a_release(void) {
  begin();
  unsigned first = on(PROXY_TO_TARGET, "one", PROXY_HOLD);
  unsigned second = on(PROXY_TO_TARGET, "two", PROXY_HOLD);
  put(client, "one two");
  CU_ASSERT_TRUE(proxy_wait_fired(proxy, first, FAR_MS));
  CU_ASSERT_FALSE(proxy_wait_fired(proxy, second, 0));
  proxy_release(proxy);
  check_gets(target, "one ");
  CU_ASSERT_TRUE(proxy_wait_fired(proxy, second, FAR_MS));
  proxy_release(proxy);
  check_gets(target, "two");
  end();
}

static void rule_forgotten_does_not_fire(void) {
  begin();
  unsigned rule = on(PROXY_TO_TARGET, "COMMIT", PROXY_CUT);
  proxy_forget(proxy, rule);
  put(client, "COMMIT");
  check_gets(target, "COMMIT");
  CU_ASSERT_FALSE(proxy_wait_fired(proxy, rule, 0));
  end();
}

SUITE(proxy, CASE(bytes_and_ends_pass_both_ways), CASE(more_than_a_pipe_holds_passes_in_order),
      CASE(unix_socket_is_a_target), CASE(target_that_does_not_listen_resets_the_client),
      CASE(target_that_is_none_is_refused), CASE(retarget_is_for_connections_to_come),
      CASE(hold_one_way_keeps_bytes_until_it_is_over), CASE(delay_passes_all_in_order),
      CASE(cut_by_chance_resets_both), CASE(truncate_by_chance_passes_a_part_and_ends),
      CASE(refused_port_is_the_same_afterwards), CASE(cut_all_resets_all),
      CASE(request_repeated_by_chance_arrives_twice), CASE(rule_hold_waits_for_release),
      CASE(rule_hold_delivers_after_the_sender_has_gone),
      CASE(rule_hold_answer_passes_the_question), CASE(rule_cut_loses_the_bytes),
      CASE(rule_cut_answer_loses_the_answer),
      CASE(rule_pass_and_cut_delivers_and_resets_the_sender),
      CASE(rule_truncate_ends_both_behind_the_bytes), CASE(rule_replace_passes_other_bytes),
      CASE(rule_repeat_late_waits_for_release), CASE(rule_stray_arrives_after_release_only),
      CASE(rule_finds_bytes_that_come_one_by_one),
      CASE(rules_fire_one_after_the_other_over_a_release), CASE(rule_forgotten_does_not_fire))
