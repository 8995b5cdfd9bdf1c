/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/tokenizer.c - the tokenizer without the released vocabulary (that is tokenizer_real.c): recorded ids of
 * small vocabularies (tools/make_tokenizer_golden.py), the definition as a second implementation, properties, and
 * what damaged files are told. */
#include "unit/allocations.h"
#include "unit/tokenizer_cases.h"
#include "unit/tokenizer_naive.h"
#include "unit/tokenizer_small.h"

#include <time.h>

#define GOLDEN   "golden/tokenizer/"
#define COUNT(a) (sizeof(a) / sizeof *(a))

static uint32_t rnd_state = 1;

static uint32_t rnd(uint32_t below)
{
    rnd_state = rnd_state * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)rnd_state * below >> 32);
}

static int32_t id_of(const struct gem_tokenizer *t, const char *piece)
{
    return gem_tokenizer_find(t, piece, strlen(piece));
}

/* ---- recorded ------------------------------------------------------------------------------------------ */

/* One tokenizer by merges from both kinds of file, and two by scores (one with a space in front). */
static void test_recorded_ids(void)
{
    static const char *const files[][2] = {
        {GOLDEN "small.json", GOLDEN "small-cases.json"},
        {GOLDEN "small.gguf", GOLDEN "small-cases.json"},
        {GOLDEN "llama.gguf", GOLDEN "llama-cases.json"},
        {GOLDEN "llama-prefix.gguf", GOLDEN "llama-prefix-cases.json"},
    };

    for (size_t i = 0; i < COUNT(files); i++) {
        struct gem_tokenizer *t = cases_open(files[i][0]);
        CHECK(cases_run(t, files[i][1]) > 100);
        gem_tokenizer_close(t);
    }
}

static void test_recorded_texts(void)
{
    struct gem_tokenizer *t = cases_open(GOLDEN "small.json");
    yyjson_doc *doc = cases_load(GOLDEN "small-cases.json");
    yyjson_val *list = yyjson_obj_get(yyjson_doc_get_root(doc), "decode"), *c;
    yyjson_arr_iter it = yyjson_arr_iter_with(list);

    CHECK(yyjson_arr_size(list) >= 100);
    while (t && (c = yyjson_arr_iter_next(&it))) {
        cases_text(t, yyjson_arr_get(c, 0), false, yyjson_arr_get(c, 1));
        cases_text(t, yyjson_arr_get(c, 0), true, yyjson_arr_get(c, 2));
    }
    yyjson_doc_free(doc);
    gem_tokenizer_close(t);
}

/* ---- against the definition ---------------------------------------------------------------------------- */

static void compare(const struct gem_tokenizer *t, const char *s, size_t n, bool control)
{
    int32_t *naive = malloc((n + 1) * sizeof *naive), *ids;
    size_t n_ids, n_naive = naive_encode(t, s, n, control, naive);

    ids = cases_encode(t, s, n, control, &n_ids);
    CHECK_EQ(n_ids, n_naive);
    CHECK(n_ids == n_naive && !memcmp(ids, naive, n_ids * sizeof *ids));
    free(ids);
    free(naive);
}

/* Words of all lengths around where the method of merging changes, texts long enough that words are remembered, and
 * scores with ties, of which the order from left to right decides. */
static void test_definition(void)
{
    static const char *const letters[] = {
        "e", "e ", "ab", "the ", "e \n", "ation s", "ABab12 \n", " <>/table", "\xe2\x82\xac e\xff"};
    static const char *const files[] = {GOLDEN "small.json", GOLDEN "llama.gguf"};
    static char text[2600];

    for (size_t f = 0; f < COUNT(files); f++) {
        struct gem_tokenizer *t = cases_open(files[f]);
        for (int i = 0; t && i < 1500 && check_failures == 0; i++) {
            const char *from = letters[rnd(COUNT(letters))];
            const size_t n = i % 50 == 0 ? sizeof text - rnd(100) : rnd(i % 5 ? 90 : 400);
            for (size_t k = 0; k < n; k++) text[k] = from[rnd((uint32_t)strlen(from))];
            compare(t, text, n, i % 2);
        }
        gem_tokenizer_close(t);
    }
}

/* The order of Gemma's merges is tame; any other, and ties, must work as well. */
static void test_any_order(void)
{
    static const char *const letters[] = {"a", "ab", "aaaab", "the", "aaaabth", "tte ", "ahb<|> "};
    char text[300];

    for (uint32_t seed = 0; seed < 3000 && check_failures == 0; seed++) {
        struct gem_tokenizer *t = small_open(seed % 2, seed);
        const char *from = letters[seed / 2 % COUNT(letters)];
        const size_t n = 30 + rnd(sizeof text - 30);
        for (size_t k = 0; k < n; k++) text[k] = from[rnd((uint32_t)strlen(from))];
        compare(t, text, n, false);
        gem_tokenizer_close(t);
    }
}

