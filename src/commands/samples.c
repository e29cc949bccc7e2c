#include "commands/samples.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "commands/patterns.h"
#include "commands/teller.h"
#include "decode/envelope.h"
#include "extract/account_event.h"
#include "extract/extract.h"
#include "match/match.h"
#include "pack/pack.h"

static const struct extract_limits limits = {.timeout_ms = 600 * 1000, .max = 10000};

/* What one rule did with the lines of a sample. */
struct seen {
	bool fits; /* some line */
	bool did;  /* it remembered, told, renewed, ended, reset or carried something */
	bool told; /* an event */
	size_t at; /* the line that it fitted last */
	bool *on_line; /* which lines it fits */
};

/* Reading the lines of a sample by the rules of a pack. */
struct look {
	const struct pack *pack;
	struct matcher *matcher;
	struct arena *arena;
	char **lines;
	size_t line_count;
	struct seen *rules; /* as pack->rules */
	struct account_events events;
	uint64_t timed_out;
};

/* What the samples of a pack show; one of each for each rule. */
struct shown {
	const struct pack *pack;
	bool *at_work, *at_rest, *attacked;
	bool timed_out;
};

/* ---- reading --------------------------------------------------------------- */

static size_t
line_at(const struct look *l, uint64_t offset)
{
	uint64_t end = 0;
	size_t i;

	for (i = 0; i + 1 < l->line_count; i++) {
		end += strlen(l->lines[i]) + 1;
		if (offset < end)
			break;
	}
	return i;
}

static void
see_line(void *arg, uint64_t offset, struct slice line, const struct record *record,
    size_t matches)
{
	struct look *l = arg;
	struct match *again;
	struct seen *seen;
	size_t i;

	(void)line;
	if (matches == 0)
		return;
	matches = matcher_record(l->matcher, record, l->arena, &again);
	for (i = 0; i < matches; i++) {
		seen = &l->rules[again[i].rule - l->pack->rules];
		seen->fits = true;
		seen->at = line_at(l, offset);
		seen->on_line[seen->at] = true;
	}
}

static void
see_rule(void *arg, const struct match *m, enum extract_outcome outcome, const char *name,
    unsigned count)
{
	struct look *l = arg;
	struct seen *seen = &l->rules[m->rule - l->pack->rules];

	(void)name;
	(void)count;
	switch (outcome) {
	case OUTCOME_TOLD:
		seen->told = true;
		seen->did = true;
		break;
	case OUTCOME_REMEMBERED:
	case OUTCOME_RENEWED:
	case OUTCOME_ENDED:
	case OUTCOME_RESET:
	case OUTCOME_CARRIES:
		seen->did = true;
		break;
	case OUTCOME_KNOWN:
	case OUTCOME_NOTHING:
	case OUTCOME_NO_CONTEXT:
	case OUTCOME_WITHOUT:
	case OUTCOME_WITH:
	case OUTCOME_NO_VALUE:
	case OUTCOME_CARRIES_NONE:
	case OUTCOME_PENDING:
	case OUTCOME_DOUBTED:
		break;
	}
}

static void
see_torn(void *arg)
{
	(void)arg;
}

static void *
zeroed(struct arena *a, size_t size)
{
	return memset(arena_alloc(a, size), 0, size);
}

