/*
 * What only a store in PostgreSQL has: several hearsays at once, a connection
 * that is lost, and a password.  What it has in common with the other kind is
 * in test_store.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "extract/account_event.h"
#include "postgres.h"
#include "store/store.h"
#include "tail/checkpoint.h"

#define LOG "/var/log/homeserver.log"
#define KEY "m.synthetic_events"
#define BOUND_MS 20000 /* that a test waits for a fact */

struct fixture {
	struct postgres *server; /* NULL: there is none */
	const char *why;
	struct store *s;
	struct arena *a;
	struct err e;
};

static int
start(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->server = postgres_start(&f->why);
	*state = f;
	return 0;
}

static int
stop(void **state)
{
	struct fixture *f = *state;

	postgres_stop(f->server);
	free(f);
	return 0;
}

static struct store *
opened(struct fixture *f, const char *instance)
{
	struct store *s =
	    store_open_as(postgres_url(f->server), instance, STORE_OWN, &f->e);

	if (s == NULL)
		fail_msg("%s", f->e.text);
	return s;
}

/* A test that may be skipped has no store yet: it opens its own. */
static void
open_first(struct fixture *f)
{
	if (f->server == NULL) {
		print_message("# skipped: %s\n", f->why);
		skip();
	}
	f->a = arena_new();
	f->s = opened(f, "first");
}

static int
clean(void **state)
{
	struct fixture *f = *state;

	store_close(f->s);
	f->s = NULL;
	arena_free(f->a);
	f->a = NULL;
	if (f->server != NULL)
		free(postgres_run(f->server, "DROP SCHEMA IF EXISTS hearsay CASCADE"));
	return 0;
}

static void
rest(void)
{
	const struct timespec ts = {.tv_nsec = 20 * 1000 * 1000};

	(void)nanosleep(&ts, NULL);
}

/* ---- doing things with the store ------------------------------------------ */

static int
put(struct store *s, uint64_t offset, bool *new_r, struct err *e)
{
	char content[32];
	struct account_event ev = {
	    .file = 5,
	    .offset = offset,
	    .rule = "synapse/login",
	    .type = "m.user.login",
	    .user_id = "@ann:example.org",
	    .content = content,
	    .source = "{}",
	    .ts = 1000,
	};
	struct store_delivery to = {"irc", KEY, "m.user.login"};

	(void)snprintf(content, sizeof(content), "{\"n\":%u}", (unsigned)offset);
	return store_put_event(s, LOG, &ev, &to, 1, 50, new_r, e);
}

static int
queue(struct store *s, uint64_t offset, struct err *e)
{
	if (store_begin(s, e) == -1)
		return -1;
	if (put(s, offset, NULL, e) == 0 && store_commit(s, e) == 0)
		return 0;
	store_rollback(s);
	return -1;
}

static void
queue_now(struct fixture *f, struct store *s, uint64_t offset)
{
	if (queue(s, offset, &f->e) == -1)
		fail_msg("%s", f->e.text);
}

static int
next(struct fixture *f, struct store *s, struct transaction *txn)
{
	int found = store_next_transaction(s, "irc", 60, f->a, txn, &f->e);

	if (found == -1)
		fail_msg("%s", f->e.text);
	return found;
}

static int
may_send(struct fixture *f, struct store *s, int64_t *again)
{
	int may = store_may_send(s, "irc", again, &f->e);

	if (may == -1)
		fail_msg("%s", f->e.text);
	return may;
}

static bool
is_readable(struct store *s, int ms)
{
	struct pollfd p = {.fd = store_fd(s), .events = POLLIN};

	return poll(&p, 1, ms) == 1;
}

/* ---- several at once -------------------------------------------------------- */

/* The server takes a moment to see that the other has ended. */
static void
await_right(struct fixture *f, struct store *s)
{
	int64_t again;
	int i, may = 0;

	for (i = 0; i < BOUND_MS / 20 && may == 0; i++) {
		may = may_send(f, s, &again);
		rest();
	}
	assert_int_equal(may, 1);
}

