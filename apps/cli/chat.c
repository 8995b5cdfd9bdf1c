/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/chat.c - gemmule chat: a conversation, a line at a time. */
#include "answer.h"
#include "commands.h"
#include "sampling.h"
#include "terminal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct args {
    struct gem_cli_common common;
    const char *model, *system;
    uint32_t max_tokens, ctx;
    bool stats;
    struct gem_cli_engine_args engine;
    struct gem_cli_sampling_args sampling;
};

static const struct gem_cli_option options[] = {
    {.name = "system",
     .letter = 's',
     .kind = GEM_CLI_STRING,
     .offset = offsetof(struct args, system),
     .value = "TEXT",
     .help = "what the model is told before the conversation"},
    {.name = "max-tokens",
     .letter = 'n',
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, max_tokens),
     .min = 1,
     .max = UINT32_MAX,
     .value = "N",
     .fallback_shown = "until the model stops",
     .help = "end each answer after N tokens"},
    {.name = "ctx",
     .letter = 'c',
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, ctx),
     .min = 1,
     .max = UINT32_MAX,
     .value = "N",
     .fallback_shown = "8192",
     .help = "room for N tokens, the whole conversation together"},
    {.name = "stats",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, stats),
     .help = "say after each answer how long it took"},
};

struct chat {
    const struct args *args;
    struct gem_cli_engine engine;
    struct gem_cli_dialect dialect;
    struct gem_cli_sampling sampling;
    struct gem_cli_tokens history; /* all finished turns */
    const char *lead;              /* system text that still has to go before the first user turn, or NULL */
    char *line;                    /* getline's */
    size_t line_cap;
};

/* The prompt goes to standard error: standard output has the answers only. */
static void show_prompt(void)
{
    if (isatty(STDIN_FILENO)) fputs("> ", stderr);
}

/* Reads the next line that is not blank. *n is its length; 0 at the end of input. */
static int read_line(struct chat *chat, size_t *n)
{
    for (*n = 0;;) {
        const char *body;

        show_prompt();
        errno = 0;
        const ssize_t got = getline(&chat->line, &chat->line_cap, stdin);
        if (got < 0 && gem_cli_interrupted()) { /* what was typed so far is dropped */
            if (gem_cli_interrupt_code() != GEM_CLI_EXIT_INTERRUPTED) return gem_cli_interrupt_code();
            gem_cli_interrupts_clear();
            clearerr(stdin);
            fputs("\n(Ctrl-D ends)\n", stderr);
            continue;
        }
        if (got < 0 && ferror(stdin))
            return errno == ENOMEM ? gem_cli_out_of_memory() : gem_cli_fail_errno("standard input", errno);
        if (got < 0) return 0;
        body = chat->line;
        if (gem_cli_strip(&body, (size_t)got)) {
            *n = (size_t)got;
            return 0;
        }
    }
}

static int begin(struct chat *chat)
{
    const char *system = chat->args->system;
    int code = gem_cli_prompt_begin(&chat->history, chat->engine.model);

    if (code || !system) return code;
    if (chat->dialect.system_turn)
        return gem_cli_prompt_turn(&chat->history, chat->engine.model, &chat->dialect, "system", NULL, system,
                                   strlen(system));
    chat->lead = system;
    return 0;
}

/* Answers chat->line [n] and adds both to the history. */
static int take_turn(struct chat *chat, size_t n)
{
    const gem_model *model = chat->engine.model;
    struct gem_cli_answer answer = {
        .engine = &chat->engine,
        .dialect = &chat->dialect,
        .sampling = &chat->sampling.sampling,
        .max_tokens = chat->args->max_tokens,
    };
    size_t n_history;
    int code = gem_cli_prompt_turn(&chat->history, model, &chat->dialect, "user", chat->lead, chat->line, n);

    chat->lead = NULL;
    n_history = chat->history.n;
    if (code || (code = gem_cli_prompt_answer(&chat->history, model, &chat->dialect))) return code;
    if ((code = gem_cli_answer_run(&answer, &chat->history))) goto done;
    if (chat->args->stats) gem_cli_answer_stats(&answer);
    chat->sampling.sampling.seed++; /* or every answer would be drawn with the same numbers */
    chat->history.n = n_history;
    code = gem_cli_prompt_history(&chat->history, model, &chat->dialect, &answer.tokens);
done:
    gem_cli_tokens_free(&answer.tokens);
    return code;
}

/* An interrupt ends the answer; a request to terminate ends the program. */
static int converse(struct chat *chat)
{
    for (;;) {
        size_t n;
        int code = read_line(chat, &n);

        if (code || !n) return code;
        if ((code = take_turn(chat, n))) return code;
        if (!gem_cli_interrupted()) continue;
        if (gem_cli_interrupt_code() != GEM_CLI_EXIT_INTERRUPTED) return gem_cli_interrupt_code();
        gem_cli_interrupts_clear();
    }
}

static int run(const void *arguments)
{
    const struct args *args = arguments;
    struct chat chat = {.args = args};
    int code = gem_cli_model_open(&chat.engine, args->model, &args->engine);

    if (code) goto done;
    if (!gem_cli_dialect_find(&chat.dialect, chat.engine.model)) {
        gem_cli_error("%s: the vocabulary has no turns of a conversation; 'gemmule run --raw' continues text",
                      args->model);
        code = GEM_CLI_EXIT_FILE;
        goto done;
    }
    code = gem_cli_sampling_make(&chat.sampling, chat.engine.model, "chat", &args->common, &args->sampling);
    if (code || (code = gem_cli_session_open(&chat.engine, &args->engine, args->ctx))) goto done;
    if (!(code = begin(&chat))) code = converse(&chat);
    if (!code && isatty(STDIN_FILENO)) fputc('\n', stderr); /* after Ctrl-D */
done:
    free(chat.line);
    gem_cli_tokens_free(&chat.history);
    gem_cli_sampling_free(&chat.sampling);
    gem_cli_engine_close(&chat.engine);
    return code;
}

const struct gem_cli_command gem_cli_chat = {
    .name = "chat",
    .summary = "talk with a model, a line at a time",
    .details = "Each line of standard input is a turn of the user; the answers go to standard output. The model sees "
               "the whole conversation, of which only what is new is computed.\n"
               "Ctrl-C ends an answer, Ctrl-D the conversation.",
    .operands = {{"MODEL", false, GEM_CLI_FILE, offsetof(struct args, model),
                  "a native or GGUF file, or a Hugging Face folder"}},
    .n_operands = 1,
    .groups = {GEM_CLI_GROUP("Options", options, 0),
               GEM_CLI_GROUP("Sampling", gem_cli_sampling_options, offsetof(struct args, sampling)),
               GEM_CLI_GROUP("Computing", gem_cli_fast_options, offsetof(struct args, engine)), GEM_CLI_COMMON_GROUP},
    .n_groups = 4,
    .args_size = sizeof(struct args),
    .run = run,
};
