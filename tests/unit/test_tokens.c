/* common/tokens.c, and common/door.c's checks. */
#include "common/tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/door.h"
#include "tests/lib/suite.h"

#define HASH_OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define HASH_OF_X   "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"

static enum error_code load_text(struct tokens **out, const char *text, mode_t mode,
                                 struct error *err) {
  char path[] = "/tmp/assent-tokens-XXXXXX";
  int fd = mkstemp(path);
  CU_ASSERT_TRUE_FATAL(fd >= 0);
  CU_ASSERT_EQUAL_FATAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  CU_ASSERT_EQUAL_FATAL(fchmod(fd, mode), 0);
  (void)close(fd);
  enum error_code code = tokens_load(out, path, err);
  (void)unlink(path);
  return code;
}

static const struct token *find_holder(const char *authorization, unsigned roles,
                                       enum error_code expected) {
  static struct token found;
  struct tokens *tokens;
  const struct token *who;
  struct error err = {0};
  CU_ASSERT_EQUAL_FATAL(load_text(&tokens,
                                  "# two\n\n  \nabc client " HASH_OF_ABC "\r\n"
                                  "x\toperator   " HASH_OF_X,
                                  0640, &err),
                        ERR_OK);
  CU_ASSERT_EQUAL(tokens_count(tokens), 2);
  CU_ASSERT_EQUAL(tokens_admit(tokens, roles, authorization, &who, &err), expected);
  CU_ASSERT_EQUAL(err.code, expected);
  if (who) found = *who;
  const struct token *result = who ? &found : NULL;
  tokens_free(tokens);
  return result;
}

static void token_in_the_file_is_its_holders(void) {
  const struct token *who = find_holder("Bearer abc", ROLE_CLIENT, ERR_OK);
  CU_ASSERT_PTR_NOT_NULL_FATAL(who);
  CU_ASSERT_STRING_EQUAL(who->name, "abc");
  CU_ASSERT_EQUAL(who->role, ROLE_CLIENT);
  CU_ASSERT_PTR_NOT_NULL(find_holder("bearer  x", ROLE_OPERATOR | ROLE_CLIENT, ERR_OK));
}

static void token_of_another_role_is_forbidden(void) {
  CU_ASSERT_PTR_NOT_NULL(find_holder("Bearer abc", ROLE_OPERATOR, ERR_FORBIDDEN));
  CU_ASSERT_PTR_NOT_NULL(find_holder("Bearer x", ROLE_METRICS, ERR_FORBIDDEN));
}

static void token_that_is_none_is_unauthorized(void) {
  static const char *const wrong[] = {NULL,          "",          "abc",
                                      "Bearer",      "Bearer ",   "Bearerabc",
                                      "Basic abc",   "Bearer ab", "Bearer ABC",
                                      "Bearer abc x"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    CU_ASSERT_PTR_NULL(find_holder(wrong[i], ROLE_CLIENT, ERR_UNAUTHORIZED));
}

static void token_made_is_found_and_each_is_another(void) {
  char first[TOKEN_TEXT_SIZE], second[TOKEN_TEXT_SIZE], line[TOKEN_LINE_SIZE];
  struct token token;
  struct tokens *tokens;
  token_make("second", ROLE_CLIENT, second, &token);
  token_make("first", ROLE_METRICS, first, &token);
  token_line(&token, line);
  CU_ASSERT_EQUAL(strlen(first), TOKEN_TEXT_SIZE - 1);
  CU_ASSERT_STRING_NOT_EQUAL(first, second);
  CU_ASSERT_PTR_NULL(strstr(line, first));
  CU_ASSERT_EQUAL_FATAL(load_text(&tokens, line, 0600, NULL), ERR_OK);
  const struct token *found = tokens_find(tokens, first);
  CU_ASSERT_PTR_NOT_NULL_FATAL(found);
  CU_ASSERT_STRING_EQUAL(found->name, "first");
  CU_ASSERT_EQUAL(found->role, ROLE_METRICS);
  CU_ASSERT_PTR_NULL(tokens_find(tokens, second));
  CU_ASSERT_TRUE(tokens_has_name(tokens, "first"));
  tokens_free(tokens);
}

static void file_that_is_wrong_is_refused_by_its_line(void) {
  static const struct {
    const char *text, *expected;
  } wrong[] = {{"abc client\n", "line 1: a line is"},
               {"# ok\nabc client " HASH_OF_ABC " more\n", "line 2: a line is"},
               {"a/b client " HASH_OF_ABC "\n", "line 1: a name is"},
               {"abc king " HASH_OF_ABC "\n", "line 1: a role is"},
               {"abc client 00\n", "line 1: a hash is"},
               {"abc client " HASH_OF_ABC "00\n", "line 1: a hash is"},
               {"abc client " HASH_OF_ABC "\nabc client " HASH_OF_X "\n", "line 2: the name is"}};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    struct tokens *tokens;
    struct error err = {0};
    CU_ASSERT_EQUAL(load_text(&tokens, wrong[i].text, 0600, &err), ERR_CONFIG);
    CU_ASSERT_PTR_NULL(tokens);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, wrong[i].expected));
    CU_ASSERT_PTR_NULL(strstr(err.text, HASH_OF_ABC));
  }
}

