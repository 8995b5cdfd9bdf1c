/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/image.c - images from file to target size, against Pillow and transformers (tools/make_media_golden.py);
 * and files that lie. Runs in tests/. */
#include "base/memory.h"
#include "base/sha256.h"
#include "media/video.h"
#include "vision/preprocess.h"

#include "unit/check.h"

#include <inttypes.h>

static const char folder[] = "golden/media/";

static FILE *open_list(const char *name)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof path, "%s%s", folder, name);
    if (!(f = fopen(path, "r"))) {
        printf("%s cannot be opened\n", path);
        exit(1);
    }
    return f;
}

/* The whole file; free() it. */
static uint8_t *read_all(const char *name, size_t *n)
{
    FILE *f = open_list(name);
    uint8_t *data = malloc(1 << 20);

    *n = fread(data, 1, 1 << 20, f);
    fclose(f);
    return data;
}

static void hex_digest(const void *data, size_t n, char out[65])
{
    struct gem_sha256 s;

    gem_sha256_begin(&s);
    gem_sha256_add(&s, data, n);
    gem_digest_hex(gem_sha256_end(&s), out);
}

/* ---- sizes and pixels ------------------------------------------------------------------------------------------ */

static void test_sizes(void)
{
    FILE *f = open_list("sizes.txt");
    uint32_t w, h, budget, tw, th;
    int n = 0;

    while (fscanf(f, "%u %u %u %u %u", &w, &h, &budget, &tw, &th) == 5) {
        const struct gem_size to = gem_vision_target(w, h, budget);
        if (to.width != tw || to.height != th)
            printf("%ux%u, budget %u: %ux%u, expected %ux%u\n", w, h, budget, to.width, to.height, tw, th);
        CHECK(to.width == tw && to.height == th);
        CHECK(to.width / GEM_CELL * (to.height / GEM_CELL) <= budget);
        n++;
    }
    CHECK(n > 300);
    fclose(f);
}

static void test_budgets(void)
{
    uint32_t budget = 0;
    gem_error err;

    CHECK_EQ(gem_vision_budget(&budget, &err), GEM_OK);
    CHECK_EQ(budget, 280);
    budget = 100;
    CHECK_EQ(gem_vision_budget(&budget, &err), GEM_E_ARGUMENT);
    CHECK_STR(err.message, "budget: 100 soft tokens, allowed are 70, 140, 280, 560 and 1120");
}

static void paint(struct gem_image *image, uint32_t w, uint32_t h)
{
    uint8_t *p;

    CHECK_EQ(gem_image_make(image, "formula", w, h, NULL), GEM_OK);
    p = image->rgb;
    for (uint32_t y = 0; y < h; y++)
        for (uint32_t x = 0; x < w; x++) {
            *p++ = (uint8_t)(7 * x + 3 * y);
            *p++ = (uint8_t)(x * y);
            *p++ = (uint8_t)(x ^ y);
        }
}

static void test_resize(void) /* bit for bit Pillow's, up, down, both, extreme, one axis and none */
{
    FILE *f = open_list("resize.txt");
    uint32_t w, h, tw, th;
    char expected[65], hex[65];
    int n = 0;

    while (fscanf(f, "%u %u %u %u %64s", &w, &h, &tw, &th, expected) == 5) {
        struct gem_image in, out;

        paint(&in, w, h);
        CHECK_EQ(
            gem_resample(&out, (struct gem_size){tw, th}, in.rgb, (struct gem_size){w, h}, (size_t)w * 3, "x", NULL),
            GEM_OK);
        hex_digest(out.rgb, (size_t)tw * th * 3, hex);
        if (strcmp(hex, expected)) printf("%ux%u to %ux%u differs from Pillow\n", w, h, tw, th);
        CHECK_STR(hex, expected);
        gem_image_close(&in);
        gem_image_close(&out);
        n++;
    }
    CHECK(n >= 16);
    fclose(f);
}

