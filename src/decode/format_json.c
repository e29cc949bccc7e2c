#include <json-c/json.h>
#include <string.h>

#include "decode/format.h"
#include "decode/json_line.h"

static struct slice
key_of(const char *outer, const char *name, struct arena *a)
{
	if (outer != NULL)
		return slice_of(arena_printf(a, "%s.%s", outer, name));
	return slice_of(arena_strndup(a, name, strlen(name)));
}

/* The scalars of o, and under "outer.inner" those of the objects in it. */
static void
add_members(struct record *r, const struct pack_format *f, struct json_object *o,
    const char *outer, struct arena *a)
{
	struct json_object_iterator at = json_object_iter_begin(o);
	struct json_object_iterator end = json_object_iter_end(o);

	for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
		const char *name = json_object_iter_peek_name(&at);
		struct json_object *value = json_object_iter_peek_value(&at);
		struct slice text;

		if (outer == NULL && json_object_is_type(value, json_type_object)) {
			add_members(r, f, value, name, a);
			continue;
		}
		text = json_line_text(value, a);
		if (text.p != NULL)
			format_add(r, f, key_of(outer, name, a), text, a);
	}
}

int
format_json(struct format_tools *t, const struct pack_format *f, struct slice line,
    struct record *r, struct arena *a)
{
	struct json_object *o;

	o = json_line_parse(t->json, line);
	if (o == NULL)
		return 0;
	add_members(r, f, o, NULL, a);
	(void)json_object_put(o);
	return format_is_whole(r, f);
}
