/* SPDX-License-Identifier: Apache-2.0 */
#include "media.h"
#include "terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int make_room(struct gem_cli_media *media)
{
    const size_t cap = media->cap ? 2 * media->cap : 8;
    struct gem_cli_media_item *items;
    gem_media_at *at;

    if (media->n < media->cap) return 0;
    if (!(items = realloc(media->items, cap * sizeof *items))) return gem_cli_out_of_memory();
    media->items = items;
    if (!(at = realloc(media->at, cap * sizeof *at))) return gem_cli_out_of_memory();
    media->at = at;
    media->cap = cap;
    return 0;
}

int gem_cli_media_add(struct gem_cli_media *media, const gem_model *model, const gem_image_source *source, size_t at)
{
    struct gem_cli_media_item item = {0};
    gem_error err;
    int code = make_room(media);

    if (code) return code;
    if (gem_media_open_image(&item.media, model, source, &err)) return gem_cli_fail(&err);
    media->items[media->n] = item;
    media->at[media->n++] = (gem_media_at){.media = item.media, .at = at};
    return 0;
}

int gem_cli_media_add_video(struct gem_cli_media *media, const gem_model *model, const gem_video_source *source)
{
    gem_video **more = realloc(media->videos, (media->n_videos + 1) * sizeof *more), *video;
    gem_error err;
    int code = 0;

    if (!more) return gem_cli_out_of_memory();
    media->videos = more;
    if (gem_video_open(&video, model, source, &err)) return gem_cli_fail(&err);
    media->videos[media->n_videos++] = video;
    for (size_t i = 0; i < gem_video_frames(video) && !code; i++) {
        struct gem_cli_media_item item = {.first_frame = i == 0};

        if ((code = make_room(media))) break;
        item.media = gem_video_frame(video, i, item.stamp);
        media->items[media->n] = item;
        media->at[media->n++] = (gem_media_at){.media = item.media};
    }
    return code;
}

static int write_lead(const struct gem_cli_media_item *item, const gem_model *model, const char *lead,
                      struct gem_cli_tokens *tokens)
{
    char text[64];
    const bool frame = item->stamp[0] != 0;

    snprintf(text, sizeof text, "%.32s%s%s%s", lead, frame && !item->first_frame ? " " : "", item->stamp,
             frame ? " " : "");
    return text[0] ? gem_cli_tokens_encode(tokens, model, text, strlen(text), false) : 0;
}

int gem_cli_media_write(struct gem_cli_media *media, size_t i, const gem_model *model, const char *lead,
                        struct gem_cli_tokens *tokens)
{
    gem_media_info info;
    int code = write_lead(&media->items[i], model, lead, tokens);

    if (code) return code;
    gem_media_get_info(media->items[i].media, &info);
    if (info.placeholder < 0 || info.begin < 0 || info.end < 0) {
        gem_cli_error("the model has no tokens for images");
        return GEM_CLI_EXIT_FILE;
    }
    if ((code = gem_cli_tokens_push(tokens, info.begin))) return code;
    media->at[i].at = tokens->n;
    for (uint32_t t = 0; t < info.n_tokens && !code; t++) code = gem_cli_tokens_push(tokens, info.placeholder);
    return code ? code : gem_cli_tokens_push(tokens, info.end);
}

void gem_cli_media_free(struct gem_cli_media *media)
{
    for (size_t i = 0; i < media->n; i++)
        if (!media->items[i].stamp[0]) gem_media_close(media->items[i].media);
    for (size_t i = 0; i < media->n_videos; i++) gem_video_close(media->videos[i]);
    free(media->videos);
    free(media->items);
    free(media->at);
    *media = (struct gem_cli_media){0};
}
