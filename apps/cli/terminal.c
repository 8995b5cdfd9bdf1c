/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/terminal.c - messages, progress and standard output. */
#include "terminal.h"
#include "options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const struct gem_cli_exit_code gem_cli_exit_codes[7] = {
    {GEM_CLI_EXIT_OK, "success"},
    {GEM_CLI_EXIT_FAILED, "the run failed"},
    {GEM_CLI_EXIT_USAGE, "an option or argument is wrong"},
    {GEM_CLI_EXIT_FILE, "a file or model is missing, damaged or not supported, or output cannot be written"},
    {GEM_CLI_EXIT_LIMIT, "it does not fit: memory, context or another limit"},
    {GEM_CLI_EXIT_INTERRUPTED, "interrupted (128 plus the number of the signal)"},
    {GEM_CLI_EXIT_PIPE, "whoever read the output went away"},
};

double gem_cli_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- progress ----------------------------------------------------------------------------------------------- */

static struct {
    bool quiet;
    bool active;  /* work has begun */
    bool shown;   /* the terminal's line holds our text */
    double since; /* when it began */
    double last;  /* when a line was last shown */
} progress;

void gem_cli_set_quiet(bool quiet) { progress.quiet = quiet; }

static void clear_line(void)
{
    if (progress.shown) fputs("\r\033[K", stderr);
    progress.shown = false;
}

/* Work under a second is not worth a line; a log file gets one in five seconds at most. */
static bool progress_due(void)
{
    const double now = gem_cli_seconds();
    const bool terminal = isatty(STDERR_FILENO);

    if (!progress.active) {
        progress.active = true;
        progress.since = progress.last = now;
    }
    if (progress.quiet || now - progress.since < 1.0 || now - progress.last < (terminal ? 0.1 : 5.0)) return false;
    progress.last = now;
    return true;
}

void gem_cli_progress_line(const char *format, ...)
{
    const bool terminal = isatty(STDERR_FILENO);
    va_list list;

    if (!progress_due()) return;
    clear_line();
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    if (!terminal) fputc('\n', stderr);
    progress.shown = terminal;
    fflush(stderr);
}

bool gem_cli_progress(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user;
    if (total)
        gem_cli_progress_line("%s: %.0f%%", what, 100.0 * (double)done / (double)total);
    else
        gem_cli_progress_line("%s", what);
    return !gem_cli_interrupted();
}

void gem_cli_progress_end(void)
{
    clear_line();
    progress.active = false;
}

/* ---- messages ----------------------------------------------------------------------------------------------- */

static bool is_control(unsigned char c) { return c < 0x20 || c == 0x7f; }

static void say(const char *format, va_list list)
{
    char message[1024];

    vsnprintf(message, sizeof message, format, list);
    for (char *p = message; *p; p++) {
        if (is_control((unsigned char)*p)) *p = '?';
    }
    clear_line();
    fprintf(stderr, "gemmule: %s\n", message);
}

void gem_cli_error(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    say(format, list);
    va_end(list);
}

void gem_cli_note(const char *format, ...)
{
    va_list list;

    if (progress.quiet) return;
    va_start(list, format);
    say(format, list);
    va_end(list);
}

int gem_cli_out_of_memory(void)
{
    gem_cli_error("out of memory");
    return GEM_CLI_EXIT_LIMIT;
}

int gem_cli_fail_errno(const char *path, int number)
{
    gem_cli_error("%s: %s", path, strerror(number));
    return GEM_CLI_EXIT_FILE;
}

/* Whether the message already has the number as a word of its own. */
static bool mentions(const char *message, uint64_t number)
{
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    const char *digit = "0123456789";

    for (const char *p = strstr(message, digits); p; p = strstr(p + 1, digits)) {
        if ((p == message || !strchr(digit, p[-1])) && (!p[n] || !strchr(digit, p[n]))) return true;
    }
    return false;
}

int gem_cli_fail(const gem_error *err)
{
    static const int codes[] = {
        [GEM_OK] = GEM_CLI_EXIT_FAILED,          [GEM_E_NOMEM] = GEM_CLI_EXIT_LIMIT,
        [GEM_E_IO] = GEM_CLI_EXIT_FILE,          [GEM_E_FORMAT] = GEM_CLI_EXIT_FILE,
        [GEM_E_UNSUPPORTED] = GEM_CLI_EXIT_FILE, [GEM_E_LIMIT] = GEM_CLI_EXIT_LIMIT,
        [GEM_E_ARGUMENT] = GEM_CLI_EXIT_USAGE,   [GEM_E_CANCELLED] = GEM_CLI_EXIT_FAILED,
        [GEM_E_NONFINITE] = GEM_CLI_EXIT_FILE, /* weights are damaged */
    };

    gem_cli_progress_end();
    if (err->code == GEM_E_CANCELLED && gem_cli_interrupted()) return gem_cli_interrupt_code();
    if (err->offset && !mentions(err->message, err->offset))
        gem_cli_error("%s (at byte %llu)", err->message, (unsigned long long)err->offset);
    else
        gem_cli_error("%s", err->message);
    return (size_t)err->code < GEM_CLI_COUNT(codes) ? codes[err->code] : GEM_CLI_EXIT_FAILED;
}

/* ---- standard output ---------------------------------------------------------------------------------------- */

/* Control characters are those below 0x20 except newline and tab, 0x7f, and U+0080 to U+009F (c2 80 to c2 9f). */
static void put_safely(FILE *out, const char *text, size_t n)
{
    if (!isatty(fileno(out))) {
        fwrite(text, 1, n, out);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)text[i];
        const bool c1 = c == 0xc2 && i + 1 < n && (unsigned char)text[i + 1] < 0xa0;

        if (c1 || (is_control(c) && c != '\n' && c != '\t'))
            fputs("\xef\xbf\xbd", out);
        else
            fputc(c, out);
        i += c1;
    }
}

void gem_cli_put_text(const char *text, size_t n) { put_safely(stdout, text, n); }

void gem_cli_put_remark(const char *text, size_t n) { put_safely(stderr, text, n); }

void gem_cli_put_name(const char *name)
{
    for (; *name; name++) fputc(is_control((unsigned char)*name) ? '?' : *name, stdout);
}

/* Said once: every later call of a stream in error would only repeat it. */
static int output_failed(int number)
{
    static int code;

    if (code) return code;
    code = number == EPIPE ? GEM_CLI_EXIT_PIPE : GEM_CLI_EXIT_FILE;
    if (number != EPIPE) gem_cli_error("standard output: %s", number ? strerror(number) : "write error");
    return code;
}

int gem_cli_flush(void)
{
    errno = 0;
    if (fflush(stdout) || ferror(stdout)) return output_failed(errno);
    return 0;
}

int gem_cli_close_output(void)
{
    const int code = gem_cli_flush();

    errno = 0;
    if (fclose(stdout) && !code) return output_failed(errno);
    return code;
}
