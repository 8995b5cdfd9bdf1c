/* SPDX-License-Identifier: Apache-2.0
 * src/generate/stop.h - text on its way out, held back as long as it may be the beginning of a stop string. */
#ifndef GEM_GENERATE_STOP_H
#define GEM_GENERATE_STOP_H

#include "tokenizer/tokenizer.h"

enum { GEM_STOP_MAX_STRINGS = 64, GEM_STOP_MAX_BYTES = 1024 };

/* Zero-initialised is the closed state. */
struct gem_stop {
    const struct gem_tokenizer *tokenizer; /* NULL: neither text nor stop strings are wanted */
    const gem_stop_string *strings;
    size_t n_strings, longest;
    gem_text_fn *on_text;
    void *user;
    gem_text_stream stream;
    char *held; /* [GEM_STOP_MAX_BYTES + GEM_TEXT_STREAM_MAX] */
    size_t n_held;
    int32_t found; /* the string that ended the text, or -1 */
};

gem_status gem_stop_open(struct gem_stop *s, const struct gem_tokenizer *t, const gem_generate_options *o, void *user,
                         gem_error *err);
/* The next token. *go_on becomes false when the caller asks to stop; s->found tells of a stop string. */
gem_status gem_stop_push(struct gem_stop *s, int32_t token, bool *go_on, gem_error *err);
/* The end: what was held back comes out, unless a stop string was found. */
gem_status gem_stop_finish(struct gem_stop *s, gem_error *err);
void gem_stop_close(struct gem_stop *s);

#endif
