/* SPDX-License-Identifier: Apache-2.0 */
#include "chat/values.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

static bool read_double(const char *s, double *out)
{
    yyjson_val v = {0};

    if (!yyjson_read_number(s, &v, YYJSON_READ_ALLOW_INF_AND_NAN, NULL, NULL)) return false;
    *out = yyjson_get_num(&v);
    return isfinite(*out);
}

/* The fewest digits that read back as x > 0, and the power of ten of the first one. Built from parts because the
 * decimal point of printf depends on the process's locale. */
static size_t shortest_digits(double x, char *digits, int *exponent)
{
    char printed[40], again[48];
    double back;
    size_t n = 0;

    for (int precision = 0; precision < 17; precision++) {
        const char *e;
        snprintf(printed, sizeof printed, "%.*e", precision, x);
        e = strrchr(printed, 'e');
        n = 0;
        for (const char *p = printed; p < e; p++)
            if (*p >= '0' && *p <= '9') digits[n++] = *p;
        *exponent = (int)strtol(e + 1, NULL, 10);
        snprintf(again, sizeof again, "%c.%.*s0e%d", digits[0], (int)n - 1, digits + 1, *exponent);
        if (read_double(again, &back) && back == x) break;
    }
    while (n > 1 && digits[n - 1] == '0') n--;
    return n;
}

bool gem_chat_python_float(const char *raw, size_t n, char *out)
{
    char copy[512], digits[24];
    double x;
    int exponent;
    size_t n_digits;
    char *p = out;

    if (n >= sizeof copy) return false;
    memcpy(copy, raw, n);
    copy[n] = 0;
    if (!read_double(copy, &x)) return false;
    if (raw[0] == '-') *p++ = '-'; /* -0.0 too */
    if (x == 0) {
        memcpy(p, "0.0", 4);
        return true;
    }
    n_digits = shortest_digits(fabs(x), digits, &exponent);
    if (exponent < -4 || exponent >= 16) {
        *p++ = digits[0];
        if (n_digits > 1) p += snprintf(p, 24, ".%.*s", (int)n_digits - 1, digits + 1);
        snprintf(p, 16, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return true;
    }
    if (exponent < 0) {
        p += snprintf(p, 8, "0.%.*s", -exponent - 1, "000");
        snprintf(p, 24, "%.*s", (int)n_digits, digits);
        return true;
    }
    for (int i = 0; i <= exponent; i++) *p++ = (size_t)i < n_digits ? digits[i] : '0';
    *p++ = '.';
    if (n_digits > (size_t)exponent + 1)
        snprintf(p, 24, "%.*s", (int)n_digits - exponent - 1, digits + exponent + 1);
    else
        memcpy(p, "0", 2);
    return true;
}

static void put_number(struct gem_chat_text *t, yyjson_val *v)
{
    const char *raw = yyjson_get_raw(v);
    const size_t n = yyjson_get_len(v);
    char out[64];
    bool is_float = false;

    for (size_t i = 0; i < n; i++) is_float |= raw[i] == '.' || raw[i] == 'e' || raw[i] == 'E';
    if (!is_float) { /* an integer of any size; Python knows no negative zero among them */
        gem_chat_put(t, n == 2 && !memcmp(raw, "-0", 2) ? "0" : raw, n == 2 && !memcmp(raw, "-0", 2) ? 1 : n);
    } else if (gem_chat_python_float(raw, n, out)) {
        gem_chat_puts(t, out);
    } else if (!t->status) {
        t->status = gem_fail(t->err, GEM_E_FORMAT, 0, "the number %.*s is out of range", n < 40 ? (int)n : 40, raw);
    }
}

/* ---- order ------------------------------------------------------------------------------------------------------ */

static int compare_lowered(const char *a, size_t n_a, const char *b, size_t n_b)
{
    while (n_a > 0 && n_b > 0) {
        uint32_t x, y;
        const size_t i = gem_utf8_decode(a, n_a, &x), k = gem_utf8_decode(b, n_b, &y);

        if (i == 0 || k == 0) break; /* JSON that was read has valid text only */
        x = gem_chat_lower(x);
        y = gem_chat_lower(y);
        if (x != y) return x < y ? -1 : 1;
        a += i;
        n_a -= i;
        b += k;
        n_b -= k;
    }
    return (n_a > 0) - (n_b > 0);
}

static int compare_pairs(const void *a, const void *b)
{
    const struct gem_chat_pair *x = a, *y = b;
    const int order =
        compare_lowered(yyjson_get_str(x->key), yyjson_get_len(x->key), yyjson_get_str(y->key), yyjson_get_len(y->key));

    return order ? order : x->index < y->index ? -1 : 1;
}

static int compare_keys(const void *a, const void *b)
{
    const struct gem_chat_pair *x = a, *y = b;
    const size_t n_x = yyjson_get_len(x->key), n_y = yyjson_get_len(y->key);
    const int order = memcmp(yyjson_get_str(x->key), yyjson_get_str(y->key), n_x < n_y ? n_x : n_y);

    if (order) return order;
    if (n_x != n_y) return n_x < n_y ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

/* Of several pairs with one key, the last value at the first place: what Python makes of such JSON. */
static size_t drop_repeated(struct gem_chat_pair *pairs, size_t n)
{
    size_t kept = 0;

    qsort(pairs, n, sizeof *pairs, compare_keys);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 &&
            yyjson_equals_strn(pairs[kept - 1].key, yyjson_get_str(pairs[i].key), yyjson_get_len(pairs[i].key)))
            pairs[kept - 1].value = pairs[i].value;
        else
            pairs[kept++] = pairs[i];
    }
    return kept;
}

