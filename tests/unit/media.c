/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/media.c - images through the public API: what is refused, what is remembered, and that neither the way in
 * nor chunks, threads, caches and company change a bit. Expected values of the soft tokens themselves are in
 * tests/golden. Runs in tests/. */
#include <gemmule.h>

#include "media/video.h"

#include "unit/check.h"
#include "unit/content.h"

#include <unistd.h>

static const char models[] = "golden/models/";

enum { WIDTH = 37, HEIGHT = 23, MAX_TOKENS = 700 };

struct bench {
    gem_model *model;
    gem_engine *engine;
    size_t vocab, hidden;
    uint8_t pixels[2][HEIGHT * WIDTH * 3];
    gem_media *media[2];
    int32_t tokens[MAX_TOKENS]; /* 5 words, the first image, 3 words, the second, 6 words */
    size_t n;
    gem_media_at at[2];
};

static void must(gem_status st, const gem_error *err)
{
    if (!st) return;
    printf("%s\n", err->message);
    exit(1);
}

static gem_media *open_pixels(const struct bench *b, int i, uint32_t budget)
{
    const gem_image_source source = {.rgb = b->pixels[i], .width = WIDTH, .height = HEIGHT, .budget = budget};
    gem_media *media;
    gem_error err;

    must(gem_media_open_image(&media, b->model, &source, &err), &err);
    return media;
}

static void add_words(struct bench *b, int n)
{
    for (; n > 0; n--, b->n++) b->tokens[b->n] = (int32_t)(10 + 7 * b->n % 200);
}

static void add_media(struct bench *b, int i)
{
    gem_media_info info;

    gem_media_get_info(b->media[i], &info);
    b->tokens[b->n++] = info.begin;
    b->at[i] = (gem_media_at){b->media[i], b->n};
    for (uint32_t t = 0; t < info.n_tokens; t++) b->tokens[b->n++] = info.placeholder;
    b->tokens[b->n++] = info.end;
}

static void open_engine(struct bench *b, uint32_t threads, uint32_t chunk, uint64_t cache)
{
    const gem_engine_options o = {.n_threads = threads, .chunk = chunk, .media_cache_bytes = cache};
    gem_error err;

    must(gem_engine_open(&b->engine, b->model, &o, &err), &err);
}

static void open_bench(struct bench *b, const char *name, uint32_t budget)
{
    const gem_model_options o = {.precision = GEM_PRECISION_EXACT};
    char path[256];
    gem_error err;

    memset(b, 0, sizeof *b);
    snprintf(path, sizeof path, "%s%s/model", models, name);
    must(gem_model_open(&b->model, path, &o, &err), &err);
    b->vocab = gem_model_get_info(b->model)->vocab;
    b->hidden = gem_model_get_info(b->model)->hidden;
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < HEIGHT * WIDTH * 3; k++) b->pixels[i][k] = (uint8_t)(k * (7 + i) / 5);
        b->media[i] = open_pixels(b, i, budget);
    }
    add_words(b, 5);
    add_media(b, 0);
    add_words(b, 3);
    add_media(b, 1);
    add_words(b, 6);
    open_engine(b, 2, 64, 0);
}

static void close_bench(struct bench *b)
{
    for (int i = 0; i < 2; i++) gem_media_close(b->media[i]);
    gem_engine_close(b->engine);
    gem_model_close(b->model);
}

static gem_session *open_session(gem_engine *e)
{
    const gem_session_options o = {.context = 2000};
    gem_session *s;
    gem_error err;

    must(gem_session_open(&s, e, &o, &err), &err);
    return s;
}

static gem_advance whole(const struct bench *b, gem_session *s)
{
    return (gem_advance){.session = s, .tokens = b->tokens, .n_tokens = b->n, .media = b->at, .n_media = 2};
}

static void advance(gem_engine *e, gem_advance *it)
{
    gem_error err;

    must(gem_engine_advance(e, it, 1, NULL, NULL, &err), &err);
}

/* The call must fail with this status and words, and leave the session as it was. */
static void refuse(const struct bench *b, gem_session *s, gem_advance it, gem_status expected, const char *words)
{
    const int32_t *tokens;
    const size_t before = gem_session_tokens(s, &tokens);
    gem_error err = {0};
    const gem_status st = gem_engine_advance(b->engine, &it, 1, NULL, NULL, &err);

    if (st != expected || !strstr(err.message, words)) {
        printf("expected %s, %s; got %s: %s\n", gem_status_name(expected), words, gem_status_name(st), err.message);
        check_failures++;
    }
    CHECK_EQ(gem_session_tokens(s, &tokens), before);
}

