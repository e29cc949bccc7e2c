#include "tail/entry.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tail/tail.h"

#define FIELDS_FIRST 64

void
entry_add(struct entry *en, struct slice field)
{
	const char *equals = memchr(field.p, '=', field.len);

	if (field.len >= LINE_MAX_BYTES) {
		en->too_long++;
		return;
	}
	if (equals == NULL)
		return;
	if (en->count == en->room) {
		en->room = en->room == 0 ? FIELDS_FIRST : 2 * en->room;
		en->fields = xreallocarray(en->fields, en->room, sizeof(*en->fields));
	}
	en->fields[en->count++] =
	    (struct entry_field){en->bytes.len, (size_t)(equals - field.p), field.len};
	buf_add(&en->bytes, field.p, field.len);
}

static struct slice
name_of(const struct entry *en, const struct entry_field *f)
{
	return (struct slice){en->bytes.p + f->at, f->name_len};
}

static struct slice
value_of(const struct entry *en, const struct entry_field *f)
{
	return (struct slice){
	    en->bytes.p + f->at + f->name_len + 1, f->len - f->name_len - 1};
}

/* As journalctl sees it: also U+0080 to U+009F are control characters. */
static bool
is_clean(struct slice text)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if ((c < ' ' && c != '\t' && c != '\n') || c == 0x7f)
			return false;
		if (c == 0xc2 && i + 1 < text.len && (unsigned char)text.p[i + 1] < 0xa0)
			return false;
	}
	return utf8_valid(text);
}

static void
put_string(struct buf *line, struct slice text)
{
	size_t i;

	buf_addc(line, '"');
	for (i = 0; i < text.len; i++) {
		switch (text.p[i]) {
		case '"':
		case '\\':
			buf_addc(line, '\\');
			buf_addc(line, text.p[i]);
			break;
		case '\n':
			buf_adds(line, "\\n");
			break;
		case '\t':
			buf_adds(line, "\\t");
			break;
		default:
			buf_addc(line, text.p[i]);
		}
	}
	buf_addc(line, '"');
}

static void
put_value(struct buf *line, struct slice value)
{
	size_t i;

	if (is_clean(value)) {
		put_string(line, value);
		return;
	}
	for (i = 0; i < value.len; i++)
		buf_addf(line, "%c%u", i == 0 ? '[' : ',', (unsigned char)value.p[i]);
	buf_addc(line, ']');
}

/* The next field of f's name behind f; NULL: there is none. */
static const struct entry_field *
next_of_name(const struct entry *en, const struct entry_field *f)
{
	const struct slice name = name_of(en, f);

	for (f++; f < en->fields + en->count; f++)
		if (slice_eq(name_of(en, f), name))
			return f;
	return NULL;
}

static bool
is_first_of_name(const struct entry *en, const struct entry_field *f)
{
	const struct entry_field *before;

	for (before = en->fields; before < f; before++)
		if (slice_eq(name_of(en, before), name_of(en, f)))
			return false;
	return true;
}

static void
put_field(const struct entry *en, const struct entry_field *f, struct buf *line)
{
	bool several = next_of_name(en, f) != NULL;

	put_string(line, name_of(en, f));
	buf_adds(line, several ? ":[" : ":");
	put_value(line, value_of(en, f));
	while ((f = next_of_name(en, f)) != NULL) {
		buf_addc(line, ',');
		put_value(line, value_of(en, f));
	}
	if (several)
		buf_addc(line, ']');
}

void
entry_line(const struct entry *en, struct buf *line)
{
	const struct entry_field *f;

	buf_addc(line, '{');
	for (f = en->fields; f < en->fields + en->count; f++) {
		if (!is_first_of_name(en, f))
			continue;
		if (f != en->fields)
			buf_addc(line, ',');
		put_field(en, f, line);
	}
	buf_adds(line, "}\n");
}

void
entry_reset(struct entry *en)
{
	buf_reset(&en->bytes);
	en->count = en->too_long = 0;
}

void
entry_free(struct entry *en)
{
	buf_free(&en->bytes);
	free(en->fields);
	*en = (struct entry){0};
}
