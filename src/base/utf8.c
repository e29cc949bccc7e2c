#include "base/utf8.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

/* Length of the well-formed sequence at p, 0 if there is none. */
static size_t
sequence(const unsigned char *p, size_t left)
{
	size_t n, i;
	unsigned char low = 0x80, high = 0xbf;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (left < n)
		return 0;
	/* RFC 3629, 4: the second byte's range shuts out overlongs and surrogates. */
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

bool
utf8_valid(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0, n;

	while (i < s.len) {
		n = sequence(p + i, s.len - i);
		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

/* Does p begin as what utf8_show makes of a byte? */
static bool
reads_as_shown(const char *p, size_t left)
{
	return left >= 4 && p[0] == '\\' && p[1] == 'x' &&
	    (memcmp(p + 2, "5c", 2) == 0 ||
		(strchr("89abcdef", p[2]) != NULL && p[2] != '\0' &&
		    isxdigit((unsigned char)p[3]) && !isupper((unsigned char)p[3])));
}

void
utf8_show(struct buf *b, struct slice s)
{
	size_t i, n;

	for (i = 0; i < s.len; i += n) {
		n = sequence((const unsigned char *)s.p + i, s.len - i);
		if (n > 0 && !reads_as_shown(s.p + i, s.len - i)) {
			buf_add(b, s.p + i, n);
		} else {
			n = 1;
			buf_addf(b, "\\x%02x", (unsigned char)s.p[i]);
		}
	}
}

int
utf8_add(struct buf *b, uint32_t code)
{
	if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return -1;
	if (code < 0x80) {
		buf_addc(b, (char)code);
		return 0;
	}
	if (code < 0x800) {
		buf_addc(b, (char)(0xc0 | (code >> 6)));
	} else {
		if (code < 0x10000) {
			buf_addc(b, (char)(0xe0 | (code >> 12)));
		} else {
			buf_addc(b, (char)(0xf0 | (code >> 18)));
			buf_addc(b, (char)(0x80 | ((code >> 12) & 0x3f)));
		}
		buf_addc(b, (char)(0x80 | ((code >> 6) & 0x3f)));
	}
	buf_addc(b, (char)(0x80 | (code & 0x3f)));
	return 0;
}

size_t
utf8_length(struct slice s)
{
	size_t n = 0, i;

	for (i = 0; i < s.len; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}
