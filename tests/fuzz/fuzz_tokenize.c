/* SPDX-License-Identifier: Apache-2.0
 * tests/fuzz/fuzz_tokenize.c - any text through a small vocabulary whose merges come in any order, or whose scores
 * have many ties. Input: a byte of flags, three bytes that seed the order, then the text. */
#include "tokenizer_walk.h"

#include "../unit/tokenizer_small.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct gem_tokenizer *t;

    if (n < 4) return 0;
    t = small_open(data[0] & 1, (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3]);
    t->space_prefix = data[0] & 2;
    walk_text(t, (const char *)data + 4, n - 4 < 600 ? n - 4 : 600, data[0] & 4);
    gem_tokenizer_close(t);
    return 0;
}
