#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/zone.h"
#include "decode/decoder.h"
#include "pack/pack.h"

#define FALLBACK 1111
#define TEXT_MS 1795427188829 /* 2026-11-23 09:46:28,829 UTC */
#define DOCKER_TIME "\"time\":\"2026-11-23T09:46:28.830111222Z\""
#define DOCKER_MS 1795427188830

#define TEXT                                                                             \
	"2026-11-23 09:46:28,829 - synapse.handlers.auth - 1067 - INFO - POST-7 - "      \
	"Logging in user @erin:example.org on device HOBBIT"
#define TERSE                                                                                 \
	"{\"log\":\"Logging in\",\"namespace\":\"synapse.handlers.auth\",\"level\":\"INFO\"," \
	"\"time\":1795428088.02,\"request\":\"POST-7\"}"
#define PLAIN_JSON                                                                            \
	"{\"log\":\"Logging in\",\"namespace\":\"synapse.handlers.auth\",\"level\":\"INFO\"," \
	"\"request\":\"POST-7\"}"
#define GCP                                                                                \
	"{\"severity\":\"INFO\",\"message\":\"Logging in\",\"logger\":\"synapse.handlers." \
	"auth\",\"time\":\"2026-11-23T09:46:28.829Z\"}"

enum { PRECISE, TERSE_JSON, JSON, GCP_JSON, SYNAPSE_FORMATS };

static struct pack_format synapse_formats[SYNAPSE_FORMATS] = {
    [PRECISE] = {.kind = FORMAT_REGEX, .time = TIME_ISO, .forgeable = true},
    [TERSE_JSON] = {.kind = FORMAT_JSON, .time = TIME_EPOCH},
    [JSON] = {.kind = FORMAT_JSON, .time = TIME_NONE},
    [GCP_JSON] = {.kind = FORMAT_JSON, .time = TIME_ISO},
};

/* One of each other kind: logrus, a coloured regex, nested JSON, an unlucky regex. */
enum { LOGRUS, COLOURED, NESTED, UNLUCKY, OTHER_FORMATS };

static struct pack_format other_formats[OTHER_FORMATS] = {
    [LOGRUS] = {.kind = FORMAT_LOGFMT, .time = TIME_ISO},
    [COLOURED] = {.kind = FORMAT_REGEX, .time = TIME_ISO, .ansi = true},
    [NESTED] = {.kind = FORMAT_JSON, .time = TIME_EPOCH_MS},
    [UNLUCKY] = {.kind = FORMAT_REGEX, .time = TIME_NONE},
};

struct fixture {
	struct arena *a;
	struct zone *zone;
	struct decoder *synapse, *other;
	struct record r;
};

static const struct pack synapse_pack = {
    .formats = synapse_formats, .format_count = SYNAPSE_FORMATS};
static const struct pack other_pack = {
    .formats = other_formats, .format_count = OTHER_FORMATS};

static void
compile(struct pack_format *f, const char *text)
{
	static const char *const names[PART_COUNT] = {
	    "time", "level", "logger", "context", "message"};
	struct err e = {0};
	unsigned part;
	size_t i;

	f->pattern = pattern_compile(text, NULL, NULL, 0, &e);
	if (f->pattern == NULL)
		fail_msg("%s", e.text);
	for (i = 0; i < f->pattern->capture_count; i++)
		for (part = 0; part < PART_COUNT; part++)
			if (strcmp(f->pattern->captures[i].name, names[part]) == 0)
				f->group[part] = f->pattern->captures[i].group;
}

/* In the order of the parts: time, level, logger, context, message. */
static void
name_keys(struct pack_format *f, const char *const keys[PART_COUNT])
{
	unsigned part;

	for (part = 0; part < PART_COUNT; part++)
		if (keys[part] != NULL)
			f->key[part] = xstrdup(keys[part]);
}

static void
clear(struct pack_format *formats, size_t count)
{
	unsigned part;
	size_t i;

	for (i = 0; i < count; i++) {
		pattern_free(formats[i].pattern);
		for (part = 0; part < PART_COUNT; part++)
			free(formats[i].key[part]);
	}
}

static int
compile_all(void **state)
{
	static const char *const terse[] = {
	    "time", "level", "namespace", "request", "log"};
	static const char *const json[] = {NULL, "level", "namespace", "request", "log"};
	static const char *const gcp[] = {"time", "severity", "logger", NULL, "message"};
	static const char *const logrus[] = {"time", "level", NULL, "req.id", "msg"};
	static const char *const nested[] = {"at", NULL, NULL, NULL, "fields.message"};

	(void)state;
	name_keys(&synapse_formats[TERSE_JSON], terse);
	name_keys(&synapse_formats[JSON], json);
	name_keys(&synapse_formats[GCP_JSON], gcp);
	name_keys(&other_formats[LOGRUS], logrus);
	name_keys(&other_formats[NESTED], nested);
	compile(&synapse_formats[PRECISE],
	    "(?<time>\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d,\\d{3}) - (?<logger>[\\w.]+) - "
	    "(?<source>\\d+) - (?<level>[A-Z]+) - (?<context>\\S*) - (?:(?<odd>odd)|"
	    "(?<message>.*))");
	compile(&other_formats[COLOURED],
	    "(?<level>[A-Z]+)\\[(?<time>[^]]+)\\] (?<message>.*)");
	compile(&other_formats[UNLUCKY], "(?<message>(?:a+)+(?:b|c|d))");
	return 0;
}

static int
free_all(void **state)
{
	(void)state;
	clear(synapse_formats, SYNAPSE_FORMATS);
	clear(other_formats, OTHER_FORMATS);
	return 0;
}

static int
set_up(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	x->a = arena_new();
	x->zone = zone_open("UTC", NULL);
	assert_non_null(x->zone);
	x->synapse = decoder_new(&synapse_pack, x->zone);
	x->other = decoder_new(&other_pack, x->zone);
	*state = x;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *x = *state;

	decoder_free(x->synapse);
	decoder_free(x->other);
	decoder_free(NULL);
	zone_close(x->zone);
	arena_free(x->a);
	free(x);
	return 0;
}

/* Of a file that was written at written_ms. */
static int
feed_of(struct fixture *x, struct decoder *d, const char *line, int64_t written_ms)
{
	int is_record = decoder_line(d, slice_of(line), written_ms, x->a, &x->r);

	if (is_record == 1)
		decoder_believe(d, &x->r);
	return is_record;
}

static int
feed(struct fixture *x, struct decoder *d, const char *line)
{
	return feed_of(x, d, line, FALLBACK);
}

#define assert_slice(s, text)                                                            \
	do {                                                                             \
		struct slice got_ = (s);                                                 \
		assert_non_null(got_.p);                                                 \
		assert_int_equal(got_.len, strlen(text));                                \
		assert_memory_equal(got_.p, (text), got_.len);                           \
	} while (0)

#define assert_field(x, name, text) assert_slice(record_field(&(x)->r, name), text)

