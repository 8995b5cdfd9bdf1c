/* SPDX-License-Identifier: Apache-2.0 */
#include "media/video.h"

uint64_t gem_video_count(uint64_t total, double src_fps, uint32_t n_frames, double fps)
{
    uint64_t n = n_frames ? n_frames : GEM_VIDEO_DEFAULT_FRAMES;

    if (fps > 0) {
        const double wanted = (double)total / src_fps * fps; /* in the order of the reference */
        n = wanted < 1 ? 1 : wanted < GEM_VIDEO_MAX_FRAMES ? (uint64_t)wanted : GEM_VIDEO_MAX_FRAMES;
    }
    return n < total ? n : total;
}

uint64_t gem_video_index(uint64_t total, uint64_t n, uint64_t i) { return i * total / n; }

#if !defined(GEM_FFMPEG)
bool gem_ffmpeg_is_built_in(void) { return false; }

gem_status gem_video_read(const struct gem_video_request *r, gem_frame_fn *on_frame, void *user, gem_error *err)
{
    (void)on_frame;
    (void)user;
    return gem_fail(err, GEM_E_UNSUPPORTED, 0,
                    "%s: videos need FFmpeg's libraries, which this build is without (GEM_FFMPEG)", r->name);
}

gem_status gem_ffmpeg_sound(struct gem_sound *s, const char *name, const char *path, const void *bytes, uint64_t n,
                            gem_error *err)
{
    *s = (struct gem_sound){0};
    (void)path;
    (void)bytes;
    (void)n;
    return gem_fail(err, GEM_E_UNSUPPORTED, 0,
                    "%s: no WAV file; other sounds, and those of videos, need FFmpeg's libraries, which this build is "
                    "without (GEM_FFMPEG)",
                    name);
}

gem_status gem_ffmpeg_image(struct gem_image *image, const char *name, const void *bytes, size_t n, gem_error *err)
{
    *image = (struct gem_image){0};
    (void)bytes;
    (void)n;
    return gem_fail(err, GEM_E_UNSUPPORTED, 0,
                    "%s: neither a PNG nor a JPEG image; others need FFmpeg's libraries, which this build is without",
                    name);
}
#endif
