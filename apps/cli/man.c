/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/man.c - the manual page, as roff, from the tables. */
#include "commands.h"
#include "terminal.h"

#include <gemmule.h>
#include <stdio.h>
#include <string.h>

/* Text with roff's own characters escaped. A line that begins with a dot or quote would be a request: "\&" before it
 * makes it text. "-" stays a minus that can be copied into a shell. */
static void roff(const char *text)
{
    if (*text == '.' || *text == '\'') fputs("\\&", stdout);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
    }
}

static void line(const char *text)
{
    roff(text);
    putchar('\n');
}

static void print_synopsis(const struct gem_cli_command *command)
{
    printf(".B gemmule %s\n[OPTIONS]\n", command->name);
    for (size_t i = 0; i < command->n_operands; i++)
        printf(command->operands[i].optional ? "[\\fI%s\\fR]\n" : "\\fI%s\\fR\n", command->operands[i].name);
}

static void print_option(const struct gem_cli_option *option)
{
    char limits[160];

    fputs(".TP\n", stdout);
    if (option->letter) printf("\\fB\\-%c\\fR, ", option->letter);
    fputs("\\fB\\-\\-", stdout);
    roff(option->name);
    printf("\\fR%s%s%s\n", option->value ? " \\fI" : "", option->value ? option->value : "",
           option->value ? "\\fR" : "");
    roff(option->help);
    gem_cli_option_limits(option, limits, sizeof limits);
    if (*limits) {
        fputs(" (", stdout);
        roff(limits);
        putchar(')');
    }
    putchar('\n');
}

static void print_paragraphs(const char *text)
{
    char paragraph[1024];

    for (bool first = true; *text; first = false) {
        const size_t n = strcspn(text, "\n");

        snprintf(paragraph, sizeof paragraph, "%.*s", (int)n, text);
        if (!first) puts(".PP");
        line(paragraph);
        text += n + (text[n] == '\n');
    }
}

static void print_command(const struct gem_cli_command *command)
{
    printf(".SS gemmule %s\n", command->name);
    print_synopsis(command);
    puts(".PP");
    print_paragraphs(command->details);
    for (size_t i = 0; i < command->n_operands; i++) {
        printf(".TP\n\\fI%s\\fR\n", command->operands[i].name);
        line(command->operands[i].help);
    }
    for (size_t g = 0; g < command->n_groups; g++) {
        for (size_t i = 0; i < command->groups[g].n_options; i++) print_option(&command->groups[g].options[i]);
    }
    for (size_t i = 0; command->examples && command->examples[i]; i++) {
        puts(i ? ".br" : ".PP\nExamples:\n.PP\n.nf");
        line(command->examples[i]);
    }
    if (command->examples) puts(".fi");
}

void gem_cli_man_page(void)
{
    printf(".TH GEMMULE 1 \"\" \"gemmule %s\" \"User Commands\"\n", gem_version());
    puts(".SH NAME\ngemmule \\- run Gemma models on this machine's processor");
    puts(".SH SYNOPSIS\n.B gemmule\n\\fICOMMAND\\fR [OPTIONS] ...");
    puts(".SH DESCRIPTION");
    line("Opens a checkpoint (a GGUF file or a Hugging Face folder) and computes with it. Results go to standard "
         "output; progress and errors go to standard error. A long option takes its value as the next word or behind "
         "\"=\"; \"--\" ends options.");
    puts(".SH COMMANDS");
    for (size_t i = 0; i < GEM_CLI_N_COMMANDS; i++) print_command(gem_cli_commands[i]);
    puts(".SH EXIT STATUS");
    for (size_t i = 0; i < GEM_CLI_COUNT(gem_cli_exit_codes); i++) {
        printf(".TP\n%d\n", gem_cli_exit_codes[i].code);
        line(gem_cli_exit_codes[i].help);
    }
}
