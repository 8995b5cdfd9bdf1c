/* SPDX-License-Identifier: Apache-2.0
 * src/files/gguf.h - one GGUF file; gguf_open.c puts split files together. */
#ifndef GEM_FILES_GGUF_H
#define GEM_FILES_GGUF_H

#include "files/parse.h"

/* Appends what file a->n_files - 1 holds. */
gem_status gem_gguf_append(struct gem_archive *a, gem_error *err);

#endif
