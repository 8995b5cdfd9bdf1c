/* SPDX-License-Identifier: Apache-2.0
 * src/vision/preprocess.h - from pixels to what the towers take: spec/multimodal.md 1. */
#ifndef GEM_VISION_PREPROCESS_H
#define GEM_VISION_PREPROCESS_H

#include "media/image.h"

/* A soft token stands for a square of 48 pixels: 3 x 3 patches of 16. */
enum { GEM_PATCH = 16, GEM_POOL = 3, GEM_CELL = GEM_PATCH * GEM_POOL, GEM_DEFAULT_BUDGET = 280, GEM_MAX_BUDGET = 1120 };

/* GEM_E_ARGUMENT with the list of those allowed. budget: soft tokens at most; 0 means the default and is replaced. */
gem_status gem_vision_budget(uint32_t *budget, gem_error *err);

/* Size to which an image of width x height, both at least 1, is resized: multiples of GEM_CELL that fill the budget.
 * Soft tokens are then width / GEM_CELL * height / GEM_CELL, at most the budget. */
struct gem_size {
    uint32_t width, height;
};
struct gem_size gem_vision_target(uint32_t width, uint32_t height, uint32_t budget);

/* Bicubic with antialiasing, bit for bit Pillow's Image.resize(size, BICUBIC) of an RGB image (spec 1.4).
 * out: made here. pixels [height, width, 3], rows `stride` bytes apart; name: for messages. */
gem_status gem_resample(struct gem_image *out, struct gem_size to, const uint8_t *pixels, struct gem_size from,
                        size_t stride, const char *name, gem_error *err);

/* One square of `side` pixels at (x, y) in units of side, as values in [0, 1] ordered (row, column, channel):
 * out [side * side * 3]. */
void gem_vision_square(const struct gem_image *image, uint32_t side, uint32_t x, uint32_t y, float *out);

#endif
