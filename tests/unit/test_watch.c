#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "tail/watch.h"

/* ---- a kernel that answers as a test wants ------------------------------------- */

static struct {
	uint32_t type;    /* of the file system; 0: what it is */
	bool no_watches;  /* none is left */
	const char *dark; /* nobody may read this directory */
	unsigned asked;   /* for watches */
} answers;

int
statfs(const char *path, struct statfs *sf_r)
{
	if (syscall(SYS_statfs, path, sf_r) == -1)
		return -1;
	if (answers.type != 0)
		sf_r->f_type = (__typeof__(sf_r->f_type))answers.type;
	return 0;
}

int
inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	answers.asked++;
	if (answers.no_watches)
		errno = ENOSPC;
	else if (answers.dark != NULL && strcmp(answers.dark, path) == 0)
		errno = EACCES;
	else
		return (int)syscall(SYS_inotify_add_watch, fd, path, mask);
	return -1;
}

/* ---- a watch, and what it told -------------------------------------------------- */

struct bench {
	char *dir;
	struct event_base *base;
	struct watch *watch;
	struct buf told; /* "news DIR NAME" or "look DIR", a line each; dir is left out */
};

static const char *
within(const struct bench *b, const char *dir)
{
	if (dir == NULL)
		return "everywhere";
	return strncmp(dir, b->dir, strlen(b->dir)) == 0 ? dir + strlen(b->dir) : dir;
}

static void
take_news(void *arg, const char *dir, const char *name, enum watch_news news)
{
	struct bench *b = arg;

	buf_addf(&b->told, "%s %s %s\n", news == WATCH_WRITTEN ? "written" : "named",
	    within(b, dir), name);
}

static void
take_look(void *arg, const char *dir)
{
	struct bench *b = arg;

	buf_addf(&b->told, "look %s\n", within(b, dir));
}

static int
set_up(void **state)
{
	static const struct watch_hooks hooks = {.news = take_news, .look = take_look};
	static const struct watch_timing timing = {.rest_ms = 1, .poll_ms = 10};
	const char *tmp = getenv("TMPDIR");
	struct bench *b = xcalloc(1, sizeof(*b));
	struct err e;

	b->dir = xasprintf("%s/hearsay-watch.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(b->dir) == NULL)
		return -1;
	b->base = event_base_new();
	b->watch = watch_new(b->base, &hooks, b, &timing, &e);
	memset(&answers, 0, sizeof(answers));
	*state = b;
	return b->watch == NULL ? -1 : 0;
}

static void
shell(const struct bench *b, const char *command)
{
	char *whole = xasprintf("cd '%s' && %s", b->dir, command);

	assert_int_equal(system(whole), 0);
	free(whole);
}

static int
tear_down(void **state)
{
	struct bench *b = *state;

	watch_free(b->watch);
	event_base_free(b->base);
	shell(b, "rm -rf \"$PWD\"");
	buf_free(&b->told);
	free(b->dir);
	free(b);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static void
follow(struct bench *b, const char *name)
{
	char *path = xasprintf("%s/%s", b->dir, name);

	watch_dir(b->watch, path, false);
	free(path);
}

/* What is told of what happened since, and nothing else. */
static void
assert_told(struct bench *b, const char *text)
{
	watch_read(b->watch);
	assert_string_equal(b->told.p == NULL ? "" : b->told.p, text);
	b->told.len = 0;
	if (b->told.p != NULL)
		b->told.p[0] = '\0';
}

/* Of these lines at least one is told; however often. */
static void
assert_tells(struct bench *b, const char *line)
{
	watch_read(b->watch);
	assert_non_null(b->told.p);
	assert_non_null(strstr(b->told.p, line));
	b->told.len = 0;
	b->told.p[0] = '\0';
}

/* The descriptor of the only inotify instance of this process. */
static int
inotify_fd(void)
{
	char path[32], to[64];
	ssize_t n;
	int fd;

	for (fd = 0; fd < 1024; fd++) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, to, sizeof(to) - 1);
		if (n > 0 && strncmp(to, "anon_inode:inotify", (size_t)n) == 0)
			return fd;
	}
	fail();
	return -1;
}

static unsigned
watch_count(void)
{
	char *path = xasprintf("/proc/self/fdinfo/%d", inotify_fd());
	FILE *f = fopen(path, "r");
	char line[512];
	unsigned count = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		count += strncmp(line, "inotify wd:", 11) == 0;
	(void)fclose(f);
	free(path);
	return count;
}

