#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "extract/account_event.h"
#ifdef HAVE_POSTGRESQL
#include "postgres.h"
#include "postgresql_version_1.h"
#endif
#include "store/store.h"
#include "store_version_1.h"
#include "tail/checkpoint.h"

#define LOG "/var/log/homeserver.log"
#define KEY "m.synthetic_events"
#define UNSTABLE "uk.half-shot.msc3395.synthetic_events"

#define INSTANCE "tests"

/*
 * One suite for all kinds of stores.  What a test needs beyond store.h is here,
 * once for each kind.
 */
struct fixture;
struct kind {
	bool (*set_up)(struct fixture *f); /* false: skip, and why is printed */
	void (*tear_down)(struct fixture *f);
	/* Delete the store, which nobody has open. */
	void (*remove)(struct fixture *f);
	/* Run statements behind its back: the first number of the last of them. */
	int64_t (*sql)(struct fixture *f, const char *sql);
	const char *set_version, *other_program, *version_1;
};

/* A test on a kind of store. */
struct variant {
	void (*test)(void **state);
	const struct kind *kind;
};

struct fixture {
	const struct variant *variant;
	bool skipped;
	char dir[256];
	char path[300]; /* the store's name */
	struct store *s;
	struct arena *a;
	struct err e;
};

static struct store *
opened(struct fixture *f, enum store_mode mode)
{
	struct store *s = store_open_as(f->path, INSTANCE, mode, &f->e);

	if (s == NULL)
		fail_msg("%s", f->e.text);
	return s;
}

static void
reopen(struct fixture *f)
{
	store_close(f->s);
	f->s = opened(f, STORE_OWN);
}

static void
remove_store(struct fixture *f)
{
	store_close(f->s);
	f->s = NULL;
	f->variant->kind->remove(f);
}

static void
run_sql(struct fixture *f, const char *sql)
{
	(void)f->variant->kind->sql(f, sql);
}

static int64_t
number_in(struct fixture *f, const char *sql)
{
	return f->variant->kind->sql(f, sql);
}

static int
setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->variant = *state;
	f->a = arena_new();
	f->skipped = !f->variant->kind->set_up(f);
	if (!f->skipped)
		f->s = opened(f, STORE_OWN);
	*state = f;
	return 0;
}

static void
run(void **state)
{
	struct fixture *f = *state;

	if (f->skipped)
		skip();
	f->variant->test(state);
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	store_close(f->s);
	if (!f->skipped)
		f->variant->kind->tear_down(f);
	arena_free(f->a);
	free(f);
	return 0;
}

/* ---- in SQLite --------------------------------------------------------- */

static bool
sqlite_set_up(struct fixture *f)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(f->dir, sizeof(f->dir), "%s/hearsay-store-XXXXXX",
	    tmp == NULL ? "/tmp" : tmp);
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/store", f->dir);
	return true;
}

static void
sqlite_tear_down(struct fixture *f)
{
	static const char *const ends[] = {"", ".lock", "-wal", "-shm", NULL};
	char path[320];
	size_t i;

	for (i = 0; ends[i] != NULL; i++) {
		(void)snprintf(path, sizeof(path), "%s%s", f->path, ends[i]);
		(void)unlink(path);
	}
	assert_int_equal(rmdir(f->dir), 0);
}

static void
sqlite_remove(struct fixture *f)
{
	static const char *const ends[] = {"", ".lock", "-wal", NULL};
	char path[320];
	size_t i;

	for (i = 0; ends[i] != NULL; i++) {
		(void)snprintf(path, sizeof(path), "%s%s", f->path, ends[i]);
		assert_int_equal(unlink(path), 0);
	}
}

static int
first_number(void *arg, int count, char **values, char **names)
{
	(void)names;
	if (count > 0 && values[0] != NULL)
		*(int64_t *)arg = strtoll(values[0], NULL, 10);
	return 0;
}

static int64_t
sqlite_sql(struct fixture *f, const char *sql)
{
	int64_t n = 0;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, first_number, &n, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	return n;
}

static const struct kind sqlite_kind = {
    .set_up = sqlite_set_up,
    .tear_down = sqlite_tear_down,
    .remove = sqlite_remove,
    .sql = sqlite_sql,
    .set_version = "PRAGMA user_version = 999",
    .other_program = "CREATE TABLE a (b)",
    .version_1 = store_version_1,
};

/* ---- in PostgreSQL ------------------------------------------------------ */

#ifdef HAVE_POSTGRESQL

/* One server for all tests; started by the first. */
static struct postgres *server;
static const char *no_server;

static int
stop_server(void **state)
{
	(void)state;
	postgres_stop(server);
	return 0;
}

static bool
postgresql_set_up(struct fixture *f)
{
	if (server == NULL && no_server == NULL)
		server = postgres_start(&no_server);
	if (server == NULL) {
		print_message("# skipped: %s\n", no_server);
		return false;
	}
	(void)snprintf(f->path, sizeof(f->path), "%s", postgres_url(server));
	return true;
}

static void
postgresql_remove(struct fixture *f)
{
	(void)f;
	free(postgres_run(server, "DROP SCHEMA IF EXISTS hearsay CASCADE"));
}

static int64_t
postgresql_sql(struct fixture *f, const char *sql)
{
	char *text = xasprintf("SET search_path = hearsay; %s", sql);
	char *number = postgres_run(server, text);
	int64_t n = strtoll(number, NULL, 10);

	(void)f;
	free(number);
	free(text);
	return n;
}

static const struct kind postgresql_kind = {
    .set_up = postgresql_set_up,
    .tear_down = postgresql_remove,
    .remove = postgresql_remove,
    .sql = postgresql_sql,
    .set_version = "UPDATE meta SET version = 999",
    .other_program = "CREATE SCHEMA hearsay; CREATE TABLE hearsay.meta (b int)",
    .version_1 = postgresql_version_1,
};

#endif

/* ---- doing things with the store --------------------------------------- */

static struct account_event
event_at(uint64_t offset, const char *content)
{
	return (struct account_event){
	    .file = UINT64_C(0xfedcba9876543210),
	    .offset = offset,
	    .rule = "synapse/login",
	    .type = "m.user.login",
	    .user_id = "@ann:example.org",
	    .content = content,
	    .source = "{}",
	    .ts = 1000 + (int64_t)offset,
	};
}

/* Put one event for one appservice, within a transaction; true where it was new. */
static bool
put(struct fixture *f, uint64_t offset, const char *content, const char *appservice,
    const char *key)
{
	struct account_event ev = event_at(offset, content);
	struct store_delivery to = {appservice, key, "m.user.login"};
	bool new;

	if (store_put_event(f->s, LOG, &ev, &to, 1, 50, &new, &f->e) == -1)
		fail_msg("%s", f->e.text);
	return new;
}

static void
begin(struct fixture *f)
{
	if (store_begin(f->s, &f->e) == -1)
		fail_msg("%s", f->e.text);
}

static void
commit(struct fixture *f)
{
	if (store_commit(f->s, &f->e) == -1)
		fail_msg("%s", f->e.text);
}

