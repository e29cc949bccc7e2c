#include "tail/lines.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tail/checkpoint.h"
#include "tail/tail.h"

#define FIRST_SIZE (256 * 1024)
#define UNREAD_MAX ((size_t)LINE_MAX_BYTES + 1) /* a longest line and its newline */
#define SIZE_MAX_BYTES (GUARD_MAX + UNREAD_MAX)

void
lines_begin(struct lines *l, uint64_t base)
{
	l->start = l->whole = l->end = 0;
	l->base = base;
	l->passing = false;
}

void
lines_free(struct lines *l)
{
	free(l->data);
	l->data = NULL;
	l->cap = 0;
	lines_begin(l, lines_start(l));
}

/* Move what is kept to the front. */
static void
compact(struct lines *l)
{
	size_t drop = l->start > GUARD_MAX ? l->start - GUARD_MAX : 0;

	if (drop == 0)
		return;
	memmove(l->data, l->data + drop, l->end - drop);
	l->base += drop;
	l->start -= drop;
	l->whole -= drop;
	l->end -= drop;
}

void
lines_trim(struct lines *l)
{
	if (l->data == NULL)
		return;
	compact(l);
	l->cap = l->end > 0 ? l->end : 1;
	l->data = xreallocarray(l->data, l->cap, 1);
}

/* A line that fills all that may be unread has no newline within the limit. */
static void
pass_over(struct lines *l)
{
	if (!l->passing)
		l->long_lines++;
	l->passing = true;
	l->start = l->whole = l->end;
}

char *
lines_room(struct lines *l, size_t *room_r)
{
	size_t unread, room;

	if (l->whole == l->start && l->end - l->start >= UNREAD_MAX)
		pass_over(l);
	if (l->cap - l->end < FIRST_SIZE / 2)
		compact(l);
	if (l->cap - l->end < FIRST_SIZE / 2 && l->cap < SIZE_MAX_BYTES) {
		l->cap = l->cap < FIRST_SIZE / 2 ? FIRST_SIZE : l->cap * 2;
		if (l->cap > SIZE_MAX_BYTES)
			l->cap = SIZE_MAX_BYTES;
		l->data = xreallocarray(l->data, l->cap, 1);
	}
	unread = l->end - l->start;
	room = l->cap - l->end;
	if (room > UNREAD_MAX - unread)
		room = UNREAD_MAX - unread;
	*room_r = room;
	return l->data + l->end;
}

/* Where the end of a line that is too long was found, what is behind it counts again. */
static void
end_passing(struct lines *l, size_t from)
{
	const char *newline = memchr(l->data + from, '\n', l->end - from);

	l->start = l->whole = l->end;
	if (newline == NULL)
		return;
	l->passing = false;
	l->start = l->whole = (size_t)(newline + 1 - l->data);
}

void
lines_added(struct lines *l, size_t len)
{
	size_t from = l->end;
	const char *newline;

	l->end += len;
	if (l->passing) {
		end_passing(l, from);
		from = l->start;
	}
	newline = memrchr(l->data + from, '\n', l->end - from);
	if (newline != NULL)
		l->whole = (size_t)(newline + 1 - l->data);
}

/*
 * A file that was truncated under a writer that does not append has NULs
 * before its first line; so has a file after a power cut.
 */
static void
drop_nuls(struct lines *l)
{
	while (l->start < l->end && l->data[l->start] == '\0')
		l->start++;
	if (l->whole < l->start)
		l->whole = l->start;
}

int
lines_whole(struct lines *l, const char **data_r, size_t *len_r, uint64_t *offset_r)
{
	drop_nuls(l);
	if (l->whole == l->start)
		return 0;
	*data_r = l->data + l->start;
	*len_r = l->whole - l->start;
	*offset_r = lines_start(l);
	return 1;
}

int
lines_rest(struct lines *l, const char **data_r, size_t *len_r, uint64_t *offset_r)
{
	if (l->whole == l->end)
		return 0;
	*data_r = l->data + l->whole;
	*len_r = l->end - l->whole;
	*offset_r = l->base + l->whole;
	return *len_r <= LINE_MAX_BYTES;
}

void
lines_take(struct lines *l, uint64_t offset)
{
	l->start = (size_t)(offset - l->base);
	if (l->whole < l->start)
		l->whole = l->start;
}

uint64_t
lines_start(const struct lines *l)
{
	return l->base + l->start;
}

uint64_t
lines_end(const struct lines *l)
{
	return l->base + l->end;
}
