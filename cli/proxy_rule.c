/* See proxy_internal.h. The bytes of a rule are sought as they come, in a stream cut anywhere. */
#include <assert.h>
#include <string.h>

#include "cli/proxy_internal.h"

void rule_init(struct rule *rule, enum proxy_direction direction, const char *bytes,
               const char *instead, int action) {
  size_t length = strlen(bytes);
  assert(length > 0 && length <= PROXY_BYTES_MAX);
  assert(!instead || strlen(instead) == length);
  *rule = (struct rule){.length = length, .direction = direction, .action = action};
  memcpy(rule->bytes, bytes, length + 1);
  if (instead) memcpy(rule->instead, instead, length + 1);
  size_t k = 0;
  for (size_t i = 1; i < length; i++) {
    while (k > 0 && bytes[i] != bytes[k])
      k = rule->back[k];
    if (bytes[i] == bytes[k]) k++;
    rule->back[i + 1] = (unsigned char)k;
  }
}

bool rule_step(const struct rule *rule, unsigned char *progress, char byte) {
  size_t k = *progress;
  while (k > 0 && rule->bytes[k] != byte)
    k = rule->back[k];
  if (rule->bytes[k] == byte) k++;
  bool complete = k == rule->length;
  *progress = complete ? rule->back[k] : (unsigned char)k;
  return complete;
}
