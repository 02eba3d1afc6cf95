/* A torture of the daemons on the user's own databases: what is taken from an assentd.ini, and how
 * the databases are left as they were found.
 *
 * Only daemons of our own, with a decision log of their own, are started and broken; the databases
 * are not. Written are the schema assent_torture, which must not be there before, and, by the daemons,
 * their epoch in assent.coordinator; both are removed at the end.
 */
#ifndef ASSENT_CLI_TORTURE_CONFIG_H
#define ASSENT_CLI_TORTURE_CONFIG_H

#include "cli/torture.h"

/* The first two [participant.NAME] of the file that have a database of their own (dsn, or dsn_file,
 * not agent). ERR_CONFIG when there are not two. */
enum error_code torture_config_read(const char *path, struct torture_databases *out,
                                    struct error *err) __attribute__((warn_unused_result));
/* The same of a text, which is changed. */
enum error_code torture_config_parse(char *text, struct torture_databases *out, struct error *err)
    __attribute__((warn_unused_result));

/* By what our prepared transactions and sessions begin; after the daemons have started. */
enum error_code torture_config_know_ours(struct torture *t, struct error *err)
    __attribute__((warn_unused_result));

/* After the daemons have ended: ends what they left prepared, and removes what was written. */
enum error_code torture_config_tidy(struct torture *t, struct error *err)
    __attribute__((warn_unused_result));

#endif