/* ---- regex --------------------------------------------------------------- */

static void
text_line(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(feed(x, x->synapse, TEXT), 1);
	assert_ptr_equal(x->r.format, &synapse_formats[PRECISE]);
	assert_slice(x->r.part[PART_TIME], "2026-11-23 09:46:28,829");
	assert_slice(x->r.part[PART_LEVEL], "INFO");
	assert_slice(x->r.part[PART_LOGGER], "synapse.handlers.auth");
	assert_slice(x->r.part[PART_CONTEXT], "POST-7");
	assert_slice(x->r.part[PART_MESSAGE],
	    "Logging in user @erin:example.org on device HOBBIT");
	assert_int_equal(x->r.ts, TEXT_MS);
	assert_true(x->r.ts_of_line);
	/* Named groups that are no part are fields; those without a match are none. */
	assert_int_equal(x->r.field_count, 1);
	assert_field(x, "source", "1067");
	assert_null(record_field(&x->r, "odd").p);
	assert_field(x, "context", "POST-7");
}

static void
empty_and_missing_parts(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(
	    feed(x, x->synapse, "2026-11-23 09:46:28,829 - a - 1 - INFO -  - "), 1);
	assert_slice(x->r.part[PART_CONTEXT], "");
	assert_slice(x->r.part[PART_MESSAGE], "");
	assert_int_equal(
	    feed(x, x->synapse, "2026-11-23 09:46:28,829 - a - 1 - INFO - x - odd"), 1);
	assert_null(x->r.part[PART_MESSAGE].p);
	assert_field(x, "odd", "odd");
}

static void
lines_that_are_no_records(void **state)
{
	const char *const lines[] = {"", "Traceback (most recent call last):",
	    "  File \"synapse/app/homeserver.py\", line 1, in x", " " TEXT,
	    "2026-02-30 09:46:28,829 - a - 1 - INFO - x - no such day", "{", "{}", "null",
	    "\"x\"", "[" TERSE "]"};
	struct fixture *x = *state;
	size_t i;

	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (feed(x, x->synapse, lines[i]) != 0)
			fail_msg("taken: %s", lines[i]);
		assert_int_equal(feed(x, x->synapse, TEXT), 1);
	}
}

static void
bytes_that_are_no_text(void **state)
{
	const char line[] = "2026-11-23 09:46:28,829 - a - 1 - INFO - x - A\0B\xff\xc3";
	struct fixture *x = *state;

	assert_int_equal(decoder_line(x->synapse, (struct slice){line, sizeof(line) - 1},
			     FALLBACK, x->a, &x->r),
	    1);
	assert_int_equal(x->r.part[PART_MESSAGE].len, 5);
	assert_memory_equal(x->r.part[PART_MESSAGE].p, "A\0B\xff\xc3", 5);
}

/* Counted, and neither a hang nor the end of the log. */
static void
a_regex_that_runs_wild(void **state)
{
	struct fixture *x = *state;
	char line[5001];

	memset(line, 'a', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	assert_int_equal(decoder_match_errors(x->other), 0);
	assert_int_equal(feed(x, x->other, line), 0);
	assert_int_equal(decoder_match_errors(x->other), 1);
	assert_int_equal(feed(x, x->other, "aab"), 1);
	assert_int_equal(decoder_match_errors(x->other), 1);
}

static void
colours_are_taken_out(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(
	    feed(x, x->other,
		"\033[36mINFO\033[0m[2026-11-23T09:46:28.829Z] \033[1;38:5:9mhi\033[m \033[K"
		"\033[3"),
	    1);
	assert_ptr_equal(x->r.format, &other_formats[COLOURED]);
	assert_slice(x->r.part[PART_LEVEL], "INFO");
	assert_slice(x->r.part[PART_MESSAGE], "hi \033[K\033[3");
	assert_int_equal(x->r.ts, TEXT_MS);
	/* In formats without colours they are text like any other. */
	assert_int_equal(
	    feed(x, x->synapse, "2026-11-23 09:46:28,829 - a - 1 - INFO - x - \033[0m"),
	    1);
	assert_slice(x->r.part[PART_MESSAGE], "\033[0m");
}

/* ---- JSON ------------------------------------------------------------------ */

static void
json_with_time(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(feed(x, x->synapse, TERSE), 1);
	assert_ptr_equal(x->r.format, &synapse_formats[TERSE_JSON]);
	assert_slice(x->r.part[PART_TIME], "1795428088.02");
	assert_slice(x->r.part[PART_CONTEXT], "POST-7");
	assert_slice(x->r.part[PART_MESSAGE], "Logging in");
	assert_slice(x->r.part[PART_LOGGER], "synapse.handlers.auth");
	assert_int_equal(x->r.ts, 1795428088020);
	assert_true(x->r.ts_of_line);
	assert_int_equal(x->r.field_count, 0);

	assert_int_equal(feed(x, x->synapse, GCP), 1);
	assert_ptr_equal(x->r.format, &synapse_formats[GCP_JSON]);
	assert_null(x->r.part[PART_CONTEXT].p);
	assert_slice(x->r.part[PART_MESSAGE], "Logging in");
	assert_int_equal(x->r.ts, TEXT_MS);
}

static void
json_without_time(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(feed(x, x->synapse, PLAIN_JSON), 1);
	assert_ptr_equal(x->r.format, &synapse_formats[JSON]);
	assert_null(x->r.part[PART_TIME].p);
	assert_int_equal(x->r.ts, FALLBACK);
	assert_false(x->r.ts_of_line);
}

/* Each line has its own format, whatever those before it had. */
static void
formats_that_change(void **state)
{
	const struct {
		const char *line;
		int format;
	} rows[] = {
	    {PLAIN_JSON, JSON},
	    {TERSE, TERSE_JSON},
	    {TERSE, TERSE_JSON},
	    {TEXT, PRECISE},
	    {PLAIN_JSON, JSON},
	    {GCP, GCP_JSON},
	    {TERSE, TERSE_JSON},
	};
	struct fixture *x = *state;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(feed(x, x->synapse, rows[i].line), 1);
		assert_ptr_equal(x->r.format, &synapse_formats[rows[i].format]);
	}
}

static void
json_fields(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(
	    feed(x, x->synapse,
		"{\"log\":\"x\",\"namespace\":\"n\",\"level\":\"INFO\",\"request\":null,"
		"\"s\":\"\\u00e4\\n\",\"i\":-42,\"d\":1.50,\"e\":1e5,\"t\":true,\"f\":false,"
		"\"nothing\":null,\"empty\":\"\",\"list\":[1,{\"a\":2}],"
		"\"outer\":{\"inner\":\"in\",\"n\":7,\"deeper\":{\"a\":1},\"l\":[],"
		"\"z\":null}}"),
	    1);
	assert_null(x->r.part[PART_CONTEXT].p);
	assert_int_equal(x->r.field_count, 9);
	assert_field(x, "s", "\xc3\xa4\n");
	assert_field(x, "i", "-42");
	assert_field(x, "d", "1.50");
	assert_field(x, "e", "1e5");
	assert_field(x, "t", "true");
	assert_field(x, "f", "false");
	assert_field(x, "empty", "");
	assert_field(x, "outer.inner", "in");
	assert_field(x, "outer.n", "7");
}

