/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/help.c - gemmule help and gemmule version; help text from the tables. */
#include "commands.h"
#include "terminal.h"

#include <gemmule.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 80, COLUMN = 28 };

/* Prints text from `column` on, wrapped at WIDTH and indented by `indent`. Ends the line. */
static void wrap(const char *text, size_t column, size_t indent)
{
    bool fresh = true; /* nothing on this line yet */

    while (*text) {
        const size_t n = strcspn(text, " ");

        if (!fresh && column + 1 + n > WIDTH) {
            printf("\n%*s", (int)indent, "");
            column = indent;
            fresh = true;
        }
        printf("%s%.*s", fresh ? "" : " ", (int)n, text);
        column += n + !fresh;
        fresh = false;
        text += n + (text[n] == ' ');
    }
    putchar('\n');
}

void gem_cli_option_limits(const struct gem_cli_option *option, char *out, size_t size)
{
    const char *fallback = option->fallback_shown ? option->fallback_shown : option->fallback;
    size_t n = 0;

    *out = 0;
    for (size_t i = 0; option->choices && option->choices[i]; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? ", " : "", option->choices[i]);
    if (option->max > option->min && option->max < UINT32_MAX)
        n += (size_t)snprintf(out + n, size - n, "%.10g to %.10g", option->min, option->max);
    if (fallback) snprintf(out + n, size - n, "%sdefault: %s", n ? "; " : "", fallback);
}

static void print_option(const struct gem_cli_option *option)
{
    char head[64], limits[160], text[512];
    const char letter[] = {'-', option->letter, ',', ' ', 0};
    const int n = snprintf(head, sizeof head, "  %s--%s%s%s", option->letter ? letter : "    ", option->name,
                           option->value ? " " : "", option->value ? option->value : "");

    gem_cli_option_limits(option, limits, sizeof limits);
    snprintf(text, sizeof text, "%s%s%s%s", option->help, *limits ? " (" : "", limits, *limits ? ")" : "");
    printf("%s", head);
    if (n + 1 < COLUMN)
        printf("%*s", COLUMN - n, "");
    else
        printf("\n%*s", COLUMN, "");
    wrap(text, COLUMN, COLUMN);
}

static void print_operands(const struct gem_cli_command *command)
{
    for (size_t i = 0; i < command->n_operands; i++) {
        printf("%s  %-*s", i ? "" : "\n", COLUMN - 2, command->operands[i].name);
        wrap(command->operands[i].help, COLUMN, COLUMN);
    }
}

static void print_paragraphs(const char *text)
{
    char paragraph[1024];

    while (*text) {
        const size_t n = strcspn(text, "\n");

        snprintf(paragraph, sizeof paragraph, "%.*s", (int)n, text);
        putchar('\n');
        wrap(paragraph, 0, 0);
        text += n + (text[n] == '\n');
    }
}

static void print_exit_codes(void)
{
    puts("\nExit codes:");
    for (size_t i = 0; i < GEM_CLI_COUNT(gem_cli_exit_codes); i++) {
        printf("  %-6d", gem_cli_exit_codes[i].code);
        wrap(gem_cli_exit_codes[i].help, 8, 8);
    }
}

void gem_cli_help_command(const struct gem_cli_command *command)
{
    printf("Usage: gemmule %s [OPTIONS]", command->name);
    for (size_t i = 0; i < command->n_operands; i++)
        printf(command->operands[i].optional ? " [%s]" : " %s", command->operands[i].name);
    putchar('\n');
    print_paragraphs(command->details);
    print_operands(command);
    for (size_t g = 0; g < command->n_groups; g++) {
        printf("\n%s:\n", command->groups[g].title);
        for (size_t i = 0; i < command->groups[g].n_options; i++) print_option(&command->groups[g].options[i]);
    }
    if (command->examples) puts("\nExamples:");
    for (size_t i = 0; command->examples && command->examples[i]; i++) printf("  %s\n", command->examples[i]);
    print_exit_codes();
}

void gem_cli_help_overview(void)
{
    puts("Usage: gemmule COMMAND [OPTIONS] ...\n");
    puts("Runs Gemma models on this machine's processor.\n\nCommands:");
    for (size_t i = 0; i < GEM_CLI_N_COMMANDS; i++)
        printf("  %-10s %s\n", gem_cli_commands[i]->name, gem_cli_commands[i]->summary);
    puts("\n'gemmule help COMMAND' describes a command and its options.");
    print_exit_codes();
}

/* ---- the commands ------------------------------------------------------------------------------------------- */

struct help_args {
    struct gem_cli_common common;
    const char *command, *completion;
    bool man;
};

static const char *const shells[] = {"bash", "zsh", "fish", NULL};

static const struct gem_cli_option help_options[] = {
    {.name = "man",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct help_args, man),
     .help = "the manual page, as roff"},
    {.name = "completion",
     .kind = GEM_CLI_CHOICE,
     .offset = offsetof(struct help_args, completion),
     .value = "SHELL",
     .choices = shells,
     .help = "a script that completes commands and options"},
};

static int run_help(const void *arguments)
{
    const struct help_args *args = arguments;
    const struct gem_cli_command *command;

    if ((args->command != NULL) + args->man + (args->completion != NULL) > 1)
        return gem_cli_usage("help", "only one of COMMAND, --man and --completion can be given");
    if (args->man)
        gem_cli_man_page();
    else if (args->completion)
        gem_cli_completion(args->completion);
    else if (!args->command)
        gem_cli_help_overview();
    else if ((command = gem_cli_find_command(args->command)))
        gem_cli_help_command(command);
    else
        return gem_cli_unknown_command(args->command);
    return 0;
}

static const char *const help_examples[] = {
    "gemmule help run",
    "gemmule help --man | man -l -",
    "source <(gemmule help --completion bash)",
    NULL,
};

const struct gem_cli_command gem_cli_help = {
    .name = "help",
    .summary = "describe the program or a command",
    .details = "Writes a description of the program, of one command, the manual page, or shell completion.",
    .examples = help_examples,
    .operands = {{"COMMAND", true, GEM_CLI_STRING, offsetof(struct help_args, command), "the command to describe"}},
    .n_operands = 1,
    .groups = {GEM_CLI_GROUP("Options", help_options, 0), GEM_CLI_COMMON_GROUP},
    .n_groups = 2,
    .args_size = sizeof(struct help_args),
    .run = run_help,
};

struct version_args {
    struct gem_cli_common common;
};

static int run_version(const void *arguments)
{
    (void)arguments;
    printf("gemmule %s\n", gem_version());
    return 0;
}

const struct gem_cli_command gem_cli_version = {
    .name = "version",
    .summary = "say which version this is",
    .details = "Writes the name and version of the program.",
    .groups = {GEM_CLI_COMMON_GROUP},
    .n_groups = 1,
    .args_size = sizeof(struct version_args),
    .run = run_version,
};
