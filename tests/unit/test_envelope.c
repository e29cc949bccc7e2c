#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/zone.h"
#include "decode/envelope.h"
#include "decode/record.h"

#define TIME "\"time\":\"2026-11-23T10:00:44.79580482Z\""
#define TIME_MS 1795428044795
#define TIME_S 1795428044000
#define DAY_MS (24 * 3600 * 1000LL)

static struct zone *zone;

static int
set_up(void **state)
{
	*state = arena_new();
	zone = zone_open("UTC", NULL);
	return zone == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	arena_free(*state);
	zone_close(zone);
	return 0;
}

/* 1 and a whole line; 0: no envelope; -1: a piece. */
static int
open_slice(struct arena *a, struct slice line, struct slice *inner_r)
{
	struct wrapped w;

	if (!envelope_open(ENVELOPE_DOCKER_JSON, line, NULL, a, &w))
		return 0;
	assert_int_equal(w.ms, TIME_MS);
	/* The cheap look agrees. */
	assert_int_equal(envelope_ends_line(ENVELOPE_DOCKER_JSON, line), !w.partial);
	assert_true(
	    envelope_least(ENVELOPE_DOCKER_JSON, line) <= w.inner.len + !w.partial);
	*inner_r = w.inner;
	return w.partial ? -1 : 1;
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

#define ENTRY(fields) "{\"__REALTIME_TIMESTAMP\":\"1795428044795123\"," fields "}"
#define PIECE(text) "{\"log\":\"" text "\",\"stream\":\"stdout\"," TIME "}"

/* The daemon cuts at 16 KiB, and may cut a user's text: it must not pass for a whole line. */
static void
a_piece_of_a_line_is_no_line(void **state)
{
	static const char *const pieces[] = {
	    PIECE("2026 - on device AB"),
	    PIECE(""),
	    PIECE("n"),
	    PIECE("a\\\\n"), /* a backslash and an n */
	    PIECE("\\\\n"),
	    PIECE("\\n\\\\\\\\n"),
	    PIECE("\\n\\\",\\\"stream\\\":\\\""),
	};
	struct slice inner;
	size_t i;

	for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		assert_int_equal(open_slice(*state, slice_of(pieces[i]), &inner), -1);
	assert_int_equal(open_slice(*state, slice_of(PIECE("\\\\\\n")), &inner), 1);
	assert_true(slice_is(inner, "\\"));
}

static void
what_looks_like_the_tail_is_not(void **state)
{
	static const char *const lines[] = {
	    "{\"log\":\"",
	    "{\"log\":\",\"stream\":\"",
	    "{\"log\":\"\",\"stream\":\"",
	    "{\"log\":\"\\",
	    "\",\"stream\":\"",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_false(
		    envelope_ends_line(ENVELOPE_DOCKER_JSON, slice_of(lines[i])));
		(void)envelope_least(ENVELOPE_DOCKER_JSON, slice_of(lines[i]));
	}
}

/* Docker cuts at 16 KiB, and nowhere else. */
static void
a_piece_that_is_no_cut(void **state)
{
	const size_t sizes[] = {1, 16383, 16384, 20000};
	struct wrapped w;
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *text = arena_alloc(*state, sizes[i] + 1);

		memset(text, 'x', sizes[i]);
		text[sizes[i]] = '\0';
		assert_true(envelope_open(ENVELOPE_DOCKER_JSON,
		    slice_of(arena_printf(
			*state, "{\"log\":\"%s\",\"stream\":\"stdout\"," TIME "}", text)),
		    NULL, *state, &w));
		assert_true(w.partial);
		assert_int_equal(w.broken, sizes[i] < 16384);
	}
	/* A whole line is never one. */
	assert_true(envelope_open(
	    ENVELOPE_DOCKER_JSON, slice_of(PIECE("x\\n")), NULL, *state, &w));
	assert_false(w.broken);
}

