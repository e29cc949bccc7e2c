#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "decode/timestamp.h"

struct good {
	const char *text;
	int64_t ms;
	bool local;
};

static void
all_good(enum time_kind kind, const struct good *rows, size_t count)
{
	struct timestamp ts;
	size_t i;

	for (i = 0; i < count; i++) {
		if (timestamp_parse(kind, slice_of(rows[i].text), &ts) == -1)
			fail_msg("\"%s\" is refused", rows[i].text);
		if (ts.ms != rows[i].ms || ts.local != rows[i].local)
			fail_msg("\"%s\" is %lld", rows[i].text, (long long)ts.ms);
	}
}

static void
all_bad(enum time_kind kind, const char *const *texts, size_t count)
{
	struct timestamp ts;
	size_t i;

	for (i = 0; i < count; i++)
		if (timestamp_parse(kind, slice_of(texts[i]), &ts) != -1)
			fail_msg("\"%s\" is taken", texts[i]);
}

#define ROWS(a) a, sizeof(a) / sizeof((a)[0])

static void
iso_forms(void **state)
{
	const struct good rows[] = {
	    {"1970-01-01T00:00:00Z", 0, false},
	    {"2026-11-23 09:46:28,829", 1795427188829, true},
	    {"2026-11-23T09:46:28.829Z", 1795427188829, false},
	    {"2026-11-23t09:46:28.829z", 1795427188829, false},
	    {"2026-11-23T10:46:28.829+01:00", 1795427188829, false},
	    {"2026-11-23T10:46:28.829+0100", 1795427188829, false},
	    {"2026-11-23T04:16:28.829-05:30", 1795427188829, false},
	    {"2026-11-23 09:46:28", 1795427188000, true},
	    {"2026/11/23 09:46:28.829", 1795427188829, true},
	    {"2026-11-23 09:46:28.8", 1795427188800, true},
	    {"2026-11-23T09:46:28.829999999999999999999Z", 1795427188829, false},
	    {"2026-11-23T09:46:28.0009Z", 1795427188000, false},
	    {"2016-12-31T23:59:60Z", 1483228799999, false},
	    {"2016-12-31T23:59:60.5Z", 1483228799999, false},
	    {"2024-02-29T00:00:00Z", 1709164800000, false},
	    {"2000-02-29T00:00:00Z", 951782400000, false},
	    {"1969-12-31T23:59:59.999Z", -1, false},
	    {"0001-01-01T00:00:00Z", -62135596800000, false},
	    {"9999-12-31T23:59:59.999Z", 253402300799999, false},
	};

	(void)state;
	all_good(TIME_ISO, ROWS(rows));
}

static void
iso_refused(void **state)
{
	const char *const texts[] = {"", "2026", "2026-11-23", "2026-11-23T",
	    "2026-11-23T09:46", "2026-11-23T09:46:2", "2026-11-23T09:46:28.",
	    "2026-11-23T09:46:28.Z", "2026-11-23T09:46:28 ", " 2026-11-23T09:46:28",
	    "2026-11-23T09:46:28+1", "2026-11-23T09:46:28+01",
	    "2026-11-23T09:46:28+01:", "2026-11-23T09:46:28+24:00",
	    "2026-11-23T09:46:28+01:60", "2026-11-23T09:46:28ZZ",
	    "2026-11-23T09:46:28UTC", "2026-11-23_09:46:28", "2026.11.23 09:46:28",
	    "2026-00-23 09:46:28", "2026-13-23 09:46:28", "2026-11-00 09:46:28",
	    "2026-11-31 09:46:28", "2026-02-29 09:46:28", "1900-02-29 09:46:28",
	    "2026-11-23 24:00:00", "2026-11-23 09:60:28", "2026-11-23 09:46:61",
	    "0000-11-23 09:46:28", "+026-11-23 09:46:28", "2026-11-23 -9:46:28",
	    "1795427188.829"};

	(void)state;
	all_bad(TIME_ISO, ROWS(texts));
}

static void
epoch_forms(void **state)
{
	const struct good seconds[] = {
	    {"0", 0, false},
	    {"1795428088", 1795428088000, false},
	    {"1795428088.02", 1795428088020, false},
	    {"1795428088.0299999999999999", 1795428088029, false},
	};
	const struct good millis[] = {
	    {"1795428088020", 1795428088020, false},
	    {"1795428088020.9", 1795428088020, false},
	};
	const char *const bad[] = {"", ".5", "1.", "-1", "+1", "1e9", "1,5", " 1", "1 ",
	    "0x1", "9999999999999999"};

	(void)state;
	all_good(TIME_EPOCH, ROWS(seconds));
	all_good(TIME_EPOCH_MS, ROWS(millis));
	all_bad(TIME_EPOCH, ROWS(bad));
	all_bad(TIME_EPOCH_MS, ROWS(bad));
}

static void
no_kind_no_time(void **state)
{
	const char *const bad[] = {"", "0", "1970-01-01T00:00:00Z"};

	(void)state;
	all_bad(TIME_NONE, ROWS(bad));
}

/* The text need not end where the slice ends. */
static void
nothing_behind_the_slice_is_read(void **state)
{
	const char text[] = "2026-11-23T09:46:28.829Z99";
	struct timestamp ts;

	(void)state;
	assert_int_equal(timestamp_parse(TIME_ISO, (struct slice){text, 24}, &ts), 0);
	assert_int_equal(ts.ms, 1795427188829);
	assert_int_equal(timestamp_parse(TIME_ISO, (struct slice){text, 21}, &ts), 0);
	assert_int_equal(ts.ms, 1795427188800);
	assert_true(ts.local);
	assert_int_equal(timestamp_parse(TIME_EPOCH, (struct slice){text, 4}, &ts), 0);
	assert_int_equal(ts.ms, 2026000);
}

static void
every_day_agrees_with_the_c_library(void **state)
{
	time_t t;

	(void)state;
	for (t = -60000000000; t < 200000000000; t += 86400) {
		struct timestamp ts;
		struct tm tm;
		char text[64];

		assert_non_null(gmtime_r(&t, &tm));
		assert_int_not_equal(
		    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm), 0);
		if (tm.tm_year + 1900 < 1000)
			continue; /* strftime's %Y has no leading zeros */
		if (timestamp_parse(TIME_ISO, slice_of(text), &ts) == -1 ||
		    ts.ms != (int64_t)t * 1000)
			fail_msg("%s", text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(iso_forms),
	    cmocka_unit_test(iso_refused),
	    cmocka_unit_test(epoch_forms),
	    cmocka_unit_test(no_kind_no_time),
	    cmocka_unit_test(nothing_behind_the_slice_is_read),
	    cmocka_unit_test(every_day_agrees_with_the_c_library),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
