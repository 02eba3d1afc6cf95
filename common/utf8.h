/* UTF-8 (RFC 3629): the one check behind JSON, error texts and log lines. */
#ifndef ASSENT_COMMON_UTF8_H
#define ASSENT_COMMON_UTF8_H

#include <stddef.h>

/* Bytes of the well-formed sequence that `text` begins with: 1 to 4, or 0 when it begins with none
 * (overlong forms, surrogates and values past U+10FFFF are none). `length` is at least 1. */
size_t utf8_sequence(const char *text, size_t length);

/* The longest prefix of at most `max` bytes that does not cut a sequence in two. */
size_t utf8_prefix(const char *text, size_t length, size_t max);

#endif