gem_status gem_chat_sorted(struct gem_chat_pair **pairs, size_t *n, yyjson_val *object, gem_error *err)
{
    size_t i, max;
    yyjson_val *key, *value;

    *n = 0;
    if (!(*pairs = gem_calloc(yyjson_obj_size(object), sizeof **pairs, "an object's pairs", err))) return GEM_E_NOMEM;
    yyjson_obj_foreach(object, i, max, key, value) { (*pairs)[i] = (struct gem_chat_pair){key, value, i}; }
    *n = drop_repeated(*pairs, yyjson_obj_size(object));
    qsort(*pairs, *n, sizeof **pairs, compare_pairs);
    return GEM_OK;
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

void gem_chat_put_quoted(struct gem_chat_text *t, const char *s, size_t n)
{
    gem_chat_put_control(t, GEM_CHAT_QUOTE);
    gem_chat_put(t, s, n);
    gem_chat_put_control(t, GEM_CHAT_QUOTE);
}

static void put_pairs(struct gem_chat_text *t, yyjson_val *object, bool quoted_keys)
{
    struct gem_chat_pair *pairs = NULL;
    size_t n = 0;

    gem_chat_puts(t, "{");
    if (!t->status) t->status = gem_chat_sorted(&pairs, &n, object, t->err);
    for (size_t i = 0; i < n && !t->status; i++) {
        const char *key = yyjson_get_str(pairs[i].key);
        const size_t n_key = yyjson_get_len(pairs[i].key);

        if (i > 0) gem_chat_puts(t, ",");
        if (quoted_keys)
            gem_chat_put_quoted(t, key, n_key);
        else
            gem_chat_put(t, key, n_key);
        gem_chat_puts(t, ":");
        gem_chat_put_value(t, pairs[i].value, quoted_keys);
    }
    gem_chat_puts(t, "}");
    gem_free(pairs);
}

void gem_chat_put_object(struct gem_chat_text *t, yyjson_val *object) { put_pairs(t, object, false); }

static void put_array(struct gem_chat_text *t, yyjson_val *array, bool quoted_keys)
{
    size_t i, max;
    yyjson_val *v;

    gem_chat_puts(t, "[");
    yyjson_arr_foreach(array, i, max, v)
    {
        if (i > 0) gem_chat_puts(t, ",");
        gem_chat_put_value(t, v, quoted_keys);
    }
    gem_chat_puts(t, "]");
}

void gem_chat_put_value(struct gem_chat_text *t, yyjson_val *v, bool quoted_keys)
{
    switch (yyjson_get_type(v)) {
    case YYJSON_TYPE_STR: gem_chat_put_quoted(t, yyjson_get_str(v), yyjson_get_len(v)); break;
    case YYJSON_TYPE_OBJ: put_pairs(t, v, quoted_keys); break;
    case YYJSON_TYPE_ARR: put_array(t, v, quoted_keys); break;
    case YYJSON_TYPE_RAW: put_number(t, v); break;
    case YYJSON_TYPE_BOOL: gem_chat_puts(t, yyjson_get_bool(v) ? "true" : "false"); break;
    default: gem_chat_puts(t, "null"); break;
    }
}
