/* SPDX-License-Identifier: Apache-2.0 */
#include "line.h"
#include "terminal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef GEM_CLI_LIBEDIT
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <wchar.h>
#endif

struct gem_cli_line {
    gem_cli_complete_fn *complete;
    const char *prompt;
    bool terminal;
    char *buffer; /* getline's */
    size_t cap;
#ifdef GEM_CLI_LIBEDIT
    EditLine *el; /* NULL: no terminal to edit on */
    History *history;
#endif
};

/* ---- editing ---------------------------------------------------------------------------------------------------- */

#ifdef GEM_CLI_LIBEDIT

static const char bracketed_on[] = "\033[?2004h", bracketed_off[] = "\033[?2004l";

static char *show_prompt(EditLine *el)
{
    struct gem_cli_line *line = NULL;

    el_get(el, EL_CLIENTDATA, &line);
    return (char *)(uintptr_t)line->prompt;
}

/* Instead of libedit's own, which can miss an interrupt. */
static int get_char(EditLine *el, wchar_t *c)
{
    mbstate_t state = {0};
    char byte;

    (void)el;
    for (;;) {
        ssize_t n;
        size_t done;

        if (!gem_cli_wait_for_input() || (n = read(STDIN_FILENO, &byte, 1)) < 0) return -1;
        if (n == 0) return 0;
        done = mbrtowc(c, &byte, 1, &state);
        if (done == (size_t)-1) state = (mbstate_t){0}; /* no character: dropped */
        if (done == 0) *c = 0;
        if (done <= 1) return 1;
    }
}

/* Pasted text comes between ESC [200~ and ESC [201~: its line ends are text, not the end of the line. */
static unsigned char on_paste(EditLine *el, int key)
{
    static const wchar_t end[] = L"\033[201~";
    enum { N_END = sizeof end / sizeof *end - 1 };
    wchar_t c, one[2] = L"";
    size_t matched = 0;

    (void)key;
    while (matched < N_END && el_wgetc(el, &c) == 1) {
        if (c == end[matched]) {
            matched++;
            continue;
        }
        for (size_t i = 0; i < matched; i++) {
            one[0] = end[i];
            if (one[0] != L'\033') el_winsertstr(el, one);
        }
        matched = c == end[0];
        one[0] = c == L'\r' ? L'\n' : c;
        if (!matched) el_winsertstr(el, one);
    }
    return CC_REFRESH;
}

/* Completes as far as all that fits agrees. */
static unsigned char on_complete(EditLine *el, int key)
{
    struct gem_cli_line *line = NULL;
    const LineInfo *info = el_line(el);
    const size_t n = (size_t)(info->cursor - info->buffer);
    const char *first, *other;
    char more[64];
    size_t common;

    (void)key;
    el_get(el, EL_CLIENTDATA, &line);
    if (!line->complete || !(first = line->complete(info->buffer, n, 0))) return CC_ERROR;
    common = strlen(first);
    for (size_t i = 1; (other = line->complete(info->buffer, n, i)); i++) {
        size_t same = 0;
        while (same < common && first[same] == other[same]) same++;
        common = same;
    }
    if (common <= n || common - n >= sizeof more) return CC_ERROR;
    memcpy(more, first + n, common - n);
    more[common - n] = 0;
    return el_insertstr(el, more) ? CC_ERROR : CC_REFRESH;
}

static void open_editor(struct gem_cli_line *line)
{
    const char *term = getenv("TERM");
    HistEvent event;

    if (!line->terminal || !isatty(STDERR_FILENO) || !term || !strcmp(term, "dumb")) return;
    setlocale(LC_CTYPE, ""); /* for libedit; numbers stay as they are */
    if (strcmp(nl_langinfo(CODESET), "UTF-8")) setlocale(LC_CTYPE, "C.UTF-8");
    if (!(line->history = history_init())) return;
    history(line->history, &event, H_SETSIZE, 1000);
    history(line->history, &event, H_SETUNIQUE, 1);
    if (!(line->el = el_init("gemmule", stdin, stderr, stderr))) return;
    el_set(line->el, EL_CLIENTDATA, line);
    el_set(line->el, EL_PROMPT, show_prompt);
    el_set(line->el, EL_EDITOR, "emacs");
    el_set(line->el, EL_SIGNAL, 0);
    el_wset(line->el, EL_GETCFN, get_char);
    el_set(line->el, EL_HIST, history, line->history);
    /* the wide form keeps these as they are; the other makes copies that it never frees */
    el_wset(line->el, EL_ADDFN, L"gemmule-complete", L"complete a command", on_complete);
    el_wset(line->el, EL_ADDFN, L"gemmule-paste", L"insert pasted text", on_paste);
    el_set(line->el, EL_BIND, "\t", "gemmule-complete", NULL);
    el_set(line->el, EL_BIND, "\\e[200~", "gemmule-paste", NULL);
    el_source(line->el, NULL); /* ~/.editrc has the last word */
}

