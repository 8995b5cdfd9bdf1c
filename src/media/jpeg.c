/* SPDX-License-Identifier: Apache-2.0
 *
 * The structure of a JPEG file (ITU T.81, annex B): segments from SOI to EOI, entropy-coded data after each SOS. */
#include "media/image.h"

#include <string.h>

enum { SOI = 0xd8, EOI = 0xd9, SOS = 0xda, APP1 = 0xe1, TEM = 0x01 };

bool gem_jpeg_is(const uint8_t *data, size_t n)
{
    return n >= 3 && data[0] == 0xff && data[1] == SOI && data[2] == 0xff;
}

static bool is_frame(uint8_t marker) /* SOF0 to SOF15, but for DHT, JPG and DAC among them */
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

static bool is_restart(uint8_t marker) { return marker >= 0xd0 && marker <= 0xd7; }

/* Past entropy-coded data: the next 0xff that is neither stuffing nor a restart. */
static size_t skip_scan(const uint8_t *data, size_t n, size_t at)
{
    while (at + 1 < n && (data[at] != 0xff || data[at + 1] == 0 || data[at + 1] == 0xff || is_restart(data[at + 1])))
        at++;
    return at;
}

static gem_status cut(const char *name, size_t n, gem_error *err)
{
    return gem_fail(err, GEM_E_FORMAT, n, "%s: JPEG file ends at byte %zu, before its image does", name, n);
}

/* A segment with a length; data [n] behind it. */
static gem_status read_segment(struct gem_image_header *h, const char *name, uint8_t marker, const uint8_t *data,
                               size_t n, size_t at, gem_error *err)
{
    if (is_frame(marker)) {
        if (h->width) return gem_fail(err, GEM_E_FORMAT, at, "%s: JPEG file has two frames", name);
        if (n < 6) return gem_fail(err, GEM_E_FORMAT, at, "%s: JPEG frame header is too short", name);
        h->height = (uint32_t)data[1] << 8 | data[2];
        h->width = (uint32_t)data[3] << 8 | data[4];
    }
    if (marker == APP1 && n >= 6 && !memcmp(data, "Exif\0", 6)) h->orientation = gem_exif_orientation(data + 6, n - 6);
    h->n_scans += marker == SOS;
    return GEM_OK;
}

gem_status gem_jpeg_check(struct gem_image_header *h, const char *name, const uint8_t *data, size_t n, gem_error *err)
{
    *h = (struct gem_image_header){.orientation = 1};
    for (size_t at = 2; at + 1 < n;) {
        const uint8_t marker = data[at + 1];
        size_t length;
        gem_status st;

        if (data[at] != 0xff)
            return gem_fail(err, GEM_E_FORMAT, at, "%s: no JPEG marker at byte %zu, where one must be", name, at);
        if (marker == EOI && h->n_scans) return GEM_OK;
        if (marker == EOI || marker == SOI || marker == 0)
            return gem_fail(err, GEM_E_FORMAT, at, "%s: JPEG marker %02x at byte %zu makes no sense", name, marker, at);
        at += marker == 0xff ? 1 : 2; /* fill bytes */
        if (marker == 0xff || marker == TEM || is_restart(marker)) continue;
        if (n - at < 2) break;
        length = (size_t)data[at] << 8 | data[at + 1];
        if (length < 2) return gem_fail(err, GEM_E_FORMAT, at, "%s: JPEG segment is shorter than its length", name);
        if (length > n - at) break;
        if ((st = read_segment(h, name, marker, data + at + 2, length - 2, at, err))) return st;
        at += length;
        if (marker == SOS) at = skip_scan(data, n, at);
    }
    return cut(name, n, err);
}
