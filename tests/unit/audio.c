/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/audio.c - sound to soft tokens, against what transformers computes (tests/golden/audio, made by
 * tools/lab/make_audio.py; the golden models of the folder that GEM_SHARED names, where it does). */
#include "audio/audio.h"

#include "media/sound.h"
#include "unit/check.h"

#include <dirent.h>
#include <math.h>

/* ---- help ---------------------------------------------------------------------------------------------------- */

static float *floats(size_t n)
{
    float *p = calloc(n + !n, sizeof *p);

    if (!p) exit(2);
    return p;
}

/* make_audio.py's. */
static float *signal_of(uint64_t n, uint32_t seed)
{
    float *out = floats(n);
    uint32_t state = seed;

    for (uint64_t i = 0; i < n; i++) {
        const int64_t period = 20 + 11 * (int64_t)((i / 3000 + seed) % 17), at = (int64_t)(i % (uint64_t)period);
        const int64_t tone = (2 * at < period ? 2 * at : 2 * (period - at)) * 16000 / period - 8000;
        const int64_t loud = tone * (int64_t)((i >> 11) & 3), third = loud / 3 - (loud % 3 < 0);

        state = state * 1664525u + 1013904223u;
        const int64_t noise = (int64_t)(state >> 20) - 2048, quarter = noise / 4 - (noise % 4 < 0); /* rounded down */
        out[i] = (float)(quarter + third) / 32768;
    }
    return out;
}

/* rms(got - want) / rms(want) */
static double distance(const float *got, const float *want, size_t n)
{
    double error = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        const double d = (double)got[i] - (double)want[i];
        error += d * d;
        size += (double)want[i] * (double)want[i];
    }
    return sqrt(error / (size > 0 ? size : 1));
}

static void check_close(const char *what, const char *tensor, const float *got, const float *want, size_t n,
                        double bound)
{
    const double d = distance(got, want, n);

    if (getenv("GEM_VERBOSE")) printf("       %s: %s %.2e\n", what, tensor, d);
    if (d <= bound) return; /* NaN is not */
    printf("%s: %s is off by %.3e, bound %.1e\n", what, tensor, d, bound);
    check_failures++;
}

struct bench {
    struct gem_archive archive;
    struct gem_audio_weights w;
    struct gem_kernels kern;
    struct gem_pool *pool;
    struct gem_audio_encoder e;
};

static bool open_archive(struct gem_archive *a, const char *path)
{
    const size_t n = strlen(path);
    gem_error err = {0};
    const bool gguf = n > 5 && !strcmp(path + n - 5, ".gguf");

    if (!(gguf ? gem_gguf_open(a, path, &err) : gem_safetensors_open(a, path, &err))) return true;
    printf("%s\n", err.message);
    check_failures++;
    return false;
}

static uint32_t text_hidden(const struct gem_archive *a)
{
    const struct gem_tensor *t = gem_archive_tensor(a, a->is_gguf ? "mm.a.input_projection.weight"
                                                                  : "model.embed_audio.embedding_projection.weight");

    return t ? (uint32_t)t->shape[0] : 0;
}

static bool open_bench(struct bench *b, const char *path, unsigned n_threads, uint32_t max_rows, bool fast)
{
    gem_error err = {0};

    *b = (struct bench){0};
    gem_kernels_init(&b->kern, gem_cpu_flags());
    if (!open_archive(&b->archive, path)) return false;
    if (gem_pool_open(&b->pool, n_threads, &err) ||
        gem_audio_bind(&b->w, &b->archive, text_hidden(&b->archive), &err) ||
        (fast && gem_audio_pack(&b->w, &b->kern, b->pool, &err)) ||
        gem_audio_open(&b->e, &b->w, &b->kern, b->pool, max_rows, &err)) {
        printf("%s: %s\n", path, err.message);
        check_failures++;
        return false;
    }
    CHECK_EQ(b->e.arena.used, b->e.arena.cap); /* what was computed is what was taken */
    CHECK_EQ(b->e.arena.cap, gem_audio_bytes(&b->w, max_rows, n_threads));
    return true;
}

