/* SPDX-License-Identifier: Apache-2.0
 *
 * The promise of gemmule.h, "same bits": logits of a sequence do not depend on the number of threads, the size of
 * prefill chunks, what a session had kept, or which other sessions were computed in the same step. test_same_bits
 * [--quick] MODEL...    folders or GGUF files; each is tried in both precisions and on every tier of kernels, most
 * thoroughly on the best one; --quick: only on that one, for sanitizers */
#include <gemmule.h>

#include <stdint.h>

#include "unit/check.h"

enum { N_TOKENS = 600, N_OTHER = 37 }; /* attention takes spans of 256: three of them */

struct bench {
    gem_model *model;
    size_t vocab;
    int32_t tokens[N_TOKENS], other[N_OTHER];
    float *expected; /* [N_TOKENS, vocab]: one thread, one chunk */
    const char *what;
    bool int8_cache;
    bool quick; /* fewer combinations: for what other tiers or builds try in full */
};

static bool keep_row(void *user, uint32_t position, const float *logits, size_t vocab)
{
    memcpy((float *)user + position * vocab, logits, vocab * sizeof *logits);
    return true;
}

static gem_engine *open_engine(const struct bench *b, uint32_t threads, uint32_t chunk)
{
    const gem_engine_options o = {.n_threads = threads, .chunk = chunk};
    gem_engine *e;
    gem_error err;

    if (gem_engine_open(&e, b->model, &o, &err)) {
        printf("%s\n", err.message);
        exit(1);
    }
    return e;
}

static gem_session *open_session(const struct bench *b, gem_engine *e)
{
    const gem_session_options o = {.context = 1024, .local_slack = 64, .int8_cache = b->int8_cache};
    gem_session *s;
    gem_error err;

    if (gem_session_open(&s, e, &o, &err)) {
        printf("%s\n", err.message);
        exit(1);
    }
    return s;
}

static void advance(gem_engine *e, gem_advance *items, size_t n)
{
    gem_error err;

    if (gem_engine_advance(e, items, n, NULL, NULL, &err)) {
        printf("%s\n", err.message);
        exit(1);
    }
}

static void check_rows(const struct bench *b, const float *rows, size_t from, size_t to, const char *how, int a, int c)
{
    for (size_t i = from; i < to; i++)
        if (memcmp(rows + i * b->vocab, b->expected + i * b->vocab, b->vocab * sizeof *rows)) {
            printf("%s: %s %d, %d: logits of row %zu differ\n", b->what, how, a, c, i);
            check_failures++;
            return;
        }
}

/* All rows, with another number of threads and another chunk. */
static void try_threads_and_chunks(const struct bench *b)
{
    static const int chunks[] = {1, 7, 64, 256};
    float *rows = malloc(N_TOKENS * b->vocab * sizeof *rows);

    for (int threads = 1; threads <= 4; threads += b->quick ? 2 : 1)
        for (size_t c = b->quick ? (size_t)threads / 2 : 0; c < 4; c += b->quick ? 2 : 1) {
            gem_engine *e = open_engine(b, (uint32_t)threads, (uint32_t)chunks[c]);
            gem_session *s = open_session(b, e);
            gem_advance it = {
                .session = s, .tokens = b->tokens, .n_tokens = N_TOKENS, .on_logits = keep_row, .user = rows};

            memset(rows, 0xff, N_TOKENS * b->vocab * sizeof *rows);
            advance(e, &it, 1);
            check_rows(b, rows, 0, N_TOKENS, "threads, chunk", threads, chunks[c]);
            gem_session_close(s);
            gem_engine_close(e);
        }
    free(rows);
}

/* The last row alone, where layers that own no cache skip all other rows; token by token; and after the session was
 * used for another continuation and taken back. */
static void try_kept_prefixes(const struct bench *b)
{
    static const size_t cuts[] = {N_TOKENS - 1, 120, 60, 1};
    gem_engine *e = open_engine(b, 2, 64);
    gem_session *s = open_session(b, e);
    int32_t wrong[N_TOKENS + 20];

    for (size_t n = 1; n <= 40; n++) {
        gem_advance it = {.session = s, .tokens = b->tokens, .n_tokens = n};
        advance(e, &it, 1);
        CHECK_EQ(it.n_kept, n - 1);
        if (memcmp(it.logits, b->expected + (n - 1) * b->vocab, b->vocab * sizeof(float))) {
            printf("%s: token by token: logits of row %zu differ\n", b->what, n - 1);
            check_failures++;
            break;
        }
    }
    for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
        gem_advance away = {.session = s, .tokens = wrong, .n_tokens = N_TOKENS + 20, .no_logits = true};
        gem_advance back = {.session = s, .tokens = b->tokens, .n_tokens = N_TOKENS};

        memcpy(wrong, b->tokens, sizeof b->tokens);
        for (size_t i = cuts[c]; i < N_TOKENS + 20; i++) wrong[i] = (int32_t)((i * 31 + c) % (b->vocab - 8)) + 4;
        if (wrong[cuts[c]] == b->tokens[cuts[c]]) wrong[cuts[c]]++;
        advance(e, &away, 1);
        advance(e, &back, 1);
        CHECK(back.n_kept == cuts[c] || back.n_kept == 0);
        if (c == 0) CHECK_EQ(back.n_kept, cuts[c]); /* within the slack: must not be computed anew */
        if (memcmp(back.logits, b->expected + (N_TOKENS - 1) * b->vocab, b->vocab * sizeof(float))) {
            printf("%s: kept %zu of %d: the last row differs\n", b->what, back.n_kept, N_TOKENS);
            check_failures++;
        }
    }
    gem_session_close(s);
    gem_engine_close(e);
}

