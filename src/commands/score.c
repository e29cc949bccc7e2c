#include "commands/score.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"
#include "commands/logs.h"
#include "commands/patterns.h"
#include "commands/pieces.h"
#include "extract/account_event.h"
#include "extract/extract.h"
#include "pack/pack.h"

#define TRUTH "truth.jsonl"
#define SLACK_MS 2000 /* an event may be stamped so far outside its act */
#define SHOWN 20      /* false events that are printed */

enum { TYPES = 4 };
static const char *const types[TYPES] = {
    "m.user.registration", "m.user.login", "m.user.logout", "m.user.deactivated"};

/*
 * Acts that were accepted and made the server write an event's very lines,
 * though none is due: a device is "deleted" that never was, a finished
 * registration is sent once more and gets a session.  No reader of the log can
 * know better, so such an event is neither told nor false.
 */
static const struct {
	const char *via;
	unsigned type;
} unknowable[] = {
    {"register[same finished session again]", 1},
    {"register[finished session, other name]", 1},
    {"devices/DELETE[no such device]", 2},
    {"delete_devices[none]", 2},
    {"logout(appservice token, as its user)", 2},
};

/* What an act must tell, or may tell. */
struct due {
	unsigned type;
	int64_t t0, t1;
	const char *user; /* an id; of what may be told a localpart, NULL: anybody */
	json_object *content;
	bool may, met;
};

/* What was told, of one of the types. */
struct told {
	unsigned type;
	const char *user;
	json_object *content;
	int64_t ts;
	bool untimed; /* its line has no time */
	bool taken;   /* some act explains it */
};

struct told_list {
	struct told *told;
	size_t count;
};

/* The truth of a capture; what it borrows is the acts'. */
struct truth {
	json_object *acts;
	struct due *dues;
	size_t count;
	char *server; /* NULL: nobody is named */
};

/* A log of the folder, in pieces. */
struct stem {
	char **paths;
	size_t count;
	const struct pack *pack; /* NULL: none knows its lines */
};

struct capture {
	const struct pack_set *packs;
	const char *name; /* of the folder, below the one that was given */
	struct truth truth;
	struct stem *stems;
	size_t stem_count;
	unsigned *number;
};

struct tally {
	unsigned due[TYPES], told[TYPES], exact[TYPES], untrue[TYPES], excused;
};

/* ---- the truth ------------------------------------------------------------------- */

/* TYPES: it is none of them. */
static unsigned
type_of(const char *name)
{
	unsigned i;

	for (i = 0; name != NULL && i < TYPES; i++)
		if (strcmp(types[i], name) == 0)
			return i;
	return TYPES;
}

static json_object *
member(json_object *o, const char *key)
{
	json_object *value = NULL;

	(void)json_object_object_get_ex(o, key, &value);
	return value;
}

/* NULL where there is none. */
static const char *
text(json_object *o, const char *key)
{
	json_object *value = member(o, key);

	return json_object_is_type(value, json_type_string)
	    ? json_object_get_string(value)
	    : NULL;
}

static bool
truly(json_object *o, const char *key)
{
	return json_object_get_boolean(member(o, key));
}

static void
add_due(struct truth *t, json_object *act, unsigned type, json_object *content, bool may)
{
	struct due *d;

	t->dues = xreallocarray(t->dues, t->count + 1, sizeof(*t->dues));
	d = &t->dues[t->count++];
	*d = (struct due){.type = type,
	    .t0 = json_object_get_int64(member(act, "t0")),
	    .t1 = json_object_get_int64(member(act, "t1")),
	    .user = may ? text(act, "user") : text(content, "user_id"),
	    .content = content,
	    .may = may};
}

