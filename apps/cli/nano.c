/* SPDX-License-Identifier: Apache-2.0 */
#include "nano.h"
#include "options.h"
#include "terminal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *gem_cli_nano(void)
{
    /* from the program's folder: where it is installed; where it was built */
    static const char *const places[] = {"../share/gemmule/nano", "../../models/nano"};
    static char path[4096 + 64], config[sizeof path + 16];
    char program[4096];
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    char *slash;

    program[n > 0 ? n : 0] = '\0';
    slash = strrchr(program, '/');
    for (size_t i = 0; slash && i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%.*s/%s", (int)(slash - program), program, places[i]);
        snprintf(config, sizeof config, "%s/config.json", path);
        if (!access(config, R_OK)) return path;
    }
    gem_cli_error("nano, the model that comes with the program, is not beside it; name a MODEL");
    return NULL;
}

/* What was meant as a path is not taken for a text, so that a mistake in it is said. */
static bool is_path(const char *word)
{
    static const char *const endings[] = {".gguf", ".gem", ".safetensors"};
    const size_t n = strlen(word);

    if (!access(word, F_OK)) return true;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const size_t m = strlen(endings[i]);
        if (n > m && !strcmp(word + n - m, endings[i])) return true;
    }
    return strchr(word, '/') && !strchr(word, ' ');
}

int gem_cli_choose_model(const char **model, const char **text)
{
    if (*model && (*text || is_path(*model))) return 0;
    *text = *model;
    return (*model = gem_cli_nano()) ? 0 : GEM_CLI_EXIT_FILE;
}
