#include "match/match.h"

#include <stdlib.h>
#include <string.h>

#include "decode/record.h"
#include "pack/pack.h"

/*
 * What one pattern may cost on one line.  The packs' own patterns need some
 * thousand steps on their longest lines; a line made to be slow ends here.
 */
#define MATCH_LIMIT 1000000
#define DEPTH_LIMIT 2000
#define HEAP_LIMIT_KIB 1024
#define JIT_STACK_MAX (256 * 1024)

struct matcher {
	const struct pack *pack;
	const char *server_name;
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
	uint64_t errors;
	const char *error_rule;
};

/* The captures of one rule while they are collected. */
struct collecting {
	struct matcher *m;
	const struct record *record;
	struct arena *arena;
	struct match *match;
};

static uint32_t
groups_of(const struct pattern *p)
{
	uint32_t count = 0;

	(void)pcre2_pattern_info(p->code, PCRE2_INFO_CAPTURECOUNT, &count);
	return count + 1;
}

static uint32_t
most_groups(const struct pack *pack)
{
	uint32_t most = 1;
	size_t r, g;

	for (r = 0; r < pack->rule_count; r++) {
		const struct pack_rule *rule = &pack->rules[r];

		if (groups_of(rule->pattern) > most)
			most = groups_of(rule->pattern);
		for (g = 0; g < rule->guard_count; g++)
			if (groups_of(rule->guards[g].pattern) > most)
				most = groups_of(rule->guards[g].pattern);
	}
	return most;
}

struct matcher *
matcher_new(const struct pack *pack, const char *server_name)
{
	struct matcher *m = xcalloc(1, sizeof(*m));

	m->pack = pack;
	m->server_name = server_name;
	m->data = pcre2_match_data_create(most_groups(pack), NULL);
	m->context = pcre2_match_context_create(NULL);
	m->stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK_MAX, NULL);
	if (m->data == NULL || m->context == NULL || m->stack == NULL)
		mem_exhausted();
	(void)pcre2_set_match_limit(m->context, MATCH_LIMIT);
	(void)pcre2_set_depth_limit(m->context, DEPTH_LIMIT);
	(void)pcre2_set_heap_limit(m->context, HEAP_LIMIT_KIB);
	pcre2_jit_stack_assign(m->context, NULL, m->stack);
	return m;
}

void
matcher_free(struct matcher *m)
{
	if (m == NULL)
		return;
	pcre2_jit_stack_free(m->stack);
	pcre2_match_context_free(m->context);
	pcre2_match_data_free(m->data);
	free(m);
}

static bool
logger_fits(const struct pack_rule *rule, const struct record *r)
{
	struct slice logger = r->part[PART_LOGGER];
	size_t len;

	if (rule->logger == NULL)
		return true;
	len = strlen(rule->logger);
	if (len > 0 && rule->logger[len - 1] == '*')
		return logger.len >= len - 1 &&
		    (len == 1 || memcmp(logger.p, rule->logger, len - 1) == 0);
	return slice_is(logger, rule->logger);
}

static bool
format_fits(const struct pack_rule *rule, const struct record *r)
{
	size_t i;

	for (i = 0; i < rule->format_count; i++)
		if (strcmp(r->format->name, rule->formats[i]) == 0)
			return true;
	return rule->format_count == 0;
}

static bool
level_fits(const struct pack_rule *rule, const struct record *r)
{
	size_t i;

	for (i = 0; i < rule->level_count; i++)
		if (slice_is(r->part[PART_LEVEL], rule->levels[i]))
			return true;
	return rule->level_count == 0;
}

/*
 * What a message repeats of the record's own fields must be the same there: a
 * client that has its address or agent imitate a message can't change these.
 */
static bool
agrees(const struct record *r, const struct capture *c)
{
	struct slice field = record_field(r, c->name);

	return field.p == NULL || c->value.list || c->value.count == 0 ||
	    slice_eq(field, c->value.items[0]);
}

