/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/view.h - how an answer is shown: for people, or as JSON, one event a line. The answer goes to standard
 * output, thoughts and remarks to standard error. */
#ifndef GEM_CLI_VIEW_H
#define GEM_CLI_VIEW_H

#include "options.h"

#include <gemmule.h>

enum gem_cli_thoughts { GEM_CLI_THOUGHTS_HIDE, GEM_CLI_THOUGHTS_LENGTH, GEM_CLI_THOUGHTS_SHOW };

/* Zero-initialised is a view for people that hides thoughts. */
struct gem_cli_view {
    enum gem_cli_thoughts thoughts;
    bool json;
    size_t sample; /* which of several answers to one prompt this is, from 1; 0: it is the only one */
    /* while an answer runs */
    int code; /* of the first write that failed */
    bool open_line, in_thought;
    size_t n_calls;
    size_t n_thought;       /* tokens of the thought, as far as it has come, */
    double thought_seconds; /* and how long it took, if known: set by who has the tokens, for events do not tell */
    bool bold, code_block, code_word, line_begin; /* Markdown */
    size_t n_stars, n_ticks;
};

void gem_cli_view_begin(struct gem_cli_view *view);
/* A gem_chat_event_fn; user is the view. */
void gem_cli_view_event(void *user, const gem_chat_event *event);
/* Ends the line that is open. Returns 0 or an exit code. */
int gem_cli_view_end(struct gem_cli_view *view);
/* A line of JSON about the token at a position: its logprob, and those of the likeliest there. */
int gem_cli_view_logprobs(struct gem_cli_view *view, const gem_model *model, size_t position, const gem_logprob *chosen,
                          const gem_logprob *top, size_t n_top);
/* The last line of --json. message may be NULL. */
int gem_cli_view_json_end(const struct gem_cli_view *view, const gem_generate_stats *stats, const char *message,
                          size_t n);

/* "show", "length", "hide"; NULL: show on a terminal if `shown`, else hide. */
enum gem_cli_thoughts gem_cli_thoughts_of(const char *name, bool shown);

const char *gem_cli_finish_name(gem_finish finish);

#endif
