#include "tail/watch.h"

#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <syslog.h>
#include <unistd.h>

/* Memory that runs out ends the process, as everywhere. */
#define uthash_fatal(msg) mem_exhausted()
#include <uthash.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"

#define NEWS_SIZE (64 * 1024)
#define REST_GROWTH 16 /* times rest_ms at most */
#define ARM_TRIES 16   /* a directory that comes and goes under our eyes */

#define SELF_MASK (IN_MOVE_SELF | IN_DELETE_SELF | IN_ONLYDIR | IN_MASK_ADD)
#define NAME_MASK (IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM)
#define PARENT_MASK (NAME_MASK | SELF_MASK)
#define DIR_MASK (PARENT_MASK | IN_MODIFY | IN_ATTRIB)

struct dir {
	char *path;
	bool wanted; /* asked for; else it only tells of children */
	bool silent; /* as who asked says */
	bool polled;
	int wd;            /* -1: none */
	struct dir *same;  /* another name of the directory that wd watches */
	char *parent;      /* which tells of its coming and going; NULL: none */
	unsigned children; /* that have this one for their parent */
	UT_hash_handle hh;
};

/* The directories of one inotify watch. */
struct wd {
	int wd;
	struct dir *dirs;
	UT_hash_handle hh;
};

struct watch {
	struct watch_hooks hooks;
	void *arg;
	struct watch_timing timing;
	int fd; /* -1: inotify can't be had at all */
	struct event *news, *rest, *poll;
	int64_t rest_ms; /* the next rest */
	struct dir *dirs;
	struct wd *wds;
};

/* ---- directories and their watches ----------------------------------------- */

static struct dir *
find_dir(struct watch *w, const char *path)
{
	struct dir *d;

	HASH_FIND_STR(w->dirs, path, d);
	return d;
}

static struct dir *
add_dir(struct watch *w, const char *path)
{
	struct dir *d = xcalloc(1, sizeof(*d));

	d->path = xstrdup(path);
	d->wd = -1;
	HASH_ADD_KEYPTR(hh, w->dirs, d->path, strlen(d->path), d);
	return d;
}

static struct wd *
find_wd(struct watch *w, int wd)
{
	struct wd *entry;

	HASH_FIND_INT(w->wds, &wd, entry);
	return entry;
}

static void
attach(struct watch *w, struct dir *d, int wd)
{
	struct wd *entry = find_wd(w, wd);

	if (entry == NULL) {
		entry = xcalloc(1, sizeof(*entry));
		entry->wd = wd;
		HASH_ADD_INT(w->wds, wd, entry);
	}
	d->wd = wd;
	d->same = entry->dirs;
	entry->dirs = d;
}

/* Without its last name inotify forgets the watch too. */
static void
detach(struct watch *w, struct dir *d)
{
	struct wd *entry = find_wd(w, d->wd);
	struct dir **p;

	if (d->wd == -1 || entry == NULL)
		return;
	for (p = &entry->dirs; *p != d; p = &(*p)->same)
		;
	*p = d->same;
	d->wd = -1;
	if (entry->dirs != NULL)
		return;
	/* Fails where the directory is gone, and with it the watch: as well. */
	(void)inotify_rm_watch(w->fd, entry->wd);
	HASH_DEL(w->wds, entry);
	free(entry);
}

static void
free_dir(struct watch *w, struct dir *d)
{
	detach(w, d);
	HASH_DEL(w->dirs, d);
	free(d->parent);
	free(d->path);
	free(d);
}

/* A parent that nobody needs any more would cost wake-ups for nothing. */
static void
leave_parent(struct watch *w, const char *path)
{
	struct dir *parent = find_dir(w, path);

	if (parent == NULL)
		return;
	parent->children--;
	if (parent->children == 0 && !parent->wanted)
		free_dir(w, parent);
}

