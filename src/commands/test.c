#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "commands/commands.h"
#include "commands/patterns.h"
#include "commands/score.h"
#include "commands/teller.h"
#include "extract/account_event.h"
#include "match/match.h"
#include "pack/pack.h"

static const struct extract_limits limits = {.timeout_ms = 600 * 1000, .max = 10000};

static const char usage_text[] =
    "usage: hearsay test [OPTION...] [PACK...]\n"
    "Run the samples of the packs; TAP on standard output.\n"
    "\n"
    "      --captures DIR     compare whole logs below DIR with their truth instead\n"
    "  -P, --patterns DIR     the packs of DIR instead of the installed ones\n"
    "  -h, --help             this text\n";

/* What one sample gave. */
struct outcome {
	const struct pack_sample *sample;
	struct matcher *matcher;
	struct arena *arena;
	bool fitted; /* a line fits the rule that the sample names */
	bool did;    /* and the rule did something */
	bool told;   /* any rule told an event */
};

static void
see_line(void *arg, uint64_t offset, struct slice line, const struct record *record,
    size_t matches)
{
	struct outcome *o = arg;
	struct match *again;
	size_t i;

	(void)offset;
	(void)line;
	if (o->sample->rule == NULL || matches == 0)
		return;
	matches = matcher_record(o->matcher, record, o->arena, &again);
	for (i = 0; i < matches; i++)
		if (strcmp(again[i].rule->name, o->sample->rule) == 0)
			o->fitted = true;
}

static void
see_rule(void *arg, const struct match *m, enum extract_outcome outcome, const char *name,
    unsigned count)
{
	struct outcome *o = arg;

	(void)name;
	(void)count;
	if (outcome == OUTCOME_TOLD)
		o->told = true;
	if (o->sample->rule != NULL && strcmp(m->rule->name, o->sample->rule) == 0 &&
	    (outcome == OUTCOME_TOLD || outcome == OUTCOME_REMEMBERED ||
		outcome == OUTCOME_RESET || outcome == OUTCOME_ENDED))
		o->did = true;
}

static void
see_torn(void *arg)
{
	(void)arg;
}

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

/* A rule that only marks lines, or spends what others remembered, does nothing to be seen. */
static bool
fired(const struct outcome *o, const struct pack_rule *rule)
{
	bool acts = rule->emit != NULL || rule->remember || rule->ends || rule->resets;

	return acts ? o->did : o->fitted;
}

/* Why the sample failed, in the arena; NULL where it passed. */
static const char *
compare(const struct outcome *o, const struct pack *pack,
    const struct account_events *events, struct arena *a)
{
	const struct pack_sample *s = o->sample;
	const struct account_event *ev = events->first;
	size_t i;

	for (i = 0; i < s->event_count && ev != NULL; i++, ev = ev->next)
		if (!as_wanted(s->events[i], account_event_line(ev, false, a)))
			return arena_printf(a, "event %zu is %s, not %s", i + 1,
			    account_event_line(ev, false, a), s->events[i]);
	if (events->count != s->event_count)
		return arena_printf(
		    a, "%u events instead of %zu", events->count, s->event_count);
	if (s->rule != NULL && !fired(o, pack_rule_find(pack, s->rule)))
		return arena_printf(a, "rule \"%s\" %s", s->rule,
		    o->fitted ? "fits a line and did nothing" : "fits no line");
	if (s->rule == NULL && o->told)
		return "a rule told an event";
	return NULL;
}

static const char *
run_sample(const struct pack *pack, const struct pack_sample *s, const struct zone *zone,
    struct arena *a)
{
	struct outcome o = {
	    .sample = s, .matcher = matcher_new(pack, s->server), .arena = a};
	const struct teller_trace trace = {see_line, see_rule, see_torn, &o};
	struct teller *teller = teller_new(s->server, &limits);
	struct teller_log *log = teller_log_new(teller, pack, zone);
	struct account_events events = {.last = &events.first};
	struct teller_chunk c = {.file = 1};
	struct buf text = {0};
	const char *why;
	size_t i;

	for (i = 0; i < s->line_count; i++) {
		buf_adds(&text, s->lines[i]);
		buf_addc(&text, '\n');
	}
	c.data = text.p;
	c.len = text.len;
	teller_chunk(log, &c, a, &events, &trace);
	why = compare(&o, pack, &events, a);
	matcher_free(o.matcher);
	teller_free(teller);
	buf_free(&text);
	return why;
}

