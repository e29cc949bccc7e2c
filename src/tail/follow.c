/*
 * Globs.  A match becomes a log of its own, unless it is a piece of a log that
 * is followed: by its name, by its inode, or because its bytes are a copy's; or a
 * link to what is matched, too.
 */
#include <dirent.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/err.h"
#include "tail/content.h"
#include "tail/names.h"
#include "tail/state.h"
#include "tail/watch.h"

#define MAGIC "*?["
#define HALF_MADE ".tmp"

struct follow {
	char *dir;   /* the pattern up to its last slash */
	char *leaf;  /* and what is behind it */
	char *fixed; /* of dir: up to what has to be matched */
	struct tail_how
	    how; /* since_ms: of what is found now; 0: before the first look */
	void *cookie;
	struct follow *next;
};

/* ---- is it a log of its own? ---------------------------------------------------- */

static bool
matches(const struct follow *w, const char *dir, const char *name)
{
	return fnmatch(w->dir, dir, FNM_PATHNAME | FNM_PERIOD) == 0 &&
	    fnmatch(w->leaf, name, FNM_PERIOD) == 0;
}

/* The log dir/base, len bytes of name and then ending, if name is a piece of that; or NULL. */
static struct tail_log *
piece_of(const struct tail *t, const char *dir, const char *name, size_t len,
    struct slice ending)
{
	char *path =
	    xasprintf("%s/%.*s%.*s", dir, (int)len, name, (int)ending.len, ending.p);
	struct tail_log *log =
	    names_rotated(path + strlen(dir) + 1, name) ? tail_find(t, path) : NULL;

	free(path);
	return log;
}

/* What name is when it is whole: 0.log.20260101-120000 is compressed into ….tmp. */
static char *
whole_name(const char *name)
{
	size_t len = strlen(name), end = strlen(HALF_MADE);

	if (len > end && strcmp(name + len - end, HALF_MADE) == 0)
		len -= end;
	return xstrndup(name, len);
}

static struct tail_log *
log_of(const struct tail *t, const char *dir, const char *name)
{
	struct tail_log *log;
	size_t unpacked = names_unpacked_len(name), i;
	const char *dot = memrchr(name, '.', unpacked);
	const struct slice none = {"", 0};
	struct slice ending = none;

	if (dot != NULL)
		ending = (struct slice){dot, (size_t)(name + unpacked - dot)};
	for (i = 1; name[i] != '\0'; i++) {
		if (strchr(".-_~", name[i]) == NULL)
			continue;
		log = piece_of(t, dir, name, i, none);
		if (log == NULL)
			log = piece_of(t, dir, name, i, ending);
		if (log != NULL)
			return log;
	}
	return NULL;
}

/* The path of the file real (no links in it), named as w names what it matches; NULL: it can't be. */
static char *
named_by(const struct follow *w, const char *real)
{
	char *fixed = realpath(w->fixed[0] == '\0' ? "/" : w->fixed, NULL);
	char *path = NULL;
	size_t len = fixed == NULL || strcmp(fixed, "/") == 0 ? 0 : strlen(fixed);

	if (fixed != NULL && strncmp(real, fixed, len) == 0 && real[len] == '/')
		path = xasprintf("%s%s", w->fixed, real + len);
	free(fixed);
	return path;
}

static bool
matches_path(const struct follow *w, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir;
	bool yes;

	if (slash == NULL)
		return false;
	dir = xstrndup(path, (size_t)(slash - path));
	yes = matches(w, dir, slash + 1);
	free(dir);
	return yes;
}

/*
 * Does path, which w matches, lead by links to a file that a glob matches under
 * another name?  Even if that is found later: were it a log now, then by the time
 * that the link leads to the next file, this one would be read twice.
 */
static bool
is_link_to_match(const struct tail *t, const struct follow *w, const char *path)
{
	char *real = realpath(path, NULL), *other;
	bool yes = false;

	if (real == NULL)
		return false;
	other = named_by(w, real);
	if (other != NULL && strcmp(other, path) == 0)
		goto free;
	LL_FOREACH(t->follows, w)
	{
		free(other);
		other = named_by(w, real);
		yes = yes || (other != NULL && matches_path(w, other));
	}

free:
	free(other);
	free(real);
	return yes;
}

