#include "decode/join.h"

#include <stdlib.h>

#include "tail/tail.h"

#define PAUSE_MS 1000 /* runtimes cut within moments, and no container starts in less */
#define GAP_LINES 100 /* of the other stream: then nothing of a cut line is to come */

/* One stream's line that has not ended. */
struct pieces {
	bool open;       /* at least one piece was taken */
	bool gap;        /* the line that ends next may be a rest */
	bool drop;       /* this line is passed over */
	bool broken;     /* it goes on only with a piece of last_ms */
	int64_t last_ms; /* of the last piece */
	unsigned others; /* lines of the other stream since the gap */
	uint64_t order;
	struct line_place first;
	struct buf text;
};

struct join {
	struct pieces streams[STREAM_COUNT];
	uint64_t taken;
	uint64_t long_lines;
};

struct join *
join_new(void)
{
	return xcalloc(1, sizeof(struct join));
}

void
join_free(struct join *j)
{
	size_t i;

	if (j == NULL)
		return;
	for (i = 0; i < STREAM_COUNT; i++)
		buf_free(&j->streams[i].text);
	free(j);
}

void
join_gap(struct join *j)
{
	size_t i;

	for (i = 0; i < STREAM_COUNT; i++) {
		struct pieces *s = &j->streams[i];

		buf_free(&s->text);
		*s = (struct pieces){.gap = true};
	}
}

/* A stream on which nothing comes must not be waited for without end. */
static void
line_ended(struct join *j, const struct pieces *on)
{
	size_t i;

	for (i = 0; i < STREAM_COUNT; i++) {
		struct pieces *s = &j->streams[i];

		if (s != on && s->gap && !s->open && ++s->others >= GAP_LINES)
			s->gap = false;
	}
}

static void
add_piece(struct join *j, struct pieces *s, const struct wrapped *w, struct line_place at)
{
	if (!s->open) {
		s->open = true;
		s->drop = s->gap;
		s->first = at;
		s->order = j->taken;
		buf_reset(&s->text);
	}
	if (s->drop)
		return;
	if (s->text.len + w->inner.len > LINE_MAX_BYTES) {
		s->drop = true;
		j->long_lines++;
		buf_free(&s->text);
		return;
	}
	buf_add(&s->text, w->inner.p, w->inner.len);
}

bool
join_paused(const struct join *j, const struct wrapped *w)
{
	const struct pieces *s = &j->streams[w->stream];

	if (!s->open || s->drop || s->broken || w->ms == INT64_MIN ||
	    s->last_ms == INT64_MIN)
		return false;
	return llabs(w->ms - s->last_ms) >= PAUSE_MS;
}

void
join_pass(struct join *j, unsigned stream)
{
	j->streams[stream].drop = true;
}

/* What was written behind a line without its end is none of it. */
static void
abandon(struct pieces *s)
{
	s->open = s->gap = s->drop = false;
}

bool
join_take(struct join *j, const struct wrapped *w, struct line_place at,
    struct slice *line_r, struct line_place *place_r, bool *joined_r)
{
	struct pieces *s = &j->streams[w->stream];
	bool dropped;

	j->taken++;
	if (s->open && s->broken && w->ms != s->last_ms)
		abandon(s);
	s->broken = w->broken;
	s->last_ms = w->ms;
	*joined_r = s->open;
	if (w->partial || s->open)
		add_piece(j, s, w, at);
	if (w->partial)
		return false;
	dropped = s->open ? s->drop : s->gap;
	*line_r = s->open ? (struct slice){s->text.p, s->text.len} : w->inner;
	*place_r = s->open ? s->first : at;
	s->open = s->gap = s->drop = false;
	line_ended(j, s);
	return !dropped;
}

bool
join_waits(const struct join *j)
{
	size_t i;

	for (i = 0; i < STREAM_COUNT; i++)
		if (j->streams[i].open || j->streams[i].gap)
			return true;
	return false;
}

bool
join_needs(const struct join *j, struct line_place *place_r)
{
	const struct pieces *oldest = NULL;
	size_t i;

	for (i = 0; i < STREAM_COUNT; i++) {
		const struct pieces *s = &j->streams[i];

		if (s->open && (oldest == NULL || s->order < oldest->order))
			oldest = s;
	}
	if (oldest == NULL)
		return false;
	*place_r = oldest->first;
	return true;
}

uint64_t
join_long_lines(const struct join *j)
{
	return j->long_lines;
}
