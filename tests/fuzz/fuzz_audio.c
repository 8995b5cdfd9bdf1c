/* SPDX-License-Identifier: Apache-2.0
 * Weights of an audio front end, in either format: whatever is bound can be encoded with, in both tiers, or says why
 * not. */
#include "audio/audio.h"

#include <stdlib.h>

enum { N = 700, TEXT = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) abort();
}

static void encode(const struct gem_audio_weights *w, const struct gem_kernels *kern, struct gem_pool *pool)
{
    struct gem_audio_encoder e;
    float pcm[N], soft[2 * TEXT];
    gem_error err = {0};
    gem_status st;

    for (int i = 0; i < N; i++) pcm[i] = (float)(i * 37 % 100 - 50) / 64;
    must(gem_audio_bytes(w, 3, 1) > 0);
    if (gem_audio_open(&e, w, kern, pool, 3, &err)) return;
    st = gem_audio_encode(&e, pcm, N, soft, &err);
    must(st == GEM_OK || (st == GEM_E_NONFINITE && err.message[0]));
    gem_audio_close(&e);
}

static void use(const struct gem_archive *a, bool fast)
{
    struct gem_audio_weights w;
    struct gem_pool *pool;
    struct gem_kernels kern;
    gem_error err = {0};

    if (gem_audio_bind(&w, a, TEXT, &err)) {
        must(err.code != GEM_OK && err.message[0] && !w.layers && !w.vectors);
        return;
    }
    gem_kernels_init(&kern, 0);
    if (gem_pool_open(&pool, 1, &err)) abort();
    if (!fast || !gem_audio_pack(&w, &kern, pool, &err)) encode(&w, &kern, pool);
    gem_pool_close(pool);
    gem_audio_weights_close(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gem_archive a = {0};
    const bool gguf = size > 4 && !memcmp(data, "GGUF", 4);
    uint8_t *copy = malloc(size + 1); /* packing gives back pages, of a mapping as it should be; here they become 0 */

    must(copy != NULL);
    if (size) memcpy(copy, data, size);
    if (!(gguf ? gem_gguf_parse : gem_safetensors_parse)(&a, "fuzz", copy, size, NULL)) {
        gem_audio_is_raw(&a);
        use(&a, false);
        use(&a, true);
    }
    gem_archive_close(&a);
    free(copy);
    gem_audio_check_config("config.json", data, size, NULL);
    return 0;
}
