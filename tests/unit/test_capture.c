#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "pack/capture.h"

#define SERVER "example.org"

static struct arena *arena;

static int
set_up(void **state)
{
	(void)state;
	arena = arena_new();
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

/* Decode text as type; the items joined by '|' are wanted, NULL for a void match. */
static void
check(enum capture_type type, const char *text, const char *want)
{
	struct buf got = {0};
	struct value v;
	size_t i;

	buf_reserve(&got, 1);
	if (capture_decode(type, slice_of(text), SERVER, true, arena, &v) == 0) {
		if (want != NULL)
			fail_msg("%s: void, not %s", text, want);
		buf_free(&got);
		return;
	}
	for (i = 0; i < v.count; i++) {
		if (i > 0)
			buf_addc(&got, '|');
		buf_add(&got, v.items[i].p, v.items[i].len);
	}
	if (want == NULL || strcmp(got.p, want) != 0)
		fail_msg("%s: %s, not %s", text, got.p, want == NULL ? "void" : want);
	buf_free(&got);
}

static void
users_are_of_the_server(void **state)
{
	char longest[300];

	(void)state;
	check(CAPTURE_USER_ID, "@erin:example.org", "@erin:example.org");
	check(
	    CAPTURE_USER_ID, "@e=rin/x.y_z-1:example.org", "@e=rin/x.y_z-1:example.org");
	check(CAPTURE_USER_ID, "@erin:example.com", NULL);
	check(CAPTURE_USER_ID, "@erin:example.org:8448", NULL);
	check(CAPTURE_USER_ID, "@erin:example.or", NULL);
	check(CAPTURE_USER_ID, "@:example.org", NULL);
	check(CAPTURE_USER_ID, "erin:example.org", NULL);
	check(CAPTURE_USER_ID, "@erin", NULL);
	check(CAPTURE_USER_ID, "", NULL);
	check(CAPTURE_USER_ID, "@e rin:example.org", NULL);
	check(CAPTURE_USER_ID, "@e\xc3\xa4:example.org", NULL);
	/* 255 bytes, and one more. */
	memset(longest, 'a', sizeof(longest));
	longest[0] = '@';
	memcpy(longest + 255 - strlen(":" SERVER), ":" SERVER, sizeof(":" SERVER));
	check(CAPTURE_USER_ID, longest, longest);
	memset(longest + 1, 'a', 255);
	memcpy(longest + 256 - strlen(":" SERVER), ":" SERVER, sizeof(":" SERVER));
	check(CAPTURE_USER_ID, longest, NULL);
}

static void
without_a_server_any_user_will_do(void **state)
{
	struct slice other = slice_of("@erin:example.com"), bare = slice_of("erin");
	struct value v;

	(void)state;
	assert_int_equal(
	    capture_decode(CAPTURE_USER_ID, other, NULL, true, arena, &v), 1);
	assert_true(slice_eq(v.items[0], other));
	/* A localpart alone names nobody then. */
	assert_int_equal(
	    capture_decode(CAPTURE_LOCALPART, bare, NULL, true, arena, &v), 0);
}

static void
a_localpart_becomes_a_user(void **state)
{
	(void)state;
	check(CAPTURE_LOCALPART, "erin", "@erin:example.org");
	check(CAPTURE_LOCALPART, "", NULL);
	check(CAPTURE_LOCALPART, "e:rin", NULL);
}

static void
paths_are_percent_decoded(void **state)
{
	(void)state;
	check(CAPTURE_USER_ID_URI, "%40erin%3Aexample.org", "@erin:example.org");
	check(CAPTURE_USER_ID_URI, "@erin%3aexample.org", "@erin:example.org");
	check(CAPTURE_USER_ID_URI, "@a%2Fb:example.org", "@a/b:example.org");
	check(CAPTURE_USER_ID_URI, "%40erin%3Aexample.com", NULL);
	check(CAPTURE_USER_ID_URI, "@erin%20x:example.org", NULL);
	check(CAPTURE_USER_ID_URI, "@erin:example.org%", NULL);
	check(CAPTURE_USER_ID_URI, "@erin:example.org%4", NULL);
	check(CAPTURE_USER_ID_URI, "@erin:example.org%zz", NULL);
	/* Decoded once. */
	check(CAPTURE_DEVICE_ID_URI, "A%2520B", "A%20B");
	check(CAPTURE_DEVICE_ID_URI, "A%20B%22", "A B\"");
	check(CAPTURE_DEVICE_ID_URI, "A+B", "A+B");
	check(CAPTURE_DEVICE_ID_URI, "%C3%A4", "\xc3\xa4");
	check(CAPTURE_DEVICE_ID_URI, "A%0AB", "A\nB");
	/* Bytes that are not UTF-8 have no value, and harm nothing else. */
	check(CAPTURE_DEVICE_ID_URI, "%FF", "");
	check(CAPTURE_DEVICE_ID_URI, "", "");
}

static void
a_raw_device_with_a_control_has_no_value(void **state)
{
	struct slice device = slice_of("A\tB");
	struct value v;

	(void)state;
	check(CAPTURE_DEVICE_ID, "a \"b\" \\ c", "a \"b\" \\ c");
	assert_int_equal(
	    capture_decode(CAPTURE_DEVICE_ID, device, SERVER, true, arena, &v), 1);
	assert_int_equal(v.count, 0);
	/* Where the format escapes, it is what it is. */
	assert_int_equal(
	    capture_decode(CAPTURE_DEVICE_ID, device, SERVER, false, arena, &v), 1);
	assert_int_equal(v.count, 1);
	assert_true(slice_eq(v.items[0], device));
	/* An empty one is a value. */
	assert_int_equal(
	    capture_decode(CAPTURE_DEVICE_ID, slice_of(""), SERVER, true, arena, &v), 1);
	assert_int_equal(v.count, 1);
	assert_int_equal(v.items[0].len, 0);
	/* What JSON can't carry has none. */
	assert_int_equal(
	    capture_decode(CAPTURE_DEVICE_ID, slice_of("\xff"), SERVER, false, arena, &v),
	    1);
	assert_int_equal(v.count, 0);
	assert_int_equal(
	    capture_decode(CAPTURE_TEXT, slice_of("\xc0\x80"), SERVER, false, arena, &v),
	    1);
	assert_int_equal(v.count, 0);
}

static void
lists_are_read_as_python_writes_them(void **state)
{
	(void)state;
	check(CAPTURE_PY_LIST, "[]", "");
	check(CAPTURE_PY_LIST, "['A']", "A");
	check(CAPTURE_PY_LIST, "['A', 'B C', 'D']", "A|B C|D");
	check(CAPTURE_PY_LIST, "['']", "");
	check(CAPTURE_PY_LIST, "[\"it's\", 'say \"x\"']", "it's|say \"x\"");
	check(CAPTURE_PY_LIST, "['it\\'s \"x\"']", "it's \"x\"");
	check(CAPTURE_PY_LIST, "['a\\\\b']", "a\\b");
	check(CAPTURE_PY_LIST, "['a\\n\\r\\tb']", "a\n\r\tb");
	check(CAPTURE_PY_LIST, "['\\x7f\\u202e\\U0001f600']",
	    "\x7f\xe2\x80\xae\xf0\x9f\x98\x80");
	check(CAPTURE_PY_LIST, "['A, B', ', ']", "A, B|, ");
	check(CAPTURE_PY_LIST, "['] for']", "] for");
	check(CAPTURE_PY_LIST, "['\xc3\xa4']", "\xc3\xa4");
}

static void
lists_that_python_would_not_write_are_void(void **state)
{
	static const char *const rows[] = {"", "[", "]", "['A'", "'A']", "['A'B']",
	    "['A','B']", "['A' 'B']", "['A', ]", "['A',]", "[, 'A']", "[A]", "['A\\']",
	    "['\\q']", "['\\x4']", "['\\x4g']", "['\\u12']", "['\\ud800']",
	    "['\\U00110000']", "['\xff']", "['A'] ", "['A\"]"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check(CAPTURE_PY_LIST, rows[i], NULL);
}

static void
long_lists_are_whole(void **state)
{
	struct buf text = {0};
	struct value v;
	char name[16];
	size_t i;

	(void)state;
	buf_addc(&text, '[');
	for (i = 0; i < 1000; i++)
		buf_addf(&text, "%s'D%zu'", i == 0 ? "" : ", ", i);
	buf_addc(&text, ']');
	assert_int_equal(capture_decode(CAPTURE_PY_LIST, (struct slice){text.p, text.len},
			     SERVER, true, arena, &v),
	    1);
	assert_true(v.list);
	assert_int_equal(v.count, 1000);
	for (i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "D%zu", i);
		assert_true(slice_is(v.items[i], name));
	}
	buf_free(&text);
}

static void
lists_are_read_as_go_writes_them(void **state)
{
	(void)state;
	check(CAPTURE_GO_LIST, "[]", "");
	check(CAPTURE_GO_LIST, "[A]", "A");
	check(CAPTURE_GO_LIST, "[A B]", "A|B");
	check(CAPTURE_GO_LIST, "[A  B]", "A||B");
	check(CAPTURE_GO_LIST, "A B", NULL);
	check(CAPTURE_GO_LIST, "", NULL);
}

static void
macros_are_found_by_their_whole_name(void **state)
{
	enum capture_type type;
	const char *pattern;

	(void)state;
	assert_int_equal(capture_macro("user_id", 7, &pattern, &type), 1);
	assert_int_equal(type, CAPTURE_USER_ID);
	assert_int_equal(capture_macro("user_id_uri", 11, &pattern, &type), 1);
	assert_int_equal(type, CAPTURE_USER_ID_URI);
	assert_int_equal(capture_macro("user_id_uri", 7, &pattern, &type), 1);
	assert_int_equal(type, CAPTURE_USER_ID);
	assert_int_equal(capture_macro("user", 4, &pattern, &type), 0);
	assert_int_equal(capture_macro("", 0, &pattern, &type), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(users_are_of_the_server),
	    cmocka_unit_test(without_a_server_any_user_will_do),
	    cmocka_unit_test(a_localpart_becomes_a_user),
	    cmocka_unit_test(paths_are_percent_decoded),
	    cmocka_unit_test(a_raw_device_with_a_control_has_no_value),
	    cmocka_unit_test(lists_are_read_as_python_writes_them),
	    cmocka_unit_test(lists_that_python_would_not_write_are_void),
	    cmocka_unit_test(long_lists_are_whole),
	    cmocka_unit_test(lists_are_read_as_go_writes_them),
	    cmocka_unit_test(macros_are_found_by_their_whole_name),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