static void
json_parts_in_objects(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(
	    feed(x, x->other,
		"{\"at\":1795427188829,\"fields\":{\"message\":\"hi\",\"user\":"
		"\"@erin:example.org\"}}"),
	    1);
	assert_ptr_equal(x->r.format, &other_formats[NESTED]);
	assert_slice(x->r.part[PART_MESSAGE], "hi");
	assert_field(x, "fields.user", "@erin:example.org");
	assert_int_equal(x->r.field_count, 1);
	assert_int_equal(x->r.ts, TEXT_MS);
}

#define HEAD "{\"namespace\":\"n\",\"level\":\"I\","

static void
json_that_is_no_record(void **state)
{
	const char *const lines[] = {HEAD "\"log\":\"x\"", HEAD "\"log\":\"x\"}}",
	    HEAD "\"log\":\"x\"} x", HEAD "\"log\":\"x\",}", HEAD "\"log\":\"x}",
	    HEAD "\"log\":null}", HEAD "\"log\":[\"x\"]}", HEAD "\"log\":{\"x\":\"y\"}}",
	    HEAD "\"Log\":\"x\"}", "{\"level\":\"I\",\"log\":\"x\"}",
	    "{\"namespace\":\"n\",\"log\":\"x\"}",
	    HEAD "\"log\":\"x\",\"a\":[[[[[[[[[[[[[[[["
		 "[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
	    HEAD "\"log\":\"\\x41\"}", HEAD "\"log\":\"\\u12\"}",
	    HEAD "/* */\"log\":\"x\"}"};
	struct fixture *x = *state;
	size_t i;

	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (feed(x, x->synapse, lines[i]) != 0)
			fail_msg("taken: %s", lines[i]);
	assert_int_equal(feed(x, x->synapse, HEAD "\"log\":\"x\"}"), 1);
}

static void
json_behind_a_nul(void **state)
{
	const char line[] = HEAD "\"log\":\"x\"}\0" HEAD "\"log\":\"y\"}";
	struct fixture *x = *state;

	assert_int_equal(decoder_line(x->synapse, (struct slice){line, sizeof(line) - 1},
			     FALLBACK, x->a, &x->r),
	    0);
}

static void
json_strings_of_any_kind(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(
	    feed(x, x->synapse,
		HEAD "\"log\":\"A\\u0000B\\ud800C\\udc00\\ud83d\\ude00\xff\"}"),
	    1);
	assert_int_equal(x->r.part[PART_MESSAGE].len, 15);
	assert_memory_equal(x->r.part[PART_MESSAGE].p,
	    "A\0B\xef\xbf\xbd"
	    "C\xef\xbf\xbd\xf0\x9f\x98\x80\xff",
	    15);
	assert_int_equal(feed(x, x->synapse, HEAD "\"log\":\"\\ud800\"}"), 1);
	assert_slice(x->r.part[PART_MESSAGE], "\xef\xbf\xbd");
	assert_int_equal(feed(x, x->synapse, HEAD "\"log\":\"\\u0000\"}"), 1);
	assert_int_equal(x->r.part[PART_MESSAGE].len, 1);
}

static void
fields_have_a_limit(void **state)
{
	struct fixture *x = *state;
	struct buf line = {0};
	int i;

	buf_adds(&line, HEAD);
	for (i = 0; i < 1000; i++)
		buf_addf(&line, "\"k%d\":%d,", i, i);
	buf_adds(&line, "\"log\":\"x\"}");
	assert_int_equal(feed(x, x->synapse, line.p), 1);
	buf_free(&line);
	assert_int_equal(x->r.field_count, 256);
	assert_field(x, "k0", "0");
	assert_field(x, "k255", "255");
	assert_slice(x->r.part[PART_MESSAGE], "x");
}

/* Asking for the time of a line leaves nothing behind, however long its values are. */
static void
time_of_a_line_that_is_not_taken(void **state)
{
	struct fixture *x = *state;
	struct buf line = {0};
	unsigned i;

	assert_int_equal(
	    decoder_time_of(x->synapse, slice_of(TERSE), 7, x->a), 1795428088020);
	assert_int_equal(
	    decoder_time_of(x->synapse, slice_of(PLAIN_JSON), 7, x->a), INT64_MIN);
	assert_int_equal(
	    decoder_time_of(x->synapse, slice_of("Traceback"), 7, x->a), INT64_MIN);
	assert_int_equal(decoder_last_ts(x->synapse), INT64_MIN);
	buf_adds(&line, "time=\"2026-11-23T09:46:28Z\" level=info msg=\"");
	for (i = 0; i < 10000; i++)
		buf_adds(&line, "\\n");
	buf_adds(&line, "\"");
	for (i = 0; i < 2; i++)
		assert_int_equal(
		    decoder_time_of(x->other, (struct slice){line.p, line.len}, 7, x->a),
		    INT64_C(1795427188000));
	assert_int_equal(
	    decoder_line(x->other, (struct slice){line.p, line.len}, 7, x->a, &x->r), 1);
	assert_int_equal(x->r.part[PART_MESSAGE].len, 10000);
	buf_free(&line);
}

/* ---- logfmt ---------------------------------------------------------------- */

#define LOGRUS_HEAD "time=\"2026-11-23T09:46:28.829012345Z\" level=info "

static void
logfmt_line(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(
	    feed(x, x->other,
		LOGRUS_HEAD
		"msg=\"Processing registration request\" auth.type=m.login.dummy "
		"empty= quoted=\"\" req.id=5gOzaLYiHboO "
		"req.path=/_matrix/client/v3/register username=\"erin.x_y-z=1/2\""),
	    1);
	assert_ptr_equal(x->r.format, &other_formats[LOGRUS]);
	assert_slice(x->r.part[PART_LEVEL], "info");
	assert_slice(x->r.part[PART_CONTEXT], "5gOzaLYiHboO");
	assert_slice(x->r.part[PART_MESSAGE], "Processing registration request");
	assert_int_equal(x->r.ts, TEXT_MS);
	assert_int_equal(x->r.field_count, 5);
	assert_field(x, "auth.type", "m.login.dummy");
	assert_field(x, "empty", "");
	assert_field(x, "quoted", "");
	assert_field(x, "req.path", "/_matrix/client/v3/register");
	assert_field(x, "username", "erin.x_y-z=1/2");
}

