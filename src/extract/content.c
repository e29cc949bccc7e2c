#include "extract/content.h"

#include <json-c/json.h>
#include <string.h>

#include "base/mem.h"
#include "extract/account_event.h"
#include "match/match.h"
#include "pack/pack.h"

static json_object *
json_text(struct slice s)
{
	json_object *o = json_object_new_string_len(s.len == 0 ? "" : s.p, (int)s.len);

	if (o == NULL)
		mem_exhausted();
	return o;
}

/* NULL where the value is not there. */
static json_object *
json_value(const struct pack_value *v, const struct pack_emit *emit,
    const struct slice *item, content_find *find, void *arg)
{
	const struct capture *c;

	if (v->kind == VALUE_BOOL)
		return json_object_new_boolean(v->yes);
	if (v->kind == VALUE_STRING)
		return json_text(slice_of(v->text));
	if (item != NULL && strcmp(v->text, emit->each) == 0)
		return json_text(*item);
	c = find(arg, v->text);
	if (c == NULL || c->value.list || c->value.count == 0)
		return NULL;
	return json_text(c->value.items[0]);
}

static void
add(json_object *to, const char *name, json_object *value)
{
	if (value != NULL && json_object_object_add(to, name, value) != 0)
		mem_exhausted();
}

/* The text of o, in the arena; o is freed. */
static const char *
written(json_object *o, struct arena *a)
{
	const char *text;
	size_t len;

	text = json_object_to_json_string_length(
	    o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	if (text == NULL)
		mem_exhausted();
	text = arena_strndup(a, text, len);
	json_object_put(o);
	return text;
}

static json_object *
new_object(void)
{
	json_object *o = json_object_new_object();

	if (o == NULL)
		mem_exhausted();
	return o;
}

const char *
content_make(const struct pack_emit *emit, const struct slice *item, content_find *find,
    void *arg, struct arena *a, struct account_event *ev)
{
	json_object *content = new_object(), *source = new_object();
	const char *missing = NULL;
	size_t i;

	for (i = 0; i < emit->value_count; i++) {
		const struct pack_value *v = &emit->values[i];
		json_object *o = json_value(v, emit, item, find, arg);

		add(content, v->field, o);
		if (strcmp(v->field, "user_id") != 0)
			continue;
		if (o == NULL)
			missing = v->text;
		else
			ev->user_id = arena_strndup(a, json_object_get_string(o),
			    (size_t)json_object_get_string_len(o));
	}
	add(source, "rule", json_text(slice_of(ev->rule)));
	for (i = 0; i < emit->source_count; i++)
		add(source, emit->source[i].field,
		    json_value(&emit->source[i], emit, item, find, arg));
	ev->content = written(content, a);
	ev->source = written(source, a);
	return missing;
}
