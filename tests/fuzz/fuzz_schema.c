/* SPDX-License-Identifier: Apache-2.0
 * tests/fuzz/fuzz_schema.c - JSON Schema as a constraint. */
#include "constraint_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(struct gem_grammar *g, const char *s, size_t n)
{
    const struct gem_schema_options options = {.compact = n % 2};

    gem_schema_parse(g, &options, s, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    constraint_fuzz(parse, data, size);
    return 0;
}