/* Everything in *l_r is in the arena. */
static void
look(const struct pack *pack, const char *server, char **lines, size_t count,
    const struct zone *zone, struct arena *a, struct look *l_r)
{
	const struct teller_trace trace = {see_line, see_rule, see_torn, l_r};
	struct teller *teller = teller_new(server, &limits);
	struct teller_log *log = teller_log_new(teller, pack, zone);
	struct teller_chunk c = {.file = 1};
	struct extract_stats stats;
	struct buf text = {0};
	size_t i;

	*l_r =
	    (struct look){.pack = pack, .arena = a, .lines = lines, .line_count = count};
	l_r->matcher = matcher_new(pack, server);
	l_r->events.last = &l_r->events.first;
	l_r->rules = zeroed(a, pack->rule_count * sizeof(*l_r->rules));
	for (i = 0; i < pack->rule_count; i++)
		l_r->rules[i].on_line = zeroed(a, count * sizeof(bool));
	for (i = 0; i < count; i++) {
		buf_adds(&text, lines[i]);
		buf_addc(&text, '\n');
	}
	c.data = text.p;
	c.len = text.len;
	teller_chunk(log, &c, a, &l_r->events, &trace);
	teller_log_idle(log, INT64_MAX, a, &l_r->events);
	teller_log_stats(log, &stats);
	l_r->timed_out = stats.timed_out;
	matcher_free(l_r->matcher);
	teller_free(teller);
	buf_free(&text);
}

/* A rule that only marks lines, or spends what others remembered, does nothing to be seen. */
static bool
is_at_work(const struct look *l, const struct pack_rule *rule)
{
	const struct seen *seen = &l->rules[rule - l->pack->rules];
	bool acts = rule->emit != NULL || rule->remember || rule->resets ||
	    rule->renews != NULL || rule->raw > 0;

	return acts ? seen->did : seen->fits;
}

/* ---- events ---------------------------------------------------------------- */

/* Every member of want is in got, and equal; content has to be equal as a whole. */
static bool
as_wanted(const char *want_text, const char *got_text)
{
	json_object *want = json_tokener_parse(want_text),
		    *got = json_tokener_parse(got_text);
	bool equal = want != NULL && got != NULL;

	json_object_object_foreach(want, key, value)
	{
		json_object *there;

		if (!json_object_object_get_ex(got, key, &there) ||
		    !json_object_equal(value, there))
			equal = false;
	}
	json_object_put(want);
	json_object_put(got);
	return equal;
}

/* Was text, or a part of it, replaced? */
static bool
is_touched(const char *text, const char *replaced)
{
	return strstr(text, replaced) != NULL || strstr(replaced, text) != NULL;
}

/*
 * Is what an edited sample tells what the sample tells, too?  A value in whose
 * text something was replaced may differ, but for a user; nothing else may.
 */
static bool
tells_the_same(json_object *content, json_object *got, const char *replaced)
{
	json_object *there;

	json_object_object_foreach(got, key, value)
	{
		if (!json_object_object_get_ex(content, key, &there))
			return false;
		if (json_object_equal(value, there))
			continue;
		if (strcmp(key, "user_id") == 0 ||
		    !is_touched(json_object_get_string(there), replaced))
			return false;
	}
	return true;
}

static bool
is_told_unedited(
    const struct pack_sample *s, const struct account_event *ev, const char *replaced)
{
	json_object *got = json_tokener_parse(ev->content), *want, *content, *type;
	bool same = false;
	size_t i;

	for (i = 0; i < s->event_count && !same; i++) {
		want = json_tokener_parse(s->events[i]);
		same = json_object_object_get_ex(want, "type", &type) &&
		    json_object_object_get_ex(want, "content", &content) &&
		    strcmp(json_object_get_string(type), ev->type) == 0 &&
		    tells_the_same(content, got, replaced);
		json_object_put(want);
	}
	json_object_put(got);
	return same;
}

/* ---- one sample ------------------------------------------------------------- */

/* Does from lead to rule by what rules ask to be remembered, or not? */
static bool
asks_for(const struct pack *pack, const struct pack_rule *from,
    const struct pack_rule *rule, unsigned depth)
{
	const struct pack_rule *next;
	size_t i;

	if (from == rule)
		return true;
	for (i = 0; i < from->with_count + from->without_count && depth > 0; i++) {
		next = pack_rule_find(pack,
		    i < from->with_count ? from->with[i]
					 : from->without[i - from->with_count]);
		if (asks_for(pack, next, rule, depth - 1))
			return true;
	}
	return false;
}

#define ASKED_DEPTH 8 /* of rules that ask for rules */

