/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/terminal.h - what the program says and how it ends: exit codes, messages, progress on standard error, the
 * answer on standard output, signals. Standard streams and signals belong to the process, so the state behind these
 * functions does too; it is the only global state of the program. */
#ifndef GEM_CLI_TERMINAL_H
#define GEM_CLI_TERMINAL_H

#include <gemmule.h>

#if defined(__GNUC__)
#define GEM_CLI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define GEM_CLI_PRINTF(fmt, args)
#endif

/* ---- exit codes --------------------------------------------------------------------------------------------- */

enum gem_cli_exit {
    GEM_CLI_EXIT_OK = 0,
    GEM_CLI_EXIT_FAILED = 1,
    GEM_CLI_EXIT_USAGE = 2,
    GEM_CLI_EXIT_FILE = 3,
    GEM_CLI_EXIT_LIMIT = 4,
    GEM_CLI_EXIT_INTERRUPTED = 130, /* 128 + SIGINT, as shells do */
    GEM_CLI_EXIT_PIPE = 141         /* 128 + SIGPIPE */
};

struct gem_cli_exit_code {
    int code;
    const char *help;
};
extern const struct gem_cli_exit_code gem_cli_exit_codes[7];

/* ---- messages ----------------------------------------------------------------------------------------------- */

/* "gemmule: " + one line on standard error; control bytes that names bring along become '?'. */
void gem_cli_error(const char *format, ...) GEM_CLI_PRINTF(1, 2);
/* The same, but silent with --quiet. */
void gem_cli_note(const char *format, ...) GEM_CLI_PRINTF(1, 2);
/* Says what the library reported and returns the exit code for it; says nothing after an interrupt. */
int gem_cli_fail(const gem_error *err);
/* Says that memory ran out and returns the exit code for it. */
int gem_cli_out_of_memory(void);
/* Says "PATH: " + the text of errno and returns GEM_CLI_EXIT_FILE. */
int gem_cli_fail_errno(const char *path, int number);

/* ---- progress ----------------------------------------------------------------------------------------------- */

void gem_cli_set_quiet(bool quiet);
/* A gem_progress_fn: shows work that takes over a second, and returns false after an interrupt. */
bool gem_cli_progress(void *user, const char *what, uint64_t done, uint64_t total);
/* The same pace for a line of the caller's own making. */
void gem_cli_progress_line(const char *format, ...) GEM_CLI_PRINTF(1, 2);
/* The work is over: takes the line off the terminal. */
void gem_cli_progress_end(void);

/* ---- standard output ---------------------------------------------------------------------------------------- */

/* Writes text that a model or a file made up. On a terminal its control characters, which could reprogram the
 * terminal, become U+FFFD; elsewhere it goes out byte for byte. */
void gem_cli_put_text(const char *text, size_t n);
/* The same on standard error, for what is no answer. */
void gem_cli_put_remark(const char *text, size_t n);
/* Writes a name from a file on one line: control characters become '?'. */
void gem_cli_put_name(const char *name);
/* Hands everything to the system. 0, or an exit code; the reason is said once (a closed pipe needs none). */
int gem_cli_flush(void);
/* The same at the end of the program: also closes. */
int gem_cli_close_output(void);

/* ---- signals ------------------------------------------------------------------------------------------------ */

/* A closed pipe and a file size limit become write errors; SIGBUS (a mapped file shrank) gets a message. */
void gem_cli_signals_init(void);
/* From here on an interrupt sets a flag, which work in progress notices; a second one ends the program. */
void gem_cli_interrupts_catch(void);
bool gem_cli_interrupted(void);
/* Waits for standard input; false and EINTR after an interrupt, also one that came just before: a blocking read would
 * not notice that one. */
bool gem_cli_wait_for_input(void);
/* 128 + the number of the signal that interrupted. */
int gem_cli_interrupt_code(void);
/* Forget the interrupt: it has ended what it was meant to end. */
void gem_cli_interrupts_clear(void);
/* The file to remove when a signal ends the program; NULL: none. The path must live until it is taken back. */
void gem_cli_remove_on_signal(const char *path);

/* Seconds of a clock that never goes back. */
double gem_cli_seconds(void);

#endif
