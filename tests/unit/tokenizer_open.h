/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/tokenizer_open.h - a tokenizer from a file of either kind, for tests and tools. */
#ifndef GEM_TEST_TOKENIZER_OPEN_H
#define GEM_TEST_TOKENIZER_OPEN_H

#include <string.h>

#include "tokenizer/tokenizer.h"

static inline gem_status tokenizer_open_gguf(struct gem_tokenizer **out, const char *path, gem_error *err)
{
    struct gem_archive a = {0};
    gem_status st;

    *out = NULL;
    if ((st = gem_gguf_open(&a, path, err))) return st;
    st = gem_tokenizer_from_gguf(out, &a, err);
    gem_archive_close(&a);
    return st;
}

/* By the name's end: .json or GGUF. */
static inline gem_status tokenizer_open(struct gem_tokenizer **out, const char *path, gem_error *err)
{
    const size_t n = strlen(path);
    struct gem_map map = {0};
    gem_status st;

    *out = NULL;
    if (n < 5 || strcmp(path + n - 5, ".json")) return tokenizer_open_gguf(out, path, err);
    if ((st = gem_map_open(&map, path, err))) return st;
    st = gem_tokenizer_from_json(out, path, map.data, (size_t)map.n_bytes, err);
    gem_map_close(&map);
    return st;
}

#endif
