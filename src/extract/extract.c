#include "extract/extract.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "base/mem.h"
#include "decode/record.h"
#include "extract/account_event.h"
#include "extract/content.h"
#include "extract/told.h"
#include "match/match.h"
#include "pack/pack.h"

/* Running out of memory ends the process, in tables as elsewhere. */
#undef uthash_fatal
#define uthash_fatal(msg) mem_exhausted()

/* Before any time, with room to subtract from it. */
#define CLOCK_UNSET (INT64_MIN / 2)

/* What one rule remembered of one line. */
struct memory {
	const struct pack_rule *rule;
	struct capture *captures; /* deep copies, in block */
	size_t capture_count;
	char *block;
	struct context *context;
	struct extract_log *log;
	uint64_t seq, file, offset; /* the first line that is needed to make it anew */
	uint64_t line_seq;          /* the line that made it */
	int64_t ts;
	struct memory *context_prev, *context_next;
	struct memory *log_prev, *log_next;
};

/* Memories under one name: a request of one log, or one key of the server. */
struct context {
	struct slice key;
	struct memory *memories;
	UT_hash_handle hh;
};

struct extract {
	struct extract_limits limits;
	struct context *contexts;
	struct extract_log *logs;
	struct told *told;
	unsigned log_count;
};

struct extract_log {
	struct extract *extract;
	struct extract_log *next;
	unsigned number;
	const struct pack *pack;
	/* Oldest first; those that all logs of the server share wait apart, as they
	   are forgotten by another clock. */
	struct memory *own, *shared;
	size_t memory_count;
	uint64_t seq;  /* of the line taken last */
	int64_t clock; /* its log has come to this time */
	struct extract_stats stats;
};

/* One rule being followed on one line. */
struct following {
	struct extract_log *log;
	const struct extract_line *line;
	const struct match *match;
	struct memory **with; /* the memories taken up, in the order of rule->with */
	size_t with_count;
	struct arena *arena;
	struct account_events *out;
	extract_trace *trace;
	void *trace_arg;
	uint32_t told; /* events of this rule on this line, known ones as well */
	bool followed; /* all that the rule asks for was at hand */
	bool done;     /* and it follows only once */
};

struct extract *
extract_new(const struct extract_limits *limits)
{
	struct extract *x = xcalloc(1, sizeof(*x));

	x->limits = *limits;
	x->told = told_new(limits->timeout_ms, limits->max);
	return x;
}

struct extract_log *
extract_log_new(struct extract *x, const struct pack *pack)
{
	struct extract_log *log = xcalloc(1, sizeof(*log));

	log->extract = x;
	log->number = ++x->log_count;
	log->clock = CLOCK_UNSET;
	log->pack = pack;
	LL_PREPEND(x->logs, log);
	return log;
}

/* ---- contexts and memories ------------------------------------------------- */

/*
 * The name of a context, in the arena: of a request, which is one log's own, or
 * of a key's value, which is the server's.  A log's number is never 0, so that
 * no request can have the name of a key.
 */
static struct slice
context_name(struct arena *a, unsigned log, const char *key, struct slice value)
{
	size_t head = sizeof(log) + strlen(key) + 1;
	char *name = arena_alloc(a, head + value.len);

	memcpy(name, &log, sizeof(log));
	memcpy(name + sizeof(log), key, strlen(key) + 1);
	if (value.len > 0)
		memcpy(name + head, value.p, value.len);
	return (struct slice){name, head + value.len};
}

static struct context *
context_find(struct extract *x, struct slice name)
{
	struct context *c;

	HASH_FIND(hh, x->contexts, name.p, name.len, c);
	return c;
}

static struct context *
context_get(struct extract *x, struct slice name)
{
	struct context *c = context_find(x, name);
	char *key;

	if (c != NULL)
		return c;
	c = xcalloc(1, sizeof(*c) + name.len);
	key = (char *)(c + 1);
	memcpy(key, name.p, name.len);
	c->key = (struct slice){key, name.len};
	HASH_ADD_KEYPTR(hh, x->contexts, c->key.p, c->key.len, c);
	return c;
}