/* Queue events at the offsets first to last for one appservice. */
static void
queue(struct fixture *f, uint64_t first, uint64_t last, const char *appservice)
{
	uint64_t offset;

	begin(f);
	for (offset = first; offset <= last; offset++)
		assert_true(put(f, offset, "{\"n\":1}", appservice, KEY));
	commit(f);
}

static int
next_at(struct fixture *f, const char *appservice, int64_t now, struct transaction *txn)
{
	int found = store_next_transaction(f->s, appservice, now, f->a, txn, &f->e);

	if (found == -1)
		fail_msg("%s", f->e.text);
	return found;
}

static int
next(struct fixture *f, const char *appservice, struct transaction *txn)
{
	return next_at(f, appservice, 60, txn);
}

static void
accept_now(struct fixture *f, const char *appservice, const char *id)
{
	if (store_accepted(f->s, appservice, id, 200, 70, &f->e) == -1)
		fail_msg("%s", f->e.text);
}

static uint64_t
waiting(struct fixture *f)
{
	uint64_t count;

	assert_int_equal(store_waiting(f->s, &count, &f->e), 0);
	return count;
}

static struct checkpoint
checkpoint_of(uint64_t file, uint64_t generation, char *path)
{
	struct checkpoint cp = {
	    .file = file,
	    .generation = generation,
	    .id = {.dev = UINT64_MAX, .ino = 7, .btime_ns = -1, .head_len = 4096},
	    .offset = UINT64_C(1) << 63,
	    .resume = 12,
	    .guard_len = 1024,
	    .last_ts = INT64_MIN,
	    .finished = true,
	    .path = path,
	};

	memset(cp.id.head, 0xa5, HASH_SIZE);
	memset(cp.id.prefixes, 0x5a, sizeof(cp.id.prefixes));
	cp.guard[0] = 1; /* and zeros behind it */
	return cp;
}

static void
assert_checkpoint(const struct checkpoint *is, const struct checkpoint *be)
{
	assert_true(is->file == be->file && is->generation == be->generation);
	assert_true(is->id.dev == be->id.dev && is->id.ino == be->id.ino);
	assert_true(is->id.btime_ns == be->id.btime_ns);
	assert_int_equal(is->id.head_len, be->id.head_len);
	assert_memory_equal(is->id.head, be->id.head, HASH_SIZE);
	assert_memory_equal(is->id.prefixes, be->id.prefixes, sizeof(be->id.prefixes));
	assert_true(is->offset == be->offset && is->resume == be->resume);
	assert_int_equal(is->guard_len, be->guard_len);
	assert_memory_equal(is->guard, be->guard, HASH_SIZE);
	assert_true(is->last_ts == be->last_ts && is->finished == be->finished);
	assert_string_equal(is->path, be->path);
}

/* The checkpoints that the store has; freed with free_all. */
static size_t
checkpoints(struct fixture *f, const char *log, struct checkpoint **cps_r)
{
	size_t count;

	if (store_checkpoints(f->s, log, cps_r, &count, &f->e) == -1)
		fail_msg("%s", f->e.text);
	return count;
}

static void
free_all(struct checkpoint *cps, size_t count)
{
	while (count > 0)
		free(cps[--count].path);
	free(cps);
}

/* ---- reading logs ------------------------------------------------------ */

static void
checkpoints_come_back_as_they_were(void **state)
{
	struct fixture *f = *state;
	char old[] = "/log/\xff\xfe.1", new[] = "/log/b";
	struct checkpoint in[2], *out;

	assert_int_equal(checkpoints(f, LOG, &out), 0);
	free(out);

	in[0] = checkpoint_of(UINT64_MAX, 1, old);
	in[1] = checkpoint_of((UINT64_C(1) << 63) + 1, UINT64_C(1) << 63, new);
	begin(f);
	assert_int_equal(store_put_checkpoints(f->s, LOG, in, 2, 5, &f->e), 0);
	assert_int_equal(store_put_checkpoints(f->s, "other", in, 1, 5, &f->e), 0);
	commit(f);
	reopen(f);
	assert_int_equal(checkpoints(f, LOG, &out), 2);
	assert_checkpoint(&out[0], &in[0]);
	assert_checkpoint(&out[1], &in[1]);
	free_all(out, 2);

	begin(f);
	assert_int_equal(store_put_checkpoints(f->s, LOG, &in[1], 1, 6, &f->e), 0);
	commit(f);
	assert_int_equal(checkpoints(f, LOG, &out), 1);
	assert_checkpoint(&out[0], &in[1]);
	free_all(out, 1);
	assert_int_equal(checkpoints(f, "other", &out), 1);
	free_all(out, 1);
}

/* Of each log oldest first, whatever the order in which they were put. */
static void
files_of_all_logs(void **state)
{
	struct fixture *f = *state;
	char old[] = "/log/\xff\xfe.1", new[] = "/log/b", odd[] = "/log/\xfe";
	struct checkpoint in[2];
	struct store_file *out;
	size_t count, i, seen = 0, of_odd = 0;

	assert_int_equal(store_files(f->s, f->a, &out, &count, &f->e), 0);
	assert_int_equal(count, 0);

	in[0] = checkpoint_of(UINT64_MAX, 1, old);
	in[1] = checkpoint_of(7, UINT64_C(1) << 63, new);
	begin(f);
	assert_int_equal(store_put_checkpoints(f->s, LOG, in, 2, 5, &f->e), 0);
	assert_int_equal(store_put_checkpoints(f->s, odd, in, 1, 5, &f->e), 0);
	assert_int_equal(store_put_checkpoints(f->s, "none", in, 0, 5, &f->e), 0);
	commit(f);
	reopen(f);
	assert_int_equal(store_files(f->s, f->a, &out, &count, &f->e), 0);
	assert_int_equal(count, 3);
	for (i = 0; i < count; i++) {
		if (strcmp(out[i].log, LOG) == 0) {
			assert_checkpoint(out[i].cp, &in[seen++]);
			continue;
		}
		assert_string_equal(out[i].log, odd);
		assert_checkpoint(out[i].cp, &in[0]);
		of_odd++;
	}
	assert_true(seen == 2 && of_odd == 1);
}

static void
rollback_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	char path[] = "/log/a";
	struct checkpoint cp = checkpoint_of(1, 1, path), *out;
	struct transaction txn;

	begin(f);
	assert_true(put(f, 1, "{}", "irc", KEY));
	assert_int_equal(store_put_checkpoints(f->s, LOG, &cp, 1, 5, &f->e), 0);
	store_rollback(f->s);
	assert_int_equal(waiting(f), 0);
	assert_int_equal(checkpoints(f, LOG, &out), 0);
	free(out);
	assert_int_equal(next(f, "irc", &txn), 0);

	begin(f);
	assert_true(put(f, 1, "{}", "irc", KEY));
	commit(f);
	assert_int_equal(waiting(f), 1);
}

