/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/sound.c - WAV files and resampling, against bytes written by hand, sines, and libsoxr. */
#include "media/sound.h"

#include "files/archive.h"
#include "media/resample.h"
#include "media/wav.h"
#include "unit/check.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

/* ---- files --------------------------------------------------------------------------------------------------- */

struct file {
    uint8_t bytes[512];
    uint32_t n;
};

static void put(struct file *f, const void *p, size_t n)
{
    memcpy(f->bytes + f->n, p, n);
    f->n += (uint32_t)n;
}

static void put_number(struct file *f, uint32_t v, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++) f->bytes[f->n++] = (uint8_t)(v >> 8 * i);
}

struct format {
    uint32_t tag, channels, rate, bytes, bits;
    bool extensible;
};

static void put_format(struct file *f, const struct format *a)
{
    static const uint8_t guid[] = {0, 0, 0, 0, 16, 0, 128, 0, 0, 170, 0, 56, 155, 113};

    put(f, "fmt ", 4);
    put_number(f, a->extensible ? 40 : 16, 4);
    put_number(f, a->extensible ? 0xfffe : a->tag, 2);
    put_number(f, a->channels, 2);
    put_number(f, a->rate, 4);
    put_number(f, a->rate * a->channels * a->bytes, 4);
    put_number(f, a->channels * a->bytes, 2);
    put_number(f, a->bits, 2);
    if (!a->extensible) return;
    put_number(f, 22, 2);
    put_number(f, a->bits, 2);
    put_number(f, 0, 4);
    put_number(f, a->tag, 2);
    put(f, guid, sizeof guid);
}

/* A file with a chunk of odd length that nobody knows before its samples. */
static struct file make(struct format a, const void *samples, uint32_t n)
{
    struct file f = {.n = 0};

    put(&f, "RIFF\0\0\0\0WAVE", 12);
    put(&f, "LIST\3\0\0\0abc\0", 12);
    put_format(&f, &a);
    put(&f, "data", 4);
    put_number(&f, n, 4);
    put(&f, samples, n);
    return f;
}

static void check_samples(struct format a, const void *samples, uint32_t n, const float *want, uint32_t n_want)
{
    const struct file f = make(a, samples, n);
    struct gem_sound s = {0};
    gem_error err = {0};

    if (gem_sound_from_wav(&s, "a.wav", f.bytes, f.n, &err)) printf("%u bits: %s\n", a.bits, err.message);
    CHECK_EQ(s.n, n_want);
    for (uint32_t i = 0; i < n_want && i < s.n; i++) CHECK(s.pcm[i] == want[i]);
    gem_sound_close(&s);
}