static void
memory_drop(struct memory *m)
{
	struct context *c = m->context;

	DL_DELETE2(c->memories, m, context_prev, context_next);
	if (m->rule->key == NULL)
		DL_DELETE2(m->log->own, m, log_prev, log_next);
	else
		DL_DELETE2(m->log->shared, m, log_prev, log_next);
	m->log->memory_count--;
	if (c->memories == NULL) {
		HASH_DEL(m->log->extract->contexts, c);
		free(c);
	}
	free(m->block);
	free(m);
}

static unsigned
context_drop(struct context *c)
{
	struct memory *m, *next;
	unsigned count = 0;

	if (c == NULL)
		return 0;
	/* The context goes with its last memory. */
	for (m = c->memories; m != NULL; m = next, count++) {
		next = m->context_next;
		memory_drop(m);
	}
	return count;
}

/*
 * What the logs of a server share is forgotten by the slowest of their clocks:
 * one may be read hours behind another.
 */
static int64_t
slowest_clock(const struct extract *x)
{
	const struct extract_log *log;
	int64_t slowest = INT64_MAX;

	LL_FOREACH(x->logs, log)
	if (log->clock < slowest)
		slowest = log->clock;
	return slowest;
}

static void
forget_before(struct extract_log *log, struct memory **list, int64_t oldest)
{
	while (*list != NULL && (*list)->ts < oldest) {
		memory_drop(*list);
		log->stats.timed_out++;
	}
}

static void
log_forget(struct extract_log *log)
{
	while (log->own != NULL)
		memory_drop(log->own);
	while (log->shared != NULL)
		memory_drop(log->shared);
}

static void
forget_old(struct extract_log *log)
{
	const struct extract_limits *limits = &log->extract->limits;

	forget_before(log, &log->own, log->clock - limits->timeout_ms);
	if (log->shared != NULL)
		forget_before(
		    log, &log->shared, slowest_clock(log->extract) - limits->timeout_ms);
	while (log->memory_count > limits->max) {
		memory_drop(log->shared == NULL ||
			    (log->own != NULL && log->own->seq < log->shared->seq)
			? log->own
			: log->shared);
		log->stats.crowded++;
	}
}

static size_t
capture_size(const struct capture *c)
{
	size_t size = sizeof(*c) + c->value.count * sizeof(struct slice), i;

	for (i = 0; i < c->value.count; i++)
		size += c->value.items[i].len;
	return size;
}

/* Copy from to, with items and bytes at *slices and *bytes, which move on. */
static void
capture_copy(
    struct capture *to, const struct capture *from, struct slice **slices, char **bytes)
{
	size_t i;

	*to = *from;
	to->value.items = *slices;
	*slices += from->value.count;
	for (i = 0; i < from->value.count; i++) {
		struct slice item = from->value.items[i];

		if (item.len > 0)
			memcpy(*bytes, item.p, item.len);
		to->value.items[i] = (struct slice){*bytes, item.len};
		*bytes += item.len;
	}
}

/* Keep count captures in one block: structs, then slices, then bytes. */
static void
memory_keep(struct memory *m, const struct capture *captures, size_t count)
{
	size_t size = 1, slice_count = 0, i;
	struct slice *slices;
	char *bytes;

	for (i = 0; i < count; i++) {
		size += capture_size(&captures[i]);
		slice_count += captures[i].value.count;
	}
	m->block = xmalloc(size);
	m->captures = (struct capture *)(void *)m->block;
	m->capture_count = count;
	slices = (struct slice *)(void *)(m->captures + count);
	bytes = (char *)(slices + slice_count);
	for (i = 0; i < count; i++)
		capture_copy(&m->captures[i], &captures[i], &slices, &bytes);
}

/* ---- what a rule sees ------------------------------------------------------ */

static const struct capture *
find_capture(const struct capture *captures, size_t count, const char *name)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (strcmp(captures[i].name, name) == 0)
			return &captures[i];
	return NULL;
}

/* The capture called name: the line's own, else of what was taken up, in order. */
static const struct capture *
following_capture(const struct following *f, const char *name)
{
	const struct capture *c =
	    find_capture(f->match->captures, f->match->capture_count, name);
	size_t i;

	for (i = 0; c == NULL && i < f->with_count; i++)
		c = find_capture(f->with[i]->captures, f->with[i]->capture_count, name);
	return c;
}

static void
trace(const struct following *f, enum extract_outcome outcome, const char *name,
    unsigned count)
{
	if (f->trace != NULL)
		f->trace(f->trace_arg, f->match, outcome, name, count);
}

