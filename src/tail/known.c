/*
 * The files that we know, recognised in what is there: those that are open by
 * their inodes, others by their bytes too, for inodes come again; and what is not
 * found so, in a copy.
 */
#include <unistd.h>

#include "tail/content.h"
#include "tail/names.h"
#include "tail/sight.h"
#include "tail/state.h"

/*
 * An open file may have been truncated, and renamed or removed behind that: it
 * would not be known in its own copy.  One that nothing was told of begins anew.
 */
static void
check_open(struct sight *s, struct file *f)
{
	if (!file_was_cut(f))
		return;
	if (f->blank) {
		if (f->lines.end > f->lines.start)
			s->begun++;
		s->begun_bytes += f->lines.end - f->lines.start;
		file_restart(f);
		return;
	}
	log_unhold(s->log, f);
	file_drop(f);
	f->source = FILE_UNSOUGHT;
}

/* A copy is made before the truncation, so that whoever finds this finds that. */
void
known_check(struct sight *s)
{
	struct file *f;

	for (f = s->log->files; f != NULL; f = f->next)
		if (f->source == FILE_PLAIN)
			check_open(s, f);
}

/* An open file keeps its inode: the number alone will do. */
static void
recognise_open(struct sight *s, struct file *f)
{
	size_t i;

	for (i = 0; i < s->p.count; i++) {
		if (!identity_same_inode(&s->p.seen[i].facts.id, &f->cp.id))
			continue;
		s->p.seen[i].file = f;
		file_set_path(f, s->p.seen[i].path);
	}
}

/* f is open, and gone; what stands at the path begins with all that f has: it was copied. */
static void
recognise_replaced(struct sight *s, struct file *f)
{
	struct seen *live = copies_live(s, f);
	int fd;

	if (live == NULL || !content_begins_with(s->p.fd, f->fd))
		return;
	fd = sight_open(s, live);
	if (fd == -1)
		return;
	log_unhold(s->log, f);
	live->file = f;
	(void)sight_take(s, f, fd, live->path);
}

/* A finished piece that was recognised before, and is as it was then. */
static bool
is_unchanged(const struct file *f, const struct seen *seen)
{
	return f->cp.finished && !file_unread(f) && !seen->live &&
	    f->size == seen->facts.size && f->mtime_ns == seen->facts.mtime_ns;
}

/* seen was opened as fd (taken), and is f. */
static void
found(struct sight *s, struct file *f, struct seen *seen, int fd)
{
	seen->file = f;
	/* One that was finished, and has grown or stands at the path, is written to. */
	if (seen->live ||
	    (seen->facts.size > f->cp.offset && seen->facts.size > f->size &&
		!content_packed(fd)))
		f->cp.finished = false;
	if (file_unread(f)) {
		(void)sight_take(s, f, fd, seen->path);
		return;
	}
	f->size = seen->facts.size;
	f->mtime_ns = seen->facts.mtime_ns;
	file_set_path(f, seen->path);
	(void)close(fd);
}

/* A file that is not open: by its inode, and by its bytes, for inodes come again. */
static void
recognise_closed(struct sight *s, struct file *f)
{
	size_t i;
	int fd;

	for (i = 0; i < s->p.count && !f->gone; i++) {
		struct seen *seen = &s->p.seen[i];
		const struct file_facts before = seen->facts;

		if (seen->file != NULL ||
		    !identity_same_inode(&seen->facts.id, &f->cp.id))
			continue;
		if (is_unchanged(f, seen)) {
			seen->file = f;
			file_set_path(f, seen->path);
			return;
		}
		fd = sight_open(s, seen);
		if (fd == -1)
			continue;
		if (content_is(fd, &f->cp) == 1) {
			found(s, f, seen, fd);
			return;
		}
		/* Truncated since we looked?  Then so was the copy made. */
		if (before.size != seen->facts.size ||
		    before.mtime_ns != seen->facts.mtime_ns)
			s->stale = true;
		(void)close(fd);
	}
}

/*
 * Whole lines of f that are left in memory are told; the rest is gone.  Of a file
 * behind which another one was begun nothing is wanting, for it was read to its
 * end before: it was only held for late writers.
 */
