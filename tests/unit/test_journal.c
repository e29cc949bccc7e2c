#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "decode/envelope.h"
#include "decode/record.h"
#include "tail/checkpoint.h"
#include "tail/entry.h"
#include "tail/journal.h"
#include "tail/source.h"

#define REMOTE "/lib/systemd/systemd-journal-remote"
#define UNIT "hs.service"
#define TIME "__REALTIME_TIMESTAMP=1795433981000123"

/* ---- an entry as a line ------------------------------------------------------- */

static void
assert_line(const char *const fields[], const char *line)
{
	struct entry en = {0};
	struct buf b = {0};

	for (; *fields != NULL; fields++)
		entry_add(&en, slice_of(*fields));
	entry_line(&en, &b);
	assert_string_equal(b.p, line);
	buf_free(&b);
	entry_free(&en);
}

static void
fields_become_an_object(void **state)
{
	static const char *const text[] = {"A=a\tb\nc\"\\d=", "B=", "C=\xc3\xa4", NULL};
	static const char *const odd[] = {
	    "A=\x1b[", "B=\xff", "C=\xc2\x85", "D=\x7f", NULL};
	static const char *const several[] = {"A=1", "B=x", "A=2", "A=\x01", NULL};
	static const char *const none[] = {"no field", NULL};

	(void)state;
	assert_line(
	    text, "{\"A\":\"a\\tb\\nc\\\"\\\\d=\",\"B\":\"\",\"C\":\"\xc3\xa4\"}\n");
	assert_line(odd, "{\"A\":[27,91],\"B\":[255],\"C\":[194,133],\"D\":[127]}\n");
	assert_line(several, "{\"A\":[\"1\",\"2\",[1]],\"B\":\"x\"}\n");
	assert_line(none, "{}\n");
}

