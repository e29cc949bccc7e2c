/*
 * watch - tell when something happens in a directory.
 *
 * One inotify watch a directory, and one for each on the way to it, links
 * followed: so it is known when its path leads elsewhere, whichever part of it was
 * moved, removed, made, or is a link that was set anew.  Names that come and go
 * beside the way wake nobody, but next to the directory, to a link, and where
 * something is missing.  Where inotify can't be had (no watches left, no instance)
 * or is silent (network file systems, FUSE, what its user says), a timer asks for
 * a look instead.
 */
#ifndef HEARSAY_TAIL_WATCH_H
#define HEARSAY_TAIL_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct event_base;
struct watch;

enum watch_news {
	WATCH_WRITTEN, /* the file grew or was truncated */
	WATCH_NAMED    /* a name came, went, or changed its owner or mode */
};

struct watch_hooks {
	/* Something happened to name in dir, as it was given to watch_dir. */
	void (*news)(void *arg, const char *dir, const char *name, enum watch_news news);
	/* Anything may have happened in dir; everywhere, where dir is NULL. */
	void (*look)(void *arg, const char *dir);
};

struct watch_timing {
	int64_t rest_ms; /* between two readings of news; grows while they keep coming */
	int64_t poll_ms; /* between two looks where there is no inotify */
};

/* hooks are copied; borrows base.  NULL on error. */
struct watch *watch_new(struct event_base *base, const struct watch_hooks *hooks,
    void *arg, const struct watch_timing *timing, struct err *e);
void watch_free(struct watch *w);

/*
 * Watch dir from now on; a second time does nothing.  silent: it is known that
 * nobody tells of what is written there, so that it is polled.
 */
void watch_dir(struct watch *w, const char *dir, bool silent);

/* Tell at once what is known already. */
void watch_read(struct watch *w);
/* Find directories whose path leads elsewhere now, without any news of it. */
void watch_check(struct watch *w);

#endif