static void
logfmt_escapes(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(
	    feed(x, x->other,
		LOGRUS_HEAD "msg=\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"|\\xff\\x41|\\u00a0"
			    "\\uFEFF|\\U0001f600|\\101\\377|\xc3\xa4 level=x\""),
	    1);
	assert_slice(x->r.part[PART_MESSAGE],
	    "\a\b\f\n\r\t\v\\\"|\xff"
	    "A|\xc2\xa0\xef\xbb\xbf|\xf0\x9f\x98\x80|A\xff|\xc3\xa4 level=x");
	assert_slice(x->r.part[PART_LEVEL], "info");
	assert_int_equal(feed(x, x->other, LOGRUS_HEAD "msg=\"\\x00\""), 1);
	assert_int_equal(x->r.part[PART_MESSAGE].len, 1);
	assert_int_equal(x->r.part[PART_MESSAGE].p[0], 0);
}

static void
logfmt_that_is_no_record(void **state)
{
	const char *const rests[] = {"", "msg", "msg=\"", "msg=\"x", "msg=\"x\\",
	    "msg=\"x\\\"", "msg=\"x\"y", "msg=\"x\"y=z", "msg=x=y", "msg=x\"y\"",
	    "msg=x y", "msg=x =y", "msg=x \"y\"=z", "msg=\"\\q\"", "msg=\"\\'\"",
	    "msg=\"\\x4\"", "msg=\"\\xg0\"", "msg=\"\\u12\"", "msg=\"\\ud800\"",
	    "msg=\"\\U00110000\"", "msg=\"\\181\"", "msg=\"\\108\"", "msg=\"\\400\"",
	    "msg=\"\\8\"", "msg=\"a\tb\"", "msg=a\tb", "msg=x\ty=z", "Msg=x",
	    "msg=\"x\\\033\""};
	struct fixture *x = *state;
	size_t i;

	for (i = 0; i < sizeof(rests) / sizeof(rests[0]); i++) {
		char line[200];

		(void)stpcpy(stpcpy(line, LOGRUS_HEAD), rests[i]);
		if (feed(x, x->other, line) != 0)
			fail_msg("taken: %s", rests[i]);
	}
	assert_int_equal(feed(x, x->other, "level=info msg=x"), 0);
	assert_int_equal(feed(x, x->other, "time=yesterday level=info msg=x"), 0);
	assert_int_equal(feed(x, x->other, " " LOGRUS_HEAD "msg=x"), 0);
	assert_int_equal(feed(x, x->other, LOGRUS_HEAD "msg=x"), 1);
}

static void
logfmt_first_of_two_counts(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(feed(x, x->other, LOGRUS_HEAD "msg=a msg=b x=1 x=2"), 1);
	assert_slice(x->r.part[PART_MESSAGE], "a");
	assert_field(x, "x", "1");
}

/* ---- line ends and envelopes ------------------------------------------------ */

#define HOBBIT "Logging in user @erin:example.org on device HOBBIT"

/* A line that is done with, and how it ended. */
static void
assert_end(struct fixture *x, const char *line, bool cr, bool odd)
{
	assert_int_equal(feed(x, x->synapse, line), 1);
	assert_slice(x->r.part[PART_MESSAGE], HOBBIT);
	assert_int_equal(x->r.cr, cr);
	assert_int_equal(x->r.odd, odd);
	decoder_ended(x->synapse, &x->r);
}

static void
crlf_is_cut(void **state)
{
	struct fixture *x = *state;

	/* Reading may begin at a line that a user made end in CR. */
	assert_end(x, TEXT "\r", true, true);
	assert_end(x, TEXT "\r", true, true);
	assert_end(x, TEXT "\r", true, false);
	assert_int_equal(feed(x, x->synapse, "\r"), 0);
	assert_int_equal(feed(x, x->synapse, TEXT "\r\r"), 1);
	assert_slice(x->r.part[PART_MESSAGE], HOBBIT "\r");
}

static void
an_odd_line_is_alone_with_it(void **state)
{
	struct fixture *x = *state;
	unsigned i;

	for (i = 0; i < 9; i++)
		assert_end(x, TEXT, false, false);
	assert_true(decoder_knows_ends(x->synapse));
	assert_end(x, TEXT "\r", true, true);
	assert_end(x, TEXT, false, false);
	for (i = 0; i < 9; i++)
		assert_end(x, TEXT "\r", true, i < 6);
	assert_true(decoder_knows_ends(x->synapse));
	assert_end(x, TEXT, false, true);
	assert_false(decoder_knows_ends(x->synapse));
	assert_end(x, TEXT "\r", true, false);
}

#define DOCKER(text) "{\"log\":\"" text "\\n\",\"stream\":\"stderr\"," DOCKER_TIME "}"

#define CRI_HEAD "2026-11-23T09:46:28.830111222Z stdout "
#define CRI_AT(second) "2026-11-23T09:46:" second ".830111222Z stdout "

static void
docker_around_text(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(feed(x, x->synapse, DOCKER("Traceback:")), 0);
	assert_int_equal(feed(x, x->synapse, DOCKER(TEXT)), 1);
	assert_ptr_equal(x->r.format, &synapse_formats[PRECISE]);
	assert_slice(x->r.part[PART_MESSAGE],
	    "Logging in user @erin:example.org on device HOBBIT");
	assert_int_equal(x->r.ts, TEXT_MS);
	assert_true(x->r.ts_of_line);
	/* A container with a terminal writes CR LF. */
	assert_int_equal(feed(x, x->other,
			     DOCKER("\\u001b[36mINFO\\u001b[0m[2026-11-23T09:46:28.829Z] "
				    "hi\\r")),
	    1);
	assert_slice(x->r.part[PART_MESSAGE], "hi");
}

static void
docker_around_json(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(feed(x, x->synapse,
			     DOCKER("{\\\"log\\\":\\\"hi\\\",\\\"namespace\\\":\\\"n\\\","
				    "\\\"level\\\":\\\"INFO\\\"}")),
	    1);
	assert_ptr_equal(x->r.format, &synapse_formats[JSON]);
	assert_slice(x->r.part[PART_MESSAGE], "hi");
	assert_int_equal(x->r.ts, DOCKER_MS);
	assert_false(x->r.ts_of_line);
	assert_int_equal(decoder_last_ts(x->synapse), DOCKER_MS);
}

static void
docker_piece_is_no_record(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(feed(x, x->synapse, DOCKER(TEXT "\\r")), 1);
	assert_int_equal(
	    feed(x, x->synapse,
		"{\"log\":\"" TEXT "\",\"stream\":\"stderr\"," DOCKER_TIME "}"),
	    0);
}

/* A user's text on a line of its own must not pass for what Docker would write. */
static void
no_envelope_where_there_was_none(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(feed(x, x->synapse, DOCKER(TEXT)), 1);
	assert_int_equal(feed(x, x->synapse, TEXT), 1);
	assert_int_equal(feed(x, x->synapse, DOCKER(TEXT)), 0);
	assert_int_equal(feed(x, x->synapse, TEXT), 1);
}

