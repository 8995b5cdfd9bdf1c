/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/confine.c - what a decoder's process can do and what not, and that its caller outlives whatever it does.
 */
#define _GNU_SOURCE
#include "media/confine.h"

#include "unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct received {
    uint64_t n, bytes;
    uint8_t last;
    gem_status answer;
};

static gem_status receive(void *user, const struct gem_parcel *parcel, const void *data, gem_error *err)
{
    struct received *r = user;

    r->n++;
    r->bytes += parcel->n_bytes;
    if (parcel->n_bytes) r->last = ((const uint8_t *)data)[parcel->n_bytes - 1];
    return r->answer ? gem_fail(err, r->answer, 0, "enough") : GEM_OK;
}

static gem_status confine(gem_confined_fn *run, void *context, int keep, struct received *r, gem_error *err)
{
    const struct gem_confinement c = {.name = "letter.mp4",
                                      .keep = keep,
                                      .max_parcel = 1 << 20,
                                      .run = run,
                                      .context = context,
                                      .on_parcel = receive,
                                      .user = r};

    *err = (gem_error){0};
    return gem_confine(&c, err);
}

static gem_status send_many(void *context, const struct gem_outlet *out, gem_error *err)
{
    static uint8_t data[1 << 20];

    (void)err;
    for (unsigned i = 0; i < *(unsigned *)context; i++) {
        const struct gem_parcel parcel = {.width = i, .n_bytes = i % 2 ? sizeof data : i};
        memset(data, (int)i, sizeof data);
        if (!gem_outlet_send(out, &parcel, data)) return GEM_E_IO;
    }
    return GEM_OK;
}

static void test_parcels(void)
{
    struct received r = {0};
    unsigned n = 8;
    gem_error err;

    CHECK_EQ(confine(send_many, &n, -1, &r, &err), GEM_OK);
    CHECK_EQ(r.n, 8);
    CHECK_EQ(r.bytes, (4 << 20) + 0 + 2 + 4 + 6);
    CHECK_EQ(r.last, 7);
    r = (struct received){.answer = GEM_E_LIMIT};
    n = 1000; /* of which nobody wants the second */
    CHECK_EQ(confine(send_many, &n, -1, &r, &err), GEM_E_LIMIT);
    CHECK_EQ(r.n, 1);
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

static gem_status spin(void *context, const struct gem_outlet *out, gem_error *err)
{
    (void)out;
    (void)err;
    while (*(volatile unsigned *)context == 0) {}
    return GEM_OK;
}

static void test_a_decoder_that_never_ends_is_stopped(void)
{
    unsigned n = 0;
    gem_error err = {0};
    const struct gem_confinement c = {
        .name = "letter.mp4", .keep = -1, .seconds = 1, .run = spin, .context = &n, .on_parcel = receive};

    CHECK_EQ(gem_confine(&c, &err), GEM_E_LIMIT);
    CHECK_STR(err.message, "letter.mp4: decoding it takes more than 1 seconds of processor time");
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
}

static gem_status refuse(void *context, const struct gem_outlet *out, gem_error *err)
{
    (void)context;
    (void)out;
    return gem_fail(err, GEM_E_UNSUPPORTED, 17, "not today");
}

static gem_status crash(void *context, const struct gem_outlet *out, gem_error *err)
{
    (void)out;
    (void)err;
    signal(SIGSEGV, SIG_DFL); /* sanitizers have a handler */
    *(volatile int *)context = 1;
    return GEM_OK;
}

static gem_status hang(void *context, const struct gem_outlet *out, gem_error *err)
{
    const struct gem_parcel parcel = {.n_bytes = sizeof(pid_t)};
    const pid_t self = getpid();

    (void)err;
    gem_outlet_send(out, &parcel, &self);
    while (context) {}
    return GEM_OK;
}

/* An interrupt at a terminal goes to both: it must end the child although the caller catches it. */
static gem_status interrupt(void *user, const struct gem_parcel *parcel, const void *data, gem_error *err)
{
    pid_t child;

    (void)user;
    (void)parcel;
    (void)err;
    memcpy(&child, data, sizeof child);
    return kill(child, SIGINT) ? GEM_E_IO : GEM_OK;
}

static void on_interrupt(int number) { (void)number; }

static void test_interrupt(void)
{
    const struct gem_confinement c = {.name = "endless.mp4",
                                      .keep = -1,
                                      .max_parcel = 100,
                                      .run = hang,
                                      .context = (void *)(uintptr_t)1,
                                      .on_parcel = interrupt};
    gem_error err = {0};

    signal(SIGINT, on_interrupt);
    CHECK_EQ(gem_confine(&c, &err), GEM_E_FORMAT);
    signal(SIGINT, SIG_DFL);
}

static gem_status send_too_much(void *context, const struct gem_outlet *out, gem_error *err)
{
    static uint8_t data[(1 << 20) + 1];
    const struct gem_parcel parcel = {.n_bytes = sizeof data};

    (void)context;
    (void)err;
    gem_outlet_send(out, &parcel, data);
    return GEM_OK;
}

static void test_ends(void)
{
    struct received r = {0};
    gem_error err;

    CHECK_EQ(confine(refuse, NULL, -1, &r, &err), GEM_E_UNSUPPORTED);
    CHECK_STR(err.message, "not today");
    CHECK_EQ(err.offset, 17);
    CHECK_EQ(confine(crash, NULL, -1, &r, &err), GEM_E_FORMAT);
    CHECK_STR(err.message, "letter.mp4: the process that decodes it ended before it was done");
    CHECK_EQ(confine(send_too_much, NULL, -1, &r, &err), GEM_E_LIMIT);
    CHECK_EQ(r.n, 0);
}

/* Answers with a letter for each thing that it could do. */
static gem_status try_everything(void *context, const struct gem_outlet *out, gem_error *err)
{
    const int *fds = context; /* one that is kept, one that is not */
    char did[16] = "", byte;
    size_t n = 0;

    if (pread(fds[0], &byte, 1, 0) == 1) did[n++] = 'k';
    if (pread(fds[1], &byte, 1, 0) == 1) did[n++] = 'r';
    if (open("/etc/passwd", O_RDONLY) >= 0) did[n++] = 'o';
    if (open("/tmp/gemmule-confine", O_WRONLY | O_CREAT, 0600) >= 0) did[n++] = 'w';
    if (socket(AF_INET, SOCK_STREAM, 0) >= 0) did[n++] = 's';
    if (fork() >= 0) did[n++] = 'f';
    if (execl("/bin/true", "true", (char *)NULL) == 0) did[n++] = 'x';
    if (kill(getppid(), 0) == 0) did[n++] = 'p';
    (void)out;
    return gem_fail(err, GEM_E_ARGUMENT, 0, "%s", did);
}

static void test_privileges(void)
{
    const int kept = open("golden/README.md", O_RDONLY), other = open("golden/README.md", O_RDONLY);
    int fds[2] = {kept, other};
    struct received r = {0};
    gem_error err;

    CHECK_EQ(confine(try_everything, fds, kept, &r, &err), GEM_E_ARGUMENT);
#if defined(__x86_64__) || defined(__aarch64__)
    CHECK_STR(err.message, "k");
#endif
    close(kept);
    close(other);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {{"parcels", test_parcels},
                                              {"ends", test_ends},
                                              {"interrupt", test_interrupt},
                                              {"privileges", test_privileges},
                                              {"never_ends", test_a_decoder_that_never_ends_is_stopped}};

    if (prctl(PR_GET_SECCOMP) < 0) { /* qemu-user */
        printf("skipped: there is no seccomp here\n");
        return 77;
    }
    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
