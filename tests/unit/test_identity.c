#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "tail/identity.h"
#include "tail/names.h"

struct place {
	char *dir, *a, *b;
};

static int
make_place(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct place *p = xcalloc(1, sizeof(*p));

	p->dir = xasprintf("%s/hearsay-identity.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(p->dir) == NULL)
		return -1;
	p->a = xasprintf("%s/a", p->dir);
	p->b = xasprintf("%s/b", p->dir);
	*state = p;
	return 0;
}

static int
remove_place(void **state)
{
	struct place *p = *state;

	(void)unlink(p->a);
	(void)unlink(p->b);
	(void)rmdir(p->dir);
	free(p->a);
	free(p->b);
	free(p->dir);
	free(p);
	return 0;
}

/* An open file that holds text. */
static int
file_with(const char *path, const char *text)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	return fd;
}

static struct file_identity
identity_of(int fd)
{
	struct file_facts facts;

	assert_int_equal(identity_fstat(fd, &facts), 0);
	assert_int_equal(identity_head(fd, &facts.id), 1);
	return facts.id;
}

static void
same_through_a_rename(void **state)
{
	struct place *p = *state;
	struct file_identity before;
	struct file_facts after;
	int fd = file_with(p->a, "one\n");

	before = identity_of(fd);
	assert_int_equal(before.head_len, 4);
	assert_int_equal(rename(p->a, p->b), 0);
	assert_int_equal(identity_stat(p->b, true, &after), 0);
	assert_true(identity_same_inode(&before, &after.id));
	assert_int_equal(identity_head(fd, &before), 1);
	assert_int_equal(close(fd), 0);
}

static void
other_with_the_same_bytes(void **state)
{
	struct place *p = *state;
	int fa = file_with(p->a, "one\n"), fb = file_with(p->b, "one\n");
	struct file_identity a = identity_of(fa), b = identity_of(fb);

	assert_false(identity_same_inode(&a, &b));
	assert_memory_equal(a.head, b.head, HASH_SIZE);
	assert_int_equal(close(fa), 0);
	assert_int_equal(close(fb), 0);
}

static void
inode_of_another_time(void **state)
{
	struct file_identity a = {.dev = 1, .ino = 7, .btime_ns = 100}, b = a;

	(void)state;
	assert_true(identity_same_inode(&a, &b));
	b.dev = 2;
	assert_true(identity_same_inode(&a, &b));
	b.btime_ns = 101;
	assert_false(identity_same_inode(&a, &b));
	b.btime_ns = 0;
	assert_false(identity_same_inode(&a, &b));
	b.dev = 1;
	assert_true(identity_same_inode(&a, &b));
	b.ino = 8;
	assert_false(identity_same_inode(&a, &b));
}

/* At every length: what is appended does not change who it is, what is changed does. */
static void
fingerprint_grows(void **state)
{
	struct place *p = *state;
	int fd = file_with(p->a, "");
	struct file_identity id = identity_of(fd), old, last = id;
	char c;
	unsigned i;

	for (i = 0; i < FINGERPRINT_MAX + 100; i++) {
		c = (char)('a' + i % 23);
		old = id;
		assert_int_equal(pwrite(fd, &c, 1, (off_t)i), 1);
		assert_int_equal(identity_head(fd, &id), 1);
		assert_int_equal(
		    id.head_len, i + 1 < FINGERPRINT_MAX ? i + 1 : FINGERPRINT_MAX);
		assert_int_equal(identity_head(fd, &old), 1);
		last = id;
	}
	assert_int_equal(pwrite(fd, "X", 1, 17), 1);
	assert_int_equal(identity_head(fd, &last), 0);
	assert_int_equal(ftruncate(fd, 10), 0);
	assert_int_equal(identity_head(fd, &last), 0);
	assert_int_equal(close(fd), 0);
}

/* What is shorter than the fingerprint agrees as far as its longest prefix tells. */
static void
shorter_than_the_fingerprint(void **state)
{
	char head[FINGERPRINT_MAX], other[FINGERPRINT_MAX];
	struct file_identity id = {0};
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(head); i++)
		head[i] = (char)('a' + i % 23);
	assert_false(identity_begins(&id, head, 100));
	identity_set_head(&id, head, sizeof(head));
	for (len = 0; len < sizeof(head); len++)
		assert_int_equal(identity_begins(&id, head, len), len >= PREFIX_MIN);
	assert_false(identity_begins(&id, head, sizeof(head)));
	for (i = 2 * PREFIX_MIN - 1; i < 2048; i = 2 * i + 1) {
		memcpy(other, head, sizeof(other));
		other[i] = 'X'; /* the last byte of a prefix */
		assert_true(identity_begins(&id, other, i));
		assert_false(identity_begins(&id, other, i + 1));
	}
	identity_set_head(&id, head, 100);
	assert_true(identity_begins(&id, head, 99));
	assert_false(identity_begins(&id, head, 100));
	assert_false(identity_begins(&id, head, 200));
}