static void
cri_around_text(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(feed(x, x->synapse, CRI_HEAD "F " TEXT), 1);
	assert_int_equal(x->r.ts, TEXT_MS);
	assert_slice(x->r.part[PART_MESSAGE],
	    "Logging in user @erin:example.org on device HOBBIT");
	assert_int_equal(feed(x, x->synapse, CRI_HEAD "P " TEXT), 0);
	assert_int_equal(feed(x, x->synapse, CRI_HEAD "F " PLAIN_JSON), 1);
	assert_int_equal(x->r.ts, DOCKER_MS);
	assert_false(x->r.ts_of_line);
	/* A container with a terminal writes CR LF, into its pieces too. */
	assert_int_equal(
	    feed(x, x->other, CRI_HEAD "F INFO[2026-11-23T09:46:28.829Z] hi\r"), 1);
	assert_slice(x->r.part[PART_MESSAGE], "hi");
}

static void
syslog_around_text(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(feed(x, x->synapse,
			     "Nov 23 09:46:29 host cron[1]: "
			     "other"),
	    0);
	assert_int_equal(
	    feed(x, x->synapse, "Nov 23 09:46:29 host synapse[1]: " TEXT), 1);
	assert_int_equal(x->r.ts, TEXT_MS);
	assert_int_equal(
	    feed(x, x->synapse, "Nov 23 09:46:29 host synapse[1]: Traceback"), 0);
	/* The year is that of the line before. */
	assert_int_equal(
	    feed(x, x->synapse, "Nov 23 09:46:29 host synapse[1]: " PLAIN_JSON), 1);
	assert_int_equal(x->r.ts, TEXT_MS / 1000 * 1000 + 1000);
	assert_int_equal(
	    feed(x, x->synapse, "<1>1 2026-11-23T09:46:28.830Z h a p m - " PLAIN_JSON),
	    1);
	assert_int_equal(x->r.ts, DOCKER_MS);
	/* A collector that lets newlines through lets lines of users through. */
	assert_int_equal(feed(x, x->synapse, TEXT), 0);
	assert_int_equal(
	    feed(x, x->synapse, "Nov 23 09:46:29 host synapse[1]: " TEXT), 1);
}

/* Colours are colours again; a newline is within its record, and begins no other. */
static void
escapes_of_syslog(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(feed(x, x->other,
			     "Nov 23 09:46:28 h t[1]: #033[36mINFO#033[0m["
			     "2026-11-23T09:46:28.829Z] a#011b"),
	    1);
	assert_slice(x->r.part[PART_LEVEL], "INFO");
	assert_slice(x->r.part[PART_MESSAGE], "a\tb");
	assert_int_equal(
	    feed(x, x->synapse, "Nov 23 09:46:28 h t[1]: " TEXT "#012" TEXT), 1);
	assert_slice(x->r.part[PART_CONTEXT], "POST-7");
	assert_slice(x->r.part[PART_MESSAGE],
	    "Logging in user @erin:example.org on device HOBBIT\n" TEXT);
}

/* Many a bare line begins with a time, a word and another with a colon. */
static void
a_record_is_no_syslog(void **state)
{
	static const char line[] = "2026-11-23T09:46:28.829Z ERROR a::b: hi";
	struct pack_format f[2] = {{.kind = FORMAT_REGEX, .time = TIME_ISO},
	    {.kind = FORMAT_REGEX, .time = TIME_NONE}};
	const struct pack pack = {.formats = f, .format_count = 2};
	struct fixture *x = *state;
	struct decoder *d;

	compile(
	    &f[0], "(?<time>[^ ]+) +(?<level>[A-Z]+) (?<logger>[^ ]+): (?<message>.*)");
	compile(&f[1], "(?<message>hi)");
	d = decoder_new(&pack, x->zone);
	assert_int_equal(decoder_line(d, slice_of(line), FALLBACK, x->a, &x->r), 1);
	assert_ptr_equal(x->r.format, &f[0]);
	assert_slice(x->r.part[PART_LOGGER], "a::b");
	decoder_free(d);
	clear(f, 2);
}

static void
an_envelope_that_is_configured(void **state)
{
	struct fixture *x = *state;

	decoder_set_envelope(x->synapse, ENVELOPE_CRI);
	assert_int_equal(feed(x, x->synapse, TEXT), 0);
	assert_int_equal(feed(x, x->synapse, DOCKER(TEXT)), 0);
	assert_int_equal(feed(x, x->synapse, CRI_HEAD "F " TEXT), 1);
	decoder_set_envelope(x->synapse, ENVELOPE_NONE);
	assert_int_equal(feed(x, x->synapse, CRI_HEAD "F " TEXT), 0);
	assert_int_equal(feed(x, x->synapse, TEXT), 1);
}

static void
look(struct fixture *x, struct decoder *d, const char *lines)
{
	decoder_look(d, slice_of(lines), FALLBACK, x->a);
}

static void
a_look_at_several_lines(void **state)
{
	struct fixture *x = *state;

	/* A line that a user began does not tell. */
	look(x, x->synapse, CRI_HEAD "F " TEXT "\n" DOCKER(TEXT) "\n" TEXT "\n");
	assert_int_equal(decoder_last_ts(x->synapse), INT64_MIN);
	assert_int_equal(feed(x, x->synapse, CRI_HEAD "F " TEXT), 0);
	assert_int_equal(feed(x, x->synapse, TEXT), 1);
	/* Lines that tell nothing leave it open. */
	look(x, x->other, "x\n\ny");
	look(x, x->other, "x\n\n" CRI_HEAD "P y\n");
	assert_int_equal(decoder_least(x->other, slice_of(CRI_HEAD "F hi")), 2);
	assert_int_equal(
	    feed(x, x->other, CRI_HEAD "F INFO[2026-11-23T09:46:28.829Z] hi"), 1);
}

static void
pieces_with_cr_lf(void **state)
{
	struct fixture *x = *state;
	const struct line_place at = {1, 2};
	struct unwrapped u;

	look(x, x->synapse, CRI_HEAD "F x\r\n");
	assert_false(decoder_unwrap(x->synapse,
	    slice_of(CRI_HEAD "P 2026-11-23 09:46:28,829 - synapse"), at, FALLBACK, x->a,
	    &u));
	assert_true(decoder_unwrap(x->synapse,
	    slice_of(CRI_HEAD "F .handlers.auth - 1067 - INFO - POST-7 - Logging in\r"),
	    at, FALLBACK, x->a, &u));
	assert_int_equal(decoder_unwrapped(x->synapse, &u, FALLBACK, x->a, &x->r), 1);
	assert_slice(x->r.part[PART_MESSAGE], "Logging in");
}

