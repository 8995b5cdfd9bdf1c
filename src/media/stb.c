/* SPDX-License-Identifier: Apache-2.0
 *
 * stb_image, confined: PNG and JPEG only, from memory only, and no block larger than the header's size can explain. Its
 * allocator takes no context, so the ceiling is the thread's, set around each call. */
#include "media/image.h"

#include "base/memory.h"

#include <stdlib.h>

static _Thread_local struct {
    uint64_t ceiling;
    bool failed; /* memory could not be had, for which stb_image finds other words */
} memory;

static void *stb_realloc(void *p, size_t n)
{
    void *q = n <= memory.ceiling ? gem_realloc(p, n, 1, "an image", NULL) : NULL;

    memory.failed |= !q && n <= memory.ceiling;
    return q;
}

#define STBI_MALLOC(n)     stb_realloc(NULL, n)
#define STBI_REALLOC(p, n) stb_realloc(p, n)
#define STBI_FREE(p)       gem_free(p)
#define STBI_ASSERT(x)     ((void)0) /* what it asserts is checked by the sanitizers of the fuzz targets */
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_NO_GIF
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_MAX_DIMENSIONS (1 << 20)
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wpointer-arith"
#include <stb_image.h> /* NOLINT(clang-analyzer-*) */
#pragma GCC diagnostic pop

_Static_assert(STBI_MAX_DIMENSIONS == GEM_IMAGE_MAX_SIDE, "one ceiling");

/* Of one block: at most four samples of 16 bits a pixel, sides rounded up to a JPEG block, twice that where it grows by
 * doubling; and compressed data that it gathers. */
static uint64_t largest_block(const struct gem_image_header *h, size_t n)
{
    const uint64_t image = ((uint64_t)h->width + 64) * ((uint64_t)h->height + 64) * 8;

    return 2 * (image > n ? image : n) + 65536;
}

gem_status gem_stb_decode(struct gem_image *image, const struct gem_image_header *h, const char *name,
                          const uint8_t *data, size_t n, gem_error *err)
{
    int width = 0, height = 0, channels = 0;
    uint8_t *rgb;

    *image = (struct gem_image){0};
    if (n > GEM_IMAGE_MAX_BYTES || (uint64_t)h->width * h->height > GEM_IMAGE_MAX_PIXELS)
        return gem_fail(err, GEM_E_LIMIT, 0, "%s: too large to decode", name);
    memory.ceiling = largest_block(h, n);
    memory.failed = false;
    rgb = stbi_load_from_memory(data, (int)n, &width, &height, &channels, 3);
    memory.ceiling = 0;
    if (!rgb) {
        const char *why = stbi_failure_reason();
        if (memory.failed) return gem_fail(err, GEM_E_NOMEM, 0, "%s: out of memory decoding it", name);
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: cannot be decoded: %s", name, why ? why : "unknown reason");
    }
    *image = (struct gem_image){.rgb = rgb, .width = (uint32_t)width, .height = (uint32_t)height};
    if (image->width == h->width && image->height == h->height) return GEM_OK;
    gem_image_close(image);
    return gem_fail(err, GEM_E_FORMAT, 0, "%s: its size is %ux%u in one place and %dx%d in another", name, h->width,
                    h->height, width, height);
}
