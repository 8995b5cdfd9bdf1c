/* SPDX-License-Identifier: Apache-2.0
 * src/chat/text.h - a conversation as it is being written: text, and marks where control tokens stand in it. What is
 * not marked is text, whatever it spells. */
#ifndef GEM_CHAT_TEXT_H
#define GEM_CHAT_TEXT_H

#include "base/status.h"

/* Control tokens that conversations use, by role; their spelling differs between formats. */
enum gem_chat_control {
    GEM_CHAT_BOS,
    GEM_CHAT_EOS,
    GEM_CHAT_TURN,
    GEM_CHAT_TURN_END,
    GEM_CHAT_THINK,
    GEM_CHAT_CHANNEL,
    GEM_CHAT_CHANNEL_END,
    GEM_CHAT_TOOL,
    GEM_CHAT_TOOL_END,
    GEM_CHAT_TOOL_CALL,
    GEM_CHAT_TOOL_CALL_END,
    GEM_CHAT_RESPONSE,
    GEM_CHAT_RESPONSE_END,
    GEM_CHAT_QUOTE,
    GEM_CHAT_IMAGE,
    GEM_CHAT_AUDIO,
    GEM_CHAT_VIDEO,
    GEM_CHAT_N_CONTROLS
};

/* NULL: the format has no such token. */
const char *gem_chat_control_name(gem_chat_format format, enum gem_chat_control control);
/* Where in s [n] the first spelling of a Gemma 4 control token is; n when there is none. */
size_t gem_chat_find_control(const char *s, size_t n);

struct gem_chat_mark {
    size_t at, n; /* in the text */
    enum gem_chat_control control;
};

/* Zero-initialised but for format and err is empty. The first failure stays; later writes do nothing. */
struct gem_chat_text {
    gem_chat_format format;
    gem_error *err;
    gem_status status;
    char *s;
    size_t n, cap;
    struct gem_chat_mark *marks;
    size_t n_marks, cap_marks;
};

void gem_chat_put(struct gem_chat_text *t, const char *s, size_t n);
void gem_chat_puts(struct gem_chat_text *t, const char *s);
void gem_chat_put_control(struct gem_chat_text *t, enum gem_chat_control control);
void gem_chat_text_close(struct gem_chat_text *t);

/* Makes room for `more` elements of `size` bytes behind the n there are. GEM_E_LIMIT above `most` elements. */
gem_status gem_chat_grow(void **p, size_t *cap, size_t n, size_t more, size_t size, size_t most, const char *what,
                         gem_error *err);

/* Takes white space off both ends, as Python's str.strip() does. Moves *s; returns the new length. */
size_t gem_chat_strip(const char **s, size_t n);

#endif
