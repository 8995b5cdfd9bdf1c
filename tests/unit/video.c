/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/video.c - which frames of a video are shown, and reading them where FFmpeg is built in. Motion JPEG is
 * JPEG files one after the other, so the committed pictures make videos. Runs in tests/. */
#include <gemmule.h>

#include "media/video.h"

#include "unit/check.h"

static void test_choice(void) /* spec/multimodal.md 3 */
{
    CHECK_EQ(gem_video_count(900, 30, 0, 0), 32);
    CHECK_EQ(gem_video_count(31, 30, 0, 0), 31); /* the reference refuses fewer than 32 */
    CHECK_EQ(gem_video_count(1, 24, 0, 0), 1);
    CHECK_EQ(gem_video_count(900, 30, 8, 0), 8);
    CHECK_EQ(gem_video_count(300, 30, 0, 1), 10);
    CHECK_EQ(gem_video_count(299, 30, 0, 1), 9); /* truncated */
    CHECK_EQ(gem_video_count(10, 25, 0, 0.1), 1);
    CHECK_EQ(gem_video_count(10, 25, 0, 100), 10);
    CHECK_EQ(gem_video_index(900, 32, 0), 0);
    CHECK_EQ(gem_video_index(900, 32, 1), 28);
    CHECK_EQ(gem_video_index(900, 32, 31), 871);
    CHECK_EQ(gem_video_index(31, 31, 30), 30);
}

static gem_model *open_model(void)
{
    const gem_model_options o = {.metadata_only = true};
    gem_model *m;
    gem_error err;

    if (gem_model_open(&m, "golden/models/media-e2b/model", &o, &err)) {
        printf("%s\n", err.message);
        exit(1);
    }
    return m;
}

/* n pictures in turn; free() it. */
static uint8_t *make_video(int n, size_t *n_bytes)
{
    static const char *const names[] = {"golden/media/files/photo.jpg", "golden/media/files/photo-420.jpg"};
    uint8_t *data = malloc((size_t)n << 16);

    *n_bytes = 0;
    for (int i = 0; i < n; i++) {
        FILE *f = fopen(names[i % 2], "rb");
        *n_bytes += fread(data + *n_bytes, 1, 1 << 16, f);
        fclose(f);
    }
    return data;
}

static void refuse(const gem_model *m, gem_video_source source, gem_status expected, const char *words)
{
    gem_video *v;
    gem_error err = {0};
    const gem_status st = gem_video_open(&v, m, &source, &err);

    if (st != expected || !strstr(err.message, words)) {
        printf("expected %s, %s; got %s: %s\n", gem_status_name(expected), words, gem_status_name(st), err.message);
        check_failures++;
    }
    CHECK(v == NULL);
}

static void test_refused(void)
{
    static const char playlist[] = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/hostname\n#EXT-X-ENDLIST\n";
    gem_model *m = open_model();
    size_t n;
    uint8_t *data = make_video(2, &n);

    refuse(m, (gem_video_source){0}, GEM_E_ARGUMENT, "exactly one of path and bytes");
    refuse(m, (gem_video_source){.bytes = data, .n_bytes = n, .n_frames = 3, .fps = 1}, GEM_E_ARGUMENT, "not both");
    refuse(m, (gem_video_source){.bytes = data, .n_bytes = n, .n_frames = 5000}, GEM_E_ARGUMENT, "at most 4096");
    if (gem_ffmpeg_is_built_in()) {
        refuse(m, (gem_video_source){.bytes = data, .n_bytes = n, .budget = 71}, GEM_E_ARGUMENT, "allowed are 70");
        refuse(m, (gem_video_source){.bytes = data, .n_bytes = 100, .name = "cut"}, GEM_E_FORMAT, "cut: ");
        refuse(m, (gem_video_source){.bytes = "text", .n_bytes = 4}, GEM_E_FORMAT, "opening it");
        refuse(m, (gem_video_source){.bytes = playlist, .n_bytes = sizeof playlist - 1}, GEM_E_FORMAT, "opening it");
        refuse(m, (gem_video_source){.path = "golden/none.mp4"}, GEM_E_IO, "golden/none.mp4");
    } else {
        refuse(m, (gem_video_source){.bytes = data, .n_bytes = n}, GEM_E_UNSUPPORTED, "GEM_FFMPEG");
    }
    free(data);
    gem_model_close(m);
}

static void test_frames(void)
{
    gem_model *m = open_model();
    size_t n;
    uint8_t *data = make_video(70, &n);
    gem_media_info a, b, image;
    gem_media *still;
    gem_video *v;
    gem_error err;
    char stamp[16];

    if (!gem_ffmpeg_is_built_in()) {
        printf("       skipped: built without FFmpeg\n");
        goto out;
    }
    const gem_video_source few = {.bytes = data, .n_bytes = n, .n_frames = 3};
    CHECK_EQ(gem_video_open(&v, m, &few, &err), GEM_OK);
    CHECK_EQ(gem_video_frames(v), 3); /* number 0, 23 and 46 of 70, at 25 a second */
    gem_media_get_info(gem_video_frame(v, 0, stamp), &a);
    CHECK_STR(stamp, "00:00");
    CHECK_EQ(a.kind, GEM_MEDIA_FRAME);
    CHECK_EQ(a.n_tokens, 63); /* 80 x 64 pixels in 70 tokens */
    gem_media_get_info(gem_video_frame(v, 1, stamp), &b);
    CHECK(memcmp(a.digest, b.digest, sizeof a.digest) != 0); /* odd numbers are the other picture */
    gem_media_get_info(gem_video_frame(v, 2, stamp), &b);
    CHECK_STR(stamp, "00:01");
    CHECK(memcmp(a.digest, b.digest, sizeof a.digest) == 0);
    gem_video_close(v);

    const gem_video_source all = {.bytes = data, .n_bytes = n, .fps = 25};
    CHECK_EQ(gem_video_open(&v, m, &all, &err), GEM_OK);
    CHECK_EQ(gem_video_frames(v), 70);
    gem_video_close(v);

    const gem_image_source gif = {.bytes = "GIF89a\1\0\1\0\x80\0\0\xff\0\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;",
                                  .n_bytes = 35};
    CHECK_EQ(gem_media_open_image(&still, m, &gif, &err), GEM_OK); /* an image of another kind */
    gem_media_get_info(still, &image);
    CHECK_EQ(image.width, 768);
    gem_media_close(still);
out:
    free(data);
    gem_model_close(m);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"choice", test_choice}, {"refused", test_refused}, {"frames", test_frames}};

    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