/* The characters of a user are counted, not what JSON or UTF-8 makes of them. */
static void
least_characters(void **state)
{
	(void)state;
	assert_int_equal(
	    envelope_least(ENVELOPE_DOCKER_JSON, slice_of(PIECE("a\\u003c\\\"\\\\b\\n"))),
	    6);
	assert_int_equal(
	    envelope_least(ENVELOPE_DOCKER_JSON, slice_of("{\"log\":1}")), 0);
	assert_int_equal(
	    envelope_least(ENVELOPE_CRI, slice_of("2026-11-23T09:46:28Z stdout F abc")),
	    3);
	assert_int_equal(
	    envelope_least(ENVELOPE_SYSLOG, slice_of("Nov 23 09:46:28 h t[1]: abc")), 3);
	assert_int_equal(envelope_least(ENVELOPE_NONE, slice_of("abc")), 3);
	assert_int_equal(
	    envelope_least(ENVELOPE_NONE, slice_of("a\xc3\xa9\xe2\x82\xac")), 3);
	assert_int_equal(envelope_least(ENVELOPE_DOCKER_JSON,
			     slice_of(PIECE("\xc3\xa9\\u2028\\ud83d\\ude00\\n"))),
	    3);
}

/* Whatever stands around the text, and in which order. */
static void
least_characters_of_any_object(void **state)
{
	static const struct {
		enum envelope_kind kind;
		const char *line;
		size_t least;
		bool ends;
	} cases[] = {
	    {ENVELOPE_DOCKER_JSON, PIECE("abc\\n"), 4, true},
	    {ENVELOPE_DOCKER_JSON, PIECE("abc\\\\n"), 5, false},
	    {ENVELOPE_DOCKER_JSON, PIECE("a\\\"log\\\":\\\"\\n"), 9, true},
	    {ENVELOPE_DOCKER_JSON,
		"{\"stream\": \"stdout\", \"log\": \"abc\\n\", " TIME "}", 4, true},
	    {ENVELOPE_DOCKER_JSON, "{\"log\":\"abc\\n", 0, false},
	    {ENVELOPE_JOURNAL, ENTRY("\"MESSAGE\" : \"abc\""), 3, false},
	    {ENVELOPE_JOURNAL, ENTRY("\"A\":\"MESSAGE\",\"MESSAGE\": [97,98]"), 2, false},
	};
	const char *labels = arena_printf(*state,
	    "{\"log\":\"abc\\n\",\"stream\":\"stdout\",\"attrs\":{\"x\":\"%0999d\"}," TIME
	    "}",
	    0);
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice line = slice_of(cases[i].line);

		if (envelope_least(cases[i].kind, line) != cases[i].least ||
		    envelope_ends_line(cases[i].kind, line) != cases[i].ends)
			fail_msg("%s: %zu", cases[i].line,
			    envelope_least(cases[i].kind, line));
	}
	assert_int_equal(envelope_least(ENVELOPE_DOCKER_JSON, slice_of(labels)), 4);
	assert_true(envelope_ends_line(ENVELOPE_DOCKER_JSON, slice_of(labels)));
}

/* ---- CRI ------------------------------------------------------------------------ */

static bool
open_cri(struct arena *a, const char *line, struct wrapped *w_r)
{
	return envelope_open(ENVELOPE_CRI, slice_of(line), NULL, a, w_r);
}

static void
cri_line(void **state)
{
	struct wrapped w;

	assert_true(
	    open_cri(*state, "2026-11-23T10:00:44.795804829Z stderr F  a b ", &w));
	assert_true(slice_is(w.inner, " a b "));
	assert_int_equal(w.ms, TIME_MS);
	assert_int_equal(w.stream, STREAM_STDERR);
	assert_false(w.partial);
	assert_true(
	    open_cri(*state, "2026-11-23T11:00:44.7958+01:00 stdout P:x F b", &w));
	assert_true(slice_is(w.inner, "F b"));
	assert_int_equal(w.stream, STREAM_STDOUT);
	assert_true(w.partial);
	assert_true(open_cri(*state, "2026-11-23T11:00:44.7958+01:00 stdout F", &w));
	assert_int_equal(w.inner.len, 0);
	assert_true(envelope_ends_line(
	    ENVELOPE_CRI, slice_of("2026-11-23T11:00:44.7958+01:00 stdout F P x")));
	assert_false(envelope_ends_line(
	    ENVELOPE_CRI, slice_of("2026-11-23T11:00:44.7958+01:00 stdout P F x")));
}