static struct slice
line_context(const struct following *f)
{
	return f->line->record->part[PART_CONTEXT];
}

/*
 * The name of the context in which a memory of a rule with that key (NULL: the
 * request's own) would stand for this line.  False where the line has none.
 */
static bool
home_of(const struct following *f, const char *key, struct slice *name_r)
{
	const struct capture *c;

	if (key == NULL) {
		if (line_context(f).len == 0)
			return false;
		*name_r = context_name(f->arena, f->log->number, "", line_context(f));
		return true;
	}
	c = following_capture(f, key);
	if (c == NULL || c->value.list || c->value.count == 0)
		return false;
	*name_r = context_name(f->arena, 0, key, c->value.items[0]);
	return true;
}

/* The first memory of the rule called name that is at hand for this line. */
static struct memory *
recall(const struct following *f, const char *name, bool *home_r)
{
	const struct pack_rule *rule = pack_rule_find(f->log->pack, name);
	struct context *c;
	struct memory *m;
	struct slice home;

	*home_r = home_of(f, rule->key, &home);
	if (!*home_r)
		return NULL;
	c = context_find(f->log->extract, home);
	if (c == NULL)
		return NULL;
	DL_FOREACH2(c->memories, m, context_next)
	if (m->rule == rule)
		return m;
	return NULL;
}

/* ---- what follows a match ---------------------------------------------------- */

/* Add to the count captures in all what w has beyond them; their number then. */
static size_t
add_captures(const struct extract_log *log, const struct memory *w, struct capture *all,
    size_t count)
{
	size_t i;

	for (i = 0; i < w->capture_count; i++) {
		if (find_capture(all, count, w->captures[i].name) != NULL)
			continue;
		all[count] = w->captures[i];
		/* What stands behind an earlier line was seen before this one was taken. */
		if (w->log != log || w->line_seq != log->seq)
			all[count].open = false;
		count++;
	}
	return count;
}

static void
remember(struct following *f)
{
	struct extract_log *log = f->log;
	size_t room = f->match->capture_count, count = 0, i;
	struct capture *all;
	struct memory *m;
	struct slice home;

	if (!home_of(f, f->match->rule->key, &home)) {
		trace(f, OUTCOME_NO_CONTEXT, NULL, 0);
		return;
	}
	for (i = 0; i < f->with_count; i++)
		room += f->with[i]->capture_count;
	all = arena_alloc(f->arena, room * sizeof(*all));
	for (i = 0; i < f->match->capture_count; i++)
		all[count++] = f->match->captures[i];
	m = xcalloc(1, sizeof(*m));
	m->seq = m->line_seq = log->seq;
	m->file = f->line->file;
	m->offset = f->line->offset;
	for (i = 0; i < f->with_count; i++) {
		const struct memory *w = f->with[i];

		count = add_captures(log, w, all, count);
		if (w->log == log && w->seq < m->seq) {
			m->seq = w->seq;
			m->file = w->file;
			m->offset = w->offset;
		}
	}
	memory_keep(m, all, count);
	m->rule = f->match->rule;
	m->log = log;
	m->ts = f->line->record->ts;
	m->context = context_get(log->extract, home);
	DL_APPEND2(m->context->memories, m, context_prev, context_next);
	if (m->rule->key == NULL)
		DL_APPEND2(log->own, m, log_prev, log_next);
	else
		DL_APPEND2(log->shared, m, log_prev, log_next);
	log->memory_count++;
	trace(f, OUTCOME_REMEMBERED, NULL, 0);
}

static const struct capture *
content_lookup(void *arg, const char *name)
{
	return following_capture(arg, name);
}

/* Whether it is told: not where it has no user, or was told before. */
static bool
tell(struct following *f, const struct slice *item)
{
	const struct pack_emit *emit = f->match->rule->emit;
	struct account_event *ev;
	const char *missing;

	ev = arena_alloc(f->arena, sizeof(*ev));
	*ev = (struct account_event){
	    .file = f->line->file,
	    .offset = f->line->offset,
	    .rule =
		arena_printf(f->arena, "%s/%s", f->log->pack->name, f->match->rule->name),
	    .ordinal = f->told,
	    .type = emit->type,
	    .ts = f->line->record->ts,
	};
	missing = content_make(emit, item, content_lookup, f, f->arena, ev);
	if (missing != NULL) {
		trace(f, OUTCOME_NO_VALUE, missing, 0);
		return false;
	}
	f->told++;
	if (emit->unless_told && told_before(f->log->extract->told, ev)) {
		trace(f, OUTCOME_KNOWN, NULL, 0);
		return false;
	}
	account_events_add(f->out, ev);
	return true;
}

