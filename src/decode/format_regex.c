#include "decode/format.h"

/* A group that took no part in the match is {NULL, 0}. */
static struct slice
group_of(const struct format_tools *t, uint32_t group, struct slice line)
{
	const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(t->match);
	PCRE2_SIZE begin = ends[2 * group], end = ends[2 * group + 1];

	if (begin == PCRE2_UNSET || end < begin)
		return (struct slice){NULL, 0};
	return (struct slice){line.p + begin, end - begin};
}

static bool
is_part(const struct pack_format *f, uint32_t group)
{
	unsigned part;

	for (part = 0; part < PART_COUNT; part++)
		if (f->group[part] == group)
			return true;
	return false;
}

int
format_regex(struct format_tools *t, const struct pack_format *f, struct slice line,
    struct record *r, struct arena *a)
{
	unsigned part;
	size_t i;
	int rc;

	rc = pcre2_match(
	    f->pattern->code, (PCRE2_SPTR)line.p, line.len, 0, 0, t->match, t->limits);
	if (rc < 0) {
		if (rc != PCRE2_ERROR_NOMATCH)
			t->gave_up++;
		return 0;
	}
	for (part = 0; part < PART_COUNT; part++)
		if (f->group[part] != 0)
			r->part[part] = group_of(t, f->group[part], line);
	for (i = 0; i < f->pattern->capture_count; i++) {
		const struct pattern_capture *c = &f->pattern->captures[i];
		struct slice value = group_of(t, c->group, line);

		if (value.p != NULL && !is_part(f, c->group))
			format_add_field(r, slice_of(c->name), value, a);
	}
	return 1;
}