/* In a child: be the one who sends, with a transaction under way, until killed. */
static void
be_the_sender(struct fixture *f, int tell)
{
	struct transaction txn;
	struct store *s;

	/* It must not outlive a test that fails. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	s = store_open_as(postgres_url(f->server), "second", STORE_OWN, NULL);
	if (s == NULL || queue(s, 1, NULL) == -1 ||
	    store_next_transaction(s, "irc", 60, f->a, &txn, NULL) != 1 ||
	    write(tell, txn.id, strlen(txn.id) + 1) == -1)
		_exit(1);
	for (;;)
		(void)pause();
}

static void
another_takes_over_from_the_dead(void **state)
{
	struct fixture *f = *state;
	struct transaction txn;
	char id[128] = "";
	int64_t again = 0;
	int ends[2];
	pid_t pid;

	open_first(f);
	store_close(f->s);
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0)
		be_the_sender(f, ends[1]);
	assert_true(read(ends[0], id, sizeof(id)) > 0);
	f->s = opened(f, "first");
	assert_int_equal(may_send(f, f->s, &again), 0);
	assert_true(again > 0);
	assert_int_equal(next(f, f->s, &txn), 0);
	queue_now(f, f->s, 2); /* reading goes on meanwhile */

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	await_right(f, f->s);
	assert_int_equal(next(f, f->s, &txn), 1);
	assert_string_equal(txn.id, id); /* what may have been sent is sent as it was */
	assert_non_null(strstr(txn.body, "{\"n\":1}"));
	assert_int_equal(store_accepted(f->s, "irc", txn.id, 200, 70, &f->e), 0);
	assert_int_equal(next(f, f->s, &txn), 1);
	assert_non_null(strstr(txn.body, "{\"n\":2}"));
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void
right_to_send_is_for_one_appservice(void **state)
{
	struct fixture *f = *state;
	struct store *other;
	int64_t again = 1;

	open_first(f);
	other = opened(f, "second");
	assert_int_equal(may_send(f, f->s, &again), 1);
	assert_int_equal(may_send(f, f->s, &again), 1);
	assert_int_equal(may_send(f, other, &again), 0);
	assert_int_equal(again, 0);
	assert_int_equal(store_may_send(other, "xmpp", &again, &f->e), 1);
	assert_int_equal(store_may_send(f->s, "xmpp", &again, &f->e), 0);
	store_close(f->s);
	f->s = other;
	await_right(f, f->s);
}

static void
commit_wakes_the_others(void **state)
{
	struct fixture *f = *state;
	struct store *other;
	struct checkpoint cp = {.file = 1};

	open_first(f);
	other = opened(f, "second");
	assert_false(is_readable(f->s, 0));
	queue_now(f, other, 1);
	assert_true(is_readable(f->s, BOUND_MS));
	assert_int_equal(store_noticed(f->s, &f->e), 1);
	assert_false(is_readable(f->s, 0));
	assert_false(is_readable(other, 0)); /* not itself */

	/* A notification that comes in beside an answer is not lost. */
	queue_now(f, other, 2);
	queue_now(f, f->s, 3);
	assert_true(is_readable(f->s, BOUND_MS));
	assert_int_equal(store_noticed(f->s, &f->e), 1);

	/* Positions alone are of no concern to others. */
	assert_true(is_readable(other, BOUND_MS));
	assert_int_equal(store_noticed(other, &f->e), 1);
	assert_int_equal(store_begin(f->s, &f->e), 0);
	assert_int_equal(store_put_checkpoints(f->s, LOG, &cp, 1, 5, &f->e), 0);
	assert_int_equal(store_commit(f->s, &f->e), 0);
	assert_false(is_readable(other, 200));
	store_close(other);
}

static void
logs_belong_to_an_instance(void **state)
{
	struct fixture *f = *state;
	char path[] = "/log/a";
	struct checkpoint cp = {.file = 1, .path = path}, *cps;
	struct store_log_status *logs;
	struct store_file *files;
	struct store *other;
	size_t n;

	open_first(f);
	other = opened(f, "second");
	assert_int_equal(store_begin(other, &f->e), 0);
	assert_int_equal(store_put_checkpoints(other, LOG, &cp, 1, 5, &f->e), 0);
	assert_int_equal(store_commit(other, &f->e), 0);
	assert_int_equal(store_checkpoints(f->s, LOG, &cps, &n, &f->e), 0);
	assert_int_equal(n, 0);
	free(cps);
	assert_int_equal(store_files(f->s, f->a, &files, &n, &f->e), 0);
	assert_int_equal(n, 0);
	assert_int_equal(store_files(other, f->a, &files, &n, &f->e), 0);
	assert_int_equal(n, 1);
	queue_now(f, f->s, 1);
	assert_int_equal(store_log_statuses(f->s, f->a, &logs, &n, &f->e), 0);
	assert_int_equal(n, 2);
	assert_string_equal(logs[0].log, LOG);
	assert_int_equal(logs[0].events, 1);
	assert_string_equal(logs[1].log, "second:" LOG);
	assert_int_equal(logs[1].files, 1);
	store_close(other);
}

/* Somebody waits for a lock of ours: a fact, within the bound. */
static bool
somebody_waits(struct fixture *f)
{
	bool waits = false;
	char *count;
	int i;

	for (i = 0; i < BOUND_MS / 20 && !waits; i++) {
		count = postgres_run(f->server,
		    "SELECT count(*) FROM pg_locks "
		    "WHERE locktype = 'advisory' AND NOT granted");
		waits = strcmp(count, "0") != 0;
		free(count);
		rest();
	}
	return waits;
}

/*
 * Two writers at once: the first has drawn its place in the queue and commits
 * last.  What the second has put must not be sent before.
 */
static void
order_is_that_of_the_queue(void **state)
{
	struct fixture *f = *state;
	struct transaction txn;
	struct store *sender;
	int ends[2], status;
	char byte = 0;
	pid_t pid;

	open_first(f);
	store_close(f->s);
	f->s = NULL;
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		struct store *s =
		    store_open_as(postgres_url(f->server), "second", STORE_OWN, NULL);

		/* Only when the parent holds its place. */
		_exit(s != NULL && read(ends[0], &byte, 1) == 1 && queue(s, 2, NULL) == 0
			? 0
			: 1);
	}
	f->s = opened(f, "first");
	sender = opened(f, "third");
	assert_int_equal(store_begin(f->s, &f->e), 0);
	assert_int_equal(put(f->s, 1, NULL, &f->e), 0);
	assert_int_equal(write(ends[1], &byte, 1), 1);
	assert_true(somebody_waits(f));
	assert_int_equal(next(f, sender, &txn), 0);
	assert_int_equal(store_commit(f->s, &f->e), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(next(f, sender, &txn), 1);
	assert_int_equal(txn.events, 2);
	assert_true(strstr(txn.body, "{\"n\":1}") < strstr(txn.body, "{\"n\":2}"));
	store_close(sender);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

/* Its tables must not change under one that runs. */
static void
migration_waits_for_the_others_to_end(void **state)
{
	struct fixture *f = *state;

	open_first(f);
	free(postgres_run(f->server, "UPDATE hearsay.meta SET version = version - 1"));
	assert_null(store_open_as(postgres_url(f->server), "second", STORE_OWN, &f->e));
	assert_non_null(strstr(f->e.text, "stop them all"));
	queue_now(f, f->s, 1);
	free(postgres_run(f->server, "UPDATE hearsay.meta SET version = version + 1"));
	store_close(opened(f, "second"));
}

/* ---- a connection that is lost ---------------------------------------------- */

/* Try until it succeeds, as the daemon does. */
static void
queue_in_the_end(struct fixture *f, struct store *s, uint64_t offset)
{
	int i;

	for (i = 0; i < BOUND_MS / 20; i++) {
		if (queue(s, offset, &f->e) == 0)
			return;
		rest();
	}
	fail_msg("%s", f->e.text);
}

static void
cut_connections(struct fixture *f)
{
	free(postgres_run(f->server,
	    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
	    "WHERE application_name LIKE 'hearsay%'"));
}

static void
server_comes_back_and_all_goes_on(void **state)
{
	struct fixture *f = *state;
	struct transaction first, again;
	int64_t wait;
	bool new = false;
	uint64_t count;
	int fd, i;

	open_first(f);
	fd = store_fd(f->s);
	queue_now(f, f->s, 1);
	assert_int_equal(next(f, f->s, &first), 1);
	assert_int_equal(store_begin(f->s, &f->e), 0);
	assert_int_equal(put(f->s, 2, &new, &f->e), 0);
	assert_true(new);
	postgres_kill(f->server);
	assert_int_equal(store_commit(f->s, &f->e), -1);
	store_rollback(f->s);
	assert_int_equal(store_may_send(f->s, "irc", &wait, &f->e), -1);
	assert_int_equal(store_waiting(f->s, &count, &f->e), -1);
	assert_int_equal(store_accepted(f->s, "irc", first.id, 200, 70, &f->e), -1);
	assert_non_null(strstr(f->e.text, postgres_folder(f->server)));

	postgres_go_on(f->server);
	queue_in_the_end(f, f->s, 3);
	assert_int_equal(store_fd(f->s), fd);
	assert_true(is_readable(f->s, BOUND_MS)); /* look at all queues again */
	assert_int_equal(store_noticed(f->s, &f->e), 1);
	assert_int_equal(may_send(f, f->s, &wait), 1);
	assert_int_equal(next(f, f->s, &again), 1);
	assert_string_equal(again.id, first.id);
	assert_string_equal(again.body, first.body);
	for (i = 0; i < 2; i++)
		assert_int_equal(
		    store_accepted(f->s, "irc", first.id, 200, 70, &f->e), 0);
	/* What was not committed is not there, and can be put again. */
	assert_int_equal(store_waiting(f->s, &count, &f->e), 0);
	assert_int_equal(count, 1);
	assert_int_equal(store_begin(f->s, &f->e), 0);
	assert_int_equal(put(f->s, 2, &new, &f->e), 0);
	assert_true(new);
	assert_int_equal(store_commit(f->s, &f->e), 0);
}

static void
idle_one_learns_of_the_loss_and_comes_back(void **state)
{
	struct fixture *f = *state;
	int64_t again;
	int i, may = -1;

	open_first(f);
	assert_int_equal(may_send(f, f->s, &again), 1);
	cut_connections(f);
	assert_true(is_readable(f->s, BOUND_MS));
	for (i = 0; i < BOUND_MS / 20 && store_noticed(f->s, &f->e) != -1; i++)
		rest();
	assert_non_null(strstr(f->e.text, "connection"));
	assert_false(is_readable(f->s, 0)); /* once: nobody is kept busy by it */
	for (i = 0; i < BOUND_MS / 20 && may == -1; i++) {
		may = store_may_send(f->s, "irc", &again, &f->e);
		rest();
	}
	assert_int_equal(may, 1);
}

/* A right that was asked for once is not ours for ever. */
static void
right_to_send_ends_with_the_connection(void **state)
{
	struct fixture *f = *state;
	struct store *other;
	int64_t again;

	open_first(f);
	assert_int_equal(may_send(f, f->s, &again), 1);
	cut_connections(f);
	other = opened(f, "second");
	await_right(f, other);
	queue_in_the_end(f, f->s, 1);
	assert_int_equal(may_send(f, f->s, &again), 0);
	assert_true(again > 0);
	store_close(other);
}

/* The locks ended with the connection: the instance may be another's by now. */
static void
instance_that_was_taken_meanwhile_is_refused(void **state)
{
	struct fixture *f = *state;
	struct store *thief;
	int i;

	open_first(f);
	cut_connections(f);
	for (i = 0; i < BOUND_MS / 20; i++) {
		thief = store_open_as(postgres_url(f->server), "first", STORE_OWN, &f->e);
		if (thief != NULL)
			break;
		rest();
	}
	assert_non_null(thief);
	assert_int_equal(queue(f->s, 1, &f->e), -1);
	assert_int_equal(queue(f->s, 1, &f->e), -1);
	assert_non_null(strstr(f->e.text, "\"first\""));
	assert_non_null(strstr(f->e.text, "in use by process"));
	store_close(thief);
	queue_in_the_end(f, f->s, 1);
}

/* ---- who stood still ------------------------------------------------------------ */

static int
may_go_on(struct fixture *f, struct store *s)
{
	return store_may_go_on(s, "irc", &f->e);
}

/* f->s begins an attempt and loses its connection; another takes the lock. */
static struct store *
taken_over(struct fixture *f, struct transaction *txn, int64_t *again)
{
	struct store *other;
	int i;

	open_first(f);
	queue_now(f, f->s, 1);
	assert_int_equal(next(f, f->s, txn), 1);
	assert_int_equal(may_go_on(f, f->s), 1);
	other = opened(f, "second");
	cut_connections(f);
	for (i = 0; i < BOUND_MS / 20; i++) {
		/* 2 s are for one that another has, more for one that was taken over. */
		if (store_may_send(other, "irc", again, NULL) == 0 && *again > 2000)
			return other;
		rest();
	}
	fail_msg("the right was not taken over");
	return NULL;
}

static void
right_that_was_not_given_back_is_waited_for(void **state)
{
	struct fixture *f = *state;
	struct transaction txn, theirs;
	struct timespec before, after;
	struct store *other;
	int64_t again;

	other = taken_over(f, &txn, &again);
	(void)clock_gettime(CLOCK_BOOTTIME, &before);
	assert_int_equal(next(f, other, &theirs), 0);
	await_right(f, other);
	(void)clock_gettime(CLOCK_BOOTTIME, &after);
	/* Longer than what the other may go on for, less what the two looks take. */
	assert_true((after.tv_sec - before.tv_sec) * 1000 +
		(after.tv_nsec - before.tv_nsec) / 1000000 >=
	    again - 50);
	assert_true(again > 3000);
	assert_int_equal(next(f, other, &theirs), 1);
	assert_string_equal(theirs.id, txn.id);
	assert_string_equal(theirs.body, txn.body);
	store_close(other);
}

/* It can neither go on, nor have failed, nor be the one who accepts. */
static void
attempt_of_one_that_lost_its_right_is_over(void **state)
{
	struct fixture *f = *state;
	struct transaction txn, theirs;
	struct store *other;
	int64_t again;
	int i, may = -1;

	other = taken_over(f, &txn, &again);
	for (i = 0; i < BOUND_MS / 20 && may != 0; i++) { /* it learns of its loss */
		may = store_may_send(f->s, "irc", &again, &f->e);
		rest();
	}
	assert_int_equal(may, 0);
	assert_int_equal(may_go_on(f, f->s), 0);
	assert_int_equal(store_failed(f->s, "irc", txn.id, 500, "late", STORE_SET_ASIDE,
			     INT64_MAX, 70, &f->e),
	    0);
	assert_int_equal(store_accepted(f->s, "irc", txn.id, 200, 70, &f->e), 0);
	await_right(f, other);
	assert_int_equal(next(f, other, &theirs), 1);
	assert_string_equal(theirs.id, txn.id);
	assert_int_equal(theirs.attempts, 0);

	/* The right comes back, and that attempt is still over; not so that it was accepted. */
	store_close(other);
	await_right(f, f->s);
	assert_int_equal(may_go_on(f, f->s), 0);
	assert_int_equal(store_failed(f->s, "irc", txn.id, 500, "late", STORE_SET_ASIDE,
			     INT64_MAX, 70, &f->e),
	    0);
	assert_int_equal(next(f, f->s, &theirs), 1);
	assert_int_equal(theirs.attempts, 0);
	assert_int_equal(may_go_on(f, f->s), 1);
	assert_int_equal(store_accepted(f->s, "irc", txn.id, 200, 70, &f->e), 0);
	assert_int_equal(next(f, f->s, &theirs), 0);
}

/* A number in the table, too: for what no lock of ours can prevent. */
static void
turn_is_compared_in_the_store(void **state)
{
	struct fixture *f = *state;
	struct transaction txn, again;

	open_first(f);
	queue_now(f, f->s, 1);
	assert_int_equal(next(f, f->s, &txn), 1);
	free(postgres_run(f->server, "UPDATE hearsay.senders SET turn = turn + 1"));
	assert_int_equal(store_accepted(f->s, "irc", txn.id, 200, 70, &f->e), 0);
	assert_int_equal(store_failed(f->s, "irc", txn.id, 500, "late", STORE_SET_ASIDE,
			     INT64_MAX, 70, &f->e),
	    0);
	assert_int_equal(
	    store_next_transaction(f->s, "irc", 60, f->a, &again, &f->e), -1);
	assert_non_null(strstr(f->e.text, "pool sessions"));
	free(postgres_run(f->server, "UPDATE hearsay.senders SET turn = turn - 1"));
	assert_int_equal(next(f, f->s, &again), 1);
	assert_string_equal(again.id, txn.id);
	assert_int_equal(again.attempts, 0);
}

static void
attempt_goes_on_where_nobody_took_over(void **state)
{
	struct fixture *f = *state;
	struct transaction txn;
	int64_t again;

	open_first(f);
	queue_now(f, f->s, 1);
	assert_int_equal(next(f, f->s, &txn), 1);
	cut_connections(f);
	queue_in_the_end(f, f->s, 2); /* on a new connection */
	assert_int_equal(may_go_on(f, f->s), 1);
	assert_int_equal(may_send(f, f->s, &again), 1);
	assert_int_equal(
	    store_failed(f->s, "irc", txn.id, 500, "no", STORE_TRY_AGAIN, 0, 70, &f->e),
	    0);
	assert_int_equal(next(f, f->s, &txn), 1);
	assert_int_equal(txn.attempts, 1);
}

static void
attempt_ends_when_nobody_can_be_asked(void **state)
{
	struct fixture *f = *state;
	struct transaction txn;
	int i, rc = 1;

	open_first(f);
	queue_now(f, f->s, 1);
	assert_int_equal(next(f, f->s, &txn), 1);
	postgres_kill(f->server);
	for (i = 0; i < BOUND_MS / 20 && rc == 1; i++) {
		rc = may_go_on(f, f->s);
		rest();
	}
	assert_int_equal(rc, -1);
	assert_non_null(strstr(f->e.text, postgres_folder(f->server)));
	postgres_go_on(f->server);
}

/* ---- a server that hangs, or is away --------------------------------------------- */

static int64_t
steady_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void
server_that_hangs_holds_up_nobody_for_long(void **state)
{
	struct fixture *f = *state;
	int64_t begun, again;
	int i;

	open_first(f);
	queue_now(f, f->s, 1);
	postgres_freeze(f->server);
	begun = steady_ms();
	assert_int_equal(queue(f->s, 2, &f->e), -1);
	assert_true(steady_ms() - begun < 4000 + 2000);
	assert_non_null(strstr(f->e.text, "does not answer"));
	assert_true(f->e.passes);
	/* To connect takes less, and soon behind it nothing. */
	begun = steady_ms();
	assert_int_equal(store_may_send(f->s, "irc", &again, &f->e), -1);
	assert_true(steady_ms() - begun < 2000 + 2000);
	begun = steady_ms();
	for (i = 0; i < 100; i++)
		assert_int_equal(store_may_send(f->s, "irc", &again, &f->e), -1);
	assert_true(steady_ms() - begun < 1000);
	postgres_thaw(f->server);
	queue_in_the_end(f, f->s, 2);
}

static void
signal_ends_the_wait(void **state)
{
	struct fixture *f = *state;
	int64_t begun;
	int ends[2];

	open_first(f);
	store_close(f->s);
	assert_int_equal(pipe(ends), 0);
	f->s = store_open_own(postgres_url(f->server), "first", ends[0], &f->e);
	assert_non_null(f->s);
	queue_now(f, f->s, 1);
	assert_int_equal(write(ends[1], "", 1), 1);
	queue_now(f, f->s, 2); /* what is well is not disturbed */
	postgres_freeze(f->server);
	begun = steady_ms();
	assert_int_equal(queue(f->s, 3, &f->e), -1);
	assert_true(steady_ms() - begun < 1000 + 1500);
	begun = steady_ms();
	assert_null(store_open_own(postgres_url(f->server), "second", ends[0], &f->e));
	assert_true(f->e.passes);
	assert_true(steady_ms() - begun < 1000 + 1500);
	postgres_thaw(f->server);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

/* Listens, and never says a word; the folder of its socket. */
static char *
silent_server(const struct fixture *f, int *fd_r)
{
	char *folder = xasprintf("%s/silent", postgres_folder(f->server));
	struct sockaddr_un name = {.sun_family = AF_UNIX};

	assert_int_equal(mkdir(folder, 0700), 0);
	assert_true((size_t)snprintf(name.sun_path, sizeof(name.sun_path),
			"%s/.s.PGSQL.5432", folder) < sizeof(name.sun_path));
	*fd_r = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(*fd_r, (struct sockaddr *)&name, sizeof(name)), 0);
	assert_int_equal(listen(*fd_r, 8), 0);
	return folder;
}

static void
silent_host_is_passed_over(void **state)
{
	struct fixture *f = *state;
	char *folder, *url;
	int fd;

	open_first(f);
	store_close(f->s);
	folder = silent_server(f, &fd);
	url = xasprintf("postgresql://postgres@/postgres?host=%s,%s", folder,
	    postgres_folder(f->server));
	f->s = store_open_as(url, "first", STORE_OWN, &f->e);
	if (f->s == NULL)
		fail_msg("%s", f->e.text);
	queue_now(f, f->s, 1);
	(void)close(fd);
	free(url);
	free(folder);
}

/* What comes behind ".../postgres?host=FOLDER", or instead of it, and whether waiting helps. */
static void
what_waiting_does_not_mend_is_told_apart(void **state)
{
	static const struct {
		const char *url; /* %s is the folder */
		bool passes;
		const char *words;
	} rows[] = {
	    {"postgresql://postgres@/postgres?host=%s/nothing", true, "No such file"},
	    {"postgresql://postgres@127.0.0.1:1/postgres?application_name=%s", true,
		"refused"},
	    {"postgresql://guarded:wr0ng@/postgres?host=%s", false, "password"},
	    {"postgresql://nobody-at-all@/postgres?host=%s", false, "role"},
	    {"postgresql://postgres@/nowhere?host=%s", false, "nowhere"},
	    {"postgresql://postgres@/postgres?host=%s&sslmode=maybe", false, "maybe"},
	    {"postgresql://guarded:" POSTGRES_PASSWORD "@/postgres?host=%s", false,
		"permission denied"},
	};
	struct fixture *f = *state;
	char url[512];
	size_t i;

	open_first(f);
	store_close(f->s);
	f->s = NULL;
	free(postgres_run(f->server, "DROP SCHEMA hearsay CASCADE"));
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		(void)snprintf(url, sizeof(url), rows[i].url, postgres_folder(f->server));
#pragma GCC diagnostic pop
		assert_null(store_open_own(url, "first", -1, &f->e));
		if (f->e.passes != rows[i].passes ||
		    strstr(f->e.text, rows[i].words) == NULL)
			fail_msg("%s: %s", url, f->e.text);
	}
	f->s = opened(f, "first");
	free(postgres_run(f->server, "UPDATE hearsay.meta SET version = 99"));
	assert_null(store_open_own(postgres_url(f->server), "second", -1, &f->e));
	assert_false(f->e.passes);
	assert_non_null(strstr(f->e.text, "newer"));
}

/* ---- what the server takes --------------------------------------------------- */

static void
odd_bytes_hold_up_nothing(void **state)
{
	struct fixture *f = *state;
	struct account_event ev = {.file = 5,
	    .rule = "p/r\xc3",
	    .type = "m.user.login",
	    .user_id = "@\xff\xe2\x82:example.org",
	    .content = "{\"a\":\"\\\"{},\\\\\"}",
	    .source = "{}"};
	const struct store_delivery to = {"i\"r\\c,{}\xf0", KEY, "m.user.\"login"};
	struct transaction txn;

	open_first(f);
	assert_int_equal(store_begin(f->s, &f->e), 0);
	if (store_put_event(f->s, "/log/\xff", &ev, &to, 1, 50, NULL, &f->e) == -1 ||
	    store_commit(f->s, &f->e) == -1)
		fail_msg("%s", f->e.text);
	assert_int_equal(
	    store_next_transaction(f->s, to.appservice, 60, f->a, &txn, &f->e), 1);
	assert_non_null(strstr(txn.body, ev.content));
	assert_int_equal(store_failed(f->s, to.appservice, txn.id, 500, "cut \xe2\x82",
			     STORE_TRY_AGAIN, 1, 70, &f->e),
	    0);
}

static void
database_in_another_encoding_is_refused(void **state)
{
	struct fixture *f = *state;
	char *url;

	open_first(f);
	free(postgres_run(
	    f->server, "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0"));
	url =
	    xasprintf("postgresql://postgres@/latin?host=%s", postgres_folder(f->server));
	assert_null(store_open(url, STORE_OWN, &f->e));
	assert_non_null(strstr(f->e.text, "UTF-8"));
	assert_int_equal(store_reach(url, &f->e), -1);
	free(url);
	free(postgres_run(f->server, "DROP DATABASE latin"));
}

/* Neither nothing nor everything: what is too much is estimated. */
static void
store_has_a_bound(void **state)
{
	struct fixture *f = *state;
	struct transaction txn;
	struct store_size size;
	int64_t oldest = 0, i;
	uint64_t offset;

	open_first(f);
	assert_int_equal(store_begin(f->s, &f->e), 0);
	for (offset = 1; offset <= 4000; offset++)
		assert_int_equal(put(f->s, offset, NULL, &f->e), 0);
	assert_int_equal(store_commit(f->s, &f->e), 0);
	for (i = 0; next(f, f->s, &txn) == 1; i++)
		assert_int_equal(
		    store_accepted(f->s, "irc", txn.id, 200, 1000 + i, &f->e), 0);
	free(postgres_run(f->server, "ANALYZE"));
	while (store_forget(f->s, 0, 1000000, &oldest, &f->e) == 1)
		;
	assert_int_equal(store_size(f->s, &size, &f->e), 0);
	assert_true(size.kept > 5 && size.kept < 35);
	assert_true(size.bytes > 1000000);
	assert_int_equal(size.oldest_ms, 1040 - (int64_t)size.kept); /* the newest */
	assert_int_equal(oldest, size.oldest_ms);
}

/* ---- passwords ----------------------------------------------------------------- */

static void
assert_no_password(const char *text)
{
	static const char *const parts[] = {"s3cr3t", "p4ssw0rd", "wr0ng"};
	size_t i;

	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strstr(text, parts[i]) != NULL)
			fail_msg("a password is in \"%s\"", text);
}

