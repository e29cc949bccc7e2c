#include "pack/capture.h"

#include <stdint.h>
#include <string.h>

#include "base/utf8.h"

#define USER_ID_MAX 255 /* bytes; Matrix specification, "User Identifiers" */

/* Every octet of a historical localpart but ':' and what would end the word. */
#define LOCALPART "[!-9;-~]{1,255}"
#define SERVER_NAME "[0-9A-Za-z.:\\[\\]-]{1,255}"
#define PY_STR "(?:'(?:[^'\\\\]++|\\\\.)*+'|\"(?:[^\"\\\\]++|\\\\.)*+\")"
#define URI_PART "[^/?#\\s\"]{1,1024}"

static const struct {
	const char *name;
	enum capture_type type;
	const char *pattern;
} macros[] = {
    {"user_id", CAPTURE_USER_ID, "@" LOCALPART ":" SERVER_NAME},
    {"user_id_uri", CAPTURE_USER_ID_URI, "(?:@|%40)" URI_PART},
    {"localpart", CAPTURE_LOCALPART, LOCALPART},
    /* 512 characters of at most four bytes: what Synapse lets through. */
    {"device_id", CAPTURE_DEVICE_ID, ".{0,2048}?"},
    {"device_id_uri", CAPTURE_DEVICE_ID_URI, "[^/?#\\s\"]{0,6144}"},
    {"device_id_quoted", CAPTURE_DEVICE_ID, "[^\"\\\\]{0,2048}"},
    {"py_list", CAPTURE_PY_LIST, "\\[(?:" PY_STR "(?:, (?=['\"])|(?=\\])))*+\\]"},
    {"go_list", CAPTURE_GO_LIST, "\\[[^\\[\\]]*\\]"},
    {"rust_str", CAPTURE_RUST_STR, "\"(?:[^\"\\\\]++|\\\\.)*+\""},
    {"server_name", CAPTURE_TEXT, SERVER_NAME},
    {"number", CAPTURE_TEXT, "\\d{1,19}"},
    {"decimal", CAPTURE_TEXT, "\\d{1,19}(?:\\.\\d{1,9})?"},
    {"word", CAPTURE_TEXT, "\\S{1,1024}"},
    {"address", CAPTURE_TEXT, "[0-9A-Fa-f.:%\\[\\]a-z]{1,64}"},
    {"timestamp", CAPTURE_TEXT,
	"\\d{4}-\\d\\d-\\d\\d[T ]\\d\\d:\\d\\d:\\d\\d(?:[.,]\\d{1,9})?"
	"(?:Z|[+-]\\d\\d:?\\d\\d)?"},
    {"client", CAPTURE_TEXT, "/_matrix/client/(?:r\\d{1,3}|v\\d{1,3}|unstable|api/v1)"},
    {"query", CAPTURE_TEXT, "(?:\\?\\S{0,65000})?"},
};

int
capture_macro(
    const char *name, size_t len, const char **pattern_r, enum capture_type *type_r)
{
	size_t i;

	for (i = 0; i < sizeof(macros) / sizeof(macros[0]); i++) {
		if (strlen(macros[i].name) != len ||
		    memcmp(macros[i].name, name, len) != 0)
			continue;
		*pattern_r = macros[i].pattern;
		*type_r = macros[i].type;
		return 1;
	}
	return 0;
}

static int
value_one(struct slice s, struct arena *a, struct value *v_r)
{
	v_r->items = arena_alloc(a, sizeof(*v_r->items));
	v_r->items[0] = s;
	v_r->count = 1;
	v_r->list = false;
	return 1;
}

