/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/completion.c - shell completion from the tables. */
#include "commands.h"

#include <stdio.h>
#include <string.h>

typedef void option_fn(const struct gem_cli_command *command, const struct gem_cli_option *option);

static void each_option(const struct gem_cli_command *command, option_fn *visit)
{
    for (size_t g = 0; g < command->n_groups; g++) {
        for (size_t i = 0; i < command->groups[g].n_options; i++) visit(command, &command->groups[g].options[i]);
    }
}

static void print_choices(const struct gem_cli_option *option)
{
    for (size_t i = 0; option->choices[i]; i++) printf("%s%s", i ? " " : "", option->choices[i]);
}

static void print_commands(void)
{
    for (size_t i = 0; i < GEM_CLI_N_COMMANDS; i++) printf("%s%s", i ? " " : "", gem_cli_commands[i]->name);
}

/* Single quotes end where the text has one: 'it'\''s'. `also` is another character to put a backslash before. */
static void quote(const char *text, const char *also)
{
    putchar('\'');
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            printf("%s%c", strchr(also, *text) ? "\\" : "", *text);
    }
    putchar('\'');
}

/* ---- bash --------------------------------------------------------------------------------------------------- */

static void bash_word(const struct gem_cli_command *command, const struct gem_cli_option *option)
{
    (void)command;
    printf(" --%s", option->name);
    if (option->letter) printf(" -%c", option->letter);
}

/* What follows an option that takes a value. */
static void bash_value(const struct gem_cli_command *command, const struct gem_cli_option *option)
{
    if (option->kind == GEM_CLI_FLAG) return;
    printf("    %s,--%s", command->name, option->name);
    if (option->letter) printf("|%s,-%c", command->name, option->letter);
    fputs(") ", stdout);
    if (option->choices) {
        fputs("COMPREPLY=($(compgen -W '", stdout);
        print_choices(option);
        puts("' -- \"$word\")); return ;;");
    } else if (option->kind == GEM_CLI_FILE) {
        puts("COMPREPLY=($(compgen -f -- \"$word\")); return ;;");
    } else {
        puts("return ;;");
    }
}

static void bash_operands(const struct gem_cli_command *command)
{
    if (command == &gem_cli_help) {
        fputs("        COMPREPLY=($(compgen -W '", stdout);
        print_commands();
        puts("' -- \"$word\"))");
    } else if (command->n_operands) {
        puts("        COMPREPLY=($(compgen -f -- \"$word\"))");
    } else {
        puts("        :");
    }
}

static void bash(void)
{
    puts("# bash completion for gemmule\n_gemmule()\n{\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}\n"
         "    COMPREPLY=()\n    if [ \"$COMP_CWORD\" -eq 1 ]; then");
    fputs("        COMPREPLY=($(compgen -W '", stdout);
    print_commands();
    puts("' -- \"$word\"))\n        return\n    fi\n    case \"$command,$last\" in");
    for (size_t i = 0; i < GEM_CLI_N_COMMANDS; i++) each_option(gem_cli_commands[i], bash_value);
    puts("    esac\n    case \"$command,$word\" in");
    for (size_t i = 0; i < GEM_CLI_N_COMMANDS; i++) {
        printf("    %s,-*) COMPREPLY=($(compgen -W '", gem_cli_commands[i]->name);
        each_option(gem_cli_commands[i], bash_word);
        printf("' -- \"$word\")) ;;\n    %s,*)\n", gem_cli_commands[i]->name);
        bash_operands(gem_cli_commands[i]);
        puts("        ;;");
    }
    puts("    esac\n}\ncomplete -o filenames -F _gemmule gemmule");
}

/* ---- zsh ---------------------------------------------------------------------------------------------------- */

