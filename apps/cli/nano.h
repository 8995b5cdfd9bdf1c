/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/nano.h - nano, the small model that comes with the program and is used where none is named. */
#ifndef GEM_CLI_NANO_H
#define GEM_CLI_NANO_H

/* Its folder, or NULL after saying that it is not there. Lives until the program ends. */
const char *gem_cli_nano(void);

/* The operands [MODEL] [TEXT] of a command: a single one that names no file is the text. *model becomes nano's folder
 * where none is named. Returns 0 or an exit code. */
int gem_cli_choose_model(const char **model, const char **text);

#endif