static void close_bench(struct bench *b)
{
    gem_audio_close(&b->e);
    gem_audio_weights_close(&b->w);
    gem_pool_close(b->pool);
    gem_archive_close(&b->archive);
}

static uint64_t all_tokens(const struct gem_audio_weights *w, uint64_t n)
{
    struct gem_audio_piece p;
    uint64_t sum = 0;

    for (uint32_t i = 0; (p = gem_audio_piece(w->raw, n, i)).n_samples; i++) sum += p.n_tokens;
    return sum;
}

/* All pieces, one after the other. */
static float *encode_all(struct bench *b, const float *pcm, uint64_t n)
{
    float *out = floats(all_tokens(&b->w, n) * b->w.text_hidden), *at = out;
    struct gem_audio_piece p;
    gem_error err = {0};

    for (uint32_t i = 0; (p = gem_audio_piece(b->w.raw, n, i)).n_samples; i++) {
        if (gem_audio_encode(&b->e, pcm + p.begin, p.n_samples, at, &err)) {
            printf("%s\n", err.message);
            check_failures++;
        }
        at += (size_t)p.n_tokens * b->w.text_hidden;
    }
    return out;
}

/* ---- golden cases -------------------------------------------------------------------------------------------- */

static void check_features(const struct bench *b, const char *what, const struct gem_tensor *want, const float *pcm,
                           uint64_t n)
{
    const uint64_t n_frames = gem_mel_frames(n), step = want->shape[0] < n_frames ? 100 : 1;
    float *f = floats(n_frames * GEM_MEL_BANDS);

    gem_mel_features(&b->e.mel, pcm, n, f);
    CHECK_EQ(want->shape[0], (n_frames + step - 1) / step);
    for (uint64_t i = 0; i < want->shape[0]; i++)
        memmove(f + i * GEM_MEL_BANDS, f + i * step * GEM_MEL_BANDS, GEM_MEL_BANDS * sizeof *f);
    check_close(what, "features", f, (const float *)(const void *)want->data, want->shape[0] * GEM_MEL_BANDS, 1e-5);
    free(f);
}

static void check_soft(struct bench *b, const char *what, const struct gem_tensor *want, uint64_t skip,
                       const float *pcm, uint64_t n, double bound)
{
    const uint64_t n_tokens = all_tokens(&b->w, n), hidden = b->w.text_hidden;
    const uint64_t rows = want->shape[0] - skip, step = rows < n_tokens ? 25 : 1;
    float *soft = encode_all(b, pcm, n);

    CHECK_EQ(want->shape[1], hidden);
    CHECK_EQ(rows, (n_tokens + step - 1) / step);
    if (rows != (n_tokens + step - 1) / step) goto out;
    for (uint64_t i = 0; i < rows; i++) memmove(soft + i * hidden, soft + i * step * hidden, hidden * sizeof *soft);
    check_close(what, "soft", soft, (const float *)(const void *)want->data + skip * hidden, rows * hidden, bound);
out:
    free(soft);
}

/* SAMPLES-SEED[-all].safetensors; false: the file is something else, or too long for a second look. */
static bool check_case(struct bench *b, const char *dir, const char *name, double bound, bool all)
{
    struct gem_archive golden = {0};
    const struct gem_tensor *features, *soft;
    unsigned long long n;
    unsigned seed;
    char path[512];
    float *pcm;

    if (sscanf(name, "%llu-%u", &n, &seed) != 2 || (!all && strstr(name, "-all"))) return false;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (!open_archive(&golden, path)) return true;
    pcm = signal_of(n, seed);
    features = gem_archive_tensor(&golden, "features");
    soft = gem_archive_tensor(&golden, "soft");
    if (features) check_features(b, path, features, pcm, n);
    if (soft) check_soft(b, path, soft, 0, pcm, n, bound);
    free(pcm);
    gem_archive_close(&golden);
    return true;
}

static int check_folder(const char *dir, const char *model, bool fast, double bound, bool all)
{
    char path[512];
    struct dirent *entry;
    struct bench b;
    int n = 0;
    DIR *d;

    snprintf(path, sizeof path, "%s/%s", dir, model);
    if (!(d = opendir(dir))) return 0;
    if (open_bench(&b, path, 2, 0, fast))
        while ((entry = readdir(d))) n += check_case(&b, dir, entry->d_name, bound, all);
    close_bench(&b);
    closedir(d);
    return n;
}

