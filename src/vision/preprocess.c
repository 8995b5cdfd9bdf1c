/* SPDX-License-Identifier: Apache-2.0 */
#include "vision/preprocess.h"

#include <math.h>

gem_status gem_vision_budget(uint32_t *budget, gem_error *err)
{
    static const uint32_t allowed[] = {70, 140, GEM_DEFAULT_BUDGET, 560, GEM_MAX_BUDGET};

    if (*budget == 0) *budget = GEM_DEFAULT_BUDGET;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        if (*budget == allowed[i]) return GEM_OK;
    return gem_fail(err, GEM_E_ARGUMENT, 0, "budget: %u soft tokens, allowed are 70, 140, 280, 560 and 1120", *budget);
}

/* For the side that would vanish: the ratio is floored, not the size. */
static uint32_t long_side(uint32_t longer, uint32_t shorter, uint32_t budget)
{
    const uint32_t cells = longer / shorter;

    return (cells < budget ? cells : budget) * GEM_CELL;
}

struct gem_size gem_vision_target(uint32_t width, uint32_t height, uint32_t budget)
{
    const double area = (double)budget * GEM_CELL * GEM_CELL;
    const double factor = sqrt(area / ((double)height * (double)width));
    struct gem_size to = {(uint32_t)floor(factor * width / GEM_CELL) * GEM_CELL,
                          (uint32_t)floor(factor * height / GEM_CELL) * GEM_CELL};

    if (to.height == 0)
        to = (struct gem_size){long_side(width, height, budget), GEM_CELL};
    else if (to.width == 0)
        to = (struct gem_size){GEM_CELL, long_side(height, width, budget)};
    return to;
}

void gem_vision_square(const struct gem_image *image, uint32_t side, uint32_t x, uint32_t y, float *out)
{
    const float scale = (float)(1 / 255.0);

    for (uint32_t row = 0; row < side; row++) {
        const uint8_t *p = image->rgb + (((size_t)y * side + row) * image->width + (size_t)x * side) * 3;
        for (uint32_t i = 0; i < 3 * side; i++) *out++ = (float)p[i] * scale;
    }
}