/* Behind an object a CR is of the line's end, whatever the text ends in. */
static void
objects_with_cr_lf(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(feed(x, x->synapse, DOCKER(TEXT) "\r"), 1);
	assert_slice(x->r.part[PART_MESSAGE], HOBBIT);
	assert_false(x->r.cr);
	assert_int_equal(feed(x, x->other,
			     "{\"MESSAGE\":\"INFO[2026-11-23T09:46:28.829Z] hi\","
			     "\"__REALTIME_TIMESTAMP\":\"1795428044795123\"}\r"),
	    1);
	assert_slice(x->r.part[PART_MESSAGE], "hi");
}

static bool
unwrap(struct fixture *x, const char *line, struct unwrapped *u_r)
{
	return decoder_unwrap(
	    x->synapse, slice_of(line), (struct line_place){1, 2}, FALLBACK, x->a, u_r);
}

/* Half a line of a container that died, or the rest of one?  What may be either is neither. */
static void
a_record_behind_half_a_line(void **state)
{
	struct fixture *x = *state;
	struct unwrapped u;

	look(x, x->synapse, CRI_AT("00") "F x");
	assert_false(unwrap(x, CRI_AT("01") "P " TEXT, &u));
	assert_false(unwrap(x, CRI_AT("09") "F " TEXT, &u));
	assert_true(unwrap(x, CRI_AT("09") "F " TEXT, &u));
	assert_slice(u.line, TEXT);

	/* Cut for its length, a user's words come at once; */
	assert_false(unwrap(x, CRI_AT("10") "P " TEXT, &u));
	assert_true(unwrap(x, CRI_AT("10") "F " TEXT, &u));
	assert_slice(u.line, TEXT TEXT);
	/* and what is no record is a rest, however late it comes. */
	assert_false(unwrap(x, CRI_AT("11") "P one", &u));
	assert_false(unwrap(x, CRI_AT("16") "P two", &u));
	assert_true(unwrap(x, CRI_AT("21") "F three", &u));
	assert_slice(u.line, "onetwothree");
}

/* What looks like an escape is known as such, however the line was taken. */
static void
an_escape_or_a_text(void **state)
{
	static const char line[] = "Nov 23 10:00:44 h t: " TEXT "#011";
	struct fixture *x = *state;
	struct unwrapped u;

	decoder_set_envelope(x->synapse, ENVELOPE_SYSLOG);
	assert_int_equal(feed(x, x->synapse, line), 1);
	assert_true(x->r.undone);
	assert_true(unwrap(x, line, &u));
	assert_int_equal(decoder_unwrapped(x->synapse, &u, FALLBACK, x->a, &x->r), 1);
	assert_true(x->r.undone);
	assert_int_equal(feed(x, x->synapse, "Nov 23 10:00:44 h t: " TEXT), 1);
	assert_false(x->r.undone);
}

/* A message of 1 KiB, the size that logger cuts at. */
static void
take_message(struct fixture *x, const char *begin, const char *end, bool cut, bool rest)
{
	int padding = 1024 - (int)strlen(begin) - (int)strlen(end);
	struct unwrapped u;

	assert_true(unwrap(x,
	    arena_printf(
		x->a, "Nov 23 10:00:44 h t[1]: %s%0*d%s", begin, padding, 0, end),
	    &u));
	assert_int_equal(u.cut, cut);
	assert_int_equal(u.rest, rest);
}

/* Half an object is none; but a user may write a whole one that is a rest. */
static void
an_object_was_not_cut(void **state)
{
	static const char begin[] = "{\"level\":\"INFO\",\"namespace\":\"n\",\"log\":\"";
	struct fixture *x = *state;

	decoder_set_envelope(x->synapse, ENVELOPE_SYSLOG);
	take_message(x, begin, "\"}", false, false);
	take_message(x, begin, "}", true, false);
	take_message(x, begin, "\"}", true, true);
	take_message(x, begin, "\"}", true, true);
	take_message(x, "", "", true, true);
	assert_true(decoder_cut(x->synapse, slice_of("")));
}

/* A power cut left half of an object and a hole, and the next one was written behind it. */
static void
nuls_behind_half_an_object(void **state)
{
	static const char torn[] = "{\"log\":\"2026-11-23 half of\0\0\0" DOCKER(TEXT),
			  users[] = TEXT "\0" DOCKER(TEXT);
	struct fixture *x = *state;
	const struct slice line = {torn, sizeof(torn) - 1};
	struct unwrapped u;

	assert_int_equal(feed(x, x->synapse, DOCKER(TEXT)), 1);
	assert_int_equal(decoder_line(x->synapse, line, FALLBACK, x->a, &x->r), 1);
	assert_slice(x->r.part[PART_MESSAGE],
	    "Logging in user @erin:example.org on device HOBBIT");
	assert_true(decoder_unwrap(
	    x->synapse, line, (struct line_place){1, 1}, FALLBACK, x->a, &u));
	assert_true(u.wrapped);
	assert_slice(u.line, TEXT);
	/* In a log without an envelope they are a user's. */
	assert_int_equal(decoder_line(x->other, (struct slice){users, sizeof(users) - 1},
			     FALLBACK, x->a, &x->r),
	    0);
	assert_true(decoder_unwrap(x->other, slice_of(DOCKER(TEXT)),
	    (struct line_place){1, 1}, FALLBACK, x->a, &u));
	assert_false(u.wrapped);
}

/* The CR at the end of a record is none of it. */
static void
a_record_with_cr_behind_half_a_line(void **state)
{
	const struct line_place at = {1, 2};
	struct fixture *x = *state;
	struct unwrapped u;

	look(x, x->other, CRI_AT("00") "F x");
	assert_false(decoder_unwrap(
	    x->other, slice_of(CRI_AT("01") "P aab\r"), at, FALLBACK, x->a, &u));
	assert_false(decoder_unwrap(
	    x->other, slice_of(CRI_AT("09") "F aab\r"), at, FALLBACK, x->a, &u));
}

/* Left by a truncation under a writer that does not append, or by a power cut. */
static void
nuls_before_a_line(void **state)
{
	static const char line[] = "\0\0\0\0" TEXT, wrapped[] = "\0" CRI_HEAD "F " TEXT,
			  within[] = TEXT "\0x";
	struct fixture *x = *state;

	assert_int_equal(
	    decoder_line(x->synapse, (struct slice){wrapped, sizeof(wrapped) - 1},
		FALLBACK, x->a, &x->r),
	    1);
	assert_int_equal(decoder_line(x->synapse, (struct slice){line, sizeof(line) - 1},
			     FALLBACK, x->a, &x->r),
	    1);
	assert_int_equal(x->r.ts, TEXT_MS);
	assert_int_equal(
	    decoder_line(x->synapse, (struct slice){within, sizeof(within) - 1}, FALLBACK,
		x->a, &x->r),
	    1);
	assert_int_equal(x->r.part[PART_MESSAGE].len,
	    strlen("Logging in user @erin:example.org on device HOBBIT") + 2);
	assert_int_equal(
	    decoder_line(x->synapse, (struct slice){line, 4}, FALLBACK, x->a, &x->r), 0);
}

/* ---- time ------------------------------------------------------------------- */