static bool
is_named(const struct pack *pack, const struct pack_sample *s,
    const struct pack_rule *rule, bool or_asked)
{
	const struct pack_rule *named;
	size_t i;

	for (i = 0; i < s->rule_count; i++) {
		named = pack_rule_find(pack, s->rules[i]);
		if (named == rule ||
		    (or_asked && asks_for(pack, named, rule, ASKED_DEPTH)))
			return true;
	}
	return false;
}

/*
 * What a rule that is not named may do is what the named ones ask for, and what
 * ends a request, which comes of itself.
 */
static const char *
find_unnamed(const struct look *l, const struct pack_sample *s)
{
	const struct pack *pack = l->pack;
	size_t i;

	for (i = 0; i < pack->rule_count; i++) {
		const struct pack_rule *rule = &pack->rules[i];
		bool acts = rule->remember || rule->resets || rule->renews != NULL ||
		    rule->suspect;

		if (is_named(pack, s, rule, false))
			continue;
		if (l->rules[i].told)
			return arena_printf(l->arena,
			    "rule \"%s\" tells an event, and is not named", rule->name);
		if (s->rule_count > 0 && acts && is_at_work(l, rule) &&
		    !is_named(pack, s, rule, true))
			return arena_printf(l->arena,
			    "rule \"%s\" is at work, and is not named", rule->name);
	}
	return NULL;
}

/* Why the sample as it is failed, in the arena; NULL where it passed. */
static const char *
judge(const struct look *l, const struct pack_sample *s)
{
	const struct account_event *ev = l->events.first;
	const struct pack_rule *rule;
	size_t i;

	for (i = 0; i < s->event_count && ev != NULL; i++, ev = ev->next)
		if (!as_wanted(s->events[i], account_event_line(ev, false, l->arena)))
			return arena_printf(l->arena, "event %zu is %s, not %s", i + 1,
			    account_event_line(ev, false, l->arena), s->events[i]);
	if (l->events.count != s->event_count)
		return arena_printf(l->arena, "%u events instead of %zu", l->events.count,
		    s->event_count);
	for (i = 0; i < s->rule_count; i++) {
		rule = pack_rule_find(l->pack, s->rules[i]);
		if (!is_at_work(l, rule))
			return arena_printf(l->arena, "rule \"%s\" %s", rule->name,
			    l->rules[rule - l->pack->rules].fits
				? "fits a line and did nothing"
				: "fits no line");
	}
	return find_unnamed(l, s);
}

/* ---- its edits ---------------------------------------------------------------- */

/* The line in which text stands, the only one and once; -1: there is none such. */
static int
find_once(const struct pack_sample *s, const char *text)
{
	int found = -1;
	size_t i;

	for (i = 0; i < s->line_count; i++) {
		const char *at = strstr(s->lines[i], text);

		if (at == NULL)
			continue;
		if (found != -1 || strstr(at + 1, text) != NULL)
			return -1;
		found = (int)i;
	}
	return found;
}

/* The sample's lines with the edit, in the arena; *at_r is the one that it changed. */
static char **
edited(const struct pack_sample *s, const struct pack_edit *edit, struct arena *a,
    size_t *at_r)
{
	char **lines = arena_alloc(a, s->line_count * sizeof(*lines));
	int at = find_once(s, edit->from);
	const char *line, *place;

	if (at == -1)
		return NULL;
	memcpy(lines, s->lines, s->line_count * sizeof(*lines));
	line = s->lines[at];
	place = strstr(line, edit->from);
	lines[at] = arena_printf(a, "%.*s%s%s", (int)(place - line), line, edit->to,
	    place + strlen(edit->from));
	*at_r = (size_t)at;
	return lines;
}

/* Nothing is told that the sample does not tell, but that something is suspected. */
static const char *
tells_more(const struct look *l, const struct pack_sample *s, const struct pack_edit *e)
{
	const struct account_event *ev;

	for (ev = l->events.first; ev != NULL; ev = ev->next)
		if (strcmp(ev->type, TYPE_FORGERY_SUSPECTED) != 0 &&
		    !is_told_unedited(s, ev, e->from))
			return arena_printf(l->arena, "it tells %s",
			    account_event_line(ev, false, l->arena));
	return NULL;
}