static bool
has_sample(const struct pack *pack, const struct pack_rule *rule)
{
	size_t i;

	for (i = 0; i < pack->sample_count; i++)
		if (pack->samples[i].rule != NULL &&
		    strcmp(pack->samples[i].rule, rule->name) == 0)
			return true;
	return false;
}

/* A rule that no sample shows at work is not finished.  The number of failures: 0 or 1. */
static unsigned
check_coverage(const struct pack *pack, unsigned number)
{
	bool all = true;
	size_t i;

	for (i = 0; i < pack->rule_count; i++)
		all = all && has_sample(pack, &pack->rules[i]);
	printf("%s %u - %s: each rule has a sample\n", all ? "ok" : "not ok", number,
	    pack->name);
	for (i = 0; i < pack->rule_count; i++)
		if (!has_sample(pack, &pack->rules[i]))
			printf("# %s:%u: no sample names rule \"%s\"\n", pack->path,
			    pack->rules[i].line, pack->rules[i].name);
	return all ? 0 : 1;
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

/* Whoever can choose the text before a name could choose the name.  Failures: 0 or 1. */
static unsigned
check_looseness(const struct pack *pack, unsigned number)
{
	bool none = true;
	size_t i;

	for (i = 0; i < pack->rule_count; i++)
		none = none && !is_loose(&pack->rules[i]);
	printf("%s %u - %s: no catch-all stands before a user's id\n",
	    none ? "ok" : "not ok", number, pack->name);
	for (i = 0; i < pack->rule_count; i++)
		if (is_loose(&pack->rules[i]))
			printf(
			    "# %s:%u: rule \"%s\" has a catch-all before a user's id\n",
			    pack->path, pack->rules[i].line, pack->rules[i].name);
	return none ? 0 : 1;
}

static unsigned
run_pack(const struct pack *pack, const struct zone *zone, unsigned *number)
{
	unsigned failed =
	    check_coverage(pack, *number + 1) + check_looseness(pack, *number + 2);
	struct arena *a = arena_new();
	const char *why;
	size_t i;

	*number += 2;
	for (i = 0; i < pack->sample_count; i++) {
		const struct pack_sample *s = &pack->samples[i];

		why = run_sample(pack, s, zone, a);
		printf("%s %u - %s: %s\n", why == NULL ? "ok" : "not ok", ++*number,
		    pack->name, s->name);
		if (why != NULL) {
			printf("# %s:%u: %s\n", pack->path, s->line, why);
			failed++;
		}
		arena_reset(a);
	}
	arena_free(a);
	return failed;
}

static bool
asked_for(const struct pack *p, char **names, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (strcmp(p->name, names[i]) == 0)
			return true;
	return count == 0;
}

static int
run_packs(const char *dir, const char *captures, char **names, int count)
{
	struct zone *zone = zone_open("UTC", NULL);
	unsigned number = 0, failed = 0;
	struct pack_set packs;
	bool loaded;
	size_t i;
	int n;

	loaded = patterns_load(&packs, dir) == 0;
	printf("%s %u - the packs can be read\n", loaded ? "ok" : "not ok", ++number);
	for (n = 0; n < count; n++)
		if (pack_set_find(&packs, names[n]) == NULL) {
			printf("not ok %u - there is no pack %s\n", ++number, names[n]);
			failed++;
		}
	if (captures != NULL)
		failed += score_captures(&packs, captures, names, count, &number);
	for (i = 0; captures == NULL && i < packs.count; i++)
		if (asked_for(packs.packs[i], names, count))
			failed += run_pack(packs.packs[i], zone, &number);
	printf("1..%u\n", number);
	pack_set_clear(&packs);
	zone_close(zone);
	return failed == 0 && loaded ? EXIT_DONE : EXIT_FAILED;
}

enum { OPT_CAPTURES = 256 };

int
cmd_test(int argc, char **argv)
{
	static const struct option options[] = {
	    {"captures", required_argument, NULL, OPT_CAPTURES},
	    {"patterns", required_argument, NULL, 'P'}, {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0}};
	const char *dir = NULL, *captures = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "P:h", options, NULL)) != -1) {
		switch (c) {
		case OPT_CAPTURES:
			captures = optarg;
			break;
		case 'P':
			dir = optarg;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return EXIT_DONE;
		default:
			fputs(usage_text, stderr);
			return EXIT_USAGE;
		}
	}
	return run_packs(dir, captures, argv + optind, argc - optind);
}
