/* SPDX-License-Identifier: Apache-2.0
 * src/tokenizer/tokenizer.h - Gemma's tokenizers. Immutable once open; shared between threads.
 * Method: spec/tokenizer-and-chat.md 1 (Gemma 4: rank-ordered BPE over code points); SentencePiece BPE by
 * piece scores for Gemma 3 GGUF files. */
#ifndef GEM_TOKENIZER_H
#define GEM_TOKENIZER_H

#include "base/status.h"
#include "files/archive.h"

struct gem_tokenizer;

/* From tokenizer.json (untrusted), `name` for messages. Copies what it keeps. */
gem_status gem_tokenizer_from_json(struct gem_tokenizer **out, const char *name, const void *json, size_t n_bytes,
                                   gem_error *err);
/* From GGUF metadata: tokenizer.ggml.model "gemma4" (merges) or "llama" (scores). *out is NULL with GEM_OK when
 * the file carries no tokenizer. */
gem_status gem_tokenizer_from_gguf(struct gem_tokenizer **out, const struct gem_archive *a, gem_error *err);
void gem_tokenizer_close(struct gem_tokenizer *t); /* accepts NULL */

/* Memory that it holds; 0 for NULL. */
uint64_t gem_tokenizer_bytes(const struct gem_tokenizer *t);
uint32_t gem_tokenizer_vocab(const struct gem_tokenizer *t);
/* NULL when id is out of range or unused; not zero-terminated. */
const char *gem_tokenizer_piece(const struct gem_tokenizer *t, int32_t id, size_t *n);
/* -1 when there is none. Control tokens included. */
int32_t gem_tokenizer_find(const struct gem_tokenizer *t, const char *piece, size_t n);
bool gem_tokenizer_is_control(const struct gem_tokenizer *t, int32_t id);
/* Whether the piece stands for one byte ("<0x41>"), and which. */
bool gem_tokenizer_is_byte(const struct gem_tokenizer *t, int32_t id, uint8_t *byte);

/* As gem_tokenize, gem_detokenize, gem_text_stream_* in gemmule.h. */
gem_status gem_tokenizer_encode(const struct gem_tokenizer *t, const char *text, size_t n_bytes, bool control,
                                int32_t *tokens, size_t cap, size_t *n_tokens, gem_error *err);
gem_status gem_tokenizer_decode(const struct gem_tokenizer *t, const int32_t *tokens, size_t n_tokens, bool control,
                                char *text, size_t cap, size_t *n_bytes, gem_error *err);
gem_status gem_tokenizer_stream_push(const struct gem_tokenizer *t, gem_text_stream *stream, int32_t token, char *text,
                                     size_t *n_bytes, gem_error *err);

#endif
