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
#include <utlist.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "tail/identity.h"

#define NEWS_SIZE (64 * 1024)
#define REST_GROWTH 16 /* times rest_ms at most */

#define SELF_MASK (IN_MOVE_SELF | IN_DELETE_SELF | IN_ONLYDIR | IN_MASK_ADD)
#define NAME_MASK (IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM)
#define NAMES_MASK (NAME_MASK | SELF_MASK)
#define DIR_MASK (NAMES_MASK | IN_MODIFY | IN_ATTRIB)

/*
 * The path of a directory that is asked for, or of one on the way to it: its
 * parents, where it leads if it is a link, and what is on the way there.  Several
 * paths may lead to one directory.
 */
struct dir {
	char *path;  /* "" is the working directory, as the parent of others */
	bool wanted; /* asked for */
	bool silent; /* as who asked says */
	bool polled;
	bool names;         /* tells of what comes and goes in it */
	unsigned pass;      /* the last in which it was met */
	int wd;             /* -1: none */
	int error;          /* why there is none */
	struct dir *same;   /* another name of the directory that wd watches */
	struct dir *parent; /* NULL: it has none */
	struct dir *target; /* where the link leads that it is; NULL: it is none */
	struct dir *children, *links; /* whose parent, whose target it is */
	struct dir *prev, *next;      /* of the parent's children */
	struct dir *link_prev, *link_next;
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
	unsigned pass;  /* of going along ways, where none is gone twice */
	unsigned links; /* followed on the way to one directory */
};

/* Directories that are asked for, which stay, and their watches of before. */
struct batch {
	struct met {
		struct dir *dir;
		int wd;
	} * met;
	size_t count;
};

/* ---- directories and their watches ----------------------------------------- */