static void test_formats(void)
{
    static const uint8_t u8[] = {128, 192, 0, 255};
    static const float of_u8[] = {0, 0.5f, -1, 127 / 128.0f};
    static const uint8_t s16[] = {0, 0x40, 0, 0x80, 0xff, 0x7f, 1, 0};
    static const float of_s16[] = {0.5f, -1, 32767 / 32768.0f, 1 / 32768.0f};
    static const uint8_t s24[] = {0, 0, 0x40, 0, 0, 0x80, 1, 0, 0, 0xff, 0xff, 0xff};
    static const float of_s24[] = {0.5f, -1, 1 / 8388608.0f, -1 / 8388608.0f};
    static const uint8_t s32[] = {0, 0, 0, 0x40, 0, 0, 0, 0x80, 0, 1, 0, 0};
    static const float of_s32[] = {0.5f, -1, 256 / 2147483648.0f};
    static const float f32[] = {0.25f, -1.5f, 3e-7f}; /* hosts of these tests are little endian */
    static const double f64[] = {0.25, -1.5};
    static const uint8_t stereo[] = {0, 0x40, 0, 0x20, 0, 0x80, 0, 0x40}; /* 0.5, 0.25; -1, 0.5 */
    static const float of_stereo[] = {0.375f, -0.25f};
    static const uint8_t three[] = {255, 128, 128, 0, 128, 128};

    for (int extensible = 0; extensible < 2; extensible++) {
        const bool e = extensible;
        check_samples((struct format){1, 1, 16000, 1, 8, e}, u8, sizeof u8, of_u8, 4);
        check_samples((struct format){1, 1, 16000, 2, 16, e}, s16, sizeof s16, of_s16, 4);
        check_samples((struct format){1, 1, 16000, 2, 12, e}, s16, sizeof s16, of_s16, 4);
        check_samples((struct format){1, 1, 16000, 3, 24, e}, s24, sizeof s24, of_s24, 4);
        check_samples((struct format){1, 1, 16000, 4, 32, e}, s32, sizeof s32, of_s32, 3);
        check_samples((struct format){3, 1, 16000, 4, 32, e}, f32, sizeof f32, f32, 3);
        check_samples((struct format){3, 1, 16000, 8, 64, e}, f64, sizeof f64, f32, 2);
        check_samples((struct format){1, 2, 16000, 2, 16, e}, stereo, sizeof stereo, of_stereo, 2);
        check_samples((struct format){1, 3, 16000, 1, 8, e}, three, sizeof three,
                      (const float[]){(float)(127 / 128.0 / 3), (float)(-1 / 3.0)}, 2);
    }
}

static void check_refused(const struct file *f, uint32_t n, gem_status want, const char *says)
{
    struct gem_sound s = {0};
    gem_error err = {0};
    const gem_status st = gem_sound_from_wav(&s, "evil.wav", f->bytes, n, &err);

    if (st != want || err.code != st || !strstr(err.message, says) || !strstr(err.message, "evil.wav") || s.pcm) {
        printf("%s, expected %s with \"%s\": %s\n", gem_status_name(st), gem_status_name(want), says, err.message);
        check_failures++;
    }
    gem_sound_close(&s);
}

static void refuse(struct format a, const void *samples, uint32_t n, gem_status want, const char *says)
{
    const struct file f = make(a, samples, n);

    check_refused(&f, f.n, want, says);
}

static void test_refused(void)
{
    static const uint8_t s16[] = {0, 0x40, 0, 0x80};
    static const uint8_t quiet[64] = {0};
    static const float bad[] = {0.5f, NAN}, endless[] = {-INFINITY, 1};
    const struct format good = {1, 1, 16000, 2, 16, false};

    refuse(good, quiet, 64, GEM_E_ARGUMENT, "all 32 samples are 0");
    refuse(good, s16, 0, GEM_E_FORMAT, "no samples");
    refuse(good, s16, 3, GEM_E_FORMAT, "'data' has 3 bytes");
    refuse((struct format){3, 1, 16000, 4, 32, false}, bad, 8, GEM_E_ARGUMENT, "sample 1 of 2 is not a number");
    refuse((struct format){3, 1, 44100, 4, 32, false}, endless, 8, GEM_E_ARGUMENT, "sample 0 of 2 is infinite");
    refuse((struct format){2, 1, 16000, 2, 16, false}, s16, 4, GEM_E_UNSUPPORTED, "0x0002");
    refuse((struct format){85, 1, 16000, 1, 0, true}, s16, 4, GEM_E_UNSUPPORTED, "0x0055");
    refuse((struct format){1, 0, 16000, 2, 16, false}, s16, 4, GEM_E_FORMAT, "0 channels");
    refuse((struct format){1, 1, 16000, 0, 16, false}, s16, 4, GEM_E_FORMAT, "0 bytes");
    refuse((struct format){1, 1, 16000, 2, 0, false}, s16, 4, GEM_E_UNSUPPORTED, "0 bits");
    refuse((struct format){1, 1, 16000, 2, 17, false}, s16, 4, GEM_E_UNSUPPORTED, "17 bits");
    refuse((struct format){3, 1, 16000, 2, 16, false}, s16, 4, GEM_E_UNSUPPORTED, "float samples of 16 bits");
    refuse((struct format){1, 1, 0, 2, 16, false}, s16, 4, GEM_E_UNSUPPORTED, "0 Hz");
    refuse((struct format){1, 1, 3999, 2, 16, false}, s16, 4, GEM_E_UNSUPPORTED, "3999 Hz");
    refuse((struct format){1, 1, 4000000000u, 2, 16, false}, s16, 4, GEM_E_UNSUPPORTED, "4000000000 Hz");
}