static void
password_is_in_no_message(void **state)
{
	/* The last %s is the folder of the socket. */
	static const char *const urls[] = {
	    "postgresql://guarded:wr0ng@/postgres?host=%s",
	    "postgresql://guarded:s3cr3t@p4ssw0rd@/postgres?host=%s",
	    "postgresql://guarded:s3cr3t/p4ssw0rd@host/postgres?host=%s",
	    "postgresql://guarded:12/s3cr3t-p4ssw0rd@host/postgres?host=%s",
	    "postgresql://guarded:s3cr3t?p4ssw0rd@host/postgres?host=%s",
	    "postgresql://guarded:s3cr3t#p4ssw0rd@[::1/postgres?host=%s",
	    "postgresql://guarded:s3cr3t%%p4ssw0rd@/postgres?host=%s",
	    "postgresql://guarded:s3cr3t-p4ssw0rd@/nowhere?host=%s",
	    "postgresql://guarded:s3cr3t-p4ssw0rd@/postgres?host=%s&wr0ng=1",
	    "postgresql://guarded:s3cr3t-p4ssw0rd@/postgres?host=%s/nothing",
	    "postgresql:///postgres?host=%s&user=guarded&password=wr0ng",
	    "postgresql:///postgres?host=%s&user=guarded&passwort=s3cr3t",
	};
	struct fixture *f = *state;
	char url[512], *shown;
	size_t i;

	open_first(f);
	for (i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		(void)snprintf(url, sizeof(url), urls[i], postgres_folder(f->server));
#pragma GCC diagnostic pop
		f->e.text[0] = '\0';
		assert_null(store_open(url, STORE_READ, &f->e));
		assert_no_password(f->e.text);
		assert_int_not_equal(strlen(f->e.text), 0);
		assert_int_equal(store_reach(url, &f->e), -1);
		assert_no_password(f->e.text);
		shown = store_shown(url);
		assert_no_password(shown);
		free(shown);
	}
}