/* A megabyte of what cannot be cut must not take time that grows with its square: that would be an hour and more. */
static void test_long_runs(void)
{
    static const char *const units[] = {" ", "\n", "e", "th", "e ", "<|turn", "\xf0\x9f\x98\x80", "\xff"};
    struct gem_tokenizer *t = cases_open(GOLDEN "small.json");
    const size_t n = 1 << 20;
    char *text = malloc(n);
    const clock_t begin = clock();

    for (size_t i = 0; t && i < COUNT(units); i++) {
        const size_t n_unit = strlen(units[i]);
        size_t n_ids, n_back;
        int32_t *ids;
        char *back;
        for (size_t k = 0; k < n; k++) text[k] = units[i][k % n_unit];
        ids = cases_encode(t, text, n / n_unit * n_unit, true, &n_ids);
        back = cases_decode(t, ids, n_ids, true, &n_back);
        if (units[i][0] != '\xff') CHECK(n_back == n / n_unit * n_unit && !memcmp(back, text, n_back));
        free(back);
        free(ids);
    }
    CHECK((double)(clock() - begin) / CLOCKS_PER_SEC < 60);
    free(text);
    gem_tokenizer_close(t);
}

/* ---- properties ---------------------------------------------------------------------------------------- */

static void test_pieces(void)
{
    struct gem_tokenizer *t = cases_open(GOLDEN "small.json");
    size_t n;

    if (!t) return;
    CHECK_EQ(gem_tokenizer_vocab(t), 1024);
    CHECK(!memcmp(gem_tokenizer_piece(t, 15, &n), "<|turn>", 7) && n == 7);
    CHECK(!gem_tokenizer_piece(t, -1, &n) && n == 0);
    CHECK(!gem_tokenizer_piece(t, 1024, &n));
    CHECK_EQ(id_of(t, "<|turn>"), 15);
    CHECK_EQ(gem_tokenizer_find(t, "<|turn>", 6), -1);
    CHECK_EQ(gem_tokenizer_find(t, "", 0), -1);
    CHECK(gem_tokenizer_is_control(t, 15) && !gem_tokenizer_is_control(t, id_of(t, "the\xe2\x96\x81")));
    CHECK(!gem_tokenizer_is_control(t, -1) && !gem_tokenizer_is_control(t, 1024));
    gem_tokenizer_close(t);
}

/* Control tokens never come from text that must not make them, however it is spelled. */
static void test_control_stays_text(void)
{
    static const char *const files[] = {GOLDEN "small.json", GOLDEN "small.gguf", GOLDEN "llama.gguf"};

    for (size_t f = 0; f < COUNT(files); f++) {
        struct gem_tokenizer *t = cases_open(files[f]);
        for (int32_t id = 0; t && id < 1024; id++) {
            size_t n, n_ids, n_with;
            const char *piece = gem_tokenizer_piece(t, id, &n);
            int32_t *ids, *with;
            if (!gem_tokenizer_is_control(t, id)) continue;
            ids = cases_encode(t, piece, n, false, &n_ids);
            with = cases_encode(t, piece, n, true, &n_with);
            CHECK(n_ids > 1 && n_with == 1 && with[0] == id);
            for (size_t i = 0; i < n_ids; i++) CHECK(!gem_tokenizer_is_control(t, ids[i]));
            free(ids);
            free(with);
        }
        gem_tokenizer_close(t);
    }
}

/* GGUF files call some of the 24 user-defined and some normal; all are control tokens, as in tokenizer.json. */
static void test_gguf_control_tokens(void)
{
    struct gem_tokenizer *json = cases_open(GOLDEN "small.json"), *gguf = cases_open(GOLDEN "small.gguf");

    for (int32_t id = 0; json && gguf && id < 1024; id++)
        CHECK_EQ(gem_tokenizer_is_control(json, id), gem_tokenizer_is_control(gguf, id));
    gem_tokenizer_close(json);
    gem_tokenizer_close(gguf);
}

