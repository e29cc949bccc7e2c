#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tail/state.h"

#define CLOCK_GRAIN_NS 20000000LL /* of the times in a file system */

static void
add_name(struct listing *l, size_t *cap, const struct dirent *entry)
{
	if (l->count == *cap) {
		*cap = *cap == 0 ? 64 : *cap * 2;
		l->names = xreallocarray(l->names, *cap, sizeof(*l->names));
	}
	l->names[l->count++] = (struct listing_name){
	    .name = xstrdup(entry->d_name), .ino = (uint64_t)entry->d_ino};
}

static int64_t
now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Was the directory last changed so long before it was read that no change hides behind the clock's grain? */
static bool
is_fresh(const struct listing *l)
{
	struct file_facts facts;

	return l->error == 0 && identity_stat(l->dir, true, &facts) == 0 &&
	    facts.mtime_ns == l->mtime_ns && facts.mtime_ns < l->read_ns - CLOCK_GRAIN_NS;
}

/*
 * When ten thousand logs of one directory are rotated at once, they share one
 * reading of it.  Whoever misses a file in a listing asks for a new one.
 */
const struct listing *
listing_get(struct tail *t, const char *dir)
{
	struct file_facts facts;
	struct dirent *entry;
	size_t cap = 0;
	DIR *d;

	if (t->listing != NULL && strcmp(t->listing->dir, dir) == 0 &&
	    is_fresh(t->listing))
		return t->listing;
	listing_forget(t);
	t->listing = xcalloc(1, sizeof(*t->listing));
	t->listing->dir = xstrdup(dir);
	t->listing->read_ns = now_ns();
	t->listing->mtime_ns =
	    identity_stat(dir, true, &facts) == 0 ? facts.mtime_ns : INT64_MAX;
	d = opendir(dir);
	if (d == NULL) {
		t->listing->error = errno;
		return t->listing;
	}
	while ((entry = readdir(d)) != NULL)
		add_name(t->listing, &cap, entry);
	(void)closedir(d);
	return t->listing;
}

void
listing_forget(struct tail *t)
{
	size_t i;

	if (t->listing == NULL)
		return;
	for (i = 0; i < t->listing->count; i++)
		free(t->listing->names[i].name);
	free(t->listing->names);
	free(t->listing->dir);
	free(t->listing);
	t->listing = NULL;
}
