#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/say.h"
#include "tail/state.h"

#define BEFORE_BYTES                                                                     \
	(128 * 1024) /* Docker's piece of 16 KiB, each byte escaped, and more */

/* What one file gave in its turn. */
enum progress {
	READ_TO_END,
	READ_MORE,    /* the share is used up */
	READ_BLOCKED, /* the lines hook said: not now */
	READ_CUT      /* the log's files changed: begin with the oldest again */
};

struct file *
log_newest(const struct tail_log *log)
{
	return log->files == NULL ? NULL : log->files->prev;
}

void
log_append(struct tail_log *log, struct file *f)
{
	DL_APPEND(log->files, f);
}

void
log_free(struct tail_log *log)
{
	struct file *f, *next;

	DL_FOREACH_SAFE(log->files, f, next)
	file_free(f);
	places_leave(log);
	inodes_leave(log);
	free(log->path);
	free(log);
}

void
log_gap(struct tail_log *log, uint64_t bytes, const char *why)
{
	log->stats.lost_bytes += bytes;
	log->tail->hooks.gap(log->tail->arg, log, bytes, why);
}

/* ---- one file ------------------------------------------------------------------ */

static void
count_long_lines(struct tail_log *log, struct file *f)
{
	log->stats.long_lines += f->lines.long_lines - f->long_counted;
	f->long_counted = f->lines.long_lines;
}

/* The lines right before offset, which is where reading begins. */
static void
offer_before(struct tail_log *log, const struct file *f, uint64_t offset)
{
	char *bytes = xmalloc(BEFORE_BYTES);
	size_t len = file_before(f, offset, bytes, BEFORE_BYTES), skip = 0;
	const char *newline;
	struct tail_chunk c = {.log = log,
	    .file = f->cp.file,
	    .before = true,
	    .gap = true,
	    .mtime_ms = f->mtime_ns / 1000000};

	if (len < offset) {
		newline = memchr(bytes, '\n', len);
		skip = newline == NULL ? len : (size_t)(newline + 1 - bytes);
	}
	c.data = bytes + skip;
	c.len = len - skip;
	c.offset = offset - c.len;
	(void)log->tail->hooks.lines(log->tail->arg, &c);
	free(bytes);
}

/* The file that the next line is of, as far as is known; NULL: it is not open. */
static const struct file *
next_to_read(const struct tail_log *log)
{
	const struct file *f, *next = NULL;

	DL_FOREACH(log->files, f)
	{
		if (!file_unread(f))
			continue;
		next = f;
		/* One that was read to its end is only held for late writers. */
		if (f->source != FILE_PLAIN || f->size > f->pos)
			break;
	}
	return next != NULL && (next->source == FILE_PLAIN || next->source == FILE_PACKED)
	    ? next
	    : NULL;
}

void
log_begin(struct tail_log *log)
{
	const struct file *f = log->begun == 0 ? next_to_read(log) : NULL;

	if (f == NULL)
		return;
	log->begun = f->cp.file;
	if (f->pos > 0)
		offer_before(log, f, f->pos);
}

/* Offer p, cut where the last run ended.  True where it was taken. */
static bool
offer(struct tail_log *log, struct file *f, const struct piece *p, size_t *budget)
{
	struct tail *t = log->tail;
	struct tail_chunk c = {.log = log,
	    .file = f->cp.file,
	    .offset = p->offset,
	    .data = p->data,
	    .len = p->len,
	    .again = p->offset < f->cp.offset,
	    .final = p->final,
	    .gap = log->stats.long_lines != log->long_told,
	    .mtime_ms = f->mtime_ns / 1000000};

	/* Lines of the file before this one do not go on in its middle. */
	if (log->begun != c.file && c.offset > 0)
		offer_before(log, f, c.offset);
	log->begun = c.file;
	if (c.again && c.offset + c.len > f->cp.offset) {
		c.len = (size_t)(f->cp.offset - c.offset);
		c.final = false;
	}
	if (t->hooks.lines(t->arg, &c) != 0) {
		t->blocked = true;
		return false;
	}
	log->broken = false;
	log->long_told = log->stats.long_lines;
	log->stats.bytes += c.len;
	*budget -= c.len < *budget ? c.len : *budget;
	file_taken(f, c.offset + c.len);
	return true;
}

void
log_unhold(struct tail_log *log, struct file *f)
{
	if (f->held)
		log->tail->held--;
	f->held = false;
}

static void
finish(struct tail_log *log, struct file *f)
{
	log_unhold(log, f);
	file_finish(f);
	log->moved = true;
}

/*
 * The end of a file that was rotated away: writers may go on into it, and
 * finish its last line, for some time.  True when that time is over.
 */
