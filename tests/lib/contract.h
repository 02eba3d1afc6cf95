/* The contract: what coordinator/openapi.json says of answers. Every answer that a test gets is held
 * against it (api.c).
 *
 * Of JSON Schema what the document uses: $ref within it, type, enum, properties, required,
 * additionalProperties, items, anyOf, minimum and maximum, minLength and maxLength (in bytes), minItems and
 * maxItems. What else it says (description, format, example...) is for readers; an unknown word is an error.
 */
#ifndef ASSENT_TESTS_LIB_CONTRACT_H
#define ASSENT_TESTS_LIB_CONTRACT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { CONTRACT_WHY_SIZE = 400 };

/* The document. It lives as long as the process. */
const json_t *contract(void);
/* False: `why` says what is wrong, and where. `schema` is one within the document, or like one. */
bool contract_allows(const json_t *schema, const json_t *value, char why[CONTRACT_WHY_SIZE]);
/* Is this answer as the document says? `target`: with or without a query. A target that is not in it may
 * only be answered with a problem. */
bool contract_allows_answer(const char *method, const char *target, int status, const json_t *body,
                            char why[CONTRACT_WHY_SIZE]);
/* What `$ref` (if there is one) leads to. */
const json_t *contract_follow(const json_t *at);

#endif
