/* A TCP proxy that makes faults, for `assent torture` and the tests: what happens on a bad network
 * between two of our processes, on purpose.
 *
 *   client --> 127.0.0.1:proxy_port() --> proxy --> target
 *
 * One proxy serves one hop and listens on the loopback address only. It does not look into what it
 * passes, with two exceptions: rules find a string of bytes, and requests of HTTP connections are
 * collected so that they can be sent once more. A connection whose first byte is a letter is taken
 * for HTTP (PostgreSQL's begin with a length).
 *
 * Two kinds of faults:
 *   - by chance (proxy_set): delays, resets, truncation, repetition, one-way black holes, refusal.
 *     The dice are those of the seed; how the bytes fall into chunks is the kernel's;
 *   - by rule (proxy_on): when these bytes pass, this happens, once. With proxy_wait_fired() and
 *     proxy_release() a test says exactly what was lost, and when, without any time.
 *
 * A proxy works on a thread of its own; all calls may be made from any thread and return at once,
 * apart from proxy_wait_fired(). On return of a call no byte passes any more as it did before.
 *
 * Limits: PROXY_CONNECTIONS_MAX connections (others wait to be accepted), PROXY_RULES_MAX rules in
 * its life, PROXY_BYTES_MAX bytes in a rule. A chunk is at most 16 KiB; a longer request is not
 * repeated. While something is held, what comes behind it stays in the sockets' buffers, so
 * a sender may come to wait, as it would on a real network. Where the target does not listen, the
 * client sees a connection that is reset at once, not one that is refused.
 */
#ifndef ASSENT_CLI_PROXY_H
#define ASSENT_CLI_PROXY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

enum { PROXY_CONNECTIONS_MAX = 500, PROXY_RULES_MAX = 64, PROXY_BYTES_MAX = 120 };

struct proxy;

/* All zero: a good network. Those "per mille" are the chance of each chunk, or request. */
struct proxy_faults {
  unsigned delay_ms_min, delay_ms_max; /* of each chunk, each way */
  bool hold_to_target, hold_to_client; /* black hole, one way: nothing passes, nor does an end */
  unsigned cut_per_mille;              /* the chunk is lost, both sides see a reset */
  unsigned truncate_per_mille;         /* a part of the chunk passes, then both see the end */
  unsigned repeat_per_mille;           /* HTTP: the whole request is sent once more, up to 100 ms
                                          later, on a connection of its own; its answer is dropped */
  bool refuse;                         /* new connections are refused (ECONNREFUSED) */
};

struct proxy_counts {
  uint64_t connections; /* accepted */
  uint64_t bytes_to_target, bytes_to_client;
  uint64_t delayed, cut, truncated, repeated; /* chunks; cut also: by proxy_cut_all(), by a rule */
  uint64_t answered; /* of the repeated: the target has begun to answer them */
  uint64_t fired;    /* rules */
};

/* `target`: "127.0.0.1:5432" or the path of a Unix socket ("/…"). It need not listen yet. On return
 * the proxy listens. ERR_INVALID: no such target; ERR_IO: no port, no thread.
 * Owner: the caller, proxy_free(). */
enum error_code proxy_start(struct proxy **out, const char *target, uint64_t seed,
                            struct error *err) __attribute__((warn_unused_result));
/* Resets what is open. NULL is allowed. */
void proxy_free(struct proxy *proxy);

unsigned proxy_port(const struct proxy *proxy); /* the same for its whole life */
/* Also for the connections that are open. */
void proxy_set(struct proxy *proxy, const struct proxy_faults *faults);
/* For connections to come. It must be a target, or it asserts. */
void proxy_retarget(struct proxy *proxy, const char *target);
/* Resets all connections, both sides; what was under way is lost. */
void proxy_cut_all(struct proxy *proxy);
struct proxy_counts proxy_counts(const struct proxy *proxy);

/* ---- rules ----------------------------------------------------------------------------------- */

enum proxy_direction { PROXY_TO_TARGET, PROXY_TO_CLIENT };

/* "The bytes" are those of the rule; all is about the connection on which they pass. */
enum proxy_action {
  PROXY_PASS,         /* nothing happens; proxy_wait_fired() tells that they have come */
  PROXY_HOLD,         /* they and what comes behind them wait for proxy_release() */
  PROXY_HOLD_ANSWER,  /* they pass; what comes the other way waits for proxy_release() */
  PROXY_CUT,          /* they are lost; both sides see a reset */
  PROXY_CUT_ANSWER,   /* they pass; what next comes the other way is lost, both see a reset */
  PROXY_PASS_AND_CUT, /* they pass; the receiver sees the end behind them, the sender a reset */
  PROXY_TRUNCATE,     /* they pass as the last ones; both sides see the end */
  PROXY_REPEAT,       /* HTTP, to target: the whole request passes, and once more (see above) */
  PROXY_REPEAT_LATE,  /* the same, but the repetition waits for proxy_release() */
  PROXY_STRAY         /* the same, but nothing passes here any more: the request arrives after
                         proxy_release() only, on a connection of its own */
};

/* Fires once, for the first connection on which the bytes pass after this call; of several rules
 * the oldest. What is held when its sender goes away is delivered nevertheless when it is released,
 * as a network does with what is late. When the bytes come in several reads, the first of them may
 * have passed before the rule can know. `bytes` is text: no NUL; copied. Returns the rule's id. */
unsigned proxy_on(struct proxy *proxy, enum proxy_direction direction, const char *bytes,
                  enum proxy_action action);
/* The bytes pass as `instead`, which is as long: a peer that is confused, or a bit that flipped. Only
 * where they come in one read. */
unsigned proxy_replace(struct proxy *proxy, enum proxy_direction direction, const char *bytes,
                       const char *instead);
/* Fires nothing more. Where it has fired: nothing changes. */
void proxy_forget(struct proxy *proxy, unsigned rule);
/* True when it has fired, or fires within the time. */
bool proxy_wait_fired(struct proxy *proxy, unsigned rule, unsigned timeout_ms);
/* What rules hold passes on; later rules see it. What proxy_set() holds stays held. */
void proxy_release(struct proxy *proxy);

#endif