/* What the fast tier promises. */
static void test_fast(void)
{
    CHECK_EQ(check_folder("golden/audio/tower", "model.safetensors", true, 2e-2, false), 3);
    CHECK_EQ(check_folder("golden/audio/tower", "mmproj.gguf", true, 2e-2, false), 3);
    CHECK_EQ(check_folder("golden/audio/tower-q8", "model.gguf", true, 2e-2, true), 3);
    CHECK_EQ(check_folder("golden/audio/raw", "model.safetensors", true, 2e-2, true), 5);
}

static void test_golden(void)
{
    CHECK_EQ(check_folder("golden/audio/tower", "model.safetensors", false, 2e-4, true), 5);
    CHECK_EQ(check_folder("golden/audio/tower", "mmproj.gguf", false, 2e-4, false), 3);
    CHECK_EQ(check_folder("golden/audio/tower-q8", "model.gguf", false, 2e-4, true), 3);
    CHECK_EQ(check_folder("golden/audio/raw", "model.safetensors", false, 2e-4, true), 5);
}

/* ---- golden models of the shared folder ---------------------------------------------------------------------- */

static bool read_file(const char *path, uint8_t **bytes, size_t *n)
{
    FILE *f = fopen(path, "rb");

    *bytes = malloc(1 << 22);
    if (!f || !*bytes) return false;
    *n = fread(*bytes, 1, 1 << 22, f);
    fclose(f);
    return true;
}

/* A case whose sound comes last among its media. */
static void check_model(const char *root, const char *model, const char *weights, const char *name, const char *wav)
{
    struct gem_archive golden = {0};
    const struct gem_tensor *features, *soft;
    struct gem_sound sound = {0};
    gem_error err = {0};
    char path[512];
    uint8_t *bytes = NULL;
    size_t n = 0;
    struct bench b;

    snprintf(path, sizeof path, "%s/golden/models/%s/%s", root, model, weights);
    if (!open_bench(&b, path, 2, 0, false)) return;
    snprintf(path, sizeof path, "%s/golden/models/%s/%s.%s", root, model, name, wav);
    if (!read_file(path, &bytes, &n) || gem_sound_from_wav(&sound, path, bytes, n, &err)) {
        printf("%s: %s\n", path, err.message);
        check_failures++;
    }
    snprintf(path, sizeof path, "%s/golden/models/%s/%s.safetensors", root, model, name);
    if (open_archive(&golden, path)) {
        features = gem_archive_tensor(&golden, "features");
        soft = gem_archive_tensor(&golden, "soft");
        if (features) check_features(&b, path, features, sound.pcm, sound.n);
        check_soft(&b, path, soft, soft->shape[0] - gem_audio_tokens(b.w.raw, sound.n), sound.pcm, sound.n, 2e-4);
    }
    gem_archive_close(&golden);
    gem_sound_close(&sound);
    free(bytes);
    close_bench(&b);
}

static void test_shared(void)
{
    const char *root = getenv("GEM_SHARED");

    if (!root) {
        printf("       skipped: GEM_SHARED names no folder\n");
        return;
    }
    check_model(root, "e2b", "model", "audio", "1.wav");
    check_model(root, "e2b", "mmproj.gguf", "audio", "1.wav");
    check_model(root, "e2b", "model", "mixed", "3.wav");
    check_model(root, "e4b", "model", "audio", "1.wav");
    check_model(root, "12b", "model", "audio", "1.wav");
    check_model(root, "12b", "mmproj.gguf", "audio", "1.wav");
}

/* Folders made by make_audio.py --more. */
static void test_more(void)
{
    const char *root = getenv("GEM_AUDIO_MORE");
    char path[512];
    int n;

    if (!root) {
        printf("       skipped: GEM_AUDIO_MORE names no folder\n");
        return;
    }
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/more-%d", root, i);
        n = check_folder(path, "model.safetensors", false, 2e-4, true);
        CHECK_EQ(n, 11);
    }
    snprintf(path, sizeof path, "%s/calm", root);
    CHECK_EQ(check_folder(path, "model.safetensors", false, 2e-5, true), 2);
    CHECK_EQ(check_folder(path, "model.safetensors", true, 2e-2, true), 2);
}

