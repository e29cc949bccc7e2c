#include "decode/join.h"

#include <stdlib.h>

#include "tail/tail.h"

#define PAUSE_MS 1000  /* runtimes cut within moments, and no container starts in less */
#define GAP_LINES 100  /* then nothing of a cut line is to come on a stream without any */
#define STREAMS_MAX 32 /* at once; the line of each takes up to LINE_MAX_BYTES */

/* One stream's line that has not ended; behind a gap, also one that was seen since. */
struct pieces {
	uint64_t stream;
	bool open;       /* at least one piece was taken */
	bool drop;       /* this line is passed over */
	bool broken;     /* it goes on only with a piece of last_ms */
	int64_t last_ms; /* of the last piece */
	uint64_t order;  /* of the piece at place */
	struct line_place place;
	struct buf text;
};

struct join {
	struct pieces *streams; /* most logs have none of them, mostly */
	size_t count, room;
	bool gap;        /* what comes first on a stream that is not here may be a rest */
	unsigned lines;  /* that ended since the gap */
	struct buf line; /* joined last */
	uint64_t taken;
	uint64_t long_lines;
};

struct join *
join_new(void)
{
	return xcalloc(1, sizeof(struct join));
}

static void
forget(struct join *j, struct pieces *s)
{
	buf_free(&s->text);
	*s = j->streams[--j->count];
}

void
join_free(struct join *j)
{
	if (j == NULL)
		return;
	while (j->count > 0)
		forget(j, &j->streams[0]);
	buf_free(&j->line);
	free(j->streams);
	free(j);
}

static void
begin_gap(struct join *j)
{
	j->gap = true;
	j->lines = 0;
}

void
join_gap(struct join *j)
{
	while (j->count > 0)
		forget(j, &j->streams[0]);
	begin_gap(j);
}

void
join_no_gap(struct join *j)
{
	size_t i = 0;

	j->gap = false;
	while (i < j->count)
		if (j->streams[i].open)
			i++;
		else
			forget(j, &j->streams[i]);
}

static struct pieces *
find(struct join *j, uint64_t stream)
{
	size_t i;

	for (i = 0; i < j->count; i++)
		if (j->streams[i].stream == stream)
			return &j->streams[i];
	return NULL;
}

static struct pieces *
oldest(struct join *j)
{
	struct pieces *found = &j->streams[0];
	size_t i;

	for (i = 1; i < j->count; i++)
		if (j->streams[i].order < found->order)
			found = &j->streams[i];
	return found;
}

/* Whose line is forgotten for the room may still go on: its rest must be no line. */
static struct pieces *
add_stream(struct join *j, uint64_t stream)
{
	struct pieces *s;

	if (j->count == STREAMS_MAX) {
		forget(j, oldest(j));
		begin_gap(j);
	}
	if (j->count == j->room) {
		j->room++;
		j->streams = xreallocarray(j->streams, j->room, sizeof(*j->streams));
	}
	s = &j->streams[j->count++];
	*s = (struct pieces){.stream = stream, .order = j->taken};
	return s;
}

/* What stands before a file's first line is in another one, where nobody looks. */
static void
drop_piece(struct join *j, struct pieces *s, struct line_place at)
{
	s->drop = true;
	buf_free(&s->text);
	if (at.offset == 0)
		return;
	s->place = at;
	s->order = j->taken;
}

static void
add_piece(struct join *j, struct pieces *s, const struct wrapped *w, struct line_place at)
{
	if (!s->drop && s->text.len + w->inner.len > LINE_MAX_BYTES) {
		s->drop = true;
		j->long_lines++;
	}
	if (s->drop || w->lost)
		drop_piece(j, s, at);
	else
		buf_add(&s->text, w->inner.p, w->inner.len);
}

static void
begin_line(struct join *j, struct pieces *s, struct line_place at, bool rest)
{
	s->open = true;
	s->drop = rest;
	s->place = at;
	s->order = j->taken;
	buf_reset(&s->text);
}

bool
join_paused(struct join *j, const struct wrapped *w)
{
	const struct pieces *s = find(j, w->stream);

	if (s == NULL || !s->open || s->drop || s->broken || w->ms == INT64_MIN ||
	    s->last_ms == INT64_MIN)
		return false;
	return llabs(w->ms - s->last_ms) >= PAUSE_MS;
}

void
join_pass(struct join *j, uint64_t stream)
{
	struct pieces *s = find(j, stream);

	if (s != NULL)
		s->drop = true;
}

/* A stream on which nothing comes must not be waited for without end. */
static void
end_line(struct join *j, struct pieces *s)
{
	buf_free(&j->line);
	j->line = s->text;
	s->text = (struct buf){0};
	s->open = s->drop = false;
	if (!j->gap)
		forget(j, s);
	else if (++j->lines >= GAP_LINES)
		join_no_gap(j);
}

bool
join_take(struct join *j, const struct wrapped *w, struct line_place at,
    struct slice *line_r, struct line_place *place_r, bool *joined_r)
{
	struct pieces *s = find(j, w->stream);
	bool rest = s == NULL && j->gap, dropped;

	j->taken++;
	/* What was written behind a line without its end is none of it. */
	if (s != NULL && s->open && s->broken && w->ms != s->last_ms)
		s->open = s->drop = false;
	*line_r = w->inner;
	*place_r = at;
	*joined_r = s != NULL && s->open;
	if (w->stream == STREAM_NONE || (s == NULL && !w->partial && !rest))
		return true;
	if (s == NULL)
		s = add_stream(j, w->stream);
	if (!s->open && w->partial)
		begin_line(j, s, at, rest);
	if (s->open)
		add_piece(j, s, w, at);
	s->broken = w->broken;
	s->last_ms = w->ms;
	if (w->partial)
		return false;
	dropped = rest || s->drop;
	if (s->open)
		*place_r = s->place;
	end_line(j, s);
	if (*joined_r)
		*line_r = (struct slice){j->line.p, j->line.len};
	return !dropped;
}

bool
join_waits(const struct join *j)
{
	return j->gap || j->count > 0;
}

bool
join_needs(const struct join *j, struct line_place *place_r)
{
	const struct pieces *found = NULL;
	size_t i;

	for (i = 0; i < j->count; i++) {
		const struct pieces *s = &j->streams[i];

		if (s->open && (found == NULL || s->order < found->order))
			found = s;
	}
	if (found == NULL)
		return false;
	*place_r = found->place;
	return true;
}

uint64_t
join_long_lines(const struct join *j)
{
	return j->long_lines;
}
