/* Files that are in the program: the description of the API, and the console's page. */
#ifndef ASSENT_COORDINATOR_EMBEDDED_H
#define ASSENT_COORDINATOR_EMBEDDED_H

#include <stddef.h>

enum embedded_file {
  EMBEDDED_OPENAPI, /* coordinator/openapi.json */
  EMBEDDED_CONSOLE, /* coordinator/console/: the page, its style and its script */
  EMBEDDED_CONSOLE_STYLE,
  EMBEDDED_CONSOLE_SCRIPT,
};

/* Its bytes, not NUL-terminated. Static. */
const char *embedded_text(enum embedded_file file, size_t *length);

#endif
