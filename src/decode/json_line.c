#include "decode/json_line.h"

#include <json-c/json.h>
#include <limits.h>

struct json_tokener *
json_line_parser(int depth)
{
	struct json_tokener *tok = json_tokener_new_ex(depth);

	if (tok == NULL)
		mem_exhausted();
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	return tok;
}

struct json_object *
json_line_parse(struct json_tokener *tok, struct slice line)
{
	struct json_object *o;
	size_t end;

	/* Most lines of other formats end here, at their first byte. */
	if (line.len == 0 || line.len > INT_MAX || line.p[0] != '{')
		return NULL;
	o = json_tokener_parse_ex(tok, line.p, (int)line.len);
	end = json_tokener_get_parse_end(tok);
	json_tokener_reset(tok);
	/* A NUL ends the parser's work, whatever stands behind it. */
	if (o != NULL && (end != line.len || !json_object_is_type(o, json_type_object))) {
		(void)json_object_put(o);
		return NULL;
	}
	return o;
}

struct slice
json_line_text(struct json_object *value, struct arena *a)
{
	const char *text;
	size_t len;

	switch (json_object_get_type(value)) {
	case json_type_null:
	case json_type_array:
	case json_type_object:
		return (struct slice){NULL, 0};
	case json_type_string:
		text = json_object_get_string(value);
		len = (size_t)json_object_get_string_len(value);
		break;
	default:
		text = json_object_to_json_string_length(
		    value, JSON_C_TO_STRING_PLAIN, &len);
		break;
	}
	if (text == NULL)
		mem_exhausted();
	return (struct slice){arena_strndup(a, text, len), len};
}
