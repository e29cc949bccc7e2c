#include <getopt.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "commands/commands.h"
#include "commands/patterns.h"
#include "commands/when.h"
#include "config/config.h"
#include "route/route.h"
#include "store/store.h"
#include "tail/checkpoint.h"

/* What is there to be shown, all in the arena. */
struct status {
	struct config *config;
	struct route *route;
	bool
	    all_registered; /* every registration could be read: who is missing has none */
	struct arena *arena;
	struct store_log_status *logs;
	size_t log_count;
	struct store_queue_status *queues;
	size_t queue_count;
	struct store_size size;
	int64_t now;
};

/* How far a log is read: its newest file as it is now. */
struct lag {
	bool known; /* the file is the one that was read, and can be looked at */
	uint64_t size, behind;
};

static const char usage_text[] =
    "usage: hearsay status [OPTION...]\n"
    "Show how far each log is read and each queue delivered.\n"
    "\n"
    "  -c, --config FILE      instead of the installed hearsay.conf\n"
    "      --json             one JSON object\n"
    "  -h, --help             this text\n";

/* Rotation puts another file at the path; the distance to that one says nothing. */
static struct lag
lag_of(const struct checkpoint *cp)
{
	struct lag lag = {0};
	struct stat st;

	if (cp == NULL || cp->path == NULL || stat(cp->path, &st) == -1 ||
	    st.st_dev != cp->id.dev || st.st_ino != cp->id.ino)
		return lag;
	lag.known = true;
	lag.size = (uint64_t)st.st_size;
	lag.behind = lag.size > cp->offset ? lag.size - cp->offset : 0;
	return lag;
}

/* The place of a log in the journal is a cursor, and no path. */
static bool
is_cursor(const struct checkpoint *cp)
{
	return cp != NULL && cp->path != NULL && strncmp(cp->path, "s=", 2) == 0;
}

enum registered { REGISTERED, UNREGISTERED, UNREADABLE };

static enum registered
registered(const struct status *s, const char *id)
{
	if (route_find(s->route, id) != NULL)
		return REGISTERED;
	return s->all_registered ? UNREGISTERED : UNREADABLE;
}

static const struct store_queue_status *
queue_of(const struct status *s, const char *id)
{
	size_t i;

	for (i = 0; i < s->queue_count; i++)
		if (strcmp(s->queues[i].appservice, id) == 0)
			return &s->queues[i];
	return NULL;
}

static bool
was_read(const struct status *s, const char *path)
{
	size_t i;

	for (i = 0; i < s->log_count; i++)
		if (strcmp(s->logs[i].log, path) == 0)
			return true;
	return false;
}

/* ---- in words ------------------------------------------------------------------- */

static const char *
time_text(const struct status *s, int64_t ms)
{
	return when_text(ms, s->now, s->arena);
}

static void
print_log(const struct status *s, const struct store_log_status *l)
{
	const struct checkpoint *cp = l->newest;
	struct lag lag = lag_of(cp);

	printf("log %s\n", l->log);
	if (cp == NULL)
		printf("  position      no file yet\n");
	else if (is_cursor(cp))
		printf("  position      behind entry %" PRIu64 " of the journal\n",
		    cp->offset - 1);
	else if (lag.known)
		printf("  position      %" PRIu64 " of %" PRIu64 " bytes, %" PRIu64
		       " behind\n",
		    cp->offset, lag.size, lag.behind);
	else
		printf("  position      byte %" PRIu64
		       " of a file that is no longer at %s\n",
		    cp->offset, cp->path == NULL ? "its place" : cp->path);
	printf("  read          %s\n", time_text(s, l->read_ms));
	printf("  events        %" PRIu64 "\n", l->events);
	if (l->health[0] != '\0')
		printf("  degraded      found %s: %s\n", time_text(s, l->health_ms),
		    l->health);
}

/* It was registered once, and nothing of it is left. */
static bool
is_over(const struct status *s, const struct store_queue_status *q)
{
	return q->queued == 0 && q->dead == 0 &&
	    registered(s, q->appservice) == UNREGISTERED;
}

