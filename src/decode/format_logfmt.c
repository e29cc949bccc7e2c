/*
 * key=value and key="value", as logrus and its kin write them.  Quoted values
 * are those of Go's strconv.Quote: what comes back is what was quoted, byte for
 * byte.  A writer of this format quotes whatever could be taken for its own
 * punctuation, so a line that breaks the rules was not written by one.
 */
#include <string.h>

#include "base/utf8.h"
#include "decode/format.h"

struct cursor {
	const char *p, *end;
};

static bool
is_control(char c)
{
	return (unsigned char)c < ' ' || c == 0x7f;
}

static bool
is_bare(char c)
{
	return !is_control(c) && c != ' ' && c != '=' && c != '"';
}

static struct slice
take_bare(struct cursor *c)
{
	const char *begin = c->p;

	while (c->p < c->end && is_bare(*c->p))
		c->p++;
	return (struct slice){begin, (size_t)(c->p - begin)};
}

static int
digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

/* Exactly width digits of base. */
static bool
take_number(struct cursor *c, unsigned width, unsigned base, uint32_t *n_r)
{
	for (*n_r = 0; width > 0; width--) {
		int digit = c->p < c->end ? digit_value(*c->p) : 16;

		if (digit >= (int)base)
			return false;
		*n_r = *n_r * base + (uint32_t)digit;
		c->p++;
	}
	return true;
}

static bool
take_byte(struct cursor *c, unsigned width, unsigned base, struct buf *out)
{
	uint32_t n;

	if (!take_number(c, width, base, &n) || n > 0xff)
		return false;
	buf_addc(out, (char)n);
	return true;
}

/* What follows a backslash. */
static bool
take_escape(struct cursor *c, struct buf *out)
{
	static const char names[] = "abfnrtv\\\"", bytes[] = "\a\b\f\n\r\t\v\\\"";
	const char *name;
	uint32_t code;

	if (c->p == c->end)
		return false;
	if (*c->p >= '0' && *c->p <= '7')
		return take_byte(c, 3, 8, out);
	switch (*c->p++) {
	case 'x':
		return take_byte(c, 2, 16, out);
	case 'u':
		return take_number(c, 4, 16, &code) && utf8_add(out, code) == 0;
	case 'U':
		return take_number(c, 8, 16, &code) && utf8_add(out, code) == 0;
	default:
		name = c->p[-1] == '\0' ? NULL : strchr(names, c->p[-1]);
		if (name == NULL)
			return false;
		buf_addc(out, bytes[name - names]);
		return true;
	}
}

/* The text up to the closing quote, which is passed over. */
static bool
take_quoted(struct cursor *c, struct slice *inside_r)
{
	const char *begin = c->p;

	for (; c->p < c->end && *c->p != '"'; c->p++) {
		if (is_control(*c->p))
			return false;
		if (*c->p == '\\' && ++c->p == c->end)
			return false;
	}
	if (c->p == c->end)
		return false;
	*inside_r = (struct slice){begin, (size_t)(c->p++ - begin)};
	return true;
}

static bool
unquote(struct slice inside, struct buf *out)
{
	struct cursor c = {inside.p, inside.p + inside.len};

	buf_reset(out);
	while (c.p < c.end) {
		const char *slash = memchr(c.p, '\\', (size_t)(c.end - c.p));
		const char *stop = slash == NULL ? c.end : slash;

		buf_add(out, c.p, (size_t)(stop - c.p));
		c.p = stop;
		if (slash == NULL)
			break;
		c.p++;
		if (!take_escape(&c, out))
			return false;
	}
	return true;
}

static bool
take_value(struct cursor *c, struct buf *text, struct slice *value_r, struct arena *a)
{
	if (c->p == c->end || *c->p != '"') {
		*value_r = take_bare(c);
		return true;
	}
	c->p++;
	if (!take_quoted(c, value_r))
		return false;
	if (memchr(value_r->p, '\\', value_r->len) == NULL)
		return true;
	if (!unquote(*value_r, text))
		return false;
	*value_r = (struct slice){arena_strndup(a, text->p, text->len), text->len};
	return true;
}

int
format_logfmt(struct format_tools *t, const struct pack_format *f, struct slice line,
    struct record *r, struct arena *a)
{
	struct cursor c = {line.p, line.p + line.len};

	for (;;) {
		struct slice key = take_bare(&c), value;

		if (key.len == 0 || c.p == c.end || *c.p++ != '=' ||
		    !take_value(&c, &t->text, &value, a))
			return 0;
		format_add(r, f, key, value, a);
		if (c.p < c.end && *c.p != ' ')
			return 0;
		while (c.p < c.end && *c.p == ' ')
			c.p++;
		if (c.p == c.end)
			return format_is_whole(r, f);
	}
}
