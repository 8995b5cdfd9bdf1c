/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/constraint.h - options that say which texts an answer may be. */
#ifndef GEM_CLI_CONSTRAINT_H
#define GEM_CLI_CONSTRAINT_H

#include <gemmule.h>

#include "options.h"

struct gem_cli_constraint_args {
    const char *schema, *grammar, *regex; /* at most one is given */
};

extern const struct gem_cli_option gem_cli_constraint_options[3];

/* How tools may be called. Zero is as the model likes: text, calls or both. */
struct gem_cli_tool_use {
    const char *choice; /* "auto", "required", "none", "free" or a tool's name; NULL: auto */
    bool single;
    struct {
        gem_constraint *constraint;
        gem_thought thought;
    } made[2]; /* for answers to a question, and to results; made when they are wanted */
};

/* The constraint of the next answer with these tools, a JSON array; *out is NULL with "free". follows_result: calls
 * were answered, so that none is required any more. *out lives until gem_cli_tool_use_forget, or the next call. */
int gem_cli_tool_use_make(gem_constraint **out, struct gem_cli_tool_use *use, const gem_model *model, const char *tools,
                          size_t n_tools, gem_thought thought, bool follows_result);
/* Other tools come. */
void gem_cli_tool_use_forget(struct gem_cli_tool_use *use);

/* *out is NULL when none is given; closed by gem_constraint_close. thinking: the answer may begin with a thought.
 * Returns 0, or an exit code after saying what went wrong. */
int gem_cli_constraint_make(gem_constraint **out, const gem_model *model, const char *command,
                            const struct gem_cli_constraint_args *args, bool thinking);

#endif
