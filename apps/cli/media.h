/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/media.h - lists of media items and where they stand in a prompt. */
#ifndef GEM_CLI_MEDIA_H
#define GEM_CLI_MEDIA_H

#include "input.h"

/* Zero-initialised is empty. */
struct gem_cli_media {
    struct gem_cli_media_item *items; /* [n] */
    gem_media_at *at;                 /* [n] in order of the prompt */
    size_t n, cap;
    gem_video **videos; /* [n_videos] whose frames are among the items */
    size_t n_videos;
};

struct gem_cli_media_item {
    gem_media *media;
    char stamp[16];   /* of a frame: its time; else "" */
    bool first_frame; /* of its video */
};

/* These say what went wrong and return 0 or an exit code. */
/* Opens an image file and appends it; its place is `at` until something else is written there. */
int gem_cli_media_add(struct gem_cli_media *media, const gem_model *model, const gem_image_source *source, size_t at);
/* Appends all frames of a video. */
int gem_cli_media_add_video(struct gem_cli_media *media, const gem_model *model, const gem_video_source *source);
/* Appends begin marker, placeholders and end marker of item i, of a frame its time before them, and notes where. lead:
 * text that goes before, encoded together with the time. */
int gem_cli_media_write(struct gem_cli_media *media, size_t i, const gem_model *model, const char *lead,
                        struct gem_cli_tokens *tokens);
void gem_cli_media_free(struct gem_cli_media *media);

#endif