/* ---- features ------------------------------------------------------------------------------------------------ */

static void check_bands(const float *frame, const double *want)
{
    static const int bands[] = {0, 10, 21, 22, 23, 39, 40, 41, 64, 127};

    for (int i = 0; i < 10; i++) CHECK(fabs((double)frame[bands[i]] - want[i]) < 6e-5);
}

/* spec/multimodal.md 4.1, where transformers gave the same. */
static void test_tones(void)
{
    static const double first[] = {-6.9078, 0.0496, 2.6450, 2.3710, 2.3866, 0.1030, 0.0240, -0.0582, -1.2413, -2.1530};
    static const double tenth[] = {-6.9078, -3.9339, 2.4005,  2.8326,  2.9156,
                                   -4.0306, -4.4584, -4.1716, -6.4594, -6.9017};
    static const double high[] = {-6.9078, -6.7087, -5.4162, -6.2630, -6.1338,
                                  -2.4403, -1.2658, -0.6960, -5.8869, -6.8993};
    enum { N = 16000, FRAMES = 99 };
    const double turn = 2 * 3.14159265358979323846 / 16000;
    float *pcm = floats(N), *f = floats(FRAMES * GEM_MEL_BANDS);
    struct gem_mel mel;

    gem_mel_init(&mel);
    CHECK_EQ(gem_mel_frames(N), FRAMES);
    for (int i = 0; i < N; i++) pcm[i] = (float)(0.5 * sin(turn * 440 * i));
    gem_mel_features(&mel, pcm, N, f);
    check_bands(f, first);
    check_bands(f + 10 * GEM_MEL_BANDS, tenth);
    for (int i = 0; i < N; i++) pcm[i] = (float)(0.25 * sin(turn * 1000 * i));
    gem_mel_features(&mel, pcm, N, f);
    check_bands(f + 10 * GEM_MEL_BANDS, high);
    free(pcm);
    free(f);
}

/* ---- lengths ------------------------------------------------------------------------------------------------- */

static void test_tokens(void) /* spec/multimodal.md 4.1 */
{
    static const struct {
        uint64_t n;
        uint32_t frames, tokens, raw;
    } cases[] = {{1, 0, 0, 1},
                 {160, 0, 0, 1},
                 {161, 1, 1, 1},
                 {1600, 9, 3, 3},
                 {8000, 49, 13, 13},
                 {16000, 99, 25, 25},
                 {16001, 100, 25, 26},
                 {80000, 499, 125, 125},
                 {160000, 999, 250, 250},
                 {480000, 2999, 750, 750},
                 {500000, 3124, 781, 782}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_EQ(gem_mel_frames(cases[i].n), cases[i].frames);
        CHECK_EQ(gem_audio_tokens(false, cases[i].n), cases[i].tokens);
        CHECK_EQ(gem_audio_tokens(true, cases[i].n), cases[i].raw);
    }
}

static void test_pieces(void) /* every sample is in exactly one piece, and no piece is longer than the encoder knows */
{
    static const uint64_t lengths[] = {0,      1,      160,    161,    479999, 480000, 480001, 480160,
                                       480161, 480162, 959999, 960000, 960160, 960161, 976000, 28800000};

    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        struct gem_audio_piece p;
        uint64_t at = 0;

        for (uint32_t i = 0; (p = gem_audio_piece(false, lengths[l], i)).n_samples; i++) {
            CHECK_EQ(p.begin, at);
            CHECK(p.n_tokens <= 750 && (p.n_tokens > 0 || lengths[l] <= 160));
            CHECK_EQ(p.n_tokens, gem_audio_tokens(false, p.n_samples));
            at += p.n_samples;
        }
        CHECK_EQ(at, lengths[l]);
        p = gem_audio_piece(true, lengths[l], 0);
        CHECK(p.begin == 0 && p.n_samples == lengths[l]);
        CHECK_EQ(gem_audio_piece(true, lengths[l], 1).n_samples, 0);
    }
}

/* ---- same bits ----------------------------------------------------------------------------------------------- */

