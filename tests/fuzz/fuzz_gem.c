/* SPDX-License-Identifier: Apache-2.0
 * tests/fuzz/fuzz_gem.c - any bytes as a native file: refused with a message, or everything it says can be read. A
 * checksum would stop nearly every input at the door, so each is tried twice: as it is, and with its header's,
 * directory's and metadata's checksums made right. Of what is accepted then, rows are taken out of panels. */
#include "archive_walk.h"

#include "files/gem.h"
#include "kernels/kernels.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static uint64_t load(const uint8_t *p, int n)
{
    uint64_t x = 0;

    for (int i = 0; i < n; i++) x |= (uint64_t)p[i] << 8 * i;
    return x;
}

static void store(uint8_t *p, uint64_t x)
{
    for (int i = 0; i < 8; i++) p[i] = (uint8_t)(x >> 8 * i);
}

/* As far as the numbers let one find what is to be summed. */
static void mend(uint8_t *p, size_t n)
{
    uint64_t directory, n_blobs;

    if (n < GEM_NATIVE_HEADER) return;
    store(p + 16, n);
    directory = load(p + 24, 8);
    n_blobs = load(p + 32, 4);
    if (directory > n - GEM_NATIVE_HEADER) store(p + 24, directory = n - GEM_NATIVE_HEADER);
    for (uint64_t i = 0; i < n_blobs && (i + 1) * GEM_NATIVE_BLOB <= directory; i++) {
        uint8_t *blob = p + GEM_NATIVE_HEADER + i * GEM_NATIVE_BLOB;
        const uint64_t at = load(blob, 8), size = load(blob + 8, 8);
        if (at <= n && size <= n - at) store(blob + 16, gem_hash_of(p + at, (size_t)size));
    }
    store(p + 48, gem_hash_of(p + GEM_NATIVE_HEADER, (size_t)directory));
    store(p + 56, gem_hash_of(p, 56));
}

static uint64_t read_panels(const struct gem_tensor *t)
{
    const uint64_t cols = t->shape[t->n_dims - 1], size = gem_panel_bytes((enum gem_pack_kind)t->layout, cols);
    float *row = malloc(cols * sizeof *row);
    uint64_t sum = 0;

    for (uint64_t panel = 0; row && panel < t->n_bytes / size; panel++) {
        gem_unpack_row(t->type, t->data + panel * size, panel % GEM_PANEL, cols, row);
        sum += row[0] > row[cols - 1];
    }
    free(row);
    return sum;
}

static uint64_t try(const uint8_t *data, size_t n)
{
    struct gem_archive a;
    gem_error err = {0};
    uint64_t sum = 0;

    if (gem_native_parse(&a, "fuzz.gem", data, n, &err) == GEM_OK) {
        sum = archive_walk(&a);
        for (size_t i = 0; i < a.n_tensors; i++)
            if (a.tensors[i].layout) sum += read_panels(&a.tensors[i]);
    } else {
        WALK_EXPECT(err.code != GEM_OK && err.message[0] && !a.tensors && !a.n_files);
    }
    gem_archive_close(&a);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    volatile uint64_t sink = try(data, n); /* so that no read is optimised away */

    if (copy) {
        if (n) memcpy(copy, data, n);
        mend(copy, n);
        sink += try(copy, n);
    }
    (void)sink;
    free(copy);
    return 0;
}