static struct dir *
find_dir(struct watch *w, const char *path)
{
	struct dir *d;

	HASH_FIND_STR(w->dirs, path, d);
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

/* Nothing but slashes, or nothing at all: it is in no other directory. */
static bool
is_root(const char *path)
{
	return path[strspn(path, "/")] == '\0';
}

/* The other way round is child_path: each path is the child of one parent. */
static char *
parent_path(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash == NULL ? 0 : (size_t)(slash - path) + 1;
	char *parent = xstrndup(path, len);

	if (!is_root(parent))
		parent[len - 1] = '\0';
	return parent;
}

static char *
child_path(const struct dir *d, const char *name)
{
	return xasprintf("%s%s%s", d->path, is_root(d->path) ? "" : "/", name);
}

static struct dir *
get_dir(struct watch *w, const char *path)
{
	struct dir *d = find_dir(w, path);
	char *parent;

	if (d != NULL)
		return d;
	d = xcalloc(1, sizeof(*d));
	d->path = xstrdup(path);
	d->wd = -1;
	HASH_ADD_KEYPTR(hh, w->dirs, d->path, strlen(d->path), d);
	if (is_root(path))
		return d;
	parent = parent_path(path);
	d->parent = get_dir(w, parent);
	DL_APPEND(d->parent->children, d);
	free(parent);
	return d;
}

static void
free_dir(struct watch *w, struct dir *d)
{
	detach(w, d);
	HASH_DEL(w->dirs, d);
	free(d->path);
	free(d);
}

static void set_target(struct watch *w, struct dir *d, struct dir *target);

/* What leads nowhere any more would cost wake-ups for nothing. */
static void
leave(struct watch *w, struct dir *d)
{
	struct dir *parent;

	if (d == NULL || d->wanted || d->children != NULL || d->links != NULL)
		return;
	set_target(w, d, NULL);
	parent = d->parent;
	if (parent != NULL)
		DL_DELETE(parent->children, d);
	free_dir(w, d);
	leave(w, parent);
}

static void
set_target(struct watch *w, struct dir *d, struct dir *target)
{
	struct dir *before = d->target;

	if (target == before)
		return;
	if (before != NULL)
		DL_DELETE2(before->links, d, link_prev, link_next);
	if (target != NULL)
		DL_APPEND2(target->links, d, link_prev, link_next);
	d->target = target;
	leave(w, before);
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

static uint32_t
mask_of(const struct dir *d)
{
	return d->wanted ? DIR_MASK : d->names ? NAMES_MASK : SELF_MASK;
}

/* Have the kernel tell of what d's path leads to now. */
static void
observe(struct watch *w, struct dir *d)
{
	int wd = inotify_add_watch(w->fd, d->path[0] == '\0' ? "." : d->path, mask_of(d));

	d->error = wd == -1 ? errno : 0;
	if (wd == d->wd)
		return;
	detach(w, d);
	if (wd != -1)
		attach(w, d, wd);
}

static void
tell_names(struct watch *w, struct dir *d)
{
	if (d == NULL || d->names)
		return;
	d->names = true;
	observe(w, d);
}

/*
 * Where the link at d leads; NULL where it is none.  First its parent is to tell
 * when it leads elsewhere.
 */
static struct dir *
read_link(struct watch *w, struct dir *d)
{
	char *path = w->links < LINKS_MAX ? identity_link_target(d->path) : NULL;
	struct dir *target;

	if (path != NULL && d->parent != NULL && !d->parent->names) {
		free(path);
		tell_names(w, d->parent);
		path = identity_link_target(d->path);
	}
	if (path == NULL)
		return NULL;
	w->links++;
	target = get_dir(w, path);
	free(path);
	return target;
}

/*
 * Watch what is on the way to d, from its beginning on: so what changes while we
 * go along is told.  Its own moving each directory tells; that it was removed it
 * does not while a deleted file in it is held open, nor that a link leads
 * elsewhere: this its parent tells.
 */
static void
arm_way(struct watch *w, struct dir *d)
{
	if (d == NULL || d->pass == w->pass)
		return;
	d->pass = w->pass;
	arm_way(w, d->parent);
	set_target(w, d, read_link(w, d));
	if (d->target != NULL)
		tell_names(w, d->target->parent);
	arm_way(w, d->target);
	observe(w, d);
}

/* Any name on the way to d may be what it needs. */
static void
name_way(struct watch *w, struct dir *d)
{
	if (d == NULL || d->pass == w->pass)
		return;
	d->pass = w->pass;
	name_way(w, d->parent);
	name_way(w, d->target);
	d->names = true;
}

static bool
is_missing(const struct dir *d)
{
	return d->wd == -1 && (d->error == ENOENT || d->error == ENOTDIR);
}

static void
armed(struct watch *w, struct dir *d)
{
	const struct dir *up = d;

	/* That it comes, the nearest that is there tells. */
	while (is_missing(up) && up->parent != NULL)
		up = up->parent;
	if (up->wd == -1) {
		errno = up->error;
		cannot_watch(w, d);
		return;
	}
	d->polled = false;
	if (d->silent || is_silent(up->path))
		poll_dir(w, d);
}

static void
arm(struct watch *w, struct dir *d)
{
	if (w->fd == -1) {
		poll_dir(w, d);
		return;
	}
	tell_names(w, d->parent);
	w->links = 0;
	arm_way(w, d);
	if (is_missing(d)) {
		w->pass++;
		name_way(w, d);
		w->pass++;
		w->links = 0;
		arm_way(w, d);
	}
	armed(w, d);
}

void
watch_dir(struct watch *w, const char *path, bool silent)
{
	struct dir *d = get_dir(w, path);

	if (d->wanted && (d->silent || !silent))
		return;
	d->wanted = true;
	d->silent = silent;
	w->pass++;
	arm(w, d);
}

/* ---- news ---------------------------------------------------------------------- */

static void
meet(struct batch *b, struct dir *d)
{
	b->met = xreallocarray(b->met, b->count + 1, sizeof(*b->met));
	b->met[b->count++] = (struct met){d, d->wd};
}

/* All that is asked for and has d on its way. */
static void
meet_behind(struct watch *w, struct dir *d, struct batch *b)
{
	struct dir *behind;

	if (d == NULL || d->pass == w->pass)
		return;
	d->pass = w->pass;
	if (d->wanted)
		meet(b, d);
	DL_FOREACH(d->children, behind)
	meet_behind(w, behind, b);
	DL_FOREACH2(d->links, behind, link_next)
	meet_behind(w, behind, b);
}

/* Find out where they lead now. */
static void
arm_all(struct watch *w, struct batch *b)
{
	size_t i;

	w->pass++;
	for (i = 0; i < b->count; i++)
		arm(w, b->met[i].dir);
}

static void
look_where_changed(struct watch *w, struct batch *b)
{
	size_t i;

	arm_all(w, b);
	for (i = 0; i < b->count; i++)
		if (b->met[i].dir->wd != b->met[i].wd)
			w->hooks.look(w->arg, b->met[i].dir->path);
	free(b->met);
}

/*
 * The directory behind wd is gone, or no longer where it was.  All its names
 * lose it before any is armed: one that still leads there would be in the way.
 */
static void
lose(struct watch *w, int wd)
{
	struct batch b = {0};
	struct wd *entry = find_wd(w, wd);
	struct dir *d;

	w->pass++;
	for (d = entry == NULL ? NULL : entry->dirs; d != NULL; d = d->same)
		meet_behind(w, d, &b);
	while ((entry = find_wd(w, wd)) != NULL)
		detach(w, entry->dirs);
	look_where_changed(w, &b);
}

/* What is asked for hears of it; what has the name on its way may lead elsewhere. */
static void
tell_name(struct watch *w, const struct inotify_event *ev)
{
	struct wd *entry = find_wd(w, ev->wd);
	struct batch asked = {0}, behind = {0};
	struct dir *d;
	char *path;
	size_t i;

	w->pass++;
	for (d = entry == NULL ? NULL : entry->dirs; d != NULL; d = d->same) {
		if (d->wanted)
			meet(&asked, d);
		if (d->children == NULL || (ev->mask & NAME_MASK) == 0)
			continue;
		path = child_path(d, ev->name);
		meet_behind(w, find_dir(w, path), &behind);
		free(path);
	}
	for (i = 0; i < asked.count; i++)
		w->hooks.news(w->arg, asked.met[i].dir->path, ev->name,
		    ev->mask & IN_MODIFY ? WATCH_WRITTEN : WATCH_NAMED);
	free(asked.met);
	if (behind.count > 0)
		look_where_changed(w, &behind);
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
	struct batch all = {0};
	struct dir *d;

	for (d = w->dirs; d != NULL; d = d->hh.next)
		if (d->wanted)
			meet(&all, d);
	arm_all(w, &all);
	free(all.met);
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
