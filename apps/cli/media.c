/* SPDX-License-Identifier: Apache-2.0 */
#include "media.h"
#include "terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int append(struct gem_cli_media *media, const struct gem_cli_media_item *item)
{
    const size_t cap = media->cap ? 2 * media->cap : 8;
    struct gem_cli_media_item *items = media->items;

    if (media->n == media->cap) {
        if (!(items = realloc(items, cap * sizeof *items))) return gem_cli_out_of_memory();
        media->items = items;
        media->cap = cap;
    }
    items[media->n++] = *item;
    return 0;
}

int gem_cli_media_add(struct gem_cli_media *media, const gem_model *model, const gem_image_source *source,
                      const void *part)
{
    struct gem_cli_media_item item = {.part = part, .is_image = true};
    gem_error err;
    int code;

    if (gem_media_open_image(&item.media, model, source, &err)) return gem_cli_fail(&err);
    if ((code = append(media, &item))) gem_media_close(item.media);
    return code;
}

int gem_cli_media_add_video(struct gem_cli_media *media, const gem_model *model, const gem_video_source *source,
                            const void *part)
{
    gem_video **more = realloc(media->videos, (media->n_videos + 1) * sizeof *more), *video;
    gem_error err;
    int code = 0;

    if (!more) return gem_cli_out_of_memory();
    media->videos = more;
    if (gem_video_open(&video, model, source, &err)) return gem_cli_fail(&err);
    media->videos[media->n_videos++] = video;
    for (size_t i = 0; i < gem_video_frames(video) && !code; i++) {
        struct gem_cli_media_item item = {.part = part};

        item.media = gem_video_frame(video, i, item.stamp);
        code = append(media, &item);
    }
    return code;
}

int gem_cli_media_add_audio(struct gem_cli_media *media, const gem_model *model, const gem_audio_source *source,
                            const void *part)
{
    struct gem_cli_sound *more = realloc(media->sounds, (media->n_sounds + 1) * sizeof *more), *sound;
    gem_error err;
    int code = 0;

    if (!more) return gem_cli_out_of_memory();
    media->sounds = more;
    sound = &media->sounds[media->n_sounds];
    if (gem_media_open_audio(&sound->pieces, &sound->n, model, source, &err)) return gem_cli_fail(&err);
    media->n_sounds++;
    for (size_t i = 0; i < sound->n && !code; i++) {
        const struct gem_cli_media_item item = {.media = sound->pieces[i], .part = part};
        code = append(media, &item);
    }
    return code;
}

bool gem_cli_media_has(const struct gem_cli_media *media, const void *part)
{
    for (size_t i = 0; i < media->n; i++)
        if (media->items[i].part == part) return true;
    return false;
}

/* ---- in a prompt ------------------------------------------------------------------------------------------------- */

void gem_cli_media_begin(struct gem_cli_media *media) { media->n_at = 0; }

int gem_cli_media_place(struct gem_cli_media *media, size_t i, size_t at)
{
    const size_t cap = media->cap_at ? 2 * media->cap_at : 8;
    gem_media_at *more = media->at;

    if (media->n_at == media->cap_at) {
        if (!(more = realloc(more, cap * sizeof *more))) return gem_cli_out_of_memory();
        media->at = more;
        media->cap_at = cap;
    }
    more[media->n_at++] = (gem_media_at){.media = media->items[i].media, .at = at};
    return 0;
}

/* The time of a frame, with a space between it and what is around it. */
static int write_stamp(const struct gem_cli_media_item *item, bool first, const gem_model *model,
                       struct gem_cli_tokens *tokens)
{
    char text[64];

    if (!item->stamp[0]) return 0;
    snprintf(text, sizeof text, "%s%s ", first ? "" : " ", item->stamp);
    return gem_cli_tokens_encode(tokens, model, text, strlen(text), false);
}

static int write_item(struct gem_cli_media *media, size_t i, bool first, const gem_model *model,
                      struct gem_cli_tokens *tokens)
{
    gem_media_info info;
    int code = write_stamp(&media->items[i], first, model, tokens);

    if (code) return code;
    gem_media_get_info(media->items[i].media, &info);
    if (info.placeholder < 0 || info.begin < 0 || info.end < 0) {
        gem_cli_error("the model has no tokens for %s", info.kind == GEM_MEDIA_AUDIO ? "sound" : "images");
        return GEM_CLI_EXIT_FILE;
    }
    if ((code = gem_cli_tokens_push(tokens, info.begin))) return code;
    if ((code = gem_cli_media_place(media, i, tokens->n))) return code;
    for (uint32_t t = 0; t < info.n_tokens && !code; t++) code = gem_cli_tokens_push(tokens, info.placeholder);
    return code ? code : gem_cli_tokens_push(tokens, info.end);
}

int gem_cli_media_write(struct gem_cli_media *media, const void *part, const gem_model *model,
                        struct gem_cli_tokens *tokens)
{
    bool first = true;
    int code = 0;

    for (size_t i = 0; i < media->n && !code; i++) {
        if (media->items[i].part != part) continue;
        code = write_item(media, i, first, model, tokens);
        first = false;
    }
    return code;
}

void gem_cli_media_free(struct gem_cli_media *media)
{
    for (size_t i = 0; i < media->n; i++)
        if (media->items[i].is_image) gem_media_close(media->items[i].media);
    for (size_t i = 0; i < media->n_videos; i++) gem_video_close(media->videos[i]);
    for (size_t i = 0; i < media->n_sounds; i++) gem_media_close_all(media->sounds[i].pieces, media->sounds[i].n);
    free(media->videos);
    free(media->sounds);
    free(media->items);
    free(media->at);
    *media = (struct gem_cli_media){0};
}
