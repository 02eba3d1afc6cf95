/* The description of the public API, coordinator/openapi.json, as it is in the program. */
#ifndef ASSENT_COORDINATOR_OPENAPI_H
#define ASSENT_COORDINATOR_OPENAPI_H

#include <stddef.h>

/* OpenAPI 3.1 as JSON, not NUL-terminated. Static. */
const char *openapi_text(size_t *length);

#endif