static int
add_act(struct truth *t, json_object *act)
{
	json_object *events = member(act, "events");
	const char *via = text(act, "via"), *user, *colon;
	unsigned type;
	size_t i;

	if (!json_object_is_type(events, json_type_array) || via == NULL)
		return -1;
	for (i = 0; i < sizeof(unknowable) / sizeof(unknowable[0]); i++)
		if (truly(act, "ok") && strcmp(via, unknowable[i].via) == 0)
			add_due(t, act, unknowable[i].type, NULL, true);
	for (i = 0; i < json_object_array_length(events); i++) {
		json_object *event = json_object_array_get_idx(events, i);

		type = type_of(text(event, "type"));
		if (type == TYPES)
			continue;
		add_due(t, act, type, member(event, "content"), truly(act, "ambiguous"));
		user = text(member(event, "content"), "user_id");
		colon = user == NULL ? NULL : strchr(user, ':');
		if (t->server == NULL && colon != NULL)
			t->server = xstrdup(colon + 1);
	}
	return 0;
}

static void
truth_clear(struct truth *t)
{
	json_object_put(t->acts);
	free(t->dues);
	free(t->server);
}

static int
truth_load(struct truth *t, const char *path, struct err *e)
{
	FILE *f = fopen(path, "re");
	json_object *act;
	char *line = NULL;
	size_t size = 0;
	unsigned n = 0;
	int ok = 0;

	if (f == NULL)
		return err_errno(e, "%s", path);
	t->acts = json_object_new_array();
	while (ok == 0 && getline(&line, &size, f) != -1) {
		n++;
		if (strcmp(line, "\n") == 0)
			continue;
		act = json_tokener_parse(line);
		if (json_object_array_add(t->acts, act) != 0)
			mem_exhausted();
		if (add_act(t, act) == -1)
			ok = err_set(e, "%s:%u: this is no act", path, n);
	}
	if (ok == 0 && ferror(f))
		ok = err_errno(e, "%s", path);
	free(line);
	(void)fclose(f);
	return ok;
}

/* ---- the logs ------------------------------------------------------------------- */

static bool
is_log(const char *folder, const char *name)
{
	const char *dot = strrchr(name, '.');
	char *path = xasprintf("%s/%s", folder, name);
	struct stat st;
	bool file = stat(path, &st) == 0 && S_ISREG(st.st_mode);

	free(path);
	return file && name[0] != '.' && strcmp(name, TRUTH) != 0 &&
	    (dot == NULL || strcmp(dot, ".md") != 0);
}

static void
add_piece(struct capture *c, char *path)
{
	struct stem *s = NULL;
	size_t i;

	for (i = 0; i < c->stem_count && s == NULL; i++)
		if (slice_eq(pieces_stem(c->stems[i].paths[0]), pieces_stem(path)))
			s = &c->stems[i];
	if (s == NULL) {
		c->stems = xreallocarray(c->stems, c->stem_count + 1, sizeof(*c->stems));
		s = &c->stems[c->stem_count++];
		*s = (struct stem){0};
	}
	s->paths = xreallocarray(s->paths, s->count + 1, sizeof(*s->paths));
	s->paths[s->count++] = path;
}

/* Its newest piece may be empty yet. */
static void
know(const struct capture *c, struct stem *s)
{
	struct err e;
	size_t i;

	for (i = 0; i < s->count && s->pack == NULL; i++)
		s->pack = patterns_find(c->packs, ENVELOPE_AUTO, s->paths[i], &e);
}

static void
find_logs(struct capture *c, const char *folder, struct dirent *const *entries, int count)
{
	size_t s;
	int i;

	for (i = 0; i < count; i++)
		if (is_log(folder, entries[i]->d_name))
			add_piece(c, xasprintf("%s/%s", folder, entries[i]->d_name));
	for (s = 0; s < c->stem_count; s++)
		know(c, &c->stems[s]);
}

static void
forget_logs(struct capture *c)
{
	size_t s, i;

	for (s = 0; s < c->stem_count; s++) {
		for (i = 0; i < c->stems[s].count; i++)
			free(c->stems[s].paths[i]);
		free(c->stems[s].paths);
	}
	free(c->stems);
}

/* ---- telling ------------------------------------------------------------------------ */

