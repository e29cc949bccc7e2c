#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "commands/pieces.h"

static void
pieces_share_their_stem(void **state)
{
	static const struct {
		const char *path, *stem;
	} rows[] = {
	    {"homeserver.log", "homeserver.log"},
	    {"homeserver.log.1", "homeserver.log"},
	    {"homeserver.log.12.gz", "homeserver.log"},
	    {"homeserver.log.2.zst", "homeserver.log"},
	    {"homeserver.log.2.xz", "homeserver.log"},
	    {"homeserver.log.gz", "homeserver.log"},
	    {"homeserver.log.2026-01-01", "homeserver.log"},
	    {"homeserver.log.2026-01-01.gz", "homeserver.log"},
	    {"homeserver.log-20260101", "homeserver.log"},
	    {"homeserver.log-20260101.gz", "homeserver.log"},
	    {"homeserver.log.2026-01-01_13-05", "homeserver.log"},
	    {"homeserver.log.2026-01-01T13:05:00", "homeserver.log"},
	    {"/var/log/matrix/homeserver.log.3", "/var/log/matrix/homeserver.log"},
	    /* These are names of their own. */
	    {"worker1.log", "worker1.log"},
	    {"worker1", "worker1"},
	    {"worker-1", "worker-1"},
	    {"worker_2", "worker_2"},
	    {"/logs/1", "/logs/1"},
	    {"/logs/.1", "/logs/.1"},
	    {"/logs/2026-01-01", "/logs/2026-01-01"},
	    {"1", "1"},
	    {".gz", ".gz"},
	    {"", ""},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice stem = pieces_stem(rows[i].path);

		if (!slice_is(stem, rows[i].stem))
			fail_msg("%s: %.*s, not %s", rows[i].path, (int)stem.len, stem.p,
			    rows[i].stem);
	}
}

static int
by_age(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return pieces_compare(*x, *y);
}

/* count paths, oldest first: they must come out so from any order. */
static void
check_order(const char *const *want, size_t count)
{
	const char *got[8];
	size_t turn, i;

	assert_true(count <= sizeof(got) / sizeof(got[0]));
	for (turn = 0; turn < count; turn++) {
		for (i = 0; i < count; i++)
			got[i] = want[(i + turn) % count];
		qsort(got, count, sizeof(got[0]), by_age);
		for (i = 0; i < count; i++)
			assert_string_equal(got[i], want[i]);
	}
}

static void
the_oldest_piece_is_first(void **state)
{
	static const char *const numbered[] = {
	    "h.log.10.gz", "h.log.9.gz", "h.log.2", "h.log.1", "h.log"};
	static const char *const dated[] = {
	    "h.log.2025-12-31.gz", "h.log.2026-01-01", "h.log.2026-01-02", "h.log"};
	static const char *const hours[] = {
	    "h.log.2026-01-01_09-00", "h.log.2026-01-01_10-00", "h.log"};
	static const char *const both[] = {
	    "h.log-20260101", "h.log-20260102", "h.log.2", "h.log.1", "h.log"};

	(void)state;
	check_order(numbered, 5);
	check_order(dated, 4);
	check_order(hours, 3);
	check_order(both, 5);
	assert_int_equal(pieces_compare("h.log", "h.log"), 0);
	assert_int_equal(pieces_compare("h.log.1", "h.log.1.gz"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pieces_share_their_stem),
	    cmocka_unit_test(the_oldest_piece_is_first),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
