#include "extract/until.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/mem.h"
#include "extract/doubt.h"
#include "match/match.h"
#include "pack/pack.h"

#define READ_MS                                                                          \
	10000 /* a text and its sequel are written at once: so long after they were */

struct stretch {
	const struct pack_rule *sequel; /* NULL: there is none */
	struct buf key;                 /* the value of the sequel's key */
	uint64_t number, file, offset;  /* of the line that opened it */
	uint64_t last;                  /* no text reaches beyond */
	int64_t read_at;
	bool ended; /* the sequel was seen */
	struct stretch *prev, *next;
};

struct until {
	struct stretch *open; /* in the order of the log */
	size_t ended;         /* of these */
};

struct until *
until_new(void)
{
	return xcalloc(1, sizeof(struct until));
}

static void
drop(struct until *u, struct stretch *s)
{
	DL_DELETE(u->open, s);
	u->ended -= s->ended;
	buf_free(&s->key);
	free(s);
}

void
until_free(struct until *u)
{
	if (u == NULL)
		return;
	while (u->open != NULL)
		drop(u, u->open);
	free(u);
}

/* The capture called name as text; {NULL, 0} where there is none. */
static struct slice
capture_of(const struct match *m, const char *name)
{
	size_t i;

	for (i = 0; i < m->capture_count; i++)
		if (strcmp(m->captures[i].name, name) == 0 &&
		    !m->captures[i].value.list && m->captures[i].value.count == 1)
			return m->captures[i].value.items[0];
	return (struct slice){NULL, 0};
}

void
until_open(struct until *u, const struct doubt_line *line, uint64_t last,
    const struct pack_rule *sequel, uint64_t number, int64_t now)
{
	struct stretch *s = xcalloc(1, sizeof(*s));
	struct slice key;

	s->sequel = sequel;
	if (sequel != NULL) {
		key = capture_of(line->carrier, sequel->key);
		buf_add(&s->key, key.p, key.len);
	}
	s->number = number;
	s->file = line->file;
	s->offset = line->offset;
	s->last = last;
	s->read_at = now;
	s->ended = sequel == NULL;
	u->ended += s->ended;
	DL_APPEND(u->open, s);
}

bool
until_orphan(const struct until *u, uint64_t *number_r)
{
	const struct stretch *s;

	DL_FOREACH(u->open, s)
	{
		*number_r = s->number;
		if (s->sequel == NULL)
			return true;
	}
	return false;
}

/* The newest open stretch whose sequel m may be. */
static struct stretch *
stretch_of(const struct until *u, const struct match *m)
{
	struct stretch *s = u->open == NULL ? NULL : u->open->prev;

	if (m->rule->key == NULL)
		return NULL;
	for (; s != NULL; s = s == u->open ? NULL : s->prev)
		if (s->sequel == m->rule &&
		    slice_eq(capture_of(m, s->sequel->key),
			(struct slice){s->key.p, s->key.len}))
			return s;
	return NULL;
}

enum until_sequel
until_line(struct until *u, const struct doubt_line *line, uint64_t *number_r)
{
	struct stretch *s = NULL;
	size_t i;

	for (i = 0; s == NULL && i < line->match_count; i++)
		s = stretch_of(u, &line->matches[i]);
	if (s == NULL)
		return SEQUEL_NONE;
	*number_r = s->number;
	if (s->ended)
		return SEQUEL_SECOND;
	s->ended = true;
	u->ended++;
	return SEQUEL_FIRST;
}

static bool
is_over(const struct stretch *s, uint64_t end, int64_t now)
{
	return end > s->last ||
	    (now != INT64_MIN && s->read_at != INT64_MIN && now - s->read_at >= READ_MS);
}

void
until_close(struct until *u, uint64_t end, int64_t now)
{
	while (u->open != NULL && is_over(u->open, end, now))
		drop(u, u->open);
}

void
until_restart(struct until *u)
{
	struct stretch *s;

	DL_FOREACH(u->open, s)
	{
		u->ended += !s->ended;
		s->ended = true;
	}
}

void
until_wait_anew(struct until *u, int64_t now)
{
	struct stretch *s;

	DL_FOREACH(u->open, s)
	s->read_at = now;
}

bool
until_oldest(
    const struct until *u, uint64_t *number_r, uint64_t *file_r, uint64_t *offset_r)
{
	if (u->open == NULL)
		return false;
	*number_r = u->open->number;
	*file_r = u->open->file;
	*offset_r = u->open->offset;
	return true;
}

bool
until_is_open(const struct until *u, uint64_t number)
{
	const struct stretch *s = u->open == NULL ? NULL : u->open->prev;

	for (; s != NULL && s->number > number; s = s == u->open ? NULL : s->prev)
		;
	return s != NULL && s->number == number;
}

bool
until_pending(const struct until *u)
{
	return u->ended > 0;
}
