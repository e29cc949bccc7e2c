#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decode/join.h"
#include "tail/tail.h"

#define FILE_KEY 5

struct fixture {
	struct join *j;
	uint64_t offset; /* of the next envelope */
	struct slice line;
	struct line_place place;
	bool joined;
};

static int
set_up(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	x->j = join_new();
	*state = x;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *x = *state;

	join_free(x->j);
	join_free(NULL);
	free(x);
	return 0;
}

static bool
take_slice(struct fixture *x, uint64_t stream, struct slice inner, bool partial)
{
	const struct wrapped w = {.inner = inner, .stream = stream, .partial = partial};

	return join_take(x->j, &w, (struct line_place){FILE_KEY, x->offset++}, &x->line,
	    &x->place, &x->joined);
}

static bool
piece(struct fixture *x, uint64_t stream, const char *text)
{
	return take_slice(x, stream, slice_of(text), true);
}

static bool
last(struct fixture *x, uint64_t stream, const char *text)
{
	return take_slice(x, stream, slice_of(text), false);
}

static void
whole_lines_stay_as_they_are(void **state)
{
	struct fixture *x = *state;

	assert_true(last(x, STREAM_STDOUT, "a"));
	assert_true(slice_is(x->line, "a"));
	assert_false(x->joined);
	assert_int_equal(x->place.offset, 0);
	assert_false(join_waits(x->j));
	assert_false(join_needs(x->j, &x->place));
}

static void
pieces_of_two_streams(void **state)
{
	struct fixture *x = *state;

	assert_false(piece(x, STREAM_STDERR, "e1"));
	assert_false(piece(x, STREAM_STDOUT, "o1"));
	assert_false(piece(x, STREAM_STDERR, ""));
	assert_true(join_waits(x->j));
	assert_true(join_needs(x->j, &x->place));
	assert_int_equal(x->place.offset, 0);
	assert_int_equal(x->place.file, FILE_KEY);

	assert_true(last(x, STREAM_STDERR, "e2"));
	assert_true(slice_is(x->line, "e1e2"));
	assert_int_equal(x->place.offset, 0);
	assert_true(x->joined);
	assert_true(join_needs(x->j, &x->place));
	assert_int_equal(x->place.offset, 1);

	assert_true(last(x, STREAM_STDERR, "e3"));
	assert_true(slice_is(x->line, "e3"));
	assert_true(last(x, STREAM_STDOUT, ""));
	assert_true(slice_is(x->line, "o1"));
	assert_int_equal(x->place.offset, 1);
	assert_false(join_waits(x->j));
}

static void
a_line_that_is_too_long(void **state)
{
	struct fixture *x = *state;
	char *half = calloc(1, LINE_MAX_BYTES / 2);
	const struct slice s = {half, LINE_MAX_BYTES / 2};

	assert_non_null(half);
	/* As long as a line may be, */
	assert_false(take_slice(x, STREAM_STDOUT, s, true));
	assert_true(take_slice(x, STREAM_STDOUT, s, false));
	assert_int_equal(x->line.len, LINE_MAX_BYTES);
	/* and one byte more, in the last piece or before it. */
	assert_false(take_slice(x, STREAM_STDOUT, s, true));
	assert_false(take_slice(x, STREAM_STDOUT, s, true));
	assert_false(last(x, STREAM_STDOUT, "x"));
	assert_false(take_slice(x, STREAM_STDOUT, s, true));
	assert_false(take_slice(x, STREAM_STDOUT, s, true));
	assert_false(take_slice(x, STREAM_STDOUT, s, true));
	assert_true(join_needs(x->j, &x->place));
	/* Of which only the newest piece is needed, else a line without end is read again. */
	assert_int_equal(x->place.offset, 7);
	assert_false(piece(x, STREAM_STDOUT, "login"));
	assert_false(last(x, STREAM_STDOUT, "x"));
	assert_int_equal(join_long_lines(x->j), 2);
	assert_true(last(x, STREAM_STDOUT, "y"));
	assert_true(slice_is(x->line, "y"));
	free(half);
}