/* The file of a log that is open in fd, under whatever name; NULL: it is none. */
static struct file *
same_file(const struct tail_log *log, int fd, const struct file_facts *facts)
{
	struct file *f;

	DL_FOREACH(log->files, f)
	{
		if (identity_same_inode(&facts->id, &f->cp.id) &&
		    (f->fd != -1 || content_is(fd, &f->cp) == 1))
			return f;
	}
	return NULL;
}

/*
 * f of log stands at path, and must be known for as long as it does.  If it was
 * written to after it had been held for its time, it is read on.
 */
static void
note_name(struct tail_log *log, struct file *f, const char *path,
    const struct file_facts *facts)
{
	struct file_facts there;

	if (identity_stat(f->cp.path, true, &there) == -1 ||
	    !identity_same_inode(&there.id, &f->cp.id))
		file_set_path(f, path);
	if (!f->cp.finished || facts->size <= f->cp.offset || facts->size <= f->size)
		return;
	f->cp.finished = f->gone = false;
	listing_forget(log->tail);
	sight_search(log);
	tail_queue(log, false);
}

/* Is what is open in fd a log's, under whatever name? */
static bool
is_taken(struct tail *t, int fd, const char *path, const struct file_facts *facts)
{
	const struct inode *inode = inodes_find(t, facts->id.ino);
	struct file *f;
	size_t i;

	for (i = 0; inode != NULL && i < inode->count; i++) {
		f = same_file(inode->logs[i], fd, facts);
		if (f == NULL)
			continue;
		note_name(inode->logs[i], f, path, facts);
		return true;
	}
	return false;
}

/* The beginning of a match. */
struct head {
	char p[FINGERPRINT_MAX];
	size_t len;
};

/* Of what a file of id is as well: few of thousands of files have to be looked into. */
static bool
may_begin(const struct file_identity *id, const struct head *head)
{
	struct guard known = {.len = id->head_len};

	if (head->len < PREFIX_MIN)
		return true;
	if (head->len < id->head_len)
		return identity_begins(id, head->p, head->len);
	memcpy(known.hash, id->head, HASH_SIZE);
	return guard_holds(&known, head->p, head->len);
}

/*
 * Is it a copy of f, whole or in the making?  Of a file that was finished little is
 * no evidence; and what is written behind the copy of one makes a log of it.
 */
static bool
may_be_copy_of(
    const struct file *f, int fd, const char *path, const struct file_facts *facts)
{
	enum content_copy copy;

	if (f->fd != -1)
		return content_begins_with(f->fd, fd);
	if (f->cp.finished && (facts->size < EVIDENCE_MIN || facts->size > f->cp.offset))
		return false;
	copy = content_copied(fd, path, &f->cp);
	return copy == COPY_WHOLE || copy == COPY_SHORT;
}

/* Was name rotated already?  Then it is no copy in the making. */
static bool
has_pieces(struct tail *t, const char *dir, const char *name)
{
	const struct listing *l = listing_get(t, dir);
	size_t i;

	for (i = 0; i < l->count; i++)
		if (names_rotated(name, l->names[i].name))
			return true;
	return false;
}

/* Are these the bytes of a log that writes in dir, or none yet, so that they may be? */
static bool
may_be_copy(struct tail *t, const char *dir, int fd, const char *path,
    const struct file_facts *facts)
{
	const struct tail_log *log;
	const struct file *f;
	struct head head;

	if (facts->size == 0)
		return !has_pieces(t, dir, path + strlen(dir) + 1);
	head.len = content_head(fd, path, head.p, sizeof(head.p));
	DL_FOREACH(t->logs, log)
	{
		if (!tail_writes_in(log, dir))
			continue;
		DL_FOREACH(log->files, f)
		if (may_begin(&f->cp.id, &head) && may_be_copy_of(f, fd, path, facts))
			return true;
	}
	return false;
}