static void
emit(struct following *f)
{
	const struct pack_emit *e = f->match->rule->emit;
	unsigned told = 0;
	const struct capture *list;
	size_t i;

	if (e->each == NULL) {
		told += tell(f, NULL);
	} else {
		list = following_capture(f, e->each);
		if (list == NULL) {
			trace(f, OUTCOME_NO_VALUE, e->each, 0);
			return;
		}
		for (i = 0; i < list->value.count; i++)
			told += tell(f, &list->value.items[i]);
		if (list->value.count == 0)
			trace(f, OUTCOME_NOTHING, NULL, 0);
	}
	if (told > 0)
		trace(f, OUTCOME_TOLD, NULL, told);
}

/* All that the rule asks for is at hand. */
static void
follow(struct following *f)
{
	if (f->match->rule->emit != NULL)
		emit(f);
	if (f->match->rule->remember)
		remember(f);
	if (f->match->rule->renews != NULL) {
		told_forget(f->log->extract->told, f->match->rule->renews);
		trace(f, OUTCOME_RENEWED, f->match->rule->renews, 0);
	}
	f->followed = true;
	f->done = f->match->rule->once;
}

/* False where something is remembered that must not be, or nobody can know. */
static bool
without_holds(struct following *f)
{
	const struct pack_rule *rule = f->match->rule;
	bool home;
	size_t i;

	for (i = 0; i < rule->without_count; i++) {
		if (recall(f, rule->without[i], &home) != NULL) {
			trace(f, OUTCOME_WITH, rule->without[i], 0);
			return false;
		}
		if (!home && !rule->contextless) {
			trace(f, OUTCOME_NO_CONTEXT, rule->without[i], 0);
			return false;
		}
	}
	return true;
}

/* Take up memories for rule->with[f->with_count…], in each combination. */
static void
take_up(struct following *f)
{
	const struct pack_rule *rule = f->match->rule;
	struct memory *m, *next;
	const char *name;
	bool home;

	if (f->with_count == rule->with_count) {
		if (without_holds(f))
			follow(f);
		return;
	}
	name = rule->with[f->with_count];
	m = recall(f, name, &home);
	if (m == NULL)
		trace(f, home ? OUTCOME_WITHOUT : OUTCOME_NO_CONTEXT, name, 0);
	for (; m != NULL && !f->done; m = next) {
		next = m->context_next;
		while (next != NULL && next->rule != m->rule)
			next = next->context_next;
		f->with[f->with_count++] = m;
		take_up(f);
		f->with_count--;
		if (rule->spends && f->followed)
			memory_drop(m);
	}
}

static void
end_context(struct following *f)
{
	struct context *c;
	struct slice home;

	if (!home_of(f, NULL, &home))
		return;
	c = context_find(f->log->extract, home);
	trace(f, OUTCOME_ENDED, NULL, context_drop(c));
}

static void
reset(struct following *f)
{
	log_forget(f->log);
	trace(f, OUTCOME_RESET, NULL, 0);
}

void
extract_line(struct extract_log *log, const struct extract_line *line, struct arena *a,
    struct account_events *out, extract_trace *tr, void *trace_arg)
{
	const struct match *ends = NULL;
	struct following f;
	size_t i;

	log->seq++;
	log->clock = line->record->ts;
	forget_old(log);
	for (i = 0; i < line->match_count; i++) {
		const struct match *m = &line->matches[i];

		f = (struct following){
		    log, line, m, NULL, 0, a, out, tr, trace_arg, 0, false, false};
		if (m->rule->resets)
			reset(&f);
		if (m->rule->ends)
			ends = m;
		if (!m->rule->remember && m->rule->emit == NULL && !m->rule->spends &&
		    m->rule->renews == NULL)
			continue;
		f.with = arena_alloc(a, (m->rule->with_count + 1) * sizeof(*f.with));
		take_up(&f);
	}
	/* Only now, so that every rule of the closing line sees the whole request. */
	if (ends != NULL) {
		f = (struct following){
		    log, line, ends, NULL, 0, a, out, tr, trace_arg, 0, false, false};
		end_context(&f);
	}
}