/*
 * A rule of the sample must rest.  Where that one tells events, none may come
 * from elsewhere instead; one that holds others back lets them go.
 */
static const char *
judge_not(struct shown *shown, const struct look *before, const struct look *after,
    const struct pack_sample *s, const struct pack_edit *e)
{
	const struct pack *pack = before->pack;
	bool rests = false, tells = false;
	size_t i;

	shown->timed_out = shown->timed_out || after->timed_out > 0;
	for (i = 0; i < pack->rule_count; i++) {
		if (!is_at_work(before, &pack->rules[i]) ||
		    is_at_work(after, &pack->rules[i]))
			continue;
		shown->at_rest[i] = true;
		if (!is_named(pack, s, &pack->rules[i], false))
			continue;
		rests = true;
		tells = tells || pack->rules[i].emit != NULL;
	}
	if (!rests)
		return "none of the sample's rules rests for it";
	return tells ? tells_more(after, s, e) : NULL;
}

/*
 * It must have the words by which a rule's lines are found, in such a line; or
 * it would deceive nobody.
 */
static const char *
judge_hostile(struct shown *shown, const struct look *before, const struct look *after,
    const struct pack_sample *s, const struct pack_edit *e, size_t at)
{
	const struct pack *pack = before->pack;
	bool attacks = false;
	size_t i;

	for (i = 0; i < pack->rule_count; i++) {
		const struct pack_rule *rule = &pack->rules[i];

		if (!before->rules[i].on_line[at] || !is_at_work(before, rule) ||
		    strstr(e->to, rule->pattern->literal) == NULL)
			continue;
		shown->attacked[i] = true;
		attacks = true;
	}
	return attacks ? tells_more(after, s, e)
		       : "it has not the words of any rule that the line fits";
}

/* Run one edit.  Why it failed, with its line, in the arena; NULL where it passed. */
static const char *
run_edit(struct shown *shown, const struct look *before, const struct pack_sample *s,
    const struct pack_edit *edit, bool hostile, const struct zone *zone)
{
	struct arena *a = before->arena;
	struct look after = {0};
	const char *why;
	char **lines;
	size_t at;

	lines = edited(s, edit, a, &at);
	if (lines == NULL)
		return arena_printf(a, "%u: \"%s\" does not stand once in the lines",
		    edit->line, edit->from);
	look(before->pack, s->server, lines, s->line_count, zone, a, &after);
	why = hostile ? judge_hostile(shown, before, &after, s, edit, at)
		      : judge_not(shown, before, &after, s, edit);
	return why == NULL
	    ? NULL
	    : arena_printf(a, "%u: with \"%s\": %s", edit->line, edit->to, why);
}

/* Prints why, one line for each reason.  Failures: 0 or 1. */
static unsigned
run_sample(struct shown *shown, const struct pack_sample *s, const struct zone *zone,
    struct arena *a, unsigned number)
{
	const struct pack *pack = shown->pack;
	const char **whys =
	    arena_alloc(a, (1 + s->not_count + s->hostile_count) * sizeof(*whys));
	struct look l = {0};
	size_t count = 0, i;

	look(pack, s->server, s->lines, s->line_count, zone, a, &l);
	shown->timed_out = shown->timed_out || l.timed_out > 0;
	whys[0] = judge(&l, s);
	if (whys[0] != NULL)
		whys[count++] = arena_printf(a, "%u: %s", s->line, whys[0]);
	for (i = 0; count == 0 && i < s->rule_count; i++)
		shown->at_work[pack_rule_find(pack, s->rules[i]) - pack->rules] = true;
	for (i = 0; i < s->not_count + s->hostile_count; i++) {
		bool hostile = i >= s->not_count;

		whys[count] = run_edit(shown, &l, s,
		    hostile ? &s->hostile[i - s->not_count] : &s->nots[i], hostile, zone);
		count += whys[count] != NULL;
	}
	printf("%s %u - %s: %s\n", count == 0 ? "ok" : "not ok", number, pack->name,
	    s->name);
	for (i = 0; i < count; i++)
		printf("# %s:%s\n", pack->path, whys[i]);
	return count > 0;
}

