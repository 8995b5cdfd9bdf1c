/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/hear.c - sound through the public API: what is refused, how it is cut into pieces, what is remembered, and
 * that the ways in and company do not change a bit. Expected values of features and soft tokens are in tests/golden.
 * Runs in tests/. */
#include <gemmule.h>

#include "media/video.h"
#include "model/weights.h"

#include "unit/check.h"
#include "unit/content.h"

#include <math.h>
#include <unistd.h>

static const char e2b[] = "golden/models/sound-e2b/model", wide[] = "golden/models/sound-e2b/wide.1.wav";

enum { RATE = 16000, LONG = 61 * RATE };

static void must(gem_status st, const gem_error *err)
{
    if (!st) return;
    printf("%s\n", err->message);
    exit(1);
}

static gem_model *open_model(const char *path, const char *mmproj)
{
    const gem_model_options o = {.precision = GEM_PRECISION_EXACT, .mmproj = mmproj};
    gem_model *m;
    gem_error err;

    must(gem_model_open(&m, path, &o, &err), &err);
    return m;
}

static float pcm_at(size_t i, int seed) { return (float)sin((double)i * (0.05 + 0.01 * seed) + 1) * 0.3f; }

static float *make_pcm(size_t n, int seed)
{
    float *pcm = malloc(n * sizeof *pcm);

    for (size_t i = 0; i < n; i++) pcm[i] = pcm_at(i, seed);
    return pcm;
}

static void expect(gem_status st, const gem_error *err, gem_status expected, const char *words)
{
    if (st == expected && strstr(err->message, words)) return;
    printf("expected %s, %s; got %s: %s\n", gem_status_name(expected), words, gem_status_name(st), err->message);
    check_failures++;
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

static void refuse(const gem_model *m, gem_audio_source source, gem_status expected, const char *words)
{
    gem_media **media;
    size_t n;
    gem_error err = {0};

    expect(gem_media_open_audio(&media, &n, m, &source, &err), &err, expected, words);
    CHECK(media == NULL);
    CHECK_EQ(n, 0);
}

static void test_sources(void)
{
    gem_model *m = open_model(e2b, NULL);
    float pcm[1000] = {0};
    gem_audio_source good = {.pcm = pcm, .n_frames = 1000};
    gem_audio_source s = good;

    refuse(m, (gem_audio_source){0}, GEM_E_ARGUMENT, "exactly one of path, bytes and pcm");
    s.path = wide;
    refuse(m, s, GEM_E_ARGUMENT, "exactly one");
    refuse(m, good, GEM_E_ARGUMENT, "all 1000 samples are 0");
    pcm[7] = 0.1f;
    s = good;
    s.n_frames = 0;
    refuse(m, s, GEM_E_ARGUMENT, "no samples");
    s = good;
    s.rate = 3999;
    refuse(m, s, GEM_E_UNSUPPORTED, "3999 Hz");
    pcm[8] = NAN;
    refuse(m, good, GEM_E_ARGUMENT, "sample 8 of 1000 is not a number");
    pcm[8] = -INFINITY;
    s = good;
    s.name = "microphone";
    refuse(m, s, GEM_E_ARGUMENT, "microphone: sample 8 of 1000 is infinite");
    refuse(m, (gem_audio_source){.path = "golden/none.wav"}, GEM_E_IO, "golden/none.wav");
    refuse(m, (gem_audio_source){.bytes = "", .n_bytes = 0, .name = "letter"}, GEM_E_FORMAT,
           "letter: the sound file is empty");
    refuse(m, (gem_audio_source){.path = "golden/README.md"},
           gem_ffmpeg_is_built_in() ? GEM_E_FORMAT : GEM_E_UNSUPPORTED, "golden/README.md");
    gem_model_close(m);
}

/* A WAV file of 16 bits whose header says what it likes. */
static size_t make_wav(uint8_t out[200], uint32_t claimed)
{
    static const uint8_t head[44] = "RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\1\0\1\0\x80>\0\0\0}\0\0\2\0\x10\0data";

    memcpy(out, head, sizeof head);
    for (int i = 0; i < 4; i++) out[40 + i] = (uint8_t)(claimed >> 8 * i);
    for (int i = 44; i < 200; i++) out[i] = (uint8_t)(i * 7);
    return 200;
}

static void test_hostile_files(void)
{
    gem_model *m = open_model(e2b, NULL);
    uint8_t file[200];
    gem_audio_source s = {.bytes = file, .n_bytes = make_wav(file, 0xfffffff0), .name = "x"}; /* as a negative length */

    refuse(m, s, GEM_E_FORMAT, "claims 4294967280 bytes, but only 156 are left");
    make_wav(file, 0);
    refuse(m, s, GEM_E_FORMAT, "x: ");
    make_wav(file, 156);
    file[22] = file[23] = 0; /* channels */
    refuse(m, s, GEM_E_FORMAT, "0 channels");
    make_wav(file, 156);
    for (size_t n = 12; n < 44; n++) { /* cut in its header */
        gem_audio_source cut = s;
        cut.n_bytes = n;
        refuse(m, cut, GEM_E_FORMAT, "x: ");
    }
    gem_model_close(m);
}

static void test_deaf_models(void)
{
    static const struct {
        const char *path, *words;
    } models[] = {{"golden/models/media-26b/model", "cannot hear: it has no audio encoder"},
                  {"golden/models/31b/model", "cannot hear"},
                  {"golden/models/quantised-gemma3/Q4_K_M.gguf", "no mmproj file was given"},
                  {"golden/models/sound-e2b/text.gguf", "no mmproj file was given"}};

    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        gem_model *m = open_model(models[i].path, NULL);
        CHECK(!gem_model_get_info(m)->has_audio);
        refuse(m, (gem_audio_source){.path = wide}, GEM_E_UNSUPPORTED, models[i].words);
        gem_model_close(m);
    }
    gem_model *m =
        open_model("golden/models/media-e2b/model", "golden/models/media-e2b/mmproj.gguf"); /* which only sees */
    refuse(m, (gem_audio_source){.path = wide}, GEM_E_UNSUPPORTED, "cannot hear");
    gem_model_close(m);
}

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

