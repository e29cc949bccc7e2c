#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "decode/envelope.h"

#define TIME "\"time\":\"2026-11-23T10:00:44.79580482Z\""
#define TIME_MS 1795428044795

static int
set_up(void **state)
{
	*state = arena_new();
	return 0;
}

static int
tear_down(void **state)
{
	arena_free(*state);
	return 0;
}

static int
open_slice(struct arena *a, struct slice line, struct slice *inner_r)
{
	int64_t ms = 0;
	int rc = envelope_open(ENVELOPE_DOCKER_JSON, line, a, inner_r, &ms);

	if (rc == 1)
		assert_int_equal(ms, TIME_MS);
	return rc;
}

static void
docker_line(void **state)
{
	const char line[] = "{\"log\":\"2026 - \\\"A\\\\B\\\" \\u003ccarol\\u003e \\u0001"
			    "\\u2028\\ud83d\\ude00\\n\",\"stream\":\"stderr\"," TIME "}";
	struct slice inner;

	assert_int_equal(open_slice(*state, slice_of(line), &inner), 1);
	assert_true(
	    slice_is(inner, "2026 - \"A\\B\" <carol> \001\xe2\x80\xa8\xf0\x9f\x98\x80"));
}

static void
docker_line_with_labels(void **state)
{
	const char line[] = "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"attrs\":{\"tag\":"
			    "\"hs/1\"}," TIME "}";
	struct slice inner;

	assert_int_equal(open_slice(*state, slice_of(line), &inner), 1);
	assert_true(slice_is(inner, "x"));
}

static void
only_one_newline_is_docker_s(void **state)
{
	struct slice inner;

	assert_int_equal(
	    open_slice(*state,
		slice_of("{\"log\":\"x\\r\\n\\n\",\"stream\":\"stdout\"," TIME "}"),
		&inner),
	    1);
	assert_true(slice_is(inner, "x\r\n"));
	assert_int_equal(
	    open_slice(*state,
		slice_of("{\"log\":\"\\n\",\"stream\":\"stdout\"," TIME "}"), &inner),
	    1);
	assert_non_null(inner.p);
	assert_int_equal(inner.len, 0);
}

/* The daemon cuts at 16 KiB, and may cut a user's text: it must not pass for a whole line. */
static void
a_piece_of_a_line_is_no_line(void **state)
{
	struct slice inner;

	assert_int_equal(open_slice(*state,
			     slice_of("{\"log\":\"2026 - on device AB\",\"stream\":"
				      "\"stdout\"," TIME "}"),
			     &inner),
	    1);
	assert_null(inner.p);
	assert_int_equal(
	    open_slice(*state, slice_of("{\"log\":\"\",\"stream\":\"stdout\"," TIME "}"),
		&inner),
	    1);
	assert_null(inner.p);
}

static void
nul_and_odd_bytes_survive(void **state)
{
	const char line[] =
	    "{\"log\":\"a\\u0000b\\ud800c\xff\\n\",\"stream\":\"stdout\"," TIME "}";
	struct slice inner;

	assert_int_equal(open_slice(*state, slice_of(line), &inner), 1);
	assert_int_equal(inner.len, 8);
	assert_memory_equal(inner.p,
	    "a\0b\xef\xbf\xbd"
	    "c\xff",
	    8);
}

static void
what_is_no_docker_line(void **state)
{
	const char *const lines[] = {
	    "",
	    "{",
	    "{}",
	    "x",
	    "[]",
	    "{\"log\":\"x\\n\",\"stream\":\"stdout\"}",
	    "{\"log\":\"x\\n\"," TIME "}",
	    "{\"stream\":\"stdout\"," TIME "}",
	    "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"level\":\"INFO\"," TIME "}",
	    "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"attrs\":\"x\"," TIME "}",
	    "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"attrs\":{},\"a\":{}," TIME "}",
	    "{\"log\":1,\"stream\":\"stdout\"," TIME "}",
	    "{\"log\":null,\"stream\":\"stdout\"," TIME "}",
	    "{\"log\":\"x\\n\",\"stream\":\"elsewhere\"," TIME "}",
	    "{\"log\":\"x\\n\",\"stream\":1," TIME "}",
	    "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":1795428044}",
	    "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"\"}",
	    "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-23T10:00:44\"}",
	    "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"2026-13-23T10:00:44Z\"}",
	    "{\"log\":\"x\\n\",\"stream\":\"stdout\"," TIME "}}",
	    "{\"log\":\"x\\n\",\"stream\":\"stdout\"," TIME "} {}",
	    "{\"log\":\"x\\n\",\"stream\":\"stdout\"," TIME ",}",
	    "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"attrs\":{\"a\":[[[[1]]]]}," TIME
	    "}",
	};
	struct slice inner;
	size_t i;

	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (open_slice(*state, slice_of(lines[i]), &inner) != 0)
			fail_msg("taken: %s", lines[i]);
}

static void
nothing_may_stand_behind_it(void **state)
{
	const char line[] = "{\"log\":\"x\\n\",\"stream\":\"stdout\"," TIME "}\0y";
	struct slice inner;

	assert_int_equal(
	    open_slice(*state, (struct slice){line, sizeof(line) - 1}, &inner), 0);
	assert_int_equal(
	    open_slice(*state, (struct slice){line, sizeof(line) - 3}, &inner), 1);
}

static void
no_envelope_never_opens(void **state)
{
	struct slice inner;
	int64_t ms;

	assert_int_equal(
	    envelope_open(ENVELOPE_NONE,
		slice_of("{\"log\":\"x\\n\",\"stream\":\"stdout\"," TIME "}"), *state,
		&inner, &ms),
	    0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(docker_line),
	    cmocka_unit_test(docker_line_with_labels),
	    cmocka_unit_test(only_one_newline_is_docker_s),
	    cmocka_unit_test(a_piece_of_a_line_is_no_line),
	    cmocka_unit_test(nul_and_odd_bytes_survive),
	    cmocka_unit_test(what_is_no_docker_line),
	    cmocka_unit_test(nothing_may_stand_behind_it),
	    cmocka_unit_test(no_envelope_never_opens),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
