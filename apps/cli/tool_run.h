/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/tool_run.h - calls of tools: what to run for them, and running it after asking. */
#ifndef GEM_CLI_TOOL_RUN_H
#define GEM_CLI_TOOL_RUN_H

#include "line.h"
#include "talk.h"

/* Gets the result of each call, from its command or from the person, and adds it to the conversation. A tool's
 * command is "command": ["PROGRAM", "ARGUMENT", ...] beside its "function": it gets the arguments as JSON on standard
 * input, and what it writes is the result. *end: the person is gone or has interrupted; the rest was refused. */
int gem_cli_tools_answer(struct gem_cli_talk *talk, struct gem_cli_line *line, yyjson_mut_val *calls, bool *end);

#endif
