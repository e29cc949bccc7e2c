/*
 * Linked with what stands for the journal in a build without libsystemd.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "config/config.h"

static void
the_configuration_says_so(void **state)
{
	char path[] = "/tmp/hearsay-none-XXXXXX", at[128];
	struct err_list errs = {0};
	int fd = mkstemp(path);
	FILE *file = fd == -1 ? NULL : fdopen(fd, "w");

	(void)state;
	assert_non_null(file);
	assert_true(fputs("servers = ( { name = \"example.org\";\n"
			  "  logs = ( {\n"
			  "    journal = { unit = \"hs.service\"; }; } ); } );\n",
			file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_null(config_load(path, &errs));
	assert_int_equal(errs.count, 1);
	(void)snprintf(
	    at, sizeof(at), "%s:3: a log in the journal needs libsystemd", path);
	assert_memory_equal(errs.texts[0], at, strlen(at));
	err_list_clear(&errs);
	assert_int_equal(unlink(path), 0);
}

static void
nothing_is_opened(void **state)
{
	char unit[] = "hs.service";
	const struct journal_unit u = {.unit = unit};
	struct err e;

	(void)state;
	assert_null(journal_open(
	    NULL, &u, "journal:hs.service", TAIL_START_END, NULL, NULL, NULL, &e));
	assert_non_null(strstr(e.text, "without libsystemd"));
	assert_int_equal(journal_look(&u, 1, NULL, &e), -1);
	assert_non_null(strstr(e.text, "without libsystemd"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_configuration_says_so),
	    cmocka_unit_test(nothing_is_opened),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
