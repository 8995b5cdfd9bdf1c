/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/tokenizer_cases.h - comparing with recorded ids and texts. */
#ifndef GEM_TEST_TOKENIZER_CASES_H
#define GEM_TEST_TOKENIZER_CASES_H

#include "unit/check.h"
#include "unit/tokenizer_open.h"

#include "base/json.h"

/* The tokenizer of a file; a failed check and NULL when it does not open. */
static inline struct gem_tokenizer *cases_open(const char *path)
{
    struct gem_tokenizer *t = NULL;
    gem_error err = {0};

    if (tokenizer_open(&t, path, &err)) {
        printf("%s: %s\n", path, err.message);
        check_failures++;
    }
    return t;
}

static inline yyjson_doc *cases_load(const char *path)
{
    yyjson_doc *doc = NULL;
    gem_error err = {0};

    if (gem_json_load(&doc, path, 64 << 20, &err)) {
        printf("%s\n", err.message);
        check_failures++;
    }
    return doc;
}

/* The ids of text, in memory of exactly that size so that a sanitizer sees what is written beyond; free it. */
static inline int32_t *cases_encode(const struct gem_tokenizer *t, const char *s, size_t n, bool control, size_t *n_ids)
{
    gem_error err = {0};
    int32_t *ids = NULL;
    size_t again = 0;

    *n_ids = 0;
    if (gem_tokenizer_encode(t, s, n, control, NULL, 0, n_ids, &err)) {
        printf("%s\n", err.message);
        check_failures++;
    }
    ids = malloc(*n_ids * sizeof *ids + 1);
    CHECK(ids && !gem_tokenizer_encode(t, s, n, control, ids, *n_ids, &again, &err));
    CHECK_EQ(again, *n_ids);
    return ids;
}

static inline char *cases_decode(const struct gem_tokenizer *t, const int32_t *ids, size_t n_ids, bool control,
                                 size_t *n)
{
    size_t again = 0;
    char *text;

    *n = 0;
    CHECK(!gem_tokenizer_decode(t, ids, n_ids, control, NULL, 0, n, NULL));
    text = malloc(*n + 1);
    CHECK(text && !gem_tokenizer_decode(t, ids, n_ids, control, text, *n, &again, NULL));
    CHECK_EQ(again, *n);
    return text;
}

/* Whether text encodes as the array `want`; complains when not. */
static inline bool cases_ids(const struct gem_tokenizer *t, yyjson_val *text, bool control, yyjson_val *want)
{
    size_t n;
    int32_t *ids = cases_encode(t, yyjson_get_str(text), yyjson_get_len(text), control, &n);
    bool same = n == yyjson_arr_size(want);
    yyjson_arr_iter it = yyjson_arr_iter_with(want);

    for (size_t i = 0; same && i < n; i++) same = ids[i] == yyjson_get_int(yyjson_arr_iter_next(&it));
    if (!same) printf("\"%.100s\", control %d: other ids\n", yyjson_get_str(text), control);
    check_failures += !same;
    free(ids);
    return same;
}

/* Whether ids decode as `want`, all at once. */
static inline bool cases_text(const struct gem_tokenizer *t, yyjson_val *list, bool control, yyjson_val *want)
{
    int32_t ids[4096];
    size_t n_ids = 0, n;
    yyjson_arr_iter it = yyjson_arr_iter_with(list);
    yyjson_val *v;
    char *text;
    bool same;

    while ((v = yyjson_arr_iter_next(&it)) && n_ids < 4096) ids[n_ids++] = yyjson_get_int(v);
    text = cases_decode(t, ids, n_ids, control, &n);
    same = n == yyjson_get_len(want) && !memcmp(text, yyjson_get_str(want), n);
    if (!same) printf("control %d: \"%.*s\", not \"%s\"\n", control, (int)n, text, yyjson_get_str(want));
    check_failures += !same;
    free(text);
    return same;
}

/* All cases [text, ids, ids without control tokens or null] under "encode". Returns how many. */
static inline size_t cases_run(const struct gem_tokenizer *t, const char *path)
{
    yyjson_doc *doc = t ? cases_load(path) : NULL;
    yyjson_val *list = yyjson_obj_get(yyjson_doc_get_root(doc), "encode"), *c;
    yyjson_arr_iter it = yyjson_arr_iter_with(list);
    const size_t n = yyjson_arr_size(list);

    while ((c = yyjson_arr_iter_next(&it))) {
        yyjson_val *ids = yyjson_arr_get(c, 1), *plain = yyjson_arr_get(c, 2);
        cases_ids(t, yyjson_arr_get(c, 0), true, ids);
        cases_ids(t, yyjson_arr_get(c, 0), false, yyjson_is_null(plain) ? ids : plain);
    }
    yyjson_doc_free(doc);
    return n;
}

#endif
