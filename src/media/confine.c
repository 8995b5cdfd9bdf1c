/* SPDX-License-Identifier: Apache-2.0
 *
 * The caller may have threads, whose locks a child inherits as they are: those of malloc are made safe by the C
 * library, and those of the decoder are free, since it never runs in the caller. The child ends with _exit. */
#define _GNU_SOURCE /* pipe2 */
#include "media/confine.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Before each parcel, and once at the end with the status. */
struct head {
    bool is_end;
    gem_error err; /* at the end */
    struct gem_parcel parcel;
};

/* ---- the child --------------------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#if defined(ARCHITECTURE)
/* All that decoding takes. mmap can map no file but those that are open. */
static const unsigned allowed[] = {
    SYS_read,         SYS_pread64,        SYS_write,       SYS_lseek,         SYS_close,
    SYS_mmap,         SYS_munmap,         SYS_mremap,      SYS_mprotect,      SYS_madvise,
    SYS_brk,          SYS_futex,          SYS_exit,        SYS_exit_group,    SYS_rt_sigreturn,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_sigaltstack, SYS_clock_gettime, SYS_clock_nanosleep,
    SYS_getrandom,    SYS_sched_yield,    SYS_gettid,      SYS_getpid,        SYS_sched_getaffinity,
};

/* Everything else fails with EPERM. */
static bool forbid_calls(void)
{
    enum { N = sizeof allowed / sizeof *allowed };
    struct sock_filter filter[N + 7];
    struct sock_fprog program = {.filter = filter};
    unsigned short n = 0;

    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < N; i++) /* to the last but one */
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], (unsigned char)(N - i), 0);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program.len = n;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}
#else
static bool forbid_calls(void) { return true; } /* limits only */
#endif

/* Descriptors [from, to). */
static void close_span(unsigned from, unsigned to)
{
    struct rlimit open = {1024, 1024};

    if (from >= to || syscall(SYS_close_range, from, to - 1, 0) == 0) return;
    (void)getrlimit(RLIMIT_NOFILE, &open); /* a kernel before 5.9 */
    for (unsigned i = from; i < to && i < open.rlim_cur && i < 1u << 20; i++) close((int)i);
}

/* All but two, of which one may be -1. */
static void close_others(int a, int b)
{
    const unsigned low = (unsigned)((a < b ? a : b) + 1), high = (unsigned)((a < b ? b : a) + 1); /* the next of each */

    if (low > 0) close_span(0, low - 1);
    close_span(low, high - 1);
    close_span(high, UINT32_MAX);
}

static unsigned seconds_of(const struct gem_confinement *c) { return c->seconds ? c->seconds : GEM_CONFINE_SECONDS; }

static bool limit_seconds(rlim_t n)
{
    struct rlimit cpu;

    if (getrlimit(RLIMIT_CPU, &cpu)) return false;
    if (n < cpu.rlim_cur) cpu.rlim_cur = n; /* a lower one of the caller's stays */
    return setrlimit(RLIMIT_CPU, &cpu) == 0;
}

static bool confine(const struct gem_confinement *c, int out)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU}; /* whatever the caller does about them */
    const struct rlimit none = {0, 0};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        signal(ends[i], SIG_DFL);
        sigaddset(&set, ends[i]);
    }
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    close_others(out, c->keep);
    return setrlimit(RLIMIT_FSIZE, &none) == 0 && setrlimit(RLIMIT_CORE, &none) == 0 &&
           setrlimit(RLIMIT_NPROC, &none) == 0 && limit_seconds(seconds_of(c)) &&
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && forbid_calls();
}

static bool write_all(int fd, const void *data, uint64_t n)
{
    const uint8_t *p = data;

    while (n > 0) {
        const ssize_t done = write(fd, p, n < 1 << 20 ? (size_t)n : 1 << 20);

        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        p += done;
        n -= (uint64_t)done;
    }
    return true;
}

