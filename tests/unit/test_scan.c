#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "match/scan.h"
#include "pack/pack.h"
#include "pack_text.h"

#define ROUNDS 3000

/* "login" is found by "logi", so that of the two only the shorter is looked for. */
static const char *const literals[] = {"logi", "login", "xyxyz", "aaaa"};
#define LITERALS (sizeof(literals) / sizeof(literals[0]))

static struct pack *pack;
static struct scan *scan;

static int
set_up(void **state)
{
	struct buf rules = {0};
	size_t i;

	(void)state;
	for (i = 0; i < LITERALS; i++)
		buf_addf(&rules,
		    "%s{ name = \"r%zu\"; match = \".*%s.*\"; ends = true; }",
		    i == 0 ? "" : ",", i, literals[i]);
	pack = pack_of_rules(rules.p);
	scan = scan_new(pack);
	buf_free(&rules);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	scan_free(scan);
	scan_free(NULL);
	pack_free(pack);
	return 0;
}

static void
gives(const char *want, size_t want_offset)
{
	struct slice line;
	size_t offset;

	assert_int_equal(scan_next(scan, &line, &offset), 1);
	assert_true(slice_is(line, want));
	assert_int_equal(offset, want_offset);
}

static void
is_followed_by(const char *want)
{
	struct slice line;
	size_t offset;

	assert_int_equal(scan_following(scan, &line, &offset), want != NULL);
	if (want != NULL)
		assert_true(slice_is(line, want));
}

static void
gives_no_more(void)
{
	struct slice line;
	size_t offset;

	assert_int_equal(scan_next(scan, &line, &offset), 0);
	assert_int_equal(scan_next(scan, &line, &offset), 0);
}

static void
begin(const char *text)
{
	scan_begin(scan, text, strlen(text));
}

static void
lines_with_a_literal_are_given(void **state)
{
	(void)state;
	begin("nothing\na login and a logi\n\nlogi\nlog\nxyxyxyz\nlast aaaaa\n");
	gives("a login and a logi", 8);
	gives("logi", 28);
	gives("xyxyxyz", 37);
	gives("last aaaaa", 45);
	gives_no_more();
}

static void
a_literal_does_not_cross_lines(void **state)
{
	(void)state;
	begin("lo\ngi\nxyxy\nz\naaa\na\n");
	gives_no_more();
}

static void
the_last_line_needs_no_newline(void **state)
{
	(void)state;
	begin("logi");
	gives("logi", 0);
	gives_no_more();
	begin("x\nalogi");
	gives("alogi", 2);
	is_followed_by(NULL);
	gives_no_more();
	scan_begin(scan, "", 0);
	gives_no_more();
	is_followed_by(NULL);
}

static void
the_line_behind_can_be_seen(void **state)
{
	(void)state;
	begin("first\nlogi\nbehind\nlogi 2\nlogi 3\n\n");
	/* Before anything was given, it is the first. */
	is_followed_by("first");
	gives("logi", 6);
	is_followed_by("behind");
	is_followed_by("behind");
	gives("logi 2", 18);
	is_followed_by("logi 3");
	/* Seen is not given. */
	gives("logi 3", 25);
	is_followed_by("");
	gives_no_more();
}

/* Line by line, and each literal in it: slow, and plain to see. */
static const char *
naive_next(const char *p, const char *end, size_t *len_r)
{
	const char *newline;
	size_t i;

	while (p < end) {
		newline = memchr(p, '\n', (size_t)(end - p));
		*len_r = (size_t)((newline == NULL ? end : newline) - p);
		for (i = 0; i < LITERALS; i++)
			if (memmem(p, *len_r, literals[i], strlen(literals[i])) != NULL)
				return p;
		p += *len_r + 1;
	}
	return NULL;
}

/* Few letters, so that literals and their beginnings come often. */
static size_t
fill(char *data, size_t size, unsigned *seed)
{
	static const char letters[] = "logixyza\n\n n";
	size_t len = (size_t)rand_r(seed) % size, i, l;

	for (i = 0; i < len; i++)
		data[i] = letters[(size_t)rand_r(seed) % (sizeof(letters) - 1)];
	for (i = 0; i + 8 < len; i += 1 + (size_t)rand_r(seed) % 40) {
		l = (size_t)rand_r(seed) % LITERALS;
		memcpy(data + i, literals[l], strlen(literals[l]));
	}
	return len;
}

static void
compare_with_naive(const char *data, size_t len)
{
	const char *p = data, *end = data + len, *want;
	size_t want_len = 0, offset;
	struct slice line;

	scan_begin(scan, data, len);
	while ((want = naive_next(p, end, &want_len)) != NULL) {
		assert_int_equal(scan_next(scan, &line, &offset), 1);
		assert_ptr_equal(line.p, want);
		assert_int_equal(line.len, want_len);
		assert_int_equal(offset, want - data);
		p = want + want_len + 1;
		assert_int_equal(scan_following(scan, &line, &offset), p < end);
		if (p < end)
			assert_ptr_equal(line.p, p);
	}
	gives_no_more();
}

static void
random_buffers_give_what_a_plain_search_gives(void **state)
{
	const char *given = getenv("HEARSAY_TEST_SEED");
	unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10)
				      : (unsigned)time(NULL),
		 i;
	char *data;
	size_t len;

	(void)state;
	print_message("# HEARSAY_TEST_SEED=%u\n", seed);
	for (i = 0; i < ROUNDS; i++) {
		/* Of its exact size, so that a read behind it is seen. */
		char wide[600];

		len = fill(wide, sizeof(wide), &seed);
		data = xmalloc(len + 1);
		memcpy(data, wide, len);
		data = xreallocarray(data, len == 0 ? 1 : len, 1);
		compare_with_naive(data, len);
		free(data);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_with_a_literal_are_given),
	    cmocka_unit_test(a_literal_does_not_cross_lines),
	    cmocka_unit_test(the_last_line_needs_no_newline),
	    cmocka_unit_test(the_line_behind_can_be_seen),
	    cmocka_unit_test(random_buffers_give_what_a_plain_search_gives),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
