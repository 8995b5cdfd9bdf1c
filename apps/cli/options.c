/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/options.c - parsing of the command line by the tables of options.h. */
#include "options.h"
#include "terminal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct gem_cli_option gem_cli_common_options[2] = {
    {.name = "quiet",
     .letter = 'q',
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct gem_cli_common, quiet),
     .help = "no progress and no notes on standard error, only errors"},
    {.name = "help",
     .letter = 'h',
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct gem_cli_common, help),
     .help = "describe this command and its options"},
};

struct parser {
    const struct gem_cli_command *command;
    char **argv;
    int argc, next;
    void *args;
    size_t n_operands;
    bool only_operands;   /* after "--" */
    const char *variable; /* of the environment that the value at hand comes from, or NULL */
};

struct found {
    const struct gem_cli_option *option;
    const struct gem_cli_group *group;
};

int gem_cli_usage(const char *command, const char *format, ...)
{
    char message[512];
    va_list list;

    va_start(list, format);
    vsnprintf(message, sizeof message, format, list);
    va_end(list);
    if (command)
        gem_cli_error("%s: %s; see 'gemmule help %s'", command, message, command);
    else
        gem_cli_error("%s; see 'gemmule help'", message);
    return GEM_CLI_EXIT_USAGE;
}

/* ---- numbers ------------------------------------------------------------------------------------------------ */

bool gem_cli_parse_u64(const char *text, uint64_t *out)
{
    uint64_t value = 0;

    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        const uint64_t digit = (uint64_t)(*text - '0');
        if (value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool gem_cli_parse_f64(const char *text, double *out)
{
    char *end;

    /* strtod alone would also take blanks, hexadecimal, "nan" and "inf" */
    if (!*text || strspn(text, "+-.0123456789eE") != strlen(text)) return false;
    *out = strtod(text, &end);
    return end != text && !*end && isfinite(*out);
}

/* ---- finding names ------------------------------------------------------------------------------------------ */

enum { NEAREST_MAX = 32 };

/* Edits (insert, delete, replace, swap neighbours) between two words of at most NEAREST_MAX letters. */
static size_t edits(const char *a, const char *b)
{
    size_t row[3][NEAREST_MAX + 1];
    const size_t na = strlen(a), nb = strlen(b);

    if (na > NEAREST_MAX || nb > NEAREST_MAX) return NEAREST_MAX;
    for (size_t j = 0; j <= nb; j++) row[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];

        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t least = last[j - 1] + (a[i - 1] != b[j - 1]);

            if (last[j] + 1 < least) least = last[j] + 1;
            if (now[j - 1] + 1 < least) least = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < least)
                least = before[j - 2] + 1;
            now[j] = least;
        }
    }
    return row[na % 3][nb];
}

const char *gem_cli_nearest(const char *word, const char *(*get)(const void *user, size_t i), const void *user,
                            size_t count)
{
    const char *best = NULL;
    size_t least = 1 + strlen(word) / 3; /* more edits than this is another word */

    for (size_t i = 0; i < count; i++) {
        const char *name = get(user, i);
        const size_t n = edits(word, name);

        if (n > least || (n == least && best)) continue;
        least = n;
        best = name;
    }
    for (size_t i = 0; i < count && !best && strlen(word) >= 2; i++) {
        if (!strncmp(get(user, i), word, strlen(word))) best = get(user, i);
    }
    return best;
}

/* The option of number i, counted over all groups; option NULL past the last. */
static struct found option_at(const struct gem_cli_command *command, size_t i)
{
    for (size_t g = 0; g < command->n_groups; g++) {
        const struct gem_cli_group *group = &command->groups[g];

        if (i < group->n_options) return (struct found){&group->options[i], group};
        i -= group->n_options;
    }
    return (struct found){NULL, NULL};
}

static const char *option_name(const void *command, size_t i)
{
    const struct found found = option_at(command, i);

    return found.option ? found.option->name : "";
}

static size_t option_count(const struct gem_cli_command *command)
{
    size_t n = 0;

    for (size_t g = 0; g < command->n_groups; g++) n += command->groups[g].n_options;
    return n;
}

static struct found find_long(const struct gem_cli_command *command, const char *name, size_t n)
{
    struct found found;

