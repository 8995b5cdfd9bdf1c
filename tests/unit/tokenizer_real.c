/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/tokenizer_real.c - the released tokenizer against the shared golden vectors. Driven by tokenizer_real.sh.
 *   test_tokenizer_real GOLDEN-FOLDER tokenizer.json [tokenizer.gguf]
 * And, when GEM_GEMMA3_GGUF names it, Gemma 3's against llama.cpp's ids. */
#include "base/sha256.h"
#include "tokenizer/vocabulary.h"
#include "unit/tokenizer_cases.h"

static yyjson_doc *load(const char *folder, const char *name)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return cases_load(path);
}

static yyjson_arr_iter cases_of(yyjson_doc *doc, size_t at_least)
{
    yyjson_val *cases = yyjson_obj_get(yyjson_doc_get_root(doc), "cases");

    CHECK(yyjson_arr_size(cases) >= at_least);
    return yyjson_arr_iter_with(cases);
}

static void test_encode(const struct gem_tokenizer *t, const char *folder)
{
    yyjson_doc *doc = load(folder, "encode.json");
    yyjson_arr_iter it = cases_of(doc, 450);
    yyjson_val *c;

    while ((c = yyjson_arr_iter_next(&it))) {
        yyjson_val *text = yyjson_obj_get(c, "text"), *ids = yyjson_obj_get(c, "ids");
        yyjson_val *plain = yyjson_obj_get(c, "ids_no_special"), *decoded = yyjson_obj_get(c, "decoded");
        yyjson_val *skipped = yyjson_obj_get(c, "decoded_skip_special");
        cases_ids(t, text, true, ids);
        cases_ids(t, text, false, plain ? plain : ids);
        cases_text(t, ids, true, decoded ? decoded : text);
        cases_text(t, ids, false, skipped ? skipped : decoded ? decoded : text);
    }
    yyjson_doc_free(doc);
}

static void test_decode(const struct gem_tokenizer *t, const char *folder)
{
    yyjson_doc *doc = load(folder, "decode.json");
    yyjson_arr_iter it = cases_of(doc, 38);
    yyjson_val *c;

    while ((c = yyjson_arr_iter_next(&it))) {
        cases_text(t, yyjson_obj_get(c, "ids"), true, yyjson_obj_get(c, "decoded"));
        cases_text(t, yyjson_obj_get(c, "ids"), false, yyjson_obj_get(c, "decoded_skip_special"));
    }
    yyjson_doc_free(doc);
}

static void add_u32(struct gem_sha256 *s, uint32_t x)
{
    const uint8_t le[4] = {(uint8_t)x, (uint8_t)(x >> 8), (uint8_t)(x >> 16), (uint8_t)(x >> 24)};

    gem_sha256_add(s, le, sizeof le);
}

static void check_long(const struct gem_tokenizer *t, yyjson_val *c)
{
    const char *unit = yyjson_get_str(yyjson_obj_get(c, "unit"));
    const size_t n_unit = yyjson_get_len(yyjson_obj_get(c, "unit"));
    const size_t repeat = (size_t)yyjson_get_int(yyjson_obj_get(c, "repeat"));
    char *text = malloc(n_unit * repeat + 1), hex[65];
    struct gem_sha256 sha;
    size_t n_ids;
    int32_t *ids;

    for (size_t i = 0; i < repeat; i++) memcpy(text + i * n_unit, unit, n_unit);
    ids = cases_encode(t, text, n_unit * repeat, true, &n_ids);
    gem_sha256_begin(&sha);
    for (size_t i = 0; i < n_ids; i++) add_u32(&sha, (uint32_t)ids[i]);
    gem_digest_hex(gem_sha256_end(&sha), hex);
    CHECK_EQ(n_ids, yyjson_get_int(yyjson_obj_get(c, "n_ids")));
    CHECK_STR(hex, yyjson_get_str(yyjson_obj_get(c, "ids_sha256_u32le")));
    free(ids);
    free(text);
}

static void test_long(const struct gem_tokenizer *t, const char *folder)
{
    yyjson_doc *doc = load(folder, "long.json");
    yyjson_arr_iter it = cases_of(doc, 10);
    yyjson_val *c;

    while ((c = yyjson_arr_iter_next(&it))) check_long(t, c);
    yyjson_doc_free(doc);
}

