/*
 * Which files are the log's?  At the start, after a rotation and after a
 * truncation the same is done: all that could be a piece of the log is looked
 * at, oldest first; what we know is recognised in it; and what stands between
 * the newest file that we know and the one at the log's path is new.
 *
 * So that what is new can be told from what is old, every piece that is there is
 * remembered: those that were read, and those that stood beside the log when it
 * was seen for the first time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>
#include <utlist.h>

#include "base/err.h"
#include "base/say.h"
#include "tail/names.h"
#include "tail/pieces.h"
#include "tail/state.h"

#define NS_PER_MS 1000000LL
#define NEAR_NS 10000000LL /* a tick of the clock, and what a stamp in ms cuts off */
#define EVIDENCE_MIN 256   /* bytes that two files do not begin with by chance */
#define REMEMBERED_MAX                                                                   \
	32 /* older pieces; what is older than those is known by the order */

struct sight {
	struct tail_log *log;
	struct pieces p;
	int64_t since; /* what was written to later may be new */
	/* Files of which we had seen no line, and that are not there as they were. */
	unsigned begun;
	uint64_t begun_bytes; /* that we had read of their first lines */
	bool moved;
	bool last;  /* whatever we see now must do */
	bool stale; /* what was seen changed while we looked */
};

/* ---- what we know of it -------------------------------------------------------- */

static int
open_seen(struct sight *s, struct seen *seen)
{
	struct file_facts facts;
	int fd = file_open_path(seen->path, &facts);

	if (fd == -1 && (errno == ENOENT || errno == ENOTDIR))
		s->stale = true;
	if (fd != -1 && !identity_same_inode(&facts.id, &seen->facts.id)) {
		(void)close(fd);
		s->stale = true;
		return -1;
	}
	if (fd != -1)
		seen->facts = facts;
	return fd;
}

