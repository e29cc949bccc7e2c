#include "pack/pack.h"

#include <errno.h>
#include <json-c/json.h>
#include <libconfig.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

/* What is needed while one file is read. */
struct loading {
	struct pack *pack;
	struct err_list *errs;
	char **macro_names, **macro_texts;
	size_t macro_count;
};

static void wrong(struct loading *l, const config_setting_t *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
wrong(struct loading *l, const config_setting_t *at, const char *fmt, ...)
{
	unsigned line = config_setting_source_line(at);
	struct buf text = {0};
	va_list ap;
	char *what;

	va_start(ap, fmt);
	if (vasprintf(&what, fmt, ap) == -1)
		mem_exhausted();
	va_end(ap);
	/* The file as a whole has no line. */
	buf_addf(&text, "%s:%u: %s", l->pack->path, line == 0 ? 1 : line, what);
	(void)err_list_add(l->errs, "%s", text.p);
	buf_free(&text);
	free(what);
}

/* ---- values ------------------------------------------------------------- */

/* Every setting of group must be one of names (ended by NULL): a slip of the pen is a mistake. */
static void
only(struct loading *l, const config_setting_t *group, const char *const *names)
{
	int i, n = config_setting_length(group);

	for (i = 0; i < n; i++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
		const char *const *name;

		for (name = names; *name != NULL; name++)
			if (strcmp(config_setting_name(s), *name) == 0)
				break;
		if (*name == NULL)
			wrong(l, s,
			    "there is no setting \"%s\" here; see hearsay-pack(5)",
			    config_setting_name(s));
	}
}

/* The string called name, malloc'd; NULL where there is none (a mistake if needed). */
static char *
text_of(struct loading *l, const config_setting_t *group, const char *name, bool needed)
{
	const config_setting_t *s = config_setting_get_member(group, name);

	if (s == NULL) {
		if (needed)
			wrong(l, group, "\"%s\" is missing", name);
		return NULL;
	}
	if (config_setting_type(s) != CONFIG_TYPE_STRING) {
		wrong(l, s, "\"%s\" must be a string", name);
		return NULL;
	}
	return xstrdup(config_setting_get_string(s));
}

/*
 * The same for what names something: it stands in the events' keys and sources,
 * in files and on command lines, where no quote or blank may come from it.
 */
static char *
name_of(struct loading *l, const config_setting_t *group, const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	char *text = text_of(l, group, name, true);

	if (text != NULL && (text[0] == '\0' || text[strspn(text, allowed)] != '\0'))
		wrong(l, config_setting_get_member(group, name),
		    "\"%s\" must be of letters, digits, '.', '_' and '-'", name);
	return text;
}

static bool
bool_of(struct loading *l, const config_setting_t *group, const char *name)
{
	const config_setting_t *s = config_setting_get_member(group, name);

	if (s == NULL)
		return false;
	if (config_setting_type(s) != CONFIG_TYPE_BOOL)
		wrong(l, s, "\"%s\" must be true or false", name);
	return config_setting_get_bool(s) != 0;
}

/* 0 where there is none. */
static uint64_t
number_of(struct loading *l, const config_setting_t *group, const char *name)
{
	const config_setting_t *s = config_setting_get_member(group, name);

	if (s == NULL)
		return 0;
	if (config_setting_is_number(s) != CONFIG_TRUE ||
	    config_setting_type(s) == CONFIG_TYPE_FLOAT ||
	    config_setting_get_int64(s) < 0) {
		wrong(l, s, "\"%s\" must be a whole number", name);
		return 0;
	}
	return (uint64_t)config_setting_get_int64(s);
}

/* One string, or an array or list of them. */
static char **
texts_of(
    struct loading *l, const config_setting_t *group, const char *name, size_t *count_r)
{
	const config_setting_t *s = config_setting_get_member(group, name);
	char **texts;
	int i, n;

	*count_r = 0;
	if (s == NULL)
		return NULL;
	if (config_setting_type(s) == CONFIG_TYPE_STRING) {
		texts = xcalloc(1, sizeof(*texts));
		texts[0] = xstrdup(config_setting_get_string(s));
		*count_r = 1;
		return texts;
	}
	n = config_setting_length(s);
	texts = xcalloc((size_t)n, sizeof(*texts));
	for (i = 0; i < n; i++) {
		const char *text = config_setting_get_string_elem(s, i);

		if (text == NULL)
			wrong(l, s, "\"%s\" must hold strings", name);
		else
			texts[(*count_r)++] = xstrdup(text);
	}
	return texts;
}

/* The groups of the list called name; *count_r is 0 where there is none. */
static const config_setting_t *
list_of(
    struct loading *l, const config_setting_t *root, const char *name, size_t *count_r)
{
	const config_setting_t *list = config_setting_get_member(root, name);
	int i;

	*count_r = 0;
	if (list == NULL)
		return NULL;
	if (config_setting_type(list) != CONFIG_TYPE_LIST) {
		wrong(l, list, "\"%s\" must be a list of groups: ( { … }, { … } )", name);
		return NULL;
	}
	for (i = 0; i < config_setting_length(list); i++) {
		const config_setting_t *s = config_setting_get_elem(list, (unsigned)i);

		if (config_setting_type(s) != CONFIG_TYPE_GROUP) {
			wrong(l, s, "\"%s\" must hold groups: { … }", name);
			return NULL;
		}
	}
	*count_r = (size_t)config_setting_length(list);
	return list;
}

static struct pattern *
pattern_of(struct loading *l, const config_setting_t *group, const char *name)
{
	struct pattern *p;
	struct err e;
	char *text = text_of(l, group, name, true);

	if (text == NULL)
		return NULL;
	p = pattern_compile(text, l->macro_names, l->macro_texts, l->macro_count, &e);
	if (p == NULL)
		wrong(l, config_setting_get_member(group, name), "\"%s\": %s", name,
		    e.text);
	free(text);
	return p;
}

/* ---- the parts of a pack -------------------------------------------------- */

static void
load_macros(struct loading *l, const config_setting_t *root)
{
	const config_setting_t *macros = config_setting_get_member(root, "macros");
	int i, n;

	if (macros == NULL)
		return;
	if (config_setting_type(macros) != CONFIG_TYPE_GROUP) {
		wrong(l, macros, "\"macros\" must be a group: { name = \"regex\"; … }");
		return;
	}
	n = config_setting_length(macros);
	l->macro_names = xcalloc((size_t)n, sizeof(*l->macro_names));
	l->macro_texts = xcalloc((size_t)n, sizeof(*l->macro_texts));
	for (i = 0; i < n; i++) {
		const config_setting_t *s = config_setting_get_elem(macros, (unsigned)i);
		char *text = text_of(l, macros, config_setting_name(s), true);

		if (text == NULL)
			continue;
		l->macro_names[l->macro_count] = xstrdup(config_setting_name(s));
		l->macro_texts[l->macro_count++] = text;
	}
}

static void
load_tells(struct loading *l, const config_setting_t *root)
{
	static const char *const names[] = {"type", "how", "note", NULL};
	struct pack *p = l->pack;
	const config_setting_t *list = list_of(l, root, "tells", &p->tells_count);
	size_t i;

	p->tells = xcalloc(p->tells_count, sizeof(*p->tells));
	for (i = 0; i < p->tells_count; i++) {
		const config_setting_t *g = config_setting_get_elem(list, (unsigned)i);
		struct pack_tells *t = &p->tells[i];

		only(l, g, names);
		t->type = name_of(l, g, "type");
		t->how = text_of(l, g, "how", true);
		t->note = text_of(l, g, "note", false);
		if (t->how != NULL && strcmp(t->how, "exact") != 0 &&
		    strcmp(t->how, "partial") != 0 && strcmp(t->how, "no") != 0)
			wrong(l, g, "\"how\" must be exact, partial or no");
	}
}

static const char *const part_names[PART_COUNT + 1] = {
    "time", "level", "logger", "context", "message", NULL};

static void
load_format_keys(struct loading *l, const config_setting_t *g, struct pack_format *f)
{
	const config_setting_t *keys = config_setting_get_member(g, "keys");
	unsigned part;

	if (keys == NULL || config_setting_type(keys) != CONFIG_TYPE_GROUP) {
		wrong(l, g,
		    "a json or logfmt format needs \"keys\": { message = \"…\"; … }");
		return;
	}
	only(l, keys, part_names);
	for (part = 0; part < PART_COUNT; part++)
		f->key[part] = text_of(l, keys, part_names[part], part == PART_MESSAGE);
}

static void
load_format_groups(struct loading *l, const config_setting_t *g, struct pack_format *f)
{
	unsigned part;
	size_t i;

	f->pattern = pattern_of(l, g, "pattern");
	if (f->pattern == NULL)
		return;
	for (part = 0; part < PART_COUNT; part++)
		for (i = 0; i < f->pattern->capture_count; i++)
			if (strcmp(f->pattern->captures[i].name, part_names[part]) == 0)
				f->group[part] = f->pattern->captures[i].group;
	if (f->group[PART_MESSAGE] == 0)
		wrong(l, g, "the pattern has no group named \"message\"");
}

/* Without a field of its own, every entry of any program would be of the format. */
static void
load_format_fields(struct loading *l, const config_setting_t *g, struct pack_format *f)
{
	static const char *const names[] = {"level", "logger", "context", NULL};
	const config_setting_t *keys = config_setting_get_member(g, "keys");
	enum record_part part;

	if (keys == NULL || config_setting_type(keys) != CONFIG_TYPE_GROUP) {
		wrong(l, g, "a journal format needs \"keys\": { logger = \"…\"; … }");
		return;
	}
	only(l, keys, names);
	for (part = PART_LEVEL; part < PART_MESSAGE; part++)
		f->key[part] = text_of(l, keys, part_names[part], part == PART_LOGGER);
	if (config_setting_get_member(g, "pattern") != NULL)
		load_format_groups(l, g, f);
}

static enum time_kind
time_kind_of(struct loading *l, const config_setting_t *g)
{
	static const char *const kinds[] = {
	    [TIME_NONE] = "none",
	    [TIME_BEFORE] = "before",
	    [TIME_ISO] = "iso",
	    [TIME_EPOCH] = "epoch",
	    [TIME_EPOCH_MS] = "epoch_ms",
	};
	char *text = text_of(l, g, "time", true);
	size_t i, n = sizeof(kinds) / sizeof(kinds[0]);

	for (i = 0; text != NULL && i < n; i++)
		if (strcmp(text, kinds[i]) == 0)
			break;
	if (text != NULL && i == n)
		wrong(l, g, "\"time\" must be none, before, iso, epoch or epoch_ms");
	free(text);
	return i < n ? (enum time_kind)i : TIME_NONE;
}

static void
load_formats(struct loading *l, const config_setting_t *root)
{
	static const char *const names[] = {"name", "kind", "time", "forgeable", "ansi",
	    "coloured", "pattern", "keys", NULL};
	struct pack *p = l->pack;
	const config_setting_t *list = list_of(l, root, "formats", &p->format_count);
	size_t i;

	if (p->format_count == 0)
		wrong(l, root, "a pack needs \"formats\"");
	p->formats = xcalloc(p->format_count, sizeof(*p->formats));
	for (i = 0; i < p->format_count; i++) {
		const config_setting_t *g = config_setting_get_elem(list, (unsigned)i);
		struct pack_format *f = &p->formats[i];
		char *kind = text_of(l, g, "kind", true);

		only(l, g, names);
		f->name = name_of(l, g, "name");
		f->time = time_kind_of(l, g);
		f->forgeable = bool_of(l, g, "forgeable");
		f->ansi = bool_of(l, g, "ansi");
		f->coloured = bool_of(l, g, "coloured");
		if (kind != NULL && strcmp(kind, "regex") == 0) {
			f->kind = FORMAT_REGEX;
			load_format_groups(l, g, f);
		} else if (kind != NULL &&
		    (strcmp(kind, "json") == 0 || strcmp(kind, "logfmt") == 0)) {
			f->kind = kind[0] == 'j' ? FORMAT_JSON : FORMAT_LOGFMT;
			load_format_keys(l, g, f);
		} else if (kind != NULL && strcmp(kind, "journal") == 0) {
			f->kind = FORMAT_JOURNAL;
			load_format_fields(l, g, f);
		} else if (kind != NULL) {
			wrong(l, g, "\"kind\" must be regex, json, logfmt or journal");
		}
		free(kind);
		/* Else each line would silently take the time at which it was read. */
		if (f->time > TIME_BEFORE && f->key[PART_TIME] == NULL &&
		    (f->kind != FORMAT_REGEX || f->pattern != NULL) &&
		    f->group[PART_TIME] == 0)
			wrong(
			    l, g, "\"time\" is not none, but nothing is named \"time\"");
	}
}

static void
load_value(struct loading *l, const config_setting_t *s, struct pack_value *v)
{
	const char *text;

	v->field = xstrdup(config_setting_name(s));
	if (config_setting_type(s) == CONFIG_TYPE_BOOL) {
		v->kind = VALUE_BOOL;
		v->yes = config_setting_get_bool(s) != 0;
		return;
	}
	text = config_setting_get_string(s);
	if (text == NULL) {
		wrong(l, s, "\"%s\" must be a string or a bool", v->field);
		return;
	}
	v->kind = text[0] == '$' ? VALUE_CAPTURE : VALUE_STRING;
	v->text = xstrdup(text[0] == '$' ? text + 1 : text);
}

static void
load_source(struct loading *l, const config_setting_t *emit_group, struct pack_emit *emit)
{
	const config_setting_t *g = config_setting_get_member(emit_group, "source");
	int i;

	if (g == NULL)
		return;
	if (config_setting_type(g) != CONFIG_TYPE_GROUP) {
		wrong(l, g, "\"source\" must be a group: { name = \"$…\"; … }");
		return;
	}
	emit->source = xcalloc((size_t)config_setting_length(g), sizeof(*emit->source));
	for (i = 0; i < config_setting_length(g); i++)
		load_value(l, config_setting_get_elem(g, (unsigned)i),
		    &emit->source[emit->source_count++]);
}

static struct pack_emit *
load_emit(struct loading *l, const config_setting_t *rule)
{
	const config_setting_t *g = config_setting_get_member(rule, "emit");
	struct pack_emit *emit;
	bool user = false;
	int i, n;

	if (g == NULL)
		return NULL;
	if (config_setting_type(g) != CONFIG_TYPE_GROUP) {
		wrong(l, g,
		    "\"emit\" must be a group: { type = \"…\"; user_id = \"$…\"; }");
		return NULL;
	}
	emit = xcalloc(1, sizeof(*emit));
	emit->type = name_of(l, g, "type");
	emit->each = text_of(l, g, "each", false);
	emit->unless_told = bool_of(l, g, "unless_told");
	n = config_setting_length(g);
	emit->values = xcalloc((size_t)n, sizeof(*emit->values));
	for (i = 0; i < n; i++) {
		const config_setting_t *s = config_setting_get_elem(g, (unsigned)i);
		const char *name = config_setting_name(s);

		if (strcmp(name, "type") == 0 || strcmp(name, "each") == 0 ||
		    strcmp(name, "source") == 0 || strcmp(name, "unless_told") == 0)
			continue;
		user = user || strcmp(name, "user_id") == 0;
		load_value(l, s, &emit->values[emit->value_count++]);
	}
	if (!user)
		wrong(l, g, "an event needs a \"user_id\"");
	load_source(l, g, emit);
	return emit;
}

static void
load_guards(struct loading *l, const config_setting_t *rule, struct pack_rule *r)
{
	static const char *const names[] = {"name", "match", NULL};
	const config_setting_t *list = list_of(l, rule, "fields", &r->guard_count);
	size_t i;

	r->guards = xcalloc(r->guard_count, sizeof(*r->guards));
	for (i = 0; i < r->guard_count; i++) {
		const config_setting_t *g = config_setting_get_elem(list, (unsigned)i);

		only(l, g, names);
		r->guards[i].field = text_of(l, g, "name", true);
		r->guards[i].pattern = pattern_of(l, g, "match");
	}
}

static void
load_rule(struct loading *l, const config_setting_t *g, struct pack_rule *r)
{
	static const char *const names[] = {"name", "formats", "logger", "levels",
	    "fields", "match", "with", "without", "once", "remember", "key", "spends",
	    "ends", "resets", "renews", "contextless", "raw", "longest", "escaped",
	    "until", "suspect", "sentinel", "emit", NULL};

	only(l, g, names);
	r->line = (unsigned)config_setting_source_line(g);
	r->name = name_of(l, g, "name");
	r->formats = texts_of(l, g, "formats", &r->format_count);
	r->logger = text_of(l, g, "logger", false);
	r->levels = texts_of(l, g, "levels", &r->level_count);
	load_guards(l, g, r);
	r->pattern = pattern_of(l, g, "match");
	r->with = texts_of(l, g, "with", &r->with_count);
	r->without = texts_of(l, g, "without", &r->without_count);
	r->once = bool_of(l, g, "once");
	r->remember = bool_of(l, g, "remember");
	r->key = text_of(l, g, "key", false);
	r->spends = bool_of(l, g, "spends");
	r->ends = bool_of(l, g, "ends");
	r->resets = bool_of(l, g, "resets");
	r->renews = text_of(l, g, "renews", false);
	r->contextless = bool_of(l, g, "contextless");
	r->raw = number_of(l, g, "raw");
	r->longest = number_of(l, g, "longest");
	r->escaped = text_of(l, g, "escaped", false);
	r->until = text_of(l, g, "until", false);
	r->suspect = bool_of(l, g, "suspect");
	r->sentinel = bool_of(l, g, "sentinel");
	r->emit = load_emit(l, g);
	if (r->pattern != NULL && r->pattern->literal == NULL)
		wrong(l, g,
		    "rule \"%s\": no text of at least 4 bytes stands in every match, so each "
		    "line would have to be tried; write one into the pattern",
		    r->name);
	if (r->key != NULL && !r->remember)
		wrong(l, g, "rule \"%s\": \"key\" goes with \"remember\"", r->name);
	if ((r->longest > 0 || r->escaped != NULL || r->until != NULL) && r->raw == 0)
		wrong(l, g,
		    "rule \"%s\": \"longest\", \"escaped\" and \"until\" go with \"raw\"",
		    r->name);
}

static void
load_rules(struct loading *l, const config_setting_t *root)
{
	struct pack *p = l->pack;
	const config_setting_t *list = list_of(l, root, "rules", &p->rule_count);
	size_t i;

	if (p->rule_count == 0)
		wrong(l, root, "a pack needs \"rules\"");
	p->rules = xcalloc(p->rule_count, sizeof(*p->rules));
	for (i = 0; i < p->rule_count; i++)
		load_rule(l, config_setting_get_elem(list, (unsigned)i), &p->rules[i]);
}

/* ---- samples ---------------------------------------------------------------- */

static json_object *
json_of(struct loading *l, const config_setting_t *s)
{
	switch (config_setting_type(s)) {
	case CONFIG_TYPE_STRING:
		return json_object_new_string(config_setting_get_string(s));
	case CONFIG_TYPE_BOOL:
		return json_object_new_boolean(config_setting_get_bool(s));
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		return json_object_new_int64(config_setting_get_int64(s));
	default:
		wrong(l, s, "\"%s\" must be a string, a number or a bool",
		    config_setting_name(s));
		return NULL;
	}
}

/* The members of g, but for those that stand beside the content. */
static void
add_content(struct loading *l, const config_setting_t *g, bool outer, json_object *event,
    json_object *content)
{
	int i, n = config_setting_length(g);

	for (i = 0; i < n; i++) {
		const config_setting_t *s = config_setting_get_elem(g, (unsigned)i);
		const char *name = config_setting_name(s);

		if (outer && (strcmp(name, "type") == 0 || strcmp(name, "ts") == 0))
			json_object_object_add(event, name, json_of(l, s));
		else if (outer && strcmp(name, "content") == 0 &&
		    config_setting_type(s) == CONFIG_TYPE_GROUP)
			add_content(l, s, false, event, content);
		else
			json_object_object_add(content, name, json_of(l, s));
	}
}

/*
 * { type = "…"; user_id = "…"; ts = 1L; } as {"type": …, "content": {…}, "ts": …};
 * a content with a "type" of its own is written as such, content = { … }.
 */
static char *
load_sample_event(struct loading *l, const config_setting_t *g)
{
	json_object *event = json_object_new_object(),
		    *content = json_object_new_object();
	char *text;

	if (event == NULL || content == NULL)
		mem_exhausted();
	json_object_object_add(event, "content", content);
	if (config_setting_get_member(g, "type") == NULL)
		wrong(l, g, "\"type\" is missing");
	add_content(l, g, true, event, content);
	text = xstrdup(json_object_to_json_string_ext(event, JSON_C_TO_STRING_PLAIN));
	json_object_put(event);
	return text;
}

static void
load_edit(struct loading *l, const config_setting_t *s, struct pack_edit *e)
{
	const char *from = config_setting_get_string_elem(s, 0);
	const char *to = config_setting_get_string_elem(s, 1);

	e->line = (unsigned)config_setting_source_line(s);
	if (from == NULL || to == NULL || from[0] == '\0' ||
	    config_setting_length(s) != 2)
		wrong(l, s,
		    "an edit is a text of the lines and another in its place: [ \"…\", "
		    "\"…\" ]");
	e->from = xstrdup(from == NULL ? "" : from);
	e->to = xstrdup(to == NULL ? "" : to);
}

/* ( [ "…", "…" ], … ) */
static struct pack_edit *
edits_of(struct loading *l, const config_setting_t *g, const char *name, size_t *count_r)
{
	const config_setting_t *list = config_setting_get_member(g, name);
	struct pack_edit *edits;
	int i, n;

	*count_r = 0;
	if (list == NULL)
		return NULL;
	if (config_setting_type(list) != CONFIG_TYPE_LIST) {
		wrong(l, list, "\"%s\" must be a list of edits: ( [ \"…\", \"…\" ], … )",
		    name);
		return NULL;
	}
	n = config_setting_length(list);
	edits = xcalloc((size_t)n, sizeof(*edits));
	for (i = 0; i < n; i++)
		load_edit(
		    l, config_setting_get_elem(list, (unsigned)i), &edits[(*count_r)++]);
	return edits;
}

static void
load_sample(struct loading *l, const config_setting_t *g, struct pack_sample *s)
{
	static const char *const names[] = {
	    "name", "rule", "server", "lines", "not", "hostile", "events", NULL};
	const config_setting_t *events;
	size_t i;

	only(l, g, names);
	s->line = (unsigned)config_setting_source_line(g);
	s->name = text_of(l, g, "name", true);
	s->rules = texts_of(l, g, "rule", &s->rule_count);
	s->server = text_of(l, g, "server", false);
	if (s->server == NULL)
		s->server = xstrdup("example.org");
	s->lines = texts_of(l, g, "lines", &s->line_count);
	if (s->line_count == 0)
		wrong(l, g, "a sample needs \"lines\"");
	s->nots = edits_of(l, g, "not", &s->not_count);
	s->hostile = edits_of(l, g, "hostile", &s->hostile_count);
	events = list_of(l, g, "events", &s->event_count);
	s->events = xcalloc(s->event_count, sizeof(*s->events));
	for (i = 0; i < s->event_count; i++)
		s->events[i] =
		    load_sample_event(l, config_setting_get_elem(events, (unsigned)i));
}

static void
load_samples(struct loading *l, const config_setting_t *root)
{
	struct pack *p = l->pack;
	const config_setting_t *list = list_of(l, root, "samples", &p->sample_count);
	size_t i;

	p->samples = xcalloc(p->sample_count, sizeof(*p->samples));
	for (i = 0; i < p->sample_count; i++)
		load_sample(
		    l, config_setting_get_elem(list, (unsigned)i), &p->samples[i]);
}

/* ---- what must hold between the parts -------------------------------------- */

const struct pack_rule *
pack_rule_find(const struct pack *p, const char *name)
{
	size_t i;

	for (i = 0; i < p->rule_count; i++)
		if (p->rules[i].name != NULL && strcmp(p->rules[i].name, name) == 0)
			return &p->rules[i];
	return NULL;
}

static bool
captures(const struct pattern *p, const char *name)
{
	size_t i;

	for (i = 0; p != NULL && i < p->capture_count; i++)
		if (strcmp(p->captures[i].name, name) == 0)
			return true;
	return false;
}

/* Does r, or what it takes up, ask for the rule sought?  seen: which rules were asked. */
static bool
leads_to(const struct pack *p, const struct pack_rule *r, const struct pack_rule *sought,
    bool *seen)
{
	const struct pack_rule *with;
	size_t i;

	for (i = 0; i < r->with_count; i++) {
		with = pack_rule_find(p, r->with[i]);
		if (with == NULL)
			continue;
		if (with == sought)
			return true;
		if (seen[with - p->rules])
			continue;
		seen[with - p->rules] = true;
		if (leads_to(p, with, sought, seen))
			return true;
	}
	return false;
}

/* Rules that wait for each other would never be remembered. */
static bool
check_circles(struct loading *l, const config_setting_t *list)
{
	const struct pack *p = l->pack;
	bool none = true, *seen;
	size_t i;

	for (i = 0; i < p->rule_count; i++) {
		seen = xcalloc(p->rule_count, sizeof(*seen));
		if (p->rules[i].name != NULL &&
		    leads_to(p, &p->rules[i], &p->rules[i], seen)) {
			wrong(l, config_setting_get_elem(list, (unsigned)i),
			    "rule \"%s\" asks, by its \"with\", for itself",
			    p->rules[i].name);
			none = false;
		}
		free(seen);
	}
	return none;
}

/* Is name captured by r, or by what the first with_count of its "with" remember? */
static bool
has_capture(
    const struct pack *p, const struct pack_rule *r, size_t with_count, const char *name)
{
	const struct pack_rule *with;
	size_t i;

	if (captures(r->pattern, name))
		return true;
	for (i = 0; i < r->guard_count; i++)
		if (captures(r->guards[i].pattern, name))
			return true;
	for (i = 0; i < with_count; i++) {
		with = pack_rule_find(p, r->with[i]);
		if (with != NULL && has_capture(p, with, with->with_count, name))
			return true;
	}
	return false;
}

/*
 * Each of names remembers; and where it does so by a key, the key's value is at
 * hand when it is looked for: "with" has what stands before it, "without" comes
 * after all of them.
 */
static void
check_remembered(struct loading *l, const config_setting_t *at, const struct pack_rule *r,
    char *const *names, size_t count)
{
	const struct pack_rule *other;
	size_t i;

	for (i = 0; i < count; i++) {
		other = pack_rule_find(l->pack, names[i]);
		if (other == NULL || !other->remember || other == r)
			wrong(l, at,
			    "rule \"%s\": there is no rule \"%s\" that remembers",
			    r->name, names[i]);
		else if (other->key != NULL &&
		    !has_capture(
			l->pack, r, names == r->with ? i : r->with_count, other->key))
			wrong(l, at,
			    "rule \"%s\": \"%s\" is remembered by \"%s\", which nothing "
			    "captures before",
			    r->name, names[i], other->key);
	}
}

/* What ends a text is known by its key. */
static void
check_until(struct loading *l, const config_setting_t *at, const struct pack_rule *r)
{
	const struct pack_rule *other;

	if (r->until == NULL)
		return;
	check_remembered(l, at, r, &r->until, 1);
	other = pack_rule_find(l->pack, r->until);
	if (other != NULL && other->key == NULL)
		wrong(l, at, "rule \"%s\": \"until\" names a rule without a key, \"%s\"",
		    r->name, r->until);
}

static void
check_formats(struct loading *l, const config_setting_t *at, const struct pack_rule *r)
{
	size_t i, f;

	for (i = 0; i < r->format_count; i++) {
		for (f = 0; f < l->pack->format_count; f++)
			if (l->pack->formats[f].name != NULL &&
			    strcmp(l->pack->formats[f].name, r->formats[i]) == 0)
				break;
		if (f == l->pack->format_count)
			wrong(l, at, "rule \"%s\": there is no format \"%s\"", r->name,
			    r->formats[i]);
	}
}

static void
check_values(struct loading *l, const config_setting_t *at, const struct pack_rule *r,
    const struct pack_value *values, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (values[i].kind == VALUE_CAPTURE && values[i].text != NULL &&
		    !has_capture(l->pack, r, r->with_count, values[i].text))
			wrong(l, at, "rule \"%s\": nothing captures \"%s\"", r->name,
			    values[i].text);
}

static void
check_emit(struct loading *l, const config_setting_t *at, const struct pack_rule *r)
{
	const struct pack_emit *emit = r->emit;

	if (emit == NULL)
		return;
	if (emit->each != NULL && !has_capture(l->pack, r, r->with_count, emit->each))
		wrong(l, at, "rule \"%s\": nothing captures \"%s\"", r->name, emit->each);
	check_values(l, at, r, emit->values, emit->value_count);
	check_values(l, at, r, emit->source, emit->source_count);
}

static bool
is_told_once(const struct pack *p, const char *type)
{
	size_t i;

	for (i = 0; i < p->rule_count; i++) {
		const struct pack_emit *emit = p->rules[i].emit;

		if (emit != NULL && emit->unless_told && emit->type != NULL &&
		    strcmp(emit->type, type) == 0)
			return true;
	}
	return false;
}

static void
check_rules(struct loading *l, const config_setting_t *root)
{
	const config_setting_t *list = config_setting_get_member(root, "rules");
	size_t i;

	/* The checks below follow "with" from rule to rule. */
	if (!check_circles(l, list))
		return;
	for (i = 0; i < l->pack->rule_count; i++) {
		const config_setting_t *at = config_setting_get_elem(list, (unsigned)i);
		const struct pack_rule *r = &l->pack->rules[i];

		/* What its own mistakes entail need not be told as well. */
		if (r->name == NULL || r->pattern == NULL)
			continue;
		if (pack_rule_find(l->pack, r->name) != r)
			wrong(l, at, "there are two rules \"%s\"", r->name);
		check_formats(l, at, r);
		check_remembered(l, at, r, r->with, r->with_count);
		check_remembered(l, at, r, r->without, r->without_count);
		check_until(l, at, r);
		if (r->key != NULL && !has_capture(l->pack, r, r->with_count, r->key))
			wrong(l, at, "rule \"%s\": nothing captures its key \"%s\"",
			    r->name, r->key);
		if (r->escaped != NULL &&
		    !has_capture(l->pack, r, r->with_count, r->escaped))
			wrong(l, at, "rule \"%s\": nothing captures \"%s\"", r->name,
			    r->escaped);
		if (r->renews != NULL && !is_told_once(l->pack, r->renews))
			wrong(l, at,
			    "rule \"%s\": no rule tells \"%s\" with \"unless_told\"",
			    r->name, r->renews);
		check_emit(l, at, r);
	}
}

static void
check_samples(struct loading *l, const config_setting_t *root)
{
	const config_setting_t *list = config_setting_get_member(root, "samples");
	size_t i, r;

	for (i = 0; i < l->pack->sample_count; i++) {
		const struct pack_sample *s = &l->pack->samples[i];

		for (r = 0; r < s->rule_count; r++)
			if (pack_rule_find(l->pack, s->rules[r]) == NULL)
				wrong(l, config_setting_get_elem(list, (unsigned)i),
				    "there is no rule \"%s\"", s->rules[r]);
	}
}

static void
load_about(struct loading *l, const config_setting_t *root)
{
	static const char *const names[] = {"name", "title", "versions", "needs",
	    "advice", "tested", "tells", "macros", "request", "formats", "rules",
	    "samples", NULL};
	struct pack *p = l->pack;

	only(l, root, names);
	p->name = name_of(l, root, "name");
	p->title = text_of(l, root, "title", true);
	p->versions = text_of(l, root, "versions", true);
	p->needs = text_of(l, root, "needs", true);
	p->advice = texts_of(l, root, "advice", &p->advice_count);
	p->tested = text_of(l, root, "tested", true);
}

struct pack *
pack_load(const char *path, struct err_list *errs)
{
	struct loading l = {.errs = errs};
	size_t before = errs->count, i;
	config_setting_t *root;
	config_t file;

	l.pack = xcalloc(1, sizeof(*l.pack));
	l.pack->path = xstrdup(path);
	config_init(&file);
	if (config_read_file(&file, path) != CONFIG_TRUE) {
		if (config_error_type(&file) == CONFIG_ERR_FILE_IO)
			(void)err_list_add(
			    errs, "%s: cannot be read: %s", path, strerror(errno));
		else
			(void)err_list_add(errs, "%s:%d: %s", path,
			    config_error_line(&file), config_error_text(&file));
		goto done;
	}
	root = config_root_setting(&file);
	load_about(&l, root);
	load_macros(&l, root);
	if (config_setting_get_member(root, "request") != NULL)
		l.pack->request = pattern_of(&l, root, "request");
	load_tells(&l, root);
	load_formats(&l, root);
	load_rules(&l, root);
	load_samples(&l, root);
	check_rules(&l, root);
	check_samples(&l, root);

done:
	config_destroy(&file);
	for (i = 0; i < l.macro_count; i++) {
		free(l.macro_names[i]);
		free(l.macro_texts[i]);
	}
	free(l.macro_names);
	free(l.macro_texts);
	if (errs->count > before) {
		pack_free(l.pack);
		return NULL;
	}
	return l.pack;
}

/* ---- freeing ------------------------------------------------------------------ */

static void
free_texts(char **texts, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		free(texts[i]);
	free(texts);
}

static void
free_values(struct pack_value *values, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		free(values[i].field);
		free(values[i].text);
	}
	free(values);
}

