/* SPDX-License-Identifier: Apache-2.0
 * src/media/video.h - frames and sound of videos, and images and sounds of other kinds, through FFmpeg's libraries
 * (GEM_FFMPEG); without them these functions say so. */
#ifndef GEM_MEDIA_VIDEO_H
#define GEM_MEDIA_VIDEO_H

#include "media/image.h"
#include "media/sound.h"

/* At most this many frames are taken of a video. */
enum { GEM_VIDEO_MAX_FRAMES = 4096, GEM_VIDEO_DEFAULT_FRAMES = 32 };

/* What is asked for: n_frames evenly over the whole, or so many a second. Both 0: GEM_VIDEO_DEFAULT_FRAMES. */
struct gem_video_request {
    const char *name; /* for messages */
    const char *path; /* or the file in memory: */
    const void *bytes;
    size_t n_bytes;
    uint32_t n_frames;
    double fps;
};

/* A frame that was chosen, upright, `seconds` after the beginning by its number and the frame rate. The image is the
 * callee's to read until it returns. Anything but GEM_OK ends the reading. */
typedef gem_status gem_frame_fn(void *user, const struct gem_image *image, double seconds, gem_error *err);

gem_status gem_video_read(const struct gem_video_request *r, gem_frame_fn *on_frame, void *user, gem_error *err);
/* The first picture of any file that FFmpeg reads. */
gem_status gem_ffmpeg_image(struct gem_image *image, const char *name, const void *bytes, size_t n, gem_error *err);
/* The sound of any file that FFmpeg reads, of a video too: the file at path, or, where that is NULL, n bytes. Several
 * streams: the one that FFmpeg takes for the main one. */
gem_status gem_ffmpeg_sound(struct gem_sound *s, const char *name, const char *path, const void *bytes, uint64_t n,
                            gem_error *err);
bool gem_ffmpeg_is_built_in(void);

/* How many of `total` frames at src_fps a request takes: as transformers does, but for a video that has fewer, of which
 * all are taken. */
uint64_t gem_video_count(uint64_t total, double src_fps, uint32_t n_frames, double fps);
/* Number of the i-th of n frames chosen from `total`: floor(i * total / n). */
uint64_t gem_video_index(uint64_t total, uint64_t n, uint64_t i);

#endif