/* ---- what is refused ------------------------------------------------------------------------------------------- */

static void test_places(void) /* placeholders and media must match one to one */
{
    struct bench b, other;
    gem_session *s;
    gem_media_at moved[2];
    gem_advance it;

    open_bench(&b, "media-e2b", 70);
    open_bench(&other, "media-e2b", 70);
    s = open_session(b.engine);
    it = whole(&b, s);
    it.n_media = 1;
    refuse(&b, s, it, GEM_E_ARGUMENT, "is a placeholder (240), but none of the 1 media stands there");
    it = whole(&b, s);
    it.media = moved;
    memcpy(moved, b.at, sizeof moved);
    moved[1].at++;
    refuse(&b, s, it, GEM_E_ARGUMENT, "media 1 needs");
    moved[1].at -= 2;
    refuse(&b, s, it, GEM_E_ARGUMENT, "there are 0");
    memcpy(moved, b.at, sizeof moved);
    moved[0] = b.at[1];
    moved[1] = b.at[0];
    it.n_media = 2;
    refuse(&b, s, it, GEM_E_ARGUMENT, "is a placeholder"); /* the first image is skipped */
    moved[0] = moved[1] = b.at[0];
    refuse(&b, s, it, GEM_E_ARGUMENT, "begins inside or before another");
    it = whole(&b, s);
    it.n_tokens = b.at[1].at + 4;
    refuse(&b, s, it, GEM_E_ARGUMENT, "there are 4");
    it = whole(&b, s);
    b.tokens[b.at[0].at + 3] = 9;
    refuse(&b, s, it, GEM_E_ARGUMENT, "there are 3");
    b.tokens[b.at[0].at + 3] = b.tokens[b.at[0].at];
    moved[0] = b.at[0];
    moved[1] = (gem_media_at){other.media[1], b.at[1].at};
    it.media = moved;
    refuse(&b, s, it, GEM_E_ARGUMENT, "opened for another model");
    it = whole(&b, s);
    advance(b.engine, &it);
    gem_session_close(s);
    close_bench(&other);
    close_bench(&b);
}

static void refuse_source(const gem_model *m, gem_image_source source, gem_status expected, const char *words)
{
    gem_media *media;
    gem_error err = {0};
    const gem_status st = gem_media_open_image(&media, m, &source, &err);

    if (st != expected || !strstr(err.message, words)) {
        printf("expected %s, %s; got %s: %s\n", gem_status_name(expected), words, gem_status_name(st), err.message);
        check_failures++;
    }
    CHECK(media == NULL);
}

static void test_sources(void)
{
    struct bench b;
    const uint8_t *rgb;

    open_bench(&b, "media-e2b", 70);
    rgb = b.pixels[0];
    refuse_source(b.model, (gem_image_source){0}, GEM_E_ARGUMENT, "exactly one of path, bytes and rgb");
    refuse_source(b.model, (gem_image_source){.rgb = rgb, .path = "x", .width = 1, .height = 1}, GEM_E_ARGUMENT,
                  "exactly one");
    refuse_source(b.model, (gem_image_source){.rgb = rgb, .width = 0, .height = 1}, GEM_E_LIMIT, "0 x 1 pixels");
    refuse_source(b.model, (gem_image_source){.rgb = rgb, .width = 100000, .height = 100000}, GEM_E_LIMIT,
                  "100 million");
    refuse_source(b.model, (gem_image_source){.rgb = rgb, .width = 10, .height = 1, .stride = 29}, GEM_E_ARGUMENT,
                  "stride");
    refuse_source(b.model, (gem_image_source){.rgb = rgb, .width = 1, .height = 1, .budget = 71}, GEM_E_ARGUMENT,
                  "allowed are 70, 140, 280, 560 and 1120");
    refuse_source(b.model, (gem_image_source){.rgb = rgb, .width = 1, .height = 1, .kind = GEM_MEDIA_AUDIO},
                  GEM_E_ARGUMENT, "neither an image");
    refuse_source(b.model, (gem_image_source){.path = "golden/none.png"}, GEM_E_IO, "golden/none.png");
    refuse_source(b.model, (gem_image_source){.path = "golden/README.md"},
                  gem_ffmpeg_is_built_in() ? GEM_E_FORMAT : GEM_E_UNSUPPORTED, "golden/README.md");
    refuse_source(b.model, (gem_image_source){.bytes = "\x89PNG\r\n\x1a\n", .n_bytes = 8, .name = "letter.png"},
                  GEM_E_FORMAT, "letter.png");
    close_bench(&b);
}

