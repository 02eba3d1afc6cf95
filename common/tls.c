/* See tls.h. */
#include "common/tls.h"

#include <assert.h>
#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdint.h>
#include <string.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { CHAIN_MAX = 16 };

struct loaded {
  struct loaded *older;
  gnutls_pcert_st chain[CHAIN_MAX];
  unsigned chain_length;
  gnutls_privkey_t key;
};

struct tls {
  struct tls_files files;
  struct loaded *newest;
  gnutls_datum_t client_ca; /* PEM, NUL-terminated */
};

/* The one that serves. */
static struct tls *serving;

static enum error_code failed(struct error *err, const char *path, int result) {
  return error_set(err, ERR_CONFIG, "%s: %s", path, gnutls_strerror(result));
}

/* ---- loading ---------------------------------------------------------------------------------- */

static void loaded_free(struct loaded *loaded) {
  for (unsigned i = 0; i < loaded->chain_length; i++)
    gnutls_pcert_deinit(&loaded->chain[i]);
  if (loaded->key) gnutls_privkey_deinit(loaded->key);
  free(loaded);
}

static enum error_code load_file(const char *path, gnutls_datum_t *out, struct error *err) {
  int result = gnutls_load_file(path, out);
  if (result == 0) return ERR_OK;
  const char *why = errno ? strerror(errno) : gnutls_strerror(result);
  return error_set(err, ERR_CONFIG, "%s: %s", path, why);
}

static enum error_code check_key_file(const char *path, struct error *err) {
  struct stat status;
  if (stat(path, &status) != 0) return error_set(err, ERR_CONFIG, "%s: %s", path, strerror(errno));
  if (status.st_mode & (S_IROTH | S_IWOTH | S_IWGRP))
    return error_set(err, ERR_CONFIG, "%s: others may read or write it (chmod o-rwx,g-w)", path);
  return ERR_OK;
}

/* Does the key belong to the certificate? A handshake would tell too late. */
static enum error_code check_pair(const struct tls_files *files, struct error *err) {
  gnutls_certificate_credentials_t credentials;
  int result = gnutls_certificate_allocate_credentials(&credentials);
  if (result != 0) return failed(err, files->certificate, result);
  result = gnutls_certificate_set_x509_key_file(credentials, files->certificate, files->key,
                                                GNUTLS_X509_FMT_PEM);
  gnutls_certificate_free_credentials(credentials);
  return result < 0 ? failed(err, files->certificate, result) : ERR_OK;
}

static enum error_code load_chain(struct loaded *loaded, const char *path, struct error *err) {
  gnutls_datum_t pem = {NULL, 0};
  unsigned length = CHAIN_MAX;
  enum error_code code = load_file(path, &pem, err);
  if (code != ERR_OK) return code;
  int result =
      gnutls_pcert_list_import_x509_raw(loaded->chain, &length, &pem, GNUTLS_X509_FMT_PEM, 0);
  gnutls_free(pem.data);
  if (result != 0) return failed(err, path, result);
  loaded->chain_length = length;
  return ERR_OK;
}

static enum error_code load_key(struct loaded *loaded, const char *path, struct error *err) {
  gnutls_datum_t pem = {NULL, 0};
  enum error_code code = load_file(path, &pem, err);
  if (code != ERR_OK) return code;
  int result = gnutls_privkey_init(&loaded->key);
  if (result == 0)
    result = gnutls_privkey_import_x509_raw(loaded->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
  gnutls_memset(pem.data, 0, pem.size);
  gnutls_free(pem.data);
  return result == 0 ? ERR_OK : failed(err, path, result);
}

enum error_code tls_reload(struct tls *tls, struct error *err) {
  enum error_code code = check_key_file(tls->files.key, err);
  if (code == ERR_OK) code = check_pair(&tls->files, err);
  if (code != ERR_OK) return code;
  struct loaded *loaded = calloc(1, sizeof *loaded);
  if (!loaded) return error_set(err, ERR_MEMORY, "out of memory for a certificate");
  code = load_chain(loaded, tls->files.certificate, err);
  if (code == ERR_OK) code = load_key(loaded, tls->files.key, err);
  if (code != ERR_OK) {
    loaded_free(loaded);
    return code;
  }
  loaded->older = tls->newest;
  tls->newest = loaded;
  return ERR_OK;
}

/* ---- the whole -------------------------------------------------------------------------------- */

static enum error_code load_client_ca(struct tls *tls, struct error *err) {
  gnutls_x509_crt_t *list = NULL;
  unsigned count = 0;
  enum error_code code = load_file(tls->files.client_ca, &tls->client_ca, err);
  if (code != ERR_OK) return code;
  int result = gnutls_x509_crt_list_import2(&list, &count, &tls->client_ca, GNUTLS_X509_FMT_PEM, 0);
  for (unsigned i = 0; result >= 0 && i < count; i++)
    gnutls_x509_crt_deinit(list[i]);
  gnutls_free(list);
  return result < 0 ? failed(err, tls->files.client_ca, result) : ERR_OK;
}

enum error_code tls_new(struct tls **out, const struct tls_files *files, struct error *err) {
  assert(!serving);
  *out = NULL;
  struct tls *tls = calloc(1, sizeof *tls);
  if (!tls) return error_set(err, ERR_MEMORY, "out of memory for a certificate");
  tls->files = *files;
  enum error_code code = tls_reload(tls, err);
  if (code == ERR_OK && files->client_ca) code = load_client_ca(tls, err);
  if (code != ERR_OK) {
    tls_free(tls);
    return code;
  }
  *out = serving = tls;
  return ERR_OK;
}

void tls_free(struct tls *tls) {
  if (!tls) return;
  for (struct loaded *loaded = tls->newest, *older; loaded; loaded = older) {
    older = loaded->older;
    loaded_free(loaded);
  }
  gnutls_free(tls->client_ca.data);
  if (serving == tls) serving = NULL;
  free(tls);
}

bool tls_wants_client_certificates(const struct tls *tls) {
  return tls->files.client_ca != NULL;
}

/* ---- in a handshake --------------------------------------------------------------------------- */

static int retrieve(gnutls_session_t session, const gnutls_datum_t *names, int name_count,
                    const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
                    gnutls_pcert_st **chain, unsigned *length, gnutls_privkey_t *key) {
  (void)session, (void)names, (void)name_count, (void)algorithms, (void)algorithm_count;
  struct loaded *loaded = serving->newest;
  *chain = loaded->chain;
  *length = loaded->chain_length;
  *key = loaded->key;
  return 0;
}

void *tls_retrieve_function(void) {
  return (void *)(uintptr_t)retrieve;
}

const char *tls_client_ca_pem(const struct tls *tls) {
  return (const char *)tls->client_ca.data;
}

bool tls_peer_is_verified(void *session) {
  unsigned status = 0;
  int result = gnutls_certificate_verify_peers3(session, NULL, &status);
  return result == 0 && status == 0;
}

void tls_send_last(void *session, const char *text, size_t length) {
  (void)gnutls_record_send(session, text, length);
  (void)gnutls_bye(session, GNUTLS_SHUT_WR);
}