static void test_damaged(void)
{
    static const uint8_t s16[] = {0, 0x40, 0, 0x80};
    static const uint32_t lies[] = {5, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    const struct file good = make((struct format){1, 1, 16000, 2, 16, false}, s16, sizeof s16);
    struct file f;

    for (uint32_t n = 0; n < good.n; n++) check_refused(&good, n, GEM_E_FORMAT, n < 12 ? "not a WAV" : "");
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) { /* a data chunk of -1 bytes, and so on */
        f = good;
        f.n -= 8;
        put_number(&f, lies[i], 4);
        check_refused(&f, good.n, GEM_E_FORMAT, "claims");
        f = good;
        f.n = 16; /* the unknown chunk */
        put_number(&f, lies[i] | 2, 4);
        check_refused(&f, good.n, GEM_E_FORMAT, "");
    }
    f = good;
    memcpy(f.bytes, "RF64", 4);
    check_refused(&f, good.n, GEM_E_UNSUPPORTED, "RF64");
    f = good;
    memcpy(f.bytes + 24, "junk", 4); /* no format */
    check_refused(&f, good.n, GEM_E_FORMAT, "'data' comes before 'fmt '");
}

static void test_pcm(void)
{
    static const float two[] = {0.5f, 0.25f, -0.5f, 0.0f};
    struct gem_sound s;
    gem_error err = {0};

    CHECK_EQ(gem_sound_from_pcm(&s, "pcm", two, 2, 2, 16000, &err), GEM_OK);
    CHECK(s.n == 2 && s.pcm[0] == 0.375f && s.pcm[1] == -0.25f);
    gem_sound_close(&s);
    CHECK_EQ(gem_sound_from_pcm(&s, "pcm", two, 0, 2, 16000, &err), GEM_E_ARGUMENT);
    CHECK_EQ(gem_sound_from_pcm(&s, "pcm", two, 2, 0, 16000, &err), GEM_E_ARGUMENT);
    CHECK_EQ(gem_sound_from_pcm(&s, "pcm", two, (uint64_t)1 << 40, 1, 16000, &err), GEM_E_LIMIT);
    CHECK_EQ(gem_sound_from_pcm(&s, "pcm", two, UINT64_MAX, 1, 384000, &err), GEM_E_LIMIT);
    CHECK(!s.pcm);
}

/* ---- resampling ---------------------------------------------------------------------------------------------- */

/* Largest |output - want| in the middle of a sine of `hertz` that is resampled; want is the sine, or silence. */
static double sine_error(uint32_t from, uint32_t to, double hertz, bool passes)
{
    const uint64_t n = from / 4;
    float *in = malloc(n * sizeof *in), *out;
    struct gem_resampler r;
    gem_error err = {0};
    double worst = 0;
    uint64_t m;

    if (!in || gem_resampler_open(&r, from, to, &err)) {
        printf("%u to %u: %s\n", from, to, err.message);
        exit(2);
    }
    for (uint64_t i = 0; i < n; i++) in[i] = (float)sin(2 * pi * hertz * (double)i / from);
    m = gem_resampler_length(&r, n);
    CHECK_EQ(m, (n * to + from - 1) / from);
    if (!(out = malloc(m * sizeof *out))) exit(2);
    gem_resampler_run(&r, in, n, 0, m, out);
    for (uint64_t i = m / 4; i < m - m / 4; i++) {
        const double error = fabs((double)out[i] - (passes ? sin(2 * pi * hertz * (double)i / to) : 0.0));
        if (!(error <= worst)) worst = error; /* gcc 12 for Arm cannot compile fmax here */
    }
    free(in);
    free(out);
    gem_resampler_close(&r);
    return worst;
}