static void hash_pieces(const struct gem_tokenizer *t, char *hex)
{
    struct gem_sha256 sha;

    gem_sha256_begin(&sha);
    for (uint32_t id = 0; id < gem_tokenizer_vocab(t); id++) {
        size_t n;
        const char *s = gem_tokenizer_piece(t, (int32_t)id, &n);
        add_u32(&sha, (uint32_t)n);
        gem_sha256_add(&sha, s, n);
        CHECK(gem_tokenizer_find(t, s, n) == (int32_t)id);
    }
    gem_digest_hex(gem_sha256_end(&sha), hex);
}

/* Of the pair table, in the order of ranks. */
static void hash_merges(const struct gem_tokenizer *t, char *hex)
{
    uint32_t *pairs = calloc(t->n_rules, 2 * sizeof *pairs);
    struct gem_sha256 sha;

    for (uint64_t i = 0; i < UINT64_C(1) << t->pair_bits; i++) {
        const uint32_t rank = (uint32_t)(t->pairs[i] & (GEM_TOKENIZER_MAX_RULES - 1));
        if (t->pairs[i] == 0) continue;
        pairs[2 * rank] = (uint32_t)(t->pairs[i] >> 42 & 0xfffff);
        pairs[2 * rank + 1] = (uint32_t)(t->pairs[i] >> 22 & 0xfffff);
    }
    gem_sha256_begin(&sha);
    for (uint32_t i = 0; i < 2 * t->n_rules; i++) add_u32(&sha, pairs[i]);
    gem_digest_hex(gem_sha256_end(&sha), hex);
    free(pairs);
}

static void test_vocab(const struct gem_tokenizer *t, const char *folder)
{
    yyjson_doc *doc = load(folder, "vocab.json");
    yyjson_val *root = yyjson_doc_get_root(doc), *added = yyjson_obj_get(root, "added_tokens"), *v;
    yyjson_arr_iter it = yyjson_arr_iter_with(added);
    uint32_t n_control = 0;
    char hex[65];

    CHECK_EQ(gem_tokenizer_vocab(t), yyjson_get_int(yyjson_obj_get(root, "vocab_size")));
    CHECK_EQ(t->n_rules, yyjson_get_int(yyjson_obj_get(root, "merges")));
    hash_pieces(t, hex);
    CHECK_STR(hex, yyjson_get_str(yyjson_obj_get(root, "pieces_sha256")));
    hash_merges(t, hex);
    CHECK_STR(hex, yyjson_get_str(yyjson_obj_get(root, "merges_sha256")));
    while ((v = yyjson_arr_iter_next(&it))) {
        yyjson_val *piece = yyjson_obj_get(v, "piece");
        const int32_t id = yyjson_get_int(yyjson_obj_get(v, "id"));
        CHECK_EQ(gem_tokenizer_find(t, yyjson_get_str(piece), yyjson_get_len(piece)), id);
        CHECK(gem_tokenizer_is_control(t, id));
    }
    for (uint32_t id = 0; id < gem_tokenizer_vocab(t); id++) n_control += gem_tokenizer_is_control(t, (int32_t)id);
    CHECK_EQ(n_control, 24);
    yyjson_doc_free(doc);
}

static void test_gemma3(void)
{
    const char *path = getenv("GEM_GEMMA3_GGUF");
    struct gem_tokenizer *t;

    if (!path || !*path) {
        printf("skipped: Gemma 3's tokenizer; GEM_GEMMA3_GGUF does not name a file\n");
        return;
    }
    t = cases_open(path);
    CHECK(cases_run(t, "golden/tokenizer/gemma3-cases.json") > 400);
    gem_tokenizer_close(t);
    printf("%-6s %s\n", check_failures ? "FAILED" : "ok", path);
}

int main(int argc, char **argv)
{
    static void (*const tests[])(const struct gem_tokenizer *t, const char *folder) = {test_vocab, test_encode,
                                                                                       test_decode, test_long};

    CHECK(argc >= 3);
    for (int i = 2; i < argc; i++) {
        struct gem_tokenizer *t = cases_open(argv[i]);
        for (size_t k = 0; t && k < sizeof tests / sizeof *tests; k++) tests[k](t, argv[1]);
        gem_tokenizer_close(t);
        printf("%-6s %s\n", check_failures ? "FAILED" : "ok", argv[i]);
    }
    test_gemma3();
    return check_failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