static int
take(struct sight *s, struct file *f, int fd, const char *path)
{
	struct err e;

	if (file_take(f, fd, path, &e) == -1) {
		say(LOG_ERR, "log=%s %s", s->log->path, e.text);
		return -1;
	}
	s->moved = true;
	return 0;
}

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
static void
check_all(struct sight *s)
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
		!file_packed(fd)))
		f->cp.finished = false;
	if (file_unread(f)) {
		(void)take(s, f, fd, seen->path);
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
		fd = open_seen(s, seen);
		if (fd == -1)
			continue;
		if (file_is(fd, &f->cp) == 1) {
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

/* What this piece holds of f. */
static enum file_copy
copy_of(struct sight *s, struct seen *seen, const struct file *f)
{
	enum file_copy copy;
	int fd;

	fd = open_seen(s, seen);
	if (fd == -1)
		return COPY_NONE;
	copy = file_copied(fd, seen->path, &f->cp);
	(void)close(fd);
	return copy;
}

static bool
take_copy(struct sight *s, struct file *f, struct seen *seen)
{
	int fd = open_seen(s, seen);

	if (fd == -1)
		return false;
	seen->file = f;
	return take(s, f, fd, seen->path) == 0;
}

/* Where f may stand: behind all files that are older, before all that are newer. */
static void
bounds_of(const struct sight *s, const struct file *f, size_t *from_r, size_t *end_r)
{
	size_t i;

	*from_r = 0;
	*end_r = s->p.count;
	for (i = 0; i < s->p.count; i++) {
		const struct file *g = s->p.seen[i].file;

		if (g == NULL || g == f || s->p.seen[i].guessed)
			continue;
		if (g->cp.generation < f->cp.generation)
			*from_r = i + 1;
		else if (!g->blank && *end_r == s->p.count)
			*end_r = i;
	}
}

static bool
is_unknown(const struct seen *seen)
{
	return seen->file == NULL && !seen->live && !seen->other;
}

/* seen is none that is to be read, and need not be looked into again. */
static void
remember(struct sight *s, struct seen *seen)
{
	struct tail_log *log = s->log;
	int fd = open_seen(s, seen);
	struct file *f;

	if (fd == -1)
		return;
	f = file_new(++log->generation);
	seen->file = f;
	file_pass(f, fd, seen->path);
	log_append(log, f);
}

/*
 * seen ends before the position: what was read behind that stands nowhere any
 * more.  Where an unfinished request began in it, that is read again, now or at
 * the next start.
 */
static void
take_shorter(struct sight *s, struct file *f, struct seen *seen)
{
	struct err e;
	int fd = open_seen(s, seen);

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
	int fd = open_seen(s, seen), other;
	size_t i;
	bool alike = false;

	for (i = 0; fd != -1 && i < s->p.count && !alike; i++) {
		if (&s->p.seen[i] == seen)
			continue;
		other = open_seen(s, &s->p.seen[i]);
		if (other == -1)
			continue;
		alike = file_begin_alike(
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
 * is the first piece that fits behind the files that are older; the bytes would
 * not tell it from the next ones, where all have the same head and no more was
 * read (of NULs, of a banner).  It may end before what we read, for lines may be
 * written between the copy and the truncation; of such, the one that agrees in
 * most is it.  True where there is a copy.
 */
static bool
find_copy(struct sight *s, struct file *f)
{
	enum file_copy copy, found = COPY_NONE;
	struct seen *shorter = NULL;
	size_t i, end;

	bounds_of(s, f, &i, &end);
	for (; i < end; i++) {
		struct seen *seen = &s->p.seen[i];

		if (!is_unknown(seen))
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
	if (shorter == NULL)
		return false;
	take_shorter(s, f, shorter);
	return true;
}

/*
 * f was removed, maybe after it was compressed or copied.  Where several pieces
 * fit, they only have its head, as files have that begin with the same words;
 * and where one does, it may be another file all the same, and does not tell
 * what is older and what newer.
 */
static bool
find_removed(struct sight *s, struct file *f)
{
	struct seen *fits = NULL;
	size_t i, end;

	bounds_of(s, f, &i, &end);
	for (; i < end; i++) {
		if (!is_unknown(&s->p.seen[i]) ||
		    copy_of(s, &s->p.seen[i], f) != COPY_WHOLE)
			continue;
		if (fits != NULL)
			return false;
		fits = &s->p.seen[i];
	}
	if (fits == NULL)
		return false;
	fits->guessed = true;
	return take_copy(s, f, fits);
}

/* Bytes that only we still hold, for f has no name any more. */
static uint64_t
deleted_bytes(const struct file *f)
{
	struct stat st;

	if (f->fd == -1 || f->live || fstat(f->fd, &st) == -1 || st.st_nlink > 0 ||
	    (uint64_t)st.st_size <= lines_end(&f->lines))
		return 0;
	return (uint64_t)st.st_size - lines_end(&f->lines);
}

/* While nothing is read, rotation goes on, and what it deletes would fill the disk. */
static void
bound_deleted(struct sight *s)
{
	uint64_t bytes, sum = 0;
	size_t count = 0;
	struct file *f;

	for (f = log_newest(s->log); f != NULL; f = f == s->log->files ? NULL : f->prev) {
		bytes = deleted_bytes(f);
		if (bytes == 0)
			continue;
		sum += bytes;
		if (++count <= DELETED_MAX && sum <= DELETED_MAX_BYTES)
			continue;
		log_unhold(s->log, f);
		file_drop(f);
		f->source = FILE_LOST;
		s->moved = true;
		log_gap(s->log, bytes,
		    "too much was deleted before it was read, the oldest of it is not "
		    "held any longer");
	}
}

/* The newest file of which we have seen a byte. */
static struct file *
anchor_of(const struct tail_log *log)
{
	struct file *f, *anchor = NULL;

	for (f = log->files; f != NULL; f = f->next)
		if (!f->blank)
			anchor = f;
	return anchor;
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
	} else if (missing || (!copied && f == anchor_of(s->log))) {
		log_gap(s->log, missing ? f->size - had : 0,
		    "the file was truncated, replaced or removed, and no copy holds what "
		    "was not read of it");
	}
}

static bool
is_live(const struct sight *s, const struct file *f)
{
	return s->p.fd != -1 && s->p.seen[s->p.count - 1].file == f;
}

static bool
is_recognised(const struct sight *s, const struct file *f)
{
	size_t i;

	for (i = 0; i < s->p.count; i++)
		if (s->p.seen[i].file == f)
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

	bounds_of(s, f, &i, &end);
	for (; i < end && i < newest; i++) {
		struct seen *seen = &s->p.seen[i];

		if (!is_unknown(seen) || !names_packed(seen->name))
			continue;
		fd = open_seen(s, seen);
		if (fd == -1)
			continue;
		same = file_packed(fd) &&
		    (f->fd != -1 ? file_begins_with(f->fd, fd)
				 : file_has_head(fd, seen->path, &f->cp));
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
		copied = is_in_place(s, f) ? find_copy(s, f) : find_removed(s, f);
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
		    !is_recognised(s, f))
			most = f;
	return most;
}

static void
recognise(struct sight *s)
{
	struct file *f;

	for (f = s->log->files; f != NULL; f = f->next) {
		f->live = false;
		if (f->fd != -1 || f->stream != NULL || f->shorter)
			recognise_open(s, f);
		else if (f->source == FILE_UNSOUGHT)
			recognise_closed(s, f);
	}
	for (f = s->log->files; f != NULL; f = f->next)
		if (f->fd != -1 && !is_recognised(s, f))
			recognise_packed(s, f);
	while ((f = most_read(s)) != NULL) {
		recognise_moved(s, f);
		if (f->source == FILE_UNSOUGHT)
			break; /* files come and go: the next look */
	}
	for (f = s->log->files; f != NULL; f = f->next)
		if (f->source == FILE_UNSOUGHT && !f->gone && !is_recognised(s, f))
			recognise_packed(s, f);
}

/* Is there a file that we should have, and do not see? */
static bool
is_wanting(const struct tail_log *log)
{
	const struct file *f;

	for (f = log->files; f != NULL; f = f->next)
		if (f->source == FILE_UNSOUGHT && file_unread(f))
			return true;
	return false;
}

/* ---- what is new ------------------------------------------------------------------ */

static int64_t
latest(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/*
 * When did we last see the newest file that we know, or its newest line?  Told
 * before anything is recognised, for that sets the times anew.
 */
static int64_t
last_seen_ns(const struct tail_log *log)
{
	const struct file *f = anchor_of(log);

	if (f == NULL)
		return INT64_MIN;
	if (f->cp.last_ts == INT64_MIN)
		return f->mtime_ns;
	return latest(f->mtime_ns, f->cp.last_ts * NS_PER_MS);
}

/*
 * Pieces from this index on are newer than all that we know.  Where none of
 * those is there any more, the times must tell.
 */
static size_t
first_unseen(const struct sight *s)
{
	const struct file *newest = NULL;
	size_t i, behind = 0;

	for (i = 0; i < s->p.count; i++) {
		const struct file *f = s->p.seen[i].file;

		if (f == NULL || f->blank || s->p.seen[i].live || s->p.seen[i].guessed ||
		    (newest != NULL && newest->cp.generation > f->cp.generation))
			continue;
		newest = f;
		behind = i + 1;
	}
	if (newest != NULL)
		return behind;
	for (i = 0; i < s->p.count && !s->p.seen[i].live; i++)
		if (s->p.seen[i].facts.mtime_ns >= s->since)
			break;
	return i;
}

/* Does the piece open in fd hold nothing but the beginning of f, which is there? */
static bool
begins(struct sight *s, const struct file *f, int fd)
{
	bool same;
	size_t i;
	int whole;

	if (f->fd != -1)
		return file_begins_with(f->fd, fd);
	for (i = 0; i < s->p.count; i++) {
		if (s->p.seen[i].file != f)
			continue;
		whole = open_seen(s, &s->p.seen[i]);
		if (whole == -1)
			continue;
		same = file_begins_with(whole, fd);
		(void)close(whole);
		return same;
	}
	return false;
}

/* Made before the file at the path was, it is no copy of that, whatever its bytes. */
static bool
is_born_before_live(const struct sight *s, const struct seen *seen)
{
	const struct file_identity *live = &s->p.seen[s->p.count - 1].facts.id;

	return seen->facts.id.btime_ns != 0 && seen->facts.id.btime_ns < live->btime_ns;
}

/* Do we have what stands in this piece elsewhere? */
static bool
is_copy(struct sight *s, const struct seen *seen, int fd)
{
	bool of_live = s->p.fd != -1 && !is_born_before_live(s, seen);
	const struct file *f;

	if (of_live && file_begins_with(s->p.fd, fd))
		return true;
	for (f = s->log->files; f != NULL; f = f->next)
		if ((of_live || !is_live(s, f)) && begins(s, f, fd))
			return true;
	return false;
}

/* A file that was read to its end and is not there any more: is this piece made of it? */
static struct file *
read_before(const struct sight *s, const struct seen *seen, int fd)
{
	struct file *f;

	for (f = s->log->files; f != NULL; f = f->next)
		if (f->source == FILE_UNSOUGHT && f->cp.finished && !f->blank &&
		    !is_recognised(s, f) &&
		    file_copied(fd, seen->path, &f->cp) == COPY_WHOLE &&
		    (f->cp.offset >= EVIDENCE_MIN ||
			file_ends_at(fd, seen->path, f->cp.offset)))
			return f;
	return NULL;
}

static struct file *
add_file(struct sight *s, int fd, const char *path)
{
	struct tail_log *log = s->log;
	struct file *f = file_new(++log->generation);

	if (take(s, f, fd, path) == -1) {
		file_free(f);
		return NULL;
	}
	log_append(log, f);
	return f;
}

/* What tells nothing of the order may have come before or behind what is found only now. */
static void
put_last(struct tail_log *log, struct file *f)
{
	DL_DELETE(log->files, f);
	f->cp.generation = ++log->generation;
	log_append(log, f);
}

/*
 * Was an open file truncated since it was recognised?  Then what we have of it
 * could not be found in its copy.
 */
static bool
was_cut(const struct tail_log *log)
{
	const struct file *f;

	for (f = log->files; f != NULL; f = f->next)
		if (f->source == FILE_PLAIN && file_was_cut(f))
			return true;
	return false;
}

/* seen, opened as fd (taken), is newer than all that we know.  Its generation. */
static uint64_t
add_piece(struct sight *s, struct seen *seen, int fd)
{
	struct file *f = read_before(s, seen, fd);

	if (s->begun > 0)
		s->begun--;
	if (f == NULL) {
		seen->file = add_file(s, fd, seen->path);
		return s->log->generation;
	}
	/* Should it hold more than that, the rest is read. */
	f->cp.finished = false;
	f->gone = false;
	seen->file = f;
	(void)take(s, f, fd, seen->path);
	put_last(s->log, f);
	return s->log->generation;
}

/*
 * A file of which we had seen no line is not known in its copy: that is among
 * what is new, if anywhere.
 */
static void
lose_begun(struct sight *s)
{
	if (s->begun > 0)
		log_gap(s->log, s->begun_bytes,
		    "the file was truncated or removed, and no copy holds the line that "
		    "it began with");
	s->begun = 0;
	s->begun_bytes = 0;
}

static void
add_unseen(struct sight *s)
{
	uint64_t newest = 0;
	size_t i;
	int fd;

	for (i = first_unseen(s); i < s->p.count; i++) {
		struct seen *seen = &s->p.seen[i];

		if (seen->file != NULL && seen->file->cp.generation < newest)
			put_last(s->log, seen->file);
		if (seen->file != NULL)
			newest = seen->file->cp.generation;
		if (!is_unknown(seen))
			continue;
		fd = open_seen(s, seen);
		if (fd == -1 && s->stale && !s->last)
			return; /* what is newer must not come before it */
		if (fd == -1)
			continue;
		if (is_copy(s, seen, fd)) {
			(void)close(fd);
			continue;
		}
		/* Of a file that was truncated by now we could not tell. */
		if (!s->last && was_cut(s->log)) {
			s->stale = true;
			(void)close(fd);
			return;
		}
		newest = add_piece(s, seen, fd);
	}
}

/* What is not there any more, or is older than enough others, need not be remembered. */
static void
forget_gone(const struct sight *s)
{
	struct file *f;
	size_t count = 0;

	if (s->p.fd == -1 && s->p.count == 0)
		return; /* the directory is gone, maybe for a moment */
	for (f = log_newest(s->log); f != NULL; f = f == s->log->files ? NULL : f->prev)
		if (f->source == FILE_UNSOUGHT && !file_unread(f))
			f->gone = !is_recognised(s, f) || ++count > REMEMBERED_MAX;
}

static void
add_live(struct sight *s, struct file *before)
{
	struct tail_log *log = s->log;
	struct seen *live = &s->p.seen[s->p.count - 1];
	struct file *f = live->file;
	struct err e;

	if (f == NULL) {
		f = add_file(s, s->p.fd, live->path);
		live->file = f;
		s->p.fd = -1;
		if (f == NULL)
			return;
		if (log->first_sight && log->start == TAIL_START_END &&
		    file_to_end(f, &e) == -1)
			say(LOG_ERR, "log=%s %s", log->path, e.text);
	}
	if (f->fd == -1 && f->stream == NULL)
		return;
	f->live = true;
	log_unhold(log, f);
	if (f != before && before != NULL) {
		log->stats.rotations++;
		s->moved = true;
	}
}

/* ---- the look --------------------------------------------------------------------- */

static void
complain(struct tail_log *log, int error)
{
	if (error == log->path_error)
		return;
	log->path_error = error;
	if (error == 0)
		return;
	if (error == EINVAL)
		say(LOG_WARNING, "log=%s is not a regular file and is not read",
		    log->path);
	else if (error == EPERM)
		say(LOG_WARNING,
		    "log=%s is a link whose owner owns neither the log nor the system; "
		    "it is not followed",
		    log->path);
	else if (error != ENOENT && error != ENOTDIR)
		say(LOG_WARNING, "log=%s cannot be read: %s", log->path, strerror(error));
}

/* What stands beside a log when it is seen for the first time is none of ours. */
static void
pass_older(struct sight *s)
{
	size_t count = s->p.count - (s->p.count > 0 && s->p.seen[s->p.count - 1].live);
	size_t i = count > REMEMBERED_MAX ? count - REMEMBERED_MAX : 0;

	for (; i < count; i++)
		remember(s, &s->p.seen[i]);
}

static struct file *
live_of(const struct tail_log *log)
{
	struct file *f;

	for (f = log->files; f != NULL; f = f->next)
		if (f->live)
			return f;
	return NULL;
}

/* True where all that was seen was still there when it was opened. */
static bool
search_once(struct sight *s, struct file *before)
{
	s->stale = false;
	check_all(s);
	pieces_gather(s->log, &s->p);
	if (s->log->first_sight) {
		pass_older(s);
	} else {
		recognise(s);
		if (!s->stale || s->last)
			add_unseen(s);
	}
	s->stale = s->stale || was_cut(s->log);
	if (s->stale && !s->last)
		return false;
	lose_begun(s);
	complain(s->log, s->p.error);
	s->log->stats.missing = s->p.fd == -1;
	if (s->p.fd != -1)
		add_live(s, before);
	forget_gone(s);
	bound_deleted(s);
	s->log->first_sight = false;
	return true;
}

void
sight_search(struct tail_log *log)
{
	struct sight s = {.log = log, .p.fd = -1};
	struct file *before = live_of(log), *newest = log_newest(log);
	unsigned looks = 1;

	if (before == NULL)
		before = newest;
	s.since = last_seen_ns(log);
	while (!search_once(&s, before)) {
		pieces_forget(&s.p);
		listing_forget(log->tail);
		s.last = ++looks == LOOKS_MAX;
	}
	pieces_forget(&s.p);
	log->stirred = false;
	if (s.moved || (before != NULL && !before->live))
		log->tail->hooks.moved(log->tail->arg, log);
}

/* Most looks find that nothing changed. */
static bool
is_as_before(const struct tail_log *log)
{
	const struct file *f = live_of(log);
	struct file_facts facts;

	if (f == NULL || f->source != FILE_PLAIN || (f->blank && log->stirred) ||
	    is_wanting(log) || identity_stat(log->path, true, &facts) == -1 ||
	    !S_ISREG(facts.mode))
		return false;
	return identity_same_inode(&facts.id, &f->cp.id) &&
	    (!f->blank || (facts.size == 0 && facts.mtime_ns == f->mtime_ns));
}

/*
 * Most starts find the file of the last run where it was, and need not look at
 * anything else.
 */
static bool
reopen(struct tail_log *log)
{
	struct file *f, *newest = log_newest(log);
	struct file_facts facts;
	struct err e;
	bool taken;
	char *path;
	int fd;

	for (f = log->files; f != NULL; f = f->next)
		if (f != newest && file_unread(f))
			return false;
	if (newest == NULL || newest->source != FILE_UNSOUGHT || newest->blank)
		return false;
	fd = file_open_path(log->path, &facts);
	if (fd == -1)
		return false;
	if (!identity_same_inode(&facts.id, &newest->cp.id) ||
	    file_is(fd, &newest->cp) != 1) {
		(void)close(fd);
		return false;
	}
	newest->cp.finished = false;
	path = pieces_place(log, &facts);
	taken = file_take(newest, fd, path, &e) == 0;
	free(path);
	if (!taken)
		return false;
	newest->live = true;
	log->stats.missing = false;
	return true;
}

void
sight_look(struct tail_log *log)
{
	log->look = false;
	places_resolve(log);
	if (!is_as_before(log) && !reopen(log))
		sight_search(log);
}