    for (size_t i = 0; (found = option_at(command, i)).option; i++) {
        if (!strncmp(found.option->name, name, n) && !found.option->name[n]) break;
    }
    return found;
}

static struct found find_letter(const struct gem_cli_command *command, char letter)
{
    struct found found;

    for (size_t i = 0; (found = option_at(command, i)).option; i++) {
        if (found.option->letter == letter) break;
    }
    return found;
}

bool gem_cli_given(const struct gem_cli_common *common, const char *name)
{
    for (size_t i = 0; i < common->n_given; i++) {
        if (!strcmp(common->given[i], name)) return true;
    }
    return false;
}

static void note_given(struct gem_cli_common *common, const char *name)
{
    if (gem_cli_given(common, name) || common->n_given == GEM_CLI_COUNT(common->given)) return;
    common->given[common->n_given++] = name;
}

/* ---- values ------------------------------------------------------------------------------------------------- */

static bool in_range(const struct gem_cli_option *option, double value)
{
    return (option->min == 0 && option->max == 0) || (value >= option->min && value <= option->max);
}

static int bad_value(const struct parser *p, const struct gem_cli_option *option, const char *text)
{
    const char *kind = option->kind == GEM_CLI_F32 ? "a number" : "a whole number";

    if (option->min == 0 && option->max == 0)
        return gem_cli_usage(p->command->name, "--%s needs %s, not '%s'", option->name, kind, text);
    return gem_cli_usage(p->command->name, "--%s needs %s from %.10g to %.10g, not '%s'", option->name, kind,
                         option->min, option->max, text);
}

static int set_integer(const struct parser *p, const struct gem_cli_option *option, const char *text, void *field)
{
    uint64_t value;

    if (!gem_cli_parse_u64(text, &value) || !in_range(option, (double)value)) return bad_value(p, option, text);
    if (option->kind == GEM_CLI_U32 && value > UINT32_MAX) return bad_value(p, option, text);
    if (option->kind == GEM_CLI_U32)
        *(uint32_t *)field = (uint32_t)value;
    else
        *(uint64_t *)field = value;
    return 0;
}

static int set_float(const struct parser *p, const struct gem_cli_option *option, const char *text, void *field)
{
    double value;

    if (!gem_cli_parse_f64(text, &value) || !in_range(option, value) || !isfinite((float)value))
        return bad_value(p, option, text);
    *(float *)field = (float)value;
    return 0;
}

static const char *choice_name(const void *choices, size_t i) { return ((const char *const *)choices)[i]; }

static int set_choice(const struct parser *p, const struct gem_cli_option *option, const char *text, void *field)
{
    char all[128] = "";
    size_t n = 0;

    for (; option->choices[n]; n++) {
        const size_t used = strlen(all);

        if (!strcmp(option->choices[n], text)) {
            *(const char **)field = option->choices[n];
            return 0;
        }
        snprintf(all + used, sizeof all - used, "%s%s", n ? ", " : "", option->choices[n]);
    }
    const char *near = gem_cli_nearest(text, choice_name, option->choices, n);
    return gem_cli_usage(p->command->name, "%s%s is one of %s, not '%s'%s%s%s", p->variable ? "" : "--",
                         p->variable ? p->variable : option->name, all, text, near ? " (did you mean " : "",
                         near ? near : "", near ? "?)" : "");
}

static int add_to_list(const struct gem_cli_option *option, const char *text, void *field)
{
    struct gem_cli_list *list = field;
    const char **items = realloc(list->items, (list->n + 1) * sizeof *items), **options;

    if (!items) return gem_cli_out_of_memory();
    list->items = items;
    if (!(options = realloc(list->options, (list->n + 1) * sizeof *options))) return gem_cli_out_of_memory();
    list->options = options;
    items[list->n] = text;
    options[list->n++] = option->name;
    return 0;
}

static int set_value(const struct parser *p, const struct found *found, const char *text)
{
    const struct gem_cli_option *option = found->option;
    void *field = (char *)p->args + found->group->offset + option->offset;

    switch (option->kind) {
    case GEM_CLI_FLAG: *(bool *)field = true; return 0;
    case GEM_CLI_U32:
    case GEM_CLI_U64: return set_integer(p, option, text, field);
    case GEM_CLI_F32: return set_float(p, option, text, field);
    case GEM_CLI_CHOICE: return set_choice(p, option, text, field);
    case GEM_CLI_LIST: return add_to_list(option, text, field);
    case GEM_CLI_STRING:
    case GEM_CLI_FILE: *(const char **)field = text; return 0;
    }
    return 0;
}

