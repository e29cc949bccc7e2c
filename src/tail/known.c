/*
 * The files that we know, recognised in what is there: those that are open by
 * their inodes, others by their bytes too, for inodes come again; and what is not
 * found so, in a copy.
 */
#include <errno.h>
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
	int fd, same;

	if (live == NULL)
		return;
	same = content_begins_with(s->p.fd, f->fd);
	if (same == -1)
		sight_hide(s, live->path, errno);
	if (same != 1)
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

/*
 * seen has the inode of f, but can't be read.  One that was read to its end is
 * not needed; of another one its size tells what would be lost with it.
 */
static void
unreadable(struct sight *s, struct file *f, struct seen *seen, int error)
{
	if (identity_is_absent(error))
		return;
	if (!file_unread(f)) {
		seen->file = f;
		file_set_path(f, seen->path);
		return;
	}
	f->size = seen->facts.size;
	sight_hide(s, seen->path, error);
}

/* Is seen, which has f's inode, f?  It is opened for that.  True where that is settled. */
static bool
recognise_inode(struct sight *s, struct file *f, struct seen *seen)
{
	const struct file_facts before = seen->facts;
	int fd = sight_try(s, seen), same;

	if (fd == -1) {
		unreadable(s, f, seen, errno);
		return seen->file == f;
	}
	same = content_is(fd, &f->cp);
	if (same == 1) {
		found(s, f, seen, fd);
		return true;
	}
	if (same == -1)
		unreadable(s, f, seen, errno);
	/* Truncated since we looked?  Then so was the copy made. */
	if (before.size != seen->facts.size || before.mtime_ns != seen->facts.mtime_ns)
		s->stale = true;
	(void)close(fd);
	return seen->file == f;
}

/* A file that is not open: by its inode, and by its bytes, for inodes come again. */
static void
recognise_closed(struct sight *s, struct file *f)
{
	size_t i;

	for (i = 0; i < s->p.count && !f->gone; i++) {
		struct seen *seen = &s->p.seen[i];

		if (seen->file != NULL ||
		    !identity_same_inode(&seen->facts.id, &f->cp.id))
			continue;
		if (is_unchanged(f, seen)) {
			seen->file = f;
			file_set_path(f, seen->path);
			return;
		}
		if (recognise_inode(s, f, seen))
			return;
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
		fd = sight_try(s, seen);
		if (fd == -1)
			continue;
		same = content_packed(fd) &&
		    (f->fd != -1 ? content_begins_with(f->fd, fd) == 1
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

/*
 * Nothing stands at the path, and nothing is new beside it: so nothing waits for
 * f, which may come back, as with a disk that is mounted late.
 */
static bool
may_come_back(const struct sight *s, const struct file *f)
{
	size_t i;

	for (i = 0; i < s->p.count; i++)
		if (sight_unknown(&s->p.seen[i]))
			return false;
	return s->p.fd == -1 && f->lines.start == f->lines.end;
}

/* What is to be read, and was not found under its own inode. */
static void
recognise_moved(struct sight *s, struct file *f)
{
	bool copied = true;

	if (!f->blank)
		copied =
		    is_in_place(s, f) ? copies_find(s, f) : copies_find_removed(s, f);
	if (!file_awaited(f) || sight_waits(s) || may_come_back(s, f))
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
		if (file_awaited(f) && (most == NULL || f->cp.offset > most->cp.offset) &&
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
