/* Between world.c and world_servers.c. */
#ifndef ASSENT_TESTS_LIB_WORLD_SERVERS_H
#define ASSENT_TESTS_LIB_WORLD_SERVERS_H

#include "tests/lib/world.h"

/* Starts the servers of this run with the first call. */
struct throwaway *servers_owner(void);
/* Fills w->servers, w->dsn and w->database with two new databases. Servers that a failed test left
 * killed run again. */
void servers_give_databases(struct world *w, const struct world_options *options);

/* Ends the program, in good order, when SIGINT or SIGTERM has come. */
void world_check_interrupted(void);
/* Releases the world whose test was left without closing it. */
void world_drop_current(void);

#endif