static void test_blind_model(void)
{
    gem_model *m;
    gem_error err;

    must(gem_model_open(&m, "golden/models/e2b/model", NULL, &err), &err);
    refuse_source(m, (gem_image_source){.path = "golden/media/files/rgb.png"}, GEM_E_UNSUPPORTED, "cannot see");
    gem_model_close(m);
    must(gem_model_open(&m, "golden/models/mixed-e2b/mixed.gguf", NULL, &err), &err);
    refuse_source(m, (gem_image_source){.path = "golden/media/files/rgb.png"}, GEM_E_UNSUPPORTED,
                  "no mmproj file was given");
    gem_model_close(m);
}

/* ---- ways in ----------------------------------------------------------------------------------------------------- */

static void test_ways_in(void) /* a path, its bytes and its pixels are the same image */
{
    struct bench b;
    gem_image_source source = {.path = "golden/media/files/rgb.png", .budget = 70};
    static uint8_t file[1 << 16];
    uint8_t rgb[23][40][3];
    gem_media *path, *bytes, *pixels, *frame;
    gem_error err;
    FILE *f = fopen(source.path, "rb");

    open_bench(&b, "media-e2b", 70);
    must(gem_media_open_image(&path, b.model, &source, &err), &err);
    source = (gem_image_source){.bytes = file, .n_bytes = fread(file, 1, sizeof file, f), .budget = 70};
    fclose(f);
    must(gem_media_open_image(&bytes, b.model, &source, &err), &err);
    for (int y = 0; y < 23; y++) /* the formula of tools/make_media_golden.py */
        for (int x = 0; x < 37; x++) {
            rgb[y][x][0] = (uint8_t)(7 * x + 3 * y);
            rgb[y][x][1] = (uint8_t)(x * y);
            rgb[y][x][2] = (uint8_t)(x ^ y);
        }
    source = (gem_image_source){.rgb = rgb[0][0], .width = 37, .height = 23, .stride = 120, .budget = 70};
    must(gem_media_open_image(&pixels, b.model, &source, &err), &err);
    source.kind = GEM_MEDIA_FRAME;
    source.budget = 0; /* of a frame 70 */
    must(gem_media_open_image(&frame, b.model, &source, &err), &err);
    CHECK(same_content(path, bytes));
    CHECK(same_content(path, pixels));
    CHECK(same_content(path, frame));
    CHECK(!same_content(path, b.media[0]));
    gem_media_close(path);
    gem_media_close(bytes);
    gem_media_close(pixels);
    gem_media_close(frame);
    close_bench(&b);
}

/* ---- what is remembered -------------------------------------------------------------------------------------------
 */

static void test_prefix_is_content(void) /* the same tokens with another image are another sequence */
{
    struct bench b;
    gem_session *s, *fresh;
    gem_media_at swapped[2];
    gem_advance it;

    open_bench(&b, "media-26b", 70);
    s = open_session(b.engine);
    fresh = open_session(b.engine);
    it = whole(&b, s);
    advance(b.engine, &it);
    CHECK_EQ(it.n_kept, 0);
    CHECK_EQ(it.n_encoded, 2);
    advance(b.engine, &it);
    CHECK_EQ(it.n_kept, b.n - 1);
    CHECK_EQ(it.n_encoded, 0);

    swapped[0] = b.at[0];
    swapped[1] = (gem_media_at){b.media[0], b.at[1].at};
    it.media = swapped;
    advance(b.engine, &it);
    CHECK_EQ(it.n_kept, b.at[1].at); /* up to the second image */
    CHECK_EQ(it.n_encoded, 0);       /* the first image's soft tokens serve twice */
    gem_advance again = whole(&b, fresh);
    again.media = swapped;
    advance(b.engine, &again);
    CHECK_EQ(again.n_encoded, 0); /* across sessions */
    CHECK(!memcmp(it.logits, again.logits, b.vocab * sizeof(float)));

    it.media = NULL; /* without media the placeholders read as padding */
    it.n_media = 0;
    advance(b.engine, &it);
    CHECK_EQ(it.n_kept, b.at[0].at);
    gem_session_close(s);
    gem_session_close(fresh);
    close_bench(&b);
}

