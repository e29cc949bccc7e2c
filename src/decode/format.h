/*
 * format - the ways of taking a line apart, one file for each kind.
 */
#ifndef HEARSAY_DECODE_FORMAT_H
#define HEARSAY_DECODE_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "decode/record.h"
#include "pack/pack.h"

struct json_tokener;
struct wrapped;

#define FORMAT_FIELDS_MAX 256 /* what a line has beyond these is left out */

/* What the kinds need and may use again and again; one set a decoder. */
struct format_tools {
	pcre2_match_data *match;
	pcre2_match_context *limits;
	pcre2_jit_stack *stack;
	struct json_tokener *json;
	struct buf text;  /* unescaped text on its way to the arena */
	uint64_t gave_up; /* times that PCRE2 found no answer within its limits */
};

void format_tools_init(struct format_tools *t, const struct pack *pack);
void format_tools_clear(struct format_tools *t);

/*
 * Take line apart as f says: 1 and the parts and fields of r, which was zeroed
 * before; 0 where line is not of the format.
 */
int format_regex(struct format_tools *t, const struct pack_format *f, struct slice line,
    struct record *r, struct arena *a);
int format_json(struct format_tools *t, const struct pack_format *f, struct slice line,
    struct record *r, struct arena *a);
int format_logfmt(struct format_tools *t, const struct pack_format *f, struct slice line,
    struct record *r, struct arena *a);
/* The same with the fields of the entry, of which line is the message. */
int format_journal(struct format_tools *t, const struct pack_format *f,
    const struct wrapped *entry, struct slice line, struct record *r, struct arena *a);

/* Add a field to r, unless it has enough of them. */
void format_add_field(
    struct record *r, struct slice name, struct slice value, struct arena *a);
/* Add what stands under key: the part of that key, or else a field. */
void format_add(struct record *r, const struct pack_format *f, struct slice key,
    struct slice value, struct arena *a);
/* Does r have each part that f names a key for?  The context may be missing. */
bool format_is_whole(const struct record *r, const struct pack_format *f);

#endif