static struct tail_log *
add_log(struct tail *t, struct follow *w, const char *path)
{
	struct checkpoint *cps = NULL;
	size_t count = 0;
	void *cookie = t->hooks.found(t->arg, w->cookie, path, &cps, &count);
	struct tail_log *log = tail_add_log(t, path, w->how, cps, count, cookie);

	checkpoints_free(cps, count);
	log->matched = true;
	return log;
}

/* A piece may be what its log waits for, while nothing stands at the path of that. */
static bool
is_piece(const struct tail *t, const char *dir, const char *name)
{
	char *whole = whole_name(name);
	struct tail_log *log = log_of(t, dir, whole);

	free(whole);
	if (log != NULL && log->stats.missing)
		tail_queue(log, true);
	return log != NULL;
}

/*
 * What is there at the first look of all is known by its name alone: comparing
 * the bytes of thousands of logs with one another would take long, and a copy
 * that was made while nobody looked has mostly a rotated name.
 */
static void
consider(struct tail *t, struct follow *w, const char *dir, const char *name)
{
	char *path = xasprintf("%s/%s", dir, name);
	struct file_facts facts;
	int fd = -1;

	if (tail_find(t, path) != NULL || is_piece(t, dir, name) || names_packed(name) ||
	    is_link_to_match(t, w, path))
		goto free;
	fd = file_open_path(path, &facts);
	if (fd == -1 || is_taken(t, fd, path, &facts))
		goto free;
	/* It is looked at at once: what is found next may be a copy of it. */
	if (w->how.since_ms == 0 || !may_be_copy(t, dir, fd, path, &facts))
		sight_look(add_log(t, w, path));

free:
	if (fd != -1)
		(void)close(fd);
	free(path);
}

/* ---- expanding --------------------------------------------------------------------- */

static bool
has_magic(const char *s)
{
	return strpbrk(s, MAGIC) != NULL;
}

/* Shorter names first: homeserver.log is there before homeserver.log.1 asks for it. */
static int
shorter(const void *pa, const void *pb)
{
	const char *const *a = pa, *const *b = pb;
	size_t la = strlen(*a), lb = strlen(*b);

	return la != lb ? (la < lb ? -1 : 1) : strcmp(*a, *b);
}

static void
expand_leaf(struct tail *t, struct follow *w, const char *dir)
{
	const struct listing *l;
	char **names = NULL;
	size_t count = 0, i;

	watch_dir(t->watch, dir, w->how.watch == TAIL_WATCH_POLL);
	listing_forget(t);
	l = listing_get(t, dir);
	for (i = 0; i < l->count; i++) {
		if (fnmatch(w->leaf, l->names[i].name, FNM_PERIOD) != 0)
			continue;
		names = xreallocarray(names, count + 1, sizeof(*names));
		names[count++] = xstrdup(l->names[i].name);
	}
	if (count > 0)
		qsort(names, count, sizeof(*names), shorter);
	for (i = 0; i < count; i++) {
		consider(t, w, dir, names[i]);
		free(names[i]);
	}
	free(names);
}