/* As getline(). */
static ssize_t edit(struct gem_cli_line *line, const char **text)
{
    HistEvent event;
    int n = 0;

    fputs(bracketed_on, stderr);
    fflush(stderr);
    *text = el_gets(line->el, &n);
    fputs(bracketed_off, stderr);
    fflush(stderr);
    if (!*text || n <= 0) return -1;
    if (n > 1) history(line->history, &event, H_ENTER, *text);
    return n;
}

#endif

static ssize_t read_plain(struct gem_cli_line *line, const char **text)
{
    ssize_t n;

    if (line->terminal) fputs(line->prompt, stderr);
    if (line->terminal && !gem_cli_wait_for_input()) return -1; /* nothing is buffered: a terminal gives lines */
    n = getline(&line->buffer, &line->cap, stdin);
    *text = line->buffer;
    return n;
}

static ssize_t read_one(struct gem_cli_line *line, const char **text)
{
#ifdef GEM_CLI_LIBEDIT
    if (line->el) return edit(line, text);
#endif
    return read_plain(line, text);
}

/* ----------------------------------------------------------------------------------------------------------------- */

struct gem_cli_line *gem_cli_line_open(gem_cli_complete_fn *complete)
{
    struct gem_cli_line *line = calloc(1, sizeof *line);

    if (!line) return NULL;
    line->complete = complete;
    line->terminal = isatty(STDIN_FILENO);
#ifdef GEM_CLI_LIBEDIT
    open_editor(line);
#endif
    return line;
}

void gem_cli_line_close(struct gem_cli_line *line)
{
    if (!line) return;
#ifdef GEM_CLI_LIBEDIT
    if (line->el) el_end(line->el);
    if (line->history) history_end(line->history);
#endif
    free(line->buffer);
    free(line);
}

bool gem_cli_line_edits(const struct gem_cli_line *line)
{
#ifdef GEM_CLI_LIBEDIT
    return line->el != NULL;
#else
    (void)line;
    return false;
#endif
}

static int append(struct gem_cli_text *text, const char *s, size_t n)
{
    char *data = realloc(text->data, text->n + n + 1);

    if (!data) return gem_cli_out_of_memory();
    memcpy(data + text->n, s, n);
    text->data = data;
    text->n += n;
    data[text->n] = 0; /* for those who look for words in it */
    return 0;
}

static int failed_read(void)
{
    return errno == ENOMEM ? gem_cli_out_of_memory() : gem_cli_fail_errno("standard input", errno);
}

/* Drops what was typed so far. */
static void begin_again(struct gem_cli_line *line, const char *prompt, struct gem_cli_text *text)
{
    gem_cli_interrupts_clear();
    clearerr(stdin);
    fputs("\n(Ctrl-D ends)\n", stderr);
    line->prompt = prompt;
    text->n = 0;
}

static int read_line(struct gem_cli_line *line, const char *prompt, struct gem_cli_text *text, bool asks, bool *end)
{
    *end = false;
    line->prompt = prompt;
    text->n = 0;
    for (;;) {
        const char *s;
        bool more;
        int code;

        errno = 0;
        ssize_t n = read_one(line, &s);
        if (n < 0 && gem_cli_interrupted()) {
            if (gem_cli_interrupt_code() != GEM_CLI_EXIT_INTERRUPTED) return gem_cli_interrupt_code();
            *end = asks;
            if (asks) {
                clearerr(stdin);
                fputc('\n', stderr);
                return 0;
            }
            begin_again(line, prompt, text);
            continue;
        }
        if (n < 0 && ferror(stdin)) return failed_read();
        *end = n < 0 && text->n == 0;
        if (n < 0) return 0;
        n -= s[n - 1] == '\n';
        more = line->terminal && n > 0 && s[n - 1] == '\\';
        if ((code = append(text, s, (size_t)(n - more)))) return code;
        if (!more) return 0;
        if ((code = append(text, "\n", 1))) return code;
        line->prompt = "... ";
    }
}

int gem_cli_line_read(struct gem_cli_line *line, const char *prompt, struct gem_cli_text *text, bool *end)
{
    return read_line(line, prompt, text, false, end);
}

int gem_cli_line_ask(struct gem_cli_line *line, const char *prompt, struct gem_cli_text *text, bool *end)
{
    return read_line(line, prompt, text, true, end);
}