static void
a_field_that_is_too_long_is_left_out(void **state)
{
	static char text[LINE_MAX_BYTES] = "A=";
	struct entry en = {0};

	(void)state;
	entry_add(&en, (struct slice){text, sizeof(text) - 1});
	assert_int_equal(en.too_long, 0);
	entry_add(&en, (struct slice){text, sizeof(text)});
	assert_int_equal(en.too_long, 1);
	assert_int_equal(en.count, 1);
	entry_free(&en);
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

/* Any two bytes in a message, and in a field that comes twice, are what they were. */
static void
every_byte_comes_back(void **state)
{
	struct arena *a = arena_new();
	struct entry en = {0};
	struct buf b = {0};
	struct wrapped w;
	char message[] = "MESSAGE=..", twice[] = "F_X=..";
	unsigned n;

	(void)state;
	for (n = 0; n < 256 * 256; n += 7) {
		message[8] = twice[4] = (char)(n & 0xff);
		message[9] = twice[5] = (char)(n >> 8);
		entry_reset(&en);
		buf_reset(&b);
		entry_add(&en, (struct slice){message, 10});
		entry_add(&en, slice_of(TIME));
		entry_add(&en, (struct slice){twice, 6});
		entry_add(&en, slice_of("F_X=second"));
		entry_line(&en, &b);
		assert_ptr_equal(memchr(b.p, '\n', b.len), b.p + b.len - 1);
		assert_true(envelope_open(
		    ENVELOPE_JOURNAL, (struct slice){b.p, b.len - 1}, NULL, a, &w));
		assert_true(slice_eq(w.inner, (struct slice){message + 8, 2}));
		assert_true(slice_eq(field(&w, "F_X"), (struct slice){twice + 4, 2}));
		assert_int_equal(w.ms, 1795433981000);
		assert_true(envelope_least(
				ENVELOPE_JOURNAL, (struct slice){b.p, b.len - 1}) <= 2);
		arena_reset(a);
	}
	buf_free(&b);
	entry_free(&en);
	arena_free(a);
}

/* ---- a journal of its own --------------------------------------------------------- */

struct fixture {
	char dir[64];
	struct journal_unit unit;
	struct event_base *base;
	struct source *source;
	struct checkpoint cp;
	struct buf told;   /* a line for each entry: number, "again" or not, its text */
	struct buf before; /* texts of those before the first place */
	uint64_t file, first;
	unsigned gaps;
	bool refuse;
	struct arena *a;
	struct err e;
};

static int
set_up(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/hearsay-journal-XXXXXX");
	if (mkdtemp(f->dir) == NULL)
		return -1;
	f->unit = (struct journal_unit){.unit = xstrdup(UNIT), .directory = f->dir};
	f->base = event_base_new();
	f->a = arena_new();
	*state = f;
	return f->base == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;
	char *command = xasprintf("rm -rf '%s'", f->dir);
	int status = system(command); /* NOLINT: a name of mkdtemp's */

	free(command);
	source_close(f->source);
	event_base_free(f->base);
	arena_free(f->a);
	buf_free(&f->told);
	buf_free(&f->before);
	free(f->cp.path);
	free(f->unit.unit);
	free(f);
	return status == 0 ? 0 : -1;
}

/* Entries of unit with the texts "from" to "to", each with so many fields more. */
static void
write_wide(
    struct fixture *f, const char *unit, unsigned from, unsigned to, unsigned fields)
{
	char *command =
	    xasprintf("%s -o '%s/x.journal' - >/dev/null 2>&1", REMOTE, f->dir);
	FILE *remote = popen(command, "we"); /* NOLINT */
	unsigned i;

	free(command);
	assert_non_null(remote);
	for (; from <= to; from++) {
		(void)fprintf(remote,
		    "__REALTIME_TIMESTAMP=%u\n__MONOTONIC_TIMESTAMP=%u\n"
		    "_BOOT_ID=0123456789abcdef0123456789abcdef\n"
		    "_SYSTEMD_UNIT=%s\nMESSAGE=%u\n",
		    from, from, unit, from);
		for (i = 0; i < fields; i++)
			(void)fprintf(remote, "F%u=x\n", i);
		(void)fputc('\n', remote);
	}
	assert_int_equal(pclose(remote), 0);
}

static void
write_entries(struct fixture *f, const char *unit, unsigned from, unsigned to)
{
	write_wide(f, unit, from, to, 0);
}

static int
take(void *arg, const struct tail_chunk *c)
{
	struct fixture *f = arg;
	struct wrapped w;

	if (f->refuse)
		return 1;
	assert_true(envelope_open(
	    ENVELOPE_JOURNAL, (struct slice){c->data, c->len - 1}, NULL, f->a, &w));
	if (c->before) {
		assert_true(c->gap == (f->before.len == 0));
		buf_addf(&f->before, "%.*s ", (int)w.inner.len, w.inner.p);
		return 0;
	}
	if (f->file == 0) {
		f->file = c->file;
		f->first = c->offset;
	}
	assert_true(c->file == f->file);
	buf_addf(&f->told, "%u%s:%.*s ", (unsigned)(c->offset - f->first),
	    c->again ? "a" : "", (int)w.inner.len, w.inner.p);
	return 0;
}

static void
count_gap(void *arg, const char *why)
{
	struct fixture *f = arg;

	assert_non_null(why);
	f->gaps++;
}

static int
begin(struct fixture *f, enum tail_start start)
{
	const struct source_hooks hooks = {.lines = take, .gap = count_gap};

	f->source = journal_open(f->base, &f->unit, "journal:" UNIT, start,
	    f->cp.path == NULL ? NULL : &f->cp, &hooks, f, &f->e);
	return f->source == NULL ? -1 : 0;
}

/* The process ends; its position is kept. */
static void
end(struct fixture *f)
{
	free(f->cp.path);
	f->cp.path = NULL;
	(void)source_checkpoint(f->source, &f->cp);
	source_close(f->source);
	f->source = NULL;
}

static void
assert_told(struct fixture *f, const char *told)
{
	source_drain(f->source, 10000);
	assert_string_equal(f->told.p == NULL ? "" : f->told.p, told);
}

/* Without the program that makes journals, or without libsystemd, nothing is tested. */
static void
need_journals(void)
{
	if (!journal_built() || access(REMOTE, X_OK) == -1)
		skip();
}

static void
each_entry_has_its_place(void **state)
{
	struct fixture *f = *state;

	need_journals();
	write_entries(f, UNIT, 1, 3);
	write_entries(f, "other.service", 4, 5);
	write_entries(f, UNIT, 6, 6);
	assert_int_equal(begin(f, TAIL_START_BEGINNING), 0);
	assert_told(f, "0:1 1:2 2:3 5:6 ");
	end(f);

	/* Read by another, at another time, it is the same. */
	free(f->cp.path);
	f->cp.path = NULL;
	write_entries(f, UNIT, 7, 7);
	buf_reset(&f->told);
	assert_int_equal(begin(f, TAIL_START_BEGINNING), 0);
	assert_told(f, "0:1 1:2 2:3 5:6 6:7 ");
}

static void
goes_on_behind_its_place(void **state)
{
	struct fixture *f = *state;

	need_journals();
	write_entries(f, UNIT, 1, 3);
	assert_int_equal(begin(f, TAIL_START_BEGINNING), 0);
	assert_told(f, "0:1 1:2 2:3 ");
	end(f);
	write_entries(f, UNIT, 4, 5);
	assert_int_equal(begin(f, TAIL_START_BEGINNING), 0);
	assert_told(f, "0:1 1:2 2:3 3:4 4:5 ");
	end(f);
	assert_true(f->cp.resume == f->cp.offset && f->cp.offset == f->first + 5);

	/* What an open request needs is read again, and is not told. */
	f->cp.resume = f->first + 3;
	buf_reset(&f->told);
	write_entries(f, UNIT, 6, 6);
	buf_reset(&f->before);
	assert_int_equal(begin(f, TAIL_START_BEGINNING), 0);
	assert_told(f, "3a:4 4a:5 5:6 ");
	assert_string_equal(f->before.p, "1 2 3 ");
	assert_int_equal(f->gaps, 0);
}

static void
begins_at_the_end(void **state)
{
	struct fixture *f = *state;

	need_journals();
	write_entries(f, UNIT, 1, 2);
	write_entries(f, "other.service", 3, 3);
	assert_int_equal(begin(f, TAIL_START_END), 0);
	end(f); /* nothing was told, and still the end is known */
	write_entries(f, UNIT, 4, 4);
	assert_int_equal(begin(f, TAIL_START_END), 0);
	assert_told(f, "0:4 ");
	assert_string_equal(f->before.p, "1 2 ");
	assert_int_equal(f->gaps, 0);
}

static void
remove_file(struct fixture *f)
{
	char *path = xasprintf("%s/x.journal", f->dir);

	assert_int_equal(unlink(path), 0);
	free(path);
}

/* As journald does when it moves its entries from /run to /var. */
static void
entries_numbered_anew_are_known(void **state)
{
	struct fixture *f = *state;

	need_journals();
	write_entries(f, UNIT, 1, 3);
	assert_int_equal(begin(f, TAIL_START_BEGINNING), 0);
	assert_told(f, "0:1 1:2 2:3 ");
	end(f);
	remove_file(f);
	write_entries(f, "other.service", 0, 0);
	write_entries(f, UNIT, 1, 4);
	f->cp.resume--; /* and what was needed is let go */
	f->file = 0;
	buf_reset(&f->told);
	assert_int_equal(begin(f, TAIL_START_BEGINNING), 0);
	assert_told(f, "0:4 ");
	assert_int_equal(f->gaps, 0);
}

static void
a_place_that_is_gone_is_a_gap(void **state)
{
	struct fixture *f = *state;

	need_journals();
	write_entries(f, UNIT, 1, 3);
	assert_int_equal(begin(f, TAIL_START_BEGINNING), 0);
	assert_told(f, "0:1 1:2 2:3 ");
	end(f);
	remove_file(f);
	write_entries(f, UNIT, 5, 6);
	f->file = 0;
	buf_reset(&f->told);
	assert_int_equal(begin(f, TAIL_START_BEGINNING), 0);
	assert_int_equal(f->gaps, 1);
	assert_told(f, "0:5 1:6 ");
	assert_true(source_stats(f->source)->bytes > 100);
}

/* A file's table of field names is full with these: the next entry begins another. */
static void
write_last_of_file(struct fixture *f, unsigned number)
{
	write_wide(f, UNIT, number, number, 900);
}

/* As journald does for room: whole files go, the oldest first. */
static void
remove_full_files(struct fixture *f)
{
	char *pattern = xasprintf("%s/x@*.journal", f->dir);
	glob_t found;
	size_t i;

	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	for (i = 0; i < found.gl_pathc; i++)
		assert_int_equal(unlink(found.gl_pathv[i]), 0);
	globfree(&found);
	free(pattern);
}

/* The entry at its place is gone, and all that came behind it is there. */
static void
no_gap_where_the_numbers_go_on(void **state)
{
	struct fixture *f = *state;

	need_journals();
	write_entries(f, UNIT, 1, 2);
	write_last_of_file(f, 3);
	assert_int_equal(begin(f, TAIL_START_BEGINNING), 0);
	assert_told(f, "0:1 1:2 2:3 ");
	end(f);
	write_entries(f, UNIT, 4, 5);
	remove_full_files(f);
	assert_int_equal(begin(f, TAIL_START_BEGINNING), 0);
	assert_told(f, "0:1 1:2 2:3 3:4 4:5 ");
	assert_int_equal(f->gaps, 0);
}

/* One entry more is gone. */
static void
a_number_left_out_is_a_gap(void **state)
{
	struct fixture *f = *state;

	need_journals();
	write_entries(f, UNIT, 1, 2);
	assert_int_equal(begin(f, TAIL_START_BEGINNING), 0);
	assert_told(f, "0:1 1:2 ");
	end(f);
	write_last_of_file(f, 3);
	write_entries(f, UNIT, 4, 5);
	remove_full_files(f);
	assert_int_equal(begin(f, TAIL_START_BEGINNING), 0);
	assert_told(f, "0:1 1:2 3:4 4:5 ");
	assert_int_equal(f->gaps, 1);
}

static void
what_is_refused_comes_again(void **state)
{
	struct fixture *f = *state;

	need_journals();
	write_entries(f, UNIT, 1, 3);
	assert_int_equal(begin(f, TAIL_START_BEGINNING), 0);
	f->refuse = true;
	assert_told(f, "");
	f->refuse = false;
	source_go_on(f->source);
	assert_told(f, "0:1 1:2 2:3 ");
}

static void
the_newest_entries(void **state)
{
	struct fixture *f = *state;
	struct buf lines = {0};

	need_journals();
	write_entries(f, UNIT, 1, 5);
	write_entries(f, "other.service", 6, 9);
	assert_int_equal(journal_look(&f->unit, 2, &lines, &f->e), 0);
	assert_null(strstr(lines.p, "\"MESSAGE\":\"3\""));
	assert_non_null(strstr(lines.p, "\"MESSAGE\":\"4\""));
	assert_non_null(strstr(strchr(lines.p, '\n'), "\"MESSAGE\":\"5\""));
	buf_reset(&lines);
	f->unit.identifier = (char[]){"nobody"};
	assert_int_equal(journal_look(&f->unit, 2, &lines, &f->e), 0);
	assert_int_equal(lines.len, 0);
	buf_free(&lines);
}

static void
what_is_no_place_is_refused(void **state)
{
	struct fixture *f = *state;

	need_journals();
	write_entries(f, UNIT, 1, 1);
	f->cp.path = xstrdup("/var/log/hs.log");
	assert_int_equal(begin(f, TAIL_START_BEGINNING), -1);
	assert_non_null(strstr(f->e.text, "cursor"));
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fields_become_an_object),
	    cmocka_unit_test(a_field_that_is_too_long_is_left_out),
	    cmocka_unit_test(every_byte_comes_back),
	    TEST(each_entry_has_its_place),
	    TEST(goes_on_behind_its_place),
	    TEST(begins_at_the_end),
	    TEST(entries_numbered_anew_are_known),
	    TEST(a_place_that_is_gone_is_a_gap),
	    TEST(no_gap_where_the_numbers_go_on),
	    TEST(a_number_left_out_is_a_gap),
	    TEST(what_is_refused_comes_again),
	    TEST(the_newest_entries),
	    TEST(what_is_no_place_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
