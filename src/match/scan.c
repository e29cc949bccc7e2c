#include "match/scan.h"

#include <stdlib.h>
#include <string.h>

#include "pack/pack.h"

struct needle {
	struct slice text;
	const char
	    *hit; /* the next in the buffer at or behind the position; NULL: none left */
};

struct scan {
	struct needle *needles;
	size_t needle_count;
	const char *pos, *end, *begin;
};

static bool
holds(struct slice hay, struct slice needle)
{
	return memmem(hay.p, hay.len, needle.p, needle.len) != NULL;
}

/* Of two needles where one holds the other, the shorter finds all lines of both. */
static void
add_needle(struct scan *s, struct slice text)
{
	size_t i, kept = 0;

	for (i = 0; i < s->needle_count; i++)
		if (holds(text, s->needles[i].text))
			return;
	for (i = 0; i < s->needle_count; i++) {
		if (holds(s->needles[i].text, text))
			free((void *)(uintptr_t)s->needles[i].text.p);
		else
			s->needles[kept++] = s->needles[i];
	}
	s->needle_count = kept;
	s->needles = xreallocarray(s->needles, kept + 1, sizeof(*s->needles));
	s->needles[s->needle_count++] =
	    (struct needle){.text = {xstrndup(text.p, text.len), text.len}};
}

struct scan *
scan_new(const struct pack *pack)
{
	struct scan *s = xcalloc(1, sizeof(*s));
	size_t i;

	for (i = 0; i < pack->rule_count; i++)
		add_needle(s, slice_of(pack->rules[i].pattern->literal));
	return s;
}

void
scan_free(struct scan *s)
{
	size_t i;

	if (s == NULL)
		return;
	for (i = 0; i < s->needle_count; i++)
		free((void *)(uintptr_t)s->needles[i].text.p);
	free(s->needles);
	free(s);
}

static void
look(const struct scan *s, struct needle *n, const char *from)
{
	n->hit = memmem(from, (size_t)(s->end - from), n->text.p, n->text.len);
}

void
scan_begin(struct scan *s, const char *data, size_t len)
{
	size_t i;

	s->begin = s->pos = data;
	s->end = data + len;
	for (i = 0; i < s->needle_count; i++)
		look(s, &s->needles[i], data);
}

/* The line around p. */
static struct slice
line_at(const struct scan *s, const char *p)
{
	const char *start = memrchr(s->begin, '\n', (size_t)(p - s->begin));
	const char *newline = memchr(p, '\n', (size_t)(s->end - p));

	start = start == NULL ? s->begin : start + 1;
	return (struct slice){
	    start, (size_t)((newline == NULL ? s->end : newline) - start)};
}

/* Each needle walks through the buffer once: one that is ahead of us is not looked for again. */
int
scan_next(struct scan *s, struct slice *line_r, size_t *offset_r)
{
	const char *nearest = NULL;
	size_t i;

	for (i = 0; i < s->needle_count; i++) {
		struct needle *n = &s->needles[i];

		if (n->hit != NULL && n->hit < s->pos)
			look(s, n, s->pos);
		if (n->hit != NULL && (nearest == NULL || n->hit < nearest))
			nearest = n->hit;
	}
	if (nearest == NULL)
		return 0;
	*line_r = line_at(s, nearest);
	*offset_r = (size_t)(line_r->p - s->begin);
	s->pos = line_r->p + line_r->len;
	if (s->pos < s->end)
		s->pos++;
	return 1;
}

int
scan_following(const struct scan *s, struct slice *line_r, size_t *offset_r)
{
	if (s->pos >= s->end)
		return 0;
	*line_r = line_at(s, s->pos);
	*offset_r = (size_t)(line_r->p - s->begin);
	return 1;
}
