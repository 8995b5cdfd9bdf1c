/* SPDX-License-Identifier: Apache-2.0
 * tests/fuzz/fuzz_messages.c - any bytes as a conversation: flags, then messages and tools, cut at the first zero byte.
 * Refused with a message, or rendered; then every mark spells its control token, and each call parses again. */
#include "chat/chat.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define EXPECT(cond)                                                                                                   \
    do {                                                                                                               \
        if (!(cond)) abort();                                                                                          \
    } while (0)

static void check(const gem_chat_prompt *p)
{
    size_t end = 0;

    for (size_t i = 0; i < p->text.n_marks; i++) {
        const struct gem_chat_mark *mark = &p->text.marks[i];
        const char *name = gem_chat_control_name(p->text.format, mark->control);
        EXPECT(mark->at >= end && strlen(name) == mark->n && mark->at + mark->n <= p->text.n);
        EXPECT(!memcmp(p->text.s + mark->at, name, mark->n));
        end = mark->at + mark->n;
    }
    for (size_t i = 0; i < p->n_media; i++) EXPECT(p->media[i].token < p->text.n_marks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *messages, *tools;
    gem_chat_prompt *prompt;
    gem_chat_options o = {0};
    gem_error err = {0};
    size_t n_messages;

    if (n < 1) return 0;
    o.thinking = data[0] & 1;
    o.preserve_thinking = data[0] & 2;
    o.history_only = data[0] & 4;
    o.reference = data[0] & 8;
    messages = (const char *)data + 1;
    tools = memchr(messages, 0, n - 1);
    n_messages = tools ? (size_t)(tools - messages) : n - 1;
    if (gem_chat_prompt_open(&prompt, NULL, (gem_chat_format)(GEM_CHAT_GEMMA3 + (data[0] >> 4) % 3), messages,
                             n_messages, tools ? tools + 1 : NULL, tools ? n - 2 - n_messages : 0, &o, &err)) {
        EXPECT(!prompt && err.code != GEM_OK && err.message[0]);
        return 0;
    }
    check(prompt);
    gem_chat_prompt_close(prompt);
    return 0;
}
