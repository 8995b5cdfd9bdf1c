/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/line.h - reading lines from a person, with editing and history where libedit was there when this was built,
 * or from a pipe. Prompts go to standard error. */
#ifndef GEM_CLI_LINE_H
#define GEM_CLI_LINE_H

#include "input.h"

/* Offers the word number i that completes a line of n bytes; NULL: no more. */
typedef const char *gem_cli_complete_fn(const char *line, size_t n, size_t i);

struct gem_cli_line;

/* NULL when memory ran out. */
struct gem_cli_line *gem_cli_line_open(gem_cli_complete_fn *complete);
void gem_cli_line_close(struct gem_cli_line *line); /* accepts NULL */
/* Whether lines can be edited: a terminal, and libedit. */
bool gem_cli_line_edits(const struct gem_cli_line *line);

/* Reads one line, without its end. On a terminal a backslash at the end continues it, and pasted text counts as one.
 * *end: there is no more. An interrupt drops what was typed and begins again; a request to terminate is an exit code.
 */
int gem_cli_line_read(struct gem_cli_line *line, const char *prompt, struct gem_cli_text *text, bool *end);
/* The same for a question in the course of an answer: an interrupt is *end, and stays for the caller to see. */
int gem_cli_line_ask(struct gem_cli_line *line, const char *prompt, struct gem_cli_text *text, bool *end);

#endif