static void
what_is_no_cri_line(void **state)
{
	static const char *const lines[] = {"", " ", "2026-11-23T10:00:44Z",
	    "2026-11-23T10:00:44Z stdout", "2026-11-23T10:00:44Z stdout ",
	    "2026-11-23T10:00:44Z stdout X a", "2026-11-23T10:00:44Z stdout FP a",
	    "2026-11-23T10:00:44Z stdlog F a", "2026-11-23T10:00:44 stdout F a",
	    " 2026-11-23T10:00:44Z stdout F a", "2026-11-23T10:00:44Z  stdout F a",
	    "2026-11-23T10:00:44Z  INFO stdout F a", "x stdout F a"};
	struct wrapped w;
	size_t i;

	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (open_cri(*state, lines[i], &w))
			fail_msg("taken: %s", lines[i]);
}

/* ---- syslog ----------------------------------------------------------------------- */

static bool
open_syslog(struct arena *a, const char *line, int64_t last_ms, int64_t mtime_ms,
    struct wrapped *w_r)
{
	const struct envelope_clock clock = {zone, last_ms, mtime_ms};

	return envelope_open(ENVELOPE_SYSLOG, slice_of(line), &clock, a, w_r);
}

static void
syslog_lines(void **state)
{
	static const struct {
		const char *line, *inner;
		int64_t ms;
	} cases[] = {
	    {"Nov 23 10:00:44 host tag[12]: text", "text", TIME_S},
	    {"<30>Nov 23 10:00:44 host tag: text", "text", TIME_S},
	    {"<30>Nov 23 10:00:44 tag[12]: text", "text", TIME_S},
	    {"Nov 23 10:00:44.795 host matrix-synapse.x/1[a-b]:  te: xt", " te: xt",
		TIME_MS},
	    {"Nov 23 10:00:44 host tag:", "", TIME_S},
	    {"Nov  3 10:00:44 ::1 tag: a", "a", TIME_S - 20 * DAY_MS},
	    {"2026-11-23T11:00:44.795804+01:00 host tag[1]: a", "a", TIME_MS},
	    {"2026-11-23T11:00:44+0100 host tag[1]: a", "a", TIME_S},
	    {"<0>1 2026-11-23T10:00:44.795804Z host app 12 id - a", "a", TIME_MS},
	    {"<191>1 2026-11-23T10:00:44.795804Z - - - - - \xef\xbb\xbf"
	     "a",
		"a", TIME_MS},
	    {"<1>1 - h a p m - a b", "a b", INT64_MIN},
	    {"<1>1 - h a p m -", "", INT64_MIN},
	    {"<1>1 - h a p m [a@1 x=\"]\\\"]\\\\\" y=\"\"][b] [c] d", "[c] d", INT64_MIN},
	};
	struct wrapped w;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!open_syslog(*state, cases[i].line, INT64_MIN, TIME_MS, &w))
			fail_msg("not taken: %s", cases[i].line);
		if (!slice_is(w.inner, cases[i].inner) || w.ms != cases[i].ms)
			fail_msg("%s: %.*s at %lld", cases[i].line, (int)w.inner.len,
			    w.inner.p, (long long)w.ms);
		assert_false(w.partial);
	}
}