static int
take_told(void *arg, const struct logs_told *told, struct err *e)
{
	struct told_list *list = arg;
	const struct account_event *ev;
	struct told *t;

	(void)e;
	for (ev = told->events->first; ev != NULL; ev = ev->next) {
		if (type_of(ev->type) == TYPES)
			continue;
		list->told =
		    xreallocarray(list->told, list->count + 1, sizeof(*list->told));
		t = &list->told[list->count++];
		*t = (struct told){.type = type_of(ev->type),
		    .content = json_tokener_parse(ev->content),
		    .ts = ev->ts,
		    .untimed = ev->ts == told->fallback_ms};
		t->user = text(t->content, "user_id");
	}
	return 0;
}

static void
told_clear(struct told_list *list)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		json_object_put(list->told[i].content);
	free(list->told);
	*list = (struct told_list){0};
}

/* Read one of the logs, or, where only is NULL, all that a pack knows side by side. */
static int
tell(const struct capture *c, const struct stem *only, struct told_list *list,
    struct err *e)
{
	const struct logs_hooks hooks = {.told = take_told};
	struct arena *a = arena_new();
	struct logs *logs = logs_new();
	size_t s, i;
	int ok;

	for (s = 0; s < c->stem_count; s++) {
		const struct stem *stem = &c->stems[s];
		struct logs_settings settings = {
		    .server = c->truth.server, .zone = "UTC"};

		if (stem->pack == NULL || (only != NULL && only != stem))
			continue;
		settings.pack = stem->pack->name;
		for (i = 0; i < stem->count; i++)
			logs_add(logs, stem->paths[i], &settings);
	}
	ok = logs_open(logs, c->packs, e);
	if (ok == 0)
		ok = logs_read(logs, &hooks, list, a, e);
	logs_free(logs);
	arena_free(a);
	return ok;
}

/* ---- comparing --------------------------------------------------------------------- */

static bool
in_time(const struct due *d, const struct told *t)
{
	return t->untimed || (d->t0 - SLACK_MS <= t->ts && t->ts <= d->t1 + SLACK_MS);
}

/* whole: t has all that d has; else it may lack something, but says nothing else. */
static bool
agrees(const struct due *d, const struct told *t, bool whole)
{
	json_object *said;

	json_object_object_foreach(d->content, key, value)
	{
		if (!json_object_object_get_ex(t->content, key, &said)) {
			if (whole)
				return false;
		} else if (!json_object_equal(value, said)) {
			return false;
		}
	}
	return true;
}

/* Give each due what was told of it.  Of an event no act but one can be told. */
static void
match_dues(struct truth *truth, struct told_list *list, bool whole, struct tally *n)
{
	size_t i, j;

	for (i = 0; i < truth->count; i++) {
		struct due *d = &truth->dues[i];

		for (j = 0; !d->may && !d->met && j < list->count; j++) {
			struct told *t = &list->told[j];

			if (t->taken || t->type != d->type || d->user == NULL ||
			    t->user == NULL || strcmp(t->user, d->user) != 0 ||
			    !in_time(d, t) || !agrees(d, t, whole))
				continue;
			d->met = t->taken = true;
			n->told[d->type]++;
			n->exact[d->type] += whole;
		}
	}
}

static bool
is_of(const char *user_id, const char *localpart)
{
	size_t len;

	if (localpart == NULL)
		return true;
	len = strlen(localpart);
	return user_id != NULL && user_id[0] == '@' &&
	    strncmp(user_id + 1, localpart, len) == 0 && user_id[1 + len] == ':';
}

/* What is left may be what nobody could know to be untrue; each act excuses one. */
static void
excuse(struct truth *truth, struct told *t, struct tally *n)
{
	size_t i;

	for (i = 0; i < truth->count && !t->taken; i++) {
		struct due *d = &truth->dues[i];

		if (d->may && !d->met && d->type == t->type && in_time(d, t) &&
		    is_of(t->user, d->user))
			d->met = t->taken = true;
	}
	if (t->taken)
		n->excused++;
	else
		n->untrue[t->type]++;
}

static int
by_time(const void *a, const void *b)
{
	const struct told *x = a, *y = b;

	return x->ts < y->ts ? -1 : x->ts > y->ts;
}

