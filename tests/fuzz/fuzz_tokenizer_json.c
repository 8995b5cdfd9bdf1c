/* SPDX-License-Identifier: Apache-2.0
 * tests/fuzz/fuzz_tokenizer_json.c - any bytes as a tokenizer.json: refused with a message, or a tokenizer that does
 * what its tables say. */
#include "tokenizer_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char text[] = "The \xe2\x82\xac and the  <|turn>\n\n\tthe <eos>\xff end";
    struct gem_tokenizer *t;
    gem_error err = {0};

    if (gem_tokenizer_from_json(&t, "fuzz.json", data, n, &err)) {
        WALK_EXPECT(!t && err.code != GEM_OK && err.message[0]);
        return 0;
    }
    for (uint32_t id = 0; id < gem_tokenizer_vocab(t); id++) {
        size_t len;
        const char *s = gem_tokenizer_piece(t, (int32_t)id, &len);
        if (s) WALK_EXPECT(gem_tokenizer_find(t, s, len) == (int32_t)id);
    }
    for (int control = 0; control < 2; control++) {
        walk_text(t, text, sizeof text - 1, control);
        if (gem_tokenizer_vocab(t) < 4096) walk_text(t, (const char *)data + n / 2, n / 2 < 300 ? n / 2 : 300, control);
    }
    gem_tokenizer_close(t);
    return 0;
}