/* rsyslog escapes what is no text; what only looks like it stays. */
static void
control_characters_of_syslog(void **state)
{
	static const struct {
		const char *text, *inner;
	} cases[] = {
	    {"#033[32mINFO#033[0m a#011b#177", "\033[32mINFO\033[0m a\tb\177"},
	    {"a#012b#015", "a\nb\r"},
	    {"#001#037", "\001\037"},
	    {"#040 #200 #178 #018 #08 #01", "#040 #200 #178 #018 #08 #01"},
	    {"##011#011#", "#\t\t#"},
	    {"#", "#"},
	    {"", ""},
	};
	struct arena *a = *state;
	struct wrapped w;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice line =
		    slice_of(arena_printf(a, "Nov 23 10:00:44 h t: %s", cases[i].text));

		assert_true(envelope_open(ENVELOPE_SYSLOG, line, NULL, a, &w));
		if (!slice_is(w.inner, cases[i].inner))
			fail_msg("%s: %.*s", cases[i].text, (int)w.inner.len, w.inner.p);
		assert_int_equal(w.undone, strcmp(cases[i].text, cases[i].inner) != 0);
		assert_int_equal(envelope_least(ENVELOPE_SYSLOG, line), w.inner.len);
	}
	assert_true(envelope_open(
	    ENVELOPE_SYSLOG, slice_of("<1>1 - h a p m - a#012b"), NULL, a, &w));
	assert_true(slice_is(w.inner, "a\nb"));
	/* Of 1 KiB, which may be cut, as it was sent. */
	assert_false(envelope_ends_line(ENVELOPE_SYSLOG,
	    slice_of(arena_printf(a, "Nov 23 10:00:44 h t: %01023d#011", 0))));
	assert_true(envelope_ends_line(ENVELOPE_SYSLOG,
	    slice_of(arena_printf(a, "Nov 23 10:00:44 h t: %01020d#011", 0))));
	/* What others wrote around a line, they did not escape. */
	assert_true(open_cri(a, "2026-11-23T10:00:44Z stdout F a#012b", &w));
	assert_true(slice_is(w.inner, "a#012b"));
}

static void
what_is_no_syslog_line(void **state)
{
	static const char *const lines[] = {"", "<", "<1>", "<192>Nov 23 10:00:44 h t: a",
	    "<>Nov 23 10:00:44 h t: a", "Nov 23 10:00:44", "Nov 23 10:00:44 h",
	    "Nov 23 10:00:44 h t", "Nov 23 10:00:44 h t a: b", "Nov 23 10:00:44 h : b",
	    "Nov 23 10:00:44 h t:b", "Nov 23 10:00:44 h t[1: b", "Nov 23 10:00:44  t: b",
	    "Nov 31 10:00:44 h t: a", "Nov 3 10:00:44 h t: a", "nov 23 10:00:44 h t: a",
	    "Nov 23 24:00:44 h t: a", "2026-11-23T10:00:44 h t: a",
	    "2026-11-23T10:00:44Z  h t: a", "<1>1 2026-11-23T10:00:44 h a p m - x",
	    "<1>1 - h a p m x", "<1>1 - h a p m [x", "<1>1 - h a p m [x \"]",
	    "<1>1 - h a p m []x", "<1>2 - h a p m - x", "<1>1 - h a p"};
	struct wrapped w;
	size_t i;

	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (open_syslog(*state, lines[i], INT64_MIN, TIME_MS, &w))
			fail_msg("taken: %s", lines[i]);
}

static int64_t
stamp_ms(struct arena *a, const char *stamp, int64_t last_ms, int64_t mtime_ms)
{
	struct wrapped w;

	assert_true(
	    open_syslog(a, arena_printf(a, "%s h t: x", stamp), last_ms, mtime_ms, &w));
	return w.ms;
}

#define NEW_YEAR 1798761600000 /* 2027-01-01 */
#define LEAP_DAY 1709164800000 /* 2024-02-29 */
#define SPRING 1774746000000   /* 2026-03-29 01:00: 02:00 in Berlin is 03:00 */
#define AUTUMN 1792890000000   /* 2026-10-25 01:00: 03:00 in Berlin is 02:00 */