struct sound {
    gem_media **pieces;
    size_t n;
};

static struct sound open_pcm(const gem_model *m, const float *pcm, size_t n)
{
    const gem_audio_source source = {.pcm = pcm, .n_frames = n};
    struct sound s;
    gem_error err;

    must(gem_media_open_audio(&s.pieces, &s.n, m, &source, &err), &err);
    return s;
}

static void check_pieces(const gem_model *m, const float *pcm, size_t n, size_t n_pieces, const uint32_t *tokens)
{
    struct sound s = open_pcm(m, pcm, n);
    uint64_t samples = 0;

    CHECK_EQ(s.n, n_pieces);
    for (size_t i = 0; i < s.n && i < n_pieces; i++) {
        gem_media_info info;

        gem_media_get_info(s.pieces[i], &info);
        CHECK_EQ(info.kind, GEM_MEDIA_AUDIO);
        CHECK_EQ(info.n_tokens, tokens[i]);
        samples += info.n_samples;
    }
    CHECK_EQ(samples, n); /* nothing is cut off */
    gem_media_close_all(s.pieces, s.n);
}

static void test_pieces(void) /* spec/multimodal.md 4.1, 4.3 */
{
    gem_model *m = open_model(e2b, NULL), *raw = open_model("golden/models/sound-12b/model", NULL);
    float *pcm = make_pcm(LONG, 1);
    gem_media_info info;
    struct sound s;

    check_pieces(m, pcm, 1, 1, (const uint32_t[]){0});
    check_pieces(m, pcm, 160, 1, (const uint32_t[]){0});
    check_pieces(m, pcm, 161, 1, (const uint32_t[]){1});
    check_pieces(m, pcm, 16000, 1, (const uint32_t[]){25});
    check_pieces(m, pcm, 480000, 1, (const uint32_t[]){750});
    check_pieces(m, pcm, 480160, 1, (const uint32_t[]){750});
    check_pieces(m, pcm, 480161, 2, (const uint32_t[]){750, 1});
    check_pieces(m, pcm, LONG, 3, (const uint32_t[]){750, 750, 25});
    check_pieces(raw, pcm, 1, 1, (const uint32_t[]){1});
    check_pieces(raw, pcm, LONG, 1, (const uint32_t[]){1525});
    s = open_pcm(m, pcm, 161);
    gem_media_get_info(s.pieces[0], &info);
    CHECK_EQ(info.placeholder, 1016); /* the model's config.json */
    CHECK_EQ(info.begin, 1019);
    CHECK_EQ(info.end, 1020);
    gem_media_close_all(s.pieces, s.n);
    free(pcm);
    gem_model_close(raw);
    gem_model_close(m);
}