static char *
below(const char *dir, const char *name)
{
	return xasprintf("%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name);
}

static bool
is_dir(const char *path)
{
	struct file_facts facts;

	return identity_stat(path, true, &facts) == 0 && S_ISDIR(facts.mode);
}

static void descend(struct tail *t, struct follow *w, const char *dir, const char *rest);

/* Those whose names match part, now; and dir tells of others. */
static void
descend_matches(
    struct tail *t, struct follow *w, const char *dir, const char *part, const char *rest)
{
	struct dirent **entries = NULL;
	int count, i;
	char *path;

	watch_dir(t->watch, dir, w->how.watch == TAIL_WATCH_POLL);
	count = scandir(dir, &entries, NULL, alphasort);
	for (i = 0; i < count; i++) {
		path = below(dir, entries[i]->d_name);
		if (fnmatch(part, entries[i]->d_name, FNM_PERIOD) == 0 && is_dir(path))
			descend(t, w, path, rest);
		free(path);
		free(entries[i]);
	}
	free(entries);
}

/* rest is what is left of the pattern behind dir: empty, or from its slash on. */
static void
descend(struct tail *t, struct follow *w, const char *dir, const char *rest)
{
	const char *end;
	char *part, *path;

	if (*rest == '\0') {
		expand_leaf(t, w, dir);
		return;
	}
	end = strchrnul(rest + 1, '/');
	part = xstrndup(rest + 1, (size_t)(end - rest - 1));
	if (has_magic(part)) {
		descend_matches(t, w, dir, part, end);
	} else {
		path = below(dir, part);
		descend(t, w, path, end);
		free(path);
	}
	free(part);
}

static void
expand(struct tail *t, struct follow *w)
{
	int64_t now = clock_utc_ms();

	descend(t, w, w->fixed[0] == '\0' ? "/" : w->fixed, w->dir + strlen(w->fixed));
	if (w->how.since_ms == 0)
		w->how.since_ms = now;
}

/* What is left of the pattern behind the part of it that dir matches; NULL: none does. */
static const char *
rest_behind(const struct follow *w, const char *dir)
{
	const char *end = strchrnul(w->dir, '/'), *slash = dir;
	char *part;
	bool yes;

	while ((slash = strchr(slash, '/')) != NULL && *end != '\0') {
		end = strchrnul(end + 1, '/');
		slash++;
	}
	part = xstrndup(w->dir, (size_t)(end - w->dir));
	yes = slash == NULL && fnmatch(part, dir, FNM_PATHNAME | FNM_PERIOD) == 0;
	free(part);
	return yes ? end : NULL;
}

void
follow_look(struct tail *t, const char *dir)
{
	struct follow *w;
	const char *rest;

	LL_FOREACH(t->follows, w)
	{
		rest = dir == NULL ? NULL : rest_behind(w, dir);
		if (dir == NULL)
			expand(t, w);
		else if (rest != NULL)
			descend(t, w, dir, rest);
	}
}

void
follow_news(struct tail *t, const char *dir, const char *name, bool named)
{
	struct follow *w;
	const char *rest;
	char *path;

	LL_FOREACH(t->follows, w)
	{
		if (matches(w, dir, name)) {
			consider(t, w, dir, name);
			continue;
		}
		if (!named || !has_magic(w->dir))
			continue;
		path = below(dir, name);
		rest = rest_behind(w, path);
		if (rest != NULL && is_dir(path))
			descend(t, w, path, rest);
		free(path);
	}
}

static char *
fixed_part(const char *dir)
{
	size_t len = strcspn(dir, MAGIC);

	while (dir[len] != '\0' && dir[len] != '/')
		len--;
	return xstrndup(dir, len);
}

static void
add_known(struct tail *t, struct follow *w, const char *path)
{
	if (tail_find(t, path) == NULL && matches_path(w, path))
		(void)add_log(t, w, path);
}

int
tail_follow_glob(struct tail *t, const char *pattern, struct tail_how how,
    char *const *known, size_t known_count, void *cookie, struct err *e)
{
	const char *slash = strrchr(pattern, '/');
	struct follow *w;
	size_t i;

	if (pattern[0] != '/' || slash[1] == '\0')
		return err_set(
		    e, "cannot follow \"%s\": it matches no path of a file", pattern);
	w = xcalloc(1, sizeof(*w));
	w->leaf = xstrdup(slash + 1);
	w->dir = slash == pattern ? xstrdup("/")
				  : xstrndup(pattern, (size_t)(slash - pattern));
	w->fixed = fixed_part(w->dir);
	w->how = how;
	w->cookie = cookie;
	LL_APPEND(t->follows, w);
	for (i = 0; i < known_count; i++)
		add_known(t, w, known[i]);
	if (t->started)
		expand(t, w);
	return 0;
}

void
follow_free_all(struct tail *t)
{
	struct follow *w;

	while ((w = t->follows) != NULL) {
		t->follows = w->next;
		free(w->dir);
		free(w->leaf);
		free(w->fixed);
		free(w);
	}
}