/* In bits of 1, 2, 3, ... samples, or of `step`. */
static void feed_in_bits(struct bench *b, const float *pcm, uint64_t n, uint64_t step, float *out)
{
    gem_error err = {0};
    uint64_t at = 0, size = step ? step : 1, written = 0;

    gem_audio_begin(&b->e);
    while (at < n) {
        const uint64_t k = n - at < size ? n - at : size;
        const uint32_t ready = gem_audio_ready(&b->e, k, false);

        CHECK_EQ(gem_audio_feed(&b->e, pcm + at, k, false, out + written * b->w.text_hidden, &err), GEM_OK);
        written += ready;
        at += k;
        if (!step) size++;
    }
    CHECK_EQ(written + gem_audio_ready(&b->e, 0, true), gem_audio_tokens(b->w.raw, n));
    CHECK_EQ(gem_audio_feed(&b->e, NULL, 0, true, out + written * b->w.text_hidden, &err), GEM_OK);
}

static void check_bits(const char *path, uint64_t n, bool fast)
{
    static const unsigned threads[] = {1, 2, 3};
    static const uint32_t rows[] = {0, 1, 7, 1000};
    static const uint64_t steps[] = {0, 17, 640, 5000};
    float *pcm = signal_of(n, 12), *want = NULL;

    for (size_t i = 0; i < 4; i++) {
        struct bench b;
        float *got;
        size_t bytes;

        if (!open_bench(&b, path, threads[i % 3], rows[i], fast)) break;
        bytes = gem_audio_tokens(b.w.raw, n) * b.w.text_hidden * sizeof *got;
        got = floats(bytes / sizeof *got);
        CHECK_EQ(gem_audio_encode(&b.e, pcm, n, got, NULL), GEM_OK);
        if (!want) memcpy(want = floats(bytes / sizeof *got), got, bytes);
        CHECK(!memcmp(got, want, bytes));
        memset(got, 0, bytes);
        feed_in_bits(&b, pcm, n, steps[i], got);
        CHECK(!memcmp(got, want, bytes));
        free(got);
        close_bench(&b);
    }
    free(pcm);
    free(want);
}

static void test_same_bits(void)
{
    check_bits("golden/audio/tower/model.safetensors", 30011, false);
    check_bits("golden/audio/tower/model.safetensors", 30011, true);
    check_bits("golden/audio/tower/model.safetensors", 160, false);
    check_bits("golden/audio/tower-q8/model.gguf", 30011, false);
    check_bits("golden/audio/tower-q8/model.gguf", 30011, true);
    check_bits("golden/audio/raw/model.safetensors", 30011, false);
    check_bits("golden/audio/raw/model.safetensors", 30011, true);
}

/* The definitions in plain C agree with whatever this machine has. */
static void test_tiers(void)
{
    struct bench b;
    float *pcm = signal_of(5000, 3), *best, *plain;

    if (open_bench(&b, "golden/audio/tower/model.safetensors", 1, 0, false)) {
        best = encode_all(&b, pcm, 5000);
        gem_kernels_init(&b.kern, 0);
        plain = encode_all(&b, pcm, 5000);
        check_close("kernels", b.kern.name, best, plain, all_tokens(&b.w, 5000) * b.w.text_hidden, 2e-5);
        free(best);
        free(plain);
    }
    close_bench(&b);
    free(pcm);
}

static void test_silence(void) /* features of silence are the floor; the encoder has a value for it */
{
    struct bench b;
    float *pcm = calloc(16000, sizeof *pcm), *soft;

    if (pcm && open_bench(&b, "golden/audio/tower/model.safetensors", 1, 0, false)) {
        soft = encode_all(&b, pcm, 16000);
        for (size_t i = 0; i < all_tokens(&b.w, 16000) * b.w.text_hidden; i++) CHECK(isfinite(soft[i]));
        free(soft);
        close_bench(&b);
    }
    if (pcm && open_bench(&b, "golden/audio/raw/model.safetensors", 1, 0, false)) {
        soft = encode_all(&b, pcm, 16000);
        for (size_t i = 0; i < all_tokens(&b.w, 16000) * b.w.text_hidden; i++) CHECK(soft[i] == 0.0f);
        free(soft);
        close_bench(&b);
    }
    free(pcm);
}