static void test_sines(void)
{
    static const uint32_t rates[] = {4000,  8000,  11025, 12000, 22050, 24000,  32000,  44100, 44101,
                                     47999, 48000, 88200, 96000, 5003,  176400, 192000, 384000};

    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        const uint32_t rate = rates[i];
        const double nyquist = (rate < 16000 ? rate : 16000) / 2;

        CHECK(sine_error(rate, 16000, 0.05 * nyquist, true) < 1e-5);
        CHECK(sine_error(rate, 16000, 0.5 * nyquist, true) < 1e-5);
        CHECK(sine_error(rate, 16000, 0.89 * nyquist, true) < 2e-5);
        if (rate <= 16000) continue; /* nothing above 8000 Hz may come through, wherever it would fold to */
        CHECK(sine_error(rate, 16000, 8010, false) < 2e-5);
        if (rate > 22050) CHECK(sine_error(rate, 16000, 11900, false) < 1e-5);
        if (rate > 32000) CHECK(sine_error(rate, 16000, 15500, false) < 1e-5);
    }
}

static void test_cuts(void) /* the same bits however outputs are asked for */
{
    enum { N = 3001 };
    float in[N], whole[4000], part;
    struct gem_resampler r;

    for (int i = 0; i < N; i++) in[i] = (float)sin(i * i * 0.001);
    for (uint32_t rate = 44100; rate <= 44101; rate++) {
        if (gem_resampler_open(&r, rate, 16000, NULL)) exit(2);
        const uint64_t m = gem_resampler_length(&r, N);
        gem_resampler_run(&r, in, N, 0, m, whole);
        for (uint64_t i = 0; i < m; i++) {
            gem_resampler_run(&r, in, N, i, i + 1, &part);
            CHECK(part == whole[i]);
        }
        gem_resampler_close(&r);
    }
    CHECK_EQ(gem_resampler_open(&r, 16000, 3999, NULL), GEM_E_UNSUPPORTED);
    CHECK_EQ(gem_resampler_open(&r, 384001, 16000, NULL), GEM_E_UNSUPPORTED);
}

static void test_soxr(void) /* a file of 24 bits, stereo, 44.1 kHz; libsoxr's pass band is flat to 7e-4 at 7100 Hz */
{
    struct gem_archive golden = {0};
    const struct gem_tensor *want;
    struct gem_sound s = {0};
    struct gem_map map = {0};
    gem_error err = {0};
    double error = 0, size = 0;

    if (gem_map_open(&map, "golden/audio/sound/stereo.wav", &err) ||
        gem_sound_from_wav(&s, "stereo.wav", map.data, map.n_bytes, &err) ||
        gem_safetensors_open(&golden, "golden/audio/sound/stereo.safetensors", &err)) {
        printf("%s\n", err.message);
        exit(2);
    }
    want = gem_archive_tensor(&golden, "pcm");
    CHECK_EQ(s.n, want->shape[0]);
    for (uint64_t i = 1000; i + 1000 < s.n; i++) { /* at the ends, steps have all frequencies */
        float w;
        memcpy(&w, want->data + i * sizeof w, sizeof w);
        error += ((double)s.pcm[i] - (double)w) * ((double)s.pcm[i] - (double)w);
        size += (double)w * (double)w;
    }
    CHECK(sqrt(error / size) < 5e-4);
    gem_archive_close(&golden);
    gem_sound_close(&s);
    gem_map_close(&map);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"formats", test_formats}, {"refused", test_refused}, {"damaged", test_damaged}, {"pcm", test_pcm},
        {"sines", test_sines},     {"cuts", test_cuts},       {"soxr", test_soxr},
    };

    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