/* What runs say on stderr; malloc'd. */
static char *
said_by(struct bench *b, void (*act)(struct bench *))
{
	FILE *f = tmpfile();
	int before = dup(STDERR_FILENO);
	char text[4096];
	size_t n;

	assert_non_null(f);
	assert_int_not_equal(dup2(fileno(f), STDERR_FILENO), -1);
	act(b);
	assert_int_not_equal(dup2(before, STDERR_FILENO), -1);
	(void)close(before);
	rewind(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	(void)fclose(f);
	return xstrndup(text, n);
}

/* ---- the way to a directory ------------------------------------------------------ */

static void
a_link_on_the_way_leads_elsewhere(void **state)
{
	struct bench *b = *state;
	unsigned count;

	shell(b, "mkdir -p l data/v1/x/sub data/v2/x/sub && ln -s ../data/v1 l/cur");
	follow(b, "l/cur/x/sub");
	count = watch_count();
	shell(b, "ln -s ../data/v2 l/new && mv -T l/new l/cur");
	assert_told(b, "look /l/cur/x/sub\n");
	shell(b, "echo >>data/v2/x/sub/log");
	assert_tells(b, "written /l/cur/x/sub log\n");
	/* And no more of where it led to before. */
	assert_int_equal(watch_count(), count);
	shell(b, "echo >>data/v1/x/sub/log");
	assert_told(b, "");
}

static void
what_a_link_leads_to_is_made_again(void **state)
{
	struct bench *b = *state;
	char *held = xasprintf("%s/data/v1/log", b->dir);
	int fd;

	shell(b, "mkdir -p data/v1 l && ln -s ../data/v1 l/cur && echo >data/v1/log");
	follow(b, "l/cur");
	/* An open file keeps its directories: none of them tells that it was removed. */
	fd = open(held, O_RDONLY);
	assert_int_not_equal(fd, -1);
	shell(b, "rm -r data/v1");
	assert_tells(b, "look /l/cur\n");
	shell(b, "rm -r data && mkdir -p data/v1");
	assert_told(b, "look /l/cur\n");
	shell(b, "echo >data/v1/log");
	assert_tells(b, "written /l/cur log\n");
	(void)close(fd);
	free(held);
}

static void
a_directory_on_the_way_is_exchanged(void **state)
{
	struct bench *b = *state;

	shell(b, "mkdir -p a/b/c/d new/b/c/d");
	follow(b, "a/b/c/d");
	shell(b, "mv a old && mv new a");
	assert_told(b, "look /a/b/c/d\n");
	shell(b, "echo >a/b/c/d/log");
	assert_tells(b, "written /a/b/c/d log\n");
	shell(b, "echo >old/b/c/d/log");
	assert_told(b, "");
}

static void
directories_on_the_way_are_removed_and_made_again(void **state)
{
	struct bench *b = *state;
	char *held = xasprintf("%s/a/b/c/log", b->dir);
	int fd;

	shell(b, "mkdir -p a/b/c && echo >a/b/c/log");
	follow(b, "a/b/c");
	fd = open(held, O_RDONLY);
	assert_int_not_equal(fd, -1);
	shell(b, "rm -r a/b/c");
	assert_tells(b, "look /a/b/c\n");
	shell(b, "rm -r a");
	watch_read(b->watch);
	shell(b, "mkdir -p a/b/c");
	assert_told(b, "look /a/b/c\n");
	shell(b, "rm -r a && mkdir -p a/b/c");
	assert_told(b, "look /a/b/c\n");
	shell(b, "echo >a/b/c/log");
	assert_tells(b, "written /a/b/c log\n");
	(void)close(fd);
	free(held);
}

/* A step at a time, and through a link that led nowhere before. */
static void
a_way_that_comes_later(void **state)
{
	struct bench *b = *state;

	follow(b, "a/cur/d");
	shell(b, "mkdir a");
	assert_told(b, "");
	shell(b, "ln -s ../data/v1 a/cur");
	assert_told(b, "");
	shell(b, "mkdir data");
	assert_told(b, "");
	shell(b, "mkdir data/v1");
	assert_told(b, "");
	shell(b, "mkdir data/v1/d");
	assert_told(b, "look /a/cur/d\n");
	shell(b, "echo >data/v1/d/log");
	assert_tells(b, "written /a/cur/d log\n");
}

/* Links that lead to one another, and one whose way grows as it is followed. */
static void
links_that_end_nowhere(void **state)
{
	struct bench *b = *state;

	shell(b,
	    "ln -s b a && ln -s a b && ln -s c c && "
	    "mkdir d && ln -s ../l d/l && ln -s d/l l");
	follow(b, "a/x");
	follow(b, "c/x");
	follow(b, "l/x");
	assert_in_range(answers.asked, 3, 1000);
	shell(b, "rm a && mkdir -p a/x");
	assert_told(b, "look /a/x\n");
}

static void
ways_of_other_forms(void **state)
{
	struct bench *b = *state;

	shell(b, "mkdir -p a/b/c");
	follow(b, "a//b/./c");
	follow(b, "a/b/../b/c");
	follow(b, "a/b/c");
	shell(b, "mv a/b a/old && mkdir -p a/b/c");
	watch_read(b->watch);
	assert_non_null(strstr(b->told.p, "look /a//b/./c\n"));
	assert_non_null(strstr(b->told.p, "look /a/b/../b/c\n"));
	assert_tells(b, "look /a/b/c\n");
	shell(b, "echo >a/b/c/log");
	watch_read(b->watch);
	assert_non_null(strstr(b->told.p, "written /a//b/./c log\n"));
	assert_non_null(strstr(b->told.p, "written /a/b/../b/c log\n"));
	assert_tells(b, "written /a/b/c log\n");
}

/* ---- and its price ---------------------------------------------------------------- */

static void
one_watch_for_a_directory(void **state)
{
	struct bench *b = *state;
	unsigned count, i;
	char *name;

	shell(b, "mkdir -p a/b a/other");
	follow(b, "a/b");
	count = watch_count();
	follow(b, "a/b/.");
	follow(b, "a/../a/b");
	follow(b, "a//b");
	assert_int_equal(watch_count(), count);
	for (i = 0; i < 100; i++) {
		name = xasprintf("mkdir a/b/%u", i);
		shell(b, name);
		free(name);
		name = xasprintf("a/b/%u", i);
		follow(b, name);
		free(name);
	}
	assert_int_equal(watch_count(), count + 100);
}

/* Nobody is woken by what comes and goes beside the way, two levels up and more. */
static void
names_beside_the_way(void **state)
{
	struct bench *b = *state;
	struct pollfd news = {.events = POLLIN};

	shell(b, "mkdir -p a/b/c");
	follow(b, "a/b/c");
	watch_read(b->watch);
	shell(b, "echo >x && mv x a/y && mkdir a/z && rmdir a/z && rm a/y");
	news.fd = inotify_fd();
	assert_int_equal(poll(&news, 1, 0), 0);
	shell(b, "mkdir a/b/z && rmdir a/b/z");
	assert_told(b, "");
}

/* ---- where there is no inotify ---------------------------------------------------- */

static bool
polls(struct bench *b)
{
	return event_base_get_num_events(b->base, EVENT_BASE_COUNT_ADDED) == 2;
}

/* Of each magic number statfs(2) knows for what others can write to. */
static void
silent_file_systems_are_polled(void **state)
{
	static const uint32_t silent[] = {0x6969, 0xff534d42, 0xfe534d42, 0x517b,
	    0x65735546, 0x01021997, 0x00c36400, 0x5346414f, 0x73757245, 0x7461636f};
	size_t i;

	for (i = 0; i < sizeof(silent) / sizeof(silent[0]); i++) {
		struct bench *b = *state;

		answers.type = silent[i];
		shell(b, "mkdir -p a");
		follow(b, "a");
		assert_true(polls(b));
		assert_int_not_equal(event_base_loop(b->base, EVLOOP_ONCE), -1);
		assert_tells(b, "look /a\n");
		assert_int_equal(tear_down(state), 0);
		assert_int_equal(set_up(state), 0);
	}
	answers.type = 0x794c7630; /* of overlayfs inotify tells */
	follow(*state, "");
	assert_false(polls(*state));
}

static void
follow_a(struct bench *b)
{
	follow(b, "a");
	follow(b, "a");
	watch_check(b->watch);
}

static void
no_watches_are_left(void **state)
{
	struct bench *b = *state;
	char *said;

	shell(b, "mkdir a");
	answers.no_watches = true;
	said = said_by(b, follow_a);
	assert_non_null(strstr(said, "/a no inotify watches are left"));
	assert_non_null(strstr(said, "raise fs.inotify.max_user_watches"));
	assert_string_equal(strchr(said, '\n'), "\n");
	assert_true(polls(b));
	free(said);
}

/* Who may not read a directory hears of nothing in it, and looks now and then. */
static void
a_link_in_a_dark_directory(void **state)
{
	struct bench *b = *state;
	char *dark = xasprintf("%s/dark", b->dir);

	shell(b, "mkdir -p v1/sub v2/sub dark && ln -s ../v1 dark/cur");
	answers.dark = dark;
	follow(b, "dark/cur/sub");
	assert_false(polls(b));
	shell(b, "ln -s ../v2 dark/new && mv -T dark/new dark/cur");
	assert_told(b, "");
	watch_check(b->watch);
	shell(b, "echo >v2/sub/log");
	assert_tells(b, "written /dark/cur/sub log\n");
	free(dark);
}

static void
overflow(struct bench *b)
{
	shell(b,
	    "i=0; n=$(cat /proc/sys/fs/inotify/max_queued_events); "
	    "while [ $i -le $n ]; do echo >>x; echo >>y; i=$((i + 2)); done");
	watch_read(b->watch);
}

static void
an_overflow_is_said(void **state)
{
	struct bench *b = *state;
	char *said;

	follow(b, ".");
	said = said_by(b, overflow);
	assert_non_null(strstr(said, "queue of file news overflowed"));
	assert_tells(b, "look everywhere\n");
	free(said);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_link_on_the_way_leads_elsewhere),
	    TEST(what_a_link_leads_to_is_made_again),
	    TEST(a_directory_on_the_way_is_exchanged),
	    TEST(directories_on_the_way_are_removed_and_made_again),
	    TEST(a_way_that_comes_later),
	    TEST(links_that_end_nowhere),
	    TEST(ways_of_other_forms),
	    TEST(one_watch_for_a_directory),
	    TEST(names_beside_the_way),
	    TEST(silent_file_systems_are_polled),
	    TEST(no_watches_are_left),
	    TEST(a_link_in_a_dark_directory),
	    TEST(an_overflow_is_said),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