static void
compare(struct truth *truth, struct told_list *list, struct tally *n)
{
	size_t i;

	for (i = 0; i < truth->count; i++) {
		truth->dues[i].met = false;
		n->due[truth->dues[i].type] += !truth->dues[i].may;
	}
	if (list->count > 0)
		qsort(list->told, list->count, sizeof(*list->told), by_time);
	/* Whole ones first, lest an event is spent on an act that it only resembles. */
	match_dues(truth, list, true, n);
	match_dues(truth, list, false, n);
	for (i = 0; i < list->count; i++)
		if (!list->told[i].taken)
			excuse(truth, &list->told[i], n);
}

/* ---- results ------------------------------------------------------------------------- */

static const char *
base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}

static void
print_false(const struct told_list *list)
{
	unsigned shown = 0;
	size_t i;

	for (i = 0; i < list->count && shown < SHOWN; i++)
		if (!list->told[i].taken) {
			printf("# false: %s %s at %" PRId64 "\n",
			    types[list->told[i].type],
			    json_object_to_json_string_ext(
				list->told[i].content, JSON_C_TO_STRING_PLAIN),
			    list->told[i].ts);
			shown++;
		}
}

/* The result of one log, or, where only is NULL, of all.  Failures: 0 or 1. */
static unsigned
print_result(struct capture *c, const struct stem *only, struct told_list *list)
{
	struct tally n = {0};
	unsigned i, untrue = 0;

	compare(&c->truth, list, &n);
	for (i = 0; i < TYPES; i++)
		untrue += n.untrue[i];
	printf("%s %u - %s%s%s: nothing false\n", untrue == 0 ? "ok" : "not ok",
	    ++*c->number, c->name, only == NULL ? "" : "/",
	    only == NULL ? "" : base_name(only->paths[0]));
	for (i = 0; i < TYPES; i++)
		if (n.due[i] > 0 || n.untrue[i] > 0)
			printf("# %s: true %u, told %u, exact %u, false %u\n", types[i],
			    n.due[i], n.told[i], n.exact[i], n.untrue[i]);
	if (n.excused > 0)
		printf("# %u neither true nor false\n", n.excused);
	print_false(list);
	return untrue > 0;
}

static unsigned
print_failure(struct capture *c, const char *why)
{
	printf("not ok %u - %s\n# %s\n", ++*c->number, c->name, why);
	return 1;
}

/* ---- several logs ------------------------------------------------------------------ */

static bool
same_told(const struct told *a, const struct told *b)
{
	return a->type == b->type && json_object_equal(a->content, b->content) &&
	    (a->untimed || b->untimed ||
		(a->ts - SLACK_MS <= b->ts && b->ts <= a->ts + SLACK_MS));
}

/* Most of what the one tells, the other tells as well. */
static bool
are_copies(const struct told_list *a, const struct told_list *b)
{
	size_t i, j, same = 0, least = a->count < b->count ? a->count : b->count;

	for (i = 0; i < a->count; i++)
		for (j = 0; j < b->count; j++)
			if (same_told(&a->told[i], &b->told[j])) {
				same++;
				break;
			}
	return least > 0 && same > least / 2;
}

/*
 * A server may write one log twice, into a file and on standard output.  Nobody
 * follows both; read together they would tell everything twice.
 */
static bool
any_copies(const struct told_list *lists, size_t count)
{
	size_t i, j;

	for (i = 0; i < count; i++)
		for (j = i + 1; j < count; j++)
			if (are_copies(&lists[i], &lists[j]))
				return true;
	return false;
}

static unsigned
score_each(struct capture *c, struct told_list *lists)
{
	unsigned failed = 0;
	size_t s;

	for (s = 0; s < c->stem_count; s++)
		if (c->stems[s].pack != NULL)
			failed += print_result(c, &c->stems[s], &lists[s]);
	return failed;
}

static unsigned
score_together(struct capture *c)
{
	struct told_list list = {0};
	unsigned failed;
	struct err e;

	if (tell(c, NULL, &list, &e) == -1)
		failed = print_failure(c, e.text);
	else
		failed = print_result(c, NULL, &list);
	told_clear(&list);
	return failed;
}

