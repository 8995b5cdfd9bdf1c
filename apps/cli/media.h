/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/media.h - images, videos and sounds that were opened, and where they stand in a prompt. */
#ifndef GEM_CLI_MEDIA_H
#define GEM_CLI_MEDIA_H

#include "input.h"

struct gem_cli_sound {
    gem_media **pieces;
    size_t n;
};

/* Zero-initialised is empty. */
struct gem_cli_media {
    struct gem_cli_media_item *items; /* [n] all that were opened */
    size_t n, cap;
    gem_media_at *at; /* [n_at] of the prompt, in order */
    size_t n_at, cap_at;
    gem_video **videos; /* [n_videos] whose frames are among the items */
    size_t n_videos;
    struct gem_cli_sound *sounds; /* [n_sounds] whose pieces are among the items */
    size_t n_sounds;
};

struct gem_cli_media_item {
    gem_media *media;
    const void *part; /* what it was opened for */
    bool is_image;    /* by itself, not a frame of a video or a piece of a sound */
    char stamp[16];   /* of a frame: its time; else "" */
};

/* These say what went wrong and return 0 or an exit code. */
/* Open a file and append what it becomes: an image, all frames, all pieces. part: any pointer, by which these are found
 * again; each call has its own, or NULL. */
int gem_cli_media_add(struct gem_cli_media *media, const gem_model *model, const gem_image_source *source,
                      const void *part);
int gem_cli_media_add_video(struct gem_cli_media *media, const gem_model *model, const gem_video_source *source,
                            const void *part);
int gem_cli_media_add_audio(struct gem_cli_media *media, const gem_model *model, const gem_audio_source *source,
                            const void *part);
/* Whether there are items of this part. */
bool gem_cli_media_has(const struct gem_cli_media *media, const void *part);

/* A new prompt: nothing stands anywhere. */
void gem_cli_media_begin(struct gem_cli_media *media);
/* Item i stands at token `at`. */
int gem_cli_media_place(struct gem_cli_media *media, size_t i, size_t at);
/* Appends the items of a part, each as begin marker, placeholders and end marker, of frames their times before, and
 * notes where. */
int gem_cli_media_write(struct gem_cli_media *media, const void *part, const gem_model *model,
                        struct gem_cli_tokens *tokens);
void gem_cli_media_free(struct gem_cli_media *media);

#endif
