/* A TLS server's certificate and key, and whose clients it takes (GnuTLS, which libmicrohttpd uses).
 *
 * TLS 1.2 and 1.3. Certificate and key are read again by tls_reload(), which keeps the old ones when the
 * new are no good; the client CA is read at the start only. Handshakes under way go on with what they
 * began with: what has been loaded is kept until tls_free().
 *
 * Limit: one a process (libmicrohttpd's callback is told nothing by which to tell two apart).
 */
#ifndef ASSENT_COMMON_TLS_H
#define ASSENT_COMMON_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

struct tls;

struct tls_files {         /* PEM; borrowed for the life of the tls */
  const char *certificate; /* with the chain behind it */
  const char *key;         /* others than owner and group may not read it */
  const char *client_ca;   /* NULL: clients need no certificate */
};

/* ERR_CONFIG names the file. Owner: tls_free(). */
enum error_code tls_new(struct tls **out, const struct tls_files *files, struct error *err)
    __attribute__((warn_unused_result));
enum error_code tls_reload(struct tls *tls, struct error *err) __attribute__((warn_unused_result));
/* NULL is allowed. */
void tls_free(struct tls *tls);

bool tls_wants_client_certificates(const struct tls *tls);

/* ---- for http_server.c ---- */

/* As in gnutls/abstract.h: gnutls_certificate_retrieve_function2 *. */
void *tls_retrieve_function(void);
const char *tls_client_ca_pem(const struct tls *tls); /* NULL: none */
/* `session` is a gnutls_session_t: its peer has shown a certificate of the client CA. */
bool tls_peer_is_verified(void *session);
/* And the end of what we send. What does not go at once is lost. */
void tls_send_last(void *session, const char *text, size_t length);

#endif
