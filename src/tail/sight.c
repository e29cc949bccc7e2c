/*
 * Which files are the log's?  At the start, after a rotation and after a
 * truncation the same is done: all that could be a piece of the log is looked
 * at, oldest first; what we know is recognised in it; and what stands between
 * the newest file that we know and the one at the log's path is new.
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
#include "tail/state.h"

#define NS_PER_MS 1000000LL
#define LOOKS_MAX 50 /* at what changes all the time */

/* A file that may be a piece of the log. */
struct seen {
	char *path;
	const char *name;
	struct file_facts facts;
	bool live;         /* stands at the log's path */
	bool half;         /* is being made of another one */
	bool other;        /* its name is none that rotation makes of the log's */
	struct file *file; /* which one we know it as */
};

struct sight {
	struct tail_log *log;
	struct seen *seen; /* oldest first, the live one last */
	size_t count;
	int fd;        /* of the live one; -1 where there is none or it was taken */
	int error;     /* errno, where there is none */
	int64_t since; /* what was written to later may be new */
	bool moved;
	bool last;  /* whatever we see now must do */
	bool stale; /* what was seen changed while we looked */
};

/* ---- what is there ----------------------------------------------------------- */

static void
see(struct sight *s, const char *path, const struct file_facts *facts, bool live)
{
	struct seen *seen;

	s->seen = xreallocarray(s->seen, s->count + 1, sizeof(*s->seen));
	seen = &s->seen[s->count++];
	*seen = (struct seen){.path = xstrdup(path), .facts = *facts, .live = live};
	seen->name = strrchr(seen->path, '/');
	seen->name = seen->name == NULL ? seen->path : seen->name + 1;
}

static bool
is_known_ino(const struct tail_log *log, uint64_t ino)
{
	const struct file *f;

	for (f = log->files; f != NULL; f = f->next)
		if (f->cp.id.ino == ino)
			return true;
	return false;
}

static bool
is_known(const struct tail_log *log, const struct file_facts *facts)
{
	const struct file *f;

	for (f = log->files; f != NULL; f = f->next)
		if (identity_same_inode(&f->cp.id, &facts->id))
			return true;
	return false;
}

static bool
is_seen(const struct sight *s, const struct file_facts *facts)
{
	size_t i;

	for (i = 0; i < s->count; i++)
		if (identity_same_inode(&s->seen[i].facts.id, &facts->id))
			return true;
	return false;
}

static void
see_name(struct sight *s, const struct spot *spot, size_t stem,
    const struct listing_name *name)
{
	struct file_facts facts;
	bool known, rotated;
	char *path;

	known = is_known_ino(s->log, name->ino);
	/* Of the names in a directory of thousands of logs, nearly all end here. */
	if (!known && strncmp(spot->name, name->name, stem) != 0)
		return;
	if (strcmp(spot->name, name->name) == 0)
		return;
	rotated = names_rotated(spot->name, name->name);
	if (!known && !rotated)
		return;
	path = xasprintf("%s/%s", spot->dir, name->name);
	if (identity_stat(path, false, &facts) == 0 && S_ISREG(facts.mode) &&
	    (rotated ? facts.size > 0 || known : is_known(s->log, &facts)) &&
	    !is_seen(s, &facts)) {
		see(s, path, &facts, false);
		s->seen[s->count - 1].other = !rotated;
	}
	free(path);
}

/* log.1 and log.1.gz side by side: the second is being made of the first. */
static bool
is_half_packed(const struct sight *s, const struct seen *seen)
{
	size_t len = names_unpacked_len(seen->path), i;

	if (seen->path[len] == '\0')
		return false;
	for (i = 0; i < s->count; i++)
		if (strlen(s->seen[i].path) == len &&
		    strncmp(seen->path, s->seen[i].path, len) == 0)
			return true;
	return false;
}

static void
drop_half_packed(struct sight *s)
{
	size_t i, kept = 0;

	for (i = 0; i < s->count; i++)
		s->seen[i].half = is_half_packed(s, &s->seen[i]);
	for (i = 0; i < s->count; i++) {
		if (s->seen[i].half)
			free(s->seen[i].path);
		else
			s->seen[kept++] = s->seen[i];
	}
	s->count = kept;
}