static void test_features(void)
{
    gem_model *m = open_model(e2b, NULL), *raw = open_model("golden/models/sound-12b/model", NULL);
    float *pcm = make_pcm(1000, 1), features[6 * 128];
    struct sound s = open_pcm(m, pcm, 1000), r = open_pcm(raw, pcm, 1000);
    size_t n;
    gem_error err = {0};

    CHECK_EQ(gem_media_features(s.pieces[0], NULL, 0, &n, &err), GEM_OK);
    CHECK_EQ(n, 6); /* floor(999 / 160) */
    CHECK_EQ(gem_media_features(s.pieces[0], features, 6, &n, &err), GEM_OK);
    CHECK(fabs((double)features[0] + 6.907755) < 1e-5); /* ln 0.001: the first filter is empty */
    expect(gem_media_features(s.pieces[0], features, 5, &n, &err), &err, GEM_E_LIMIT, "6 frames do not fit into 5");
    CHECK_EQ(gem_media_features(r.pieces[0], NULL, 0, &n, &err), GEM_OK);
    CHECK_EQ(n, 0);
    gem_media_close_all(s.pieces, s.n);
    gem_media_close_all(r.pieces, r.n);
    free(pcm);
    gem_model_close(raw);
    gem_model_close(m);
}

/* ---- ways in ----------------------------------------------------------------------------------------------------- */

static void test_ways_in(void) /* a path, its bytes and its samples are the same sound */
{
    gem_model *m = open_model(e2b, NULL);
    static uint8_t file[1 << 16];
    static float pcm[4000][2];
    FILE *f = fopen(wide, "rb");
    const size_t n_bytes = fread(file, 1, sizeof file, f);
    gem_audio_source sources[3] = {
        {.path = wide}, {.bytes = file, .n_bytes = n_bytes}, {.pcm = pcm[0], .n_frames = 4000, .n_channels = 2}};
    struct sound s[3], other;
    gem_error err;

    fclose(f);
    for (size_t i = 0; i < 8000; i++) { /* 24 bits behind a header of 44 bytes */
        const uint8_t *p = file + 44 + 3 * i;
        pcm[i / 2][i % 2] =
            (float)((int32_t)((uint32_t)p[0] << 8 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 24) / 2147483648.0);
    }
    for (int i = 0; i < 3; i++) must(gem_media_open_audio(&s[i].pieces, &s[i].n, m, &sources[i], &err), &err);
    CHECK(same_content(s[0].pieces[0], s[1].pieces[0]));
    CHECK(same_content(s[0].pieces[0], s[2].pieces[0]));
    pcm[3999][1] += 1e-3f;
    other = open_pcm(m, pcm[0], 4000);
    CHECK(!same_content(s[0].pieces[0], other.pieces[0]));
    gem_media_close_all(other.pieces, other.n);
    for (int i = 0; i < 3; i++) gem_media_close_all(s[i].pieces, s[i].n);
    gem_model_close(m);
}