static void test_invalid_utf8(void)
{
    static const char text[] = "a\xff\xe2\x82z\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf\xf0\x9f\x98";
    static const char *const pieces[] = {"a",      "<0xFF>", "<0xE2>", "<0x82>", "z",      "<0xED>",
                                         "<0xA0>", "<0x80>", "<0xF4>", "<0x90>", "<0x80>", "<0x80>",
                                         "<0xC0>", "<0xAF>", "<0xF0>", "<0x9F>", "<0x98>"};
    struct gem_tokenizer *t = cases_open(GOLDEN "small.json");
    size_t n = 0;
    int32_t *ids = t ? cases_encode(t, text, sizeof text - 1, true, &n) : NULL;

    CHECK_EQ(n, COUNT(pieces));
    for (size_t i = 0; i < COUNT(pieces) && n == COUNT(pieces); i++) CHECK_EQ(ids[i], id_of(t, pieces[i]));
    free(ids);
    gem_tokenizer_close(t);
}

static void test_capacity(void)
{
    struct gem_tokenizer *t = cases_open(GOLDEN "small.json");
    static const char text[] = "You may reproduce and distribute copies of the Work";
    int32_t *all, some[8];
    char back[8];
    size_t n_all, n;

    if (!t) return;
    all = cases_encode(t, text, sizeof text - 1, false, &n_all);
    for (size_t cap = 0; cap < 5; cap++) {
        memset(some, 0x55, sizeof some);
        CHECK(!gem_tokenizer_encode(t, text, sizeof text - 1, false, some, cap, &n, NULL));
        CHECK(n == n_all && !memcmp(some, all, cap * sizeof *some) && some[cap] == 0x55555555);
        memset(back, 0x55, sizeof back);
        CHECK(!gem_tokenizer_decode(t, all, n_all, false, back, cap, &n, NULL));
        CHECK(n == sizeof text - 1 && !memcmp(back, text, cap) && back[cap] == 0x55);
    }
    free(all);
    gem_tokenizer_close(t);
}

static void test_ids_out_of_range(void)
{
    static const int32_t bad[] = {-1, 1024, INT32_MAX, INT32_MIN};
    struct gem_tokenizer *t = cases_open(GOLDEN "small.json");
    char text[GEM_TEXT_STREAM_MAX];
    size_t n = 1;

    for (size_t i = 0; t && i < COUNT(bad); i++) {
        gem_text_stream stream = {0};
        gem_error err = {0};
        CHECK(gem_tokenizer_decode(t, &bad[i], 1, true, text, sizeof text, &n, &err) == GEM_E_LIMIT && n == 0);
        CHECK(strstr(err.message, "1024"));
        CHECK(gem_tokenizer_stream_push(t, &stream, bad[i], text, &n, &err) == GEM_E_LIMIT && n == 0);
    }
    gem_tokenizer_close(t);
}

/* ---- streaming ----------------------------------------------------------------------------------------- */

/* What a stream gives for ids, each push checked to be whole characters. */
static size_t stream_all(const struct gem_tokenizer *t, const int32_t *ids, size_t n_ids, bool control, char *out)
{
    gem_text_stream stream = {.control = control};
    char part[GEM_TEXT_STREAM_MAX];
    size_t n_out = 0, n;

    for (size_t i = 0; i < n_ids; i++) {
        CHECK(!gem_tokenizer_stream_push(t, &stream, ids[i], part, &n, NULL));
        CHECK(n <= sizeof part && gem_utf8_valid(part, n));
        memcpy(out + n_out, part, n);
        n_out += n;
    }
    gem_text_stream_finish(&stream, part, &n);
    memcpy(out + n_out, part, n);
    return n_out + n;
}

/* Texts cut at random bytes, so that characters come apart into byte pieces: the stream, and all at once, give back
 * the text. */
static void test_stream_is_whole(void)
{
    struct gem_tokenizer *t = cases_open(GOLDEN "small.json");
    yyjson_doc *doc = cases_load(GOLDEN "small-cases.json");
    yyjson_val *c;
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(yyjson_doc_get_root(doc), "encode"));

    while (t && (c = yyjson_arr_iter_next(&it))) {
        const char *s = yyjson_get_str(yyjson_arr_get(c, 0));
        const size_t n = yyjson_get_len(yyjson_arr_get(c, 0));
        char out[4096], *whole;
        int32_t ids[1024];
        size_t n_ids = 0, n_part = 0, n_whole;
        if (strstr(s, "\xe2\x96\x81")) continue; /* comes back as a space */
        for (size_t at = 0; at < n; at += n_part) {
            size_t n_new;
            int32_t *new;
            n_part = 1 + rnd((uint32_t)(n - at));
            new = cases_encode(t, s + at, n_part, false, &n_new);
            memcpy(ids + n_ids, new, n_new * sizeof *new);
            n_ids += n_new;
            free(new);
        }
        whole = cases_decode(t, ids, n_ids, true, &n_whole);
        CHECK(n_whole == n && !memcmp(whole, s, n));
        CHECK(stream_all(t, ids, n_ids, true, out) == n && !memcmp(out, s, n));
        free(whole);
    }
    yyjson_doc_free(doc);
    gem_tokenizer_close(t);
}