static void
the_year_of_a_stamp(void **state)
{
	const int64_t none = INT64_MIN, second = 1000;

	/* By the file's time, */
	assert_int_equal(stamp_ms(*state, "Dec 31 23:59:59", none, NEW_YEAR + DAY_MS),
	    NEW_YEAR - second);
	assert_int_equal(
	    stamp_ms(*state, "Jan  1 00:00:00", none, NEW_YEAR + DAY_MS), NEW_YEAR);
	/* which a clock that is ahead a little does not belie, */
	assert_int_equal(
	    stamp_ms(*state, "Jan  1 00:00:00", none, NEW_YEAR - DAY_MS / 2), NEW_YEAR);
	/* by the line before, */
	assert_int_equal(stamp_ms(*state, "Jan  1 00:00:01", NEW_YEAR - second,
			     NEW_YEAR + 300 * DAY_MS),
	    NEW_YEAR + second);
	assert_int_equal(stamp_ms(*state, "Dec 31 23:59:59", NEW_YEAR - 2 * second,
			     NEW_YEAR + 400 * DAY_MS),
	    NEW_YEAR - second);
	/* also one that was late, */
	assert_int_equal(
	    stamp_ms(*state, "Dec 31 23:59:59", NEW_YEAR + second, NEW_YEAR + 2 * DAY_MS),
	    NEW_YEAR - second);
	assert_int_equal(stamp_ms(*state, "Dec 31 23:59:59", NEW_YEAR + second,
			     NEW_YEAR + 400 * DAY_MS),
	    NEW_YEAR - second);
	/* or after most of a year in which nothing was written. */
	assert_int_equal(stamp_ms(*state, "Nov 27 00:00:00", NEW_YEAR + second,
			     NEW_YEAR + 330 * DAY_MS),
	    NEW_YEAR + 330 * DAY_MS);
	/* A clock that is set back by days makes no year pass. */
	assert_int_equal(stamp_ms(*state, "Jan 10 00:00:00", NEW_YEAR + 20 * DAY_MS,
			     NEW_YEAR + 20 * DAY_MS),
	    NEW_YEAR + 9 * DAY_MS);
	/* A day that only some years have. */
	assert_int_equal(stamp_ms(*state, "Feb 29 00:00:00", none, NEW_YEAR), LEAP_DAY);
	assert_int_equal(
	    stamp_ms(*state, "Feb 29 00:00:00", LEAP_DAY - second, NEW_YEAR), LEAP_DAY);
	assert_int_equal(stamp_ms(*state, "Mar  1 00:00:00", LEAP_DAY + DAY_MS - second,
			     LEAP_DAY + DAY_MS),
	    LEAP_DAY + DAY_MS);
	assert_int_equal(stamp_ms(*state, "Mar  1 00:00:00", LEAP_DAY + 365 * DAY_MS,
			     LEAP_DAY + 366 * DAY_MS),
	    LEAP_DAY + 366 * DAY_MS);
}

/* The clock is months ahead, the file system's too, and is set right. */
static void
a_clock_that_was_ahead(void **state)
{
	const int64_t right = NEW_YEAR + 10 * DAY_MS, ahead = right + 70 * DAY_MS;

	assert_int_equal(stamp_ms(*state, "Mar 22 00:00:00", right, ahead), ahead);
	assert_int_equal(stamp_ms(*state, "Jan 11 00:00:00", ahead, right), right);
	assert_int_equal(
	    stamp_ms(*state, "Jan 12 00:00:00", right, right), right + DAY_MS);
	/* Over New Year, in both directions. */
	assert_int_equal(stamp_ms(*state, "Dec 31 00:00:00", ahead, NEW_YEAR - DAY_MS),
	    NEW_YEAR - DAY_MS);
	assert_int_equal(
	    stamp_ms(*state, "Jan  1 00:00:00", NEW_YEAR - 1000, NEW_YEAR - 40 * DAY_MS),
	    NEW_YEAR);
	assert_int_equal(
	    stamp_ms(*state, "Feb 29 00:00:00", LEAP_DAY + 5 * DAY_MS, LEAP_DAY),
	    LEAP_DAY);
	/* By most of a year, and by years. */
	assert_int_equal(
	    stamp_ms(*state, "Jan 11 00:00:00", right + 214 * DAY_MS, right), right);
	assert_int_equal(
	    stamp_ms(*state, "Jan 11 00:00:00", right + 2000 * DAY_MS, right), right);
	/* A machine without a clock begins in 1970, until it is told the time. */
	assert_int_equal(stamp_ms(*state, "Jan 11 00:00:00", 60000, right), right);
	/* A file that is older than its lines does not belie them. */
	assert_int_equal(
	    stamp_ms(*state, "Jan 11 00:00:00", right - DAY_MS / 2, right - 100 * DAY_MS),
	    right);
}

