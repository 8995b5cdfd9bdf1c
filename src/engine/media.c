/* SPDX-License-Identifier: Apache-2.0
 *
 * Media items: from what the caller has to what a tower takes. */
#include "engine/internal.h"

enum { FRAME_BUDGET = 70 };

static gem_status check_sight(const struct gem_model *m, gem_error *err)
{
    if (m->no_vision.code) {
        if (err) *err = m->no_vision;
        return m->no_vision.code;
    }
    if (m->sees) return GEM_OK;
    return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: the model cannot see: it has no vision tower%s",
                    m->archive.paths[0],
                    m->archive.is_gguf && !m->mmproj.n_files ? ", and no mmproj file was given" : "");
}

static gem_status check_source(const gem_image_source *s, const char *name, gem_error *err)
{
    if ((s->path != NULL) + (s->bytes != NULL) + (s->rgb != NULL) != 1)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "%s: exactly one of path, bytes and rgb must be given", name);
    if (s->kind != GEM_MEDIA_IMAGE && s->kind != GEM_MEDIA_FRAME)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "%s: kind %d is neither an image (0) nor a frame (1)", name,
                        (int)s->kind);
    if (!s->rgb) return GEM_OK;
    if (s->width == 0 || s->height == 0 || s->width > GEM_IMAGE_MAX_SIDE || s->height > GEM_IMAGE_MAX_SIDE ||
        (uint64_t)s->width * s->height > GEM_IMAGE_MAX_PIXELS)
        return gem_fail(err, GEM_E_LIMIT, 0,
                        "%s: %u x %u pixels; from 1 to %u on a side and %llu million in all are read", name, s->width,
                        s->height, GEM_IMAGE_MAX_SIDE, (unsigned long long)(GEM_IMAGE_MAX_PIXELS / 1000000));
    if (s->stride && s->stride < (size_t)s->width * 3)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "%s: rows of %u pixels do not fit a stride of %zu bytes", name,
                        s->width, s->stride);
    return GEM_OK;
}

/* image becomes the resized pixels. */
static gem_status load_image(struct gem_image *image, const gem_image_source *s, uint32_t budget, const char *name,
                             gem_error *err)
{
    struct gem_image whole = {0};
    struct gem_size from = {s->width, s->height};
    const uint8_t *pixels = s->rgb;
    size_t stride = s->stride ? s->stride : (size_t)s->width * 3;
    gem_status st = GEM_OK;

    if (s->path) st = gem_image_load(&whole, s->path, err);
    if (s->bytes) st = gem_image_decode(&whole, name, s->bytes, s->n_bytes, err);
    if (st) return st;
    if (whole.rgb) {
        from = (struct gem_size){whole.width, whole.height};
        pixels = whole.rgb;
        stride = (size_t)whole.width * 3;
    }
    st = gem_resample(image, gem_vision_target(from.width, from.height, budget), pixels, from, stride, name, err);
    gem_image_close(&whole);
    return st;
}

static void name_content(struct gem_media *media)
{
    const struct gem_image *i = &media->image;
    const uint32_t head[3] = {GEM_MEDIA_IMAGE, i->width, i->height}; /* a frame is encoded as an image is */
    struct gem_sha256 s;

    gem_sha256_begin(&s);
    gem_sha256_add(&s, head, sizeof head);
    gem_sha256_add(&s, i->rgb, (size_t)i->width * i->height * 3);
    media->digest = gem_sha256_end(&s);
}

gem_status gem_media_open_image(gem_media **out, const gem_model *m, const gem_image_source *source, gem_error *err)
{
    const char *name = source->name ? source->name : source->path ? source->path : "image";
    uint32_t budget = source->budget;
    struct gem_media *media;
    gem_status st;

    *out = NULL;
    if ((st = check_sight(m, err))) return st;
    if ((st = check_source(source, name, err))) return st;
    if (!budget) budget = source->kind == GEM_MEDIA_FRAME ? FRAME_BUDGET : m->image_budget;
    if ((st = gem_vision_budget(&budget, err))) return st;
    if (!(media = gem_calloc(1, sizeof *media, "an image", err))) return GEM_E_NOMEM;
    media->model = m;
    media->kind = source->kind;
    if ((st = load_image(&media->image, source, budget, name, err))) {
        gem_free(media);
        return st;
    }
    media->n_tokens = media->image.width / GEM_CELL * (media->image.height / GEM_CELL);
    name_content(media);
    *out = media;
    return GEM_OK;
}

void gem_media_close(gem_media *media)
{
    if (!media) return;
    gem_image_close(&media->image);
    gem_sound_close(&media->sound);
    gem_free(media);
}

void gem_media_get_info(const gem_media *media, gem_media_info *out)
{
    const struct gem_hparams *h = &media->model->h;

    *out = (gem_media_info){.kind = media->kind,
                            .n_tokens = media->n_tokens,
                            .placeholder = h->placeholders[media->kind],
                            .begin = h->media_begin[media->kind],
                            .end = h->media_end[media->kind],
                            .width = media->image.width,
                            .height = media->image.height,
                            .n_samples = media->sound.n};
    memcpy(out->digest, media->digest.bytes, sizeof out->digest);
}
