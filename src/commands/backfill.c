#include "commands/backfill.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "commands/configured.h"
#include "config/config.h"
#include "extract/account_event.h"
#include "route/route.h"
#include "tail/identity.h"
#include "tail/stream.h"
#include "tail/tail.h"

#define LOG_NAME "backfill" /* of files that run does not know */
#define MARK "\"org.hearsay.backfill\":true"
#define FULL 10000 /* deliveries that wait: live ones must not be held up */
#define ROOM_WAIT_US 500000
#define HEAD_MIN 16 /* bytes; less tells nothing */

/* A file that run follows, and how far it had come when that was asked for last. */
struct followed {
	uint64_t key, offset;
	char *log; /* NULL: run has not seen it yet */
	struct followed *next;
};

struct backfill {
	struct configured at;
	struct route *route;
	struct route_delivery *room; /* for one event's */
	const struct appservice *appservice;
	struct followed *followed;
	uint64_t queued, known, ahead;
	bool told_full;
};

static int
find_appservice(struct backfill *b, const char *id, struct err *e)
{
	struct err_list errs = {0};

	b->route = route_load(b->at.config, &errs);
	b->room = xcalloc(route_count(b->route) + 1, sizeof(*b->room));
	b->appservice = route_find(b->route, id);
	if (b->appservice == NULL && errs.count > 0)
		(void)err_set(e, "%s", errs.texts[0]);
	else if (b->appservice == NULL)
		(void)err_set(e, "there is no registration of \"%s\"", id);
	else if (b->appservice->url == NULL || b->appservice->disabled)
		(void)err_set(
		    e, "nothing is delivered to \"%s\", see `hearsay check'", id);
	err_list_clear(&errs);
	return b->appservice == NULL || b->appservice->url == NULL ||
		b->appservice->disabled
	    ? -1
	    : 0;
}

struct backfill *
backfill_new(const char *path, const char *appservice, struct err *e)
{
	struct backfill *b = xcalloc(1, sizeof(*b));

	if (configured_open(&b->at, path, STORE_EDIT) == -1)
		(void)err_set(e, "nothing is queued");
	else if (find_appservice(b, appservice, e) == 0)
		return b;
	backfill_free(b);
	return NULL;
}

void
backfill_free(struct backfill *b)
{
	struct followed *f, *next;

	if (b == NULL)
		return;
	for (f = b->followed; f != NULL; f = next) {
		next = f->next;
		free(f->log);
		free(f);
	}
	route_free(b->route);
	free(b->room);
	configured_close(&b->at);
	free(b);
}

/* ---- which file it is -------------------------------------------------------- */

/* The first bytes of the file, decompressed where it is compressed. */
static int
read_head(const char *path, char head[FINGERPRINT_MAX], size_t *len_r, struct err *e)
{
	int fd = strcmp(path, "-") == 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC), got = 1;
	struct stream *s;
	size_t n;

	if (strcmp(path, "-") == 0)
		return err_set(
		    e, "standard input is no log with a place to be remembered");
	if (fd == -1)
		return err_errno(e, "%s", path);
	s = stream_open(fd, path, e);
	if (s == NULL)
		return -1;
	for (*len_r = 0; got == 1 && *len_r < FINGERPRINT_MAX; *len_r += got == 1 ? n : 0)
		got = stream_read(s, head + *len_r, FINGERPRINT_MAX - *len_r, &n, e);
	stream_close(s);
	return got == -1 ? -1 : 0;
}

/* Is it a file of the log?  1 and its key; 0; -1 on error. */
static int
known_in(struct backfill *b, const char *log, const char *head, size_t len,
    uint64_t *key_r, struct err *e)
{
	struct checkpoint *cps;
	size_t count, i;
	int found = 0;

	if (store_checkpoints(b->at.store, log, &cps, &count, e) == -1)
		return -1;
	for (i = 0; i < count && found == 0; i++) {
		const struct file_identity *id = &cps[i].id;
		struct guard g = {.len = id->head_len};

		memcpy(g.hash, id->head, HASH_SIZE);
		if (id->head_len < HEAD_MIN || id->head_len > len ||
		    !guard_holds(&g, head, id->head_len))
			continue;
		*key_r = cps[i].file;
		found = 1;
	}
	checkpoints_free(cps, count);
	return found;
}

/* The path or glob of the configuration by which run reads log; NULL: it does not. */
static const char *
configured_as(const struct config *c, const char *log)
{
	const struct config_server *s;
	size_t i;

	for (s = c->servers; s < c->servers + c->server_count; s++)
		for (i = 0; i < s->log_count; i++)
			if (fnmatch(s->logs[i].path, log, 0) == 0)
				return s->logs[i].path;
	return NULL;
}

static void
follow(struct backfill *b, const char *log, uint64_t key)
{
	struct followed *f = xcalloc(1, sizeof(*f));

	f->key = key;
	f->log = log == NULL ? NULL : xstrdup(log);
	f->next = b->followed;
	b->followed = f;
}

/* What appeared after run looked there for the first time it reads from its first line. */
static int
follow_unseen(struct backfill *b, const char *path, uint64_t key, struct err *e)
{
	const char *name = configured_as(b->at.config, path);
	int64_t since = 0;

	if (name != NULL && store_followed(b->at.store, name, &since, e) == -1)
		return -1;
	if (since != 0)
		follow(b, NULL, key);
	return 0;
}