/* New Year and both changes of summer time in a zone of their own. */
static void
stamps_of_a_zone(void **state)
{
	static const struct {
		const char *stamp;
		int64_t last_ms, ms;
	} cases[] = {
	    {"Dec 31 23:59:59", NEW_YEAR - 3602000, NEW_YEAR - 3601000},
	    {"Jan  1 00:00:00", NEW_YEAR - 3601000, NEW_YEAR - 3600000},
	    {"Jan  1 01:00:00", NEW_YEAR - 1000, NEW_YEAR},
	    {"Mar 29 03:00:00", SPRING - 1000, SPRING},
	    {"Mar 29 01:59:59", SPRING - 2000, SPRING - 1000},
	    {"Oct 25 02:30:00", AUTUMN - 3600000, AUTUMN - 1800000},
	    {"Oct 25 02:30:00", AUTUMN - 600000, AUTUMN + 1800000},
	    {"Oct 25 03:00:00", AUTUMN + 1800000, AUTUMN + 3600000},
	};
	struct zone *utc = zone;
	size_t i;

	if (access("/usr/share/zoneinfo/Europe/Berlin", R_OK) == -1)
		skip();
	zone = zone_open("Europe/Berlin", NULL);
	assert_non_null(zone);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (stamp_ms(*state, cases[i].stamp, cases[i].last_ms,
			cases[i].last_ms + DAY_MS) != cases[i].ms)
			fail_msg("%s (%zu)", cases[i].stamp, i);
	/* The first line of a log, whose file was written in the old year of UTC. */
	assert_int_equal(
	    stamp_ms(*state, "Jan  1 00:30:00", INT64_MIN, NEW_YEAR - 900000),
	    NEW_YEAR - 1800000);
	zone_close(zone);
	zone = utc;
}

/* ---- any -------------------------------------------------------------------------- */

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
	struct wrapped w;

	assert_false(
	    envelope_open(ENVELOPE_NONE, slice_of(PIECE("x\\n")), NULL, *state, &w));
	assert_false(
	    envelope_open(ENVELOPE_AUTO, slice_of(PIECE("x\\n")), NULL, *state, &w));
}

/* ---- the journal ----------------------------------------------------------------- */

static bool
open_entry(struct arena *a, const char *line, struct wrapped *w_r)
{
	return envelope_open(ENVELOPE_JOURNAL, slice_of(line), NULL, a, w_r);
}

static struct slice
field(const struct wrapped *w, const char *name)
{
	size_t i;

	for (i = 0; i < w->field_count; i++)
		if (slice_is(w->fields[i].name, name))
			return w->fields[i].value;
	return (struct slice){NULL, 0};
}

static void
entries_of_the_journal(void **state)
{
	struct wrapped w;

	assert_true(open_entry(*state,
	    ENTRY("\"MESSAGE\":\"a\\nb\",\"PRIORITY\":\"6\",\"A\":[\"b\",\"c\"],"
		  "\"B\":[27,0,255],\"C\":[[120],\"y\"],\"D\":null,\"E\":\"\""),
	    &w));
	assert_true(slice_is(w.inner, "a\nb"));
	assert_int_equal(w.ms, TIME_MS);
	assert_false(w.partial);
	assert_true(slice_is(field(&w, "PRIORITY"), "6"));
	assert_true(slice_is(field(&w, "A"), "b"));
	assert_true(slice_eq(field(&w, "B"), (struct slice){"\x1b\0\xff", 3}));
	assert_true(slice_is(field(&w, "C"), "x"));
	assert_null(field(&w, "D").p);
	assert_non_null(field(&w, "E").p);

	assert_true(open_entry(*state, ENTRY("\"MESSAGE\":[104,105]"), &w));
	assert_true(slice_is(w.inner, "hi"));
	/* Too large for who printed it. */
	assert_true(open_entry(*state, ENTRY("\"MESSAGE\":null"), &w));
	assert_int_equal(w.inner.len, 0);
	assert_true(open_entry(*state, ENTRY("\"MESSAGE\":[104,256]"), &w));
	assert_int_equal(w.inner.len, 0);
}

