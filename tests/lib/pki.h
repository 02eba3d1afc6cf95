/* A certificate authority for one test. */
#ifndef ASSENT_TESTS_LIB_PKI_H
#define ASSENT_TESTS_LIB_PKI_H

struct pki;

/* Makes the directory, and DIRECTORY/ca.pem. Owner: pki_free(). Aborts when it cannot. */
struct pki *pki_new(const char *directory);
void pki_free(struct pki *pki);
/* DIRECTORY/NAME.pem and .key, for 127.0.0.1, to serve and to show as a client. Replaces both. */
void pki_issue(struct pki *pki, const char *name);

#endif
