/* SPDX-License-Identifier: Apache-2.0
 * tests/fuzz/fuzz_output.c - any bytes as what a model writes: the first byte says how it is cut into pieces, and that
 * must not matter to what is heard. Calls come as JSON objects, text as UTF-8. */
#include "chat/chat.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define EXPECT(cond)                                                                                                   \
    do {                                                                                                               \
        if (!(cond)) abort();                                                                                          \
    } while (0)

/* A digest of all that was heard, pieces of one kind joined. */
struct heard {
    uint64_t hash;
    int last;
};

static void mix(struct heard *h, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) h->hash = (h->hash ^ (uint8_t)s[i]) * UINT64_C(0x100000001b3);
}

static void hear(void *user, const gem_chat_event *e)
{
    struct heard *h = user;
    const char kind = (char)e->kind;

    EXPECT(gem_utf8_valid(e->text, e->n_text) && gem_utf8_valid(e->name ? e->name : "", e->n_name));
    if (h->last != (int)e->kind || e->kind == GEM_CHAT_CALL || e->kind == GEM_CHAT_MALFORMED) mix(h, &kind, 1);
    h->last = (int)e->kind;
    mix(h, e->name ? e->name : "", e->n_name);
    mix(h, e->text, e->n_text);
    if (e->kind == GEM_CHAT_CALL) {
        yyjson_doc *doc = yyjson_read(e->text, e->n_text, YYJSON_READ_NUMBER_AS_RAW);
        EXPECT(yyjson_is_obj(yyjson_doc_get_root(doc)) && e->n_name > 0);
        yyjson_doc_free(doc);
    }
}

static uint64_t run(const gem_chat_prompt *prompt, bool stops, const char *s, size_t n, size_t piece)
{
    static const gem_stop_string strings[] = {{"th", 2}, {"a b", 3}, {"\n\n", 2}};
    struct heard h = {.hash = UINT64_C(0xcbf29ce484222325)};
    gem_chat_parser *p;
    const char *json;
    size_t n_json;

    EXPECT(!gem_chat_reader_open(&p, NULL, GEM_CHAT_GEMMA4_LARGE, prompt, hear, &h, NULL));
    EXPECT(!gem_chat_parser_set_stop(p, strings, stops ? 3 : 0, NULL));
    for (size_t at = 0; at < n; at += piece)
        EXPECT(!gem_chat_parser_push_text(p, s + at, n - at < piece ? n - at : piece, NULL));
    EXPECT(!gem_chat_parser_finish(p, NULL));
    EXPECT(!gem_chat_parser_message(p, 1, &json, &n_json, NULL));
    mix(&h, json, n_json);
    EXPECT(stops || gem_chat_parser_stop(p) < 0);
    gem_chat_parser_close(p);
    return h.hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char messages[] = "[]";
    static const char tools[] = "[{\"function\":{\"name\":\"f\",\"parameters\":{\"properties\":{\"s\":{\"type\":"
                                "\"string\"},\"i\":{\"type\":\"integer\"},"
                                "\"l\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"o\":{\"properties\":{"
                                "\"b\":{\"type\":\"boolean\"}}},"
                                "\"n\":{\"anyOf\":[{\"type\":\"number\"},{\"type\":\"null\"}]}}}}}]";
    gem_chat_prompt *prompt;
    uint64_t whole;

    if (n < 1) return 0;
    EXPECT(!gem_chat_prompt_open(&prompt, NULL, GEM_CHAT_GEMMA4_LARGE, messages, sizeof messages - 1, tools,
                                 sizeof tools - 1, NULL, NULL));
    prompt->thought = data[0] & 0x80 ? GEM_THOUGHT_OPEN : GEM_THOUGHT_NONE;
    whole = run(prompt, data[0] & 0x40, (const char *)data + 1, n - 1, n);
    EXPECT(whole == run(prompt, data[0] & 0x40, (const char *)data + 1, n - 1, 1 + (data[0] & 15)));
    gem_chat_prompt_close(prompt);
    return 0;
}
