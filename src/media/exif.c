/* SPDX-License-Identifier: Apache-2.0
 *
 * EXIF orientation. What cannot be read counts as upright, as in the reference: a photograph is not refused for the
 * notes that a camera left in it. */
#include "base/memory.h"
#include "media/image.h"

#include <string.h>

struct tiff {
    const uint8_t *data;
    size_t n;
    bool big_endian;
};

/* Out of range reads as 0. */
static uint32_t load(const struct tiff *t, uint64_t at, unsigned n_bytes)
{
    uint32_t v = 0;

    if (at + n_bytes > t->n) return 0;
    for (unsigned i = 0; i < n_bytes; i++) v |= (uint32_t)t->data[at + i] << 8 * (t->big_endian ? n_bytes - 1 - i : i);
    return v;
}

uint32_t gem_exif_orientation(const uint8_t *data, size_t n)
{
    enum { ORIENTATION = 0x0112, SHORT = 3, ENTRY = 12 };
    struct tiff t = {.data = data, .n = n};
    uint64_t at;
    uint32_t n_entries, value;

    if (n < 8 || data[0] != data[1] || (data[0] != 'I' && data[0] != 'M')) return 1;
    t.big_endian = data[0] == 'M';
    if (load(&t, 2, 2) != 42) return 1;
    at = load(&t, 4, 4);
    n_entries = load(&t, at, 2);
    for (uint32_t i = 0; i < n_entries; i++) {
        const uint64_t entry = at + 2 + (uint64_t)i * ENTRY;
        if (entry + ENTRY > n) break;
        if (load(&t, entry, 2) != ORIENTATION || load(&t, entry + 2, 2) != SHORT) continue;
        value = load(&t, entry + 8, 2);
        return value >= 1 && value <= 8 ? value : 1;
    }
    return 1;
}

gem_status gem_image_orient(struct gem_image *image, uint32_t orientation, const char *name, gem_error *err)
{
    const bool swap = orientation >= 5;
    /* of the stored image, read along the upright one's rows */
    const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const uint32_t sw = image->width, sh = image->height;
    struct gem_image out;
    uint8_t *to;
    gem_status st;

    if (orientation <= 1 || orientation > 8) return GEM_OK;
    if ((st = gem_image_make(&out, name, swap ? sh : sw, swap ? sw : sh, err))) return st;
    to = out.rgb;
    for (uint32_t y = 0; y < out.height; y++)
        for (uint32_t x = 0; x < out.width; x++, to += 3) {
            const uint32_t u = swap ? y : x, v = swap ? x : y;
            const uint32_t sx = flip_x ? sw - 1 - u : u, sy = flip_y ? sh - 1 - v : v;
            memcpy(to, image->rgb + ((size_t)sy * sw + sx) * 3, 3);
        }
    gem_image_close(image);
    *image = out;
    return GEM_OK;
}