/* ---- damaged weights ----------------------------------------------------------------------------------------- */

static void check_refused(struct gem_archive *a, uint32_t hidden, gem_status want, const char *named)
{
    struct gem_audio_weights w;
    gem_error err = {0};
    const gem_status st = gem_audio_bind(&w, a, hidden, &err);

    if (st != want || !strstr(err.message, named)) {
        printf("%s: %s (%s), expected %s\n", named, gem_status_name(st), err.message, gem_status_name(want));
        check_failures++;
    }
    if (!st) gem_audio_weights_close(&w);
    CHECK(!st || (!w.layers && !w.vectors));
}

/* Every tensor in turn is missing, has another shape, or a type that nobody can read. */
static void check_damage(const char *path, uint32_t hidden)
{
    struct gem_archive a = {0};

    if (!open_archive(&a, path)) return;
    for (size_t i = 0; i < a.n_tensors; i++) {
        struct gem_tensor *t = &a.tensors[i];
        const struct gem_tensor whole = *t;
        char *name = (char *)(uintptr_t)t->name; /* the archive's own copy */
        const char first = *name;

        *name = '~'; /* sorts last: others are still found */
        CHECK(gem_audio_bind(&(struct gem_audio_weights){0}, &a, hidden, NULL) == GEM_E_FORMAT);
        *name = first;
        t->shape[0] += 1;
        t->n_dims += t->n_dims == 0;
        CHECK(gem_audio_bind(&(struct gem_audio_weights){0}, &a, hidden, NULL) == GEM_E_FORMAT);
        *t = whole;
        t->type = GEM_TYPE_OTHER;
        t->type_name = "F8_E4M3";
        check_refused(&a, hidden, GEM_E_UNSUPPORTED, t->name);
        *t = whole;
    }
    gem_archive_close(&a);
}

static void test_damage(void)
{
    struct gem_archive a = {0};

    check_damage("golden/audio/tower/model.safetensors", 80);
    check_damage("golden/audio/tower/mmproj.gguf", 80);
    check_damage("golden/audio/tower-q8/model.gguf", 80);
    check_damage("golden/audio/raw/model.safetensors", 48);
    if (!open_archive(&a, "golden/audio/tower/model.safetensors")) return;
    check_refused(&a, 81, GEM_E_FORMAT, "model.embed_audio.embedding_projection.weight");
    CHECK(gem_audio_found(&a));
    gem_archive_close(&a);
    if (!open_archive(&a, "golden/models/26b/model")) return;
    CHECK(!gem_audio_found(&a));
    gem_archive_close(&a);
}

static void check_config(const char *json, gem_status want, const char *named)
{
    gem_error err = {0};

    CHECK_EQ(gem_audio_check_config("config.json", json, strlen(json), &err), want);
    CHECK(strstr(err.message, named) != NULL);
}

static void test_config(void)
{
    check_config("{}", GEM_OK, "");
    check_config("{\"audio_config\": null}", GEM_OK, "");
    check_config(
        "{\"audio_config\": {\"attention_logit_cap\": 50.0, \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-06}}",
        GEM_OK, "");
    check_config("{\"audio_config\": {\"attention_context_left\": 14}}", GEM_E_UNSUPPORTED, "attention_context_left");
    check_config("{\"audio_config\": {\"residual_weight\": \"0.5\"}}", GEM_E_UNSUPPORTED, "residual_weight");
    check_config("{\"audio_config\": {\"hidden_act\": \"gelu\"}}", GEM_E_UNSUPPORTED, "hidden_act");
    check_config("{\"audio_config\": {\"audio_embed_dim\": 320}}", GEM_E_UNSUPPORTED, "audio_embed_dim");
    check_config("{\"audio_config\": ", GEM_E_FORMAT, "config.json");
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"tones", test_tones},         {"tokens", test_tokens}, {"pieces", test_pieces},   {"golden", test_golden},
        {"fast", test_fast},           {"shared", test_shared}, {"more", test_more},       {"tiers", test_tiers},
        {"same_bits", test_same_bits}, {"config", test_config}, {"silence", test_silence}, {"damage", test_damage},
    };

    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