static void
behind_a_gap_a_line_may_be_a_rest(void **state)
{
	struct fixture *x = *state;

	assert_false(piece(x, STREAM_STDOUT, "lost"));
	join_gap(x->j);
	assert_true(join_waits(x->j));
	assert_false(last(x, STREAM_STDOUT, "rest"));
	assert_true(last(x, STREAM_STDOUT, "line"));
	assert_true(slice_is(x->line, "line"));
	assert_false(piece(x, STREAM_STDERR, "more of a"));
	assert_false(last(x, STREAM_STDERR, " rest"));
	assert_true(last(x, STREAM_STDERR, "line"));
	assert_int_equal(join_long_lines(x->j), 0);
}

static bool
take_at(struct fixture *x, const char *text, bool partial, bool broken, int64_t ms)
{
	const struct wrapped w = {
	    .inner = slice_of(text), .partial = partial, .broken = broken, .ms = ms};

	return join_take(x->j, &w, (struct line_place){FILE_KEY, x->offset++}, &x->line,
	    &x->place, &x->joined);
}

/* A container dies in the middle of a line, and another one writes on. */
static void
a_writer_that_ended(void **state)
{
	struct fixture *x = *state;

	assert_false(take_at(x, "long", true, false, 1));
	assert_false(take_at(x, "half", true, true, 1));
	assert_true(take_at(x, "next", false, false, 2));
	assert_true(slice_is(x->line, "next"));
	assert_false(x->joined);
	assert_int_equal(x->place.offset, 2);
	assert_false(join_waits(x->j));

	/* The next one begins with pieces; and dies as well. */
	assert_false(take_at(x, "half", true, true, 3));
	assert_false(take_at(x, "a", true, false, 4));
	assert_true(take_at(x, "b", false, false, 5));
	assert_true(slice_is(x->line, "ab"));
	assert_int_equal(x->place.offset, 4);

	/* A piece of the same time is of the same line. */
	assert_false(take_at(x, "a", true, true, 6));
	assert_true(take_at(x, "b", false, false, 6));
	assert_true(slice_is(x->line, "ab"));

	/* And behind a gap what follows is whole. */
	join_gap(x->j);
	assert_false(take_at(x, "rest", true, true, 7));
	assert_true(take_at(x, "line", false, false, 8));
	assert_true(slice_is(x->line, "line"));
}

/* Where nothing says whether the writer ended, the time between pieces is a sign. */
static void
a_pause_within_a_line(void **state)
{
	struct fixture *x = *state;
	struct wrapped late = {.ms = 2000}, early = {.ms = 0}, soon = {.ms = 1999},
		       other = {.ms = 2000, .stream = STREAM_STDERR},
		       timeless = {.ms = INT64_MIN};

	assert_false(join_paused(x->j, &late));
	assert_false(take_at(x, "half", true, false, 1000));
	assert_true(join_paused(x->j, &late));
	assert_true(join_paused(x->j, &early));
	assert_false(join_paused(x->j, &soon));
	assert_false(join_paused(x->j, &other));
	assert_false(join_paused(x->j, &timeless));
	join_pass(x->j, STREAM_STDOUT);
	assert_false(take_at(x, "more", true, false, 2000));
	assert_false(take_at(x, "rest", false, false, 2000));
	assert_false(join_waits(x->j));
	assert_true(take_at(x, "line", false, false, 2000));
	assert_true(slice_is(x->line, "line"));
	assert_int_equal(join_long_lines(x->j), 0);

	/* Here the piece itself says it. */
	assert_false(take_at(x, "half", true, true, 3000));
	late.ms = 5000;
	assert_false(join_paused(x->j, &late));
}

/* A stream on which nothing comes is not waited for, else each line would cost more for ever. */
static void
a_gap_ends_on_a_silent_stream(void **state)
{
	struct fixture *x = *state;
	unsigned i;

	join_gap(x->j);
	assert_false(last(x, STREAM_STDERR, "rest"));
	for (i = 0; i < 1000 && join_waits(x->j); i++)
		assert_true(last(x, STREAM_STDERR, "line"));
	assert_in_range(i, 10, 999);
	assert_true(last(x, STREAM_STDOUT, "line"));
}