static void
lose(struct sight *s, struct file *f, bool copied)
{
	uint64_t had = lines_end(&f->lines) - (f->lines.end - f->lines.whole);
	bool missing = f->size > had;

	s->moved = true;
	f->source = FILE_LOST;
	if (f->pos < f->cp.offset) {
		log_gap(s->log, 0,
		    "a file that an unfinished request began in is gone; what it told "
		    "is known, what completes it may not be");
		f->pos = f->cp.offset;
		lines_free(&f->lines);
	} else if (missing || (!copied && f == log_anchor(s->log))) {
		log_gap(s->log, missing ? f->size - had : 0,
		    "the file was truncated, replaced or removed, and no copy holds what "
		    "was not read of it");
	}
}

/* Is a file of f's inode there, though with other bytes: was f truncated in its place? */
static bool
is_in_place(const struct sight *s, const struct file *f)
{
	size_t i;

	for (i = 0; i < s->p.count; i++)
		if (identity_same_inode(&s->p.seen[i].facts.id, &f->cp.id))
			return true;
	return false;
}

/* Pieces before this one are older than one that we know. */
static size_t
before_newest(const struct sight *s)
{
	size_t end = s->p.count;

	while (end > 0 &&
	    (s->p.seen[end - 1].file == NULL || s->p.seen[end - 1].live ||
		s->p.seen[end - 1].guessed))
		end--;
	return end;
}

/*
 * f was read, or is open, and its name is gone: it may have been compressed.  Of
 * a file that was read its head is proof enough, among pieces that are older than
 * another one that we know; from an open one nothing else may differ.
 */
static void
recognise_packed(struct sight *s, struct file *f)
{
	size_t i, end, newest = f->fd != -1 ? s->p.count : before_newest(s);
	bool same;
	int fd;

	sight_bounds(s, f, &i, &end);
	for (; i < end && i < newest; i++) {
		struct seen *seen = &s->p.seen[i];

		if (!sight_unknown(seen) || !names_packed(seen->name))
			continue;
		fd = sight_open(s, seen);
		if (fd == -1)
			continue;
		same = content_packed(fd) &&
		    (f->fd != -1 ? content_begins_with(f->fd, fd)
				 : content_has_head(fd, seen->path, &f->cp));
		if (same && f->fd == -1) {
			f->cp.id.dev = seen->facts.id.dev;
			f->cp.id.ino = seen->facts.id.ino;
			f->cp.id.btime_ns = seen->facts.id.btime_ns;
			found(s, f, seen, fd);
			return;
		}
		(void)close(fd);
		if (same) {
			seen->file = f;
			return;
		}
	}
}

/* What is to be read, and was not found under its own inode. */
static void
recognise_moved(struct sight *s, struct file *f)
{
	bool copied = true;

	if (!f->blank)
		copied =
		    is_in_place(s, f) ? copies_find(s, f) : copies_find_removed(s, f);
	if (f->source != FILE_UNSOUGHT || !file_unread(f) || (s->stale && !s->last))
		return;
	if (!f->blank) {
		lose(s, f, copied);
		return;
	}
	if (f->cp.id.head_len > 0)
		s->begun++;
	f->source = FILE_LOST;
	f->gone = true;
}

/* The more was read of a file, the fewer pieces can be taken for it. */
static struct file *
most_read(const struct sight *s)
{
	struct file *f, *most = NULL;

	for (f = s->log->files; f != NULL; f = f->next)
		if (f->source == FILE_UNSOUGHT && file_unread(f) &&
		    (most == NULL || f->cp.offset > most->cp.offset) &&
		    !sight_knows(s, f))
			most = f;
	return most;
}

void
known_find(struct sight *s)
{
	struct file *f;

	for (f = s->log->files; f != NULL; f = f->next) {
		f->live = false;
		if (f->fd != -1 || f->stream != NULL)
			recognise_open(s, f);
	}
	/* Behind those, for a file that was written anew may have its old text again. */
	for (f = s->log->files; f != NULL; f = f->next)
		if (f->source == FILE_UNSOUGHT)
			recognise_closed(s, f);
	for (f = s->log->files; f != NULL; f = f->next)
		if (f->fd != -1 && !sight_knows(s, f)) {
			recognise_packed(s, f);
			if (!sight_knows(s, f))
				recognise_replaced(s, f);
		}
	while ((f = most_read(s)) != NULL) {
		recognise_moved(s, f);
		if (f->source == FILE_UNSOUGHT)
			break; /* files come and go: the next look */
	}
	for (f = s->log->files; f != NULL; f = f->next)
		if (f->source == FILE_UNSOUGHT && !f->gone && !sight_knows(s, f))
			recognise_packed(s, f);
}