static void
join_parent(struct watch *w, struct dir *d, const char *path, int wd)
{
	struct dir *parent = find_dir(w, path);
	char *before = d->parent;

	if (parent == NULL)
		parent = add_dir(w, path);
	if (parent->wd != wd) {
		detach(w, parent);
		attach(w, parent, wd);
	}
	parent->children++;
	d->parent = xstrdup(path);
	if (before != NULL)
		leave_parent(w, before);
	free(before);
}

/* ---- polling ----------------------------------------------------------------- */

static void
poll_dir(struct watch *w, struct dir *d)
{
	d->polled = true;
	if (!event_pending(w->poll, EV_TIMEOUT, NULL))
		clock_timer(w->poll, w->timing.poll_ms);
}

/* Writes of other hosts, or of what is behind FUSE, never reach inotify here. */
static bool
is_silent(const char *path)
{
	static const uint32_t silent[] = {
	    0x6969,     /* NFS */
	    0xff534d42, /* CIFS */
	    0xfe534d42, /* SMB 2 */
	    0x517b,     /* SMB */
	    0x65735546, /* FUSE */
	    0x01021997, /* 9P */
	    0x00c36400, /* Ceph */
	    0x5346414f, /* AFS */
	    0x6b414653, /* kAFS */
	    0x73757245, /* Coda */
	    0x01161970, /* GFS2 */
	    0x7461636f, /* OCFS2 */
	    0x0bd00bd0, /* Lustre */
	    0x47504653, /* GPFS */
	    0x786f4256, /* VirtualBox shared folders */
	    0xbacbacbc, /* VMware shared folders */
	};
	struct statfs sf;
	size_t i;

	if (statfs(path, &sf) == -1)
		return false;
	for (i = 0; i < sizeof(silent) / sizeof(silent[0]); i++)
		if ((uint32_t)sf.f_type == silent[i])
			return true;
	return false;
}

static void
on_poll(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;
	struct dir *d, *next;
	bool any = false;

	(void)fd;
	(void)what;
	HASH_ITER(hh, w->dirs, d, next)
	{
		if (!d->polled)
			continue;
		any = true;
		w->hooks.look(w->arg, d->path);
	}
	if (any)
		clock_timer(w->poll, w->timing.poll_ms);
}

/* ---- taking up a watch --------------------------------------------------------- */

static void
cannot_watch(struct watch *w, struct dir *d)
{
	bool said = d->polled;

	poll_dir(w, d);
	if (said)
		return;
	if (errno == ENOSPC)
		say(LOG_WARNING,
		    "dir=%s no inotify watches are left, it is looked at every %lld ms "
		    "instead; raise fs.inotify.max_user_watches (sysctl)",
		    d->path, (long long)w->timing.poll_ms);
	else
		say(LOG_WARNING,
		    "dir=%s cannot be watched, it is looked at every %lld ms: %s",
		    d->path, (long long)w->timing.poll_ms, strerror(errno));
}

/* The path of the directory that holds path, in place; false where there is none. */
static bool
go_up(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash == NULL && strcmp(path, ".") == 0)
		return false;
	if (slash == path && path[1] == '\0')
		return false;
	if (slash == NULL)
		(void)strcpy(path, ".");
	else
		slash[slash == path ? 1 : 0] = '\0';
	return true;
}

/*
 * Have the nearest parent that is there tell of d's coming and going.  Its own
 * watch would not: a deleted file that we hold open keeps its directory, too.
 * 1: another parent than before; 0: the same, or none.
 */
static int
watch_parent(struct watch *w, struct dir *d)
{
	char *path = xstrdup(d->path);
	int wd = -1, changed = 0;

	while (wd == -1 && go_up(path)) {
		wd = inotify_add_watch(w->fd, path, PARENT_MASK);
		if (wd == -1 && errno != ENOENT && errno != ENOTDIR)
			break;
	}
	if (wd != -1) {
		changed = d->parent == NULL || strcmp(d->parent, path) != 0;
		join_parent(w, d, path, wd);
	}
	free(path);
	return changed;
}

static void
armed(struct watch *w, struct dir *d, int wd)
{
	if (wd != d->wd) {
		detach(w, d);
		attach(w, d, wd);
	}
	d->polled = false;
	if (d->silent || is_silent(d->path))
		poll_dir(w, d);
}