/* ---- in a sequence ----------------------------------------------------------------------------------------------- */

struct bench {
    gem_model *model;
    gem_engine *engine;
    gem_session *session;
    struct sound sounds[3]; /* of 8, 0 and 5 tokens */
    int32_t tokens[200];
    size_t n;
    gem_media_at at[3];
};

static void add_words(struct bench *b, int n)
{
    for (; n > 0; n--, b->n++) b->tokens[b->n] = (int32_t)(10 + 7 * b->n % 200);
}

static void add_sound(struct bench *b, int i)
{
    gem_media_info info;

    gem_media_get_info(b->sounds[i].pieces[0], &info);
    b->tokens[b->n++] = info.begin;
    b->at[i] = (gem_media_at){b->sounds[i].pieces[0], b->n};
    for (uint32_t t = 0; t < info.n_tokens; t++) b->tokens[b->n++] = info.placeholder;
    b->tokens[b->n++] = info.end;
}

static void open_bench(struct bench *b)
{
    static const size_t lengths[3] = {5000, 100, 3000};
    const gem_engine_options options = {.n_threads = 2, .chunk = 7};
    const gem_session_options room = {.context = 200};
    gem_error err;

    memset(b, 0, sizeof *b);
    b->model = open_model(e2b, NULL);
    must(gem_engine_open(&b->engine, b->model, &options, &err), &err);
    must(gem_session_open(&b->session, b->engine, &room, &err), &err);
    for (int i = 0; i < 3; i++) {
        float *pcm = make_pcm(lengths[i], i);
        b->sounds[i] = open_pcm(b->model, pcm, lengths[i]);
        free(pcm);
        add_words(b, 4);
        add_sound(b, i);
    }
    add_words(b, 4);
}

static void close_bench(struct bench *b)
{
    for (int i = 0; i < 3; i++) gem_media_close_all(b->sounds[i].pieces, b->sounds[i].n);
    gem_session_close(b->session);
    gem_engine_close(b->engine);
    gem_model_close(b->model);
}

static gem_advance whole(const struct bench *b)
{
    return (gem_advance){.session = b->session, .tokens = b->tokens, .n_tokens = b->n, .media = b->at, .n_media = 3};
}

static void test_places(void)
{
    struct bench b;
    gem_media_at moved[3];
    gem_advance it;
    gem_error err = {0};

    open_bench(&b);
    it = whole(&b);
    it.media = moved;
    memcpy(moved, b.at, sizeof moved);
    moved[0].at++;
    expect(gem_engine_advance(b.engine, &it, 1, NULL, NULL, &err), &err, GEM_E_ARGUMENT,
           "media 0 needs 8 placeholders");
    memcpy(moved, b.at, sizeof moved);
    moved[1].at = b.n + 1; /* one without tokens, where there is nothing */
    moved[2] = moved[1];
    it.n_media = 2;
    expect(gem_engine_advance(b.engine, &it, 1, NULL, NULL, &err), &err, GEM_E_ARGUMENT, "behind the last of");
    memcpy(moved, b.at, sizeof moved);
    moved[1].at = b.at[2].at; /* inside another */
    expect(gem_engine_advance(b.engine, &it, 1, NULL, NULL, &err), &err, GEM_E_ARGUMENT, "media 1 needs 0");
    it = whole(&b);
    must(gem_engine_advance(b.engine, &it, 1, NULL, NULL, &err), &err);
    close_bench(&b);
}

