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

const char *
content_make(const struct pack_emit *emit, const struct slice *item, content_find *find,
    void *arg, struct arena *a, struct account_event *ev)
{
	json_object *content = json_object_new_object();
	const char *missing = NULL, *text;
	size_t i, len;

	if (content == NULL)
		mem_exhausted();
	for (i = 0; i < emit->value_count; i++) {
		const struct pack_value *v = &emit->values[i];
		json_object *o = json_value(v, emit, item, find, arg);

		if (o != NULL && json_object_object_add(content, v->field, o) != 0)
			mem_exhausted();
		if (strcmp(v->field, "user_id") != 0)
			continue;
		if (o == NULL)
			missing = v->text;
		else
			ev->user_id = arena_strndup(a, json_object_get_string(o),
			    (size_t)json_object_get_string_len(o));
	}
	text = json_object_to_json_string_length(
	    content, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	if (text == NULL)
		mem_exhausted();
	ev->content = arena_strndup(a, text, len);
	ev->source = arena_printf(a, "{\"rule\":\"%s\"}", ev->rule);
	json_object_put(content);
	return missing;
}