static int set_fallbacks(struct parser *p)
{
    struct found found;
    int code = 0;

    for (size_t i = 0; !code && (found = option_at(p->command, i)).option; i++) {
        const char *name = found.option->environment, *value = name ? getenv(name) : NULL;

        p->variable = value && *value ? name : NULL;
        if (!p->variable) value = found.option->fallback;
        if (value) code = set_value(p, &found, value);
    }
    p->variable = NULL;
    return code;
}

/* ---- words of the command line ------------------------------------------------------------------------------ */

/* text: what stands behind "=" or the letter, or NULL: then the value is the next word. */
static int take_option(struct parser *p, const struct found *found, const char *text)
{
    const struct gem_cli_option *option = found->option;

    if (option->kind == GEM_CLI_FLAG && text)
        return gem_cli_usage(p->command->name, "--%s takes no value, but got '%s'", option->name, text);
    if (option->kind != GEM_CLI_FLAG && !text) {
        if (p->next == p->argc)
            return gem_cli_usage(p->command->name, "--%s needs a value (%s)", option->name, option->value);
        text = p->argv[p->next++];
    }
    note_given(p->args, option->name);
    return set_value(p, found, text);
}

static int take_long(struct parser *p, const char *word)
{
    const char *equals = strchr(word, '=');
    const size_t n = equals ? (size_t)(equals - word) : strlen(word);
    const struct found found = find_long(p->command, word, n);
    char name[64];

    if (found.option) return take_option(p, &found, equals ? equals + 1 : NULL);
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), word);
    const char *near = gem_cli_nearest(name, option_name, p->command, option_count(p->command));
    return gem_cli_usage(p->command->name, "unknown option --%s%s%s%s", name, near ? ", did you mean --" : "",
                         near ? near : "", near ? "?" : "");
}

/* "-q", "-qh", "-n64" or "-n 64". */
static int take_letters(struct parser *p, const char *letters)
{
    while (*letters) {
        const struct found found = find_letter(p->command, *letters);
        int code;

        if (!found.option) return gem_cli_usage(p->command->name, "unknown option -%c", *letters);
        letters++;
        if (found.option->kind != GEM_CLI_FLAG) return take_option(p, &found, *letters ? letters : NULL);
        if ((code = take_option(p, &found, NULL))) return code;
    }
    return 0;
}

static int take_operand(struct parser *p, const char *word)
{
    if (p->n_operands == p->command->n_operands)
        return gem_cli_usage(p->command->name, "one argument too many: '%s' (a text of several words needs quotes)",
                             word);
    *(const char **)((char *)p->args + p->command->operands[p->n_operands++].offset) = word;
    return 0;
}

static int take_word(struct parser *p)
{
    const char *word = p->argv[p->next++];

    if (p->only_operands || word[0] != '-' || !word[1]) return take_operand(p, word);
    if (word[1] != '-') return take_letters(p, word + 1);
    if (word[2]) return take_long(p, word + 2);
    p->only_operands = true;
    return 0;
}

int gem_cli_parse(const struct gem_cli_command *command, int argc, char **argv, void *args)
{
    struct parser p = {.command = command, .argc = argc, .argv = argv, .args = args};
    const struct gem_cli_common *common = args;
    int code = set_fallbacks(&p);

    while (!code && p.next < p.argc && !common->help) code = take_word(&p);
    if (code || common->help) return code;
    if (p.n_operands < command->n_operands && !command->operands[p.n_operands].optional)
        return gem_cli_usage(command->name, "%s is missing", command->operands[p.n_operands].name);
    return 0;
}

void gem_cli_args_free(const struct gem_cli_command *command, void *args)
{
    struct found found;

    for (size_t i = 0; (found = option_at(command, i)).option; i++) {
        void *field = (char *)args + found.group->offset + found.option->offset;

        if (found.option->kind != GEM_CLI_LIST) continue;
        free(((struct gem_cli_list *)field)->items);
        free(((struct gem_cli_list *)field)->options);
        *(struct gem_cli_list *)field = (struct gem_cli_list){0}; /* another option may share it */
    }
}