#define ON(time) time ",000 - a - 1 - INFO - x - y"
#define AT(clock) ON("2026-10-25 " clock)

static void
local_times(void **state)
{
	const int64_t hour = 3600000, first = 1792888200000; /* 02:30 summer time */
	const int64_t spring = 1806195600000; /* 03:00, which follows 01:59 */
	const int64_t later = 2000000000000;
	struct fixture *x = *state;
	struct zone *berlin;
	struct decoder *d;

	if (access("/usr/share/zoneinfo/Europe/Berlin", R_OK) == -1)
		skip();
	berlin = zone_open("Europe/Berlin", NULL);
	assert_non_null(berlin);
	d = decoder_new(&synapse_pack, berlin);
	assert_int_equal(decoder_last_ts(d), INT64_MIN);
	assert_int_equal(feed_of(x, d, AT("02:30:00"), later), 1);
	assert_int_equal(x->r.ts, first);
	assert_int_equal(decoder_last_ts(d), first);
	assert_int_equal(feed_of(x, d, AT("02:50:00"), later), 1);
	assert_int_equal(x->r.ts, first + 20 * 60000);
	assert_int_equal(feed_of(x, d, AT("02:30:00"), later), 1);
	assert_int_equal(x->r.ts, first + hour);
	/* The clock is set back: the last line told counts, not the greatest. */
	assert_int_equal(feed_of(x, d, AT("01:00:00"), later), 1);
	assert_int_equal(feed_of(x, d, AT("02:30:00"), later), 1);
	assert_int_equal(x->r.ts, first);
	/* It is set forward by hours, and back again; and leaps in spring by itself. */
	assert_int_equal(feed_of(x, d, AT("12:00:00"), later), 1);
	assert_int_equal(x->r.ts, first + 10 * hour + hour / 2);
	assert_int_equal(feed_of(x, d, AT("06:00:00"), later), 1);
	assert_int_equal(x->r.ts, first + 4 * hour + hour / 2);
	assert_int_equal(feed_of(x, d, ON("2027-03-28 01:59:59"), later), 1);
	assert_int_equal(x->r.ts, spring - 1000);
	assert_int_equal(feed_of(x, d, ON("2027-03-28 03:00:00"), later), 1);
	assert_int_equal(x->r.ts, spring);
	/* From the last run, or from the envelope. */
	decoder_set_last_ts(d, first + hour);
	assert_int_equal(feed_of(x, d, AT("02:30:00"), later), 1);
	assert_int_equal(x->r.ts, first + hour);
	/* No line was written behind the file's end. */
	decoder_set_last_ts(d, first + hour);
	assert_int_equal(feed_of(x, d, AT("02:30:00"), first + 1000), 1);
	assert_int_equal(x->r.ts, first);
	decoder_free(d);

	d = decoder_new(&synapse_pack, berlin);
	assert_int_equal(
	    feed(x, d,
		"{\"log\":\"" AT("02:30:00") "\\n\",\"stream\":\"stdout\",\"time\":"
					     "\"2026-10-25T01:30:00.1Z\"}"),
	    1);
	assert_int_equal(x->r.ts, first + hour);
	decoder_free(d);
	zone_close(berlin);
}

static void
fallback_is_no_last_ts(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(decoder_last_ts(x->synapse), INT64_MIN);
	assert_int_equal(feed(x, x->synapse, PLAIN_JSON), 1);
	assert_int_equal(decoder_last_ts(x->synapse), INT64_MIN);
	assert_int_equal(feed(x, x->synapse, TERSE), 1);
	assert_int_equal(decoder_last_ts(x->synapse), 1795428088020);
}

/* Lines without a time between such that have one are as old as the one before. */
static void
time_of_the_line_before(void **state)
{
	struct fixture *x = *state;
	struct pack_format formats[SYNAPSE_FORMATS];
	struct pack pack = synapse_pack;
	struct decoder *d;

	memcpy(formats, synapse_formats, sizeof(formats));
	formats[JSON].time = TIME_BEFORE;
	pack.formats = formats;
	d = decoder_new(&pack, x->zone);
	assert_int_equal(feed(x, d, PLAIN_JSON), 1);
	assert_int_equal(x->r.ts, FALLBACK);
	assert_int_equal(feed(x, d, TERSE), 1);
	assert_int_equal(feed(x, d, PLAIN_JSON), 1);
	assert_int_equal(x->r.ts, 1795428088020);
	assert_false(x->r.ts_of_line);
	assert_int_equal(decoder_last_ts(d), 1795428088020);
	decoder_free(d);
}

/* A day that the year does not have says nothing of the lines behind it. */
static void
a_leap_day_in_another_year(void **state)
{
	const int64_t march = 1804032000000; /* 2027-03-03 */
	struct fixture *x = *state;
	struct decoder *d = x->synapse;

	decoder_set_envelope(d, ENVELOPE_SYSLOG);
	assert_int_equal(
	    feed_of(x, d, "Feb 29 10:00:00 host synapse[1]: " PLAIN_JSON, march), 1);
	assert_int_equal(
	    feed_of(x, d, "Mar  1 09:00:00 host synapse[1]: " PLAIN_JSON, march), 1);
	assert_int_equal(x->r.ts, march - 39 * 3600000);
	assert_int_equal(
	    feed_of(x, d, "Feb 29 10:00:00 host synapse[1]: " PLAIN_JSON, march), 1);
	assert_int_equal(
	    feed_of(x, d, "Mar  1 09:00:00 host synapse[1]: " PLAIN_JSON, march), 1);
	assert_int_equal(x->r.ts, march - 39 * 3600000);
}

/* ---- damage ------------------------------------------------------------------- */

static const char *const good_lines[] = {TEXT, TERSE, GCP,
    LOGRUS_HEAD "msg=\"a\\n\\u00e4\\U0001f600\\x41\\101\" x=1", DOCKER("x"),
    "\033[36mINFO\033[0m[2026-11-23T09:46:28.829Z] \033[1mhi\033[m",
    "{\"at\":1,\"fields\":{\"message\":\"\\ud83d\\ude00\\u0000\"},\"a\":[{}]}"};

/* Fed from memory that ends where the line ends, so that reading on is seen. */
static void
feed_exactly(struct fixture *x, const char *text, size_t len)
{
	char *line = malloc(len == 0 ? 1 : len);
	struct slice s = {line, len};

	assert_non_null(line);
	memcpy(line, text, len);
	(void)decoder_line(x->synapse, s, FALLBACK, x->a, &x->r);
	(void)decoder_line(x->other, s, FALLBACK, x->a, &x->r);
	free(line);
	arena_reset(x->a);
}

static void
lines_cut_anywhere(void **state)
{
	struct fixture *x = *state;
	size_t i, len;

	for (i = 0; i < sizeof(good_lines) / sizeof(good_lines[0]); i++)
		for (len = 0; len <= strlen(good_lines[i]); len++)
			feed_exactly(x, good_lines[i], len);
	assert_int_equal(feed(x, x->synapse, TEXT), 1);
}