/* Decode the captures of pattern p, which has just matched text.  False: one is void. */
static bool
collect(struct collecting *c, const struct pattern *p, struct slice text)
{
	const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(c->m->data);
	bool raw = c->record->format->kind == FORMAT_REGEX;
	size_t i;

	for (i = 0; i < p->capture_count; i++) {
		const struct pattern_capture *pc = &p->captures[i];
		struct capture *out = &c->match->captures[c->match->capture_count];
		PCRE2_SIZE from = ov[2 * pc->group], to = ov[2 * pc->group + 1];

		if (from == PCRE2_UNSET)
			continue;
		out->name = pc->name;
		out->open = raw && to == text.len && pc->type == CAPTURE_DEVICE_ID;
		/* The character, or a user's text that looks like its escape? */
		if (c->record->undone &&
		    capture_has_control((struct slice){text.p + from, to - from}))
			continue;
		/* It may go on with the CR, or in the next line: half a device is none. */
		if (out->open && c->record->odd)
			continue;
		if (!capture_decode(pc->type, (struct slice){text.p + from, to - from},
			c->m->server_name, raw, c->arena, &out->value))
			return false;
		if (!agrees(c->record, out))
			return false;
		if (out->value.count > 0 || out->value.list)
			c->match->capture_count++;
	}
	return true;
}

static enum match_miss
try_pattern(struct collecting *c, const struct pattern *p, struct slice text)
{
	int n;

	if (text.p == NULL)
		return MISS_TEXT;
	n = pcre2_match(
	    p->code, (PCRE2_SPTR)text.p, text.len, 0, 0, c->m->data, c->m->context);
	if (n < 0) {
		if (n != PCRE2_ERROR_NOMATCH) {
			c->m->errors++;
			c->m->error_rule = c->match->rule->name;
		}
		return MISS_TEXT;
	}
	return collect(c, p, text) ? MISS_NOTHING : MISS_VALUE;
}

static enum match_miss
try_rule(struct collecting *c)
{
	const struct pack_rule *rule = c->match->rule;
	size_t room = rule->pattern->capture_count, g;
	enum match_miss miss;

	if (!format_fits(rule, c->record))
		return MISS_FORMAT;
	if (!logger_fits(rule, c->record))
		return MISS_LOGGER;
	if (!level_fits(rule, c->record))
		return MISS_LEVEL;
	for (g = 0; g < rule->guard_count; g++)
		room += rule->guards[g].pattern->capture_count;
	c->match->captures = arena_alloc(c->arena, room * sizeof(*c->match->captures));
	for (g = 0; g < rule->guard_count; g++) {
		miss = try_pattern(c, rule->guards[g].pattern,
		    record_field(c->record, rule->guards[g].field));
		if (miss != MISS_NOTHING)
			return miss == MISS_TEXT ? MISS_FIELD : miss;
	}
	return try_pattern(c, rule->pattern, c->record->part[PART_MESSAGE]);
}

enum match_miss
matcher_try(struct matcher *m, const struct record *r, const struct pack_rule *rule,
    struct arena *a)
{
	struct match match = {.rule = rule};
	struct collecting c = {m, r, a, &match};

	return try_rule(&c);
}

size_t
matcher_record(
    struct matcher *m, const struct record *r, struct arena *a, struct match **matches_r)
{
	struct match *matches = NULL;
	size_t i, count = 0;

	for (i = 0; i < m->pack->rule_count; i++) {
		struct match match = {.rule = &m->pack->rules[i]};
		struct collecting c = {m, r, a, &match};

		if (try_rule(&c) != MISS_NOTHING)
			continue;
		if (matches == NULL)
			matches = arena_alloc(a, m->pack->rule_count * sizeof(*matches));
		matches[count++] = match;
	}
	*matches_r = matches;
	return count;
}

uint64_t
matcher_errors(const struct matcher *m, const char **rule_r)
{
	if (rule_r != NULL)
		*rule_r = m->error_rule;
	return m->errors;
}
