/* The parts of a proxy (proxy.h): its connections (proxy_link.c), its rules (proxy_rule.c), the
 * requests that pass (proxy_request.c), and what holds them together (proxy.c).
 *
 * One mutex guards all of it. The thread lets go of it only while it waits in poll(2), and is the only
 * one that opens and closes sockets.
 */
#ifndef ASSENT_CLI_PROXY_INTERNAL_H
#define ASSENT_CLI_PROXY_INTERNAL_H

#include <pthread.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "cli/proxy.h"

enum { PROXY_DIRECTIONS = 2, CHUNK_BYTES = 16384 };

/* ---- rules ----------------------------------------------------------------------------------- */

enum rule_action { RULE_REPLACE = PROXY_STRAY + 1 }; /* after those of enum proxy_action */

struct rule {
  char bytes[PROXY_BYTES_MAX + 1], instead[PROXY_BYTES_MAX + 1];
  unsigned char
      back[PROXY_BYTES_MAX + 1]; /* Knuth, Morris, Pratt: where to go on after a mismatch */
  size_t length;
  enum proxy_direction direction;
  int action; /* enum proxy_action, or RULE_REPLACE */
  bool over;  /* has fired, or is forgotten */
  bool fired;
};

void rule_init(struct rule *rule, enum proxy_direction direction, const char *bytes,
               const char *instead, int action);
/* The next byte of a stream of which `*progress` bytes match so far; true when all do. */
bool rule_step(const struct rule *rule, unsigned char *progress, char byte);

/* ---- requests -------------------------------------------------------------------------------- */

/* The request that is passing on a connection. */
struct request_tape {
  char *bytes;
  size_t length, capacity;
  size_t whole; /* 0: its head is not complete */
  bool begun, deaf;
  bool repeat, repeat_late; /* a rule has said so */
};

/* Takes bytes until the request is complete; returns how many it took, and then `*complete`. A tape
 * of what is not HTTP, or too large, is deaf: it takes all and completes nothing. */
size_t tape_take(struct request_tape *tape, const char *bytes, size_t length, bool *complete);
/* After a complete one: begins the next. */
void tape_rewind(struct request_tape *tape);
void tape_free(struct request_tape *tape);

/* ---- connections ----------------------------------------------------------------------------- */

/* What is done when the bytes that may pass have passed. */
enum pipe_end {
  PIPE_GOES_ON,
  PIPE_CLOSE,     /* both sides see the end */
  PIPE_RESET,     /* both sides see a reset */
  PIPE_RESET_FROM /* the receiver sees the end, the sender a reset */
};

/* One direction of a connection: at most one chunk is in it.
 *   0 <= cleared <= scanned <= length, sent <= cleared */
struct pipe {
  char bytes[CHUNK_BYTES];
  size_t length;  /* of the chunk */
  size_t scanned; /* seen by the rules */
  size_t cleared; /* may pass */
  size_t sent;
  uint64_t due_us;  /* passes then at the earliest */
  bool held;        /* a rule holds from `cleared` on */
  bool answer_held; /* a rule holds all of it */
  bool lost;        /* a rule lets nothing more pass from `cleared` on */
  bool cut_next;    /* a rule wants the next chunk lost */
  bool ended;       /* nothing more comes in */
  bool broken;      /* it ended with a reset */
  bool shut;        /* the end has been passed on */
  enum pipe_end end;
  unsigned char progress[PROXY_RULES_MAX];
};

struct link {
  int sockets[PROXY_DIRECTIONS]; /* where the pipe of that direction goes: target, client */
  bool connecting;
  bool alone; /* a repeated request: no client; ends with the first byte of an answer */
  bool dead;
  struct pipe pipes[PROXY_DIRECTIONS];
  struct request_tape tape;
  int polled[PROXY_DIRECTIONS]; /* index in the array of poll(2); -1: not there */
  struct link *next;
};

struct proxy_target {
  union {
    struct sockaddr any;
    struct sockaddr_un local;
    struct sockaddr_storage storage;
  } address;
  socklen_t length;
};

/* A request that waits to be sent once more. */
struct late_request {
  char *bytes;
  size_t length;
  struct late_request *next;
};

struct proxy {
  pthread_mutex_t mutex;
  pthread_cond_t changed; /* a rule has fired; a command has been carried out */
  pthread_t thread;
  int listener, wakeup;
  unsigned port;
  bool listening;
  struct proxy_target target;
  struct proxy_faults faults;
  struct proxy_counts counts;
  uint64_t dice;
  struct rule rules[PROXY_RULES_MAX];
  unsigned rule_count;
  struct link *links;
  unsigned link_count;
  struct late_request *late;
  bool stopping, cutting;
};

/* 0 .. below-1 */
uint64_t proxy_throw(struct proxy *proxy, uint64_t below);
uint64_t proxy_now_us(void);

/* A connection that a client has made; takes the socket. */
void link_accept(struct proxy *proxy, int client);
/* The request on a connection of its own. Takes `bytes`. */
void link_repeat(struct proxy *proxy, char *bytes, size_t length, bool at_once);
/* What it waits for now: at most 2 entries of `polls`; returns how many. `*wake_us` (monotonic) is
 * lowered when it waits for a time. */
struct pollfd;
size_t link_wants(struct proxy *proxy, struct link *link, struct pollfd *polls, size_t at,
                  uint64_t *wake_us);
void link_work(struct proxy *proxy, struct link *link, const struct pollfd *polls);
void link_release(struct proxy *proxy, struct link *link);
void link_reset(struct link *link);
void link_free(struct link *link);

#endif
