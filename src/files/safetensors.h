/* SPDX-License-Identifier: Apache-2.0
 * src/files/safetensors.h - one safetensors file; safetensors_open.c finds and joins them. */
#ifndef GEM_FILES_SAFETENSORS_H
#define GEM_FILES_SAFETENSORS_H

#include "files/parse.h"

/* Appends what file a->n_files - 1 holds. */
gem_status gem_safetensors_append(struct gem_archive *a, gem_error *err);

#endif