int
backfill_file(struct backfill *b, const char *path, uint64_t *key_r, struct err *e)
{
	struct arena *a = arena_new();
	struct store_log_status *logs;
	char head[FINGERPRINT_MAX];
	size_t len = 0, count, i;
	int found = -1;

	if (read_head(path, head, &len, e) == 0 &&
	    store_log_statuses(b->at.store, a, &logs, &count, e) == 0)
		for (i = 0, found = 0; found == 0 && i < count; i++) {
			found = known_in(b, logs[i].log, head, len, key_r, e);
			if (found == 1 &&
			    configured_as(b->at.config, logs[i].log) != NULL)
				follow(b, logs[i].log, *key_r);
		}
	if (found == 0) {
		*key_r = XXH3_64bits(head, len) | 1; /* 0 is no key */
		found = follow_unseen(b, path, *key_r, e);
	}
	arena_free(a);
	return found == -1 ? -1 : 0;
}

/* ---- queueing ------------------------------------------------------------------ */

/* The delivery of ev to our appservice: 1, or 0 where it does not ask for it. */
static int
delivery_of(struct backfill *b, const struct account_event *ev, const char *server,
    struct store_delivery *to_r)
{
	size_t count = route_event(b->route, server, ev, b->room), i;

	for (i = 0; i < count; i++)
		if (b->room[i].appservice == b->appservice) {
			*to_r = (struct store_delivery){
			    b->appservice->id, b->room[i].key, b->room[i].type};
			return 1;
		}
	return 0;
}

static const char *
marked(const struct account_event *ev, const struct config *c, struct arena *a)
{
	const char *content = c->source ? account_event_with_source(ev, a) : ev->content;
	const char *rest = content + 1 + strspn(content + 1, " ");

	return arena_printf(a, "{" MARK "%s%s", *rest == '}' ? "" : ",", rest);
}

static int
look_how_far(struct backfill *b, struct followed *f, struct err *e)
{
	struct checkpoint *cps;
	size_t count, i;

	if (store_checkpoints(b->at.store, f->log, &cps, &count, e) == -1)
		return -1;
	/* One that is remembered no more was read to its end long ago. */
	f->offset = UINT64_MAX;
	for (i = 0; i < count; i++)
		if (cps[i].file == f->key)
			f->offset = cps[i].offset;
	checkpoints_free(cps, count);
	return 0;
}

/* What run has not come to yet it will tell live: queued here, too, it would be told twice. */
static int
is_ahead(struct backfill *b, const struct account_event *ev, bool *ahead_r, struct err *e)
{
	struct followed *f;

	*ahead_r = false;
	for (f = b->followed; f != NULL; f = f->next) {
		if (f->key != ev->file)
			continue;
		if (f->log != NULL && ev->offset >= f->offset &&
		    look_how_far(b, f, e) == -1)
			return -1;
		*ahead_r = ev->offset >= f->offset;
		break;
	}
	return 0;
}

static int
put_one(struct backfill *b, const struct account_event *ev,
    const struct store_delivery *to, struct arena *a, struct err *e)
{
	struct account_event past = *ev;
	bool ahead, told, new;

	if (is_ahead(b, &past, &ahead, e) == -1)
		return -1;
	b->ahead += ahead;
	if (ahead)
		return 0;
	if (store_was_told(b->at.store, to->appservice, &past, &told, e) == -1)
		return -1;
	/* Under a rule of its own: it is another event to others, and to another. */
	past.rule = arena_printf(a, "backfill:%s:%s", to->appservice, ev->rule);
	past.content = marked(ev, b->at.config, a);
	if (told)
		new = false;
	else if (store_put_event(
		     b->at.store, LOG_NAME, &past, to, 1, clock_utc_ms(), &new, e) == -1)
		return -1;
	b->queued += new;
	b->known += !new;
	return 0;
}

/* What is told live comes first: its queue must not be full of the past. */
static int
wait_for_room(struct backfill *b, struct err *e)
{
	uint64_t most = b->at.config->queue_max / 2, waiting;

	if (most > FULL)
		most = FULL;
	for (;;) {
		if (store_waiting(b->at.store, &waiting, e) == -1)
			return -1;
		if (waiting <= most)
			return 0;
		if (!b->told_full)
			fprintf(stderr,
			    "%" PRIu64
			    " events wait in the queues; the backfill goes on as "
			    "they are delivered\n",
			    waiting);
		b->told_full = true;
		(void)usleep(ROOM_WAIT_US);
	}
}

static const char *
server_of(const struct backfill *b, const char *server, struct err *e)
{
	const struct config *c = b->at.config;

	if (server == NULL && c->server_count == 1)
		return c->servers[0].name;
	if (server == NULL)
		(void)err_set(e, "say with -s which server's log it is");
	return server;
}

int
backfill_put(struct backfill *b, const struct account_events *events, const char *server,
    int64_t since, int64_t until, struct arena *a, struct err *e)
{
	const struct account_event *ev;
	struct store_delivery to;

	server = server_of(b, server, e);
	if (server == NULL)
		return -1;
	if (events->first == NULL)
		return 0;
	if (wait_for_room(b, e) == -1 || store_begin(b->at.store, e) == -1)
		return -1;
	for (ev = events->first; ev != NULL; ev = ev->next) {
		if (ev->ts < since || ev->ts >= until ||
		    delivery_of(b, ev, server, &to) == 0)
			continue;
		if (put_one(b, ev, &to, a, e) == -1)
			goto undo;
	}
	if (store_commit(b->at.store, e) == -1)
		goto undo;
	return 0;

undo:
	store_rollback(b->at.store);
	return err_add(e, "cannot queue for %s", b->appservice->id);
}

void
backfill_counts(
    const struct backfill *b, uint64_t *queued_r, uint64_t *known_r, uint64_t *ahead_r)
{
	*queued_r = b->queued;
	*known_r = b->known;
	*ahead_r = b->ahead;
}