static void
print_queue(const struct status *s, const struct store_queue_status *q)
{
	static const char *const notes[] = {
	    [REGISTERED] = "",
	    [UNREGISTERED] = "  (no longer registered; what waits is kept until "
			     "`hearsay queue discard')",
	    [UNREADABLE] = "  (not among the registrations that could be read)",
	};

	if (is_over(s, q))
		return;
	printf("appservice %s%s\n", q->appservice, notes[registered(s, q->appservice)]);
	printf("  waiting       %" PRIu64 "\n", q->queued);
	if (q->queued > 0)
		printf("  oldest        %s\n", time_text(s, q->oldest_ms));
	if (q->held_ms != 0)
		printf("  on hold       since %s; `hearsay queue release' ends it\n",
		    time_text(s, q->held_ms));
	if (q->dead > 0)
		printf("  dead letters  %" PRIu64 "; `hearsay queue list' shows them\n",
		    q->dead);
	printf("  accepted      %" PRIu64 "\n", q->accepted);
	if (q->odd > 0)
		printf("  odd answers   %" PRIu64 " (another 2xx than 200)\n", q->odd);
	if (q->discarded > 0)
		printf("  discarded     %" PRIu64 "\n", q->discarded);
	printf("  last success  %s\n", time_text(s, q->last_success_ms));
	if (q->last_failure_ms == 0)
		return;
	printf("  last error    %s: ", time_text(s, q->last_failure_ms));
	if (q->last_status != 0)
		printf("status %d: ", q->last_status);
	printf("%s\n", q->last_error);
	if (q->attempts > 0)
		printf("  next try      %s, tries so far: %u\n",
		    q->next_try_ms == 0 ? "at once" : time_text(s, q->next_try_ms),
		    q->attempts);
}

static void
print_store(const struct status *s)
{
	const double mib = 1024 * 1024;
	char *shown = store_shown(s->config->store);

	printf("store %s\n", shown);
	free(shown);
	printf("  size          %.1f MiB, %.1f of them free\n",
	    (double)s->size.bytes / mib, (double)s->size.free_bytes / mib);
	printf("  kept          %" PRIu64 " accepted transactions", s->size.kept);
	if (s->size.kept > 0)
		printf(", oldest %s", time_text(s, s->size.oldest_ms));
	putchar('\n');
}

static void
print_words(const struct status *s)
{
	size_t i, j;

	for (i = 0; i < s->log_count; i++)
		print_log(s, &s->logs[i]);
	for (i = 0; i < s->config->server_count; i++)
		for (j = 0; j < s->config->servers[i].log_count; j++) {
			const char *path = s->config->servers[i].logs[j].path;

			if (strpbrk(path, "*?[") == NULL && !was_read(s, path))
				printf("log %s\n  read          never\n", path);
		}
	print_store(s);
	for (i = 0; i < s->queue_count; i++)
		print_queue(s, &s->queues[i]);
	for (i = 0; i < route_count(s->route); i++) {
		const struct appservice *a = route_appservice(s->route, i);

		if (a->subscribed && queue_of(s, a->id) == NULL)
			printf(
			    "appservice %s\n  waiting       0, and none before\n", a->id);
	}
}

/* ---- as JSON ---------------------------------------------------------------------- */

static void
put(struct json_object *to, const char *key, struct json_object *value)
{
	if (json_object_object_add(to, key, value) != 0)
		mem_exhausted();
}

static struct json_object *
number(uint64_t n)
{
	return json_object_new_int64(n > INT64_MAX ? INT64_MAX : (int64_t)n);
}

static struct json_object *
text(const char *s)
{
	struct buf shown = {0};
	struct json_object *o;

	utf8_show(&shown, slice_of(s));
	o = json_object_new_string_len(shown.p != NULL ? shown.p : "", (int)shown.len);
	if (o == NULL)
		mem_exhausted();
	buf_free(&shown);
	return o;
}

/* Times that never were are null. */
static struct json_object *
time_value(int64_t ms)
{
	return ms == 0 ? NULL : json_object_new_int64(ms);
}