/*
 * A file was last written to before the next one was begun, so the times of
 * the last write tell the order; names do where the clock is too coarse.
 */
static int
older(const void *pa, const void *pb)
{
	const struct seen *a = pa, *b = pb;

	if (a->live != b->live)
		return a->live ? 1 : -1;
	if (a->facts.mtime_ns != b->facts.mtime_ns)
		return a->facts.mtime_ns < b->facts.mtime_ns ? -1 : 1;
	return names_older(a->name, b->name);
}

/*
 * Where the file at the log's path stands, links followed: by the next start a
 * link may lead to another directory.
 */
static char *
place_of(const struct tail_log *log, const struct file_facts *facts)
{
	const struct spot *spot;
	struct file_facts there;
	char *path;

	if (log->spot_count < 2)
		return xstrdup(log->path);
	spot = &log->spots[log->spot_count - 1];
	path = xasprintf("%s/%s", spot->dir, spot->name);
	if (identity_stat(path, false, &there) == 0 &&
	    identity_same_inode(&there.id, &facts->id))
		return path;
	free(path);
	return xstrdup(log->path);
}

static void
see_live(struct sight *s)
{
	struct file_facts live;
	char *path;

	s->fd = file_open_path(s->log->path, &live);
	s->error = s->fd == -1 ? errno : 0;
	if (s->fd == -1)
		return;
	path = place_of(s->log, &live);
	see(s, path, &live, true);
	free(path);
}

/* A file of the last run, where it was: maybe no link leads there any more. */
static void
see_known(struct sight *s)
{
	const struct file *f;
	struct file_facts facts;

	for (f = s->log->files; f != NULL; f = f->next)
		if (f->source == FILE_UNSOUGHT &&
		    identity_stat(f->cp.path, false, &facts) == 0 &&
		    S_ISREG(facts.mode) && identity_same_inode(&facts.id, &f->cp.id) &&
		    !is_seen(s, &facts)) {
			see(s, f->cp.path, &facts, false);
			s->seen[s->count - 1].other = true;
		}
}

static void
gather_once(struct sight *s)
{
	const struct listing *l;
	size_t i, j, stem;

	see_live(s);
	for (i = 0; i < s->log->spot_count; i++) {
		l = listing_get(s->log->tail, s->log->spots[i].dir);
		stem = names_stem_len(s->log->spots[i].name);
		for (j = 0; j < l->count; j++)
			see_name(s, &s->log->spots[i], stem, &l->names[j]);
	}
	see_known(s);
	drop_half_packed(s);
	if (s->count > 0)
		qsort(s->seen, s->count, sizeof(*s->seen), older);
}

static void
forget(struct sight *s)
{
	size_t i;

	for (i = 0; i < s->count; i++)
		free(s->seen[i].path);
	free(s->seen);
	s->seen = NULL;
	s->count = 0;
	if (s->fd != -1)
		(void)close(s->fd);
	s->fd = -1;
}

static bool
is_same(const struct sight *a, const struct sight *b)
{
	size_t i;

	if (a->count != b->count || (a->fd == -1) != (b->fd == -1))
		return false;
	for (i = 0; i < a->count; i++)
		if (strcmp(a->seen[i].path, b->seen[i].path) != 0 ||
		    !identity_same_inode(&a->seen[i].facts.id, &b->seen[i].facts.id))
			return false;
	return true;
}

/*
 * While files are being renamed, a directory that is read may show one of them
 * twice and another not at all; and one that was not seen would be taken for
 * lost, or passed over for good.  So it is read until it stays the same; where it
 * did not change for a while, the reading that others made of it will do.
 */
static void
gather(struct sight *s)
{
	struct sight before;
	bool same;
	unsigned i;

	gather_once(s);
	for (i = 0, same = false; i < LOOKS_MAX && !same; i++) {
		before = *s;
		s->seen = NULL;
		s->count = 0;
		gather_once(s);
		same = is_same(&before, s);
		forget(&before);
	}
}