/*
 * A directory on the way may be made after we missed it and before its parent
 * is watched, and nobody would tell: so look again until the parent stays.
 */
static void
arm(struct watch *w, struct dir *d)
{
	int tries, wd, error = 0, changed;

	if (w->fd == -1) {
		poll_dir(w, d);
		return;
	}
	for (tries = 0; tries < ARM_TRIES; tries++) {
		changed = watch_parent(w, d);
		wd = inotify_add_watch(w->fd, d->path, DIR_MASK);
		error = errno;
		if (wd != -1) {
			armed(w, d, wd);
			return;
		}
		detach(w, d);
		if (error != ENOENT && error != ENOTDIR)
			break;
		if (!changed && d->parent != NULL)
			return;
	}
	errno = error;
	cannot_watch(w, d);
}

void
watch_dir(struct watch *w, const char *path, bool silent)
{
	struct dir *d = find_dir(w, path);

	if (d == NULL)
		d = add_dir(w, path);
	if (d->wanted && (d->silent || !silent))
		return;
	d->wanted = true;
	d->silent = silent;
	arm(w, d);
}

/* ---- news ---------------------------------------------------------------------- */

/* Does path lead through name in parent? */
static bool
leads_through(const char *path, const char *parent, const char *name)
{
	size_t len = strlen(name);

	if (strcmp(parent, ".") == 0 && path[0] != '/' && strncmp(path, "./", 2) != 0)
		parent = "";
	else if (strncmp(path, parent, strlen(parent)) != 0)
		return false;
	path += strlen(parent);
	if (*path == '/')
		path++;
	return strncmp(path, name, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* Something happened to name in parent (any name, where it is NULL): is it a directory of ours? */
static void
look_for_children(struct watch *w, const char *parent, const char *name)
{
	struct dir **children = NULL, *d;
	size_t count = 0, i;
	int before;

	/* Arming adds and frees parents; what has one is wanted, and stays. */
	for (d = w->dirs; d != NULL; d = d->hh.next) {
		if (d->parent == NULL || strcmp(d->parent, parent) != 0 ||
		    (name != NULL && !leads_through(d->path, parent, name)))
			continue;
		children = xreallocarray(children, count + 1, sizeof(struct dir *));
		children[count++] = d;
	}
	for (i = 0; i < count; i++) {
		before = children[i]->wd;
		arm(w, children[i]);
		if (children[i]->wd != before)
			w->hooks.look(w->arg, children[i]->path);
	}
	free(children);
}

/*
 * The directory behind wd is gone, or no longer where it was.  All its names
 * lose it before any is armed: one that still leads there would be in the way.
 */
static void
lose(struct watch *w, int wd)
{
	struct wd *entry;
	struct dir *d;
	char **paths = NULL;
	size_t count = 0, i;

	while ((entry = find_wd(w, wd)) != NULL) {
		d = entry->dirs;
		paths = xreallocarray(paths, count + 1, sizeof(*paths));
		paths[count++] = xstrdup(d->path);
		detach(w, d);
	}
	for (i = 0; i < count; i++) {
		d = find_dir(w, paths[i]);
		if (d != NULL && d->wanted) {
			arm(w, d);
			w->hooks.look(w->arg, d->path);
		}
		look_for_children(w, paths[i], NULL);
		free(paths[i]);
	}
	free(paths);
}

static void
tell_name(struct watch *w, const struct inotify_event *ev)
{
	struct wd *entry = find_wd(w, ev->wd);
	struct dir *d, *same;
	char *parent;

	for (d = entry == NULL ? NULL : entry->dirs; d != NULL; d = same) {
		same = d->same;
		if (d->wanted)
			w->hooks.news(w->arg, d->path, ev->name,
			    ev->mask & IN_MODIFY ? WATCH_WRITTEN : WATCH_NAMED);
		if (d->children == 0 || (ev->mask & NAME_MASK) == 0)
			continue;
		parent = xstrdup(d->path);
		look_for_children(w, parent, ev->name);
		free(parent);
		if (find_wd(w, ev->wd) != entry)
			return; /* it told of children only, and is not needed any more */
	}
}

static void
tell(struct watch *w, const struct inotify_event *ev)
{
	if (ev->mask & IN_Q_OVERFLOW) {
		say(LOG_NOTICE,
		    "the kernel's queue of file news overflowed, every log "
		    "is looked at");
		watch_check(w);
		w->hooks.look(w->arg, NULL);
	} else if (ev->mask & (IN_IGNORED | IN_MOVE_SELF | IN_DELETE_SELF)) {
		lose(w, ev->wd);
	} else if (ev->len > 0) {
		tell_name(w, ev);
	}
}

/* One reading: true where there was anything. */
static bool
read_news(struct watch *w)
{
	_Alignas(struct inotify_event) char p[NEWS_SIZE];
	ssize_t n = read(w->fd, p, sizeof(p)), at;

	if (n <= 0)
		return false;
	for (at = 0; at < n;) {
		const struct inotify_event *ev = (const void *)(p + at);

		at += (ssize_t)(sizeof(*ev) + ev->len);
		tell(w, ev);
	}
	return true;
}

void
watch_read(struct watch *w)
{
	while (w->fd != -1 && read_news(w))
		;
}

void
watch_check(struct watch *w)
{
	struct dir **wanted = xcalloc(HASH_COUNT(w->dirs), sizeof(struct dir *)), *d;
	size_t count = 0, i;

	/* Arming adds and frees parents; what is wanted stays. */
	for (d = w->dirs; d != NULL; d = d->hh.next)
		if (d->wanted)
			wanted[count++] = d;
	for (i = 0; i < count; i++)
		arm(w, wanted[i]);
	free(wanted);
}

/*
 * After a reading we rest, and longer while news keep coming, so that ten
 * thousand small writes a second are few reads; the kernel merges them meanwhile.
 */
static void
on_news(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	(void)fd;
	(void)what;
	if (!read_news(w)) {
		w->rest_ms = w->timing.rest_ms;
		clock_listen(w->news);
		return;
	}
	if (w->rest_ms < REST_GROWTH * w->timing.rest_ms)
		w->rest_ms *= 2;
	clock_timer(w->rest, w->rest_ms);
}

static int
begin_inotify(struct watch *w, struct event_base *base)
{
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->fd == -1) {
		say(LOG_WARNING,
		    "inotify can't be had, all logs are looked at every %lld ms instead; "
		    "raise fs.inotify.max_user_instances (sysctl): %s",
		    (long long)w->timing.poll_ms, strerror(errno));
		return 0;
	}
	w->news = event_new(base, w->fd, EV_READ, on_news, w);
	return w->news == NULL ? -1 : event_add(w->news, NULL);
}

struct watch *
watch_new(struct event_base *base, const struct watch_hooks *hooks, void *arg,
    const struct watch_timing *timing, struct err *e)
{
	struct watch *w = xcalloc(1, sizeof(*w));

	w->hooks = *hooks;
	w->arg = arg;
	w->timing = *timing;
	w->rest_ms = timing->rest_ms;
	w->fd = -1;
	w->rest = evtimer_new(base, on_news, w);
	w->poll = evtimer_new(base, on_poll, w);
	if (w->rest == NULL || w->poll == NULL || begin_inotify(w, base) == -1) {
		(void)err_set(
		    e, "cannot watch for changes of files: the event loop refuses");
		goto free;
	}
	return w;

free:
	watch_free(w);
	return NULL;
}

static void
free_event(struct event *ev)
{
	if (ev != NULL)
		event_free(ev);
}

void
watch_free(struct watch *w)
{
	if (w == NULL)
		return;
	while (w->dirs != NULL)
		free_dir(w, w->dirs);
	free_event(w->news);
	free_event(w->rest);
	free_event(w->poll);
	if (w->fd != -1)
		(void)close(w->fd);
	free(w);
}
