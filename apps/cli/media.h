/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/media.h - lists of media items and where they stand in a prompt. */
#ifndef GEM_CLI_MEDIA_H
#define GEM_CLI_MEDIA_H

#include "input.h"

/* Zero-initialised is empty. */
struct gem_cli_media {
    gem_media **items; /* [n] */
    gem_media_at *at;  /* [n] in order of the prompt */
    size_t n, cap;
};

/* These say what went wrong and return 0 or an exit code. */
/* Opens an image file and appends it; its place is `at` until something else is written there. */
int gem_cli_media_add(struct gem_cli_media *media, const gem_model *model, const gem_image_source *source, size_t at);
/* Appends begin marker, placeholders and end marker of item i, and notes where. */
int gem_cli_media_write(struct gem_cli_media *media, size_t i, struct gem_cli_tokens *tokens);
void gem_cli_media_free(struct gem_cli_media *media);

#endif