static void file_that_others_may_write_is_refused(void) {
  struct tokens *tokens;
  struct error err = {0};
  CU_ASSERT_EQUAL(load_text(&tokens, "", 0620, &err), ERR_CONFIG);
  CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "chmod"));
  error_clear(&err);
  CU_ASSERT_EQUAL(tokens_load(&tokens, "/nonexistent/tokens", &err), ERR_CONFIG);
  char path[] = "/nonexistent/tokens";
  const struct door_settings settings = {.tokens = path};
  CU_ASSERT_EQUAL(door_check_files(&settings, NULL), ERR_CONFIG);
  CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/nonexistent/tokens"));
}

/* ---- off loopback ---------------------------------------------------------------------------- */

static void check_door(struct door_settings settings, bool may_have_tokens, const char *expected) {
  struct error err = {0};
  enum error_code code = door_settings_check(&settings, may_have_tokens, &err);
  CU_ASSERT_EQUAL(code, expected ? ERR_CONFIG : ERR_OK);
  if (expected) CU_ASSERT_PTR_NOT_NULL(strstr(err.text, expected));
}

static char listen_here[] = "127.0.0.1:1", listen_away[] = "0.0.0.0:1", some_file[] = "f";

static void door_on_loopback_needs_nothing(void) {
  check_door((struct door_settings){.listen = listen_here}, true, NULL);
  check_door((struct door_settings){.listen = listen_here}, false, NULL);
}

static void door_off_loopback_needs_tls_and_to_know_who_comes(void) {
  check_door((struct door_settings){.listen = listen_away}, true,
             "there must be tls_certificate and tls_key, and tokens");
  check_door((struct door_settings){.listen = listen_away, .tokens = some_file}, true,
             "there must be tls_certificate");
  check_door(
      (struct door_settings){.listen = listen_away, .certificate = some_file, .key = some_file},
      true, "there must be tokens");
  check_door(
      (struct door_settings){.listen = listen_away, .certificate = some_file, .key = some_file},
      false, "there must be tls_client_ca");
  check_door((struct door_settings){.listen = listen_away,
                                    .certificate = some_file,
                                    .key = some_file,
                                    .tokens = some_file},
             true, NULL);
  check_door((struct door_settings){.listen = listen_away,
                                    .certificate = some_file,
                                    .key = some_file,
                                    .client_ca = some_file},
             false, NULL);
}

static void half_a_certificate_is_refused(void) {
  check_door((struct door_settings){.listen = listen_here, .key = some_file}, true,
             "belong together");
  check_door((struct door_settings){.listen = listen_here, .certificate = some_file}, true,
             "belong together");
  check_door((struct door_settings){.listen = listen_here, .client_ca = some_file}, false,
             "tls_client_ca needs");
}

SUITE(tokens, CASE(token_in_the_file_is_its_holders), CASE(token_of_another_role_is_forbidden),
      CASE(token_that_is_none_is_unauthorized), CASE(token_made_is_found_and_each_is_another),
      CASE(file_that_is_wrong_is_refused_by_its_line), CASE(file_that_others_may_write_is_refused),
      CASE(door_on_loopback_needs_nothing), CASE(door_off_loopback_needs_tls_and_to_know_who_comes),
      CASE(half_a_certificate_is_refused))