/* A process that ends in the middle: the store's own child, without a goodbye. */
static void
kill_in_the_middle_leaves_what_was_committed(void **state)
{
	struct fixture *f = *state;
	char path[] = "/log/a";
	struct checkpoint cp = checkpoint_of(1, 1, path), *out;
	int status;
	pid_t pid;

	store_close(f->s);
	f->s = NULL;
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		struct account_event one = event_at(1, "{}"), two = event_at(2, "{}");
		struct store_delivery to = {"irc", KEY, "m.user.login"};
		struct store *s = store_open_as(f->path, INSTANCE, STORE_OWN, NULL);

		if (s == NULL || store_begin(s, NULL) == -1 ||
		    store_put_event(s, LOG, &one, &to, 1, 1, NULL, NULL) == -1 ||
		    store_put_checkpoints(s, LOG, &cp, 1, 1, NULL) == -1 ||
		    store_commit(s, NULL) == -1 || store_begin(s, NULL) == -1 ||
		    store_put_event(s, LOG, &two, &to, 1, 1, NULL, NULL) == -1 ||
		    store_put_checkpoints(s, LOG, NULL, 0, 1, NULL) == -1)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);

	f->s = opened(f, STORE_OWN);
	assert_int_equal(waiting(f), 1);
	assert_int_equal(checkpoints(f, LOG, &out), 1);
	free_all(out, 1);
	begin(f);
	assert_false(put(f, 1, "{}", "irc", KEY));
	assert_true(put(f, 2, "{}", "irc", KEY));
	commit(f);
}

static void
limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes == 0 ? limit.rlim_max : bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
failed_write_leaves_the_store_as_it_was(void **state)
{
	struct fixture *f = *state;
	char *content = xmalloc(300001);
	struct account_event ev = event_at(2, content);
	struct store_delivery to = {"irc", KEY, "m.user.login"};

	memset(content, ' ', 300000);
	memcpy(content, "{}", 2);
	content[300000] = '\0';
	queue(f, 1, 1, "irc");
	(void)signal(SIGXFSZ, SIG_IGN);
	limit_files(100000);
	begin(f);
	if (store_put_event(f->s, LOG, &ev, &to, 1, 1, NULL, &f->e) == 0)
		assert_int_equal(store_commit(f->s, &f->e), -1);
	assert_non_null(strstr(f->e.text, f->path));
	store_rollback(f->s);
	assert_int_equal(waiting(f), 1);
	limit_files(0);

	begin(f);
	assert_int_equal(store_put_event(f->s, LOG, &ev, &to, 1, 1, NULL, &f->e), 0);
	commit(f);
	assert_int_equal(waiting(f), 2);
	reopen(f);
	assert_int_equal(waiting(f), 2);
	free(content);
}

static void
event_of_a_known_place_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct account_event ev = event_at(1, "{}");
	struct transaction txn;
	bool new;

	queue(f, 1, 1, "irc");
	begin(f);
	assert_false(put(f, 1, "{\"other\":1}", "irc", KEY));
	assert_false(put(f, 1, "{}", "late", KEY));
	ev.ordinal = 1;
	assert_int_equal(store_put_event(f->s, LOG, &ev, NULL, 0, 1, &new, &f->e), 0);
	assert_true(new);
	ev.rule = "synapse/other";
	assert_int_equal(store_put_event(f->s, LOG, &ev, NULL, 0, 1, &new, &f->e), 0);
	assert_true(new);
	commit(f);
	assert_int_equal(waiting(f), 1);
	assert_int_equal(next(f, "late", &txn), 0);
	assert_int_equal(next(f, "irc", &txn), 1);
	assert_null(strstr(txn.body, "other"));
}

/* ---- transactions ------------------------------------------------------ */

static void
body_is_as_the_contract_says(void **state)
{
	struct fixture *f = *state;
	struct transaction txn;

	begin(f);
	assert_true(put(f, 1, "{\"user_id\":\"@a:b\"}", "irc", KEY));
	assert_true(put(f, 2, "{}", "irc", KEY));
	commit(f);
	assert_int_equal(next(f, "irc", &txn), 1);
	assert_int_equal(txn.events, 2);
	assert_int_equal(txn.body_len, strlen(txn.body));
	assert_string_equal(txn.body,
	    "{\"events\":[],\"m.synthetic_events\":["
	    "{\"type\":\"m.user.login\",\"content\":{\"user_id\":\"@a:b\"},\"ts\":1001},"
	    "{\"type\":\"m.user.login\",\"content\":{},\"ts\":1002}]}");
}

static void
id_never_looks_like_an_integer_nor_repeats(void **state)
{
	struct fixture *f = *state;
	struct transaction one, two;

	queue(f, 1, 1, "irc");
	queue(f, 2, 2, "xmpp");
	assert_int_equal(next(f, "irc", &one), 1);
	assert_int_equal(strncmp(one.id, "hs-", 3), 0);
	assert_int_equal(strspn(one.id + 3, "0123456789abcdef"), 32);
	assert_int_equal(strspn(one.id, "hs-0123456789abcdef"), strlen(one.id));
	assert_int_equal(next(f, "xmpp", &two), 1);
	assert_string_not_equal(one.id, two.id);

	/* A store put back from a backup counts again from where the backup was. */
	accept_now(f, "irc", one.id);
	queue(f, 3, 3, "irc");
	assert_int_equal(next(f, "irc", &one), 1);
	store_close(f->s);
	run_sql(f,
	    "DELETE FROM deliveries WHERE event = 3;"
	    "UPDATE meta SET sequence = 2;"
	    "DELETE FROM transactions WHERE seq = 3; DELETE FROM events WHERE id = 3");
	f->s = opened(f, STORE_OWN);
	queue(f, 3, 3, "irc");
	assert_int_equal(next(f, "irc", &two), 1);
	assert_string_not_equal(one.id, two.id);
}

static void
id_and_bytes_stay_until_accepted(void **state)
{
	struct fixture *f = *state;
	struct transaction first, again;
	int i;

	queue(f, 1, 2, "irc");
	assert_int_equal(next(f, "irc", &first), 1);
	assert_int_equal(first.attempts, 0);
	assert_int_equal(first.first_try_ms, 0);
	assert_int_equal(first.next_try_ms, 0);
	assert_int_equal(first.formed_ms, 60);
	for (i = 1; i <= 3; i++) {
		assert_int_equal(store_failed(f->s, "irc", first.id, 500, "HTTP 500",
				     STORE_TRY_AGAIN, 900 + i, 100 + i, &f->e),
		    0);
		queue(f, (uint64_t)i * 10, (uint64_t)i * 10, "irc");
		reopen(f);
		assert_int_equal(next_at(f, "irc", 200, &again), 1);
		assert_string_equal(again.id, first.id);
		assert_string_equal(again.body, first.body);
		assert_int_equal(again.attempts, i);
		assert_int_equal(again.first_try_ms, 101);
		assert_int_equal(again.next_try_ms, 900 + i);
	}
	/* The clock was set back behind the last attempt: it is due, whatever was noted. */
	assert_int_equal(next_at(f, "irc", 100, &again), 1);
	assert_int_equal(again.next_try_ms, 0);
	assert_int_equal(waiting(f), 5);
	accept_now(f, "irc", first.id);
	assert_int_equal(waiting(f), 3);
	assert_int_equal(next(f, "irc", &again), 1);
	assert_string_not_equal(again.id, first.id);
	assert_int_equal(again.events, 3);
}