static unsigned
score_logs(struct capture *c)
{
	struct told_list *lists = xcalloc(c->stem_count, sizeof(*lists));
	unsigned failed = 0;
	struct err e;
	size_t s;

	for (s = 0; s < c->stem_count && failed == 0; s++)
		if (c->stems[s].pack != NULL &&
		    tell(c, &c->stems[s], &lists[s], &e) == -1)
			failed = print_failure(c, e.text);
	if (failed == 0)
		failed = any_copies(lists, c->stem_count) ? score_each(c, lists)
							  : score_together(c);
	for (s = 0; s < c->stem_count; s++)
		told_clear(&lists[s]);
	free(lists);
	return failed;
}

static void
print_logs(const struct capture *c)
{
	size_t s;

	for (s = 0; s < c->stem_count; s++)
		printf("# %s: %s\n", base_name(c->stems[s].paths[0]),
		    c->stems[s].pack == NULL ? "no pack knows its lines"
					     : c->stems[s].pack->name);
}

/* ---- folders ------------------------------------------------------------------------- */

struct asked {
	const struct pack_set *packs;
	char *const *names;
	int count;
	unsigned *number;
};

/* 1: yes; 0: these are other packs' logs; -1: no pack knows any of them. */
static int
is_asked_for(const struct capture *c, const struct asked *asked)
{
	bool known = false;
	size_t s;
	int i;

	for (s = 0; s < c->stem_count; s++) {
		if (c->stems[s].pack == NULL)
			continue;
		known = true;
		for (i = 0; i < asked->count; i++)
			if (strcmp(c->stems[s].pack->name, asked->names[i]) == 0)
				return 1;
	}
	return !known ? -1 : asked->count == 0;
}

static unsigned
score_capture(const struct asked *asked, const char *folder, const char *name,
    struct dirent *const *entries, int count)
{
	struct capture c = {.packs = asked->packs, .name = name, .number = asked->number};
	char *path = xasprintf("%s/%s", folder, TRUTH);
	unsigned failed = 0;
	struct err e;
	int wanted;

	find_logs(&c, folder, entries, count);
	wanted = is_asked_for(&c, asked);
	if (wanted == -1 && asked->count == 0)
		failed = print_failure(&c, "no pack knows the lines of any log here");
	else if (wanted == 1 && truth_load(&c.truth, path, &e) == -1)
		failed = print_failure(&c, e.text);
	else if (wanted == 1)
		failed = c.stem_count == 1 ? score_together(&c) : score_logs(&c);
	if (wanted == 1)
		print_logs(&c);
	truth_clear(&c.truth);
	forget_logs(&c);
	free(path);
	return failed;
}

static bool
holds_truth(struct dirent *const *entries, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (strcmp(entries[i]->d_name, TRUTH) == 0)
			return true;
	return false;
}

/* A link to a folder is passed over: it may lead back here. */
static bool
is_folder(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static unsigned
score_folder(const struct asked *asked, const char *folder, const char *name)
{
	struct dirent **entries;
	int i, count = scandir(folder, &entries, NULL, alphasort);
	unsigned failed = 0;

	if (count == -1) {
		printf("not ok %u - %s\n# %s: %s\n", ++*asked->number, name, folder,
		    strerror(errno));
		return 1;
	}
	if (holds_truth(entries, count))
		failed = score_capture(asked, folder, name, entries, count);
	for (i = 0; i < count; i++) {
		char *path = xasprintf("%s/%s", folder, entries[i]->d_name);
		char *below = xasprintf(
		    "%s%s%s", name, name[0] == '\0' ? "" : "/", entries[i]->d_name);

		if (entries[i]->d_name[0] != '.' && is_folder(path))
			failed += score_folder(asked, path, below);
		free(path);
		free(below);
		free(entries[i]);
	}
	free(entries);
	return failed;
}

unsigned
score_captures(const struct pack_set *packs, const char *dir, char *const *names,
    int count, unsigned *number)
{
	const struct asked asked = {packs, names, count, number};
	unsigned before = *number, failed = score_folder(&asked, dir, "");

	if (*number > before)
		return failed;
	printf("not ok %u - %s holds a capture\n", ++*number, dir);
	return failed + 1;
}
