/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/bench_kernels.c - gemmule bench --kernels: each kernel beside what limits it on this machine. */
#include "bench.h"
#include "json_out.h"
#include "terminal.h"

#include <stdio.h>

/* Operations for products, bytes for what reads. */
static const char *unit_of(gem_limit limit)
{
    return limit == GEM_LIMIT_MEMORY || limit == GEM_LIMIT_CACHE ? "GB/s" : "GOP/s";
}

/* ---- for people ------------------------------------------------------------------------------------------------ */

/* "1024 x 1536 by 96": weights by vectors. */
static void put_shape(const gem_kernel_speed *s)
{
    char text[48];

    if (s->rows)
        snprintf(text, sizeof text, "%u x %u by %u", s->rows, s->columns, s->vectors);
    else
        snprintf(text, sizeof text, "%u", s->columns);
    printf("%-19s", text);
}

static bool put_row(void *user, const gem_kernel_speed *s)
{
    (void)user;
    printf("%-15s%-8s", s->kernel, s->format);
    put_shape(s);
    printf("%7u %10.3g  %-7s%9.4g of %6.4g %-5s%6.0f %%\n", s->n_threads, s->seconds * 1e6, gem_limit_name(s->limit),
           s->rate * 1e-9, s->peak * 1e-9, unit_of(s->limit), s->fraction * 100);
    return gem_cli_flush() == 0 && !gem_cli_interrupted();
}

static void put_machine(const gem_machine_speed *m)
{
    printf("\ncpu            %s\n%-15s%10s%10s\n", m->cpu, "threads", "1", "all");
    for (int i = 0; i < GEM_N_LIMITS; i++)
        if (m->one[i] > 0)
            printf("%-15s%10.4g%10.4g %s\n", gem_limit_name((gem_limit)i), m->one[i] * 1e-9, m->all[i] * 1e-9,
                   unit_of((gem_limit)i));
}

/* ---- for programs ---------------------------------------------------------------------------------------------- */

struct document {
    yyjson_mut_doc *doc;
    yyjson_mut_val *kernels;
    bool ok;
};

static bool add_row(void *user, const gem_kernel_speed *s)
{
    struct document *d = user;
    yyjson_mut_val *row = yyjson_mut_arr_add_obj(d->doc, d->kernels);

    d->ok = row && yyjson_mut_obj_add_str(d->doc, row, "kernel", s->kernel) &&
            yyjson_mut_obj_add_str(d->doc, row, "format", s->format) &&
            yyjson_mut_obj_add_uint(d->doc, row, "rows", s->rows) &&
            yyjson_mut_obj_add_uint(d->doc, row, "columns", s->columns) &&
            yyjson_mut_obj_add_uint(d->doc, row, "vectors", s->vectors) &&
            yyjson_mut_obj_add_uint(d->doc, row, "threads", s->n_threads) &&
            yyjson_mut_obj_add_str(d->doc, row, "limit", gem_limit_name(s->limit)) &&
            yyjson_mut_obj_add_real(d->doc, row, "per_second", s->rate) &&
            yyjson_mut_obj_add_real(d->doc, row, "limit_per_second", s->peak) &&
            yyjson_mut_obj_add_real(d->doc, row, "fraction", s->fraction) &&
            yyjson_mut_obj_add_real(d->doc, row, "seconds", s->seconds);
    gem_cli_progress_line("%s %s", s->kernel, s->format);
    return d->ok && !gem_cli_interrupted();
}

static bool add_machine(struct document *d, const gem_machine_speed *m)
{
    yyjson_mut_val *root = yyjson_mut_doc_get_root(d->doc);
    yyjson_mut_val *limits = yyjson_mut_obj_add_obj(d->doc, root, "limits");
    bool ok = limits && yyjson_mut_obj_add_str(d->doc, root, "cpu", m->cpu) &&
              yyjson_mut_obj_add_str(d->doc, root, "version", gem_version()) &&
              yyjson_mut_obj_add_uint(d->doc, root, "threads", m->n_threads);

    for (int i = 0; i < GEM_N_LIMITS && ok; i++) {
        yyjson_mut_val *limit = yyjson_mut_obj_add_obj(d->doc, limits, gem_limit_name((gem_limit)i));
        ok = limit && yyjson_mut_obj_add_real(d->doc, limit, "one_thread", m->one[i]) &&
             yyjson_mut_obj_add_real(d->doc, limit, "all_threads", m->all[i]);
    }
    return ok;
}

static int measure_json(gem_speed_options options)
{
    struct document d = {.doc = yyjson_mut_doc_new(NULL)};
    yyjson_mut_val *root = yyjson_mut_obj(d.doc);
    gem_machine_speed machine;
    gem_error err;
    gem_status st;

    yyjson_mut_doc_set_root(d.doc, root);
    d.kernels = yyjson_mut_obj_add_arr(d.doc, root, "kernels");
    options.fn = add_row;
    options.user = &d;
    d.ok = true;
    st = gem_measure_speed(&options, &machine, &err);
    gem_cli_progress_end();
    if (st && d.ok) {
        yyjson_mut_doc_free(d.doc);
        return gem_cli_interrupted() ? gem_cli_interrupt_code() : gem_cli_fail(&err);
    }
    return gem_cli_json_print(d.doc, !st && add_machine(&d, &machine), true);
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

int gem_cli_bench_kernels(const char *cpu, uint32_t n_threads, bool json)
{
    const gem_speed_options options = {.cpu = cpu, .n_threads = n_threads, .fn = put_row};
    gem_machine_speed machine;
    gem_error err;

    if (json) return measure_json(options);
    printf("%-15s%-8s%-19s%7s %10s  %-7s%9s    %6s %-5s%8s\n", "kernel", "format", "shape", "threads", "us a call",
           "limit", "reached", "limit", "", "reached");
    if (gem_measure_speed(&options, &machine, &err)) {
        if (gem_cli_interrupted()) return gem_cli_interrupt_code();
        return err.code == GEM_E_CANCELLED ? gem_cli_flush() : gem_cli_fail(&err); /* output closed: that was said */
    }
    put_machine(&machine);
    return gem_cli_flush();
}