static void test_ceiling(void) /* of the cache: what does not fit is encoded again, with the same result */
{
    struct bench b;
    gem_session *s;
    float *first;

    open_bench(&b, "media-e2b", 70);
    gem_engine_close(b.engine);
    open_engine(&b, 2, 64, 64 * 48 * sizeof(float) + 100); /* one image */
    first = malloc(b.vocab * sizeof *first);
    for (int round = 0; round < 2; round++) {
        gem_advance it;
        s = open_session(b.engine);
        it = whole(&b, s);
        advance(b.engine, &it);
        CHECK_EQ(it.n_encoded, round ? 1 : 2);
        if (round) CHECK(!memcmp(first, it.logits, b.vocab * sizeof *first));
        memcpy(first, it.logits, b.vocab * sizeof *first);
        gem_session_close(s);
    }
    free(first);
    close_bench(&b);
}

/* ---- same bits -----------------------------------------------------------------------------------------------------
 */

static bool keep_row(void *user, uint32_t position, const float *logits, size_t vocab)
{
    memcpy((float *)user + position * vocab, logits, vocab * sizeof *logits);
    return true;
}

/* Rows from `from` on, with another engine. */
static void check_rows(struct bench *b, const float *expected, uint32_t threads, uint32_t chunk, uint32_t from)
{
    float *rows = malloc(b->n * b->vocab * sizeof *rows);
    gem_session *s;

    gem_engine_close(b->engine);
    open_engine(b, threads, chunk, 0);
    s = open_session(b->engine);
    for (int warm = 0; warm < 2; warm++) { /* the second time a prefix is kept, which may end inside an image */
        gem_advance it = whole(b, s);
        it.on_logits = keep_row;
        it.logits_from = warm ? from : 0;
        it.user = rows;
        memset(rows, 0, b->n * b->vocab * sizeof *rows);
        advance(b->engine, &it);
        CHECK_EQ(it.n_kept, warm ? from : 0);
        if (memcmp(rows + it.logits_from * b->vocab, expected + it.logits_from * b->vocab,
                   (b->n - it.logits_from) * b->vocab * sizeof *rows)) {
            printf("threads %u, chunk %u, from row %u: other bits\n", threads, chunk, it.logits_from);
            check_failures++;
        }
    }
    gem_session_close(s);
    free(rows);
}

static void try_model(const char *name, uint32_t budget)
{
    struct bench b;
    float *rows;
    gem_session *s;
    gem_advance it;

    open_bench(&b, name, budget);
    rows = malloc(b.n * b.vocab * sizeof *rows);
    s = open_session(b.engine);
    it = whole(&b, s);
    it.on_logits = keep_row;
    it.user = rows;
    advance(b.engine, &it);
    gem_session_close(s);
    check_rows(&b, rows, 1, 1, 40);
    check_rows(&b, rows, 3, 7, (uint32_t)b.at[1].at + 5);
    check_rows(&b, rows, 2, 500, (uint32_t)b.n - 1);
    free(rows);
    close_bench(&b);
}

static void test_same_bits(void) /* images of 64 and 256 tokens, in chunks smaller and larger */
{
    try_model("media-e2b", 70);
    try_model("media-12b", 70);
    try_model("media-12b", 280);
    try_model("media-26b", 70);
}

static void test_company(void) /* together with a session of text in the same batches */
{
    struct bench b;
    gem_session *s[3];
    gem_advance items[3], alone;
    gem_error err;

    open_bench(&b, "media-12b", 70);
    for (int i = 0; i < 3; i++) s[i] = open_session(b.engine);
    alone = whole(&b, s[0]);
    advance(b.engine, &alone);
    items[0] = (gem_advance){.session = s[1], .tokens = b.tokens, .n_tokens = 5};
    items[1] = whole(&b, s[2]);
    gem_session_close(s[0]);
    s[0] = open_session(b.engine);
    items[2] = whole(&b, s[0]);
    float *expected = malloc(b.vocab * sizeof *expected);
    alone = whole(&b, s[0]);
    advance(b.engine, &alone);
    memcpy(expected, alone.logits, b.vocab * sizeof *expected);
    gem_session_close(s[0]);
    s[0] = open_session(b.engine);
    items[2] = whole(&b, s[0]);
    must(gem_engine_advance(b.engine, items, 3, NULL, NULL, &err), &err);
    CHECK(!memcmp(items[1].logits, expected, b.vocab * sizeof *expected));
    CHECK(!memcmp(items[2].logits, expected, b.vocab * sizeof *expected));
    free(expected);
    for (int i = 0; i < 3; i++) gem_session_close(s[i]);
    close_bench(&b);
}

