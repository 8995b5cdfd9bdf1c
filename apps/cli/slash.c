/* SPDX-License-Identifier: Apache-2.0 */
#include "slash.h"
#include "answer.h"
#include "options.h"
#include "terminal.h"

#include <stdio.h>
#include <string.h>

typedef int slash_fn(struct gem_cli_slash *slash, const char *words);

struct command {
    const char *name, *words, *help;
    slash_fn *run;
};

/* Declared by size so that /help can walk it. */
enum { N_COMMANDS = 14 };
static const struct command commands[N_COMMANDS];

static int help(struct gem_cli_slash *slash, const char *words)
{
    (void)words;
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(stderr, "  %-9s %-12s %s\n", commands[i].name, commands[i].words, commands[i].help);
    fputs("A backslash at the end of a line continues it. Ctrl-C ends an answer, Ctrl-D the chat.\n", stderr);
    if (!gem_cli_line_edits(slash->line)) fputs("This build or terminal has no line editing (libedit).\n", stderr);
    return 0;
}

static int set_system(struct gem_cli_slash *slash, const char *words)
{
    const int code = gem_cli_talk_set_system(slash->talk, words, strlen(words), "/system");

    if (!code) fputs(*words ? "(the system text is set)\n" : "(there is no system text)\n", stderr);
    return 0;
}

static int set_think(struct gem_cli_slash *slash, const char *words)
{
    if (*words && !gem_cli_talk_think(slash->talk, words))
        fputs("/think is off, on or a number of tokens\n", stderr);
    else if (slash->talk->thinking && slash->talk->thought_tokens)
        fprintf(stderr, "(thinking, %zu tokens at most)\n", slash->talk->thought_tokens);
    else
        fprintf(stderr, "(thinking is %s)\n", slash->talk->thinking ? "on" : "off");
    return 0;
}

static int set_thoughts(struct gem_cli_slash *slash, const char *words)
{
    if (strcmp(words, "show") && strcmp(words, "length") && strcmp(words, "hide"))
        fputs("/thoughts is show, length or hide\n", stderr);
    else
        slash->talk->view.thoughts = gem_cli_thoughts_of(words, true);
    return 0;
}

static void list_tools(const struct gem_cli_talk *talk)
{
    yyjson_val *tools = yyjson_doc_get_root(talk->tools.doc), *tool;
    size_t i, max;

    if (!tools) fputs("(no tools)\n", stderr);
    yyjson_arr_foreach(tools, i, max, tool)
    {
        yyjson_val *function = yyjson_obj_get(tool, "function");
        const char *name = yyjson_get_str(yyjson_obj_get(function ? function : tool, "name"));
        gem_cli_note("tool %s%s", name ? name : "?", yyjson_obj_get(tool, "command") ? "" : ", without a command");
    }
}

static int set_tools(struct gem_cli_slash *slash, const char *words)
{
    if (*words) (void)gem_cli_talk_set_tools(slash->talk, strcmp(words, "off") ? words : NULL);
    list_tools(slash->talk);
    return 0;
}

static int show(struct gem_cli_slash *slash, const char *type, const char *words)
{
    if (!*words)
        fprintf(stderr, "/%s needs the name of a file\n", type);
    else if (!gem_cli_talk_show(slash->talk, type, words))
        gem_cli_note("%s goes with the next message", words);
    return 0;
}

static int show_image(struct gem_cli_slash *slash, const char *words) { return show(slash, "image", words); }
static int show_video(struct gem_cli_slash *slash, const char *words) { return show(slash, "video", words); }
static int play_audio(struct gem_cli_slash *slash, const char *words) { return show(slash, "audio", words); }

static int save(struct gem_cli_slash *slash, const char *words)
{
    if (!*words)
        fputs("/save needs the name of a file\n", stderr);
    else if (!gem_cli_talk_save(slash->talk, words))
        gem_cli_note("saved in %s", words);
    return 0;
}

static int load(struct gem_cli_slash *slash, const char *words)
{
    if (!*words)
        fputs("/load needs the name of a file\n", stderr);
    else if (!gem_cli_talk_load(slash->talk, words))
        gem_cli_note("%zu messages from %s", yyjson_mut_arr_size(slash->talk->messages), words);
    return 0;
}

