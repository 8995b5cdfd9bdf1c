/* SPDX-License-Identifier: Apache-2.0
 * tests/fuzz/fuzz_grammar.c - GBNF as a constraint. */
#include "constraint_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(struct gem_grammar *g, const char *s, size_t n) { gem_gbnf_parse(g, s, n); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    constraint_fuzz(parse, data, size);
    return 0;
}