static void
password_lets_in(void **state)
{
	struct fixture *f = *state;
	char *url, *shown, *want;
	struct store *s;

	open_first(f);
	free(postgres_run(f->server,
	    "GRANT USAGE ON SCHEMA hearsay TO guarded; "
	    "GRANT SELECT ON ALL TABLES IN SCHEMA hearsay TO guarded"));
	url = xasprintf("postgresql://guarded:" POSTGRES_PASSWORD "@/postgres?host=%s",
	    postgres_folder(f->server));
	want = xasprintf(
	    "postgresql://guarded@/postgres?host=%s", postgres_folder(f->server));
	s = store_open(url, STORE_READ, &f->e);
	if (s == NULL)
		fail_msg("%s", f->e.text);
	store_close(s);
	assert_int_equal(store_reach(url, &f->e), 0);
	shown = store_shown(url);
	assert_string_equal(shown, want);
	/* It may read, but not change: that is told, without what let it in. */
	s = store_open_as(url, "second", STORE_OWN, &f->e);
	assert_non_null(s);
	assert_int_equal(queue(s, 1, &f->e), -1);
	assert_non_null(strstr(f->e.text, "permission denied"));
	assert_int_equal(store_begin(s, &f->e), 0);
	assert_int_equal(put(s, 1, NULL, NULL), -1);
	assert_int_equal(store_commit(s, &f->e), -1);
	store_rollback(s);
	assert_no_password(f->e.text);
	store_close(s);
	free(shown);
	free(want);
	free(url);
	free(postgres_run(f->server, "DROP OWNED BY guarded"));
}

