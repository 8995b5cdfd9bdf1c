/* SPDX-License-Identifier: Apache-2.0 */
#include "media.h"
#include "terminal.h"

#include <stdlib.h>

static int make_room(struct gem_cli_media *media)
{
    const size_t cap = media->cap ? 2 * media->cap : 8;
    gem_media **items;
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
    gem_error err;
    int code = make_room(media);

    if (code) return code;
    if (gem_media_open_image(&media->items[media->n], model, source, &err)) return gem_cli_fail(&err);
    media->at[media->n] = (gem_media_at){.media = media->items[media->n], .at = at};
    media->n++;
    return 0;
}

int gem_cli_media_write(struct gem_cli_media *media, size_t i, struct gem_cli_tokens *tokens)
{
    gem_media_info info;
    int code = 0;

    gem_media_get_info(media->items[i], &info);
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
    for (size_t i = 0; i < media->n; i++) gem_media_close(media->items[i]);
    free(media->items);
    free(media->at);
    *media = (struct gem_cli_media){0};
}
