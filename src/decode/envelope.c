#include "decode/envelope.h"

#include <json-c/json.h>
#include <stdbool.h>

#include "decode/json_line.h"
#include "decode/timestamp.h"

#define DOCKER_DEPTH 4 /* attrs is an object of strings */

static struct json_object *
member(struct json_object *o, const char *name, enum json_type type)
{
	struct json_object *value;

	if (!json_object_object_get_ex(o, name, &value) ||
	    !json_object_is_type(value, type))
		return NULL;
	return value;
}

/* The envelope's own time: always with its zone. */
static bool
read_time(struct slice text, int64_t *ms_r)
{
	struct timestamp ts;

	if (timestamp_parse(TIME_ISO, text, &ts) == -1 || ts.local)
		return false;
	*ms_r = ts.ms;
	return true;
}

/* Exactly log, stream and time, and attrs if the daemon was told to add labels. */
static int
open_docker(
    struct json_object *o, struct arena *a, struct slice *inner_r, int64_t *time_r)
{
	struct json_object *log = member(o, "log", json_type_string);
	struct json_object *stream = member(o, "stream", json_type_string);
	struct json_object *time = member(o, "time", json_type_string);
	struct json_object *attrs = member(o, "attrs", json_type_object);
	struct slice name;

	if (log == NULL || stream == NULL || time == NULL ||
	    json_object_object_length(o) != (attrs == NULL ? 3 : 4))
		return 0;
	name = slice_of(json_object_get_string(stream));
	if (!slice_is(name, "stdout") && !slice_is(name, "stderr"))
		return 0;
	if (!read_time(slice_of(json_object_get_string(time)), time_r))
		return 0;
	*inner_r = json_line_text(log, a);
	if (inner_r->len > 0 && inner_r->p[inner_r->len - 1] == '\n')
		inner_r->len--;
	else
		*inner_r = (struct slice){NULL, 0};
	return 1;
}

int
envelope_open(enum envelope_kind kind, struct slice line, struct arena *a,
    struct slice *inner_r, int64_t *time_r)
{
	struct json_tokener *tok;
	struct json_object *o;
	int rc = 0;

	if (kind == ENVELOPE_NONE || line.len == 0 || line.p[0] != '{')
		return 0;
	tok = json_line_parser(DOCKER_DEPTH);
	o = json_line_parse(tok, line);
	if (o != NULL)
		rc = open_docker(o, a, inner_r, time_r);
	(void)json_object_put(o);
	json_tokener_free(tok);
	return rc;
}