/* ---- what we know of it -------------------------------------------------------- */

static int
open_seen(struct sight *s, const struct seen *seen, struct file_facts *facts_r)
{
	int fd = file_open_path(seen->path, facts_r);

	if (fd == -1 && (errno == ENOENT || errno == ENOTDIR))
		s->stale = true;
	if (fd != -1 && !identity_same_inode(&facts_r->id, &seen->facts.id)) {
		(void)close(fd);
		s->stale = true;
		return -1;
	}
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
 * would not be known in its own copy.
 */
static void
check_open(struct sight *s, struct file *f)
{
	if (f->blank) {
		file_restart(f);
	} else if (file_is(f->fd, &f->cp) == 0) {
		log_unhold(s->log, f);
		file_drop(f);
		f->source = FILE_UNSOUGHT;
	}
}

/* An open file keeps its inode: the number alone will do. */
static void
recognise_open(struct sight *s, struct file *f)
{
	size_t i;

	for (i = 0; i < s->count; i++) {
		if (!identity_same_inode(&s->seen[i].facts.id, &f->cp.id))
			continue;
		s->seen[i].file = f;
		file_set_path(f, s->seen[i].path);
	}
}

/* A file that is not open: by its inode, and by its bytes, for inodes come again. */
static void
recognise_closed(struct sight *s, struct file *f)
{
	struct file_facts facts;
	size_t i;
	int fd;

	for (i = 0; i < s->count; i++) {
		struct seen *seen = &s->seen[i];

		if (seen->file != NULL ||
		    !identity_same_inode(&seen->facts.id, &f->cp.id))
			continue;
		fd = open_seen(s, seen, &facts);
		if (fd == -1)
			continue;
		if (file_is(fd, &f->cp) != 1) {
			(void)close(fd);
			continue;
		}
		seen->file = f;
		/* One that was finished, and has grown or stands at the path, is written to. */
		if (seen->live || facts.size > f->cp.offset)
			f->cp.finished = false;
		if (file_unread(f))
			(void)take(s, f, fd, seen->path);
		else
			(void)close(fd);
		return;
	}
}

/* Is a file of f's inode there, though with other bytes: was f truncated in its place? */
static bool
is_in_place(const struct sight *s, const struct file *f)
{
	size_t i;

	for (i = 0; i < s->count; i++)
		if (identity_same_inode(&s->seen[i].facts.id, &f->cp.id))
			return true;
	return false;
}

/* What this piece holds of f. */
static enum file_copy
copy_of(struct sight *s, const struct seen *seen, const struct file *f, bool *packed_r)
{
	struct file_facts facts;
	enum file_copy copy;
	int fd;

	if (seen->file != NULL || seen->live || seen->other)
		return COPY_NONE;
	fd = open_seen(s, seen, &facts);
	if (fd == -1)
		return COPY_NONE;
	copy = file_copied(fd, seen->path, &f->cp);
	*packed_r = file_packed(fd);
	(void)close(fd);
	return copy;
}

static bool
take_copy(struct sight *s, struct file *f, struct seen *seen)
{
	struct file_facts facts;
	int fd = open_seen(s, seen, &facts);

	if (fd == -1)
		return false;
	seen->file = f;
	return take(s, f, fd, seen->path) == 0;
}

/* The pieces from this one on are not of files that are older than f. */
static size_t
behind_older(const struct sight *s, const struct file *f)
{
	size_t i;

	for (i = s->count; i-- > 0;)
		if (s->seen[i].file != NULL &&
		    s->seen[i].file->cp.generation < f->cp.generation)
			return i + 1;
	return 0;
}

/*
 * Under another inode: copied before it was truncated, or compressed.  Of two
 * that fit (all that was read were NULs, or a head that they share) the older
 * one behind what we know is it, for the next one is a copy of what came after.
 * True
 * where there is a copy, though it may end before what we read.  Of a file that
 * was removed, plain pieces are mostly no copies: several of them only have its
 * head, as files have that begin with the same words.
 */
static bool
find_copy(struct sight *s, struct file *f)
{
	bool in_place = is_in_place(s, f), ends_before = false, packed;
	struct seen *plain = NULL;
	size_t plains = 0, from = behind_older(s, f), n, i;

	for (n = 0; n < s->count; n++) {
		i = (from + n) % s->count;
		switch (copy_of(s, &s->seen[i], f, &packed)) {
		case COPY_WHOLE:
			if (packed || (in_place && i >= from))
				return take_copy(s, f, &s->seen[i]);
			if (i < from)
				break;
			plain = &s->seen[i];
			plains++;
			break;
		case COPY_SHORT:
			ends_before = ends_before || in_place;
			break;
		case COPY_NONE:
			break;
		}
	}
	if (plains == 1)
		return take_copy(s, f, plain);
	return ends_before;
}

/* What is left of f in memory is told; the rest is gone. */
static void
lose(struct sight *s, struct file *f, bool copied)
{
	uint64_t had = lines_end(&f->lines);
	bool missing = f->size > had;

	s->moved = true;
	f->source = FILE_LOST;
	if (f->pos < f->cp.offset) {
		log_gap(s->log, 0,
		    "a file that an unfinished request began in is gone; what it told "
		    "is known, what completes it may not be");
		f->pos = f->cp.offset;
		lines_free(&f->lines);
	} else if (missing || !copied) {
		log_gap(s->log, missing ? f->size - had : 0,
		    "the file was truncated, replaced or removed, and no copy holds what "
		    "was not read of it");
	}
}

static void
recognise(struct sight *s)
{
	struct file *f;
	bool copied;

	for (f = s->log->files; f != NULL; f = f->next) {
		f->live = false;
		if (f->source == FILE_PLAIN)
			check_open(s, f);
		if (f->fd != -1 || f->stream != NULL)
			recognise_open(s, f);
		else if (f->source == FILE_UNSOUGHT)
			recognise_closed(s, f);
	}
	for (f = s->log->files; f != NULL; f = f->next) {
		if (f->source != FILE_UNSOUGHT || !file_unread(f))
			continue;
		copied = f->blank || find_copy(s, f);
		if (f->source == FILE_UNSOUGHT && (!s->stale || s->last))
			lose(s, f, copied);
	}
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
	int64_t since;

	if (log->files == NULL)
		return log->older_ns;
	since = f != NULL ? f->mtime_ns : log->files->mtime_ns;
	if (f != NULL && f->cp.last_ts != INT64_MIN)
		since = latest(since, f->cp.last_ts * NS_PER_MS);
	if (f == NULL && log->files->cp.id.btime_ns != 0)
		since = latest(since, log->files->cp.id.btime_ns);
	/* What stood in it and was not read yet may have been copied in the same tick. */
	if (f == NULL && log->files->size > 0)
		since = latest(since - 1, log->older_ns);
	return since;
}

/*
 * Pieces from this index on were written after the newest one that we know.
 * Where that one is not there any more: those that were written to since.
 */
static size_t
first_unseen(const struct sight *s, const struct file *anchor)
{
	size_t i;

	for (i = 0; i < s->count; i++)
		if (anchor != NULL && s->seen[i].file == anchor)
			return i + 1;
	if (s->since == INT64_MIN)
		return s->count; /* what is older and what newer can't be known */
	for (i = 0; i < s->count && !s->seen[i].live; i++)
		if (s->seen[i].facts.mtime_ns > s->since)
			break;
	return i;
}

/* The same where f is not open, but was recognised among the pieces. */
static bool
begins_finished(struct sight *s, const struct file *f, int fd, bool *found_r)
{
	struct file_facts facts;
	bool same = false;
	size_t i;
	int whole;

	for (i = 0; i < s->count && !*found_r; i++) {
		if (s->seen[i].file != f)
			continue;
		whole = open_seen(s, &s->seen[i], &facts);
		if (whole == -1)
			continue;
		*found_r = true;
		same = file_begins_with(whole, fd);
		(void)close(whole);
	}
	return same;
}

/*
 * Do we have what stands in this piece elsewhere?  A file that is there can be
 * compared; of one that is gone its fingerprint and guard must do.
 */
static bool
is_copy(struct sight *s, const struct seen *seen, int fd)
{
	const struct file *f, *anchor = anchor_of(s->log);

	if (s->fd != -1 && file_begins_with(s->fd, fd))
		return true;
	for (f = s->log->files; f != NULL; f = f->next) {
		bool found = f->fd != -1;

		if (found ? file_begins_with(f->fd, fd)
			  : begins_finished(s, f, fd, &found))
			return true;
		/*
		 * What comes behind the newest that we know may be a copy of that
		 * one.  Compared with older ones, a mere equal head would tell.
		 */
		if (((!found && f == anchor && is_in_place(s, f)) || file_packed(fd)) &&
		    file_copied(fd, seen->path, &f->cp) != COPY_NONE)
			return true;
	}
	return false;
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

/* A file without a byte so far may have come before or behind what is found only now. */
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
		if (f->source == FILE_PLAIN && !f->blank && file_is(f->fd, &f->cp) == 0)
			return true;
	return false;
}

static void
add_unseen(struct sight *s)
{
	struct file_facts facts;
	bool copy;
	size_t i;
	int fd;

	for (i = first_unseen(s, anchor_of(s->log)); i < s->count; i++) {
		struct seen *seen = &s->seen[i];

		if (seen->file != NULL && seen->file->blank)
			put_last(s->log, seen->file);
		if (seen->file != NULL || seen->live || seen->other)
			continue;
		fd = open_seen(s, seen, &facts);
		if (fd == -1 && s->stale && !s->last)
			return; /* what is newer must not come before it */
		if (fd == -1)
			continue;
		copy = is_copy(s, seen, fd);
		if (!copy && !s->last && was_cut(s->log)) {
			s->stale = true;
			(void)close(fd);
			return;
		}
		if (copy)
			(void)close(fd);
		else
			seen->file = add_file(s, fd, seen->path);
	}
}

static void
add_live(struct sight *s, struct file *before)
{
	struct tail_log *log = s->log;
	const struct seen *live = &s->seen[s->count - 1];
	struct file *f = live->file;
	struct err e;

	if (f == NULL) {
		f = add_file(s, s->fd, live->path);
		s->fd = -1;
		if (f == NULL)
			return;
		f->blank = true;
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
pass_older(const struct sight *s)
{
	size_t i;

	for (i = 0; i < s->count && !s->seen[i].live; i++)
		s->log->older_ns = latest(s->log->older_ns, s->seen[i].facts.mtime_ns);
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
	gather(s);
	if (s->log->first_sight) {
		pass_older(s);
	} else {
		recognise(s);
		if (!s->stale || s->last)
			add_unseen(s);
	}
	if (s->stale && !s->last)
		return false;
	complain(s->log, s->error);
	s->log->stats.missing = s->fd == -1;
	if (s->fd != -1)
		add_live(s, before);
	s->log->first_sight = false;
	return true;
}

void
sight_search(struct tail_log *log)
{
	struct sight s = {.log = log, .fd = -1};
	struct file *before = live_of(log), *newest = log_newest(log);
	unsigned looks = 1;

	if (before == NULL)
		before = newest;
	s.since = last_seen_ns(log);
	while (!search_once(&s, before)) {
		forget(&s);
		listing_forget(log->tail);
		s.last = ++looks == LOOKS_MAX;
	}
	forget(&s);
	if (s.moved || (before != NULL && !before->live))
		log->tail->hooks.moved(log->tail->arg, log);
}

/* Most looks find that nothing changed. */
static bool
is_as_before(const struct tail_log *log)
{
	const struct file *f = live_of(log);
	struct file_facts facts;

	if (f == NULL || f->source != FILE_PLAIN || is_wanting(log) ||
	    identity_stat(log->path, true, &facts) == -1 || !S_ISREG(facts.mode))
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
	path = place_of(log, &facts);
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