/* Together with sessions of other lengths, in the same chunks. */
static void try_company(const struct bench *b)
{
    gem_engine *e = open_engine(b, 2, 50);
    gem_session *s[3] = {open_session(b, e), open_session(b, e), open_session(b, e)};
    float *rows = malloc(N_TOKENS * b->vocab * sizeof *rows);
    gem_advance items[3] = {
        {.session = s[0], .tokens = b->other, .n_tokens = N_OTHER},
        {.session = s[1],
         .tokens = b->tokens,
         .n_tokens = N_TOKENS,
         .on_logits = keep_row,
         .logits_from = 3,
         .user = rows},
        {.session = s[2], .tokens = b->other, .n_tokens = 5},
    };

    advance(e, items, 3);
    check_rows(b, rows, 3, N_TOKENS, "with other sessions", 0, 0);
    CHECK(!memcmp(items[1].logits, b->expected + (N_TOKENS - 1) * b->vocab, b->vocab * sizeof(float)));
    for (int i = 0; i < 3; i++) gem_session_close(s[i]);
    free(rows);
    gem_engine_close(e);
}

static void try_model(const char *path, gem_precision precision, bool int8_cache, const char *cpu, bool quick)
{
    const gem_model_options o = {.precision = precision, .cpu = cpu};
    struct bench b = {.int8_cache = int8_cache};
    char what[512];
    gem_error err;
    gem_status st = gem_model_open(&b.model, path, &o, &err);

    if (st == GEM_E_UNSUPPORTED && strstr(err.message, "does not have")) return; /* a tier of another machine */
    snprintf(what, sizeof what, "%s, %s%s, %s", path, precision ? "exact" : "fast", int8_cache ? ", int8 cache" : "",
             cpu);
    b.what = what;
    b.quick = quick;
    if (st) {
        printf("%s: %s\n", what, err.message);
        check_failures++;
        return;
    }
    b.vocab = gem_model_get_info(b.model)->vocab;
    for (uint32_t i = 0, x = 12345; i < N_TOKENS; i++) {
        x = x * 1664525u + 1013904223u;
        b.tokens[i] = (int32_t)((x >> 8) % (b.vocab - 4)) + 4;
        if (i < N_OTHER) b.other[i] = (int32_t)((x >> 16) % (b.vocab - 4)) + 4;
    }
    b.expected = malloc(N_TOKENS * b.vocab * sizeof *b.expected);
    gem_engine *e = open_engine(&b, 1, 256);
    gem_session *s = open_session(&b, e);
    gem_advance it = {
        .session = s, .tokens = b.tokens, .n_tokens = N_TOKENS, .on_logits = keep_row, .user = b.expected};
    advance(e, &it, 1);
    gem_session_close(s);
    gem_engine_close(e);

    try_threads_and_chunks(&b);
    try_kept_prefixes(&b);
    try_company(&b);
    free(b.expected);
    gem_model_close(b.model);
    printf("%s %s\n", check_failures ? "FAILED" : "ok    ", what);
}

/* Of this machine; the string is static. */
static const char *best_tier(const char *path)
{
    const gem_model_options o = {.metadata_only = true};
    const char *best = NULL;
    gem_model *m;
    gem_error err;

    if (gem_model_open(&m, path, &o, &err)) {
        printf("%s\n", err.message);
        check_failures++;
        return NULL;
    }
    best = gem_model_get_info(m)->cpu;
    gem_model_close(m);
    return best;
}

int main(int argc, char **argv)
{
    static const char *const tiers[] = {"c", "avx2", "avxvnni", "avx512", "avx512bf16"};
    const bool quick = argc > 1 && !strcmp(argv[1], "--quick");

    for (int i = 1 + quick; i < argc; i++) {
        const char *best = best_tier(argv[i]);
        for (size_t t = 0; t < sizeof tiers / sizeof *tiers; t++) {
            const bool is_best = best && !strcmp(best, tiers[t]);
            if (quick && !is_best) continue;
            try_model(argv[i], GEM_PRECISION_EXACT, false, tiers[t], quick || !is_best);
            try_model(argv[i], GEM_PRECISION_FAST, false, tiers[t], quick || !is_best);
            try_model(argv[i], GEM_PRECISION_FAST, true, tiers[t], true);
        }
    }
    return check_failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
