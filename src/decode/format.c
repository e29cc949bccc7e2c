#include "decode/format.h"

#include <json-c/json_tokener.h>
#include <string.h>

#include "decode/json_line.h"

#define JSON_DEPTH_MAX 32
#define FIELDS_FIRST 8 /* a power of two */

/*
 * A line may be of any text, and a pack of any regex: these limits make an
 * unlucky pair cost some milliseconds, not the daemon.
 */
#define MATCH_LIMIT 1000000
#define DEPTH_LIMIT 10000
#define STACK_FIRST (32 * 1024)
#define STACK_MAX (1024 * 1024)

/* Groups of the pattern that has the most, the whole match among them. */
static uint32_t
most_groups(const struct pack *pack)
{
	uint32_t most = 0, count;
	size_t i;

	for (i = 0; i < pack->format_count; i++) {
		const struct pattern *p = pack->formats[i].pattern;

		if (p == NULL)
			continue;
		if (pcre2_pattern_info(p->code, PCRE2_INFO_CAPTURECOUNT, &count) == 0 &&
		    count > most)
			most = count;
	}
	return most + 1;
}

void
format_tools_init(struct format_tools *t, const struct pack *pack)
{
	*t = (struct format_tools){0};
	t->match = pcre2_match_data_create(most_groups(pack), NULL);
	t->limits = pcre2_match_context_create(NULL);
	t->stack = pcre2_jit_stack_create(STACK_FIRST, STACK_MAX, NULL);
	if (t->match == NULL || t->limits == NULL || t->stack == NULL)
		mem_exhausted();
	(void)pcre2_set_match_limit(t->limits, MATCH_LIMIT);
	(void)pcre2_set_depth_limit(t->limits, DEPTH_LIMIT);
	pcre2_jit_stack_assign(t->limits, NULL, t->stack);
	t->json = json_line_parser(JSON_DEPTH_MAX);
}

void
format_tools_clear(struct format_tools *t)
{
	pcre2_match_data_free(t->match);
	pcre2_match_context_free(t->limits);
	pcre2_jit_stack_free(t->stack);
	json_tokener_free(t->json);
	buf_free(&t->text);
}

void
format_add_field(struct record *r, struct slice name, struct slice value, struct arena *a)
{
	size_t count = r->field_count;

	if (count == FORMAT_FIELDS_MAX)
		return;
	if (count == 0) {
		r->fields = arena_alloc(a, FIELDS_FIRST * sizeof(*r->fields));
	} else if (count >= FIELDS_FIRST && (count & (count - 1)) == 0) {
		/* Full: the room is always the next power of two. */
		struct record_field *more = arena_alloc(a, 2 * count * sizeof(*more));

		memcpy(more, r->fields, count * sizeof(*more));
		r->fields = more;
	}
	r->fields[r->field_count++] = (struct record_field){.name = name, .value = value};
}

void
format_add(struct record *r, const struct pack_format *f, struct slice key,
    struct slice value, struct arena *a)
{
	unsigned part;

	for (part = 0; part < PART_COUNT; part++) {
		if (f->key[part] == NULL || r->part[part].p != NULL)
			continue;
		if (slice_is(key, f->key[part])) {
			r->part[part] = value;
			return;
		}
	}
	format_add_field(r, key, value, a);
}

bool
format_is_whole(const struct record *r, const struct pack_format *f)
{
	unsigned part;

	for (part = 0; part < PART_COUNT; part++)
		if (part != PART_CONTEXT && f->key[part] != NULL &&
		    r->part[part].p == NULL)
			return false;
	return true;
}