static void
what_is_no_entry(void **state)
{
	static const char *const lines[] = {"", "{}", "{\"MESSAGE\":\"a\"}",
	    "{\"__REALTIME_TIMESTAMP\":\"\"}", "{\"__REALTIME_TIMESTAMP\":\"12a\"}",
	    "{\"__REALTIME_TIMESTAMP\":\"-1\"}",
	    "{\"__REALTIME_TIMESTAMP\":\"1234567890123456789\"}",
	    "{\"A\":{\"__REALTIME_TIMESTAMP\":\"1\"}}", ENTRY("\"A\":\"\"") "x",
	    "x" ENTRY("\"A\":\"\"")};
	struct wrapped w;
	size_t i;

	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (open_entry(*state, lines[i], &w))
			fail_msg("taken: %s", lines[i]);
}

/* What a service's output was cut at; a NUL was in it. */
static void
cut_entries(void **state)
{
	static const struct {
		const char *line;
		size_t len;
		bool partial;
	} cases[] = {
	    {ENTRY("\"MESSAGE\":\"ab\",\"_LINE_BREAK\":\"line-max\""), 2, true},
	    {ENTRY("\"MESSAGE\":\"ab\",\"_LINE_BREAK\":\"pid-change\""), 2, true},
	    {ENTRY("\"MESSAGE\":\"ab\",\"_LINE_BREAK\":\"nul\""), 3, true},
	    {ENTRY("\"MESSAGE\":\"ab\",\"_LINE_BREAK\":\"eof\""), 2, false},
	    {ENTRY("\"MESSAGE\":\"ab\",\"CONTAINER_PARTIAL_MESSAGE\":\"true\""), 2, true},
	};
	struct wrapped w;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(open_entry(*state, cases[i].line, &w));
		if (w.inner.len != cases[i].len || w.partial != cases[i].partial)
			fail_msg("%s: %zu %d", cases[i].line, w.inner.len, w.partial);
		assert_int_equal(w.stream, STREAM_STDOUT);
		assert_false(w.lost);
		assert_false(
		    envelope_ends_line(ENVELOPE_JOURNAL, slice_of(cases[i].line)));
		assert_int_equal(
		    envelope_least(ENVELOPE_JOURNAL, slice_of(cases[i].line)), 2);
	}
}

