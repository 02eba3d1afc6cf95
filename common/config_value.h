/* Values of a configuration file: text to typed member and back. Used by config.c.
 */
#ifndef ASSENT_COMMON_CONFIG_VALUE_H
#define ASSENT_COMMON_CONFIG_VALUE_H

#include <stdio.h>

#include "common/config.h"

/* ERR_CONFIG: "expected ..., got ..."; the value of a secret key is not repeated. */
enum error_code config_value_set(const struct config_key *key, const char *text, void *base,
                                 struct error *err) __attribute__((warn_unused_result));
void config_value_clear(const struct config_key *key, void *base);
/* "key = value"; a key that is not set comes as a comment. */
void config_value_print(FILE *out, const struct config_key *key, const void *base);

#endif