#define BAD "\xef\xbf\xbd"

/* Broken characters: each byte of what is given up becomes U+FFFD, what follows is read anew. */
static void test_stream_broken(void)
{
    static const struct {
        const char *pieces; /* of one letter or "<...>" */
        bool control;
        const char *text;
    } cases[] = {
        {"<0xF0><0x9F>A", false, BAD BAD "A"},
        {"<0xF0><0x9F><0xF0><0x9F><0x98><0x80>", false, BAD BAD "\xf0\x9f\x98\x80"},
        {"<0xF0><0x9F><0x98>", false, BAD BAD BAD},
        {"<0xE2><0x41>", false, BAD "A"},
        {"<0x80><0xFF>a", false, BAD BAD "a"},
        {"<0xED><0xA0><0x80>", false, BAD BAD BAD},
        {"<0xC3><|turn><0xA9>", false, "\xc3\xa9"},
        {"<0xC3><|turn><0xA9>", true, BAD "<|turn>" BAD},
    };
    struct gem_tokenizer *t = cases_open(GOLDEN "small.json");

    for (size_t i = 0; t && i < COUNT(cases); i++) {
        char out[256] = "";
        int32_t ids[16];
        size_t n_ids = 0;
        for (const char *p = cases[i].pieces, *end; *p; p = end) {
            end = *p == '<' ? strchr(p, '>') + 1 : p + 1;
            ids[n_ids++] = gem_tokenizer_find(t, p, (size_t)(end - p));
        }
        out[stream_all(t, ids, n_ids, cases[i].control, out)] = '\0';
        CHECK_STR(out, cases[i].text);
    }
    gem_tokenizer_close(t);
}

/* ---- what damaged JSON is told ------------------------------------------------------------------------- */

static char *load_text(const char *path, size_t *n)
{
    struct gem_map map = {0};
    char *s;

    CHECK(!gem_map_open(&map, path, NULL));
    *n = (size_t)map.n_bytes;
    s = malloc(*n + 1);
    if (*n) memcpy(s, map.data, *n);
    s[*n] = '\0';
    gem_map_close(&map);
    return s;
}

/* A copy of s with the first `from` replaced. */
static char *replace(const char *s, const char *from, const char *to)
{
    const char *at = strstr(s, from);
    char *out = malloc(strlen(s) + strlen(to) + 1);

    CHECK(at != NULL);
    if (!at) at = s + strlen(s), to = from = "";
    sprintf(out, "%.*s%s%s", (int)(at - s), s, to, at + strlen(from));
    return out;
}

