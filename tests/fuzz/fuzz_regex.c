/* SPDX-License-Identifier: Apache-2.0
 * tests/fuzz/fuzz_regex.c - a regular expression as a constraint. */
#include "constraint_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(struct gem_grammar *g, const char *s, size_t n)
{
    const bool json = n % 2;

    g->root = gem_rule_new(g, "root", 4, false);
    gem_rule_set(g, g->root, gem_regex_parse(g, json ? GEM_SPELL_JSON : GEM_SPELL_PLAIN, json, "pattern", s, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    constraint_fuzz(parse, data, size);
    return 0;
}