static int
value_none(struct value *v_r)
{
	*v_r = (struct value){0};
	return 1;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* RFC 3986, 2.1.  0 where a '%' is not followed by two hex digits. */
static int
percent_decode(struct slice in, struct arena *a, struct slice *out_r)
{
	char *out = arena_alloc(a, in.len + 1);
	size_t i, n = 0;

	for (i = 0; i < in.len; i++) {
		if (in.p[i] != '%') {
			out[n++] = in.p[i];
			continue;
		}
		if (in.len - i < 3 || hex_digit(in.p[i + 1]) < 0 ||
		    hex_digit(in.p[i + 2]) < 0)
			return 0;
		out[n++] = (char)(hex_digit(in.p[i + 1]) * 16 + hex_digit(in.p[i + 2]));
		i += 2;
	}
	*out_r = (struct slice){out, n};
	return 1;
}

static int
decode_user_id(
    struct slice s, const char *server_name, struct arena *a, struct value *v_r)
{
	const char *colon;
	size_t i;

	if (s.len < 3 || s.len > USER_ID_MAX || s.p[0] != '@')
		return 0;
	for (i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] <= 0x20 || (unsigned char)s.p[i] >= 0x7f)
			return 0;
	colon = memchr(s.p, ':', s.len);
	if (colon == NULL || colon == s.p + 1)
		return 0;
	if (server_name != NULL &&
	    !slice_is((struct slice){colon + 1, (size_t)(s.p + s.len - colon - 1)},
		server_name))
		return 0;
	return value_one(s, a, v_r);
}

static int
decode_localpart(
    struct slice s, const char *server_name, struct arena *a, struct value *v_r)
{
	char *id;

	if (server_name == NULL)
		return 0;
	id = arena_printf(a, "@%.*s:%s", (int)s.len, s.p, server_name);
	return decode_user_id(slice_of(id), server_name, a, v_r);
}