static const struct {
    const char *from, *to;
    gem_status status;
    const char *message;
} json_cases[] = {
    {"\"Replace\"", "\"NFKC\"", GEM_E_UNSUPPORTED, "normalizer \"NFKC\""},
    {"\"normalizer\": {", "\"normalizer\": null, \"was\": {", GEM_E_UNSUPPORTED, "normalizer"},
    {"{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xe2\x96\x81\"}",
     "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"\xe2\x96\x81\"}, {\"type\": "
     "\"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xe2\x96\x81\"}]}",
     GEM_E_UNSUPPORTED, "normalizer \"Sequence\""},
    {"\"Split\"", "\"ByteLevel\"", GEM_E_UNSUPPORTED, "pre_tokenizer \"ByteLevel\""},
    {"\"invert\": false", "\"invert\": true", GEM_E_UNSUPPORTED, "pre_tokenizer \"Split\""},
    {"\"TemplateProcessing\"", "\"ByteLevel\"", GEM_E_UNSUPPORTED, "post_processor \"ByteLevel\""},
    {"{\"type\": \"Fuse\"}", "{\"type\": \"Strip\"}", GEM_E_UNSUPPORTED, "decoder \"Sequence\""},
    {"{\"type\": \"ByteFallback\"}, ", "", GEM_E_UNSUPPORTED, "decoder \"Sequence\""},
    {"\"BPE\"", "\"Unigram\"", GEM_E_UNSUPPORTED, "model \"Unigram\""},
    {"\"byte_fallback\": true", "\"byte_fallback\": false", GEM_E_UNSUPPORTED, "byte_fallback"},
    {"\"dropout\": null", "\"dropout\": 0.1", GEM_E_UNSUPPORTED, "dropout"},
    {"\"end_of_word_suffix\": null", "\"end_of_word_suffix\": \"</w>\"", GEM_E_UNSUPPORTED, "end_of_word_suffix"},
    {"\"ignore_merges\": false", "\"ignore_merges\": true", GEM_E_UNSUPPORTED, "ignore_merges"},
    {"\"lstrip\": false", "\"lstrip\": true", GEM_E_UNSUPPORTED, "added token 0 \"<pad>\": lstrip"},
    {"\"content\": \"<pad>\"", "\"content\": \"<pud>\"", GEM_E_FORMAT, "id 0 is \"<pad>\""},
    {"\"content\": \"<pad>\"", "\"content\": \"\"", GEM_E_FORMAT, "added token 0"},
    {"\"id\": 0", "\"id\": 1048576", GEM_E_LIMIT, "\"<pad>\""},
    {"\"<eos>\": 1", "\"<eos>\": 0", GEM_E_FORMAT, "id 0"},
    {"\"<eos>\": 1", "\"<eos>\": -1", GEM_E_LIMIT, "\"<eos>\""},
    {"\"<eos>\": 1", "\"<eos>\": 1.5", GEM_E_LIMIT, "\"<eos>\""},
    {"\"<eos>\": 1", "\"<eos>\": 1000000", GEM_E_FORMAT, "pieces 1 and 1000000"},
    {"\"<0x41>\"", "\"<0x4l>\"", GEM_E_UNSUPPORTED, "<0x41> is missing"},
    {"\"\xe2\x96\x81\":", "\"\xe2\x96\x82\":", GEM_E_UNSUPPORTED, "U+2581"},
    {"\"merges\": [", "\"merges\": [[\"t\"], ", GEM_E_FORMAT, "merge 0"},
    {"\"merges\": [", "\"merges\": [7, ", GEM_E_FORMAT, "merge 0"},
    {"\"merges\": [", "\"merges\": [\"th\", ", GEM_E_FORMAT, "merge 0"},
    {"\"merges\": [", "\"merges\": [[\"t\", \"zzzz\"], ", GEM_E_FORMAT, "\"zzzz\""},
    {"\"merges\": [", "\"merges\": [[\"t\", \"h\"], [\"t\", \"h\"], ", GEM_E_FORMAT, "merge 1"},
    {"\"merges\": [", "\"merges\": [\"t h\", [\"t\", \"h\"], ", GEM_E_FORMAT, "merge 1"},
    {"\"merges\"", "\"mergers\"", GEM_E_FORMAT, "model.merges"},
    {"\"vocab\"", "\"vocabulary\"", GEM_E_FORMAT, "model.vocab"},
    {"{\"version\"", "[\"version\"", GEM_E_FORMAT, "small.json"},
};

static void test_json_errors(void)
{
    size_t n;
    char *good = load_text(GOLDEN "small.json", &n);

    for (size_t i = 0; i < COUNT(json_cases); i++) {
        char *s = replace(good, json_cases[i].from, json_cases[i].to);
        struct gem_tokenizer *t = NULL;
        gem_error err = {0};
        const gem_status st = gem_tokenizer_from_json(&t, "small.json", s, strlen(s), &err);
        CHECK_EQ(st, json_cases[i].status);
        CHECK(!t == (st != GEM_OK));
        if (st && json_cases[i].message && !strstr(err.message, json_cases[i].message)) {
            printf("\"%s\" does not say \"%s\"\n", err.message, json_cases[i].message);
            check_failures++;
        }
        gem_tokenizer_close(t);
        free(s);
    }
    free(good);
}

/* A merge that makes a control token would let users write it. */
static void test_json_merge_into_control(void)
{
    size_t n;
    char *good = load_text(GOLDEN "small.json", &n);
    char *s = replace(good, "\"content\": \"<eos>\"", "\"content\": \"th\"");
    char *s2 = replace(s, "{\"id\": 1,", "{\"id\": 400,");
    struct gem_tokenizer *t = NULL;
    gem_error err = {0};

    CHECK_EQ(gem_tokenizer_from_json(&t, "x", s2, strlen(s2), &err), GEM_E_FORMAT);
    CHECK(strstr(err.message, "control token"));
    free(s2);
    free(s);
    free(good);
}