static void test_stride(void) /* rows with a gap behind them */
{
    struct gem_image in, gaps, a, b;

    paint(&in, 31, 17);
    CHECK_EQ(gem_image_make(&gaps, "gaps", 40, 17, NULL), GEM_OK);
    for (int y = 0; y < 17; y++) memcpy(gaps.rgb + (size_t)y * 120, in.rgb + (size_t)y * 93, 93);
    for (uint32_t to = 17; to <= 48; to += 31) {
        CHECK_EQ(gem_resample(&a, (struct gem_size){48, to}, in.rgb, (struct gem_size){31, 17}, 93, "a", NULL), GEM_OK);
        CHECK_EQ(gem_resample(&b, (struct gem_size){48, to}, gaps.rgb, (struct gem_size){31, 17}, 120, "b", NULL),
                 GEM_OK);
        CHECK(!memcmp(a.rgb, b.rgb, (size_t)48 * to * 3));
        gem_image_close(&a);
        gem_image_close(&b);
    }
    gem_image_close(&in);
    gem_image_close(&gaps);
}

static void test_squares(void) /* (row, column, channel), columns of patches first */
{
    struct gem_image in;
    float patch[GEM_PATCH * GEM_PATCH * 3];

    paint(&in, 96, 48);
    gem_vision_square(&in, GEM_PATCH, 4, 2, patch);
    for (uint32_t y = 0; y < 16; y++)
        for (uint32_t x = 0; x < 16; x++) {
            const uint8_t green = (uint8_t)((64 + x) * (32 + y));
            CHECK(patch[(y * 16 + x) * 3 + 1] == (float)green * (float)(1 / 255.0));
        }
    gem_image_close(&in);
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

/* Decoders of JPEG differ by rounding; the picture is smooth, so that anything worse shows. */
static void check_close(const char *name, const struct gem_image *image)
{
    char raw[128];
    size_t n, expected = (size_t)image->width * image->height * 3;
    double sum = 0;
    int worst = 0;

    snprintf(raw, sizeof raw, "%s.rgb", name);
    uint8_t *rgb = read_all(raw, &n);
    CHECK_EQ(n, expected);
    for (size_t i = 0; i < expected; i++) {
        const int d = abs(image->rgb[i] - rgb[i]);
        if (d > worst) worst = d;
        sum += d;
    }
    if (worst > 6 || sum / (double)n > 1) printf("%s: differs by %d, %.2f on average\n", name, worst, sum / (double)n);
    CHECK(worst <= 6 && sum / (double)n <= 1);
    free(rgb);
}

static void test_files(void)
{
    FILE *f = open_list("files.txt");
    char name[64], expected[65], hex[65], path[128];
    uint32_t w, h;
    int n = 0;

    while (fscanf(f, "%63s %u %u %64s", name, &w, &h, expected) == 4) {
        struct gem_image image;
        gem_error err;

        snprintf(path, sizeof path, "%sfiles/%s", folder, name);
        if (gem_image_load(&image, path, &err)) {
            printf("%s\n", err.message);
            check_failures++;
            continue;
        }
        CHECK(image.width == w && image.height == h);
        hex_digest(image.rgb, (size_t)w * h * 3, hex);
        if (!strcmp(expected, "~"))
            check_close(name, &image);
        else if (strcmp(hex, expected)) {
            printf("%s: other pixels than Pillow's\n", name);
            check_failures++;
        }
        gem_image_close(&image);
        n++;
    }
    CHECK(n >= 20);
    fclose(f);
}

/* Must fail with this status and say these words. */
static void refuse(const uint8_t *data, size_t n, gem_status expected, const char *words)
{
    struct gem_image image;
    gem_error err = {0};
    const gem_status st = gem_image_decode(&image, "x", data, n, &err);

    if (st != expected || !strstr(err.message, words)) {
        printf("expected %s, %s; got %s: %s\n", gem_status_name(expected), words, gem_status_name(st), err.message);
        check_failures++;
    }
    if (!st) gem_image_close(&image);
    CHECK(image.rgb == NULL);
}

static void test_cut_files(void) /* every length but the whole is an error */
{
    static const char *const names[] = {"files/rgb.png", "files/palette.png", "files/photo.jpg",
                                        "files/photo-progressive.jpg"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n;
        uint8_t *data = read_all(names[i], &n);
        struct gem_image image;

        for (size_t cut = 0; cut < n; cut++)
            if (gem_image_decode(&image, "x", data, cut, NULL) == GEM_OK) {
                printf("%s cut to %zu of %zu bytes is accepted\n", names[i], cut, n);
                check_failures++;
                gem_image_close(&image);
                break;
            }
        free(data);
    }
}

static uint32_t crc32(const uint8_t *data, size_t n)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        for (int b = 0; b < 8; b++) crc = crc >> 1 ^ (0xedb88320 & -(crc & 1));
    }
    return ~crc;
}

