/* Connection strings with several hosts, as in host=a,b target_session_attrs=read-write.
 *
 * libpq tries the hosts in their order, within one attempt to connect. It goes on to the next when
 * one refuses, or is not what target_session_attrs asks for; but when one is silent (the machine is
 * off, its packets are dropped) the whole attempt waits for it until our time is over: libpq's own
 * connect_timeout holds for blocking connects only. So after an attempt that failed the next one
 * begins with the next host: of n hosts each is reached within n attempts, whoever is silent.
 * Source: libpq's documentation, "Specifying Multiple Hosts" and PQconnectStartParams.
 * Limits: lists of libpq's form only; what a service file or the environment says is libpq's.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/postgres.h"

static const char *const names[HOST_KEYWORDS] = {"host", "hostaddr", "port"};

struct hosts {
  unsigned count, first;
  char *lists[HOST_KEYWORDS];   /* as the dsn has them; NULL: it does not say */
  char *rotated[HOST_KEYWORDS]; /* as long as the list; NULL: one value for all */
};

static unsigned count_of(const char *list) {
  unsigned count = 1;
  for (const char *at = list; (at = strchr(at, ',')) != NULL; at++)
    count++;
  return count;
}

static void take_lists(struct hosts *hosts, const PQconninfoOption *options) {
  for (const PQconninfoOption *option = options; option->keyword; option++)
    for (int i = 0; i < HOST_KEYWORDS; i++)
      if (option->val && *option->val && strcmp(option->keyword, names[i]) == 0) {
        hosts->lists[i] = strdup(option->val);
        assert(hosts->lists[i]);
      }
}

/* Where the numbers differ libpq says so: nothing is turned around then. */
static bool is_consistent(struct hosts *hosts) {
  for (int i = 0; i < HOST_KEYWORDS; i++) {
    unsigned count = hosts->lists[i] ? count_of(hosts->lists[i]) : 1;
    if (count > 1 && hosts->count > 1 && count != hosts->count) return false;
    if (count > 1) hosts->count = count;
  }
  for (int i = 0; i < HOST_KEYWORDS; i++) {
    bool is_list = hosts->lists[i] && count_of(hosts->lists[i]) > 1;
    bool is_port = strcmp(names[i], "port") == 0;
    if (hosts->lists[i] && !is_list && !is_port) return false;
    if (is_list) hosts->rotated[i] = strdup(hosts->lists[i]);
    assert(!is_list || hosts->rotated[i]);
  }
  return hosts->count > 1 && (hosts->rotated[0] || hosts->rotated[1]);
}

struct hosts *hosts_new(const char *dsn) {
  PQconninfoOption *options = PQconninfoParse(dsn, NULL);
  assert(options);
  struct hosts *hosts = calloc(1, sizeof *hosts);
  assert(hosts);
  hosts->count = 1;
  take_lists(hosts, options);
  PQconninfoFree(options);
  if (is_consistent(hosts)) return hosts;
  hosts_free(hosts);
  return NULL;
}

void hosts_free(struct hosts *hosts) {
  if (!hosts) return;
  for (int i = 0; i < HOST_KEYWORDS; i++) {
    free(hosts->lists[i]);
    free(hosts->rotated[i]);
  }
  free(hosts);
}

/* "a,b,c" from the second: "b,c,a". */
static void rotate(const char *list, unsigned first, char *out) {
  const char *rest = list;
  for (unsigned i = 0; i < first; i++)
    rest = strchr(rest, ',') + 1;
  size_t length = strlen(rest), before = (size_t)(rest - list);
  memcpy(out, rest, length);
  if (before == 0) {
    out[length] = '\0';
    return;
  }
  out[length] = ',';
  memcpy(out + length + 1, list, before - 1);
  out[length + before] = '\0';
}

unsigned hosts_keywords(struct hosts *hosts, const char **keywords, const char **values) {
  size_t count = 0;
  for (int i = 0; i < HOST_KEYWORDS; i++) {
    if (!hosts->rotated[i]) continue;
    rotate(hosts->lists[i], hosts->first, hosts->rotated[i]);
    keywords[count] = names[i];
    values[count++] = hosts->rotated[i];
  }
  return hosts->first;
}

void hosts_failed(struct hosts *hosts, unsigned order) {
  if (order == hosts->first) hosts->first = (hosts->first + 1) % hosts->count;
}