/* ---- what must be shown of a pack ----------------------------------------------- */

static bool
captures_something(const struct pack_rule *rule)
{
	size_t i;

	for (i = 0; i < rule->guard_count; i++)
		if (rule->guards[i].pattern->capture_count > 0)
			return true;
	return rule->pattern->capture_count > 0;
}

static bool
is_loose(const struct pack_rule *rule)
{
	bool loose = rule->pattern->loose;
	size_t i;

	for (i = 0; i < rule->guard_count; i++)
		loose = loose || rule->guards[i].pattern->loose;
	return loose;
}

enum demand { AT_WORK, AT_REST, ATTACKED, TIGHT, DEMANDS };

static bool
meets(const struct shown *shown, size_t rule, enum demand demand)
{
	const struct pack_rule *r = &shown->pack->rules[rule];

	switch (demand) {
	case AT_WORK:
		return shown->at_work[rule];
	case AT_REST:
		return shown->at_rest[rule];
	case ATTACKED:
		return shown->attacked[rule] || !captures_something(r);
	case TIGHT:
		return !is_loose(r);
	case DEMANDS:
		break;
	}
	return true;
}

/* A rule that no sample shows at work, and at rest, is not finished.  Failures: 0 or 1. */
static unsigned
check_rules(const struct shown *shown, enum demand demand, unsigned number)
{
	static const struct {
		const char *all, *missing;
	} texts[DEMANDS] = {
	    [AT_WORK] = {"each rule has a sample", "no sample shows it at work"},
	    [AT_REST] = {"each rule has a sample in which it rests",
		"no edit (\"not\") shows what it does not fit"},
	    [ATTACKED] = {"each rule that captures has a sample of text made to deceive",
		"no edit (\"hostile\") shows what a user's text does to it"},
	    [TIGHT] = {"no catch-all stands before or in a user's id",
		"it has a catch-all before or in a user's id"},
	};
	const struct pack *pack = shown->pack;
	bool all = true;
	size_t i;

	for (i = 0; i < pack->rule_count; i++)
		all = all && meets(shown, i, demand);
	printf("%s %u - %s: %s\n", all ? "ok" : "not ok", number, pack->name,
	    texts[demand].all);
	for (i = 0; i < pack->rule_count; i++)
		if (!meets(shown, i, demand))
			printf("# %s:%u: rule \"%s\": %s\n", pack->path,
			    pack->rules[i].line, pack->rules[i].name,
			    texts[demand].missing);
	return all ? 0 : 1;
}

/* What is remembered must be seen to be forgotten.  Failures: 0 or 1. */
static unsigned
check_timeout(const struct shown *shown, unsigned number)
{
	const struct pack *pack = shown->pack;
	const struct pack_rule *remembers = NULL;
	bool ok;
	size_t i;

	for (i = 0; i < pack->rule_count && remembers == NULL; i++)
		if (pack->rules[i].remember)
			remembers = &pack->rules[i];
	ok = remembers == NULL || shown->timed_out;
	printf(
	    "%s %u - %s: a sample shows that what is remembered is forgotten in time\n",
	    ok ? "ok" : "not ok", number, pack->name);
	if (!ok)
		printf("# %s:%u: rule \"%s\" remembers, and no sample lets ten minutes "
		       "pass\n",
		    pack->path, remembers->line, remembers->name);
	return ok ? 0 : 1;
}

