#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "decode/record.h"
#include "match/match.h"
#include "pack/pack.h"
#include "pack_text.h"

#define RULES                                                                                      \
	"{ name = \"any\"; match = \"hello %{word:who}\"; ends = true; },"                         \
	"{ name = \"logger\"; logger = \"a.b\"; match = \"hello .*\"; ends = true; },"             \
	"{ name = \"prefix\"; logger = \"a.b*\"; match = \"hello .*\"; ends = true; },"            \
	"{ name = \"level\"; levels = [\"INFO\", \"WARN\"]; match = \"hello .*\";"                 \
	"  ends = true; },"                                                                        \
	"{ name = \"field\"; fields = ( { name = \"user\"; match = \"%{user_id:user}\"; },"        \
	"  { name = \"code\"; match = \"2\\\\d\\\\d\"; } ); match = \"hello .*\"; ends = true; }," \
	"{ name = \"user\"; match = \"user %{user_id:user} did\"; ends = true; },"                 \
	"{ name = \"device\"; match = \"device %{device_id:first}, %{device_id:last}\";"           \
	"  ends = true; },"                                                                        \
	"{ name = \"maybe\"; match = \"maybe (?:%{word:who})?\"; ends = true; },"                  \
	"{ name = \"list\"; match = \"list %{py_list:items}\"; ends = true; },"                    \
	"{ name = \"plain\"; formats = [\"plain\"]; match = \"formatted\"; ends = true; },"        \
	"{ name = \"context\"; fields = ( { name = \"context\"; match = \"R-\\\\d\"; } );"         \
	"  match = \"formatted\"; ends = true; },"                                                 \
	"{ name = \"slow\"; match = \"slow (?:(?:a+)+)+b\"; ends = true; }"

static struct pack *pack;
static struct matcher *matcher;
static struct arena *arena;

static int
set_up(void **state)
{
	(void)state;
	pack = pack_of_rules(RULES);
	matcher = matcher_new(pack, "example.org");
	arena = arena_new();
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	arena_free(arena);
	matcher_free(matcher);
	matcher_free(NULL);
	pack_free(pack);
	return 0;
}

static struct record
record_of(const char *logger, const char *level, const char *message)
{
	struct record r = {.format = &pack->formats[0]};

	r.part[PART_LOGGER] = slice_of(logger);
	r.part[PART_LEVEL] = slice_of(level);
	r.part[PART_MESSAGE] = slice_of(message);
	return r;
}

/* The names of the rules that r fits must be want, each followed by a blank. */
static struct match *
fits(const struct record *r, const char *want)
{
	struct match *matches;
	struct buf names = {0};
	size_t n = matcher_record(matcher, r, arena, &matches), i;

	buf_reserve(&names, 1);
	for (i = 0; i < n; i++)
		buf_addf(&names, "%s ", matches[i].rule->name);
	if (strcmp(names.p, want) != 0)
		fail_msg("fits \"%s\", not \"%s\"", names.p, want);
	buf_free(&names);
	return n == 0 ? NULL : matches;
}

static struct slice
captured(const struct match *m, const char *name)
{
	size_t i;

	for (i = 0; i < m->capture_count; i++)
		if (strcmp(m->captures[i].name, name) == 0)
			return m->captures[i].value.items[0];
	return (struct slice){NULL, 0};
}

static void
rules_fit_in_the_order_of_the_pack(void **state)
{
	struct record r = record_of("a.b", "INFO", "hello you");

	(void)state;
	assert_true(
	    slice_is(captured(fits(&r, "any logger prefix level "), "who"), "you"));
	r = record_of("a.b", "INFO", "hello you too");
	(void)fits(&r, "logger prefix level ");
	r = record_of("a.b", "INFO", "say hello you");
	(void)fits(&r, "");
}

static void
loggers_and_levels_are_the_rules(void **state)
{
	struct record r = record_of("a.bc", "WARN", "hello you");

	(void)state;
	(void)fits(&r, "any prefix level ");
	r = record_of("a.", "ERROR", "hello you");
	(void)fits(&r, "any ");
	/* A record without a logger and a level fits rules that ask for none. */
	r.part[PART_LOGGER] = r.part[PART_LEVEL] = (struct slice){NULL, 0};
	(void)fits(&r, "any ");
	r.part[PART_MESSAGE] = (struct slice){NULL, 0};
	(void)fits(&r, "");
}