/* "a b" is the older spelling of merges; the ids must not change. */
static void test_json_merge_strings(void)
{
    yyjson_doc *doc = cases_load(GOLDEN "small.json");
    yyjson_mut_doc *copy = yyjson_doc_mut_copy(doc, NULL);
    yyjson_mut_val *merges = yyjson_mut_doc_ptr_get(copy, "/model/merges"), *list = yyjson_mut_arr(copy);
    struct gem_tokenizer *t = NULL;
    size_t n = 0;
    char *s;

    for (size_t i = 0; i < yyjson_mut_arr_size(merges); i++) {
        yyjson_mut_val *pair = yyjson_mut_arr_get(merges, i);
        char both[128];
        snprintf(both, sizeof both, "%s %s", yyjson_mut_get_str(yyjson_mut_arr_get_first(pair)),
                 yyjson_mut_get_str(yyjson_mut_arr_get_last(pair)));
        yyjson_mut_arr_add_strcpy(copy, list, both);
    }
    yyjson_mut_obj_replace(yyjson_mut_doc_ptr_get(copy, "/model"), yyjson_mut_str(copy, "merges"), list);
    s = yyjson_mut_write(copy, 0, &n);
    CHECK(strstr(s, "\"t h\"") && !strstr(s, "[\"t\",\"h\"]"));
    CHECK(!gem_tokenizer_from_json(&t, "x", s, n, NULL));
    CHECK(cases_run(t, GOLDEN "small-cases.json") > 100);
    gem_tokenizer_close(t);
    free(s);
    yyjson_mut_doc_free(copy);
    yyjson_doc_free(doc);
}

/* Ids may have holes: these have no piece and no text. */
static void test_json_holes(void)
{
    struct gem_tokenizer *t = NULL;
    size_t n;
    char *good = load_text(GOLDEN "small.json", &n), *s = replace(good, ": 1010", ": 2000");
    const int32_t ids[] = {1010, 1500};

    CHECK(!gem_tokenizer_from_json(&t, "x", s, strlen(s), NULL));
    CHECK(t && gem_tokenizer_vocab(t) == 2001 && !gem_tokenizer_piece(t, 1010, &n) && gem_tokenizer_piece(t, 2000, &n));
    CHECK(t && !gem_tokenizer_decode(t, ids, 2, true, NULL, 0, &n, NULL) && n == 0);
    gem_tokenizer_close(t);
    free(s);
    free(good);
}

static void test_json_ceiling(void)
{
    const size_t n = ((size_t)64 << 20) + 1;
    struct gem_tokenizer *t = NULL;
    char *s = calloc(n, 1);

    CHECK_EQ(gem_tokenizer_from_json(&t, "x", s, n, NULL), GEM_E_LIMIT);
    free(s);
}

/* ---- what damaged GGUF metadata is told ---------------------------------------------------------------- */

/* A GGUF file of metadata alone. */
struct gguf {
    uint8_t data[1 << 16];
    size_t n;
    uint64_t n_kv;
};

static void gguf_put(struct gguf *g, const void *p, size_t n)
{
    memcpy(g->data + g->n, p, n);
    g->n += n;
}

static void gguf_u32(struct gguf *g, uint32_t x) { gguf_put(g, &x, sizeof x); } /* the tests run on little endian */
static void gguf_u64(struct gguf *g, uint64_t x) { gguf_put(g, &x, sizeof x); }

static void gguf_string(struct gguf *g, const char *s)
{
    gguf_u64(g, strlen(s));
    gguf_put(g, s, strlen(s));
}

static void gguf_begin(struct gguf *g)
{
    g->n = 0;
    g->n_kv = 0;
    gguf_put(g, "GGUF\3\0\0\0", 8);
    gguf_u64(g, 0); /* tensors */
    gguf_u64(g, 0); /* keys: gguf_end */
}

static void gguf_end(struct gguf *g) { memcpy(g->data + 16, &g->n_kv, 8); }

static void gguf_key(struct gguf *g, const char *key, enum gem_kv_type type)
{
    gguf_string(g, key);
    gguf_u32(g, type);
    g->n_kv++;
}

static void gguf_array(struct gguf *g, const char *key, enum gem_kv_type element, uint64_t n)
{
    gguf_key(g, key, GEM_KV_ARRAY);
    gguf_u32(g, element);
    gguf_u64(g, n);
}

/* What a file says; the tests below change one thing each. Pieces: the bytes, then `pieces`. */
struct plan {
    const char *model;
    const char *pieces[8];
    int types[8];
    bool no_tokens, no_types, no_merges, no_scores, bad_scores;
    int fewer_types, fewer_scores; /* than pieces */
    bool bytes_normal;
    const char *merges[4];
};