/* A log that stops telling must be seen to.  Failures: 0 or 1. */
static unsigned
check_sentinel(const struct pack *pack, unsigned number)
{
	bool ok = false;
	size_t i;

	for (i = 0; i < pack->rule_count; i++)
		ok = ok || pack->rules[i].sentinel;
	printf("%s %u - %s: a healthy log keeps showing lines that it knows\n",
	    ok ? "ok" : "not ok", number, pack->name);
	if (!ok)
		printf("# %s:1: no rule is a \"sentinel\"\n", pack->path);
	return ok ? 0 : 1;
}

/* The rule of other that fits a line of s, or NULL. */
static const struct pack_rule *
fitting_rule(const struct pack *other, const struct pack_sample *s,
    const struct zone *zone, struct arena *a)
{
	struct look l = {0};
	size_t i;

	look(other, s->server, s->lines, s->line_count, zone, a, &l);
	for (i = 0; i < other->rule_count; i++)
		if (l.rules[i].fits)
			return &other->rules[i];
	return NULL;
}

/* Failures: 0 or 1. */
static unsigned
check_others(const struct pack_set *set, const struct pack *pack, const struct zone *zone,
    unsigned number)
{
	struct arena *a = arena_new();
	struct buf found = {0};
	const struct pack_rule *rule;
	size_t i, s;

	for (i = 0; i < set->count; i++)
		for (s = 0; set->packs[i] != pack && s < pack->sample_count; s++) {
			rule = fitting_rule(set->packs[i], &pack->samples[s], zone, a);
			if (rule != NULL)
				buf_addf(&found,
				    "# %s:%u: rule \"%s\" of %s:%u fits it, too\n",
				    pack->path, pack->samples[s].line, rule->name,
				    set->packs[i]->path, rule->line);
			arena_reset(a);
		}
	printf("%s %u - %s: no other pack knows its lines\n",
	    found.len == 0 ? "ok" : "not ok", number, pack->name);
	if (found.len > 0)
		fputs(found.p, stdout);
	s = found.len;
	buf_free(&found);
	arena_free(a);
	return s > 0;
}

/* Whose log is it?  Of all samples together the answer must be this pack. */
static unsigned
check_recogniser(const struct pack_set *set, const struct pack *pack, unsigned number)
{
	const struct pack *found;
	struct buf text = {0};
	size_t s, i;

	for (s = 0; s < pack->sample_count; s++)
		for (i = 0; i < pack->samples[s].line_count; i++) {
			buf_adds(&text, pack->samples[s].lines[i]);
			buf_addc(&text, '\n');
		}
	found =
	    text.len == 0 ? NULL : patterns_find_in(set, ENVELOPE_NONE, text.p, text.len);
	buf_free(&text);
	printf("%s %u - %s: its lines are known for its own\n",
	    found == pack ? "ok" : "not ok", number, pack->name);
	if (found != pack)
		printf("# %s:1: its samples are taken for a log of %s\n", pack->path,
		    found == NULL ? "nobody" : found->title);
	return found != pack;
}

unsigned
samples_run(const struct pack_set *set, const struct pack *pack, const struct zone *zone,
    unsigned *number)
{
	struct shown shown = {.pack = pack,
	    .at_work = xcalloc(pack->rule_count, sizeof(bool)),
	    .at_rest = xcalloc(pack->rule_count, sizeof(bool)),
	    .attacked = xcalloc(pack->rule_count, sizeof(bool))};
	struct arena *a = arena_new();
	unsigned failed = 0, demand;
	size_t i;

	for (i = 0; i < pack->sample_count; i++) {
		failed += run_sample(&shown, &pack->samples[i], zone, a, ++*number);
		arena_reset(a);
	}
	for (demand = AT_WORK; demand < DEMANDS; demand++)
		failed += check_rules(&shown, demand, ++*number);
	failed += check_timeout(&shown, ++*number);
	failed += check_sentinel(pack, ++*number);
	failed += check_others(set, pack, zone, ++*number);
	failed += check_recogniser(set, pack, ++*number);
	arena_free(a);
	free(shown.at_work);
	free(shown.at_rest);
	free(shown.attacked);
	return failed;
}
