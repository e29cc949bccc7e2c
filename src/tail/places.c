#include <stdlib.h>
#include <string.h>

#include "tail/identity.h"
#include "tail/state.h"
#include "tail/watch.h"

static struct spot
spot_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		return (struct spot){xstrdup("."), xstrdup(path)};
	return (struct spot){
	    slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path)),
	    xstrdup(slash + 1)};
}

/* How watch tells of dir and name, as one key. */
static char *
path_of(const struct spot *s)
{
	return xasprintf("%s/%s", s->dir, s->name);
}

const struct place *
places_find(const struct tail *t, const char *path)
{
	struct place *p;

	HASH_FIND_STR(t->places, path, p);
	return p;
}

static void
join(struct tail_log *log, const struct spot *s)
{
	struct tail *t = log->tail;
	char *path = path_of(s);
	struct place *p;
	size_t i;

	HASH_FIND_STR(t->places, path, p);
	if (p == NULL) {
		p = xcalloc(1, sizeof(*p));
		p->path = path;
		HASH_ADD_KEYPTR(hh, t->places, p->path, strlen(p->path), p);
	} else {
		free(path);
	}
	for (i = 0; i < p->count; i++)
		if (p->logs[i] == log)
			return;
	p->logs = xreallocarray(p->logs, p->count + 1, sizeof(struct tail_log *));
	p->logs[p->count++] = log;
}

static void
leave(struct tail_log *log, const struct spot *s)
{
	struct tail *t = log->tail;
	char *path = path_of(s);
	struct place *p;
	size_t i;

	HASH_FIND_STR(t->places, path, p);
	free(path);
	if (p == NULL)
		return;
	for (i = 0; i < p->count; i++)
		if (p->logs[i] == log)
			p->logs[i--] = p->logs[--p->count];
	if (p->count > 0)
		return;
	HASH_DEL(t->places, p);
	free(p->logs);
	free(p->path);
	free(p);
}

void
places_leave(struct tail_log *log)
{
	size_t i;

	for (i = 0; i < log->spot_count; i++) {
		leave(log, &log->spots[i]);
		free(log->spots[i].dir);
		free(log->spots[i].name);
	}
	free(log->spots);
	log->spots = NULL;
	log->spot_count = 0;
}

/* Is the log where it was, seen from its spots? */
static bool
unchanged(const struct tail_log *log, const struct spot *spots, size_t count)
{
	size_t i;

	if (count != log->spot_count)
		return false;
	for (i = 0; i < count; i++)
		if (strcmp(spots[i].dir, log->spots[i].dir) != 0 ||
		    strcmp(spots[i].name, log->spots[i].name) != 0)
			return false;
	return true;
}

/* The directories are watched before their links are read: what changes behind is told. */
void
places_resolve(struct tail_log *log)
{
	struct spot *spots = NULL;
	char *path = xstrdup(log->path), *target;
	size_t count = 0, i;

	while (path != NULL && count < LINKS_MAX) {
		spots = xreallocarray(spots, count + 1, sizeof(*spots));
		spots[count] = spot_of(path);
		watch_dir(log->tail->watch, spots[count].dir,
		    log->how.watch == TAIL_WATCH_POLL);
		target = identity_link_target(path);
		count++;
		free(path);
		path = target;
	}
	free(path);
	if (unchanged(log, spots, count)) {
		for (i = 0; i < count; i++) {
			free(spots[i].dir);
			free(spots[i].name);
		}
		free(spots);
		return;
	}
	places_leave(log);
	log->spots = spots;
	log->spot_count = count;
	for (i = 0; i < count; i++)
		join(log, &spots[i]);
}