static bool
held_long_enough(struct tail_log *log, struct file *f)
{
	struct tail *t = log->tail;
	int64_t now = clock_steady_ms();

	if (f->held && f->held_size == f->size)
		return now >= f->deadline_ms;
	if (!f->held)
		t->held++;
	f->held = true;
	f->held_size = f->size;
	f->deadline_ms = now + t->timing.hold_ms;
	tail_hold_until(t, t->timing.hold_ms);
	return false;
}

/* At the end, for now or for good. */
static enum progress
at_end(struct tail_log *log, struct file *f, size_t *budget)
{
	struct piece p;
	struct err e;

	if (f->live)
		return READ_TO_END;
	if (f->source == FILE_PLAIN && !f->cp.finished) {
		if (!held_long_enough(log, f))
			return READ_TO_END;
		if (file_next(f, true, &p, &e) == FILE_LINES &&
		    !offer(log, f, &p, budget))
			return READ_BLOCKED;
	}
	finish(log, f);
	return READ_TO_END;
}

/* What can't be read now may be in a moment; what is compressed does not heal. */
static void
broken(struct tail_log *log, struct file *f, const struct err *e)
{
	if (!log->broken)
		say(LOG_ERR, "log=%s %s", log->path, e->text);
	log->broken = true;
	if (f->source != FILE_PACKED) {
		tail_look_again(log);
		return;
	}
	log_gap(log, 0, "a compressed piece of the log is damaged");
	f->source = FILE_LOST;
}

/*
 * The descriptor leads to another text than what was read.  Where the rest of
 * that stands, or that it is gone, a search tells; it also finds what is here now.
 */
static void
cut(struct tail_log *log, struct file *f)
{
	f->cut = true;
	listing_forget(log->tail);
	sight_search(log);
}

static void
wake(struct tail_log *log)
{
	struct file *f;

	log->wake = false;
	DL_FOREACH(log->files, f)
	file_wake(f);
}

/*
 * The first line of a new file, read, and not told yet.  Before it was written
 * others may have been since we last looked: at the end of an older file, or
 * elsewhere by now, as the file may have been truncated, or be the next one but
 * one.  A look and a reading behind this one find them.  Where it can't be told
 * whether there are any, or whether the line is new, more must happen first.
 */
static enum progress
begin_file(struct tail_log *log, struct file *f)
{
	enum copying copying = COPIED_NOT;

	if (f->live) {
		sight_search(log);
		copying = log->unsure ? COPIED_IN_PART : copies_begun(log, f);
	}
	if (copying == COPIED_IN_PART)
		return READ_TO_END;
	wake(log);
	if (copying == COPIED_NOT)
		f->blank = f->lines.whole == f->lines.start;
	return READ_CUT;
}

static enum progress
read_file(struct tail_log *log, struct file *f, size_t *budget)
{
	enum file_answer answer;
	struct piece p;
	struct err e;

	for (;;) {
		if (*budget == 0)
			return READ_MORE;
		answer = file_next(f, f->cp.finished, &p, &e);
		count_long_lines(log, f);
		switch (answer) {
		case FILE_LINES:
			if (f->blank)
				return begin_file(log, f);
			if (!offer(log, f, &p, budget))
				return READ_BLOCKED;
			break;
		case FILE_AT_END:
			return at_end(log, f, budget);
		case FILE_SKIPS:
			return READ_MORE;
		case FILE_CUT:
			cut(log, f);
			return READ_CUT;
		case FILE_BROKEN:
			broken(log, f, &e);
			return READ_TO_END;
		}
	}
}

/* ---- the log --------------------------------------------------------------------- */

static bool
has_open_file(const struct file *f)
{
	while (f != NULL && f->fd == -1 && f->stream == NULL)
		f = f->next;
	return f != NULL;
}

/* An older file is read to its end before a newer one is begun. */
static enum log_turn
read_files(struct tail_log *log, size_t budget)
{
	enum progress progress;
	struct file *f;

	for (f = log->files; f != NULL && !file_awaited(f);) {
		progress = READ_TO_END;
		if (file_unread(f))
			progress = read_file(log, f, &budget);
		if (progress == READ_BLOCKED)
			return LOG_BLOCKED;
		if (progress == READ_MORE)
			return LOG_MORE;
		f = progress == READ_CUT ? log->files : f->next;
	}
	/* What waits behind one that is not found, or not given up, must not wait for news. */
	if (has_open_file(f))
		tail_look_again(log);
	return LOG_DONE;
}

enum log_turn
log_turn(struct tail_log *log, size_t budget)
{
	enum log_turn turn;

	if (log->look)
		sight_look(log);
	if (log->wake)
		wake(log);
	log_begin(log);
	turn = read_files(log, budget);
	/* Not before: the hook may make us forget files that were finished. */
	if (log->moved) {
		log->moved = false;
		log->tail->hooks.moved(log->tail->arg, log);
	}
	return turn;
}