#define TEST(f) cmocka_unit_test_teardown(f, clean)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(another_takes_over_from_the_dead),
	    TEST(right_to_send_is_for_one_appservice),
	    TEST(commit_wakes_the_others),
	    TEST(logs_belong_to_an_instance),
	    TEST(order_is_that_of_the_queue),
	    TEST(migration_waits_for_the_others_to_end),
	    TEST(server_comes_back_and_all_goes_on),
	    TEST(idle_one_learns_of_the_loss_and_comes_back),
	    TEST(right_to_send_ends_with_the_connection),
	    TEST(instance_that_was_taken_meanwhile_is_refused),
	    TEST(right_that_was_not_given_back_is_waited_for),
	    TEST(attempt_of_one_that_lost_its_right_is_over),
	    TEST(turn_is_compared_in_the_store),
	    TEST(attempt_goes_on_where_nobody_took_over),
	    TEST(attempt_ends_when_nobody_can_be_asked),
	    TEST(server_that_hangs_holds_up_nobody_for_long),
	    TEST(signal_ends_the_wait),
	    TEST(silent_host_is_passed_over),
	    TEST(what_waiting_does_not_mend_is_told_apart),
	    TEST(odd_bytes_hold_up_nothing),
	    TEST(database_in_another_encoding_is_refused),
	    TEST(store_has_a_bound),
	    TEST(password_is_in_no_message),
	    TEST(password_lets_in),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start, stop);
}
