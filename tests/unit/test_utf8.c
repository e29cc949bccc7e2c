#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

static void
assert_shown(const char *text, const char *want)
{
	struct buf b = {0};

	utf8_show(&b, slice_of(text));
	assert_string_equal(b.p, want);
	buf_free(&b);
}

static void
text_is_shown_as_it_is(void **state)
{
	(void)state;
	assert_shown("/var/log/caf\xc3\xa9 \xf0\x9f\x98\x80.log",
	    "/var/log/caf\xc3\xa9 \xf0\x9f\x98\x80.log");
	assert_shown("a\\b \\x2d \\xE9 \\x", "a\\b \\x2d \\xE9 \\x");
}

static void
bytes_of_no_text_are_shown(void **state)
{
	(void)state;
	assert_shown("caf\xe9.log", "caf\\xe9.log");
	assert_shown("\xc0\xaf \xed\xa0\x80 \xf0\x9f\x98",
	    "\\xc0\\xaf \\xed\\xa0\\x80 \\xf0\\x9f\\x98");
	assert_shown("caf\\xe9.log", "caf\\x5cxe9.log");
}

/* The way back: what is shown has one text only. */
static void
unshow(struct buf *b, const char *p)
{
	char digits[3] = "";

	while (*p != '\0') {
		if (p[0] == '\\' && p[1] == 'x' && p[2] != '\0' && p[3] != '\0' &&
		    (strchr("89abcdef", p[2]) != NULL || strncmp(p + 2, "5c", 2) == 0) &&
		    strchr("0123456789abcdef", p[3]) != NULL) {
			memcpy(digits, p + 2, 2);
			buf_addc(b, (char)strtol(digits, NULL, 16));
			p += 4;
		} else {
			buf_addc(b, *p++);
		}
	}
}

static void
no_two_texts_are_shown_alike(void **state)
{
	static const char bytes[] = "\\x5c8E\xe9\xa9\xc3";
	struct buf text = {0}, shown = {0}, back = {0};
	unsigned n, rest, i;

	(void)state;
	for (n = 0; n < 9 * 9 * 9 * 9 * 9 * 9; n++) {
		buf_reset(&text);
		buf_reset(&shown);
		buf_reset(&back);
		for (i = 0, rest = n; i < 6; i++, rest /= 9)
			buf_addc(&text, bytes[rest % 9]);
		utf8_show(&shown, (struct slice){text.p, text.len});
		assert_true(utf8_valid((struct slice){shown.p, shown.len}));
		unshow(&back, shown.p);
		assert_int_equal(back.len, text.len);
		assert_memory_equal(back.p, text.p, text.len);
	}
	buf_free(&text);
	buf_free(&shown);
	buf_free(&back);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(text_is_shown_as_it_is),
	    cmocka_unit_test(bytes_of_no_text_are_shown),
	    cmocka_unit_test(no_two_texts_are_shown_alike),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
