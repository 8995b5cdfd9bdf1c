/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/prompt.h - the turns of a conversation as tokens, for models that were tuned for it. */
#ifndef GEM_CLI_PROMPT_H
#define GEM_CLI_PROMPT_H

#include "input.h"
#include "media.h"

/* A turn is: open, role, newline, text, close, newline. Control tokens come as ids and text is encoded as text, so
 * nothing that a user types can end a turn. */
struct gem_cli_dialect {
    int32_t open, close;
    int32_t thought, thought_end; /* <|channel> and <channel|>, or -1 */
    bool system_turn;             /* a system text is a turn of its own (Gemma 4); else it leads the first user turn */
    bool empty_thought;           /* the prompt for an answer ends with an empty thought */
};

/* false when the vocabulary has no turns: a base model. */
bool gem_cli_dialect_find(struct gem_cli_dialect *dialect, const gem_model *model);

/* These append to tokens; they say what went wrong and return 0 or an exit code. */
int gem_cli_prompt_begin(struct gem_cli_tokens *tokens, const gem_model *model); /* <bos>, if there is one */
/* lead [n_lead]: text that goes before with a blank line between, for models without system turns; may be NULL. */
int gem_cli_prompt_turn(struct gem_cli_tokens *tokens, const gem_model *model, const struct gem_cli_dialect *dialect,
                        const char *role, const char *lead, const char *text, size_t n);
/* A user's turn that begins with all of `media`, as the template has it: without blank lines. */
int gem_cli_prompt_media_turn(struct gem_cli_tokens *tokens, const gem_model *model,
                              const struct gem_cli_dialect *dialect, struct gem_cli_media *media, const char *text,
                              size_t n);
/* What makes the model answer. */
int gem_cli_prompt_answer(struct gem_cli_tokens *tokens, const gem_model *model, const struct gem_cli_dialect *dialect);
/* An answer that was given, as it stands in the history: without its thoughts. */
int gem_cli_prompt_history(struct gem_cli_tokens *tokens, const gem_model *model, const struct gem_cli_dialect *dialect,
                           const struct gem_cli_tokens *answer);

/* Takes white space off both ends as the reference's template does (Python's str.strip). Moves *text, returns the new
 * length. */
size_t gem_cli_strip(const char **text, size_t n);

#endif
