/* SPDX-License-Identifier: Apache-2.0 */
#include "constraint.h"

#include <string.h>

#include "input.h"
#include "terminal.h"

#define FIELD(member) offsetof(struct gem_cli_constraint_args, member)

const struct gem_cli_option gem_cli_constraint_options[3] = {
    {.name = "schema",
     .kind = GEM_CLI_FILE,
     .offset = FIELD(schema),
     .value = "FILE",
     .help = "JSON that satisfies a JSON Schema"},
    {.name = "grammar",
     .kind = GEM_CLI_FILE,
     .offset = FIELD(grammar),
     .value = "FILE",
     .help = "text of a grammar in GBNF"},
    {.name = "regex",
     .kind = GEM_CLI_STRING,
     .offset = FIELD(regex),
     .value = "PATTERN",
     .help = "text that a regular expression matches whole"},
};

int gem_cli_constraint_make(gem_constraint **out, const gem_model *model, const char *command,
                            const struct gem_cli_constraint_args *args, bool thinking)
{
    const gem_constraint_options options = {.thought = thinking ? GEM_THOUGHT_OPTIONAL : GEM_THOUGHT_NONE};
    const char *path = args->schema ? args->schema : args->grammar;
    struct gem_cli_text text = {0};
    gem_error err;
    gem_status st;
    int code;

    *out = NULL;
    if (!args->schema + !args->grammar + !args->regex < 2)
        return gem_cli_usage(command, "--schema, --grammar and --regex exclude each other");
    if (!path && !args->regex) return 0;
    if (path && (code = gem_cli_read(&text, path))) return code;
    if (args->schema)
        st = gem_constraint_open_schema(out, model, text.data, text.n, &options, &err);
    else if (args->grammar)
        st = gem_constraint_open_grammar(out, model, text.data, text.n, &options, &err);
    else
        st = gem_constraint_open_regex(out, model, args->regex, strlen(args->regex), &options, &err);
    gem_cli_text_free(&text);
    return st ? gem_cli_fail(&err) : 0;
}

/* ---- tools ------------------------------------------------------------------------------------------------------ */

static gem_tool_options options_of(const struct gem_cli_tool_use *use, bool follows_result)
{
    gem_tool_options options = {.single = use->single};

    if (!use->choice || !strcmp(use->choice, "auto")) return options;
    if (!strcmp(use->choice, "none"))
        options.choice = GEM_TOOL_NONE;
    else if (follows_result)
        options.choice = GEM_TOOL_AUTO;
    else if (!strcmp(use->choice, "required"))
        options.choice = GEM_TOOL_REQUIRED;
    else
        options = (gem_tool_options){.name = use->choice, .n_name = strlen(use->choice), .single = use->single};
    return options;
}

static void forget(struct gem_cli_tool_use *use, size_t i)
{
    gem_constraint_close(use->made[i].constraint);
    use->made[i].constraint = NULL;
}

int gem_cli_tool_use_make(gem_constraint **out, struct gem_cli_tool_use *use, const gem_model *model, const char *tools,
                          size_t n_tools, gem_thought thought, bool follows_result)
{
    const gem_tool_options tool_options = options_of(use, follows_result);
    const gem_constraint_options options = {.thought = thought};
    gem_constraint **made = &use->made[follows_result].constraint;
    gem_error err;

    *out = NULL;
    if (use->choice && !strcmp(use->choice, "free")) return 0;
    if (use->made[follows_result].thought != thought) forget(use, follows_result);
    use->made[follows_result].thought = thought;
    if (!*made && gem_constraint_open_tools(made, model, tools, n_tools, &tool_options, &options, &err)) {
        const int code = gem_cli_fail(&err);
        if (err.code == GEM_E_UNSUPPORTED)
            gem_cli_note("with --tool-choice free the model calls without a guarantee that schemas are kept");
        return code;
    }
    *out = *made;
    return 0;
}

void gem_cli_tool_use_forget(struct gem_cli_tool_use *use)
{
    for (size_t i = 0; i < GEM_CLI_COUNT(use->made); i++) forget(use, i);
}