static void build(struct gguf *g, const struct plan *p)
{
    uint32_t n = 256;

    while (n < 264 && p->pieces[n - 256]) n++;
    gguf_begin(g);
    if (p->model) {
        gguf_key(g, "tokenizer.ggml.model", GEM_KV_STRING);
        gguf_string(g, p->model);
    }
    if (!p->no_tokens) {
        gguf_array(g, "tokenizer.ggml.tokens", GEM_KV_STRING, n);
        for (uint32_t i = 0; i < n; i++) {
            char byte[8];
            snprintf(byte, sizeof byte, "<0x%02X>", i & 0xff);
            gguf_string(g, i < 256 ? byte : p->pieces[i - 256]);
        }
    }
    if (!p->no_types) {
        gguf_array(g, "tokenizer.ggml.token_type", GEM_KV_I32, n - (uint32_t)p->fewer_types);
        for (uint32_t i = 0; i < n - (uint32_t)p->fewer_types; i++)
            gguf_u32(g, (uint32_t)(i >= 256 ? p->types[i - 256] : p->bytes_normal ? 1 : 6));
    }
    if (!p->no_scores) {
        gguf_array(g, "tokenizer.ggml.scores", GEM_KV_F32, n - (uint32_t)p->fewer_scores);
        for (uint32_t i = 0; i < n - (uint32_t)p->fewer_scores; i++)
            gguf_u32(g, p->bad_scores ? 0x7fc00000 : 0xbf800000); /* NaN, -1 */
    }
    if (!p->no_merges) {
        uint64_t n_merges = 0;
        while (n_merges < 4 && p->merges[n_merges]) n_merges++;
        gguf_array(g, "tokenizer.ggml.merges", GEM_KV_STRING, n_merges);
        for (uint64_t i = 0; i < n_merges; i++) gguf_string(g, p->merges[i]);
    }
    gguf_end(g);
}

static gem_status open_plan(const struct plan *p, struct gem_tokenizer **t, gem_error *err)
{
    static struct gguf g;
    struct gem_archive a = {0};
    gem_status st;

    build(&g, p);
    CHECK(!gem_gguf_parse(&a, "plan.gguf", g.data, g.n, NULL));
    st = gem_tokenizer_from_gguf(t, &a, err);
    gem_archive_close(&a);
    return st;
}

#define MARK "\xe2\x96\x81"
#define GOOD .pieces = {MARK, "a", "b", "ab", "<eos>"}, .types = {1, 1, 1, 1, 3}

static const struct {
    struct plan plan;
    gem_status status;
    const char *message;
} gguf_cases[] = {
    {{.model = "gemma4", GOOD, .merges = {"a b"}}, GEM_OK, NULL},
    {{.model = "llama", GOOD}, GEM_OK, NULL},
    {{.model = "llama", GOOD, .no_merges = true}, GEM_OK, NULL},
    {{.model = "gemma4", GOOD, .no_scores = true}, GEM_OK, NULL},
    {{.model = "gpt2", GOOD}, GEM_E_UNSUPPORTED, "\"gpt2\""},
    {{GOOD}, GEM_E_FORMAT, "tokenizer.ggml.model"},
    {{.model = "gemma4", GOOD, .no_tokens = true}, GEM_E_FORMAT, "tokenizer.ggml.tokens"},
    {{.model = "gemma4", GOOD, .no_types = true}, GEM_E_FORMAT, "tokenizer.ggml.token_type"},
    {{.model = "gemma4", GOOD, .fewer_types = 1}, GEM_E_FORMAT, "token_type has 260 entries, the vocabulary 261"},
    {{.model = "gemma4", GOOD, .no_merges = true}, GEM_E_FORMAT, "tokenizer.ggml.merges"},
    {{.model = "llama", GOOD, .no_scores = true}, GEM_E_FORMAT, "tokenizer.ggml.scores"},
    {{.model = "llama", GOOD, .fewer_scores = 2}, GEM_E_FORMAT, "scores has 259 entries"},
    {{.model = "llama", GOOD, .bad_scores = true}, GEM_E_FORMAT, "scores[0]"},
    {{.model = "gemma4", GOOD, .merges = {"a b", "ab"}}, GEM_E_FORMAT, "merges[1]"},
    {{.model = "gemma4", GOOD, .merges = {"a c"}}, GEM_E_FORMAT, "\"c\""},
    {{.model = "gemma4", GOOD, .merges = {"b a"}}, GEM_E_FORMAT, "merge 0"},
    {{.model = "gemma4", GOOD, .merges = {"a b", "a b"}}, GEM_E_FORMAT, "merge 1"},
    {{.model = "gemma4", GOOD, .bytes_normal = true}, GEM_E_UNSUPPORTED, "<0x00> is missing"},
    {{.model = "gemma4", .pieces = {MARK, "a"}, .types = {1, 7}}, GEM_E_FORMAT, "token_type[257] is 7"},
    {{.model = "gemma4", .pieces = {MARK, "a"}, .types = {1, 6}}, GEM_E_FORMAT, "byte piece 257"},
    {{.model = "gemma4", .pieces = {MARK, "a", "a"}, .types = {1, 1, 1}}, GEM_E_FORMAT, "257 and 258"},
    {{.model = "gemma4", .pieces = {MARK, "\xc3"}, .types = {1, 1}}, GEM_E_FORMAT, "257 is not UTF-8"},
    {{.model = "gemma4", .pieces = {"a"}, .types = {1}}, GEM_E_UNSUPPORTED, "U+2581"},
    {{.model = "gemma4", .pieces = {MARK, "<", "eos>", "<eos>"}, .types = {1, 1, 1, 1}, .merges = {"< eos>"}},
     GEM_E_FORMAT,
     "control token"}, /* <eos> is one whatever its type says */
};

