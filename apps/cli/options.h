/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/options.h - commands, operands and options as tables. Parsing, help, the man page and shell completion
 * all walk them, so that none can drift from another. */
#ifndef GEM_CLI_OPTIONS_H
#define GEM_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a field of a command's arguments holds. */
enum gem_cli_kind {
    GEM_CLI_FLAG,   /* bool */
    GEM_CLI_U32,    /* uint32_t */
    GEM_CLI_U64,    /* uint64_t */
    GEM_CLI_F32,    /* float, finite */
    GEM_CLI_STRING, /* const char *, from argv */
    GEM_CLI_FILE,   /* the same; completion offers files */
    GEM_CLI_CHOICE, /* const char *, one of choices (the table's own string) */
    GEM_CLI_LIST    /* struct gem_cli_list: every value that was given, in order; several options may share one */
};

struct gem_cli_list {
    const char **items;   /* freed by gem_cli_args_free; the strings are argv's */
    const char **options; /* [n] the name of the option that gave it; the same */
    size_t n;
};

struct gem_cli_option {
    const char *name; /* without the dashes */
    char letter;      /* or 0 */
    enum gem_cli_kind kind;
    size_t offset;              /* into the part of the arguments that its group fills */
    double min, max;            /* both 0: the whole range of the kind */
    const char *value;          /* what help calls the value; NULL for flags */
    const char *fallback;       /* parsed when the option is not given; NULL: zero */
    const char *fallback_shown; /* what help says instead of fallback, or NULL */
    const char *help;
    const char *const *choices; /* ends with NULL */
    const char *environment;    /* a variable that stands in for an option of choices that is not given, or NULL */
};

struct gem_cli_group {
    const char *title;
    const struct gem_cli_option *options;
    size_t n_options;
    size_t offset; /* of the structure that the options fill, in the command's arguments */
};

struct gem_cli_operand {
    const char *name;
    bool optional;
    enum gem_cli_kind kind; /* GEM_CLI_STRING or GEM_CLI_FILE */
    size_t offset;          /* const char *, in the command's arguments; NULL when not given */
    const char *help;
};

/* The first member of every command's arguments. */
struct gem_cli_common {
    bool help;
    bool quiet;
    const char *given[80]; /* names of the options that were given, as their table spells them */
    size_t n_given;
};

enum { GEM_CLI_MAX_GROUPS = 6, GEM_CLI_MAX_OPERANDS = 3 };

struct gem_cli_command {
    const char *name;
    const char *summary;         /* one line, no full stop */
    const char *details;         /* paragraphs, one a line */
    const char *const *examples; /* ends with NULL; may be NULL */
    struct gem_cli_operand operands[GEM_CLI_MAX_OPERANDS];
    size_t n_operands;
    struct gem_cli_group groups[GEM_CLI_MAX_GROUPS];
    size_t n_groups;
    size_t args_size;
    int (*run)(const void *args); /* an exit code; says itself what went wrong */
};

#define GEM_CLI_COUNT(array) (sizeof(array) / sizeof(array)[0])
#define GEM_CLI_GROUP(title, options, offset)                                                                          \
    {                                                                                                                  \
        title, options, GEM_CLI_COUNT(options), offset                                                                 \
    }

/* -q and -h; every command's last group. */
extern const struct gem_cli_option gem_cli_common_options[2];
#define GEM_CLI_COMMON_GROUP GEM_CLI_GROUP("Common options", gem_cli_common_options, 0)

/* Parses the words after the command's name. args [command->args_size] zeroed. Options and operands mix; "--" ends
 * options. Returns 0, or GEM_CLI_EXIT_USAGE after saying what is wrong. With --help it stops there and then:
 * args->help is set and nothing else is checked. */
int gem_cli_parse(const struct gem_cli_command *command, int argc, char **argv, void *args);
void gem_cli_args_free(const struct gem_cli_command *command, void *args);

/* Whether the option was on the command line. */
bool gem_cli_given(const struct gem_cli_common *common, const char *name);

/* Strict numbers: decimal, no blanks, nothing behind them, finite. false when text is no such number. */
bool gem_cli_parse_u64(const char *text, uint64_t *out);
bool gem_cli_parse_f64(const char *text, double *out);

/* Says "gemmule: run: " + the message + where help is, and returns GEM_CLI_EXIT_USAGE. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
int gem_cli_usage(const char *command, const char *format, ...);

/* Of `count` names (get(i)) the one that `word` was likely meant to be, or NULL. */
const char *gem_cli_nearest(const char *word, const char *(*get)(const void *user, size_t i), const void *user,
                            size_t count);

#endif
