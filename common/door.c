/* See door.h. */
#include "common/door.h"

#include "common/log.h"

enum error_code door_settings_check(const struct door_settings *settings, bool may_have_tokens,
                                    struct error *err) {
  char host[256];
  uint16_t port;
  if (!settings->certificate != !settings->key)
    return error_set(err, ERR_CONFIG, "tls_certificate and tls_key belong together");
  if (settings->client_ca && !settings->certificate)
    return error_set(err, ERR_CONFIG, "tls_client_ca needs tls_certificate and tls_key");
  if (!config_split_listen(settings->listen, host, sizeof host, &port))
    return error_set(err, ERR_CONFIG, "listen: %s", settings->listen);
  if (config_listen_is_loopback(host)) return ERR_OK;
  bool known = settings->client_ca || (may_have_tokens && settings->tokens);
  if (settings->certificate && known) return ERR_OK;
  return error_set(err, ERR_CONFIG,
                   "listen: %s is not a loopback address, and off loopback there must be %s%s%s",
                   settings->listen, settings->certificate ? "" : "tls_certificate and tls_key",
                   settings->certificate || known ? "" : ", and ",
                   known             ? ""
                   : may_have_tokens ? "tokens (or tls_client_ca)"
                                     : "tls_client_ca");
}

static enum error_code load(struct door *door, struct error *err) {
  const struct door_settings *s = door->settings;
  enum error_code code = ERR_OK;
  if (s->tokens) code = tokens_load(&door->tokens, s->tokens, err);
  if (code == ERR_OK && s->certificate) {
    const struct tls_files files = {s->certificate, s->key, s->client_ca};
    code = tls_new(&door->tls, &files, err);
  }
  return code;
}

enum error_code door_check_files(const struct door_settings *settings, struct error *err) {
  struct door door = {.settings = settings};
  enum error_code code = load(&door, err);
  door_close(&door);
  return code;
}

enum error_code door_open(struct door *door, struct loop *loop,
                          const struct door_settings *settings, struct http_server_options *options,
                          const struct http_route *routes, size_t route_count, void *data,
                          struct error *err) {
  char host[256];
  *door = (struct door){.settings = settings};
  if (!config_split_listen(settings->listen, host, sizeof host, &options->listen_port))
    return error_set(err, ERR_CONFIG, "listen: %s", settings->listen);
  enum error_code code = load(door, err);
  if (code != ERR_OK) return code;
  options->listen_host = host;
  options->host_names = settings->host_names;
  options->tokens = door->tokens;
  options->tls = door->tls;
  return http_server_start(&door->server, loop, options, routes, route_count, data, err);
}

void door_reload(struct door *door) {
  struct error err = {0};
  struct tokens *tokens = NULL;
  enum error_code code = ERR_OK;
  if (door->tokens) code = tokens_load(&tokens, door->settings->tokens, &err);
  if (code == ERR_OK && door->tls) code = tls_reload(door->tls, &err);
  if (code != ERR_OK) {
    tokens_free(tokens);
    log_error("reload_failed", "error", "s", err.text, NULL);
    return;
  }
  if (tokens) {
    http_server_set_tokens(door->server, tokens);
    tokens_free(door->tokens);
    door->tokens = tokens;
  }
  log_info("reloaded", "tokens", "d", (int64_t)(tokens ? tokens_count(tokens) : 0), "tls", "s",
           door->tls ? "yes" : "no", NULL);
}

void door_close(struct door *door) {
  if (door->server) http_server_free(door->server);
  tls_free(door->tls);
  tokens_free(door->tokens);
  *door = (struct door){0};
}
