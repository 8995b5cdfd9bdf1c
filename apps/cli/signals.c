/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/signals.c - interrupts, and memory that went away under a mapping. */
#include "terminal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

static volatile sig_atomic_t interrupt;       /* the signal, or 0 */
static const char *volatile remove_on_signal; /* read by handlers; set before and after it exists only */

static void remove_file(void)
{
    if (remove_on_signal) unlink(remove_on_signal);
}

/* The library maps weights. Reading a page that a shrunk file or a failing disk cannot give raises SIGBUS in whatever
 * thread reads; no computation can go on from there. Only async-signal-safe calls here. */
static void on_sigbus(int number)
{
    static const char message[] = "gemmule: a model file shrank or its disk failed while in use\n";

    (void)number;
    (void)!write(STDERR_FILENO, message, sizeof message - 1);
    remove_file();
    _exit(GEM_CLI_EXIT_FILE);
}

static void on_interrupt(int number)
{
    if (interrupt) { /* the second: whoever should have noticed the first is too slow */
        remove_file();
        _exit(128 + number);
    }
    interrupt = number;
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = handler; /* no SA_RESTART: a blocked read must notice */
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

void gem_cli_signals_init(void)
{
    handle(SIGPIPE, SIG_IGN);
    handle(SIGXFSZ, SIG_IGN);
    handle(SIGBUS, on_sigbus);
}

static const int interrupts[] = {SIGINT, SIGTERM, SIGHUP};
enum { N_INTERRUPTS = sizeof interrupts / sizeof *interrupts };

void gem_cli_interrupts_catch(void)
{
    for (size_t i = 0; i < N_INTERRUPTS; i++) {
        struct sigaction old;

        /* nohup and background jobs ignore signals on purpose */
        if (!sigaction(interrupts[i], NULL, &old) && old.sa_handler == SIG_IGN) continue;
        handle(interrupts[i], on_interrupt);
    }
}

bool gem_cli_wait_for_input(void)
{
    sigset_t blocked, before;
    bool ready;

    sigemptyset(&blocked);
    for (size_t i = 0; i < N_INTERRUPTS; i++) sigaddset(&blocked, interrupts[i]);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    do {
        fd_set input;

        FD_ZERO(&input);
        FD_SET(STDIN_FILENO, &input);
        ready = !interrupt && pselect(STDIN_FILENO + 1, &input, NULL, NULL, NULL, &before) >= 0;
    } while (!ready && !interrupt && errno == EINTR); /* another signal, such as that of a window's new size */
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (interrupt) errno = EINTR; /* perhaps only now: what was typed behind it stays for the next line */
    return ready && !interrupt;
}

bool gem_cli_interrupted(void) { return interrupt != 0; }

int gem_cli_interrupt_code(void) { return 128 + (int)interrupt; }

void gem_cli_interrupts_clear(void) { interrupt = 0; }

void gem_cli_remove_on_signal(const char *path) { remove_on_signal = path; }