static void
fields_are_matched_and_captured(void **state)
{
	struct record_field fields[] = {{slice_of("code"), slice_of("204")},
	    {slice_of("user"), slice_of("@a:example.org")}};
	struct record r = record_of("x", "DEBUG", "hello you");

	(void)state;
	r.fields = fields;
	r.field_count = 2;
	assert_true(
	    slice_is(captured(fits(&r, "any field ") + 1, "user"), "@a:example.org"));
	fields[0].value = slice_of("404");
	(void)fits(&r, "any ");
	fields[0].value = slice_of("204");
	fields[1].value = slice_of("@a:example.com");
	(void)fits(&r, "any ");
	r.field_count = 1;
	(void)fits(&r, "any ");
}

static void
formats_and_parts_are_asked_for(void **state)
{
	char other[] = "other";
	struct pack_format json = {.name = other, .kind = FORMAT_JSON};
	struct record r = record_of("x", "INFO", "formatted");

	(void)state;
	(void)fits(&r, "plain ");
	r.part[PART_CONTEXT] = slice_of("R-1");
	(void)fits(&r, "plain context ");
	r.format = &json;
	(void)fits(&r, "context ");
}

static void
a_void_capture_voids_the_match(void **state)
{
	struct record r = record_of("x", "INFO", "user @erin:example.org did");
	struct matcher *of_any = matcher_new(pack, NULL);
	struct match *matches;

	(void)state;
	assert_true(slice_is(captured(fits(&r, "user "), "user"), "@erin:example.org"));
	r = record_of("x", "INFO", "user @erin:example.com did");
	(void)fits(&r, "");
	assert_int_equal(matcher_record(of_any, &r, arena, &matches), 1);
	matcher_free(of_any);
	r = record_of("x", "INFO", "list ['A', 'B']");
	assert_int_equal(fits(&r, "list ")->captures[0].value.count, 2);
	r = record_of("x", "INFO", "list []");
	assert_int_equal(fits(&r, "list ")->capture_count, 1);
	r = record_of("x", "INFO", "list [A]");
	(void)fits(&r, "");
}

static void
what_captured_nothing_is_not_there(void **state)
{
	struct record r = record_of("x", "INFO", "maybe ");

	(void)state;
	assert_int_equal(fits(&r, "maybe ")->capture_count, 0);
	r = record_of("x", "INFO", "maybe you");
	assert_int_equal(fits(&r, "maybe ")->capture_count, 1);
}

static void
raw_text_up_to_the_end_is_open(void **state)
{
	char name[] = "json";
	struct pack_format json = {.name = name, .kind = FORMAT_JSON};
	struct record r = record_of("x", "INFO", "device A, B\tC");
	struct match *m;

	(void)state;
	/* A device with a control in it has no value where a newline could be one. */
	m = fits(&r, "device ");
	assert_int_equal(m->capture_count, 1);
	assert_string_equal(m->captures[0].name, "first");
	assert_false(m->captures[0].open);
	r = record_of("x", "INFO", "device A, B C");
	m = fits(&r, "device ");
	assert_int_equal(m->capture_count, 2);
	assert_true(m->captures[1].open);
	r = record_of("x", "INFO", "device A, B\nC");
	r.format = &json;
	m = fits(&r, "device ");
	assert_int_equal(m->capture_count, 2);
	assert_true(slice_is(captured(m, "last"), "B\nC"));
	assert_false(m->captures[1].open);
	/* Nor where it may have been a text that looks like one escaped. */
	r.undone = true;
	m = fits(&r, "device ");
	assert_int_equal(m->capture_count, 1);
	assert_string_equal(m->captures[0].name, "first");
}

static void
a_pattern_that_gives_up_is_counted(void **state)
{
	struct record r = record_of("x", "INFO",
	    "slow aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaacb");
	const char *rule = NULL;

	(void)state;
	assert_int_equal(matcher_errors(matcher, &rule), 0);
	assert_null(rule);
	(void)fits(&r, "");
	assert_int_equal(matcher_errors(matcher, NULL), 1);
	assert_int_equal(matcher_errors(matcher, &rule), 1);
	assert_string_equal(rule, "slow");
	/* And nothing else suffers. */
	r = record_of("x", "INFO", "slow aab");
	(void)fits(&r, "slow ");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rules_fit_in_the_order_of_the_pack),
	    cmocka_unit_test(loggers_and_levels_are_the_rules),
	    cmocka_unit_test(fields_are_matched_and_captured),
	    cmocka_unit_test(formats_and_parts_are_asked_for),
	    cmocka_unit_test(a_void_capture_voids_the_match),
	    cmocka_unit_test(what_captured_nothing_is_not_there),
	    cmocka_unit_test(raw_text_up_to_the_end_is_open),
	    cmocka_unit_test(a_pattern_that_gives_up_is_counted),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
