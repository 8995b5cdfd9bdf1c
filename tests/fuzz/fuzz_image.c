/* SPDX-License-Identifier: Apache-2.0
 * Image files. The first byte chooses: the whole way from file to resized pixels; or stb_image alone behind a header
 * that matches, since checksums keep most mutations from it. */
#include "vision/preprocess.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_PIXELS = 1 << 20 }; /* so that inputs stay fast */

/* Sizes as the file gives them, without looking at anything else. */
static void peek(struct gem_image_header *h, const uint8_t *data, size_t size)
{
    *h = (struct gem_image_header){.width = 1, .height = 1, .orientation = 1, .n_scans = 1};
    if (gem_png_is(data, size) && size >= 24) {
        h->width = (uint32_t)data[17] << 16 | (uint32_t)data[18] << 8 | data[19];
        h->height = (uint32_t)data[21] << 16 | (uint32_t)data[22] << 8 | data[23];
    } else if (gem_jpeg_is(data, size)) {
        gem_jpeg_check(h, "x", data, size, NULL);
    }
}

static void whole_way(const uint8_t *data, size_t size)
{
    struct gem_image image, out;
    struct gem_size from, to;
    gem_error err = {0};

    if (gem_image_decode(&image, "x", data, size, &err)) {
        if (err.code == GEM_OK || err.message[0] == 0) abort(); /* a failure must say why */
        return;
    }
    from = (struct gem_size){image.width, image.height};
    to = gem_vision_target(image.width, image.height, 70);
    if (gem_resample(&out, to, image.rgb, from, (size_t)image.width * 3, "x", &err) == GEM_OK) gem_image_close(&out);
    gem_image_close(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gem_image_header h;
    struct gem_image image;

    if (size < 1) return 0;
    peek(&h, data + 1, size - 1);
    if ((uint64_t)h.width * h.height * (h.n_scans + 1) > MOST_PIXELS) return 0;
    if (data[0] & 1) {
        whole_way(data + 1, size - 1);
    } else if (gem_stb_decode(&image, &h, "x", data + 1, size - 1, NULL) == GEM_OK) {
        gem_image_orient(&image, data[0] >> 1 & 7, "x", NULL);
        gem_image_close(&image);
    }
    return 0;
}
