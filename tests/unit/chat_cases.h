/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/chat_cases.h - the reference's conversations and outputs: tests/golden/chat, one JSON object a line. */
#ifndef GEM_TEST_CHAT_CASES_H
#define GEM_TEST_CHAT_CASES_H

#include "unit/check.h"

#include "base/file.h"
#include "base/json.h"
#include "chat/chat.h"

typedef void chat_case_fn(void *user, yyjson_val *c);

/* Numbers are read as they are spelled. Returns how many there were. */
static inline size_t chat_cases(const char *path, chat_case_fn *run, void *user)
{
    struct gem_map map;
    gem_error err;
    size_t n = 0;

    if (gem_map_open(&map, path, &err)) {
        printf("%s\n", err.message);
        check_failures++;
        return 0;
    }
    for (const char *s = (const char *)map.data, *end = s + map.n_bytes; s < end; n++) {
        const char *line = memchr(s, '\n', (size_t)(end - s));
        const size_t len = (size_t)((line ? line : end) - s);
        yyjson_doc *doc = NULL;

        CHECK(!gem_json_parse_raw(&doc, path, s, len, 64 << 20, &err));
        if (doc) run(user, yyjson_doc_get_root(doc));
        yyjson_doc_free(doc);
        s += len + 1;
    }
    gem_map_close(&map);
    return n;
}

static inline bool chat_flag(yyjson_val *c, const char *name) { return yyjson_get_bool(yyjson_obj_get(c, name)); }

/* The prompt of a case; NULL and *err when it is refused. */
static inline gem_chat_prompt *chat_render_case(const struct gem_tokenizer *t, gem_chat_format format, yyjson_val *c,
                                                bool reference, gem_error *err)
{
    const gem_chat_options options = {
        .thinking = chat_flag(c, "enable_thinking"),
        .preserve_thinking = chat_flag(c, "preserve_thinking"),
        .history_only = !chat_flag(c, "add_generation_prompt"),
        .reference = reference,
    };
    size_t n_messages = 0, n_tools = 0;
    char *messages = yyjson_val_write(yyjson_obj_get(c, "messages"), 0, &n_messages);
    char *tools = yyjson_val_write(yyjson_obj_get(c, "tools"), 0, &n_tools);
    gem_chat_prompt *prompt = NULL;

    *err = (gem_error){0};
    gem_chat_prompt_open(&prompt, t, format, messages, n_messages, tools, n_tools, &options, err);
    free(messages);
    free(tools);
    return prompt;
}

static inline bool chat_same_text(const gem_chat_prompt *prompt, yyjson_val *want)
{
    const char *text;
    const size_t n = gem_chat_prompt_text(prompt, &text);

    if (n == yyjson_get_len(want) && !memcmp(text, yyjson_get_str(want), n)) return true;
    printf("  got  %.*s\n  want %s\n", (int)n, text, yyjson_get_str(want));
    return false;
}

#endif
