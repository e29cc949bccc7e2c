#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/zone.h"

#define NO_HINT INT64_MIN
#define MINUTE 60000LL
#define HOUR (60 * MINUTE)

static int64_t
civil(int year, int month, int day, int hour, int minute)
{
	struct tm tm = {.tm_year = year - 1900,
	    .tm_mon = month - 1,
	    .tm_mday = day,
	    .tm_hour = hour,
	    .tm_min = minute};

	return (int64_t)timegm(&tm) * 1000;
}

static struct zone *
open_zone(const char *name)
{
	struct err e = {0};
	struct zone *z;

	if (access("/usr/share/zoneinfo/Europe/Berlin", R_OK) == -1)
		skip();
	z = zone_open(name, &e);
	if (z == NULL)
		fail_msg("%s", e.text);
	return z;
}

static void
utc_needs_no_files(void **state)
{
	struct rlimit limit, none;
	struct zone *z;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){0, limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	z = zone_open("UTC", NULL);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_non_null(z);
	assert_int_equal(zone_to_utc(z, 12345, NO_HINT), 12345);
	assert_int_equal(zone_to_utc(z, -5, 99), -5);
	zone_close(z);
	zone_close(NULL);
}

static void
unknown_names_are_errors(void **state)
{
	const char *names[] = {"Europe/Atlantis", "", "../zoneinfo/Europe/Berlin",
	    "/usr/share/zoneinfo/Europe/Berlin", "Europe", "CET-1CEST", "tzdata.zi"};
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_null(zone_open(names[i], &e));
		assert_non_null(strstr(e.text, names[i]));
		assert_non_null(strstr(e.text, "tzdata"));
	}
}

static void
tz_is_as_before(void **state)
{
	struct zone *z;
	time_t t = 1700000000;
	struct tm tm;

	(void)state;
	assert_int_equal(setenv("TZ", "XYZ-3", 1), 0);
	z = open_zone("America/New_York");
	assert_string_equal(getenv("TZ"), "XYZ-3");
	assert_non_null(localtime_r(&t, &tm));
	assert_int_equal(tm.tm_gmtoff, 3 * 3600);
	zone_close(z);

	assert_int_equal(unsetenv("TZ"), 0);
	z = open_zone("America/New_York");
	assert_null(getenv("TZ"));
	zone_close(z);
}

static void
no_name_is_the_systems_zone(void **state)
{
	struct zone *z;

	(void)state;
	assert_int_equal(setenv("TZ", "XYZ-3", 1), 0);
	z = zone_open(NULL, NULL);
	assert_non_null(z);
	assert_int_equal(
	    zone_to_utc(z, civil(2026, 7, 1, 3, 0), NO_HINT), civil(2026, 7, 1, 0, 0));
	zone_close(z);
	assert_int_equal(unsetenv("TZ"), 0);
}

/* 2026-10-25 in Berlin: 03:00 summer time (01:00 UTC) is 02:00 again. */
static void
autumn_hour_by_hint(void **state)
{
	struct zone *z = open_zone("Europe/Berlin");
	const int64_t local = civil(2026, 10, 25, 2, 30);
	const int64_t earlier = civil(2026, 10, 25, 0, 30), later = earlier + HOUR;

	(void)state;
	assert_int_equal(zone_to_utc(z, local, NO_HINT), earlier);
	assert_int_equal(zone_to_utc(z, local, earlier - 5 * HOUR), earlier);
	assert_int_equal(zone_to_utc(z, local, earlier), earlier);
	assert_int_equal(zone_to_utc(z, local, earlier + 10 * MINUTE), earlier);
	assert_int_equal(zone_to_utc(z, local, earlier + 10 * MINUTE + 1), later);
	assert_int_equal(zone_to_utc(z, local, later), later);
	assert_int_equal(zone_to_utc(z, local, later + 10 * MINUTE), later);
	/* Both far in the past: the clock was set back, nothing tells them apart. */
	assert_int_equal(zone_to_utc(z, local, later + 10 * MINUTE + 1), earlier);
	assert_int_equal(zone_to_utc(z, local, INT64_MAX), earlier);

	/* The hour's edges: 01:59 comes once, 02:00 twice, 03:00 once. */
	assert_int_equal(zone_to_utc(z, civil(2026, 10, 25, 1, 59), later),
	    civil(2026, 10, 24, 23, 59));
	assert_int_equal(zone_to_utc(z, civil(2026, 10, 25, 2, 0), NO_HINT),
	    civil(2026, 10, 25, 0, 0));
	assert_int_equal(
	    zone_to_utc(z, civil(2026, 10, 25, 2, 0), civil(2026, 10, 25, 0, 59)),
	    civil(2026, 10, 25, 1, 0));
	assert_int_equal(zone_to_utc(z, civil(2026, 10, 25, 3, 0) - 1, NO_HINT),
	    civil(2026, 10, 25, 1, 0) - 1);
	assert_int_equal(zone_to_utc(z, civil(2026, 10, 25, 3, 0), NO_HINT),
	    civil(2026, 10, 25, 2, 0));
	zone_close(z);
}

