#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "tail/pipe.h"
#include "tail/source.h"
#include "tail/tail.h"

struct bench {
	struct event_base *base;
	struct source *source;
	char *path; /* of the FIFO; NULL: standard input */
	int writer;
	bool full; /* no chunk is taken */
	unsigned offered;
	bool final; /* the newest one that was taken */
	uint64_t offset;
	struct buf taken;
};

static int
take(void *arg, const struct tail_chunk *c)
{
	struct bench *b = arg;

	b->offered++;
	if (b->full)
		return 1;
	b->final = c->final;
	b->offset = c->offset;
	buf_add(&b->taken, c->data, c->len);
	return 0;
}

static const struct source_hooks hooks = {.lines = take};

static void
open_source(struct bench *b, const char *path)
{
	struct err e = {0};

	b->base = event_base_new();
	assert_non_null(b->base);
	b->source = pipe_open(b->base, path, &hooks, b, &e);
	if (b->source == NULL)
		fail_msg("%s", e.text);
}

static void
open_fifo(struct bench *b)
{
	const char *tmp = getenv("TMPDIR");
	char *dir = xasprintf("%s/pipe.XXXXXX", tmp == NULL ? "/tmp" : tmp);

	*b = (struct bench){0};
	assert_non_null(mkdtemp(dir));
	b->path = xasprintf("%s/fifo", dir);
	assert_int_equal(mkfifo(b->path, 0600), 0);
	open_source(b, b->path);
	b->writer = open(b->path, O_WRONLY | O_CLOEXEC);
	assert_int_not_equal(b->writer, -1);
	free(dir);
}

static void
open_stdin(struct bench *b)
{
	int ends[2];

	*b = (struct bench){0};
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
	assert_int_equal(close(ends[0]), 0);
	b->writer = ends[1];
	open_source(b, "-");
}

static void
end(struct bench *b)
{
	source_close(b->source);
	event_base_free(b->base);
	buf_free(&b->taken);
	if (b->writer != -1)
		assert_int_equal(close(b->writer), 0);
	if (b->path != NULL) {
		assert_int_equal(unlink(b->path), 0);
		*strrchr(b->path, '/') = '\0';
		assert_int_equal(rmdir(b->path), 0);
	}
	free(b->path);
}

static void
put(struct bench *b, const char *text)
{
	assert_int_equal(write(b->writer, text, strlen(text)), strlen(text));
}

static void
end_input(struct bench *b)
{
	assert_int_equal(close(b->writer), 0);
	b->writer = -1;
}

/* What is there is read. */
static void
turn(struct bench *b)
{
	assert_int_not_equal(event_base_loop(b->base, EVLOOP_NONBLOCK), -1);
}

static void
assert_taken(const struct bench *b, const char *text)
{
	assert_int_equal(b->taken.len, strlen(text));
	assert_memory_equal(b->taken.p, text, b->taken.len);
}

static void
the_rest_comes_at_the_end(void **state)
{
	struct bench b;

	(void)state;
	open_stdin(&b);
	put(&b, "one\ntwo\nthr");
	turn(&b);
	assert_taken(&b, "one\ntwo\n");
	assert_false(b.final);
	put(&b, "ee");
	end_input(&b);
	assert_int_equal(event_base_dispatch(b.base), 1); /* nothing is waited for */
	assert_taken(&b, "one\ntwo\nthree");
	assert_true(b.final);
	assert_int_equal(b.offset, strlen("one\ntwo\n"));
	end(&b);
}

static void
the_rest_waits_until_it_is_taken(void **state)
{
	struct bench b;

	(void)state;
	open_stdin(&b);
	b.full = true;
	put(&b, "one");
	end_input(&b);
	assert_int_equal(event_base_dispatch(b.base), 1);
	assert_int_equal(b.offered, 1);
	b.full = false;
	source_go_on(b.source);
	assert_taken(&b, "one");
	assert_true(b.final);
	assert_int_equal(event_base_dispatch(b.base), 1);
	assert_int_equal(b.offered, 2);
	end(&b);
}

/* What is not taken is offered again when it is asked for, and nothing is read meanwhile. */
static void
back_pressure(struct bench *b)
{
	b->full = true;
	put(b, "one\n");
	turn(b);
	assert_int_equal(b->offered, 1);
	put(b, "two\n");
	turn(b);
	assert_int_equal(b->offered, 1);
	source_go_on(b->source);
	assert_int_equal(b->offered, 2);
	turn(b);
	assert_int_equal(b->offered, 2);
	source_drain(b->source, 1000);
	assert_int_equal(b->offered, 2);
	b->full = false;
	source_go_on(b->source);
	assert_taken(b, "one\n");
	turn(b);
	assert_taken(b, "one\ntwo\n");
	source_go_on(b->source);
	assert_int_equal(b->offered, 4);
	assert_int_equal(source_stats(b->source)->bytes, strlen("one\ntwo\n"));
}

static void
nothing_is_read_while_nothing_is_taken(void **state)
{
	struct bench b;

	(void)state;
	open_fifo(&b);
	back_pressure(&b);
	end(&b);
	open_stdin(&b);
	back_pressure(&b);
	end(&b);
}

/* At the end of hearsay, without the loop: all that is there, but no half of a line. */
static void
what_was_written_is_drained(void **state)
{
	struct bench b;
	char *line = test_malloc(30001);

	(void)state;
	memset(line, 'x', 30000);
	line[29999] = '\n';
	line[30000] = '\0';
	open_fifo(&b);
	put(&b, line);
	put(&b, line);
	put(&b, "half");
	source_drain(b.source, 10000);
	assert_int_equal(b.taken.len, 60000);
	assert_false(b.final);
	end(&b);
	open_stdin(&b);
	put(&b, "one\ntwo");
	end_input(&b);
	source_drain(b.source, 10000);
	assert_taken(&b, "one\ntwo");
	end(&b);
	test_free(line);
}

static void
what_is_no_pipe_is_refused(void **state)
{
	struct event_base *base = event_base_new();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct err e = {0};

	(void)state;
	assert_null(pipe_open(base, "/dev/null", &hooks, NULL, &e));
	assert_non_null(strstr(e.text, "no FIFO"));
	/* So it is where standard input was closed. */
	assert_int_equal(dup2(null, STDIN_FILENO), STDIN_FILENO);
	assert_null(pipe_open(base, "-", &hooks, NULL, &e));
	assert_non_null(strstr(e.text, "closed"));
	assert_int_equal(close(null), 0);
	event_base_free(base);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_rest_comes_at_the_end),
	    cmocka_unit_test(the_rest_waits_until_it_is_taken),
	    cmocka_unit_test(nothing_is_read_while_nothing_is_taken),
	    cmocka_unit_test(what_was_written_is_drained),
	    cmocka_unit_test(what_is_no_pipe_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