bool
capture_has_control(struct slice s)
{
	size_t i;

	for (i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return true;
	return false;
}

static int
decode_device_id(struct slice s, bool raw, struct arena *a, struct value *v_r)
{
	if ((raw && capture_has_control(s)) || !utf8_valid(s))
		return value_none(v_r);
	return value_one(s, a, v_r);
}

/* The n hex digits at p as a number, or -1. */
static long
hex_number(const char *p, const char *end, int n)
{
	long value = 0;
	int i;

	if (end - p < n)
		return -1;
	for (i = 0; i < n; i++) {
		if (hex_digit(p[i]) < 0)
			return -1;
		value = value * 16 + hex_digit(p[i]);
	}
	return value;
}

/*
 * One escape of Python's repr of a str, p behind the backslash.  What follows
 * it, or NULL where repr writes no such thing.  CPython, unicode_repr().
 */
static const char *
py_escape(const char *p, const char *end, struct buf *out)
{
	static const char named[] = "\\'\"nrt", meant[] = "\\'\"\n\r\t";
	const char *hit;
	int digits;
	long code;

	if (p == end)
		return NULL;
	hit = memchr(named, *p, sizeof(named) - 1);
	if (hit != NULL) {
		buf_addc(out, meant[hit - named]);
		return p + 1;
	}
	digits = *p == 'x' ? 2 : *p == 'u' ? 4 : *p == 'U' ? 8 : 0;
	if (digits == 0)
		return NULL;
	code = hex_number(p + 1, end, digits);
	if (code < 0 || utf8_add(out, (uint32_t)code) == -1)
		return NULL;
	return p + 1 + digits;
}

/* One quoted str of a list, p at its quote.  What follows it, or NULL. */
static const char *
py_str(const char *p, const char *end, struct buf *out)
{
	char quote = *p++;

	if (quote != '\'' && quote != '"')
		return NULL;
	while (p != NULL && p < end && *p != quote) {
		if (*p == '\\')
			p = py_escape(p + 1, end, out);
		else
			buf_addc(out, *p++);
	}
	if (p == NULL || p >= end)
		return NULL;
	return p + 1;
}

static void
list_add(struct value *v, struct slice item, struct arena *a)
{
	struct slice *items;

	/* Grown by doubling; the arena takes back what was outgrown. */
	if ((v->count & (v->count - 1)) == 0) {
		items =
		    arena_alloc(a, (v->count == 0 ? 1 : v->count * 2) * sizeof(*items));
		if (v->count > 0)
			memcpy(items, v->items, v->count * sizeof(*items));
		v->items = items;
	}
	v->items[v->count++] = item;
}

/* Python's repr of a list of str: [], ['A'], ['A', "it's"]. */
static int
decode_py_list(struct slice s, struct arena *a, struct value *v_r)
{
	const char *p = s.p + 1, *end = s.p + s.len - 1;
	struct buf item = {0};

	*v_r = (struct value){.list = true};
	if (s.len < 2 || s.p[0] != '[' || *end != ']')
		return 0;
	while (p < end) {
		buf_reset(&item);
		p = py_str(p, end, &item);
		if (p == NULL || !utf8_valid((struct slice){item.p, item.len}))
			goto bad;
		list_add(v_r,
		    (struct slice){
			arena_strndup(a, item.p == NULL ? "" : item.p, item.len),
			item.len},
		    a);
		if (p == end)
			break;
		if (end - p < 3 || p[0] != ',' || p[1] != ' ')
			goto bad;
		p += 2;
	}
	buf_free(&item);
	return 1;

bad:
	buf_free(&item);
	return 0;
}

/*
 * Go's %v of a []string: [A B].  An item with a space in it can't be told from
 * two, so the caller's pack must say what such a list is worth.
 */
static int
decode_go_list(struct slice s, struct arena *a, struct value *v_r)
{
	const char *p = s.p + 1, *end = s.p + s.len - 1, *space;

	*v_r = (struct value){.list = true};
	if (s.len < 2 || s.p[0] != '[' || *end != ']')
		return 0;
	while (p < end) {
		space = memchr(p, ' ', (size_t)(end - p));
		if (space == NULL)
			space = end;
		list_add(v_r, (struct slice){p, (size_t)(space - p)}, a);
		p = space + 1;
	}
	return 1;
}

/* \u{hex}, p behind the 'u'.  What follows it, or NULL. */
static const char *
rust_unicode(const char *p, const char *end, struct buf *out)
{
	uint32_t code = 0;
	int digits;

	if (p == end || *p++ != '{')
		return NULL;
	for (digits = 0; p < end && hex_digit(*p) >= 0 && digits < 6; p++, digits++)
		code = code * 16 + (uint32_t)hex_digit(*p);
	if (digits == 0 || p == end || *p != '}' || utf8_add(out, code) == -1)
		return NULL;
	return p + 1;
}

/*
 * One escape of Rust's Debug of a str, p behind the backslash.  What follows
 * it, or NULL where Debug writes no such thing.  core::fmt, impl Debug for str.
 */
static const char *
rust_escape(const char *p, const char *end, struct buf *out)
{
	static const char named[] = "0trn\\\"'", meant[] = "\0\t\r\n\\\"'";
	const char *hit;

	if (p == end)
		return NULL;
	hit = memchr(named, *p, sizeof(named) - 1);
	if (hit == NULL)
		return *p == 'u' ? rust_unicode(p + 1, end, out) : NULL;
	buf_addc(out, meant[hit - named]);
	return p + 1;
}

static int
decode_rust_str(struct slice s, struct arena *a, struct value *v_r)
{
	const char *p = s.p + 1, *end = s.p + s.len - 1;
	struct buf text = {0};
	int found = 0;

	if (s.len < 2 || s.p[0] != '"' || *end != '"')
		return 0;
	buf_reserve(&text, s.len);
	while (p != NULL && p < end && *p != '"') {
		if (*p == '\\')
			p = rust_escape(p + 1, end, &text);
		else
			buf_addc(&text, *p++);
	}
	if (p == end && utf8_valid((struct slice){text.p, text.len}))
		found = value_one(
		    (struct slice){arena_strndup(a, text.p, text.len), text.len}, a, v_r);
	buf_free(&text);
	return found;
}

int
capture_decode(enum capture_type type, struct slice text, const char *server_name,
    bool raw, struct arena *a, struct value *v_r)
{
	struct slice plain;

	switch (type) {
	case CAPTURE_USER_ID:
		return decode_user_id(text, server_name, a, v_r);
	case CAPTURE_USER_ID_URI:
		if (!percent_decode(text, a, &plain))
			return 0;
		return decode_user_id(plain, server_name, a, v_r);
	case CAPTURE_LOCALPART:
		return decode_localpart(text, server_name, a, v_r);
	case CAPTURE_DEVICE_ID:
		return decode_device_id(text, raw, a, v_r);
	case CAPTURE_DEVICE_ID_URI:
		if (!percent_decode(text, a, &plain))
			return 0;
		return decode_device_id(plain, false, a, v_r);
	case CAPTURE_PY_LIST:
		return decode_py_list(text, a, v_r);
	case CAPTURE_GO_LIST:
		return decode_go_list(text, a, v_r);
	case CAPTURE_RUST_STR:
		return decode_rust_str(text, a, v_r);
	case CAPTURE_TEXT:
	case CAPTURE_TYPE_COUNT:
		break;
	}
	if (!utf8_valid(text))
		return value_none(v_r);
	return value_one(text, a, v_r);
}
