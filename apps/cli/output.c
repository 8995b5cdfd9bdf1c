/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/output.c - files that appear whole or not at all. */
#include "output.h"
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "dir/.name.XXXXXX" beside the target, so that the rename stays within one file system. */
static char *temporary_name(const char *target)
{
    const char *slash = strrchr(target, '/'), *name = slash ? slash + 1 : target;
    const size_t size = strlen(target) + sizeof "..XXXXXX";
    char *out = malloc(size);

    if (out) snprintf(out, size, "%.*s.%s.XXXXXX", (int)(name - target), target, name);
    return out;
}

/* mkstemp gives 0600; a file made by open() would have what the umask leaves. */
static void usual_mode(int fd)
{
    const mode_t mask = umask(0);

    umask(mask);
    fchmod(fd, 0666 & ~mask);
}

static int open_temporary(struct gem_cli_output *output)
{
    int fd;

    if (!(output->temporary = temporary_name(output->target))) return gem_cli_out_of_memory();
    gem_cli_remove_on_signal(output->temporary); /* before it exists, so that no moment is missed */
    if ((fd = mkstemp(output->temporary)) < 0) {
        const int number = errno;

        gem_cli_remove_on_signal(NULL);
        free(output->temporary);
        output->temporary = NULL;
        return gem_cli_fail_errno(output->path, number);
    }
    usual_mode(fd);
    output->fd = fd + 1;
    return 0;
}

int gem_cli_output_open(struct gem_cli_output *output, const char *path)
{
    struct stat info;
    const bool exists = stat(path, &info) == 0;

    output->path = path;
    output->target = exists ? realpath(path, NULL) : strdup(path);
    if (!output->target) return errno == ENOMEM ? gem_cli_out_of_memory() : gem_cli_fail_errno(path, errno);
    if (exists && S_ISDIR(info.st_mode)) return gem_cli_fail_errno(path, EISDIR);
    if (!exists || S_ISREG(info.st_mode)) return open_temporary(output);
    const int fd = open(output->target, O_WRONLY); /* a rename would put a file in place of a device */
    if (fd < 0) return gem_cli_fail_errno(path, errno);
    output->fd = fd + 1;
    return 0;
}

int gem_cli_output_write(struct gem_cli_output *output, const void *data, size_t n, uint64_t offset)
{
    const char *bytes = data;

    while (n) {
        const ssize_t wrote = pwrite(output->fd - 1, bytes, n, (off_t)offset);

        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return gem_cli_fail_errno(output->path, wrote ? errno : EIO);
        bytes += wrote;
        offset += (uint64_t)wrote;
        n -= (size_t)wrote;
    }
    return 0;
}

/* A rename is durable once its folder is. Some file systems cannot synchronise folders, so this is best effort. */
static void sync_folder(const char *target)
{
    const char *slash = strrchr(target, '/');
    char *folder = slash ? strndup(target, (size_t)(slash - target + 1)) : strdup(".");
    const int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY) : -1;

    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

int gem_cli_output_commit(struct gem_cli_output *output)
{
    const int fd = output->fd - 1;

    output->fd = 0;
    if (output->temporary && fsync(fd)) {
        const int number = errno;

        close(fd);
        return gem_cli_fail_errno(output->path, number);
    }
    if (close(fd)) return gem_cli_fail_errno(output->path, errno);
    if (!output->temporary) return 0;
    if (rename(output->temporary, output->target)) return gem_cli_fail_errno(output->path, errno);
    gem_cli_remove_on_signal(NULL);
    free(output->temporary);
    output->temporary = NULL;
    sync_folder(output->target);
    return 0;
}

void gem_cli_output_close(struct gem_cli_output *output)
{
    if (output->fd) close(output->fd - 1);
    if (output->temporary) unlink(output->temporary);
    gem_cli_remove_on_signal(NULL);
    free(output->temporary);
    free(output->target);
    *output = (struct gem_cli_output){0};
}
