/* See pki.h. */
#include "tests/lib/pki.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PATH_MAX_HERE = 512, VALID_S = 86400 };

struct pki {
  char directory[PATH_MAX_HERE / 2];
  gnutls_x509_crt_t ca;
  gnutls_x509_privkey_t key;
  unsigned serial;
};

static void must(bool done) {
  if (!done) abort();
}

static void write_file(const struct pki *pki, const char *name, const char *suffix,
                       const gnutls_datum_t *text) {
  char path[PATH_MAX_HERE];
  (void)snprintf(path, sizeof path, "%s/%s%s", pki->directory, name, suffix);
  (void)unlink(path);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  must(fd >= 0 && write(fd, text->data, text->size) == (ssize_t)text->size);
  (void)close(fd);
}

static gnutls_x509_privkey_t make_key(void) {
  gnutls_x509_privkey_t key;
  must(gnutls_x509_privkey_init(&key) == 0);
  must(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0) == 0);
  return key;
}

/* Not signed yet. */
static gnutls_x509_crt_t make_certificate(struct pki *pki, gnutls_x509_privkey_t key,
                                          const char *name) {
  gnutls_x509_crt_t crt;
  uint32_t serial = htonl(++pki->serial);
  time_t now = time(NULL);
  must(gnutls_x509_crt_init(&crt) == 0 && gnutls_x509_crt_set_version(crt, 3) == 0 &&
       gnutls_x509_crt_set_key(crt, key) == 0 &&
       gnutls_x509_crt_set_serial(crt, &serial, sizeof serial) == 0 &&
       gnutls_x509_crt_set_activation_time(crt, now - VALID_S) == 0 &&
       gnutls_x509_crt_set_expiration_time(crt, now + VALID_S) == 0 &&
       gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                     (unsigned)strlen(name)) == 0);
  return crt;
}

static void write_certificate(const struct pki *pki, const char *name, gnutls_x509_crt_t crt) {
  gnutls_datum_t text;
  must(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &text) == 0);
  write_file(pki, name, ".pem", &text);
  gnutls_free(text.data);
}

struct pki *pki_new(const char *directory) {
  struct pki *pki = calloc(1, sizeof *pki);
  must(pki && (size_t)snprintf(pki->directory, sizeof pki->directory, "%s", directory) <
                  sizeof pki->directory);
  must(mkdir(directory, 0700) == 0);
  pki->key = make_key();
  pki->ca = make_certificate(pki, pki->key, directory);
  must(gnutls_x509_crt_set_basic_constraints(pki->ca, 1, -1) == 0 &&
       gnutls_x509_crt_set_key_usage(pki->ca, GNUTLS_KEY_KEY_CERT_SIGN) == 0 &&
       gnutls_x509_crt_sign2(pki->ca, pki->ca, pki->key, GNUTLS_DIG_SHA256, 0) == 0);
  write_certificate(pki, "ca", pki->ca);
  return pki;
}

void pki_free(struct pki *pki) {
  if (!pki) return;
  gnutls_x509_crt_deinit(pki->ca);
  gnutls_x509_privkey_deinit(pki->key);
  free(pki);
}

void pki_issue(struct pki *pki, const char *name) {
  struct in_addr address = {.s_addr = htonl(INADDR_LOOPBACK)};
  gnutls_datum_t text;
  gnutls_x509_privkey_t key = make_key();
  gnutls_x509_crt_t crt = make_certificate(pki, key, name);
  must(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, &address, sizeof address,
                                            GNUTLS_FSAN_SET) == 0 &&
       gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE) == 0 &&
       gnutls_x509_crt_sign2(crt, pki->ca, pki->key, GNUTLS_DIG_SHA256, 0) == 0 &&
       gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &text) == 0);
  write_certificate(pki, name, crt);
  write_file(pki, name, ".key", &text);
  gnutls_free(text.data);
  gnutls_x509_crt_deinit(crt);
  gnutls_x509_privkey_deinit(key);
}