static void store_be(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void lie_about_size(uint8_t *png, uint32_t w, uint32_t h)
{
    store_be(png + 16, w);
    store_be(png + 20, h);
    store_be(png + 29, crc32(png + 12, 17));
}

static void test_lies(void)
{
    size_t n;
    uint8_t *png = read_all("files/rgb.png", &n);

    png[n / 2] ^= 1;
    refuse(png, n, GEM_E_FORMAT, "checksum");
    png[n / 2] ^= 1;
    lie_about_size(png, 100000, 100000);
    refuse(png, n, GEM_E_LIMIT, "100000x100000 pixels, at most 100 million");
    lie_about_size(png, 2000000, 1);
    refuse(png, n, GEM_E_LIMIT, "at most");
    lie_about_size(png, 0, 7);
    refuse(png, n, GEM_E_FORMAT, "empty (0x7 pixels)");
    lie_about_size(png, 9000, 9000); /* within limits: a short file must not decode to it */
    refuse(png, n, GEM_E_FORMAT, "cannot be decoded");
    lie_about_size(png, 1, 1); /* more data than pixels */
    refuse(png, n, GEM_OK, "");
    refuse(png, 0, GEM_E_FORMAT, "is empty");
    if (gem_ffmpeg_is_built_in())
        refuse((const uint8_t *)"GIF89a..", 8, GEM_E_FORMAT, "opening it");
    else
        refuse((const uint8_t *)"GIF89a..", 8, GEM_E_UNSUPPORTED, "neither a PNG nor a JPEG");
    free(png);
}

static void test_many_scans(void) /* a small file that asks for hours of work */
{
    uint8_t head[] = {0xff, 0xd8, 0xff, 0xc2, 0, 11, 8, 0x26, 0x00, 0x26, 0x00, 1, 1, 0x11, 0};
    static const uint8_t scan[] = {0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0};
    uint8_t *file = malloc(sizeof head + 1000 * sizeof scan + 2), *end = file + sizeof head;

    memcpy(file, head, sizeof head);
    for (int i = 0; i < 1000; i++, end += sizeof scan) memcpy(end, scan, sizeof scan);
    *end++ = 0xff;
    *end++ = 0xd9;
    refuse(file, (size_t)(end - file), GEM_E_LIMIT, "1000 scans of 9728x9728 pixels");
    free(file);
}

static void test_orientation_noise(void) /* EXIF that makes no sense counts as upright */
{
    static const uint8_t nine[] = {'I', 'I', '*', 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 9, 0, 0, 0};
    static const uint8_t far[] = {'M', 'M', 0, '*', 0xff, 0xff, 0xff, 0xff, 0, 1};

    CHECK_EQ(gem_exif_orientation(nine, sizeof nine), 1);
    CHECK_EQ(gem_exif_orientation(far, sizeof far), 1);
    for (size_t n = 0; n < sizeof nine; n++) CHECK_EQ(gem_exif_orientation(nine, n), 1);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"sizes", test_sizes},         {"budgets", test_budgets},
        {"resize", test_resize},       {"stride", test_stride},
        {"squares", test_squares},     {"files", test_files},
        {"cut-files", test_cut_files}, {"lies", test_lies},
        {"scans", test_many_scans},    {"orientation", test_orientation_noise},
    };

    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
