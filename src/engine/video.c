/* SPDX-License-Identifier: Apache-2.0
 *
 * A video is a list of frames, each an image of its own with a small budget (spec/multimodal.md 3). */
#include "engine/internal.h"

#include "media/video.h"

#include <math.h>
#include <stdio.h>

struct gem_video {
    gem_media **frames;
    double *seconds;
    size_t n, cap;
};

struct reading {
    struct gem_video *video;
    const gem_model *model;
    const gem_video_source *source;
    const char *name;
};

static gem_status make_room(struct gem_video *v, gem_error *err)
{
    const size_t cap = v->cap ? 2 * v->cap : GEM_VIDEO_DEFAULT_FRAMES;
    gem_media **frames;
    double *seconds;

    if (v->n < v->cap) return GEM_OK;
    if (!(frames = gem_realloc(v->frames, cap, sizeof *frames, "frames of a video", err))) return GEM_E_NOMEM;
    v->frames = frames;
    if (!(seconds = gem_realloc(v->seconds, cap, sizeof *seconds, "frames of a video", err))) return GEM_E_NOMEM;
    v->seconds = seconds;
    v->cap = cap;
    return GEM_OK;
}

static gem_status on_frame(void *user, const struct gem_image *image, double seconds, gem_error *err)
{
    const struct reading *r = user;
    const gem_image_source source = {.rgb = image->rgb,
                                     .width = image->width,
                                     .height = image->height,
                                     .kind = GEM_MEDIA_FRAME,
                                     .budget = r->source->budget,
                                     .name = r->name};
    gem_status st;

    if ((st = make_room(r->video, err))) return st;
    if ((st = gem_media_open_image(&r->video->frames[r->video->n], r->model, &source, err))) return st;
    r->video->seconds[r->video->n++] = seconds;
    return GEM_OK;
}

gem_status gem_video_open(gem_video **out, const gem_model *m, const gem_video_source *s, gem_error *err)
{
    struct reading r = {.model = m, .source = s, .name = s->name ? s->name : s->path ? s->path : "video"};
    const struct gem_video_request request = {.name = r.name,
                                              .path = s->path,
                                              .bytes = s->bytes,
                                              .n_bytes = s->n_bytes,
                                              .n_frames = s->n_frames,
                                              .fps = (double)s->fps};
    gem_status st;

    *out = NULL;
    if ((s->path != NULL) == (s->bytes != NULL))
        return gem_fail(err, GEM_E_ARGUMENT, 0, "%s: exactly one of path and bytes must be given", r.name);
    if (s->n_frames > GEM_VIDEO_MAX_FRAMES || !(s->fps >= 0 && s->fps <= 1000) || (s->n_frames && s->fps > 0))
        return gem_fail(err, GEM_E_ARGUMENT, 0,
                        "%s: %u frames or %g a second: at most %d, or at most 1000, and not both", r.name, s->n_frames,
                        (double)s->fps, GEM_VIDEO_MAX_FRAMES);
    if (!(r.video = gem_calloc(1, sizeof *r.video, "a video", err))) return GEM_E_NOMEM;
    if ((st = gem_video_read(&request, on_frame, &r, err))) {
        gem_video_close(r.video);
        return st;
    }
    *out = r.video;
    return GEM_OK;
}

void gem_video_close(gem_video *v)
{
    if (!v) return;
    for (size_t i = 0; i < v->n; i++) gem_media_close(v->frames[i]);
    gem_free(v->frames);
    gem_free(v->seconds);
    gem_free(v);
}

size_t gem_video_frames(const gem_video *v) { return v->n; }

gem_media *gem_video_frame(const gem_video *v, size_t i, char stamp[16])
{
    const double t = v->seconds[i];

    snprintf(stamp, 16, "%02u:%02u", (unsigned)(t / 60), (unsigned)fmod(t, 60));
    return v->frames[i];
}