static void test_gguf_errors(void)
{
    for (size_t i = 0; i < COUNT(gguf_cases); i++) {
        struct gem_tokenizer *t = NULL;
        gem_error err = {0};
        const gem_status st = open_plan(&gguf_cases[i].plan, &t, &err);
        if (st != gguf_cases[i].status || !t == !st || (st && !strstr(err.message, gguf_cases[i].message))) {
            printf("case %zu: %s \"%s\"\n", i, gem_status_name(st), err.message);
            check_failures++;
        }
        gem_tokenizer_close(t);
    }
}

static void test_gguf_without_tokenizer(void)
{
    static const struct plan nothing = {.no_tokens = true, .no_types = true, .no_scores = true, .no_merges = true};
    struct gem_tokenizer *t = (struct gem_tokenizer *)&check_failures;

    CHECK_EQ(open_plan(&nothing, &t, NULL), GEM_OK);
    CHECK(t == NULL);
}

/* ---- without memory ------------------------------------------------------------------------------------ */

static char *oom_json;
static size_t oom_n;

/* All that allocates: opening from both, and a word long enough for every kind of scratch. */
static gem_status work(gem_error *err)
{
    static char text[3000];
    static int32_t ids[3000];
    struct gem_archive a = {0};
    struct gem_tokenizer *t = NULL;
    size_t n_ids;
    gem_status st;

    memset(text, 'e', sizeof text);
    if ((st = gem_tokenizer_from_json(&t, "small.json", oom_json, oom_n, err))) return st;
    st = gem_tokenizer_encode(t, text, sizeof text, false, ids, 3000, &n_ids, err);
    gem_tokenizer_close(t);
    if (st) return st;
    if ((st = gem_gguf_open(&a, GOLDEN "llama.gguf", err))) return st;
    st = gem_tokenizer_from_gguf(&t, &a, err);
    gem_tokenizer_close(t);
    gem_archive_close(&a);
    return st;
}

static void test_no_memory(void)
{
    size_t n = 1;

    oom_json = load_text(GOLDEN "small.json", &oom_n);
    for (size_t i = 0; i < n && check_failures == 0; i++) {
        gem_error err = {0};
        struct allocations a;
        gem_status st;
        allocations_begin(i ? i - 1 : SIZE_MAX, false); /* the first time all goes well, to count */
        st = work(&err);
        a = allocations_end();
        if (i == 0) n = a.n_requests + 1;
        CHECK(i == 0 ? st == GEM_OK : (st == GEM_E_NOMEM || st == GEM_E_IO) && err.code == st && err.message[0]);
        CHECK(a.n_blocks == 0 && a.n_maps == 0);
    }
    CHECK(n > 30);
    free(oom_json);
}

static const struct check_test tests[] = {
    {"recorded_ids", test_recorded_ids},
    {"recorded_texts", test_recorded_texts},
    {"definition", test_definition},
    {"any_order", test_any_order},
    {"long_runs", test_long_runs},
    {"pieces", test_pieces},
    {"control_stays_text", test_control_stays_text},
    {"gguf_control_tokens", test_gguf_control_tokens},
    {"invalid_utf8", test_invalid_utf8},
    {"capacity", test_capacity},
    {"ids_out_of_range", test_ids_out_of_range},
    {"stream_is_whole", test_stream_is_whole},
    {"stream_broken", test_stream_broken},
    {"json_errors", test_json_errors},
    {"json_merge_into_control", test_json_merge_into_control},
    {"json_merge_strings", test_json_merge_strings},
    {"json_holes", test_json_holes},
    {"json_ceiling", test_json_ceiling},
    {"gguf_errors", test_gguf_errors},
    {"gguf_without_tokenizer", test_gguf_without_tokenizer},
    {"no_memory", test_no_memory},
};

int main(int argc, char **argv) { return check_main(tests, COUNT(tests), argc, argv); }