static void
accepting_twice_counts_once(void **state)
{
	struct fixture *f = *state;
	struct store_queue_status *q;
	struct transaction txn;
	size_t count;

	queue(f, 1, 2, "irc");
	queue(f, 3, 3, "irc");
	assert_int_equal(next(f, "irc", &txn), 1);
	accept_now(f, "irc", txn.id);
	accept_now(f, "irc", txn.id);
	assert_int_equal(waiting(f), 0);
	assert_int_equal(store_queue_statuses(f->s, f->a, &q, &count, &f->e), 0);
	assert_int_equal(q[0].accepted, 3);
	/* One that is not there was discarded, maybe. */
	assert_int_equal(store_accepted(f->s, "irc", "hs-0-0", 200, 1, &f->e), 0);
	assert_int_equal(store_accepted(f->s, "xmpp", txn.id, 200, 1, &f->e), 0);
	assert_int_equal(
	    store_failed(f->s, "irc", txn.id, 500, "", STORE_SET_ASIDE, 1, 1, &f->e), 0);
}

static void
transactions_keep_the_order_and_hold_at_most_100(void **state)
{
	struct fixture *f = *state;
	static const unsigned sizes[] = {100, 100, 50};
	struct transaction txn;
	int64_t ts = 1001;
	size_t i;

	queue(f, 1, 250, "irc");
	for (i = 0; i < 3; i++) {
		struct json_object *body, *list;
		size_t n;

		assert_int_equal(next(f, "irc", &txn), 1);
		assert_int_equal(txn.events, sizes[i]);
		body = json_tokener_parse(txn.body);
		list = json_object_object_get(body, KEY);
		assert_int_equal(json_object_array_length(list), sizes[i]);
		for (n = 0; n < sizes[i]; n++)
			assert_int_equal(json_object_get_int64(json_object_object_get(
					     json_object_array_get_idx(list, n), "ts")),
			    ts++);
		(void)json_object_put(body);
		accept_now(f, "irc", txn.id);
	}
	assert_int_equal(next(f, "irc", &txn), 0);
}

/* A JSON object of len bytes. */
static char *
large(size_t len)
{
	char *s = xmalloc(len + 1);

	memset(s, 'x', len);
	memcpy(s, "{\"a\":\"", 6);
	memcpy(s + len - 2, "\"}", 3);
	return s;
}

static void
bodies_hold_at_most_512_kib(void **state)
{
	struct fixture *f = *state;
	char *half = large(TXN_BODY_MAX / 2 - 200), *more = large(TXN_BODY_MAX);
	struct transaction txn;

	begin(f);
	(void)put(f, 1, half, "irc", KEY);
	(void)put(f, 2, half, "irc", KEY);
	(void)put(f, 3, half, "irc", KEY);
	(void)put(f, 4, more, "irc", KEY);
	(void)put(f, 5, "{}", "irc", KEY);
	commit(f);
	assert_int_equal(next(f, "irc", &txn), 1);
	assert_int_equal(txn.events, 2);
	assert_true(txn.body_len <= TXN_BODY_MAX);
	accept_now(f, "irc", txn.id);
	assert_int_equal(next(f, "irc", &txn), 1);
	assert_int_equal(txn.events, 1);
	accept_now(f, "irc", txn.id);
	assert_int_equal(next(f, "irc", &txn), 1);
	assert_int_equal(txn.events, 1); /* alone, although too large */
	assert_true(txn.body_len > TXN_BODY_MAX);
	accept_now(f, "irc", txn.id);
	assert_int_equal(next(f, "irc", &txn), 1);
	assert_int_equal(txn.events, 1);
	free(half);
	free(more);
}

/* The limit holds to the byte: one body that fills it, one that is a byte over. */
static void
limit_of_bytes_is_exact(void **state)
{
	struct fixture *f = *state;
	size_t rest = TXN_BODY_MAX -
	    strlen("{\"events\":[],\"m.synthetic_events\":["
		   "{\"type\":\"m.user.login\",\"content\":{},"
		   "\"ts\":1001},"
		   "{\"type\":\"m.user.login\",\"content\":,"
		   "\"ts\":1002}]}");
	struct transaction txn;
	size_t over;

	for (over = 0; over < 2; over++) {
		char *content = large(rest + over);

		begin(f);
		(void)put(f, 1, "{}", "irc", KEY);
		(void)put(f, 2, content, "irc", KEY);
		commit(f);
		assert_int_equal(next(f, "irc", &txn), 1);
		assert_int_equal(txn.events, over == 0 ? 2 : 1);
		if (over == 0)
			assert_int_equal(txn.body_len, TXN_BODY_MAX);
		free(content);
		remove_store(f);
		f->s = opened(f, STORE_OWN);
	}
}

static void
another_key_begins_another_transaction(void **state)
{
	struct fixture *f = *state;
	struct transaction txn;

	begin(f);
	(void)put(f, 1, "{}", "irc", KEY);
	(void)put(f, 2, "{}", "irc", UNSTABLE);
	(void)put(f, 3, "{}", "irc", UNSTABLE);
	(void)put(f, 4, "{}", "irc", KEY);
	commit(f);
	assert_int_equal(next(f, "irc", &txn), 1);
	assert_int_equal(txn.events, 1);
	accept_now(f, "irc", txn.id);
	assert_int_equal(next(f, "irc", &txn), 1);
	assert_int_equal(txn.events, 2);
	assert_non_null(strstr(txn.body, "\"" UNSTABLE "\":["));
	accept_now(f, "irc", txn.id);
	assert_int_equal(next(f, "irc", &txn), 1);
	assert_int_equal(txn.events, 1);
	assert_non_null(strstr(txn.body, "\"" KEY "\":["));
}

static void
queues_are_apart(void **state)
{
	struct fixture *f = *state;
	struct store_delivery to[2] = {{"irc", KEY, "m.user.login"},
	    {"xmpp", UNSTABLE, "uk.half-shot.msc3395.user.login"}};
	struct account_event ev = event_at(1, "{}");
	struct transaction one, two;

	begin(f);
	assert_int_equal(store_put_event(f->s, LOG, &ev, to, 2, 1, NULL, &f->e), 0);
	commit(f);
	assert_int_equal(waiting(f), 2);
	assert_int_equal(next(f, "irc", &one), 1);
	accept_now(f, "irc", one.id);
	assert_int_equal(next(f, "irc", &one), 0);
	assert_int_equal(next(f, "xmpp", &two), 1);
	assert_non_null(strstr(two.body, "\"uk.half-shot.msc3395.user.login\""));
	assert_int_equal(next(f, "nobody", &two), 0);
}

/* ---- opening ----------------------------------------------------------- */

