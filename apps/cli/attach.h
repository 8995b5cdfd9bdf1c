/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/attach.h - what the parts of a message show or play: {"type": "image" | "video" | "audio", "path": FILE},
 * and the forms of other programs: "image_url", "input_audio", and data in place of a file (base64). Functions say
 * themselves what went wrong and return 0 or an exit code. */
#ifndef GEM_CLI_ATTACH_H
#define GEM_CLI_ATTACH_H

#include "media.h"

#include <yyjson.h>

/* How media are shown; zero is the default of each. */
struct gem_cli_showing {
    uint32_t budget, frames;
    float fps;
};

/* Opens a file as "image", "video" or "audio", for `part`. */
int gem_cli_attach_path(struct gem_cli_media *media, const gem_model *model, const struct gem_cli_showing *how,
                        const char *type, const char *path, const void *part);
/* Opens what a part names, unless it is open. */
int gem_cli_attach(struct gem_cli_media *media, const gem_model *model, const struct gem_cli_showing *how,
                   yyjson_mut_val *part);
/* A part that shows or plays a file. NULL: out of memory. */
yyjson_mut_val *gem_cli_attach_file(yyjson_mut_doc *doc, const char *type, const char *path);

#endif
