/* A primary and its standby, for the bank_b of a world (world.h), and the way to them.
 *
 * There is one pair in a run. A failover uses it up: the promoted server is the primary of the next
 * one, with a new standby. Clients reach the pair through a Unix socket's path that leads to the
 * server it was last pointed at; what is connected stays where it is. A failure in here ends the test.
 */
#ifndef ASSENT_TESTS_LIB_PAIR_H
#define ASSENT_TESTS_LIB_PAIR_H

#include "tests/lib/world.h"

enum { PAIR_PREPARED_MAX = 30, PAIR_DSN_SIZE = 256 };

struct pair {
  struct throwaway_server *primary, *standby;
  char reach[PAIR_DSN_SIZE]; /* for world_options.reach_b: the superuser, through the path */
};

/* The pair, both running, `standby` streaming; the path leads to `primary`. */
struct pair *pair_open(bool synchronous);
/* After the world; both, or the promoted one, are as they should be. */
void pair_close(void);

/* Leads new connections of everybody to this server. */
void pair_lead_to(const struct throwaway_server *server);
/* Ends the daemons' connections to this server. */
void pair_cut(const struct throwaway_server *server);

/* The standby holds what it has, see throwaway_standby_hold(), and goes on. */
void pair_hold(struct pair *pair);
void pair_release(struct pair *pair);
/* The standby has what the primary has, and gets no more. */
void pair_hold_here(struct pair *pair);

/* The primary dies and the standby takes its place, and its clients: it is w->servers[BANK_B]. */
void pair_fail_over(struct pair *pair, struct world *w);
/* The same in two steps, for what happens in between. */
void pair_kill_and_promote(struct pair *pair);
void pair_take_clients(struct pair *pair, struct world *w);

/* Sessions that wait for the standby. */
int64_t pair_waiting(const struct pair *pair);
/* Cancels their wait. */
void pair_cancel_waiting(const struct pair *pair);

void pair_sql(const struct throwaway_server *server, const char *database, const char *sql);
int64_t pair_integer(const struct throwaway_server *server, const char *database, const char *sql);

#endif
