/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/commands.h - the table of commands, each in a file of its own. */
#ifndef GEM_CLI_COMMANDS_H
#define GEM_CLI_COMMANDS_H

#include "options.h"

extern const struct gem_cli_command gem_cli_run, gem_cli_chat, gem_cli_tokenize, gem_cli_inspect, gem_cli_bench,
    gem_cli_pack, gem_cli_ppl, gem_cli_probe, gem_cli_version, gem_cli_help;

enum { GEM_CLI_N_COMMANDS = 10 };
extern const struct gem_cli_command *const gem_cli_commands[GEM_CLI_N_COMMANDS];

/* NULL when there is none of that name. */
const struct gem_cli_command *gem_cli_find_command(const char *name);
/* Says that there is none, with the nearest, and returns GEM_CLI_EXIT_USAGE. */
int gem_cli_unknown_command(const char *name);

/* Pages made from the tables, on standard output. */
void gem_cli_help_overview(void);
void gem_cli_help_command(const struct gem_cli_command *command);
void gem_cli_man_page(void);
/* false when the shell is unknown. */
bool gem_cli_completion(const char *shell);

/* "exact, fast" or "1 to 4096; default: 256": range and default of an option for people; "" when there is nothing
 * to say. */
void gem_cli_option_limits(const struct gem_cli_option *option, char *out, size_t size);

#endif
