/* See utf8.h. Pure; Table 3-7 of the Unicode standard spelt out. */
#include "common/utf8.h"

#include <stdbool.h>

static bool is_continuation(unsigned char byte) {
  return (byte & 0xC0) == 0x80;
}

size_t utf8_sequence(const char *text, size_t length) {
  const unsigned char *s = (const unsigned char *)text;
  if (s[0] < 0x80) return 1;
  if (s[0] < 0xC2 || s[0] > 0xF4 || length < 2) return 0;
  if (s[0] < 0xE0) return is_continuation(s[1]) ? 2 : 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (s[0] == 0xE0) low = 0xA0;  /* below: overlong */
  if (s[0] == 0xED) high = 0x9F; /* above: surrogates */
  if (s[0] == 0xF0) low = 0x90;  /* below: overlong */
  if (s[0] == 0xF4) high = 0x8F; /* above: past U+10FFFF */
  if (s[1] < low || s[1] > high) return 0;
  if (length < 3 || !is_continuation(s[2])) return 0;
  if (s[0] < 0xF0) return 3;
  return length >= 4 && is_continuation(s[3]) ? 4 : 0;
}

size_t utf8_prefix(const char *text, size_t length, size_t max) {
  if (length <= max) return length;
  size_t end = max;
  while (end > 0 && max - end < 4 && is_continuation((unsigned char)text[end]))
    end--;
  return end;
}
