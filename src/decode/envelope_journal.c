/*
 * The line that `journalctl -o json` prints of an entry, and tail/entry.h makes
 * of one: an object of the entry's fields.  What is no clean text is an array of
 * its bytes; what a field's values are, where it has several, is an array of
 * them; what was too large is null.
 */
#include <json-c/json.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "decode/envelope.h"
#include "decode/json_line.h"
#include "decode/record.h"

#define JOURNAL_DEPTH 4 /* an object of arrays of arrays of bytes */
#define TIME_KEY "__REALTIME_TIMESTAMP"

/* The bytes that the array v is; {NULL, 0} if it is none of bytes. */
static struct slice
bytes_of(struct json_object *v, struct arena *a)
{
	size_t count = json_object_array_length(v), i;
	char *bytes = arena_alloc(a, count + 1);

	for (i = 0; i < count; i++) {
		struct json_object *item = json_object_array_get_idx(v, i);
		int n = json_object_get_int(item);

		if (!json_object_is_type(item, json_type_int) || n < 0 || n > UCHAR_MAX)
			return (struct slice){NULL, 0};
		bytes[i] = (char)n;
	}
	return (struct slice){bytes, count};
}

/* The first value of a field: the only one that the journal's own fields have. */
static struct slice
value_of(struct json_object *v, struct arena *a)
{
	struct slice bytes;

	if (!json_object_is_type(v, json_type_array))
		return json_line_text(v, a);
	bytes = bytes_of(v, a);
	if (bytes.p != NULL)
		return bytes;
	v = json_object_array_get_idx(v, 0);
	if (json_object_is_type(v, json_type_array))
		return bytes_of(v, a);
	return json_object_is_type(v, json_type_string) ? json_line_text(v, a) : bytes;
}

/* Microseconds since 1970, as digits. */
static bool
read_time(struct json_object *o, struct arena *a, int64_t *ms_r)
{
	struct json_object *value;
	struct slice text;
	char *end;

	if (!json_object_object_get_ex(o, TIME_KEY, &value))
		return false;
	text = json_line_text(value, a);
	if (text.len == 0 || text.len > 18 || text.p[0] < '0' || text.p[0] > '9')
		return false;
	*ms_r = strtoll(text.p, &end, 10) / 1000;
	return *end == '\0';
}

static void
add_field(struct wrapped *w, const char *name, struct slice value, struct arena *a)
{
	struct record_field *fields = w->fields;

	fields[w->field_count++] = (struct record_field){
	    .name = slice_of(arena_strndup(a, name, strlen(name))), .value = value};
}

static void
add_fields(struct json_object *o, struct arena *a, struct wrapped *w)
{
	struct json_object_iterator at = json_object_iter_begin(o);
	struct json_object_iterator end = json_object_iter_end(o);

	w->fields = arena_alloc(
	    a, ((size_t)json_object_object_length(o) + 1) * sizeof(*w->fields));
	for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
		const char *name = json_object_iter_peek_name(&at);
		struct slice value = value_of(json_object_iter_peek_value(&at), a);

		if (value.p == NULL)
			continue;
		if (strcmp(name, "MESSAGE") == 0)
			w->inner = value;
		else
			add_field(w, name, value, a);
	}
}

static struct slice
field_of(const struct wrapped *w, const char *name)
{
	size_t i;

	for (i = 0; i < w->field_count; i++)
		if (slice_is(w->fields[i].name, name))
			return w->fields[i].value;
	return (struct slice){NULL, 0};
}

/*
 * Services and containers write side by side, each into streams of its own, which
 * journald and Docker name.  What came by another way than a stream is whole.
 */
static uint64_t
stream_of(const struct wrapped *w)
{
	const struct slice id = field_of(w, "_STREAM_ID");
	const struct slice container = field_of(w, "CONTAINER_ID_FULL");
	const struct slice transport = field_of(w, "_TRANSPORT");

	if (id.p != NULL)
		return XXH3_64bits(id.p, id.len);
	if (container.p != NULL)
		return XXH3_64bits_withSeed(container.p, container.len,
		    slice_is(field_of(w, "PRIORITY"), "3") ? STREAM_STDERR
							   : STREAM_STDOUT);
	return transport.p == NULL || slice_is(transport, "stdout") || w->partial
	    ? STREAM_STDOUT
	    : STREAM_NONE;
}

/*
 * journald ends a line of a service's output where it is too long, where a NUL
 * is in it, and where another process writes: what follows is no line of its
 * own, else a user's long text could begin one.  Docker and Podman cut, too.
 */
static void
tell_partial(struct wrapped *w, struct arena *a)
{
	const struct slice end = field_of(w, "_LINE_BREAK");
	char *with_nul;

	w->partial = slice_is(field_of(w, "CONTAINER_PARTIAL_MESSAGE"), "true") ||
	    (end.p != NULL && !slice_is(end, "eof"));
	w->stream = stream_of(w);
	w->lost = w->inner.p == NULL;
	if (w->lost)
		w->inner = (struct slice){"", 0};
	if (slice_is(end, "nul")) {
		with_nul = arena_strndup(a, w->inner.p, w->inner.len);
		w->inner = (struct slice){with_nul, w->inner.len + 1};
	}
}

bool
envelope_open_journal(struct slice line, struct arena *a, struct wrapped *w_r)
{
	struct json_tokener *tok;
	struct json_object *o;
	bool opened;

	if (line.len == 0 || line.p[0] != '{' ||
	    memmem(line.p, line.len, TIME_KEY, strlen(TIME_KEY)) == NULL)
		return false;
	*w_r = (struct wrapped){0};
	tok = json_line_parser(JOURNAL_DEPTH);
	o = json_line_parse(tok, line);
	opened = o != NULL && read_time(o, a, &w_r->ms);
	if (opened) {
		add_fields(o, a, w_r);
		tell_partial(w_r, a);
	}
	(void)json_object_put(o);
	json_tokener_free(tok);
	return opened;
}

/* The characters of what begins behind the '[' of an array of bytes. */
static size_t
least_of_bytes(const char *p, const char *end)
{
	unsigned byte = 0;
	size_t n = 0;

	for (; p < end && *p != ']'; p++) {
		if (*p >= '0' && *p <= '9') {
			byte = byte * 10 + (unsigned)(*p - '0');
			continue;
		}
		n += (byte & 0xc0) != 0x80;
		byte = 0;
	}
	return n + ((byte & 0xc0) != 0x80);
}

size_t
envelope_least_journal(struct slice line)
{
	const char *p = envelope_json_value(line, "\"MESSAGE\"");
	const char *end = line.p + line.len, *quote;

	if (p == NULL || p == end || (*p != '"' && *p != '['))
		return 0;
	if (*p++ == '[')
		return least_of_bytes(p, end);
	quote = envelope_json_end(p, end);
	return envelope_least_json(p, quote == NULL ? end : quote);
}