/* What was read before the first line that is told shows which streams are within one. */
static void
where_lines_begin(void **state)
{
	struct fixture *x = *state;

	join_gap(x->j);
	assert_false(last(x, STREAM_STDOUT, "rest"));
	assert_false(piece(x, 100, "half a rest"));
	join_no_gap(x->j);
	assert_true(last(x, STREAM_STDOUT, "line"));
	assert_true(last(x, STREAM_STDERR, "line"));
	assert_true(join_waits(x->j));
	assert_false(last(x, 100, "rest"));
	assert_false(join_waits(x->j));
	assert_true(last(x, 100, "line"));
}

/* A piece that is passed over begins no file's reading: what is before it must be seen. */
static void
the_place_of_what_is_passed_over(void **state)
{
	struct fixture *x = *state;

	x->offset = 8;
	join_gap(x->j);
	assert_false(piece(x, STREAM_STDOUT, "rest"));
	x->offset = 0;
	assert_false(piece(x, STREAM_STDOUT, "in the next file"));
	assert_true(join_needs(x->j, &x->place));
	assert_int_equal(x->place.offset, 8);
	assert_false(piece(x, STREAM_STDOUT, "further on"));
	assert_true(join_needs(x->j, &x->place));
	assert_int_equal(x->place.offset, 1);
}

static void
what_is_of_no_stream(void **state)
{
	struct fixture *x = *state;

	assert_false(piece(x, STREAM_STDOUT, "a"));
	assert_true(last(x, STREAM_NONE, "line"));
	assert_true(slice_is(x->line, "line"));
	assert_true(last(x, STREAM_STDOUT, "b"));
	assert_true(slice_is(x->line, "ab"));
	join_gap(x->j);
	assert_true(last(x, STREAM_NONE, "line"));
}

/* More lines at once than there is room for: what is forgotten is passed over. */
static void
more_streams_than_room(void **state)
{
	struct fixture *x = *state;
	uint64_t stream;

	for (stream = 100; stream < 133; stream++)
		assert_false(piece(x, stream, "a"));
	assert_true(join_needs(x->j, &x->place));
	assert_int_equal(x->place.offset, 1);
	assert_true(last(x, 132, "b"));
	assert_true(slice_is(x->line, "ab"));
	assert_false(last(x, 100, "rest"));
	assert_true(last(x, 100, "line"));
	assert_true(last(x, 102, "b"));
	assert_true(slice_is(x->line, "ab"));
}

/* A piece was left out for its length. */
static void
a_piece_that_is_lost(void **state)
{
	struct fixture *x = *state;
	struct wrapped w = {.inner = {"", 0}, .partial = true, .lost = true};

	assert_false(join_take(x->j, &w, (struct line_place){FILE_KEY, x->offset++},
	    &x->line, &x->place, &x->joined));
	assert_false(last(x, STREAM_STDOUT, "rest"));
	assert_true(last(x, STREAM_STDOUT, "line"));
	assert_false(piece(x, STREAM_STDOUT, "line without its end"));
	w.partial = false;
	assert_false(join_take(x->j, &w, (struct line_place){FILE_KEY, x->offset++},
	    &x->line, &x->place, &x->joined));
	assert_true(last(x, STREAM_STDOUT, "line"));
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    test(whole_lines_stay_as_they_are),
	    test(pieces_of_two_streams),
	    test(a_line_that_is_too_long),
	    test(behind_a_gap_a_line_may_be_a_rest),
	    test(a_writer_that_ended),
	    test(a_pause_within_a_line),
	    test(a_gap_ends_on_a_silent_stream),
	    test(where_lines_begin),
	    test(the_place_of_what_is_passed_over),
	    test(what_is_of_no_stream),
	    test(more_streams_than_room),
	    test(a_piece_that_is_lost),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