/* Of two entries with the same number the one may hold the rest of the other's line. */
static void
streams_of_entries(void **state)
{
	static const char *const entries[] = {
	    ENTRY("\"MESSAGE\":\"\",\"_STREAM_ID\":\"aa\",\"_TRANSPORT\":\"stdout\""),
	    ENTRY("\"MESSAGE\":\"\",\"_STREAM_ID\":\"bb\",\"_TRANSPORT\":\"stdout\""),
	    ENTRY("\"MESSAGE\":\"\",\"_TRANSPORT\":\"stdout\""),
	    ENTRY("\"MESSAGE\":\"\",\"CONTAINER_ID_FULL\":\"1\",\"PRIORITY\":\"6\""),
	    ENTRY("\"MESSAGE\":\"\",\"CONTAINER_ID_FULL\":\"1\",\"PRIORITY\":\"3\""),
	    ENTRY("\"MESSAGE\":\"\",\"CONTAINER_ID_FULL\":\"2\",\"PRIORITY\":\"6\""),
	    ENTRY("\"MESSAGE\":\"\",\"_TRANSPORT\":\"journal\""),
	};
	const size_t count = sizeof(entries) / sizeof(entries[0]);
	struct wrapped w[sizeof(entries) / sizeof(entries[0])], other;
	size_t i, k;

	for (i = 0; i < count; i++) {
		assert_true(open_entry(*state, entries[i], &w[i]));
		for (k = 0; k < i; k++)
			assert_int_not_equal(w[i].stream, w[k].stream);
	}
	assert_int_equal(w[count - 1].stream, STREAM_NONE);
	assert_true(open_entry(
	    *state, ENTRY("\"_STREAM_ID\":\"aa\",\"_LINE_BREAK\":\"line-max\""), &other));
	assert_int_equal(other.stream, w[0].stream);
	assert_true(other.lost);
	assert_true(
	    open_entry(*state, ENTRY("\"MESSAGE\":null,\"_STREAM_ID\":\"aa\""), &other));
	assert_true(other.lost);
	assert_true(open_entry(
	    *state, ENTRY("\"_TRANSPORT\":\"syslog\",\"MESSAGE\":\"\""), &other));
	assert_int_equal(other.stream, STREAM_NONE);
	assert_false(other.lost);
}

/* Whatever the bytes are, nothing beyond them is read. */
static void
lines_cut_anywhere(void **state)
{
	static const char *const lines[] = {PIECE("a\\u003c\\n"),
	    "2026-11-23T10:00:44Z stdout F abc", "<30>Nov 23 10:00:44 host tag[12]: text",
	    "<1>1 2026-11-23T10:00:44Z h a p m [a@1 x=\"]\\\"]\\\\\"] \xef\xbb\xbfx",
	    ENTRY("\"MESSAGE\":\"a\\u000b\\n\",\"A\":[\"b\",[1]]"),
	    ENTRY("\"MESSAGE\":[1,2]")};
	const struct envelope_clock clock = {zone, INT64_MIN, TIME_MS};
	struct wrapped w;
	size_t i, len;
	int kind;

	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		for (len = 0; len <= strlen(lines[i]); len++)
			for (kind = ENVELOPE_NONE; kind <= ENVELOPE_JOURNAL; kind++) {
				char *copy = test_malloc(len + 1);
				struct slice line = {copy, len};

				memcpy(copy, lines[i], len);
				(void)envelope_open(
				    (enum envelope_kind)kind, line, &clock, *state, &w);
				(void)envelope_ends_line((enum envelope_kind)kind, line);
				(void)envelope_least((enum envelope_kind)kind, line);
				test_free(copy);
			}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(docker_line),
	    cmocka_unit_test(docker_line_with_labels),
	    cmocka_unit_test(only_one_newline_is_docker_s),
	    cmocka_unit_test(a_piece_of_a_line_is_no_line),
	    cmocka_unit_test(a_piece_that_is_no_cut),
	    cmocka_unit_test(nul_and_odd_bytes_survive),
	    cmocka_unit_test(what_is_no_docker_line),
	    cmocka_unit_test(nothing_may_stand_behind_it),
	    cmocka_unit_test(what_looks_like_the_tail_is_not),
	    cmocka_unit_test(least_characters),
	    cmocka_unit_test(least_characters_of_any_object),
	    cmocka_unit_test(cri_line),
	    cmocka_unit_test(what_is_no_cri_line),
	    cmocka_unit_test(syslog_lines),
	    cmocka_unit_test(control_characters_of_syslog),
	    cmocka_unit_test(what_is_no_syslog_line),
	    cmocka_unit_test(the_year_of_a_stamp),
	    cmocka_unit_test(a_clock_that_was_ahead),
	    cmocka_unit_test(stamps_of_a_zone),
	    cmocka_unit_test(entries_of_the_journal),
	    cmocka_unit_test(what_is_no_entry),
	    cmocka_unit_test(cut_entries),
	    cmocka_unit_test(streams_of_entries),
	    cmocka_unit_test(no_envelope_never_opens),
	    cmocka_unit_test(lines_cut_anywhere),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