static void
assert_refused(struct fixture *f, enum store_mode mode, const char *words)
{
	struct store *s = store_open_as(f->path, INSTANCE, mode, &f->e);

	assert_null(s);
	if (strstr(f->e.text, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", f->e.text, words);
}

static void
second_owner_is_told_the_pid_of_the_first(void **state)
{
	struct fixture *f = *state;
	char words[64];
	int status;
	pid_t pid;

	(void)snprintf(words, sizeof(words), "process %ld", (long)getpid());
	assert_refused(f, STORE_OWN, words);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		struct store *s = store_open_as(f->path, INSTANCE, STORE_OWN, &f->e);

		_exit(s == NULL && strstr(f->e.text, words) != NULL ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	queue(f, 1, 1, "irc"); /* the first still has it */
}

static void
store_is_private(void **state)
{
	struct fixture *f = *state;
	mode_t before;
	struct stat st;
	char wal[320];

	remove_store(f);
	before = umask(0);
	f->s = opened(f, STORE_OWN);
	queue(f, 1, 1, "irc");
	(void)umask(before);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	(void)snprintf(wal, sizeof(wal), "%s-wal", f->path);
	assert_int_equal(stat(wal, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

/* A backup that reads for long only makes the daemon wait: it says that this passes. */
static void
reader_makes_the_owner_wait(void **state)
{
	struct fixture *f = *state;
	sqlite3 *reader;

	queue(f, 1, 1, "irc");
	assert_int_equal(sqlite3_open(f->path, &reader), SQLITE_OK);
	assert_int_equal(
	    sqlite3_exec(reader, "BEGIN; SELECT * FROM events", NULL, NULL, NULL),
	    SQLITE_OK);
	queue(f, 2, 1, "irc");
	store_close(f->s);
	f->s = store_open_own(f->path, INSTANCE, -1, &f->e);
	assert_null(f->s);
	assert_true(f->e.passes);
	assert_non_null(strstr(f->e.text, "another program"));
	assert_int_equal(sqlite3_close_v2(reader), SQLITE_OK);
	f->s = opened(f, STORE_OWN);
}

static void
newer_schema_is_refused(void **state)
{
	struct fixture *f = *state;

	store_close(f->s);
	f->s = NULL;
	run_sql(f, f->variant->kind->set_version);
	assert_refused(f, STORE_OWN, "newer hearsay");
	assert_refused(f, STORE_READ, "newer hearsay");
}

static void
foreign_database_is_refused(void **state)
{
	struct fixture *f = *state;

	remove_store(f);
	run_sql(f, f->variant->kind->other_program);
	assert_refused(f, STORE_OWN, "another program");
	assert_refused(f, STORE_READ, "another program");
}

static void
overwrite(struct fixture *f, off_t offset, const char *text, size_t times)
{
	int fd = open(f->path, O_WRONLY);

	assert_int_not_equal(fd, -1);
	assert_int_equal(lseek(fd, offset, SEEK_SET), offset);
	while (times-- > 0)
		assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
}

static void
garbage_is_refused(void **state)
{
	struct fixture *f = *state;

	store_close(f->s);
	f->s = NULL;
	overwrite(f, 0, "this is no database at all\n", 400);
	assert_refused(f, STORE_OWN, "no store of hearsay");
	assert_refused(f, STORE_READ, "no store of hearsay");
}

static void
damaged_store_is_refused_with_the_way_on(void **state)
{
	struct fixture *f = *state;

	queue(f, 1, 500, "irc");
	store_close(f->s);
	f->s = NULL;
	overwrite(f, 4096, "\xff\xfe", 20000);
	assert_refused(f, STORE_OWN, "store rebuild");
}

static void
truncated_store_is_refused(void **state)
{
	struct fixture *f = *state;

	queue(f, 1, 500, "irc");
	store_close(f->s);
	f->s = NULL;
	assert_int_equal(truncate(f->path, 8192), 0);
	assert_refused(f, STORE_OWN, "store rebuild");
}

static void
store_of_version_1_keeps_everything(void **state)
{
	struct fixture *f = *state;
	struct store_queue_status *q;
	struct store_which accepted = {.accepted = true};
	struct store_told *told;
	struct transaction txn;
	struct checkpoint *cps;
	size_t n;

	remove_store(f);
	run_sql(f, f->variant->kind->version_1);
	assert_refused(f, STORE_READ, "older hearsay");
	assert_refused(f, STORE_EDIT, "older hearsay");

	f->s = opened(f, STORE_OWN);
	if (f->variant->kind == &sqlite_kind)
		assert_int_equal(number_in(f, "PRAGMA auto_vacuum"), 2);
	assert_int_equal(waiting(f), 4);
	assert_int_equal(checkpoints(f, LOG, &cps), 1);
	assert_int_equal(cps[0].offset, 900);
	free_all(cps, 1);
	assert_int_equal(store_queue_statuses(f->s, f->a, &q, &n, &f->e), 0);
	assert_int_equal(n, 2);
	assert_int_equal(q[0].queued, 3);
	assert_int_equal(q[0].oldest_ms, 22);
	assert_int_equal(q[0].accepted, 1);
	assert_int_equal(q[0].attempts, 3);
	assert_int_equal(q[0].next_try_ms, 99);
	assert_string_equal(q[0].last_error, "HTTP 503");
	assert_int_equal(q[0].held_ms, 0);
	assert_int_equal(q[1].queued, 1);
	assert_int_equal(store_tell(f->s, &accepted, 0, f->a, &told, &n, &f->e), 0);
	assert_int_equal(n, 1);
	assert_string_equal(told[0].txn, "hs-0-1");
	assert_string_equal(told[0].content, "{\"n\":1}");
	assert_int_equal(told[0].accepted_ms, 50);

	assert_int_equal(next(f, "irc", &txn), 1);
	assert_string_equal(txn.id, "hs-0-2");
	assert_string_equal(txn.body, "{\"b\":2}");
	assert_int_equal(txn.attempts, 3);
	accept_now(f, "irc", txn.id);
	assert_int_equal(next(f, "irc", &txn), 1);
	assert_non_null(strstr(txn.body, "{\"n\":4}"));
}

/* ---- by hand ------------------------------------------------------------ */

static uint64_t
edit(struct fixture *f, const char *appservice, const char *id, enum store_edit how)
{
	uint64_t events;

	assert_int_equal(store_edit(f->s, appservice, id, how, 90, &events, &f->e), 1);
	return events;
}

static void
set_aside(struct fixture *f, const char *appservice, const char *id)
{
	assert_int_equal(store_failed(f->s, appservice, id, 400, "HTTP 400",
			     STORE_SET_ASIDE, 0, 80, &f->e),
	    0);
}

static bool
was_told(struct fixture *f, uint64_t offset, const char *appservice)
{
	struct account_event ev = event_at(offset, "{}");
	bool told;

	assert_int_equal(store_was_told(f->s, appservice, &ev, &told, &f->e), 0);
	return told;
}

static void
places_are_remembered_for_each_appservice(void **state)
{
	struct fixture *f = *state;
	struct transaction txn;

	queue(f, 1, 1, "irc");
	queue(f, 2, 2, "xmpp");
	begin(f);
	assert_true(was_told(f, 1, "irc"));
	assert_false(was_told(f, 1, "xmpp"));
	assert_false(was_told(f, 2, "irc"));
	assert_false(was_told(f, 1, "nobody"));
	assert_false(was_told(f, 3, "irc"));
	commit(f);
	assert_int_equal(next(f, "irc", &txn), 1);
	accept_now(f, "irc", txn.id);
	begin(f);
	assert_true(was_told(f, 1, "irc"));
	store_rollback(f->s);
}

static void
refusals_are_counted_apart(void **state)
{
	struct fixture *f = *state;
	struct transaction txn;

	queue(f, 1, 1, "irc");
	assert_int_equal(next(f, "irc", &txn), 1);
	assert_int_equal(
	    store_failed(f->s, "irc", txn.id, 500, "a", STORE_TRY_AGAIN, 1, 70, &f->e),
	    0);
	assert_int_equal(
	    store_failed(f->s, "irc", txn.id, 400, "b", STORE_REFUSED, 1, 80, &f->e), 0);
	assert_int_equal(
	    store_failed(f->s, "irc", txn.id, 400, "c", STORE_REFUSED, 1, 90, &f->e), 0);
	reopen(f);
	assert_int_equal(next(f, "irc", &txn), 1);
	assert_int_equal(txn.attempts, 3);
	assert_int_equal(txn.refusals, 2);
	assert_int_equal(txn.first_try_ms, 70);
	assert_int_equal(txn.first_refusal_ms, 80);
}

static void
dead_letter_lets_the_next_pass_and_comes_back_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct transaction first, second, again;

	queue(f, 1, 150, "irc");
	assert_int_equal(next(f, "irc", &first), 1);
	set_aside(f, "irc", first.id);
	assert_int_equal(waiting(f), 50);
	assert_int_equal(next(f, "irc", &second), 1);
	assert_string_not_equal(second.id, first.id);
	reopen(f);
	assert_int_equal(waiting(f), 50);
	assert_int_equal(edit(f, "irc", NULL, STORE_RETRY_DEAD), 100);
	assert_int_equal(waiting(f), 150);
	/* The older is first again. */
	assert_int_equal(next(f, "irc", &again), 1);
	assert_string_equal(again.id, first.id);
	assert_string_equal(again.body, first.body);
	assert_int_equal(again.attempts, 0);
	accept_now(f, "irc", second.id);
	accept_now(f, "irc", first.id);
	assert_int_equal(waiting(f), 0);
	assert_int_equal(next(f, "irc", &again), 0);
}

static void
edits_of_what_is_not_there_do_nothing(void **state)
{
	static const enum store_edit edits[] = {
	    STORE_HOLD, STORE_RELEASE, STORE_RETRY, STORE_RETRY_DEAD, STORE_DISCARD};
	struct fixture *f = *state;
	struct transaction txn;
	uint64_t events;
	size_t i;

	queue(f, 1, 1, "irc");
	assert_int_equal(next(f, "irc", &txn), 1);
	for (i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
		assert_int_equal(
		    store_edit(f->s, "irc", "hs-0", edits[i], 1, &events, &f->e), 0);
		assert_int_equal(
		    store_edit(f->s, "xmpp", txn.id, edits[i], 1, &events, &f->e), 0);
	}
	accept_now(f, "irc", txn.id);
	for (i = 0; i < sizeof(edits) / sizeof(edits[0]); i++)
		assert_int_equal(
		    store_edit(f->s, "irc", txn.id, edits[i], 1, &events, &f->e), 0);
}

static void
discard_leaves_the_others(void **state)
{
	struct fixture *f = *state;
	const struct store_delivery both[] = {
	    {"irc", KEY, "m.user.login"}, {"xmpp", KEY, "m.user.login"}};
	struct account_event ev = event_at(1, "{}");
	struct transaction txn;

	begin(f);
	assert_int_equal(store_put_event(f->s, LOG, &ev, both, 2, 50, NULL, &f->e), 0);
	commit(f);
	queue(f, 2, 700, "irc");
	assert_int_equal(next(f, "irc", &txn), 1);
	set_aside(f, "irc", txn.id);
	assert_int_equal(next(f, "irc", &txn), 1);
	assert_int_equal(edit(f, "irc", txn.id, STORE_DISCARD), 100);
	assert_int_equal(waiting(f), 501);
	assert_int_equal(edit(f, "irc", NULL, STORE_DISCARD), 600);
	assert_int_equal(waiting(f), 1);
	assert_int_equal(next(f, "irc", &txn), 0);
	assert_int_equal(next(f, "xmpp", &txn), 1);
	assert_int_equal(number_in(f, "SELECT count(*) FROM events"), 1);
	assert_int_equal(number_in(f, "SELECT count(*) FROM transactions"), 1);
}

static void
await_notice(struct fixture *f)
{
	struct pollfd p = {.fd = store_fd(f->s), .events = POLLIN};

	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(store_noticed(f->s, &f->e), 1);
}

static void
second_process_edits_beside_the_owner(void **state)
{
	struct fixture *f = *state;
	struct transaction txn;
	struct store *other;
	uint64_t events;

	queue(f, 1, 3, "irc");
	assert_int_not_equal(store_fd(f->s), -1);
	other = opened(f, STORE_EDIT);
	assert_int_equal(
	    store_edit(other, "irc", NULL, STORE_HOLD, 90, &events, &f->e), 1);
	await_notice(f);
	assert_int_equal(next(f, "irc", &txn), 0);
	assert_int_equal(waiting(f), 3);
	assert_int_equal(
	    store_edit(other, "irc", NULL, STORE_DISCARD, 90, &events, &f->e), 1);
	assert_int_equal(events, 3);
	assert_int_equal(waiting(f), 0);
	queue(f, 4, 4, "irc");
	assert_int_equal(waiting(f), 1);
	store_close(f->s);
	f->s = NULL;
	assert_int_equal(
	    store_edit(other, "irc", NULL, STORE_RELEASE, 90, &events, &f->e), 1);
	store_close(other);
	f->s = opened(f, STORE_OWN);
	assert_int_equal(next(f, "irc", &txn), 1);
}

/* Its own commits must not wake the owner: it would never sleep. */
static void
owner_is_not_woken_by_itself(void **state)
{
	struct fixture *f = *state;
	struct pollfd p = {.fd = store_fd(f->s), .events = POLLIN};
	struct transaction txn;

	queue(f, 1, 3, "irc");
	assert_int_equal(next(f, "irc", &txn), 1);
	accept_now(f, "irc", txn.id);
	assert_int_equal(poll(&p, 1, 0), 0);
}

/* ---- what was accepted long ago ------------------------------------------- */

static int
forget(struct fixture *f, int64_t before, int64_t *oldest_ms)
{
	int rc = store_forget(f->s, before, UINT64_MAX, oldest_ms, &f->e);

	if (rc == -1)
		fail_msg("%s", f->e.text);
	return rc;
}

static void
accepted_is_kept_and_forgotten_by_age(void **state)
{
	struct fixture *f = *state;
	struct store_which accepted = {.accepted = true};
	struct store_size size;
	struct store_told *told;
	struct transaction txn;
	int64_t oldest, steps, i;
	size_t n;

	queue(f, 1, 1000, "irc");
	queue(f, 1001, 1001, "xmpp");
	for (i = 0; next(f, "irc", &txn) == 1; i++)
		assert_int_equal(
		    store_accepted(f->s, "irc", txn.id, 200, 1000 + i, &f->e), 0);
	assert_int_equal(store_size(f->s, &size, &f->e), 0);
	assert_int_equal(size.kept, 10);
	assert_int_equal(size.oldest_ms, 1000);

	while (forget(f, 1000, &oldest) == 1)
		;
	assert_int_equal(oldest, 1000);
	for (steps = 0; forget(f, 1008, &oldest) == 1; steps++)
		;
	assert_true(steps >= 2); /* in parts */
	assert_int_equal(oldest, 1008);
	assert_int_equal(number_in(f, "SELECT count(*) FROM transactions"), 2);
	assert_int_equal(number_in(f, "SELECT count(*) FROM events"), 201);
	accepted.since_ms = 1009;
	assert_int_equal(store_tell(f->s, &accepted, 0, f->a, &told, &n, &f->e), 0);
	assert_int_equal(n, STORE_PAGE);
	while (forget(f, INT64_MAX, &oldest) == 1)
		;
	assert_int_equal(oldest, 0);
	/* What waits stays. */
	assert_int_equal(waiting(f), 1);
	assert_int_equal(number_in(f, "SELECT count(*) FROM events"), 1);
	assert_int_equal(next(f, "xmpp", &txn), 1);
}

static void
events_for_nobody_are_forgotten_too(void **state)
{
	struct fixture *f = *state;
	struct account_event ev;
	int64_t oldest;
	uint64_t i;

	begin(f);
	for (i = 1; i <= 1000; i++) {
		ev = event_at(i, "{}");
		assert_int_equal(store_put_event(f->s, LOG, &ev, NULL, 0,
				     i <= 900 ? 10 : 20, NULL, &f->e),
		    0);
	}
	commit(f);
	queue(f, 2000, 2000, "irc");
	while (forget(f, 15, &oldest) == 1)
		;
	assert_int_equal(number_in(f, "SELECT count(*) FROM events"), 101);
	while (forget(f, 100, &oldest) == 1)
		;
	assert_int_equal(number_in(f, "SELECT count(*) FROM events"), 1);
}

static void
store_has_a_bound_and_gives_room_back(void **state)
{
	struct fixture *f = *state;
	char *content = xmalloc(20001);
	struct store_size full, small;
	struct transaction txn;
	int64_t oldest, i;
	int more;

	memset(content, ' ', 20000);
	memcpy(content, "{}", 2);
	content[20000] = '\0';
	begin(f);
	for (i = 1; i <= 600; i++)
		(void)put(f, (uint64_t)i, content, "irc", KEY);
	commit(f);
	free(content);
	for (i = 0; next(f, "irc", &txn) == 1; i++)
		assert_int_equal(
		    store_accepted(f->s, "irc", txn.id, 200, 1000 + i, &f->e), 0);
	assert_int_equal(store_size(f->s, &full, &f->e), 0);
	assert_true(full.bytes > 12000000);
	/* Nothing is old, but it is too much. */
	while ((more = store_forget(f->s, 0, 3000000, &oldest, &f->e)) == 1)
		;
	assert_int_equal(more, 0);
	assert_int_equal(store_size(f->s, &small, &f->e), 0);
	assert_true(small.bytes - small.free_bytes <= 3000000);
	assert_true(small.bytes < full.bytes / 2);
	assert_true(small.kept > 0);
}

/* On a full disk the file cannot grow, and what waits is delivered all the same. */
static void
delivery_needs_no_more_of_the_disk(void **state)
{
	struct fixture *f = *state;
	char content[4001], log[320];
	struct transaction txn;
	struct stat st;
	int64_t i, pages;

	memset(content, ' ', 4000);
	memcpy(content, "{}", 2);
	content[4000] = '\0';
	begin(f);
	for (i = 1; i <= 1500; i++) {
		(void)put(f, (uint64_t)i, content, "irc", KEY);
		(void)put(f, (uint64_t)i + 1500, content, "xmpp", KEY);
	}
	commit(f);
	pages = number_in(f, "PRAGMA page_count");
	for (i = 0; next(f, i % 2 == 0 ? "irc" : "xmpp", &txn) == 1; i++) {
		assert_int_equal(store_failed(f->s, i % 2 == 0 ? "irc" : "xmpp", txn.id,
				     500, content, STORE_TRY_AGAIN, 1, 70, &f->e),
		    0);
		assert_int_equal(store_accepted(f->s, i % 2 == 0 ? "irc" : "xmpp", txn.id,
				     200, 80, &f->e),
		    0);
	}
	assert_true(i >= 30);
	assert_int_equal(waiting(f), 0);
	assert_int_equal(number_in(f, "PRAGMA page_count"), pages);
	assert_int_equal(number_in(f,
			     "SELECT count(*) FROM pragma_integrity_check "
			     "WHERE integrity_check <> 'ok'"),
	    0);

	store_close(f->s);
	f->s = NULL;
	(void)snprintf(log, sizeof(log), "%s-wal", f->path);
	assert_int_equal(stat(log, &st), 0);
	assert_int_equal(st.st_size, 16 * 1024 * 1024);
}

/* ---- looking ----------------------------------------------------------- */

static void
reader_looks_beside_the_owner_and_without(void **state)
{
	struct fixture *f = *state;
	struct store_queue_status *q;
	struct store *r;
	uint64_t count;
	size_t n;

	queue(f, 1, 3, "irc");
	r = opened(f, STORE_READ);
	assert_int_equal(store_waiting(r, &count, &f->e), 0);
	assert_int_equal(count, 3);
	queue(f, 4, 4, "irc"); /* the reader is in nobody's way */
	assert_int_equal(store_waiting(r, &count, &f->e), 0);
	assert_int_equal(count, 4);
	assert_int_equal(store_begin(r, &f->e), -1);
	store_close(f->s);
	f->s = NULL;
	assert_int_equal(store_queue_statuses(r, f->a, &q, &n, &f->e), 0);
	assert_int_equal(q[0].queued, 4);
	store_close(r);
	r = opened(f, STORE_READ);
	assert_int_equal(store_queue_statuses(r, f->a, &q, &n, &f->e), 0);
	assert_int_equal(q[0].queued, 4);
	store_close(r);
	remove_store(f);
	assert_refused(f, STORE_READ, "no store");
}

static void
queue_statuses_tell_all(void **state)
{
	struct fixture *f = *state;
	struct store_queue_status *q;
	struct transaction txn;
	size_t n;

	assert_int_equal(store_queue_statuses(f->s, f->a, &q, &n, &f->e), 0);
	assert_int_equal(n, 0);
	queue(f, 1, 101, "irc");
	queue(f, 102, 102, "xmpp");
	assert_int_equal(next(f, "irc", &txn), 1);
	assert_int_equal(store_failed(f->s, "irc", txn.id, 503, "HTTP 503",
			     STORE_TRY_AGAIN, 99, 80, &f->e),
	    0);
	assert_int_equal(store_queue_statuses(f->s, f->a, &q, &n, &f->e), 0);
	assert_int_equal(n, 2);
	assert_string_equal(q[0].appservice, "irc");
	assert_int_equal(q[0].queued, 101);
	assert_int_equal(q[0].oldest_ms, 50);
	assert_int_equal(q[0].accepted, 0);
	assert_int_equal(q[0].last_failure_ms, 80);
	assert_int_equal(q[0].last_success_ms, 0);
	assert_int_equal(q[0].last_status, 503);
	assert_string_equal(q[0].last_error, "HTTP 503");
	assert_int_equal(q[0].attempts, 1);
	assert_int_equal(q[0].next_try_ms, 99);
	assert_string_equal(q[1].appservice, "xmpp");
	assert_int_equal(q[1].queued, 1);
	assert_int_equal(q[1].oldest_ms, 50);
	assert_string_equal(q[1].last_error, "");

	accept_now(f, "irc", txn.id);
	assert_int_equal(store_queue_statuses(f->s, f->a, &q, &n, &f->e), 0);
	assert_int_equal(q[0].queued, 1);
	assert_int_equal(q[0].accepted, 100);
	assert_int_equal(q[0].last_success_ms, 70);
	assert_int_equal(q[0].last_status, 200);
	assert_int_equal(q[0].attempts, 0);
}

static void
what_is_followed_keeps_its_time(void **state)
{
	struct fixture *f = *state;
	int64_t since = 1;

	assert_int_equal(store_followed(f->s, "/logs/*.log", &since, &f->e), 0);
	assert_int_equal(since, 0);
	begin(f);
	assert_int_equal(store_put_followed(f->s, "/logs/*.log", 77, &f->e), 0);
	commit(f);
	begin(f);
	assert_int_equal(store_put_followed(f->s, "/logs/*.log", 99, &f->e), 0);
	commit(f);
	reopen(f);
	assert_int_equal(store_followed(f->s, "/logs/*.log", &since, &f->e), 0);
	assert_int_equal(since, 77);
	assert_int_equal(store_followed(f->s, "/logs/a.log", &since, &f->e), 0);
	assert_int_equal(since, 0);
}

static void
log_statuses_tell_all(void **state)
{
	struct fixture *f = *state;
	struct store_log_status *l;
	struct checkpoint cps[2];
	char a[] = "/log/a.1", b[] = "/log/a", name[] = "00";
	size_t n;
	int i;

	cps[0] = checkpoint_of(1, 1, a);
	cps[1] = checkpoint_of(2, 2, b);
	begin(f);
	for (i = 0; i < 40; i++) {
		name[0] = (char)('0' + i / 10);
		name[1] = (char)('0' + i % 10);
		assert_int_equal(store_put_checkpoints(f->s, name, cps, 2, 33, &f->e), 0);
	}
	(void)put(f, 1, "{}", "irc", KEY);
	assert_int_equal(store_put_health(f->s, "38", "is ill", 44, &f->e), 0);
	assert_int_equal(store_put_health(f->s, "39", "is ill", 44, &f->e), 0);
	assert_int_equal(store_put_health(f->s, "39", "", 55, &f->e), 0);
	commit(f);
	assert_int_equal(store_log_statuses(f->s, f->a, &l, &n, &f->e), 0);
	assert_int_equal(n, 41);
	assert_string_equal(l[39].health, "is ill");
	assert_int_equal(l[39].health_ms, 44);
	assert_string_equal(l[40].health, "");
	assert_int_equal(l[40].health_ms, 55);
	assert_string_equal(l[0].health, "");
	assert_int_equal(l[0].health_ms, 0);
	assert_string_equal(l[0].log, LOG);
	assert_int_equal(l[0].files, 0);
	assert_null(l[0].newest);
	assert_int_equal(l[0].events, 1);
	assert_string_equal(l[40].log, "39");
	assert_int_equal(l[40].files, 2);
	assert_checkpoint(l[40].newest, &cps[1]);
	assert_int_equal(l[40].read_ms, 33);
	assert_int_equal(l[40].events, 0);
}

#define ON(kind, f)                                                                      \
	{                                                                                \
		.name = #f " on " #kind, .test_func = run, .setup_func = setup,          \
		.teardown_func = teardown,                                               \
		.initial_state = &(struct variant){f, &kind##_kind},                     \
	}
#define SQLITE(f) ON(sqlite, f)
#ifdef HAVE_POSTGRESQL
#define POSTGRESQL(f) ON(postgresql, f)
#define BOTH(f) SQLITE(f), POSTGRESQL(f)
#else
#define BOTH(f) SQLITE(f)
#define stop_server NULL
#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    BOTH(checkpoints_come_back_as_they_were),
	    BOTH(files_of_all_logs),
	    BOTH(rollback_leaves_nothing),
	    BOTH(kill_in_the_middle_leaves_what_was_committed),
	    SQLITE(failed_write_leaves_the_store_as_it_was),
	    BOTH(event_of_a_known_place_is_left_alone),
	    BOTH(body_is_as_the_contract_says),
	    BOTH(id_never_looks_like_an_integer_nor_repeats),
	    BOTH(id_and_bytes_stay_until_accepted),
	    BOTH(accepting_twice_counts_once),
	    BOTH(transactions_keep_the_order_and_hold_at_most_100),
	    BOTH(bodies_hold_at_most_512_kib),
	    BOTH(limit_of_bytes_is_exact),
	    BOTH(another_key_begins_another_transaction),
	    BOTH(queues_are_apart),
	    BOTH(second_owner_is_told_the_pid_of_the_first),
	    SQLITE(store_is_private),
	    SQLITE(reader_makes_the_owner_wait),
	    BOTH(newer_schema_is_refused),
	    BOTH(foreign_database_is_refused),
	    SQLITE(garbage_is_refused),
	    SQLITE(damaged_store_is_refused_with_the_way_on),
	    SQLITE(truncated_store_is_refused),
	    BOTH(store_of_version_1_keeps_everything),
	    BOTH(places_are_remembered_for_each_appservice),
	    BOTH(refusals_are_counted_apart),
	    BOTH(dead_letter_lets_the_next_pass_and_comes_back_as_it_was),
	    BOTH(edits_of_what_is_not_there_do_nothing),
	    BOTH(discard_leaves_the_others),
	    BOTH(second_process_edits_beside_the_owner),
	    BOTH(owner_is_not_woken_by_itself),
	    BOTH(accepted_is_kept_and_forgotten_by_age),
	    BOTH(events_for_nobody_are_forgotten_too),
	    SQLITE(store_has_a_bound_and_gives_room_back),
	    SQLITE(delivery_needs_no_more_of_the_disk),
	    BOTH(reader_looks_beside_the_owner_and_without),
	    BOTH(queue_statuses_tell_all),
	    BOTH(what_is_followed_keeps_its_time),
	    BOTH(log_statuses_tell_all),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, stop_server);
}
