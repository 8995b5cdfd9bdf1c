/* SPDX-License-Identifier: Apache-2.0
 * src/chat/declare.h - declarations of tools (spec/tokenizer-and-chat.md 3.2). */
#ifndef GEM_CHAT_DECLARE_H
#define GEM_CHAT_DECLARE_H

#include "base/json.h"
#include "chat/text.h"

/* All tools, one declaration after the other. reference: as the published template, quirks included. Failures are
 * left in t->status. */
void gem_chat_declare(struct gem_chat_text *t, yyjson_val *tools, bool reference);

/* Whether calls can carry a tool of this name: GEM_E_FORMAT when not, beginning with `where`. */
gem_status gem_chat_check_name(yyjson_val *name, const char *where, gem_error *err);

#endif
