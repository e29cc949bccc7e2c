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
#include "tail/content.h"
#include "tail/sight.h"
#include "tail/state.h"

#define NS_PER_MS 1000000LL
#define REMEMBERED_MAX 32 /* older pieces; what is older than those the order tells */

void
sight_hide(struct sight *s, const char *path, int error)
{
	if (s->hidden != 0)
		return;
	s->hidden = error;
	if (error != s->log->path_error)
		say(LOG_WARNING, "log=%s waits, for %s cannot be read: %s", s->log->path,
		    path, strerror(error));
	s->log->path_error = error;
}

bool
sight_waits(const struct sight *s)
{
	return s->hidden != 0 || (s->stale && !s->last);
}

int
sight_try(struct sight *s, struct seen *seen)
{
	struct file_facts facts;
	int fd = file_open_path(seen->path, &facts);

	if (fd == -1 && identity_is_absent(errno))
		s->stale = true;
	if (fd != -1 && !identity_same_inode(&facts.id, &seen->facts.id)) {
		(void)close(fd);
		s->stale = true;
		errno = ENOENT;
		return -1;
	}
	if (fd != -1)
		seen->facts = facts;
	return fd;
}

int
sight_open(struct sight *s, struct seen *seen)
{
	int fd = sight_try(s, seen);

	if (fd == -1 && !identity_is_absent(errno))
		sight_hide(s, seen->path, errno);
	return fd;
}

int
sight_take(struct sight *s, struct file *f, int fd, const char *path)
{
	struct err e;

	if (file_take(f, fd, path, &e) == -1) {
		say(LOG_ERR, "log=%s %s", s->log->path, e.text);
		f->source = FILE_LOST;
		log_gap(s->log, 0, "a piece of the log is damaged");
		return -1;
	}
	s->moved = true;
	return 0;
}

bool
sight_unknown(const struct seen *seen)
{
	return seen->file == NULL && !seen->live && !seen->other;
}

bool
sight_knows(const struct sight *s, const struct file *f)
{
	size_t i;

	for (i = 0; i < s->p.count; i++)
		if (s->p.seen[i].file == f)
			return true;
	return false;
}

void
sight_bounds(const struct sight *s, const struct file *f, size_t *from_r, size_t *end_r)
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

struct file *
sight_add(struct sight *s, int fd, const char *path)
{
	struct tail_log *log = s->log;
	struct file *f = file_new(++log->generation);

	log_append(log, f);
	(void)sight_take(s, f, fd, path);
	return f;
}

void
sight_remember(struct sight *s, struct seen *seen)
{
	struct tail_log *log = s->log;
	int fd = sight_try(s, seen);
	struct file *f;

	if (fd == -1 && identity_is_absent(errno))
		return;
	f = file_new(++log->generation);
	seen->file = f;
	file_pass(f, fd, &seen->facts, seen->path);
	log_append(log, f);
}

struct file *
log_anchor(const struct tail_log *log)
{
	struct file *f, *anchor = NULL;

	for (f = log->files; f != NULL; f = f->next)
		if (!f->blank)
			anchor = f;
	return anchor;
}

bool
log_was_cut(const struct tail_log *log)
{
	const struct file *f;

	for (f = log->files; f != NULL; f = f->next)
		if (f->source == FILE_PLAIN && file_was_cut(f))
			return true;
	return false;
}

/* ---- the look --------------------------------------------------------------------- */

/* Files that only we still hold, for they have no name any more. */
struct deleted {
	size_t count;
	uint64_t bytes;
};

static bool
is_deleted(const struct file *f, uint64_t *size_r)
{
	return !f->live && file_deleted(f, size_r);
}

static struct deleted
all_deleted(const struct tail_log *log)
{
	struct deleted d = {0};
	const struct file *f;
	uint64_t size;

	for (f = log->files; f != NULL; f = f->next) {
		if (!is_deleted(f, &size))
			continue;
		d.count++;
		d.bytes += size;
	}
	return d;
}

