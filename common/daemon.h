/* What the two daemons' mains share: their command line, and the file that tells the bound port.
 */
#ifndef ASSENT_COMMON_DAEMON_H
#define ASSENT_COMMON_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct daemon_options {
  const char *program;
  const char *help;
  const char *config_path; /* in: the default */
  const char *port_file;   /* NULL: none */
  bool check_config;
};

/* Opens /dev/null where 0, 1 or 2 is closed. To be called first: another file would take the number, and
 * what is printed would be written into it. */
void daemon_open_standard_files(void);

/* Returns -1 to go on, else the exit status (help and version have been printed, a wrong option
 * named: 2). */
int daemon_parse_options(int argc, char **argv, struct daemon_options *options);

/* Writes the port and a newline to `path` (NULL: nothing to do), in one step: a reader sees all of
 * it or no file. */
enum error_code daemon_write_port_file(const char *path, uint16_t port, struct error *err)
    __attribute__((warn_unused_result));

#endif
