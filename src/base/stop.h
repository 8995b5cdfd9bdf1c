/* SPDX-License-Identifier: Apache-2.0
 * src/base/stop.h - text on its way out, held back as long as it may be the beginning of a stop string. */
#ifndef GEM_BASE_STOP_H
#define GEM_BASE_STOP_H

#include <gemmule.h>

enum { GEM_STOP_MAX_STRINGS = 64, GEM_STOP_MAX_BYTES = 1024 };

/* Zero-initialised is closed: nothing may be pushed. */
struct gem_stop {
    const gem_stop_string *strings;
    size_t n_strings, longest;
    gem_text_fn *on_text; /* or NULL */
    void *user;
    char *held;
    size_t n_held;
    int32_t found; /* the string that ended the text, or -1; then nothing comes any more */
};

/* The strings are borrowed until it is closed; there may be none. */
gem_status gem_stop_open(struct gem_stop *s, const gem_stop_string *strings, size_t n_strings, gem_text_fn *on_text,
                         void *user, gem_error *err);
/* More text. Both return false when on_text does. */
bool gem_stop_push(struct gem_stop *s, const char *text, size_t n);
/* The text ends, or is interrupted: what was held back comes out. */
bool gem_stop_flush(struct gem_stop *s);
void gem_stop_close(struct gem_stop *s);

#endif
