/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/slash.h - commands inside a chat: lines that begin with a slash. */
#ifndef GEM_CLI_SLASH_H
#define GEM_CLI_SLASH_H

#include "line.h"
#include "talk.h"

struct gem_cli_slash {
    struct gem_cli_talk *talk;
    struct gem_cli_line *line;
    /* what a command asks of the chat */
    bool quit, answer_again;
};

/* Whether a line is a command: a slash and letters, then white space or the end. "//" and a blank before a slash make
 * it text. */
bool gem_cli_is_slash(const struct gem_cli_text *line);
/* Runs it. Returns 0 also when it could not be done, after saying why: the chat goes on. */
int gem_cli_slash_run(struct gem_cli_slash *slash, const struct gem_cli_text *line);
/* A gem_cli_complete_fn. */
const char *gem_cli_slash_complete(const char *line, size_t n, size_t i);

#endif
