/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/chat.c - gemmule chat: a conversation. */
#include "answer.h"
#include "commands.h"
#include "line.h"
#include "sampling.h"
#include "slash.h"
#include "talk.h"
#include "terminal.h"
#include "tool_run.h"
#include "nano.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct args {
    struct gem_cli_common common;
    const char *model, *load;
    uint32_t max_tokens, ctx;
    bool stats;
    struct gem_cli_talk_args talk;
    struct gem_cli_engine_args engine;
    struct gem_cli_sampling_args sampling;
};

static const struct gem_cli_option options[] = {
    {.name = "load",
     .kind = GEM_CLI_FILE,
     .offset = offsetof(struct args, load),
     .value = "FILE",
     .help = "go on with a conversation that /save wrote, or with OpenAI's messages"},
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
    struct gem_cli_sampling sampling;
    struct gem_cli_talk talk;
    struct gem_cli_line *line;
    struct gem_cli_slash slash;
    bool interactive;
};

/* An interrupt ends the answer; a request to terminate ends the program. */
static int take_interrupt(bool *interrupted)
{
    *interrupted = gem_cli_interrupted();
    if (!*interrupted) return 0;
    if (gem_cli_interrupt_code() != GEM_CLI_EXIT_INTERRUPTED) return gem_cli_interrupt_code();
    gem_cli_interrupts_clear();
    return 0;
}

static void take_back(struct chat *chat)
{
    if (gem_cli_talk_undo(&chat->talk, false)) fputs("(the question is taken back)\n", stderr);
}

/* Answers, and goes on with the results of what was called, until nothing is. */
static int answer(struct chat *chat)
{
    yyjson_mut_val *calls;
    bool interrupted = false, end = false;
    int code;

    do {
        if ((code = gem_cli_talk_answer(&chat->talk, &calls))) return code;
        if (chat->args->stats) gem_cli_answer_stats(&chat->engine, &chat->talk.stats);
        if ((code = take_interrupt(&interrupted))) return code;
        if (interrupted && chat->talk.stats.n_generated == 0) take_back(chat);
        if (interrupted || !calls) return 0;
        if ((code = gem_cli_tools_answer(&chat->talk, chat->line, calls, &end))) return code;
    } while (!end && !gem_cli_interrupted());
    return take_interrupt(&interrupted);
}

/* On a terminal the chat goes on where a question does not fit or can not be sent: it is taken back. */
static int recover(struct chat *chat, int code)
{
    if (!chat->interactive || (code != GEM_CLI_EXIT_LIMIT && code != GEM_CLI_EXIT_FILE)) return code;
    if (gem_cli_flush()) return code;
    take_back(chat);
    return 0;
}

static int take_line(struct chat *chat, const struct gem_cli_text *text)
{
    int code;

    if (gem_cli_is_slash(text)) {
        if ((code = gem_cli_slash_run(&chat->slash, text)) || !chat->slash.answer_again) return code;
        chat->slash.answer_again = false;
    } else if ((code = gem_cli_talk_say(&chat->talk, text->data, text->n, "the line"))) {
        return chat->interactive ? 0 : code;
    }
    code = answer(chat);
    return code ? recover(chat, code) : 0;
}

static int converse(struct chat *chat)
{
    struct gem_cli_text text = {0};
    bool end = false;
    int code = 0;

    while (!code && !chat->slash.quit) {
        if ((code = gem_cli_line_read(chat->line, "> ", &text, &end)) || end) break;
        if (!gem_cli_is_blank(&text)) code = take_line(chat, &text);
    }
    if (end && !code && chat->interactive) fputc('\n', stderr); /* after Ctrl-D */
    gem_cli_text_free(&text);
    return code;
}

static int open_chat(struct chat *chat)
{
    const struct args *args = chat->args;
    const char *model = args->model ? args->model : gem_cli_nano();
    int code = gem_cli_talk_check("chat", &args->talk);

    if (code) return code;
    code = model ? gem_cli_model_open(&chat->engine, model, &args->engine) : GEM_CLI_EXIT_FILE;
    if (code) return code;
    if (gem_model_get_chat(chat->engine.model)->format == GEM_CHAT_NONE) {
        gem_cli_error("%s: the vocabulary has no turns of a conversation; 'gemmule run --raw' continues text", model);
        return GEM_CLI_EXIT_FILE;
    }
    code = gem_cli_sampling_make(&chat->sampling, chat->engine.model, "chat", &args->common, &args->sampling);
    if (code) return code;
    code = gem_cli_talk_open(&chat->talk, &chat->engine, &chat->sampling.sampling, &args->talk, true);
    if (code) return code;
    chat->talk.limits.max_tokens = args->max_tokens;
    if (args->load && (code = gem_cli_talk_load(&chat->talk, args->load))) return code;
    if (!(chat->line = gem_cli_line_open(gem_cli_slash_complete))) return gem_cli_out_of_memory();
    chat->slash = (struct gem_cli_slash){.talk = &chat->talk, .line = chat->line};
    return gem_cli_session_open(&chat->engine, &args->engine, args->ctx);
}

static int run(const void *arguments)
{
    struct chat chat = {.args = arguments, .interactive = isatty(STDIN_FILENO)};
    int code = open_chat(&chat);

    if (!code) code = converse(&chat);
    gem_cli_line_close(chat.line);
    gem_cli_talk_close(&chat.talk);
    gem_cli_sampling_free(&chat.sampling);
    gem_cli_engine_close(&chat.engine);
    return code;
}

const struct gem_cli_command gem_cli_chat = {
    .name = "chat",
    .summary = "talk with a model",
    .details = "Without MODEL, with nano, a tiny model that comes with the program.\n"
               "Each line of standard input is a turn of the user; the answers go to standard output. The model sees "
               "the whole conversation, of which only what is new is computed.\n"
               "Lines that begin with a slash are commands: /help lists them.\n"
               "When the model calls a tool, the command that --tools declares for it (\"command\": [\"PROGRAM\", ...] "
               "beside \"function\") is shown and run after asking; it gets the arguments as JSON on standard input.\n"
               "/image, /video and /audio show a file with the next message.\n"
               "Ctrl-C ends an answer, Ctrl-D the conversation.",
    .operands = {{"MODEL", true, GEM_CLI_FILE, offsetof(struct args, model),
                  "a native or GGUF file, or a Hugging Face folder"}},
    .n_operands = 1,
    .groups = {GEM_CLI_GROUP("Options", options, 0),
               GEM_CLI_GROUP("Conversation", gem_cli_talk_options, offsetof(struct args, talk)),
               GEM_CLI_GROUP("Sampling", gem_cli_sampling_options, offsetof(struct args, sampling)),
               GEM_CLI_GROUP("Computing", gem_cli_fast_options, offsetof(struct args, engine)), GEM_CLI_COMMON_GROUP},
    .n_groups = 5,
    .args_size = sizeof(struct args),
    .run = run,
};
