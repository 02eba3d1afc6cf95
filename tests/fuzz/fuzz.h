/* What the fuzz targets share. Each is a program of libFuzzer's: LLVMFuzzerTestOneInput() is called
 * with one input after the other; a crash, a sanitizer's report or a failed assertion is a finding.
 */
#ifndef ASSENT_TESTS_FUZZ_FUZZ_H
#define ASSENT_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input as text, NUL-terminated, in a block of just that size. Owner: free(). */
char *fuzz_text(const uint8_t *data, size_t size);

#endif
