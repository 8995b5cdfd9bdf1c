/* SPDX-License-Identifier: Apache-2.0
 * src/generate/answer.h - what surrounds a constrained answer: thoughts before it, calls of tools in it.
 * Method: spec/tokenizer-and-chat.md 3.3 and 4.4. */
#ifndef GEM_GENERATE_ANSWER_H
#define GEM_GENERATE_ANSWER_H

#include "generate/schema.h"
#include "tokenizer/tokenizer.h"

/* Puts a thought before the root rule. Errors: GEM_E_UNSUPPORTED when the vocabulary has no such tokens. */
gem_status gem_answer_after_thought(struct gem_grammar *g, const struct gem_tokenizer *t, gem_thought thought);

/* An answer with calls of the tools that a JSON text declares, as the model's control tokens spell them. */
gem_status gem_answer_with_tools(struct gem_grammar *g, const struct gem_tokenizer *t, const char *json, size_t n,
                                 const gem_tool_options *options);

#endif