/* f is not held any longer; what is not read of it, size bytes in all, is lost. */
static void
let_go(struct sight *s, struct file *f, uint64_t size)
{
	uint64_t had = lines_end(&f->lines) - (f->lines.end - f->lines.whole);

	log_unhold(s->log, f);
	s->moved = true;
	if (f->pos >= size) {
		file_finish(f);
		return;
	}
	file_drop(f);
	f->source = FILE_LOST;
	if (size > had)
		log_gap(s->log, size - had,
		    "too much was deleted before it was read, the oldest of it is not "
		    "held any longer");
}

/*
 * Rotation goes on, whatever is read: what it deletes would fill the disk.  The
 * oldest are let go, for those are read before the others.
 */
static void
bound_deleted(struct sight *s)
{
	struct deleted d = all_deleted(s->log);
	struct file *f;
	uint64_t size;

	for (f = s->log->files; f != NULL; f = f->next) {
		if (d.count <= DELETED_MAX && d.bytes <= DELETED_MAX_BYTES)
			return;
		if (!is_deleted(f, &size))
			continue;
		d.count--;
		d.bytes -= size;
		let_go(s, f, size);
	}
}

/* Is there a file that we should have, and do not see? */
static bool
is_wanting(const struct tail_log *log)
{
	const struct file *f;

	for (f = log->files; f != NULL; f = f->next)
		if (file_awaited(f))
			return true;
	return false;
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
	const struct file *f = log_anchor(log);

	if (f == NULL)
		return INT64_MIN;
	if (f->cp.last_ts == INT64_MIN)
		return f->mtime_ns;
	return latest(f->mtime_ns, f->cp.last_ts * NS_PER_MS);
}

bool
sight_stands(const struct file *f)
{
	const struct file *newer;
	struct file_facts facts;

	/* Truncated in its place, it is another file of the log by now. */
	for (newer = f->next; newer != NULL; newer = newer->next)
		if (identity_same_inode(&newer->cp.id, &f->cp.id))
			return false;
	return identity_stat(f->cp.path, false, &facts) == 0 &&
	    identity_same_inode(&facts.id, &f->cp.id);
}

/* What is not there any more, or is older than enough others, need not be remembered. */
static void
forget_gone(const struct sight *s)
{
	struct file *f;
	size_t count = 0;

	if (s->p.fd == -1 && s->p.count == 0)
		return; /* the directory is gone, maybe for a moment */
	/* A glob may match it under a name that rotation does not give. */
	for (f = log_newest(s->log); f != NULL; f = f == s->log->files ? NULL : f->prev)
		if (f->source == FILE_UNSOUGHT && !file_unread(f))
			f->gone = (!sight_knows(s, f) && !sight_stands(f)) ||
			    ++count > REMEMBERED_MAX;
}

/*
 * May what stands at the path hold lines from before the log was followed?  One
 * that could not be opened until now may; where no birth time tells, it is new.
 */
static bool
is_older_than_log(const struct tail_log *log, const struct seen *live)
{
	const struct tail_how *how = &log->how;
	int64_t btime_ns = live->facts.id.btime_ns;

	if (!log->first_sight || how->since_ms == 0)
		return log->first_sight;
	return btime_ns != 0 && btime_ns < how->since_ms * NS_PER_MS - NEAR_NS;
}