static void
lines_with_any_byte_changed(void **state)
{
	const char bytes[] = {
	    '\0', '"', '\\', '{', '}', '\033', '\r', ' ', '=', '\xff', '9'};
	struct fixture *x = *state;
	size_t i, at, b;
	char line[300];

	for (i = 0; i < sizeof(good_lines) / sizeof(good_lines[0]); i++)
		for (at = 0; at < strlen(good_lines[i]); at++)
			for (b = 0; b < sizeof(bytes); b++) {
				(void)stpcpy(line, good_lines[i]);
				line[at] = bytes[b];
				feed_exactly(x, line, strlen(good_lines[i]));
			}
	assert_int_equal(feed(x, x->synapse, TEXT), 1);
}

static void
a_very_long_line(void **state)
{
	const size_t len = 1024 * 1024;
	struct fixture *x = *state;
	char *line = malloc(len);

	assert_non_null(line);
	memset(line, 'x', len);
	memcpy(line, TEXT, sizeof(TEXT) - 1);
	assert_int_equal(
	    decoder_line(x->synapse, (struct slice){line, len}, FALLBACK, x->a, &x->r),
	    1);
	assert_int_equal(decoder_match_errors(x->synapse), 0);
	memset(line, '[', len);
	memcpy(line, HEAD "\"a\":", sizeof(HEAD "\"a\":") - 1);
	assert_int_equal(
	    decoder_line(x->synapse, (struct slice){line, len}, FALLBACK, x->a, &x->r),
	    0);
	free(line);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- records in the journal -------------------------------------------------- */

enum { PLAIN_LINE, COLOURED_LINE, ENTRY, JOURNAL_FORMATS };

#define JOURNAL_HEAD "{\"__REALTIME_TIMESTAMP\":\"1795428044795123\",\"MESSAGE\":"
#define JOURNAL_RECORD                                                                   \
	JOURNAL_HEAD                                                                     \
	"\"line [POST-7] a\\nb\",\"LOGGER\":\"l\",\"PRIORITY\":\"6\",\"F\":\"f\"}"

static void
assert_entry(const struct record *r)
{
	assert_true(slice_is(r->part[PART_MESSAGE], "a\nb"));
	assert_true(slice_is(r->part[PART_CONTEXT], "POST-7"));
	assert_true(slice_is(r->part[PART_LOGGER], "l"));
	assert_true(slice_is(r->part[PART_LEVEL], "INFO"));
	assert_true(slice_is(record_field(r, "F"), "f"));
	assert_int_equal(r->ts, 1795428044795);
	assert_false(r->ts_of_line);
}

/* Whatever lines of the server's output came before. */
static void
entries_are_taken_by_their_fields(void **state)
{
	static const char *const keys[] = {NULL, "PRIORITY", "LOGGER", NULL, NULL};
	struct pack_format formats[JOURNAL_FORMATS] = {
	    [PLAIN_LINE] = {.kind = FORMAT_REGEX, .time = TIME_NONE},
	    [COLOURED_LINE] = {.kind = FORMAT_REGEX, .time = TIME_NONE, .coloured = true},
	    [ENTRY] = {.kind = FORMAT_JOURNAL, .time = TIME_NONE}};
	const struct pack pack = {.formats = formats, .format_count = JOURNAL_FORMATS};
	struct fixture *x = *state;
	struct decoder *d;

	compile(&formats[PLAIN_LINE], "line (?<message>.*)");
	compile(&formats[COLOURED_LINE], "\x1b(?<message>.*)");
	compile(&formats[ENTRY], "line \\[(?<context>\\S*)\\] (?<message>.*)");
	name_keys(&formats[ENTRY], keys);
	d = decoder_new(&pack, x->zone);

	assert_int_equal(feed(x, d, JOURNAL_HEAD "\"line c\"}"), 1);
	assert_ptr_equal(x->r.format, &formats[PLAIN_LINE]);
	assert_int_equal(feed(x, d, JOURNAL_RECORD), 1);
	assert_ptr_equal(x->r.format, &formats[ENTRY]);
	assert_entry(&x->r);
	/* Without a field that the format names it is none of its records. */
	assert_int_equal(
	    feed(x, d, JOURNAL_HEAD "\"line [POST-7] a\",\"LOGGER\":\"l\"}"), 1);
	assert_ptr_equal(x->r.format, &formats[PLAIN_LINE]);

	/* In colours, a line without them is a user's, with records in between too. */
	assert_int_equal(feed(x, d, JOURNAL_HEAD "[27,97]}"), 1);
	assert_ptr_equal(x->r.format, &formats[COLOURED_LINE]);
	assert_int_equal(feed(x, d, JOURNAL_RECORD), 1);
	assert_entry(&x->r);
	assert_int_equal(feed(x, d, JOURNAL_HEAD "\"line d\"}"), 0);

	decoder_free(d);
	clear(formats, JOURNAL_FORMATS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    test(text_line),
	    test(empty_and_missing_parts),
	    test(lines_that_are_no_records),
	    test(bytes_that_are_no_text),
	    test(a_regex_that_runs_wild),
	    test(colours_are_taken_out),
	    test(json_with_time),
	    test(json_without_time),
	    test(entries_are_taken_by_their_fields),
	    test(formats_that_change),
	    test(json_fields),
	    test(json_parts_in_objects),
	    test(json_that_is_no_record),
	    test(json_behind_a_nul),
	    test(json_strings_of_any_kind),
	    test(fields_have_a_limit),
	    test(logfmt_line),
	    test(logfmt_escapes),
	    test(logfmt_that_is_no_record),
	    test(logfmt_first_of_two_counts),
	    test(crlf_is_cut),
	    test(an_odd_line_is_alone_with_it),
	    test(docker_around_text),
	    test(docker_around_json),
	    test(docker_piece_is_no_record),
	    test(no_envelope_where_there_was_none),
	    test(cri_around_text),
	    test(syslog_around_text),
	    test(escapes_of_syslog),
	    test(a_record_is_no_syslog),
	    test(an_envelope_that_is_configured),
	    test(a_look_at_several_lines),
	    test(pieces_with_cr_lf),
	    test(objects_with_cr_lf),
	    test(a_record_behind_half_a_line),
	    test(a_record_with_cr_behind_half_a_line),
	    test(an_escape_or_a_text),
	    test(an_object_was_not_cut),
	    test(nuls_before_a_line),
	    test(nuls_behind_half_an_object),
	    test(local_times),
	    test(fallback_is_no_last_ts),
	    test(time_of_a_line_that_is_not_taken),
	    test(time_of_the_line_before),
	    test(a_leap_day_in_another_year),
	    test(lines_cut_anywhere),
	    test(lines_with_any_byte_changed),
	    test(a_very_long_line),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, compile_all, free_all);
}