static bool count_tokens(void *user, int32_t token)
{
    (void)token;
    ++*(int *)user;
    return true;
}

static void test_generate(void) /* a generated placeholder is no error; one in the prompt without media is */
{
    struct bench b;
    gem_session *s;
    gem_logit_bias bias = {.bias = 1000};
    gem_sampling greedy = {.bias = &bias, .n_bias = 1};
    gem_generate_options o = {.sampling = &greedy, .max_tokens = 4, .ignore_stop = true};
    gem_media_info info;
    gem_error err;
    int n = 0;

    open_bench(&b, "media-e2b", 70);
    gem_media_get_info(b.media[0], &info);
    bias.token = info.placeholder;
    o.media = b.at;
    o.n_media = 2;
    s = open_session(b.engine);
    CHECK_EQ(gem_generate(s, b.tokens, b.n, &o, count_tokens, &n, NULL, &err), GEM_OK);
    CHECK_EQ(n, 4);
    o.n_media = 1;
    CHECK_EQ(gem_generate(s, b.tokens, b.n, &o, count_tokens, &n, NULL, &err), GEM_E_ARGUMENT);
    gem_session_close(s);
    close_bench(&b);
}

/* ---- towers that are not what they should be --------------------------------------------------------------------- */

/* A copy of the committed mmproj file in which one name is another. */
static void write_damaged(const char *path, const char *name, const char *other)
{
    static uint8_t data[1 << 20];
    FILE *f = fopen("golden/models/media-e2b/mmproj.gguf", "rb");
    const size_t n = fread(data, 1, sizeof data, f);
    int changed = 0;

    fclose(f);
    for (size_t i = 0; i + strlen(name) < n && !changed; i++)
        if (!memcmp(data + i, name, strlen(name))) {
            memcpy(data + i, other, strlen(name));
            changed = 1;
        }
    CHECK(changed);
    f = fopen(path, "wb");
    fwrite(data, 1, n, f);
    fclose(f);
}

static void refuse_tower(const char *path, const char *words)
{
    const gem_model_options o = {.mmproj = path};
    const gem_image_source source = {.path = "golden/media/files/rgb.png"};
    gem_model *m = NULL;
    gem_engine *e = NULL;
    gem_media *media = NULL;
    const float *soft;
    gem_error err = {0};
    gem_status st;

    if (!(st = gem_model_open(&m, "golden/models/media-e2b/model", &o, &err)) &&
        !(st = gem_media_open_image(&media, m, &source, &err)) && !(st = gem_engine_open(&e, m, NULL, &err)))
        st = gem_engine_encode(e, media, &soft, &err);
    if (!st || !strstr(err.message, words)) {
        printf("expected %s; got %s: %s\n", words, gem_status_name(st), err.message);
        check_failures++;
    }
    gem_media_close(media);
    gem_engine_close(e);
    gem_model_close(m);
}

static void test_towers(void)
{
    char path[] = "/tmp/gemmule-media-XXXXXX";
    const int fd = mkstemp(path);

    CHECK(fd >= 0);
    close(fd);
    write_damaged(path, "v.blk.1.ln1.weight", "v.blk.1.lnX.weight");
    refuse_tower(path, "tensor 'v.blk.1.ln1.weight' is missing");
    write_damaged(path, "v.blk.0.attn_q.input_max", "v.blk.0.attn_q.input_mex");
    refuse_tower(path, "tensor 'v.blk.0.attn_q.input_max' is missing");
    write_damaged(path, "gemma4v", "gemma3v");
    refuse_tower(path, "projector of type gemma3v is not supported");
    write_damaged(path, "clip", "clap");
    refuse_tower(path, "not an mmproj file");
    refuse_tower("golden/models/mixed-e2b/mixed.gguf", "not an mmproj file");
    refuse_tower("golden/media/files/rgb.png", "rgb.png");
    unlink(path);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"places", test_places},       {"sources", test_sources},          {"blind-model", test_blind_model},
        {"ways-in", test_ways_in},     {"prefix", test_prefix_is_content}, {"ceiling", test_ceiling},
        {"same-bits", test_same_bits}, {"company", test_company},          {"generate", test_generate},
        {"towers", test_towers},
    };

    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