bool gem_outlet_send(const struct gem_outlet *out, const struct gem_parcel *parcel, const void *data)
{
    struct head head;

    memset(&head, 0, sizeof head);
    head.parcel = *parcel;
    return write_all(out->fd, &head, sizeof head) && write_all(out->fd, data, parcel->n_bytes);
}

static void be_child(const struct gem_confinement *c, int fd)
{
    const struct gem_outlet out = {.fd = fd};
    struct head head;

    memset(&head, 0, sizeof head);
    head.is_end = true;
    if (!confine(c, fd))
        gem_fail(&head.err, GEM_E_IO, 0, "%.120s: the process that decodes it cannot be confined: %s", c->name,
                 strerror(errno));
    else if (!c->run(c->context, &out, &head.err))
        head.err.code = GEM_OK;
    _exit(write_all(fd, &head, sizeof head) ? 0 : 1);
}

/* ---- the caller -------------------------------------------------------------------------------------------------- */

static bool read_all(int fd, void *data, uint64_t n)
{
    uint8_t *p = data;

    while (n > 0) {
        const ssize_t got = read(fd, p, n < 1 << 20 ? (size_t)n : 1 << 20);

        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        p += got;
        n -= (uint64_t)got;
    }
    return true;
}

static gem_status crashed(const struct gem_confinement *c, gem_error *err)
{
    return gem_fail(err, GEM_E_FORMAT, 0, "%.120s: the process that decodes it ended before it was done", c->name);
}

/* What a child says may be anything: it is checked like a file. */
static gem_status end_of(const struct gem_confinement *c, struct head *head, gem_error *err)
{
    if (head->err.code == GEM_OK) return GEM_OK;
    head->err.message[sizeof head->err.message - 1] = 0;
    if ((unsigned)head->err.code > GEM_E_NONFINITE || strchr(head->err.message, '\n')) return crashed(c, err);
    if (err) *err = head->err;
    return head->err.code;
}

static gem_status receive(const struct gem_confinement *c, int fd, gem_error *err)
{
    uint8_t *data = NULL;
    uint64_t cap = 0;
    gem_status st = GEM_OK;
    struct head head;

    while (!st) {
        if (!read_all(fd, &head, sizeof head)) {
            st = crashed(c, err);
            break;
        }
        if (head.is_end) {
            st = end_of(c, &head, err);
            break;
        }
        if (head.parcel.n_bytes > c->max_parcel) {
            st = gem_fail(err, GEM_E_LIMIT, 0, "%.120s: it becomes more than %llu bytes", c->name,
                          (unsigned long long)c->max_parcel);
            break;
        }
        if (head.parcel.n_bytes > cap) {
            gem_free(data);
            cap = head.parcel.n_bytes;
            if (!(data = gem_alloc_aligned(cap, "decoded media", err))) {
                st = GEM_E_NOMEM;
                break;
            }
        }
        st = read_all(fd, data, head.parcel.n_bytes) ? c->on_parcel(c->user, &head.parcel, data, err) : crashed(c, err);
    }
    gem_free(data);
    return st;
}

gem_status gem_confine(const struct gem_confinement *c, gem_error *err)
{
    int ends[2], how = 0;
    gem_status st;
    pid_t child;

    if (pipe2(ends, O_CLOEXEC)) return gem_fail(err, GEM_E_IO, 0, "%.120s: a pipe: %s", c->name, strerror(errno));
    if ((child = fork()) == 0) be_child(c, ends[1]);
    close(ends[1]);
    if (child < 0)
        st = gem_fail(err, GEM_E_NOMEM, 0, "%.120s: no process to decode it in: %s", c->name, strerror(errno));
    else
        st = receive(c, ends[0], err);
    close(ends[0]);
    if (child > 0) {
        kill(child, SIGKILL); /* it has ended, or nobody wants the rest */
        while (waitpid(child, &how, 0) < 0 && errno == EINTR) {}
        if (st && WIFSIGNALED(how) && WTERMSIG(how) == SIGXCPU)
            st = gem_fail(err, GEM_E_LIMIT, 0, "%.120s: decoding it takes more than %u seconds of processor time",
                          c->name, seconds_of(c));
    }
    return st;
}
