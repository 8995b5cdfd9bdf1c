/* SPDX-License-Identifier: Apache-2.0
 * src/chat/chat.h - conversations: messages -> text with control tokens -> tokens, and tokens -> thought, text, calls.
 * Method: spec/tokenizer-and-chat.md 2 and 3. The functions do what their namesakes in gemmule.h say; a tokenizer and
 * what was learned of it stand here for the model. */
#ifndef GEM_CHAT_H
#define GEM_CHAT_H

#include "base/json.h"
#include "chat/text.h"
#include "tokenizer/tokenizer.h"

enum { GEM_CHAT_MAX_JSON = 64 << 20, GEM_CHAT_MAX_DEPTH = 64 };

/* ---- formats ---------------------------------------------------------------------------------------------------- */

/* Ids of the control tokens, -1 where the vocabulary lacks one. */
struct gem_chat_ids {
    int32_t id[GEM_CHAT_N_CONTROLS];
};

void gem_chat_find_ids(struct gem_chat_ids *ids, gem_chat_format format, const struct gem_tokenizer *t);
/* What the vocabulary allows. small: a model with per-layer embeddings. t may be NULL. */
gem_chat_format gem_chat_detect(const struct gem_tokenizer *t, bool small);
/* Compares a checkpoint's template [n] (NULL: it has none) with those known; info->format may change to what a known
 * one is for. */
void gem_chat_compare_template(gem_chat_info *info, const char *template, size_t n);

/* ---- rendering -------------------------------------------------------------------------------------------------- */

struct gem_chat_prompt {
    struct gem_chat_text text;
    int32_t *tokens;
    size_t n_tokens, cap_tokens;
    gem_chat_media *media; /* while rendering, `token` is the index of the mark */
    size_t n_media, cap_media;
    yyjson_doc *tools; /* or NULL */
    gem_thought thought;
};

/* Without a tokenizer there are no tokens. */
gem_status gem_chat_prompt_open(struct gem_chat_prompt **out, const struct gem_tokenizer *t, gem_chat_format format,
                                const char *messages, size_t n_messages, const char *tools, size_t n_tools,
                                const gem_chat_options *options, gem_error *err);

/* The parts of it. p->text has its format and err. */
gem_status gem_chat_render_messages(struct gem_chat_prompt *p, yyjson_val *messages, const gem_chat_options *options,
                                    gem_error *err);
gem_status gem_chat_encode(struct gem_chat_prompt *p, const struct gem_tokenizer *t, const int32_t *seen, size_t n_seen,
                           gem_error *err);

/* ---- parsing ---------------------------------------------------------------------------------------------------- */

/* t may be NULL: then only text can be pushed. prompt may be NULL: no tools, nothing open. */
gem_status gem_chat_reader_open(gem_chat_parser **out, const struct gem_tokenizer *t, gem_chat_format format,
                                const struct gem_chat_prompt *prompt, gem_chat_event_fn *on_event, void *user,
                                gem_error *err);

/* The body of a call, "call:NAME{...}", with the byte GEM_CHAT_QUOTE_BYTE for each quote token. closed: its end was
 * marked; stopped: the model ended there at least. name points into the body. *arguments is made in doc.
 * NULL on success, else what is wrong with it: static storage. nomem is set when memory ran out. */
enum { GEM_CHAT_QUOTE_BYTE = 0xff };
struct gem_chat_body {
    const char *s;
    size_t n;
    bool closed, stopped;
};
const char *gem_chat_read_call(yyjson_mut_doc *doc, yyjson_val *tools, const struct gem_chat_body *body,
                               const char **name, size_t *n_name, yyjson_mut_val **arguments, bool *nomem);

#endif