static void test_memory(void) /* soft tokens by content, prefixes through sound */
{
    struct bench b;
    gem_advance it;
    gem_media_at swapped[3];
    const size_t n_bytes = 1024 * sizeof(float);
    float *pcm = make_pcm(3000, 9), *first = malloc(n_bytes);
    const float *soft;
    struct sound other;
    gem_error err;

    open_bench(&b);
    it = whole(&b);
    must(gem_engine_advance(b.engine, &it, 1, NULL, NULL, &err), &err);
    CHECK_EQ(it.n_encoded, 2); /* the third has no tokens */
    memcpy(first, it.logits, n_bytes);
    must(gem_engine_advance(b.engine, &it, 1, NULL, NULL, &err), &err);
    CHECK_EQ(it.n_kept, b.n - 1);
    CHECK_EQ(it.n_encoded, 0);
    other = open_pcm(b.model, pcm, 3000); /* as long, but another */
    memcpy(swapped, b.at, sizeof swapped);
    swapped[2].media = other.pieces[0];
    it.media = swapped;
    must(gem_engine_advance(b.engine, &it, 1, NULL, NULL, &err), &err);
    CHECK_EQ(it.n_kept, b.at[2].at);
    CHECK_EQ(it.n_encoded, 1);
    CHECK(memcmp((const char *)first, (const char *)it.logits, n_bytes) != 0);
    it = whole(&b);
    must(gem_engine_advance(b.engine, &it, 1, NULL, NULL, &err), &err);
    CHECK_EQ(it.n_encoded, 0); /* from the engine's cache */
    CHECK(!memcmp((const char *)first, (const char *)it.logits, n_bytes));
    must(gem_engine_encode(b.engine, b.sounds[0].pieces[0], &soft, &err), &err);
    CHECK(soft != NULL);
    must(gem_engine_encode(b.engine, b.sounds[1].pieces[0], &soft, &err), &err);
    CHECK(soft == NULL); /* no rows */
    gem_media_close_all(other.pieces, other.n);
    free(first);
    free(pcm);
    close_bench(&b);
}

/* A tower that is damaged is named when the first sound comes, and again. */
static void test_damaged_tower(void)
{
    static uint8_t data[1 << 20];
    char path[] = "/tmp/gemmule-hear-XXXXXX";
    const int fd = mkstemp(path);
    FILE *f = fopen("golden/models/sound-e2b/mmproj.gguf", "rb");
    const size_t n = fread(data, 1, sizeof data, f);
    static const char name[] = "a.blk.1.ln2.weight";
    gem_model *m;
    gem_engine *e;
    struct sound s;
    float pcm[500] = {1};
    const float *soft;
    gem_error err = {0};

    fclose(f);
    CHECK(fd >= 0);
    for (size_t i = 0; i + sizeof name < n; i++)
        if (!memcmp(data + i, name, sizeof name - 1)) data[i + 9] = 'X';
    CHECK_EQ(write(fd, data, n), (ssize_t)n);
    close(fd);
    m = open_model("golden/models/sound-e2b/text.gguf", path);
    CHECK(gem_model_get_info(m)->has_audio);
    must(gem_engine_open(&e, m, NULL, &err), &err);
    s = open_pcm(m, pcm, 500);
    for (int i = 0; i < 2; i++) {
        err.message[0] = 0;
        expect(gem_engine_encode(e, s.pieces[0], &soft, &err), &err, GEM_E_FORMAT, "'a.blk.1.ln2.weight' is missing");
    }
    gem_media_close_all(s.pieces, s.n);
    gem_engine_close(e);
    gem_model_close(m);
    unlink(path);
}

/* Towers are read in rows: a native file that says otherwise of one would be read past its end. */
static void test_panels(void)
{
    char *paths[] = {"x.gem"};
    const struct gem_archive a = {.paths = paths};
    const struct gem_tensor t = {
        .name = "a.w", .type = GEM_Q8_0, .type_name = "Q8_0", .n_dims = 2, .shape = {16, 32, 1, 1}, .layout = 1};
    struct gem_tensor rows = t;
    const uint64_t want[] = {16, 32}, other[] = {32, 16};
    gem_error err = {0};

    expect(gem_tensor_check(&a, &t, want, 2, &err), &err, GEM_E_FORMAT, "x.gem: tensor 'a.w' is in panels");
    expect(gem_tensor_check(&a, &t, other, 2, &err), &err, GEM_E_FORMAT, "has shape [16, 32], expected [32, 16]");
    rows.layout = 0;
    CHECK_EQ(gem_tensor_check(&a, &rows, want, 2, &err), GEM_OK);
}

