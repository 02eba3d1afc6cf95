/* Who may come in, of both daemons: their configuration's keys, what they need off loopback, and reading
 * it all again on SIGHUP.
 */
#ifndef ASSENT_COMMON_DOOR_H
#define ASSENT_COMMON_DOOR_H

#include "common/config.h"
#include "common/error.h"
#include "common/http_server.h"
#include "common/tls.h"
#include "common/tokens.h"

struct door_settings {
  char *listen;
  char *host_names;        /* see http_server.h; NULL: none */
  char *tokens;            /* a file, see tokens.h; NULL: none are needed */
  char *certificate, *key; /* PEM files; NULL: no TLS */
  char *client_ca;         /* NULL: clients need no certificate */
};

/* `listen` has another default in each. The coordinator asks for tokens, agents do not know them. */
#define DOOR_CONFIG_KEYS(section, type, member, otherwise)                                         \
  {section, "listen", CONFIG_LISTEN, offsetof(type, member.listen), otherwise, 0, 0, NULL, false}, \
      {section, "host_names", CONFIG_STRING, offsetof(type, member.host_names), NULL, 0,           \
       0,       NULL,         false},                                                              \
      {section,                                                                                    \
       "tls_certificate",                                                                          \
       CONFIG_STRING,                                                                              \
       offsetof(type, member.certificate),                                                         \
       NULL,                                                                                       \
       0,                                                                                          \
       0,                                                                                          \
       NULL,                                                                                       \
       false},                                                                                     \
      {section, "tls_key", CONFIG_STRING, offsetof(type, member.key), NULL, 0, 0, NULL, false}, {  \
    section, "tls_client_ca", CONFIG_STRING, offsetof(type, member.client_ca), NULL, 0, 0, NULL,   \
        false                                                                                      \
  }

/* Off loopback there must be TLS, and a way to tell who it is: tokens (`may_have_tokens`) or client
 * certificates. ERR_CONFIG says what is missing. */
enum error_code door_settings_check(const struct door_settings *settings, bool may_have_tokens,
                                    struct error *err) __attribute__((warn_unused_result));

struct door {
  const struct door_settings *settings; /* borrowed */
  struct tokens *tokens;
  struct tls *tls;
  struct http_server *server;
};

/* Can tokens and certificates be loaded? */
enum error_code door_check_files(const struct door_settings *settings, struct error *err)
    __attribute__((warn_unused_result));

/* Loads tokens and certificates, and serves. `options` need no address, names, tokens or TLS. Whatever
 * comes out: door_close(). */
enum error_code door_open(struct door *door, struct loop *loop,
                          const struct door_settings *settings, struct http_server_options *options,
                          const struct http_route *routes, size_t route_count, void *data,
                          struct error *err) __attribute__((warn_unused_result));
/* What cannot be read is logged, and what was in force stays so. */
void door_reload(struct door *door);
void door_close(struct door *door);

#endif
