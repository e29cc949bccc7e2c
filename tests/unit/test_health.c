#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "commands/teller.h"
#include "extract/account_event.h"
#include "pack/pack.h"
#include "pack_text.h"

#define MIB (1024 * 1024)
#define HOUR (60 * 60 * INT64_C(1000))
#define BEGAN INT64_C(1795420800000)

#define LOGIN                                                                            \
	"{ name = \"login\"; logger = \"log\"; match = \"%{user_id:user} comes in\";"    \
	"  emit = { type = \"login\"; user_id = \"$user\"; }; },"
#define SERVED(sentinel)                                                                 \
	"{ name = \"served\"; logger = \"log\"; match = \"served \\\\d+\"; " sentinel " }"

static const char served[] = "R1 log INFO served 7\n";
static const char known[] = "R1 log INFO @a:example.org comes in\n";
static const char unknown[] = "R1 log INFO @a:example.org comes in by the door\n";
static const char stranger[] = "R1 log INFO @a:example.com comes in\n";
static const char other_logger[] = "R1 other INFO @a:example.org comes in by the door\n";

struct log {
	struct pack *pack;
	struct zone *zone;
	struct teller *teller;
	struct teller_log *log;
	struct arena *arena;
	uint64_t offset;
};

static void
begin_pack(struct log *l, struct pack *pack)
{
	static const struct extract_limits limits = {.timeout_ms = 1000, .max = 100};

	*l = (struct log){.pack = pack};
	l->zone = zone_open("UTC", NULL);
	l->teller = teller_new("example.org", &limits);
	l->log = teller_log_new(l->teller, l->pack, l->zone);
	l->arena = arena_new();
}

static void
begin(struct log *l, const char *rules)
{
	begin_pack(l, pack_of_rules(rules));
}

/* A pack whose lines begin with a time. */
static void
begin_timed(struct log *l)
{
	static const char about[] =
	    "name = \"trial\"; title = \"Trial\"; versions = \"1\"; needs = \"nothing\";"
	    " tested = \"source\";\n"
	    "formats = ( { name = \"timed\"; kind = \"regex\"; time = \"iso\"; pattern ="
	    " \"%{timestamp:time} (?<logger>[a-z]+) (?<message>.*)\"; } );\n"
	    "rules = ( { name = \"served\"; logger = \"log\"; match = \"served \\\\d+\";"
	    "  sentinel = true; } );\n";
	struct err_list errs = {0};
	struct pack *pack = pack_of_text(about, &errs);

	if (pack == NULL)
		fail_msg("%s", errs.texts[0]);
	begin_pack(l, pack);
}

static void
end(struct log *l)
{
	teller_free(l->teller);
	zone_close(l->zone);
	pack_free(l->pack);
	arena_free(l->arena);
}

/* text is written at BEGAN + ms. */
static void
take(struct log *l, const char *text, size_t len, int64_t ms)
{
	struct account_events events = {.last = &events.first};
	const struct teller_chunk c = {
	    .file = 1,
	    .offset = l->offset,
	    .data = text,
	    .len = len,
	    .fallback_ms = BEGAN + ms,
	};

	teller_chunk(l->log, &c, l->arena, &events, NULL);
	l->offset += len;
}

static void
take_text(struct log *l, const char *text, int64_t ms)
{
	take(l, text, strlen(text), ms);
}

/* So many bytes of lines that no rule cares about. */
static void
take_noise(struct log *l, size_t bytes, int64_t ms)
{
	static const char line[] = "R1 log INFO nothing of importance\n";
	const size_t len = sizeof(line) - 1;
	struct buf text = {0};

	while (text.len < bytes)
		buf_add(&text, line, len);
	take(l, text.p, text.len, ms);
	buf_free(&text);
}

static const char *
trouble(const struct log *l)
{
	return teller_log_trouble(l->log, l->arena);
}

static void
silence_is_told_and_ends_with_a_sentinel(void **state)
{
	const char *first;
	struct log l;

	(void)state;
	begin(&l, LOGIN SERVED("sentinel = true;"));
	assert_string_equal(trouble(&l), "");
	take_text(&l, served, 0);
	take_noise(&l, 8 * MIB, HOUR - 1);
	assert_string_equal(trouble(&l), "");
	take_text(&l, known, HOUR);
	first = trouble(&l);
	assert_non_null(strstr(first, "since 2026-11-23 08:00:00 UTC"));
	take_noise(&l, 1000, 2 * HOUR);
	assert_string_equal(trouble(&l), first);
	take_text(&l, served, 2 * HOUR);
	assert_string_equal(trouble(&l), "");
	take_noise(&l, 1000, 3 * HOUR - 1);
	assert_string_equal(trouble(&l), "");
	take_noise(&l, 8 * MIB, 3 * HOUR - 1);
	assert_string_equal(trouble(&l), "");
	take_noise(&l, 1000, 3 * HOUR);
	assert_non_null(strstr(trouble(&l), "since 2026-11-23 10:00:00 UTC"));
	end(&l);
}