/* ---- through FFmpeg ---------------------------------------------------------------------------------------------- */

/* Crossings of zero in the middle half second: of a tone twice its frequency. */
static int crossings(const struct gem_sound *s)
{
    int n = 0;

    for (size_t i = 4000; i < 12000 && i + 1 < s->n; i++) n += (s->pcm[i] < 0) != (s->pcm[i + 1] < 0);
    return n;
}

static void test_ffmpeg(void)
{
    static const char *const clips[] = {"golden/media/clips/tone.mp4", "golden/media/clips/tone.mkv",
                                        "golden/media/clips/tone.mp3"};
    gem_model *m = open_model(e2b, NULL);
    static uint8_t data[1 << 16];
    gem_video *video;
    gem_error err = {0};

    if (!gem_ffmpeg_is_built_in()) {
        refuse(m, (gem_audio_source){.path = clips[0]}, GEM_E_UNSUPPORTED, "GEM_FFMPEG");
        printf("       the rest is skipped: built without FFmpeg\n");
        goto out;
    }
    for (int i = 0; i < 3; i++) { /* a second of 440 Hz: AAC at 44100, stereo FLAC at 22050, MP3 at 16000 */
        struct gem_sound s = {0};
        CHECK_EQ(gem_sound_load(&s, clips[i], &err), GEM_OK);
        CHECK(s.n > 15500 && s.n < 18000);
        CHECK(abs(crossings(&s) - 440) <= 1);
        gem_sound_close(&s);
    }
    FILE *f = fopen(clips[0], "rb");
    const size_t n = fread(data, 1, sizeof data, f);
    fclose(f);
    for (size_t cut = 1; cut < n; cut += 503) { /* truncated: an error or, where only packets are missing, less sound */
        const gem_audio_source s = {.bytes = data, .n_bytes = cut, .name = "cut.mp4"};
        const gem_video_source v = {.bytes = data, .n_bytes = cut, .name = "cut.mp4"};
        gem_media **pieces;
        size_t n_pieces;

        err.message[0] = 0;
        if (gem_media_open_audio(&pieces, &n_pieces, m, &s, &err)) CHECK(strstr(err.message, "cut.mp4: ") != NULL);
        gem_media_close_all(pieces, n_pieces);
        if (gem_video_open(&video, m, &v, &err)) CHECK(strstr(err.message, "cut.mp4: ") != NULL);
        gem_video_close(video);
    }
    refuse(m, (gem_audio_source){.path = "golden/media/clips/silent.mp4"}, GEM_E_FORMAT, "silent.mp4: no sound in it");
    const gem_video_source no_frames = {.path = clips[2]};
    expect(gem_video_open(&video, m, &no_frames, &err), &err, GEM_E_FORMAT, "tone.mp3: no picture in it");
    const gem_video_source film = {.path = clips[0]};
    must(gem_video_open(&video, m, &film, &err), &err);
    CHECK_EQ(gem_video_frames(video), 10); /* ten a second for a second */
    gem_video_close(video);
out:
    gem_model_close(m);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"sources", test_sources}, {"hostile", test_hostile_files}, {"deaf", test_deaf_models},
        {"pieces", test_pieces},   {"features", test_features},     {"ways-in", test_ways_in},
        {"places", test_places},   {"memory", test_memory},         {"damaged-tower", test_damaged_tower},
        {"panels", test_panels},   {"ffmpeg", test_ffmpeg},
    };

    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
