/* SPDX-License-Identifier: Apache-2.0 */
#include "tool_run.h"
#include "options.h"
#include "terminal.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { MAX_ARGV = 64, MAX_RESULT = 1 << 20 };

/* ---- running ---------------------------------------------------------------------------------------------------- */

/* Ignored signals would stay ignored in what is run. */
static int spawn(pid_t *pid, char *const *argv, int in, int out)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    int number;

    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGXFSZ);
    if ((number = posix_spawn_file_actions_init(&actions))) return number;
    if ((number = posix_spawnattr_init(&attributes))) goto done;
    if ((number = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF)) ||
        (number = posix_spawnattr_setsigdefault(&attributes, &defaults)) ||
        (number = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO)) ||
        (number = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO)))
        goto done_attributes;
    number = posix_spawnp(pid, argv[0], &actions, &attributes, argv, environ);
done_attributes:
    posix_spawnattr_destroy(&attributes);
done:
    posix_spawn_file_actions_destroy(&actions);
    return number;
}

/* Reads to the end; what is beyond the ceiling is dropped, so that the writer can finish. */
static int read_result(int fd, struct gem_cli_text *text)
{
    char piece[4096], *grown;
    ssize_t n;

    for (;;) {
        n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR) continue; /* an interrupt reaches the program too */
        if (n <= 0) return 0;
        if (text->n + (size_t)n > MAX_RESULT) n = (ssize_t)(MAX_RESULT - text->n);
        if (n == 0) continue;
        if (!(grown = realloc(text->data, text->n + (size_t)n))) return gem_cli_out_of_memory();
        text->data = grown;
        memcpy(text->data + text->n, piece, (size_t)n);
        text->n += (size_t)n;
    }
}

static int add_note(struct gem_cli_text *text, const char *note)
{
    char *grown = realloc(text->data, text->n + strlen(note) + 1);

    if (!grown) return gem_cli_out_of_memory();
    text->data = grown;
    memcpy(text->data + text->n, note, strlen(note));
    text->n += strlen(note);
    return 0;
}

/* Waits, and says in the result how it went if not well. */
static int take_status(pid_t pid, struct gem_cli_text *text)
{
    char note[64] = "";
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (WIFEXITED(status) && WEXITSTATUS(status))
        snprintf(note, sizeof note, "\n(exit code %d)", WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        snprintf(note, sizeof note, "\n(ended by signal %d)", WTERMSIG(status));
    if (*note) fprintf(stderr, "%s\n", note + 1);
    return *note ? add_note(text, note) : 0;
}

static int run_command(char *const *argv, const char *input, size_t n, struct gem_cli_text *result)
{
    FILE *in = tmpfile(); /* not a pipe: a program that does not read would block us */
    char note[512];
    int out[2] = {-1, -1}, number, code = 0;
    pid_t pid;

    if (!in || fwrite(input, 1, n, in) != n || fflush(in) || fseek(in, 0, SEEK_SET) || pipe(out)) {
        code = gem_cli_fail_errno(argv[0], errno);
        goto done;
    }
    number = spawn(&pid, argv, fileno(in), out[1]);
    close(out[1]);
    if (number) {
        gem_cli_note("%s: %s", argv[0], strerror(number));
        snprintf(note, sizeof note, "%s: %s", argv[0], strerror(number));
        code = add_note(result, note);
    } else {
        code = read_result(out[0], result);
        while (result->n > 0 && result->data[result->n - 1] == '\n') result->n--; /* as $(...) in a shell */
        const int waited = take_status(pid, result);
        if (!code) code = waited;
    }
    close(out[0]);
done:
    if (in) fclose(in);
    return code;
}

/* ---- asking ----------------------------------------------------------------------------------------------------- */

static yyjson_val *command_of(const struct gem_cli_talk *talk, yyjson_mut_val *name)
{
    yyjson_val *tools = yyjson_doc_get_root(talk->tools.doc), *tool;
    size_t i, max;

    yyjson_arr_foreach(tools, i, max, tool)
    {
        yyjson_val *function = yyjson_obj_get(tool, "function");
        if (yyjson_equals_strn(yyjson_obj_get(function ? function : tool, "name"), yyjson_mut_get_str(name),
                               yyjson_mut_get_len(name)))
            return yyjson_obj_get(tool, "command");
    }
    return NULL;
}

/* Fills argv from a list of strings; false when it is none. */
static bool make_argv(yyjson_val *command, char **argv)
{
    size_t i, max;
    yyjson_val *word;

    if (yyjson_arr_size(command) == 0 || yyjson_arr_size(command) >= MAX_ARGV) return false;
    yyjson_arr_foreach(command, i, max, word)
    {
        argv[i] = (char *)(uintptr_t)yyjson_get_str(word);
        argv[i + 1] = NULL;
        if (!argv[i]) return false;
    }
    return true;
}

/* Asks before anything is run. */
static int ask(struct gem_cli_line *line, char *const *argv, bool *yes, bool *end)
{
    struct gem_cli_text text = {0};
    int code;

    fputs("run:", stderr);
    for (size_t i = 0; argv[i]; i++) {
        fputc(' ', stderr);
        gem_cli_put_remark(argv[i], strlen(argv[i]));
    }
    fputc('\n', stderr);
    code = gem_cli_line_ask(line, "run it? [y/N] ", &text, end);
    *yes = !code && !*end && text.n > 0 && (text.data[0] == 'y' || text.data[0] == 'Y');
    gem_cli_text_free(&text);
    return code;
}

static int ask_for_result(struct gem_cli_line *line, const char *name, struct gem_cli_text *result, bool *end)
{
    fputs("no command is declared for ", stderr);
    gem_cli_put_remark(name, strlen(name));
    fputs("; type its result, or an empty line to refuse it\n", stderr);
    return gem_cli_line_ask(line, "result> ", result, end);
}

/* Gets the result of a call. *yes: there is one; *end: nobody is there to ask any more. */
static int get_result(struct gem_cli_talk *talk, struct gem_cli_line *line, yyjson_mut_val *function,
                      struct gem_cli_text *result, bool *yes, bool *end)
{
    yyjson_mut_val *name = yyjson_mut_obj_get(function, "name");
    char *argv[MAX_ARGV + 1], *input;
    size_t n = 0;
    int code;

    if (!make_argv(command_of(talk, name), argv)) {
        code = ask_for_result(line, yyjson_mut_get_str(name), result, end);
        *yes = !code && result->n > 0;
        return code;
    }
    if ((code = ask(line, argv, yes, end)) || !*yes) return code;
    if (!(input = yyjson_mut_val_write(yyjson_mut_obj_get(function, "arguments"), 0, &n)))
        return gem_cli_out_of_memory();
    code = run_command(argv, input, n, result);
    free(input);
    return code;
}

/* A call without a result would break the conversation: what is not answered is refused. */
int gem_cli_tools_answer(struct gem_cli_talk *talk, struct gem_cli_line *line, yyjson_mut_val *calls, bool *end)
{
    static const char refused[] = "The user did not allow this call.";
    size_t i, max;
    yyjson_mut_val *call;
    int code = 0;

    *end = false;
    yyjson_mut_arr_foreach(calls, i, max, call)
    {
        struct gem_cli_text result = {0};
        bool yes = false;

        if (!*end) code = get_result(talk, line, yyjson_mut_obj_get(call, "function"), &result, &yes, end);
        if (!code)
            code = gem_cli_talk_result(talk, call, yes ? result.data : refused, yes ? result.n : sizeof refused - 1);
        gem_cli_text_free(&result);
        if (code) return code;
    }
    return 0;
}