static void
free_emit(struct pack_emit *emit)
{
	if (emit == NULL)
		return;
	free_values(emit->values, emit->value_count);
	free_values(emit->source, emit->source_count);
	free(emit->each);
	free(emit->type);
	free(emit);
}

static void
free_rule(struct pack_rule *r)
{
	size_t i;

	for (i = 0; i < r->guard_count; i++) {
		free(r->guards[i].field);
		pattern_free(r->guards[i].pattern);
	}
	free(r->guards);
	free_texts(r->formats, r->format_count);
	free_texts(r->levels, r->level_count);
	free_texts(r->with, r->with_count);
	free_texts(r->without, r->without_count);
	free_emit(r->emit);
	pattern_free(r->pattern);
	free(r->logger);
	free(r->name);
	free(r->key);
	free(r->renews);
	free(r->escaped);
	free(r->until);
}

static void
free_format(struct pack_format *f)
{
	unsigned part;

	for (part = 0; part < PART_COUNT; part++)
		free(f->key[part]);
	pattern_free(f->pattern);
	free(f->name);
}

static void
free_edits(struct pack_edit *edits, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		free(edits[i].from);
		free(edits[i].to);
	}
	free(edits);
}

static void
free_sample(struct pack_sample *s)
{
	free_texts(s->lines, s->line_count);
	free_texts(s->events, s->event_count);
	free_texts(s->rules, s->rule_count);
	free_edits(s->nots, s->not_count);
	free_edits(s->hostile, s->hostile_count);
	free(s->server);
	free(s->name);
}

void
pack_free(struct pack *p)
{
	size_t i;

	if (p == NULL)
		return;
	for (i = 0; i < p->tells_count; i++) {
		free(p->tells[i].type);
		free(p->tells[i].how);
		free(p->tells[i].note);
	}
	for (i = 0; i < p->format_count; i++)
		free_format(&p->formats[i]);
	for (i = 0; i < p->rule_count; i++)
		free_rule(&p->rules[i]);
	for (i = 0; i < p->sample_count; i++)
		free_sample(&p->samples[i]);
	pattern_free(p->request);
	free(p->tells);
	free(p->formats);
	free(p->rules);
	free(p->samples);
	free(p->name);
	free(p->title);
	free(p->versions);
	free(p->needs);
	free_texts(p->advice, p->advice_count);
	free(p->tested);
	free(p->path);
	free(p);
}
