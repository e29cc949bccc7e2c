#include "tail/pieces.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tail/names.h"
#include "tail/state.h"

enum order { BY_NUMBER, BY_DATE, BY_TIME, ORDERS };

/* ---- what is there ----------------------------------------------------------- */

static struct seen *
see(struct pieces *p, const char *path, const struct file_facts *facts)
{
	struct seen *seen;

	p->seen = xreallocarray(p->seen, p->count + 1, sizeof(*p->seen));
	seen = &p->seen[p->count++];
	*seen = (struct seen){
	    .path = xstrdup(path), .facts = *facts, .order = BY_TIME, .number = -1};
	seen->name = strrchr(seen->path, '/');
	seen->name = seen->name == NULL ? seen->path : seen->name + 1;
	return seen;
}

static void
hide(struct pieces *p, const char *path, int error)
{
	if (error == 0 || identity_is_absent(error))
		return;
	p->hidden = path;
	p->hidden_error = error;
}

/* Files that were read to their end are not looked for under any name. */
static bool
is_sought(const struct tail_log *log, uint64_t ino)
{
	const struct file *f;

	for (f = log->files; f != NULL; f = f->next)
		if (!f->cp.finished && f->cp.id.ino == ino)
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
is_seen(const struct pieces *p, const struct file_facts *facts)
{
	size_t i;

	for (i = 0; i < p->count; i++)
		if (identity_same_inode(&p->seen[i].facts.id, &facts->id))
			return true;
	return false;
}

static void
see_name(struct pieces *p, const struct tail_log *log, const struct spot *spot,
    size_t stem, const struct listing_name *name)
{
	struct file_facts facts;
	struct seen *seen;
	bool sought, rotated;
	char *path;

	sought = is_sought(log, name->ino);
	/* Of the names in a directory of thousands of logs, nearly all end here. */
	if (!sought && strncmp(spot->name, name->name, stem) != 0)
		return;
	if (strcmp(spot->name, name->name) == 0)
		return;
	rotated = names_rotated(spot->name, name->name);
	if (!sought && !rotated)
		return;
	path = xasprintf("%s/%s", spot->dir, name->name);
	/* A glob may have found it before the log that it is named after was there. */
	if (tail_find(log->tail, path) != NULL)
		rotated = false;
	if (identity_stat(path, false, &facts) == 0 && S_ISREG(facts.mode) &&
	    ((rotated && facts.size > 0) || is_known(log, &facts)) &&
	    !is_seen(p, &facts)) {
		seen = see(p, path, &facts);
		seen->other = !rotated;
		seen->number = rotated ? names_number(spot->name, name->name) : -1;
		if (seen->number != -1)
			seen->order = BY_NUMBER;
		else if (rotated && names_dated(spot->name, name->name))
			seen->order = BY_DATE;
	}
	free(path);
}

/* log.1 and log.1.gz side by side: the second is being made of the first. */
static bool
is_half_packed(const struct pieces *p, const struct seen *seen)
{
	size_t len = names_unpacked_len(seen->path), i;

	if (seen->path[len] == '\0')
		return false;
	for (i = 0; i < p->count; i++)
		if (strlen(p->seen[i].path) == len &&
		    strncmp(seen->path, p->seen[i].path, len) == 0)
			return true;
	return false;
}

static void
drop_half_packed(struct pieces *p)
{
	bool *half = xcalloc(p->count, sizeof(*half));
	size_t i, kept = 0;

	for (i = 0; i < p->count; i++)
		half[i] = is_half_packed(p, &p->seen[i]);
	for (i = 0; i < p->count; i++) {
		if (half[i])
			free(p->seen[i].path);
		else
			p->seen[kept++] = p->seen[i];
	}
	p->count = kept;
	free(half);
}

char *
pieces_place(const struct tail_log *log, const struct file_facts *facts)
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
see_live(struct pieces *p, const struct tail_log *log)
{
	struct file_facts live;
	char *path;

	p->fd = file_open_path(log->path, &live);
	p->error = p->fd == -1 ? errno : 0;
	if (p->fd == -1) {
		/* A thing of another kind stands there, or a stranger's link. */
		if (p->error != EINVAL && p->error != EPERM)
			hide(p, log->path, p->error);
		return;
	}
	path = pieces_place(log, &live);
	see(p, path, &live)->live = true;
	free(path);
}

/* A file of the last run, where it was: maybe no link leads there any more. */
static void
see_known(struct pieces *p, const struct tail_log *log)
{
	const struct file *f;
	struct file_facts facts;

	for (f = log->files; f != NULL; f = f->next) {
		if (f->source != FILE_UNSOUGHT || f->cp.finished)
			continue;
		if (identity_stat(f->cp.path, false, &facts) == -1)
			hide(p, f->cp.path, errno);
		else if (S_ISREG(facts.mode) &&
		    identity_same_inode(&facts.id, &f->cp.id) && !is_seen(p, &facts))
			see(p, f->cp.path, &facts)->other = true;
	}
}

/* ---- in which order ------------------------------------------------------------- */

static int
by_time(const struct seen *a, const struct seen *b)
{
	if (a->facts.mtime_ns != b->facts.mtime_ns)
		return a->facts.mtime_ns < b->facts.mtime_ns ? -1 : 1;
	return strcmp(a->name, b->name);
}

/* The pieces of each order among themselves; the live one behind all. */
static int
within_order(const void *pa, const void *pb)
{
	const struct seen *a = pa, *b = pb;

	if (a->live != b->live)
		return a->live ? 1 : -1;
	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	if (a->order == BY_NUMBER && a->number != b->number)
		return a->number > b->number ? -1 : 1;
	if (a->order == BY_DATE)
		return names_compare_dated(a->name, b->name);
	return by_time(a, b);
}

/* Is the piece with the highest number one that we know, and another is not? */
static bool
begins_known(const struct tail_log *log, const struct seen *seen, size_t count)
{
	size_t i = 0;

	while (i < count && is_known(log, &seen[i].facts))
		i++;
	return i > 0 && i < count;
}

/*
 * The number in the name under which we saw f last; -1: none.  A log that a link
 * leads to is found by its own name.
 */
static long
number_of(const struct tail_log *log, const struct file *f)
{
	const char *slash = strrchr(f->cp.path, '/');
	long number = -1;
	size_t i;

	for (i = 0; i < log->spot_count && number == -1; i++)
		number = names_number(
		    log->spots[i].name, slash == NULL ? f->cp.path : slash + 1);
	return number;
}

bool
pieces_were_rotated(const struct tail_log *log, const struct file *f)
{
	const char *slash = strrchr(f->cp.path, '/');
	const char *name = slash == NULL ? f->cp.path : slash + 1;
	size_t i;

	for (i = 0; i < log->spot_count; i++)
		if (names_rotated(log->spots[i].name, name) &&
		    (names_number(log->spots[i].name, name) != -1 ||
			names_dated(log->spots[i].name, name)))
			return true;
	return false;
}

/* When we saw its files last, had an older one a higher number? */
static bool
did_fall(const struct tail_log *log)
{
	const struct file *f;
	long number, before = -1;

	for (f = log->files; f != NULL; f = f->next) {
		number = number_of(log, f);
		if (number != -1 && number < before)
			return true;
		if (number != -1)
			before = number;
	}
	return false;
}

/*
 * Some tools give each piece the next higher number: then all times say so.  But
 * times are lost in copying; what we know of the log's files tells better.
 */
static void
turn_numbers(const struct tail_log *log, struct seen *seen, size_t count)
{
	struct seen swap;
	size_t i;

	if (count < 3 || begins_known(log, seen, count) || did_fall(log))
		return;
	for (i = 1; i < count; i++)
		if (seen[i].facts.mtime_ns >= seen[i - 1].facts.mtime_ns)
			return;
	for (i = 0; i < count / 2; i++) {
		swap = seen[i];
		seen[i] = seen[count - 1 - i];
		seen[count - 1 - i] = swap;
	}
}

/* Where each order begins and ends among the sorted pieces; the live one is in none. */
static void
find_orders(const struct pieces *p, size_t from[ORDERS], size_t end[ORDERS])
{
	size_t i = 0;
	int order;

	for (order = 0; order < ORDERS; order++) {
		from[order] = i;
		while (i < p->count && !p->seen[i].live && p->seen[i].order == order)
			i++;
		end[order] = i;
	}
}

/* Between pieces that are named in different ways only the times decide. */
static void
merge(const struct tail_log *log, struct pieces *p)
{
	size_t from[ORDERS], end[ORDERS], i;
	struct seen *merged = xcalloc(p->count, sizeof(*merged));
	int order, next;

	find_orders(p, from, end);
	turn_numbers(log, p->seen + from[BY_NUMBER], end[BY_NUMBER] - from[BY_NUMBER]);
	for (i = 0; i < p->count; i++) {
		next = -1;
		for (order = 0; order < ORDERS; order++)
			if (from[order] < end[order] &&
			    (next == -1 ||
				by_time(&p->seen[from[order]], &p->seen[from[next]]) < 0))
				next = order;
		merged[i] = p->seen[next == -1 ? p->count - 1 : from[next]++];
	}
	free(p->seen);
	p->seen = merged;
}

/* ---- all of it --------------------------------------------------------------------- */

static void
gather_once(struct tail_log *log, struct pieces *p_r)
{
	const struct listing *l;
	size_t i, j, stem;

	*p_r = (struct pieces){.fd = -1};
	see_live(p_r, log);
	for (i = 0; i < log->spot_count; i++) {
		l = listing_get(log->tail, log->spots[i].dir);
		hide(p_r, log->spots[i].dir, l->error);
		stem = names_stem_len(log->spots[i].name);
		for (j = 0; j < l->count; j++)
			see_name(p_r, log, &log->spots[i], stem, &l->names[j]);
	}
	see_known(p_r, log);
	if (p_r->count == 0)
		return;
	drop_half_packed(p_r);
	qsort(p_r->seen, p_r->count, sizeof(*p_r->seen), within_order);
	merge(log, p_r);
}

void
pieces_forget(struct pieces *p)
{
	size_t i;

	for (i = 0; i < p->count; i++)
		free(p->seen[i].path);
	free(p->seen);
	if (p->fd != -1)
		(void)close(p->fd);
	*p = (struct pieces){.fd = -1};
}

static bool
is_same(const struct pieces *a, const struct pieces *b)
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

/* Where a directory did not change for a while, the reading that others made of it will do. */
void
pieces_gather(struct tail_log *log, struct pieces *p_r)
{
	struct pieces before;
	bool same = false;
	unsigned i;

	gather_once(log, p_r);
	for (i = 0; i < LOOKS_MAX && !same; i++) {
		before = *p_r;
		gather_once(log, p_r);
		same = is_same(&before, p_r);
		pieces_forget(&before);
	}
}