static void
which_times_come_twice(void **state)
{
	struct zone *z = open_zone("Europe/Berlin");
	const int64_t change = civil(2026, 10, 25, 1, 0);

	(void)state;
	assert_false(zone_repeats(z, change - HOUR - 1));
	assert_true(zone_repeats(z, change - HOUR));
	assert_true(zone_repeats(z, change - 1));
	assert_true(zone_repeats(z, change));
	assert_true(zone_repeats(z, change + HOUR - 1));
	assert_false(zone_repeats(z, change + HOUR));
	/* In spring one is left out. */
	assert_false(zone_repeats(z, civil(2026, 3, 29, 1, 0) - 1));
	assert_false(zone_repeats(z, civil(2026, 3, 29, 1, 0)));
	assert_false(zone_repeats(z, 0));
	assert_false(zone_repeats(z, civil(2200, 10, 25, 1, 0)));
	zone_close(z);
	z = zone_open("UTC", NULL);
	assert_false(zone_repeats(z, change));
	zone_close(z);
}

/* 2026-03-29 in Berlin: 02:00 (01:00 UTC) is 03:00 at once. */
static void
spring_hour_with_the_offset_before(void **state)
{
	struct zone *z = open_zone("Europe/Berlin");

	(void)state;
	assert_int_equal(zone_to_utc(z, civil(2026, 3, 29, 2, 0) - 1, NO_HINT),
	    civil(2026, 3, 29, 1, 0) - 1);
	assert_int_equal(
	    zone_to_utc(z, civil(2026, 3, 29, 2, 0), NO_HINT), civil(2026, 3, 29, 1, 0));
	assert_int_equal(zone_to_utc(z, civil(2026, 3, 29, 2, 59), NO_HINT),
	    civil(2026, 3, 29, 1, 59));
	assert_int_equal(
	    zone_to_utc(z, civil(2026, 3, 29, 3, 0), NO_HINT), civil(2026, 3, 29, 1, 0));
	zone_close(z);

	/* Apia had no 30 December 2011 at all. */
	z = open_zone("Pacific/Apia");
	assert_int_equal(zone_to_utc(z, civil(2011, 12, 30, 12, 0), NO_HINT),
	    civil(2011, 12, 30, 22, 0));
	zone_close(z);
}

static void
times_outside_of_the_table(void **state)
{
	struct zone *z = open_zone("Asia/Tokyo");

	(void)state;
	assert_int_equal(
	    zone_to_utc(z, civil(1960, 1, 1, 9, 0), NO_HINT), civil(1960, 1, 1, 0, 0));
	assert_int_equal(
	    zone_to_utc(z, civil(2300, 1, 1, 9, 0), NO_HINT), civil(2300, 1, 1, 0, 0));
	zone_close(z);
}

/* A log that is written without a pause is told right through both changes of every year. */
static void
every_change_agrees_with_the_c_library(void **state)
{
	const char *names[] = {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe",
	    "Asia/Kathmandu", "Africa/Casablanca", "America/St_Johns", "Asia/Gaza",
	    "Pacific/Apia", "America/Caracas", "Europe/Moscow"};
	const int64_t step = 29 * 60 + 59;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct zone *z = open_zone(names[i]);
		time_t t;

		assert_int_equal(setenv("TZ", names[i], 1), 0);
		tzset();
		for (t = 1293000000; t < 1830000000; t += step) {
			int64_t utc = (int64_t)t * 1000 + 123;
			struct tm tm;

			assert_non_null(localtime_r(&t, &tm));
			if (zone_to_utc(z, utc + tm.tm_gmtoff * 1000LL, utc - 1000) !=
			    utc)
				fail_msg("%s: %lld", names[i], (long long)utc);
		}
		assert_int_equal(unsetenv("TZ"), 0);
		tzset();
		zone_close(z);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(utc_needs_no_files),
	    cmocka_unit_test(unknown_names_are_errors),
	    cmocka_unit_test(tz_is_as_before),
	    cmocka_unit_test(no_name_is_the_systems_zone),
	    cmocka_unit_test(autumn_hour_by_hint),
	    cmocka_unit_test(which_times_come_twice),
	    cmocka_unit_test(spring_hour_with_the_offset_before),
	    cmocka_unit_test(times_outside_of_the_table),
	    cmocka_unit_test(every_change_agrees_with_the_c_library),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