static void
add_live(struct sight *s, struct file *before)
{
	struct tail_log *log = s->log;
	struct seen *live = &s->p.seen[s->p.count - 1];
	struct file *f = live->file;
	struct err e;

	if (f == NULL) {
		f = sight_add(s, s->p.fd, live->path);
		live->file = f;
		s->p.fd = -1;
		if (log->how.start == TAIL_START_END && is_older_than_log(log, live) &&
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

static void
complain(struct tail_log *log, int error)
{
	if (error == log->path_error)
		return;
	log->path_error = error;
	if (error == EINVAL)
		say(LOG_WARNING, "log=%s is not a regular file and is not read",
		    log->path);
	else if (error == EPERM)
		say(LOG_WARNING,
		    "log=%s is a link whose owner owns neither the log nor the system; "
		    "it is not followed",
		    log->path);
}

/*
 * What stands beside a log when it is seen for the first time is none of ours; but
 * for what was written since its path, or the glob that found it, is followed.
 */
static void
pass_older(struct sight *s)
{
	const struct tail_how *how = &s->log->how;
	size_t count = s->p.count - (s->p.count > 0 && s->p.seen[s->p.count - 1].live), i;

	while (how->since_ms != 0 && count > 0 &&
	    s->p.seen[count - 1].facts.mtime_ns >= how->since_ms * NS_PER_MS - NEAR_NS)
		count--;
	i = count > REMEMBERED_MAX ? count - REMEMBERED_MAX : 0;
	for (; i < count; i++)
		if (sight_unknown(&s->p.seen[i]))
			sight_remember(s, &s->p.seen[i]);
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

/* What can't be looked at is what it was: an open file does not end for that. */
static void
keep_live(const struct sight *s, struct file *before)
{
	struct file *f = before;

	if (s->p.fd != -1)
		f = s->p.seen[s->p.count - 1].file;
	else if (f != NULL && (!s->was_live || sight_knows(s, f)))
		return;
	if (f != NULL && (f->fd != -1 || f->stream != NULL))
		f->live = true;
}

/* True where all that was seen was still there when it was opened. */
static bool
search_once(struct sight *s, struct file *before)
{
	s->stale = false;
	s->hidden = 0;
	known_check(s);
	pieces_gather(s->log, &s->p);
	if (s->p.hidden != NULL)
		sight_hide(s, s->p.hidden, s->p.hidden_error);
	known_find(s);
	if (s->log->first_sight)
		pass_older(s);
	if ((!s->log->first_sight || s->log->how.since_ms != 0) && !sight_waits(s))
		unseen_add(s);
	s->stale = s->stale || log_was_cut(s->log);
	if (s->stale && !s->last)
		return false;
	s->log->stats.missing = s->p.fd == -1;
	if (s->hidden != 0) {
		keep_live(s, before);
		return true;
	}
	complain(s->log, s->p.error);
	unseen_lose_begun(s);
	if (s->p.fd != -1)
		add_live(s, before);
	forget_gone(s);
	bound_deleted(s);
	if (s->p.error == 0 || identity_is_absent(s->p.error))
		s->log->first_sight = false;
	return true;
}

void
sight_search(struct tail_log *log)
{
	struct sight s = {.log = log, .p.fd = -1};
	struct file *before = live_of(log), *newest = log_newest(log);
	unsigned looks = 1;

	s.was_live = before != NULL;
	if (before == NULL)
		before = newest;
	s.since = last_seen_ns(log);
	while (!search_once(&s, before)) {
		pieces_forget(&s.p);
		listing_forget(log->tail);
		s.last = ++looks == LOOKS_MAX;
	}
	log->unsure = s.hidden != 0;
	if (log->unsure)
		tail_look_again(log);
	pieces_forget(&s.p);
	log->stirred = false;
	inodes_note(log);
	if (s.moved || (before != NULL && !before->live))
		log->tail->hooks.moved(log->tail->arg, log);
}

/* Was something written to f, which was read to its end, though nobody held it any more? */
static bool
has_grown(const struct file *f)
{
	struct file_facts facts;

	return f->source == FILE_UNSOUGHT && f->cp.finished && !f->gone &&
	    identity_stat(f->cp.path, false, &facts) == 0 && facts.size > f->size &&
	    facts.mtime_ns != f->mtime_ns && identity_same_inode(&facts.id, &f->cp.id);
}

static bool
has_late_writes(const struct tail_log *log)
{
	const struct file *f;

	for (f = log->files; f != NULL; f = f->next)
		if (has_grown(f))
			return true;
	return false;
}

/* Most looks find that nothing changed. */
static bool
is_as_before(const struct tail_log *log)
{
	const struct file *f = live_of(log);
	struct file_facts facts;

	if (f == NULL || f->source != FILE_PLAIN || (f->blank && log->stirred) ||
	    log->unsure || is_wanting(log) ||
	    identity_stat(log->path, true, &facts) == -1 || !S_ISREG(facts.mode))
		return false;
	return identity_same_inode(&facts.id, &f->cp.id) && !has_late_writes(log) &&
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
	    content_is(fd, &newest->cp) != 1) {
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