static void
little_in_an_hour_is_no_silence_but_in_a_day(void **state)
{
	struct log l;

	(void)state;
	begin(&l, LOGIN SERVED("sentinel = true;"));
	take_text(&l, served, 0);
	take_noise(&l, 20 * 1024, 23 * HOUR);
	assert_string_equal(trouble(&l), "");
	take_noise(&l, 100, 24 * HOUR);
	assert_string_not_equal(trouble(&l), "");
	end(&l);
	begin(&l, LOGIN SERVED("sentinel = true;"));
	take_text(&l, served, 0);
	take_noise(&l, 15 * 1024, 48 * HOUR);
	assert_string_equal(trouble(&l), "");
	end(&l);
}

/* So many bytes of noise, each line with that time of day; written now, at BEGAN + ms. */
static void
take_noise_of(struct log *l, const char *time, size_t bytes, int64_t ms)
{
	struct buf text = {0};

	while (text.len < bytes)
		buf_addf(&text, "%s log nothing of importance\n", time);
	take(l, text.p, text.len, ms);
	buf_free(&text);
}

#define LATER (1000 * HOUR) /* than all lines: when an old log is read */

static void
a_log_goes_by_its_own_clock(void **state)
{
	const char *first;
	struct log l;

	(void)state;
	begin_timed(&l);
	take_text(&l, "2026-11-23T08:00:00Z log served 7\n", LATER);
	take_noise_of(&l, "2026-11-23T08:59:59Z", 8 * MIB, LATER);
	assert_string_equal(trouble(&l), "");
	/* A line without a time is as old as the one before it. */
	take_text(&l, "a traceback\n", LATER + 2 * HOUR);
	assert_string_equal(trouble(&l), "");
	take_noise_of(&l, "2026-11-23T09:00:00Z", 100, LATER);
	first = trouble(&l);
	assert_non_null(strstr(first, "since 2026-11-23 08:00:00 UTC"));
	/* Time does not go back. */
	take_noise_of(&l, "2026-11-23T07:00:00Z", 100, LATER);
	assert_string_equal(trouble(&l), first);
	take_text(&l, "2026-11-23T09:00:01Z log served 7\n", LATER);
	assert_string_equal(trouble(&l), "");
	end(&l);
}

static void
a_time_that_has_not_come_is_none(void **state)
{
	struct log l;

	(void)state;
	begin_timed(&l);
	take_text(&l, "2026-11-23T08:00:00Z log served 7\n", 1);
	take_noise_of(&l, "2027-11-23T08:00:00Z", 8 * MIB, 2);
	assert_string_equal(trouble(&l), "");
	end(&l);
}

static void
old_logs_are_read_at_once(void **state)
{
	struct log l;

	(void)state;
	begin(&l, LOGIN SERVED("sentinel = true;"));
	take_noise(&l, 9 * MIB, 0);
	assert_string_equal(trouble(&l), "");
	end(&l);
}

static void
without_a_sentinel_nothing_is_missed(void **state)
{
	struct log l;

	(void)state;
	begin(&l, LOGIN SERVED(""));
	take_noise(&l, 1, 0);
	take_noise(&l, 9 * MIB, 100 * HOUR);
	assert_string_equal(trouble(&l), "");
	end(&l);
}

static void
take_times(struct log *l, const char *text, unsigned times)
{
	while (times-- > 0)
		take_text(l, text, 0);
}

static void
unknown_forms_are_told(void **state)
{
	struct log l;

	(void)state;
	begin(&l, LOGIN SERVED(""));
	take_times(&l, known, 40);
	take_times(&l, stranger, 100);
	take_times(&l, other_logger, 100);
	take_times(&l, unknown, 19);
	assert_string_equal(trouble(&l), "");
	assert_int_equal(teller_log_unknown(l.log), 19);
	take_times(&l, unknown, 1);
	assert_non_null(strstr(trouble(&l), "in a form that it does not know"));
	take_times(&l, known, 200);
	assert_string_equal(trouble(&l), "");
	end(&l);
}

static void
what_was_known_long_ago_does_not_hide_it(void **state)
{
	struct log l;

	(void)state;
	begin(&l, LOGIN SERVED(""));
	take_times(&l, known, 100000);
	take_times(&l, unknown, 500);
	assert_string_not_equal(trouble(&l), "");
	end(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(silence_is_told_and_ends_with_a_sentinel),
	    cmocka_unit_test(little_in_an_hour_is_no_silence_but_in_a_day),
	    cmocka_unit_test(a_log_goes_by_its_own_clock),
	    cmocka_unit_test(a_time_that_has_not_come_is_none),
	    cmocka_unit_test(old_logs_are_read_at_once),
	    cmocka_unit_test(without_a_sentinel_nothing_is_missed),
	    cmocka_unit_test(unknown_forms_are_told),
	    cmocka_unit_test(what_was_known_long_ago_does_not_hide_it),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
