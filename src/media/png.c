/* SPDX-License-Identifier: Apache-2.0
 *
 * The structure of a PNG file (ISO/IEC 15948): chunks of length, type, data and CRC-32 from IHDR to IEND. */
#include "media/image.h"

#include <string.h>

static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

bool gem_png_is(const uint8_t *data, size_t n) { return n >= 8 && !memcmp(data, signature, 8); }

static uint32_t load_be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Reflected, polynomial 0xedb88320, four bits at a time. */
static uint32_t crc32(const uint8_t *data, size_t n)
{
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                       0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

struct chunk {
    const uint8_t *type, *data;
    uint32_t n;
};

static gem_status read_chunk(struct chunk *c, const char *name, const uint8_t *data, size_t n, size_t at,
                             gem_error *err)
{
    if (n - at < 12 || load_be(data + at) > n - at - 12)
        return gem_fail(err, GEM_E_FORMAT, at, "%s: PNG file ends at byte %zu, inside a chunk", name, n);
    *c = (struct chunk){.type = data + at + 4, .data = data + at + 8, .n = load_be(data + at)};
    if (crc32(c->type, (size_t)c->n + 4) == load_be(c->data + c->n)) return GEM_OK;
    return gem_fail(err, GEM_E_FORMAT, at, "%s: PNG chunk '%.4s' is damaged: its checksum is wrong", name,
                    (const char *)c->type);
}

static bool is(const struct chunk *c, const char *type) { return !memcmp(c->type, type, 4); }

gem_status gem_png_check(struct gem_image_header *h, const char *name, const uint8_t *data, size_t n, gem_error *err)
{
    struct chunk c = {0};
    gem_status st;

    *h = (struct gem_image_header){.orientation = 1, .n_scans = 1};
    for (size_t at = 8; at < n; at += (size_t)c.n + 12) {
        if ((st = read_chunk(&c, name, data, n, at, err))) return st;
        if ((at == 8) != is(&c, "IHDR") || (at == 8 && c.n != 13))
            return gem_fail(err, GEM_E_FORMAT, at, "%s: PNG header is not at the start, or has a wrong length", name);
        if (at == 8) {
            h->width = load_be(c.data);
            h->height = load_be(c.data + 4);
        }
        if (is(&c, "eXIf")) h->orientation = gem_exif_orientation(c.data, c.n);
        if (is(&c, "IEND")) return GEM_OK;
    }
    return gem_fail(err, GEM_E_FORMAT, n, "%s: PNG file ends at byte %zu without an end chunk", name, n);
}
