/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/main.c - finds the command, parses its words and runs it. */
#include "commands.h"
#include "terminal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct gem_cli_command *const gem_cli_commands[GEM_CLI_N_COMMANDS] = {
    &gem_cli_run,   &gem_cli_chat, &gem_cli_tokenize, &gem_cli_inspect, &gem_cli_pack,
    &gem_cli_bench, &gem_cli_ppl,  &gem_cli_probe,    &gem_cli_version, &gem_cli_help,
};

const struct gem_cli_command *gem_cli_find_command(const char *name)
{
    for (size_t i = 0; i < GEM_CLI_N_COMMANDS; i++) {
        if (!strcmp(gem_cli_commands[i]->name, name)) return gem_cli_commands[i];
    }
    return NULL;
}

static const char *command_name(const void *user, size_t i)
{
    (void)user;
    return gem_cli_commands[i]->name;
}

int gem_cli_unknown_command(const char *name)
{
    const char *near = gem_cli_nearest(name, command_name, NULL, GEM_CLI_N_COMMANDS);

    return gem_cli_usage(NULL, "unknown command '%s'%s%s%s", name, near ? ", did you mean '" : "", near ? near : "",
                         near ? "'?" : "");
}

static int run_command(const struct gem_cli_command *command, int argc, char **argv)
{
    struct gem_cli_common *common = calloc(1, command->args_size);
    int code;

    if (!common) return gem_cli_out_of_memory();
    code = gem_cli_parse(command, argc, argv, common);
    if (!code && common->help) {
        gem_cli_help_command(command);
    } else if (!code) {
        gem_cli_set_quiet(common->quiet);
        code = command->run(common);
    }
    gem_cli_args_free(command, common);
    free(common);
    return code;
}

/* The options that people try before they know any command. */
static const char *command_for(const char *word)
{
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) return "help";
    if (!strcmp(word, "--version") || !strcmp(word, "-V")) return "version";
    return word;
}

static int dispatch(int argc, char **argv)
{
    const struct gem_cli_command *command;

    if (argc < 2) return gem_cli_usage(NULL, "a command is missing");
    if (!(command = gem_cli_find_command(command_for(argv[1])))) {
        if (argv[1][0] == '-') return gem_cli_usage(NULL, "the command comes first, before option '%s'", argv[1]);
        return gem_cli_unknown_command(argv[1]);
    }
    return run_command(command, argc - 2, argv + 2);
}

/* A file opened while a standard stream is closed would take its number, and receive what is meant for the stream. The
 * wrong mode keeps writing to a closed stream an error. */
static void occupy_standard_streams(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0) (void)!open("/dev/null", fd ? O_RDONLY : O_WRONLY);
    }
}

int main(int argc, char **argv)
{
    int code, output;

    occupy_standard_streams();
    gem_cli_signals_init();
    code = dispatch(argc, argv);
    gem_cli_progress_end();
    output = gem_cli_close_output();
    return code ? code : output;
}
