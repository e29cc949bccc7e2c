#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "commands/metrics.h"

/* How often what stands in text. */
static unsigned
count_of(const char *text, const char *what)
{
	unsigned n = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}

static void
each_log_and_queue_has_a_line_under_one_head(void **state)
{
	struct metrics_log logs[2] = {
	    {.server = "a.org", .path = "/var/log/a"}, {.server = "b.org", .path = "/b"}};
	struct metrics_queue queues[1] = {{.appservice = "bridge"}};
	struct metrics m = {
	    .logs = logs, .log_count = 2, .queues = queues, .queue_count = 1};
	struct buf out = {0};

	(void)state;
	logs[0].values[METRIC_UNKNOWN_LINES] = 7;
	logs[1].values[METRIC_DEGRADED] = 1;
	queues[0].values[METRIC_DEAD_LETTERS] = UINT64_MAX;
	m.values[METRIC_BLOCKED] = 1;
	metrics_text(&m, &out);
	assert_int_equal(
	    count_of(out.p, "# TYPE hearsay_log_unknown_lines_total counter\n"), 1);
	assert_non_null(strstr(out.p,
	    "\nhearsay_log_unknown_lines_total{server=\"a.org\",log=\"/var/log/a\"} 7\n"
	    "hearsay_log_unknown_lines_total{server=\"b.org\",log=\"/b\"} 0\n"));
	assert_non_null(
	    strstr(out.p, "\nhearsay_log_degraded{server=\"b.org\",log=\"/b\"} 1\n"));
	assert_non_null(strstr(out.p,
	    "\nhearsay_queue_dead_letters{appservice=\"bridge\"} 18446744073709551615\n"));
	assert_non_null(strstr(out.p, "\nhearsay_reading_blocked 1\n"));
	assert_int_equal(count_of(out.p, "{server="), 2 * METRICS_OF_LOG);
	assert_int_equal(count_of(out.p, "{appservice="), METRICS_OF_QUEUE);
	assert_int_equal(count_of(out.p, "# HELP hearsay_"),
	    METRICS_OF_LOG + METRICS_OF_QUEUE + METRICS_OF_ALL);
	buf_free(&out);
}

static void
times_are_seconds(void **state)
{
	struct metrics_log log = {.server = "a.org", .path = "/a"};
	struct metrics m = {.logs = &log, .log_count = 1};
	struct buf out = {0};

	(void)state;
	log.values[METRIC_SENTINEL_MS] = 1795427188042;
	metrics_text(&m, &out);
	assert_non_null(strstr(out.p,
	    "\nhearsay_log_sentinel_timestamp_seconds{server=\"a.org\",log=\"/a\"} "
	    "1795427188.042\n"));
	buf_free(&out);
}

static void
what_is_not_there_has_no_head(void **state)
{
	const struct metrics m = {0};
	struct buf out = {0};

	(void)state;
	metrics_text(&m, &out);
	assert_int_equal(count_of(out.p, "# TYPE"), METRICS_OF_ALL);
	buf_free(&out);
}

static void
names_are_escaped(void **state)
{
	struct metrics_log log = {.server = "a.org", .path = "/a \"b\"\\c\nd"};
	struct metrics m = {.logs = &log, .log_count = 1};
	struct buf out = {0};

	(void)state;
	metrics_text(&m, &out);
	assert_non_null(strstr(out.p, "log=\"/a \\\"b\\\"\\\\c\\nd\"} 0\n"));
	buf_free(&out);
}

/* Prometheus takes nothing of a file in which one label is not UTF-8. */
static void
names_are_text(void **state)
{
	struct metrics_log log = {.server = "a.org", .path = "/caf\xe9.log"};
	struct metrics m = {.logs = &log, .log_count = 1};
	struct buf out = {0};

	(void)state;
	metrics_text(&m, &out);
	assert_non_null(strstr(out.p, "log=\"/caf\\\\xe9.log\"} 0\n"));
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_log_and_queue_has_a_line_under_one_head),
	    cmocka_unit_test(times_are_seconds),
	    cmocka_unit_test(what_is_not_there_has_no_head),
	    cmocka_unit_test(names_are_escaped),
	    cmocka_unit_test(names_are_text),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
