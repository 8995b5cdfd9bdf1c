/* SPDX-License-Identifier: Apache-2.0
 * tests/fuzz/fuzz_gguf.c - any bytes as a GGUF file: refused with a message, or everything it says can be read. */
#include "archive_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct gem_archive a;
    volatile uint64_t sink = 0; /* so that no read is optimised away */
    gem_error err = {0};

    if (gem_gguf_parse(&a, "fuzz.gguf", data, n, &err) == GEM_OK)
        sink = archive_walk(&a);
    else
        WALK_EXPECT(err.code != GEM_OK && err.message[0] && !a.tensors && !a.n_files);
    (void)sink;
    gem_archive_close(&a);
    return 0;
}
