/* Between world.c and world_servers.c. */
#ifndef ASSENT_TESTS_LIB_WORLD_SERVERS_H
#define ASSENT_TESTS_LIB_WORLD_SERVERS_H

#include "tests/lib/world.h"

/* Starts the servers of this run with the first call. */
struct throwaway *servers_owner(void);
/* Fills w->servers, w->dsn and w->database with two databases as the template has them. Servers
 * that a failed test left killed or paused run again. */
void servers_give_databases(struct world *w, const struct world_options *options);

/* What the databases of a world are made from, on a server of a test's own. */
void servers_make_template(const struct throwaway_server *server);

/* The databases of a world that was closed in good order serve the next one. */
void servers_take_back(const struct world *w);

/* Ends the program, in good order, when SIGINT or SIGTERM has come. */
void world_check_interrupted(void);
/* Releases the world whose test was left without closing it. */
void world_drop_current(void);

#endif