/* '(-t --threads)'{-t,--threads}'[help]:N: ' with the characters of _arguments' own syntax escaped. */
static void zsh_option(const struct gem_cli_command *command, const struct gem_cli_option *option)
{
    (void)command;
    fputs(" \\\n            ", stdout);
    if (option->kind == GEM_CLI_LIST)
        printf("'*'--%s", option->name);
    else if (option->letter)
        printf("'(-%c --%s)'{-%c,--%s}", option->letter, option->name, option->letter, option->name);
    else
        printf("--%s", option->name);
    char text[256];
    snprintf(text, sizeof text, "[%s]", option->help);
    quote(text, ":");
    if (option->kind == GEM_CLI_FLAG) return;
    printf("':%s:", option->value);
    if (option->choices) {
        putchar('(');
        print_choices(option);
        putchar(')');
    } else {
        fputs(option->kind == GEM_CLI_FILE ? "_files" : " ", stdout);
    }
    putchar('\'');
}

static void zsh_command(const struct gem_cli_command *command)
{
    printf("        %s)\n            _arguments -s", command->name);
    each_option(command, zsh_option);
    for (size_t i = 0; i < command->n_operands; i++) {
        const struct gem_cli_operand *operand = &command->operands[i];

        printf(" \\\n            '%s%s:%s", operand->optional ? "::" : ":", operand->name,
               operand->kind == GEM_CLI_FILE ? "_files" : "");
        if (command == &gem_cli_help) {
            putchar('(');
            print_commands();
            putchar(')');
        } else if (operand->kind != GEM_CLI_FILE) {
            putchar(' ');
        }
        putchar('\'');
    }
    puts("\n            ;;");
}

static void zsh(void)
{
    puts("#compdef gemmule\n_gemmule()\n{\n    local -a commands\n    commands=(");
    for (size_t i = 0; i < GEM_CLI_N_COMMANDS; i++) {
        char text[160];

        snprintf(text, sizeof text, "%s:%s", gem_cli_commands[i]->name, gem_cli_commands[i]->summary);
        fputs("        ", stdout);
        quote(text, "");
        putchar('\n');
    }
    puts("    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n    fi\n"
         "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $command in");
    for (size_t i = 0; i < GEM_CLI_N_COMMANDS; i++) zsh_command(gem_cli_commands[i]);
    puts("    esac\n}\n"
         "# autoloaded from fpath it completes at once; sourced it registers itself\n"
         "if [ \"$funcstack[1]\" = \"_gemmule\" ]; then _gemmule \"$@\"; else compdef _gemmule gemmule; fi");
}

/* ---- fish --------------------------------------------------------------------------------------------------- */

static void fish_option(const struct gem_cli_command *command, const struct gem_cli_option *option)
{
    printf("complete -c gemmule -n '__fish_seen_subcommand_from %s' -l %s", command->name, option->name);
    if (option->letter) printf(" -s %c", option->letter);
    if (option->choices) {
        fputs(" -x -a '", stdout);
        print_choices(option);
        putchar('\'');
    } else if (option->kind != GEM_CLI_FLAG) {
        fputs(option->kind == GEM_CLI_FILE ? " -r -F" : " -x", stdout);
    }
    fputs(" -d ", stdout);
    quote(option->help, "");
    putchar('\n');
}

static void fish(void)
{
    puts("# fish completion for gemmule");
    for (size_t i = 0; i < GEM_CLI_N_COMMANDS; i++) {
        printf("complete -c gemmule -f -n __fish_use_subcommand -a %s -d ", gem_cli_commands[i]->name);
        quote(gem_cli_commands[i]->summary, "");
        putchar('\n');
        each_option(gem_cli_commands[i], fish_option);
    }
    fputs("complete -c gemmule -f -n '__fish_seen_subcommand_from help' -a '", stdout);
    print_commands();
    puts("'");
}

bool gem_cli_completion(const char *shell)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } known[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};

    for (size_t i = 0; i < GEM_CLI_COUNT(known); i++) {
        if (strcmp(known[i].name, shell)) continue;
        known[i].print();
        return true;
    }
    return false;
}