bool
extract_holds(struct extract_log *log, const struct extract_line *line,
    const struct match *m, struct arena *a, const char *name, struct slice *value_r)
{
	struct following f = {.log = log, .line = line, .match = m, .arena = a};
	const struct capture *c;
	bool home;
	size_t i;

	f.with = arena_alloc(a, (m->rule->with_count + 1) * sizeof(*f.with));
	for (; f.with_count < m->rule->with_count; f.with_count++) {
		f.with[f.with_count] = recall(&f, m->rule->with[f.with_count], &home);
		if (f.with[f.with_count] == NULL)
			return false;
	}
	for (i = 0; i < m->rule->without_count; i++)
		if (recall(&f, m->rule->without[i], &home) != NULL)
			return false;
	c = name == NULL ? NULL : following_capture(&f, name);
	*value_r = c == NULL || c->value.list || c->value.count == 0
	    ? (struct slice){NULL, 0}
	    : c->value.items[0];
	return true;
}

void
extract_log_clock(struct extract_log *log, int64_t now)
{
	if (now > log->clock)
		log->clock = now;
}

/* What memories of the newest line have of open ends is dropped; how many had any. */
static unsigned
tear(struct memory *list, uint64_t line_seq)
{
	struct memory *m;
	unsigned torn = 0;
	size_t i, kept;

	for (m = list == NULL ? NULL : list->log_prev;
	     m != NULL && m->line_seq == line_seq; m = m == list ? NULL : m->log_prev) {
		for (i = kept = 0; i < m->capture_count; i++)
			if (!m->captures[i].open)
				m->captures[kept++] = m->captures[i];
		torn += kept < m->capture_count;
		m->capture_count = kept;
	}
	return torn;
}

void
extract_torn(struct extract_log *log)
{
	log->stats.torn += tear(log->own, log->seq) + tear(log->shared, log->seq);
}

bool
extract_adopt(struct extract_log *to, struct extract_log *from, struct slice context,
    struct arena *a)
{
	struct slice name = context_name(a, from->number, "", context);
	struct context *theirs = context_find(from->extract, name), *ours;
	struct memory *m, *next;

	name = context_name(a, to->number, "", context);
	if (theirs == NULL || context_find(to->extract, name) != NULL)
		return false;
	ours = context_get(to->extract, name);
	for (m = theirs->memories; m != NULL; m = next) {
		next = m->context_next;
		DL_DELETE2(theirs->memories, m, context_prev, context_next);
		DL_DELETE2(from->own, m, log_prev, log_next);
		from->memory_count--;
		m->log = to;
		m->context = ours;
		m->seq = m->line_seq = to->seq;
		DL_APPEND2(ours->memories, m, context_prev, context_next);
		DL_APPEND2(to->own, m, log_prev, log_next);
		to->memory_count++;
	}
	HASH_DEL(from->extract->contexts, theirs);
	free(theirs);
	return true;
}

bool
extract_needs(const struct extract_log *log, uint64_t *file_r, uint64_t *offset_r)
{
	const struct memory *m, *oldest = log->own == NULL ? log->shared : log->own;

	/* Mostly the first; but what a memory took up may be older than itself. */
	DL_FOREACH2(log->own, m, log_next)
	if (m->seq < oldest->seq)
		oldest = m;
	DL_FOREACH2(log->shared, m, log_next)
	if (m->seq < oldest->seq)
		oldest = m;
	if (oldest == NULL)
		return false;
	*file_r = oldest->file;
	*offset_r = oldest->offset;
	return true;
}

void
extract_log_stats(const struct extract_log *log, struct extract_stats *st_r)
{
	*st_r = log->stats;
}

void
extract_log_free(struct extract_log *log)
{
	LL_DELETE(log->extract->logs, log);
	log_forget(log);
	free(log);
}

void
extract_free(struct extract *x)
{
	if (x == NULL)
		return;
	while (x->logs != NULL)
		extract_log_free(x->logs);
	told_free(x->told);
	free(x);
}
