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

/* *out is NULL when none is given; closed by gem_constraint_close. thinking: the answer may begin with a thought.
 * Returns 0, or an exit code after saying what went wrong. */
int gem_cli_constraint_make(gem_constraint **out, const gem_model *model, const char *command,
                            const struct gem_cli_constraint_args *args, bool thinking);

#endif
