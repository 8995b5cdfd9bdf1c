/* SPDX-License-Identifier: Apache-2.0
 * src/generate/schema_format.c - formats of JSON Schema as regular expressions for the whole text. Each is a part of
 * its format, never more: no leap seconds, years 1000 to 2999, host names of at most three labels, and so on. */
#include "generate/schema.h"

#include <string.h>

#define DATE                                                                                                           \
    "(?:[12]\\d{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)"                 \
    "|02-(?:0[1-9]|1\\d|2[0-8]))|[12]\\d(?:0[48]|[2468][048]|[13579][26])-02-29)"
#define TIME  "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
#define LABEL "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
#define HOST  "(?:" LABEL "\\.){0,2}[a-zA-Z](?:[a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
#define BYTE  "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define IPV4  BYTE "\\." BYTE "\\." BYTE "\\." BYTE
#define H16   "[0-9a-fA-F]{1,4}"
#define PCHAR "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
#define DAYS  "\\d{1,9}D"
#define SECS  "\\d{1,9}S"

static const struct {
    const char *name, *pattern;
} formats[] = {
    {"date", DATE},
    {"time", TIME},
    {"date-time", DATE "T" TIME},
    {"duration", "P(?:\\d{1,9}W|(?:" DAYS "|\\d{1,9}M(?:" DAYS ")?|\\d{1,9}Y(?:\\d{1,9}M(?:" DAYS ")?)?)"
                 "(?:T(?:" SECS "|\\d{1,9}M(?:" SECS ")?|\\d{1,9}H(?:\\d{1,9}M(?:" SECS ")?)?))?"
                 "|T(?:" SECS "|\\d{1,9}M(?:" SECS ")?|\\d{1,9}H(?:\\d{1,9}M(?:" SECS ")?)?))"},
    {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
    {"ipv4", IPV4},
    {"ipv6", "(?:" H16 ":){7}" H16 "|(?:" H16 ":){1,6}:" H16 "|(?:" H16 ":){1,5}(?::" H16 "){2}|(?:" H16
             ":){1,4}(?::" H16 "){3}|(?:" H16 ":){1,3}(?::" H16 "){4}|(?:" H16 ":){1,2}(?::" H16 "){5}|" H16 ":(?::" H16
             "){6}|:(?::" H16 "){1,7}|(?:" H16 ":){1,7}:|::"},
    {"hostname", HOST},
    {"email", "[a-zA-Z0-9_+-]{1,30}(?:\\.[a-zA-Z0-9_+-]{1,30})?@" HOST},
    {"uri", "[a-zA-Z][a-zA-Z0-9+.-]{0,19}://" HOST "(?::\\d{1,5})?(?:/" PCHAR "*)*(?:\\?(?:" PCHAR
            "|[/?])*)?(?:#(?:" PCHAR "|[/?])*)?"},
    {"json-pointer", "(?:/(?:[^~/]|~[01])*)*"},
};

const char *gem_schema_format(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strlen(formats[i].name) == n && !memcmp(formats[i].name, name, n)) return formats[i].pattern;
    return NULL;
}
