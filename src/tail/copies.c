/*
 * A file that was truncated in its place, or removed: which piece is its copy?
 */
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include <utlist.h>

#include "base/err.h"
#include "base/say.h"
#include "tail/content.h"
#include "tail/sight.h"
#include "tail/state.h"

/* What this piece holds of f. */
static enum content_copy
copy_of(struct sight *s, struct seen *seen, const struct file *f)
{
	enum content_copy copy;
	int fd;

	fd = sight_open(s, seen);
	if (fd == -1)
		return COPY_NONE;
	copy = content_copied(fd, seen->path, &f->cp);
	(void)close(fd);
	return copy;
}

static bool
take_copy(struct sight *s, struct file *f, struct seen *seen)
{
	int fd = sight_open(s, seen);

	if (fd == -1)
		return false;
	seen->file = f;
	return sight_take(s, f, fd, seen->path) == 0;
}

/*
 * seen ends before the position: what was read behind that stands nowhere any
 * more.  Where an unfinished request began in it, that is read again, now or at
 * the next start.  Lines that are not told yet are all that is left of f, and
 * seen is a file by itself.
 */
static void
take_shorter(struct sight *s, struct file *f, struct seen *seen)
{
	struct err e;
	int fd;

	if (f->lines.whole > f->lines.start) {
		sight_remember(s, seen);
		return;
	}
	fd = sight_open(s, seen);
	if (fd == -1)
		return;
	seen->file = f;
	s->moved = true;
	if (file_take_shorter(f, fd, seen->path, &e) == -1)
		say(LOG_ERR, "log=%s %s", s->log->path, e.text);
}

/* Does another piece begin as seen does? */
static bool
begins_as_others(struct sight *s, struct seen *seen)
{
	int fd = sight_open(s, seen), other;
	size_t i;
	bool alike = false;

	for (i = 0; fd != -1 && i < s->p.count && !alike; i++) {
		if (&s->p.seen[i] == seen)
			continue;
		other = sight_open(s, &s->p.seen[i]);
		if (other == -1)
			continue;
		alike = content_begin_alike(
		    fd, seen->path, other, s->p.seen[i].path, (size_t)seen->facts.size);
		(void)close(other);
	}
	if (fd != -1)
		(void)close(fd);
	return alike;
}

/*
 * seen begins as a file that was truncated, and ends before its position: is it
 * a copy of that?  Where files begin alike, as with a banner, the time must
 * agree, too: such a copy was made before we last read the file.
 */
static bool
is_shorter_copy(struct sight *s, struct seen *seen)
{
	return seen->facts.mtime_ns <= s->since + NEAR_NS || !begins_as_others(s, seen);
}

/*
 * f was truncated in its place.  Its copy, made before that or compressed since,
 * is the first piece that fits behind the files that are older, and before what
 * stands in its place now; the bytes would not tell it from the next ones, where all
 * have the same head and no more was read (of NULs, of a banner).  It may end before
 * what we read, for lines may be written between the copy and the truncation; of
 * such, the one that agrees in most is it.  True where there is a copy.
 */
bool
copies_find(struct sight *s, struct file *f)
{
	enum content_copy copy, found = COPY_NONE;
	struct seen *shorter = NULL;
	size_t i, end;

	sight_bounds(s, f, &i, &end);
	for (; i < end && !identity_same_inode(&s->p.seen[i].facts.id, &f->cp.id); i++) {
		struct seen *seen = &s->p.seen[i];

		if (!sight_unknown(seen))
			continue;
		copy = copy_of(s, seen, f);
		if (copy == COPY_WHOLE)
			return take_copy(s, f, seen);
		if (copy == COPY_NONE || found == COPY_SHORT || !is_shorter_copy(s, seen))
			continue;
		if (copy == COPY_SHORT || shorter == NULL ||
		    seen->facts.size > shorter->facts.size) {
			shorter = seen;
			found = copy;
		}
	}
	if (shorter == NULL || sight_waits(s))
		return false;
	take_shorter(s, f, shorter);
	return true;
}

/*
 * The log itself may be a copy: it was moved to another disk, or restored.  But
 * files may begin alike, and be read no farther.  So f must be what stood at the
 * path last, and nothing may have been written between it and what stands there.
 */
struct seen *
copies_live(const struct sight *s, const struct file *f)
{
	struct seen *live = s->p.fd == -1 ? NULL : &s->p.seen[s->p.count - 1];
	size_t i;

	if (live == NULL || live->file != NULL || f->cp.offset < EVIDENCE_MIN ||
	    f != log_anchor(s->log) || strcmp(f->cp.path, live->path) != 0)
		return NULL;
	for (i = 0; i + 1 < s->p.count; i++)
		if (sight_unknown(&s->p.seen[i]) &&
		    s->p.seen[i].facts.mtime_ns > s->since)
			return NULL;
	return live;
}

/* What we have of old stands in f, too, and more: f is its file now. */
static void
go_on_in(struct tail_log *log, struct file *old, struct file *f)
{
	struct err e;

	log_unhold(log, old);
	if (file_take(old, f->fd, f->cp.path, &e) == -1)
		say(LOG_ERR, "log=%s %s", log->path, e.text);
	f->fd = -1;
	old->live = true;
	DL_DELETE(log->files, f);
	file_free(f);
}

enum copying
copies_begun(struct tail_log *log, struct file *f)
{
	struct file *old = f == log->files ? NULL : f->prev;
	uint64_t size;
	int same;

	if (old == NULL || old->blank || old->fd == -1 || f->fd == -1 ||
	    old->cp.offset < EVIDENCE_MIN || lines_end(&f->lines) < EVIDENCE_MIN ||
	    pieces_were_rotated(log, old))
		return COPIED_NOT;
	if (file_deleted(old, &size) && content_begins_with(f->fd, old->fd) == 1) {
		go_on_in(log, old, f);
		return COPIED;
	}
	same = content_begins_with(old->fd, f->fd);
	if (same == -1)
		tail_look_again(log);
	return same == 0 ? COPIED_NOT : COPIED_IN_PART;
}

/*
 * f was removed, maybe after it was compressed or copied.  Where several pieces
 * fit, they only have its head, as files have that begin with the same words;
 * and where one does, it may be another file all the same, and does not tell
 * what is older and what newer.
 */
bool
copies_find_removed(struct sight *s, struct file *f)
{
	struct seen *fits = NULL;
	size_t i, end;

	sight_bounds(s, f, &i, &end);
	for (; i < end; i++) {
		if (!sight_unknown(&s->p.seen[i]) ||
		    copy_of(s, &s->p.seen[i], f) != COPY_WHOLE)
			continue;
		if (fits != NULL)
			return false;
		fits = &s->p.seen[i];
	}
	if (sight_waits(s))
		return false;
	if (fits == NULL) {
		fits = copies_live(s, f);
		if (fits == NULL ||
		    content_copied(s->p.fd, fits->path, &f->cp) != COPY_WHOLE)
			return false;
	}
	fits->guessed = true;
	return take_copy(s, f, fits);
}