static int undo(struct gem_cli_slash *slash, const char *words)
{
    (void)words;
    if (gem_cli_talk_undo(slash->talk, false))
        fprintf(stderr, "(taken back; %zu messages are left)\n", yyjson_mut_arr_size(slash->talk->messages));
    else
        fputs("there is nothing to take back\n", stderr);
    return 0;
}

static int retry(struct gem_cli_slash *slash, const char *words)
{
    (void)words;
    slash->answer_again = gem_cli_talk_undo(slash->talk, true);
    if (!slash->answer_again) fputs("there is nothing to answer\n", stderr);
    return 0;
}

static int stats(struct gem_cli_slash *slash, const char *words)
{
    const struct gem_cli_talk *talk = slash->talk;

    (void)words;
    if (talk->stats.n_prompt) gem_cli_answer_stats(talk->engine, &talk->stats);
    fprintf(stderr, "%zu messages, %zu of %u tokens\n", yyjson_mut_arr_size(talk->messages), talk->sequence.n,
            gem_session_context(talk->engine->session));
    return 0;
}

static int quit(struct gem_cli_slash *slash, const char *words)
{
    (void)words;
    slash->quit = true;
    return 0;
}

static const struct command commands[N_COMMANDS] = {
    {"/system", "[TEXT]", "what the model is told before the conversation", set_system},
    {"/think", "[HOW]", "off, on or a number of tokens", set_think},
    {"/thoughts", "HOW", "show, length or hide", set_thoughts},
    {"/tools", "[FILE|off]", "tools that the model may call", set_tools},
    {"/image", "FILE", "an image that the next message shows", show_image},
    {"/video", "FILE", "a video, as frames; its sound is for /audio", show_video},
    {"/audio", "FILE", "a sound that the next message plays", play_audio},
    {"/undo", "", "take the last question back, with its answer", undo},
    {"/retry", "", "answer the last question again", retry},
    {"/save", "FILE", "write the conversation as JSON", save},
    {"/load", "FILE", "go on with a conversation that was saved", load},
    {"/stats", "", "how long the last answer took, how full the context is", stats},
    {"/help", "", "this list", help},
    {"/quit", "", "end the chat", quit},
};

static bool is_letter(char c) { return c >= 'a' && c <= 'z'; }

bool gem_cli_is_slash(const struct gem_cli_text *line)
{
    size_t n = 1;

    if (line->n < 2 || line->data[0] != '/') return false;
    while (n < line->n && is_letter(line->data[n])) n++;
    return n > 1 && (n == line->n || line->data[n] == ' ' || line->data[n] == '\t' || line->data[n] == '\r');
}

static const char *command_name(const void *user, size_t i)
{
    (void)user;
    return commands[i].name;
}

int gem_cli_slash_run(struct gem_cli_slash *slash, const struct gem_cli_text *line)
{
    char words[4096];
    size_t n = line->n < sizeof words ? line->n : sizeof words - 1, name, begin;

    if (line->n >= sizeof words) {
        gem_cli_error("a command of more than %zu bytes", sizeof words - 1);
        return 0;
    }
    memcpy(words, line->data, n);
    while (n > 0 && strchr(" \t\r\n", words[n - 1])) n--;
    words[n] = 0;
    name = strcspn(words, " \t");
    begin = name + strspn(words + name, " \t");
    words[name] = 0;
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (!strcmp(commands[i].name, words)) return commands[i].run(slash, begin < n ? words + begin : "");
    const char *near = gem_cli_nearest(words, command_name, NULL, N_COMMANDS);
    gem_cli_error("no command %s%s%s%s; /help lists them, and a blank before the slash makes it text", words,
                  near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
    return 0;
}

const char *gem_cli_slash_complete(const char *line, size_t n, size_t i)
{
    for (size_t k = 0; k < N_COMMANDS; k++)
        if (strlen(commands[k].name) >= n && !strncmp(commands[k].name, line, n) && i-- == 0) return commands[k].name;
    return NULL;
}
