/* SPDX-License-Identifier: Apache-2.0
 * src/vision/hparams.h - sizes of a tower before its tensors are bound. */
#ifndef GEM_VISION_HPARAMS_H
#define GEM_VISION_HPARAMS_H

#include "vision/tower.h"

gem_status gem_vision_hparams_from_gguf(struct gem_vision_hparams *h, const struct gem_archive *a, gem_error *err);
/* Every size within its range. name: of the file, for messages. */
gem_status gem_vision_hparams_check(const struct gem_vision_hparams *h, const char *name, gem_error *err);

#endif