static struct json_object *
log_value(const struct store_log_status *l)
{
	struct json_object *o = json_object_new_object();
	struct lag lag = lag_of(l->newest);

	put(o, "log", text(l->log));
	put(o, is_cursor(l->newest) ? "cursor" : "file",
	    l->newest == NULL || l->newest->path == NULL ? NULL : text(l->newest->path));
	put(o, "files", number(l->files));
	put(o, "offset", l->newest == NULL ? NULL : number(l->newest->offset));
	put(o, "size", lag.known ? number(lag.size) : NULL);
	put(o, "behind", lag.known ? number(lag.behind) : NULL);
	put(o, "read_ms", time_value(l->read_ms));
	put(o, "events", number(l->events));
	put(o, "degraded", l->health[0] == '\0' ? NULL : text(l->health));
	put(o, "degraded_ms", l->health[0] == '\0' ? NULL : time_value(l->health_ms));
	return o;
}

static struct json_object *
queue_value(const struct status *s, const struct store_queue_status *q)
{
	struct json_object *o = json_object_new_object();
	enum registered known = registered(s, q->appservice);

	put(o, "id", text(q->appservice));
	put(o, "registered",
	    known == UNREADABLE ? NULL : json_object_new_boolean(known == REGISTERED));
	put(o, "waiting", number(q->queued));
	put(o, "oldest_ms", time_value(q->oldest_ms));
	put(o, "accepted", number(q->accepted));
	put(o, "last_success_ms", time_value(q->last_success_ms));
	put(o, "last_failure_ms", time_value(q->last_failure_ms));
	put(o, "last_status",
	    q->last_status == 0 ? NULL : json_object_new_int(q->last_status));
	put(o, "last_error", q->last_error[0] == '\0' ? NULL : text(q->last_error));
	put(o, "attempts", json_object_new_int64(q->attempts));
	put(o, "next_try_ms", time_value(q->next_try_ms));
	put(o, "held_ms", time_value(q->held_ms));
	put(o, "dead_letters", number(q->dead));
	put(o, "odd_answers", number(q->odd));
	put(o, "discarded", number(q->discarded));
	return o;
}

static void
print_json(const struct status *s)
{
	const int flags = JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE;
	struct json_object *o = json_object_new_object();
	struct json_object *logs = json_object_new_array();
	struct json_object *queues = json_object_new_array();
	char *shown = store_shown(s->config->store);
	size_t i;

	for (i = 0; i < s->log_count; i++)
		(void)json_object_array_add(logs, log_value(&s->logs[i]));
	for (i = 0; i < s->queue_count; i++)
		(void)json_object_array_add(queues, queue_value(s, &s->queues[i]));
	put(o, "store", text(shown));
	free(shown);
	put(o, "store_bytes", number(s->size.bytes));
	put(o, "store_free_bytes", number(s->size.free_bytes));
	put(o, "kept_transactions", number(s->size.kept));
	put(o, "now_ms", json_object_new_int64(s->now));
	put(o, "logs", logs);
	put(o, "appservices", queues);
	puts(json_object_to_json_string_ext(o, flags));
	(void)json_object_put(o);
}

/* ---- the command -------------------------------------------------------------------- */

static int
look(struct status *s, struct err *e)
{
	struct store *store =
	    store_open_as(s->config->store, s->config->instance, STORE_READ, e);
	int ok;

	if (store == NULL)
		return -1;
	ok = store_log_statuses(store, s->arena, &s->logs, &s->log_count, e);
	if (ok == 0)
		ok =
		    store_queue_statuses(store, s->arena, &s->queues, &s->queue_count, e);
	if (ok == 0)
		ok = store_size(store, &s->size, e);
	store_close(store);
	return ok;
}

static int
status(const char *path, bool json)
{
	struct status s = {.now = clock_utc_ms()};
	struct err_list errs = {0};
	int result = EXIT_FAILED;
	struct err e;

	s.config = config_load(path, &errs);
	if (s.config == NULL) {
		(void)errors_print(&errs);
		return EXIT_FAILED;
	}
	s.arena = arena_new();
	s.route = route_load(s.config, &errs);
	s.all_registered = errors_print(&errs) == 0;
	if (look(&s, &e) == -1) {
		fprintf(stderr, "%s\n", e.text);
	} else {
		(json ? print_json : print_words)(&s);
		result = EXIT_DONE;
	}
	route_free(s.route);
	arena_free(s.arena);
	config_free(s.config);
	return result;
}

int
cmd_status(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
	    {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0}};
	const char *path = config_default_path();
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			path = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return EXIT_DONE;
		default:
			fputs(usage_text, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	return status(path, json);
}