static void
guard_before_a_position(void **state)
{
	struct place *p = *state;
	int fd = file_with(p->a, "one\ntwo\nthree\n");
	struct guard g = guard_of("two\n", 4), none = guard_of(NULL, 0);

	assert_int_equal(identity_guard(fd, 8, &g), 1);
	assert_int_equal(identity_guard(fd, 9, &g), 0);
	assert_int_equal(identity_guard(fd, 3, &g), 0);
	assert_int_equal(identity_guard(fd, 1000, &g), 0);
	assert_int_equal(identity_guard(fd, 0, &none), 1);
	assert_int_equal(pwrite(fd, "T", 1, 4), 1);
	assert_int_equal(identity_guard(fd, 8, &g), 0);
	assert_int_equal(close(fd), 0);
}

static void
rotated_names(void **state)
{
	static const char *const pieces[] = {"homeserver.log.1", "homeserver.log.17.gz",
	    "homeserver.log-20260101", "homeserver.log-20260101.zst",
	    "homeserver.log.2026-01-01", "homeserver.log.2026-01-01_12:30:00.xz",
	    "homeserver-20260101.log", "homeserver-20260101.log.gz", "homeserver.log.old",
	    "homeserver.log~", "homeserver.log.gz", "homeserver.log-20260101-1767225600",
	    "homeserver.log-31-01-2026", "homeserver.log-0131", "homeserver.log-2026-W05",
	    "homeserver.1.log", "homeserver.017.log.gz"};
	static const char *const others[] = {"homeserver.log", "homeserver",
	    "homeserver-1.log", "homeserver-error.log", "homeserver.log.d",
	    "homeserver.log-1", "homeserver2.log", "homeserver.logs.1",
	    "homeserver.log.1.lock", "homeserver.2026.log", "homeserver..log",
	    "homeserver.log.1.log", "x"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		if (!names_rotated("homeserver.log", pieces[i]))
			fail_msg("%s should be a piece", pieces[i]);
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (names_rotated("homeserver.log", others[i]))
			fail_msg("%s should be none", others[i]);
	assert_true(names_rotated("log", "log.1"));
	assert_true(names_rotated("current", "@4000000065a1b2c30a1b2c3d.s"));
	assert_true(names_rotated("current", "@4000000065a1b2c30a1b2c3d.u"));
	assert_true(names_rotated("current", "current.1"));
	assert_false(names_rotated("current", "@4000000065a1b2c30a1b2c3d.t"));
	assert_false(names_rotated("current", "@4000.s"));
	assert_false(names_rotated("homeserver.log", "@4000000065a1b2c30a1b2c3d.s"));
	assert_false(names_rotated("worker.log", "worker-1.log"));
	assert_false(names_rotated("worker", "worker.1.log"));
}

static void
order_of_names(void **state)
{
	(void)state;
	assert_int_equal(names_number("l", "l.2"), 2);
	assert_int_equal(names_number("l", "l.10.gz"), 10);
	assert_int_equal(names_number("l", "l-20260101.1"), -1);
	assert_int_equal(names_number("l", "l.20260101"), -1);
	assert_int_equal(names_number("l.log", "l.10.log.gz"), 10);
	assert_int_equal(names_number("l.log", "l-10.log"), -1);
	assert_int_equal(names_number("l.log", "l.log"), -1);
	assert_true(names_dated("l", "l-20260101.gz"));
	assert_false(names_dated("l1234567", "l1234567.old"));
	assert_true(names_dated("l.log", "l-2026-01-31.log"));
	assert_true(names_dated("l.log", "l.log-1767225600"));
	assert_false(names_dated("l.log", "l.log-31-01-2026"));
	assert_false(names_dated("l.log", "l.log-0131"));
	assert_true(names_dated("current", "@4000000065a1b2c30a1b2c3d.s"));
	assert_true(names_compare_dated("l.2026-01-01.9.log", "l.2026-01-01.10.log") < 0);
	assert_true(names_compare_dated("l.2026-01-01.10.gz", "l.2026-01-01.9") > 0);
	assert_true(names_compare_dated("l-20260109.gz", "l-20260110") < 0);
	assert_true(names_compare_dated("l-20260101.gz", "l-20260101.1") < 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(same_through_a_rename),
	    cmocka_unit_test(other_with_the_same_bytes),
	    cmocka_unit_test(inode_of_another_time),
	    cmocka_unit_test(fingerprint_grows),
	    cmocka_unit_test(shorter_than_the_fingerprint),
	    cmocka_unit_test(guard_before_a_position),
	    cmocka_unit_test(rotated_names),
	    cmocka_unit_test(order_of_names),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, make_place, remove_place);
}
