/* SPDX-License-Identifier: Apache-2.0 */
#include "media/image.h"

#include "base/file.h"
#include "base/memory.h"
#include "media/video.h"

#include <string.h>

static gem_status check_size(const char *name, uint64_t width, uint64_t height, gem_error *err)
{
    if (width == 0 || height == 0)
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: the image is empty (%llux%llu pixels)", name,
                        (unsigned long long)width, (unsigned long long)height);
    if (width <= GEM_IMAGE_MAX_SIDE && height <= GEM_IMAGE_MAX_SIDE && width * height <= GEM_IMAGE_MAX_PIXELS)
        return GEM_OK;
    return gem_fail(err, GEM_E_LIMIT, 0, "%s: %llux%llu pixels, at most %llu million and %u on a side are read", name,
                    (unsigned long long)width, (unsigned long long)height,
                    (unsigned long long)(GEM_IMAGE_MAX_PIXELS / 1000000), GEM_IMAGE_MAX_SIDE);
}

gem_status gem_image_make(struct gem_image *image, const char *name, uint64_t width, uint64_t height, gem_error *err)
{
    gem_status st;

    *image = (struct gem_image){0};
    if ((st = check_size(name, width, height, err))) return st;
    if (!(image->rgb = gem_realloc(NULL, (size_t)(width * height), 3, "an image", err))) return GEM_E_NOMEM;
    image->width = (uint32_t)width;
    image->height = (uint32_t)height;
    return GEM_OK;
}

void gem_image_close(struct gem_image *image)
{
    gem_free(image->rgb);
    *image = (struct gem_image){0};
}

static gem_status check_header(const struct gem_image_header *h, const char *name, gem_error *err)
{
    const gem_status st = check_size(name, h->width, h->height, err);

    if (st || (uint64_t)h->width * h->height * h->n_scans <= GEM_IMAGE_MAX_SCAN_PIXELS) return st;
    return gem_fail(err, GEM_E_LIMIT, 0, "%s: %u scans of %ux%u pixels would take too long to decode", name, h->n_scans,
                    h->width, h->height);
}

gem_status gem_image_decode(struct gem_image *image, const char *name, const void *bytes, size_t n, gem_error *err)
{
    const uint8_t *data = bytes;
    struct gem_image_header h;
    gem_status st;

    *image = (struct gem_image){0};
    if (n > GEM_IMAGE_MAX_BYTES)
        return gem_fail(err, GEM_E_LIMIT, 0, "%s: %zu bytes, at most %llu are read", name, n,
                        (unsigned long long)GEM_IMAGE_MAX_BYTES);
    if (n == 0) return gem_fail(err, GEM_E_FORMAT, 0, "%s: the image file is empty", name);
    if (gem_png_is(data, n))
        st = gem_png_check(&h, name, data, n, err);
    else if (gem_jpeg_is(data, n))
        st = gem_jpeg_check(&h, name, data, n, err);
    else
        return gem_ffmpeg_image(image, name, data, n, err);
    if (st || (st = check_header(&h, name, err))) return st;
    if ((st = gem_stb_decode(image, &h, name, data, n, err))) return st;
    if ((st = gem_image_orient(image, h.orientation, name, err))) gem_image_close(image);
    return st;
}

gem_status gem_image_load(struct gem_image *image, const char *path, gem_error *err)
{
    struct gem_map map = {0};
    uint8_t *data = NULL;
    gem_status st;

    *image = (struct gem_image){0};
    if ((st = gem_map_open(&map, path, err))) goto out;
    if ((st = gem_map_read_all(&map, path, GEM_IMAGE_MAX_BYTES, &data, err))) goto out;
    st = gem_image_decode(image, path, data, (size_t)map.n_bytes, err);
out:
    gem_free(data);
    gem_map_close(&map);
    return st;
}
