/*
 * The pieces that are newer than all that we know, and no copies of it: they are
 * to be read.
 */
#include <errno.h>
#include <unistd.h>
#include <utlist.h>

#include "tail/content.h"
#include "tail/sight.h"
#include "tail/state.h"

/*
 * Pieces from this index on are newer than all that we know.  Where none of
 * those is there any more, and what was read last is lost, all are: rotation
 * took the older ones first, whatever the times say.  Else the times must tell.
 */
static size_t
first_unseen(const struct sight *s)
{
	const struct file *newest = NULL, *anchor = log_anchor(s->log);
	size_t i, behind = 0;

	for (i = 0; i < s->p.count; i++) {
		const struct file *f = s->p.seen[i].file;

		if (f == NULL || f->blank || s->p.seen[i].live || s->p.seen[i].guessed ||
		    (newest != NULL && newest->cp.generation > f->cp.generation))
			continue;
		newest = f;
		behind = i + 1;
	}
	if (newest != NULL || (anchor != NULL && anchor->source == FILE_LOST))
		return behind;
	for (i = 0; i < s->p.count && !s->p.seen[i].live; i++)
		if (s->p.seen[i].facts.mtime_ns >= s->since)
			break;
	return i;
}

/* Does the piece open in fd hold nothing but the beginning of f, which is there? */
static int
begins(struct sight *s, const struct file *f, int fd)
{
	size_t i;
	int whole, same;

	if (f->fd != -1)
		return content_begins_with(f->fd, fd);
	for (i = 0; i < s->p.count; i++) {
		if (s->p.seen[i].file != f)
			continue;
		whole = sight_try(s, &s->p.seen[i]);
		if (whole == -1)
			continue;
		same = content_begins_with(whole, fd);
		(void)close(whole);
		return same;
	}
	return 0;
}

/* Made before the file at the path was, it is no copy of that, whatever its bytes. */
static bool
is_born_before_live(const struct sight *s, const struct seen *seen)
{
	const struct file_identity *live = &s->p.seen[s->p.count - 1].facts.id;

	return seen->facts.id.btime_ns != 0 && seen->facts.id.btime_ns < live->btime_ns;
}

static bool
is_live(const struct sight *s, const struct file *f)
{
	return s->p.fd != -1 && s->p.seen[s->p.count - 1].file == f;
}

/* Do we have what stands in this piece elsewhere?  1, 0, -1 where that can't be told. */
static int
is_copy(struct sight *s, const struct seen *seen, int fd)
{
	bool of_live = s->p.fd != -1 && !is_born_before_live(s, seen);
	const struct file *f;
	int same = of_live ? content_begins_with(s->p.fd, fd) : 0;

	for (f = s->log->files; f != NULL && same == 0; f = f->next)
		if (of_live || !is_live(s, f))
			same = begins(s, f, fd);
	if (same == -1)
		sight_hide(s, seen->path, errno);
	return same;
}

/* A file that was read to its end and is not there any more: is this piece made of it? */
static struct file *
read_before(const struct sight *s, const struct seen *seen, int fd)
{
	struct file *f;

	for (f = s->log->files; f != NULL; f = f->next)
		if (f->source == FILE_UNSOUGHT && f->cp.finished && !f->blank &&
		    !sight_knows(s, f) &&
		    content_copied(fd, seen->path, &f->cp) == COPY_WHOLE &&
		    (f->cp.offset >= EVIDENCE_MIN ||
			content_ends_at(fd, seen->path, f->cp.offset)))
			return f;
	return NULL;
}

/* What tells nothing of the order may have come before or behind what is found only now. */
static void
put_last(struct tail_log *log, struct file *f)
{
	DL_DELETE(log->files, f);
	f->cp.generation = ++log->generation;
	log_append(log, f);
}

/* seen, opened as fd (taken), is newer than all that we know.  Its generation. */
static uint64_t
add_piece(struct sight *s, struct seen *seen, int fd)
{
	struct file *f = read_before(s, seen, fd);

	if (s->begun > 0)
		s->begun--;
	if (f == NULL) {
		seen->file = sight_add(s, fd, seen->path);
		return s->log->generation;
	}
	/* Should it hold more than that, the rest is read. */
	f->cp.finished = false;
	f->gone = false;
	seen->file = f;
	(void)sight_take(s, f, fd, seen->path);
	put_last(s->log, f);
	return s->log->generation;
}

void
unseen_add(struct sight *s)
{
	uint64_t newest = 0;
	size_t i;
	int fd, copy;

	for (i = first_unseen(s); i < s->p.count; i++) {
		struct seen *seen = &s->p.seen[i];

		if (seen->file != NULL && seen->file->cp.generation < newest)
			put_last(s->log, seen->file);
		if (seen->file != NULL)
			newest = seen->file->cp.generation;
		if (!sight_unknown(seen))
			continue;
		fd = sight_open(s, seen);
		if (fd == -1 && sight_waits(s))
			return; /* what is newer must not come before it */
		if (fd == -1)
			continue;
		copy = is_copy(s, seen, fd);
		if (copy != 0)
			(void)close(fd);
		if (copy == -1)
			return;
		if (copy == 1)
			continue;
		/* Of a file that was truncated by now we could not tell. */
		if (!s->last && log_was_cut(s->log)) {
			s->stale = true;
			(void)close(fd);
			return;
		}
		newest = add_piece(s, seen, fd);
	}
}

/*
 * A file of which we had seen no line is not known in its copy: that is among
 * what is new, if anywhere.
 */
void
unseen_lose_begun(struct sight *s)
{
	if (s->begun > 0)
		log_gap(s->log, s->begun_bytes,
		    "the file was truncated or removed, and no copy holds the line that "
		    "it began with");
	s->begun = 0;
	s->begun_bytes = 0;
}
