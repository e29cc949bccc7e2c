#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "extract/account_event.h"
#include "store/repair.h"
#include "store/store.h"
#include "store_version_1.h"
#include "tail/checkpoint.h"

#define LOG "/var/log/homeserver.log"
#define PAGE 4096
#define EVENTS 700

struct fixture {
	char dir[256];
	char path[300];
	char sound[300]; /* a copy of the store as it should be */
	struct repair_report report;
	struct err_list problems;
	struct arena *a;
	struct err e;
};

static struct store *
opened(struct fixture *f, enum store_mode mode)
{
	struct store *s = store_open(f->path, mode, &f->e);

	if (s == NULL)
		fail_msg("%s", f->e.text);
	return s;
}

/* Commit one more event, for one appservice. */
static void
put_one(struct store *s, uint64_t offset, struct err *e)
{
	const struct store_delivery to = {"irc", "m.synthetic_events", "m.user.login"};
	struct account_event ev = {.file = 5,
	    .offset = offset,
	    .rule = "synapse/login",
	    .type = "m.user.login",
	    .user_id = "@ann:example.org",
	    .content = "{}",
	    .source = "{}",
	    .ts = 1};

	if (store_begin(s, e) == -1 ||
	    store_put_event(s, LOG, &ev, &to, 1, 50, NULL, e) == -1 ||
	    store_commit(s, e) == -1)
		fail_msg("%s", e->text);
}

/* A store with something of everything in it. */
static void
fill(struct fixture *f)
{
	const struct store_delivery to[] = {{"irc", "m.synthetic_events", "m.user.login"},
	    {"xmpp", "m.synthetic_events", "m.user.login"}};
	struct store *s = opened(f, STORE_OWN);
	char path[] = LOG;
	struct checkpoint cp = {.file = 5, .generation = 1, .offset = 9, .path = path};
	struct transaction txn;
	uint64_t i;

	assert_int_equal(store_begin(s, &f->e), 0);
	for (i = 1; i <= EVENTS; i++) {
		struct account_event ev = {.file = 5,
		    .offset = i,
		    .rule = "synapse/login",
		    .type = "m.user.login",
		    .user_id = "@ann:example.org",
		    .content = "{\"user_id\":\"@ann:example.org\",\"device_id\":\"ABC\"}",
		    .source = "{\"address\":\"127.0.0.1\"}",
		    .ts = (int64_t)i};

		assert_int_equal(store_put_event(s, LOG, &ev, to, 2, 50, NULL, &f->e), 0);
	}
	assert_int_equal(store_put_checkpoints(s, LOG, &cp, 1, 60, &f->e), 0);
	assert_int_equal(store_commit(s, &f->e), 0);
	for (i = 0; i < 3; i++) {
		assert_int_equal(
		    store_next_transaction(s, "irc", 70, f->a, &txn, &f->e), 1);
		assert_int_equal(store_accepted(s, "irc", txn.id, 200, 80, &f->e), 0);
	}
	assert_int_equal(store_next_transaction(s, "irc", 70, f->a, &txn, &f->e), 1);
	assert_int_equal(store_failed(s, "irc", txn.id, 400, "HTTP 400", STORE_SET_ASIDE,
			     0, 90, &f->e),
	    0);
	assert_int_equal(store_next_transaction(s, "irc", 70, f->a, &txn, &f->e), 1);
	store_close(s);
}

static void
copy_file(const char *from, const char *to)
{
	char chunk[65536];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ssize_t n;

	assert_true(in != -1 && out != -1);
	while ((n = read(in, chunk, sizeof(chunk))) > 0)
		assert_int_equal(write(out, chunk, (size_t)n), n);
	assert_int_equal(n, 0);
	assert_int_equal(close(in), 0);
	assert_int_equal(close(out), 0);
}

static void
run_sql(const char *path, const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int
setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(f->dir, sizeof(f->dir), "%s/hearsay-repair-XXXXXX",
	    tmp == NULL ? "/tmp" : tmp);
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/store", f->dir);
	(void)snprintf(f->sound, sizeof(f->sound), "%s/sound", f->dir);
	f->a = arena_new();
	fill(f);
	run_sql(f->path, "PRAGMA incremental_vacuum"); /* damage to free pages is none */
	copy_file(f->path, f->sound);
	*state = f;
	return 0;
}

static void
remove_one(const char *path, const char *end)
{
	char *file = xasprintf("%s%s", path, end);

	if (unlink(file) == -1)
		assert_int_equal(errno, ENOENT);
	free(file);
}

/* Forget what a rebuild left behind. */
static void
clean(struct fixture *f)
{
	if (f->report.aside != NULL) {
		remove_one(f->report.aside, "");
		remove_one(f->report.aside, "-wal");
	}
	repair_report_clear(&f->report);
	err_list_clear(&f->problems);
	remove_one(f->path, "-wal");
	remove_one(f->path, "-shm");
	remove_one(f->path, ".lock");
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	clean(f);
	remove_one(f->path, "");
	remove_one(f->sound, "");
	arena_free(f->a);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static int64_t
number_in(const char *path, const char *sql)
{
	sqlite3_stmt *st;
	int64_t n;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	assert_int_equal(sqlite3_finalize(st), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	return n;
}

static void
overwrite_page(struct fixture *f, int64_t page)
{
	char junk[PAGE];
	int fd = open(f->path, O_WRONLY);

	memset(junk, 0xa5, sizeof(junk));
	assert_int_not_equal(fd, -1);
	assert_int_equal(pwrite(fd, junk, sizeof(junk), (page - 1) * PAGE), sizeof(junk));
	assert_int_equal(close(fd), 0);
}

static size_t
check(struct fixture *f)
{
	err_list_clear(&f->problems);
	assert_int_equal(repair_check(f->path, &f->problems, &f->e), 0);
	return f->problems.count;
}

static int
rebuild(struct fixture *f)
{
	int rc;

	repair_report_clear(&f->report);
	rc = repair_rebuild(f->path, 1000, &f->report, &f->e);
	if (rc == 0)
		assert_int_equal(
		    number_in(f->path, "SELECT count(*) FROM pragma_foreign_key_check"),
		    0);
	return rc;
}

/* ---- tests ------------------------------------------------------------- */

static void
sound_store_is_sound(void **state)
{
	struct fixture *f = *state;
	struct store *s = opened(f, STORE_OWN);

	assert_int_equal(check(f), 0); /* beside its owner */
	store_close(s);
	assert_int_equal(check(f), 0);
}

static void
rebuilding_a_sound_store_loses_nothing(void **state)
{
	static const char *const counts[] = {"SELECT count(*) FROM events",
	    "SELECT count(*) FROM deliveries",
	    "SELECT count(*) FROM deliveries WHERE txn IS NULL",
	    "SELECT count(*) FROM transactions WHERE accepted_ms IS NULL",
	    "SELECT sum(length(body)) FROM transactions", "SELECT offset FROM files",
	    "SELECT sequence FROM meta", "SELECT sum(accepted) FROM appservices"};
	struct fixture *f = *state;
	struct store *s;
	uint64_t waiting;
	size_t i;

	assert_int_equal(rebuild(f), 0);
	assert_int_equal(f->report.lost.count, 0);
	assert_int_equal(f->report.carried.count, 8);
	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		assert_int_equal(
		    number_in(f->path, counts[i]), number_in(f->sound, counts[i]));
	s = opened(f, STORE_OWN);
	assert_int_equal(store_waiting(s, &waiting, &f->e), 0);
	assert_int_equal(waiting, 300 + EVENTS);
	store_close(s);
	assert_int_equal(check(f), 0);
	assert_int_equal(access(f->report.aside, F_OK), 0);
}

static void
store_in_use_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct store *s = opened(f, STORE_OWN);

	assert_int_equal(rebuild(f), -1);
	assert_non_null(strstr(f->e.text, "in use by process"));
	store_close(s);
}

static void
store_of_version_1_is_rebuilt_as_of_this(void **state)
{
	struct fixture *f = *state;
	struct store *s;

	clean(f);
	remove_one(f->path, "");
	run_sql(f->path, store_version_1);
	assert_int_equal(rebuild(f), 0);
	assert_int_equal(f->report.lost.count, 0);
	s = opened(f, STORE_READ);
	store_close(s);
	assert_int_equal(number_in(f->path, "SELECT count(*) FROM deliveries"), 5);
}

/* How many events the report says are lost. */
static int64_t
events_told_lost(const struct fixture *f)
{
	int64_t told = 0, low, high;
	size_t i;

	for (i = 0; i < f->report.lost.count; i++) {
		const char *text = f->report.lost.texts[i];

		if (sscanf(text, "events: rows %" SCNd64 " to %" SCNd64, &low, &high) ==
		    2)
			told += high - low + 1;
		else if (sscanf(text, "events: nothing from row %" SCNd64, &low) == 1)
			told += EVENTS - low + 1;
	}
	return told;
}

/* Whichever page is gone: what is lost is told, and the rest is a store. */
static void
no_page_is_lost_silently(void **state)
{
	struct fixture *f = *state;
	int64_t pages = number_in(f->sound, "PRAGMA page_count"), page, events,
		deliveries;
	int64_t lossless = 0, kept = 0, unreadable = 0, lost = 0;
	struct store *s;

	for (page = 2; page <= pages; page++) {
		clean(f);
		copy_file(f->sound, f->path);
		overwrite_page(f, page);
		/* Where the names of the tables stand, nothing can be done. */
		if (rebuild(f) == -1) {
			assert_non_null(strstr(f->e.text, "the old store is as it was"));
			unreadable++;
			continue;
		}
		events = number_in(f->path, "SELECT count(*) FROM events");
		deliveries = number_in(f->path, "SELECT count(*) FROM deliveries");
		if (events < EVENTS || deliveries < 2 * EVENTS)
			assert_true(f->report.lost.count > 0);
		assert_int_equal(events_told_lost(f), EVENTS - events);
		lost += EVENTS - events;
		lossless += f->report.lost.count == 0;
		kept += events > EVENTS - 100;
		s = opened(f, STORE_OWN);
		store_close(s);
		assert_int_equal(number_in(f->path, "PRAGMA page_count") > 1, 1);
	}
	/* Most pages are leaves with some rows, or of an index, with none. */
	assert_true(unreadable <= 2);
	/* Each with its own page, all with the root of the table; none twice. */
	assert_true(lost >= 1 && lost <= 2 * EVENTS);
	assert_true(lossless > pages / 4);
	assert_true(kept > pages * 3 / 4);
}

static void
damage_is_found(void **state)
{
	struct fixture *f = *state;
	int64_t pages = number_in(f->sound, "PRAGMA page_count"), page, found = 0;

	for (page = 2; page <= pages; page++) {
		clean(f);
		copy_file(f->sound, f->path);
		overwrite_page(f, page);
		found += check(f) > 0;
	}
	assert_int_equal(found, pages - 1);
}

static void
truncated_store_gives_its_first_part(void **state)
{
	struct fixture *f = *state;
	int64_t pages = number_in(f->sound, "PRAGMA page_count");

	assert_int_equal(truncate(f->path, pages * 3 / 4 * PAGE), 0);
	assert_true(check(f) > 0);
	assert_int_equal(rebuild(f), 0);
	assert_true(f->report.lost.count > 0);
	assert_int_equal(check(f), 0);
}

static void
what_is_no_store_is_left_alone(void **state)
{
	struct fixture *f = *state;

	overwrite_page(f, 1);
	assert_int_equal(rebuild(f), -1);
	assert_int_equal(access(f->path, F_OK), 0);
	repair_report_clear(&f->report);
	remove_one(f->path, "");
	assert_int_equal(rebuild(f), -1);
	assert_int_equal(repair_check(f->path, &f->problems, &f->e), -1);
}

static void
lost_transaction_is_queued_again_where_it_waited(void **state)
{
	struct fixture *f = *state;
	struct store *s;
	uint64_t waiting;

	/* The first was accepted; 5 waits. */
	run_sql(f->path, "DELETE FROM transactions WHERE seq IN (1, 5)");
	assert_true(check(f) > 0);
	assert_int_equal(rebuild(f), 0);
	s = opened(f, STORE_OWN);
	assert_int_equal(store_waiting(s, &waiting, &f->e), 0);
	assert_int_equal(waiting, 300 - 100 + 100 + EVENTS);
	store_close(s);
	assert_int_equal(f->report.lost.count, 2);
	assert_non_null(strstr(f->report.lost.texts[0], "100 events"));
	assert_non_null(strstr(f->report.lost.texts[0], "queued again"));
	assert_non_null(strstr(f->report.lost.texts[1], "history"));
}

static void
store_is_sound_when_transactions_lost_deliveries(void **state)
{
	struct fixture *f = *state;
	struct transaction txn;
	struct store *s;

	run_sql(f->path, "DELETE FROM deliveries WHERE txn = 5 AND id % 4 = 1");
	assert_true(check(f) > 0);
	assert_int_equal(rebuild(f), 0);
	assert_int_equal(check(f), 0);
	s = opened(f, STORE_OWN);
	assert_int_equal(store_next_transaction(s, "irc", 70, f->a, &txn, &f->e), 1);
	assert_true(txn.body_len > 100 * 50); /* it is sent as it was */
	store_close(s);
}

static void
queue_outlives_the_loss_of_all_transactions(void **state)
{
	struct fixture *f = *state;
	struct store *s;
	uint64_t waiting;

	run_sql(f->path, "DELETE FROM transactions");
	assert_int_equal(rebuild(f), 0);
	s = opened(f, STORE_OWN);
	assert_int_equal(store_waiting(s, &waiting, &f->e), 0);
	assert_int_equal(waiting, 2 * EVENTS);
	store_close(s);
}

static void
follow(struct fixture *f)
{
	struct store *s = opened(f, STORE_OWN);

	assert_int_equal(store_begin(s, &f->e), 0);
	assert_int_equal(store_put_followed(s, LOG, 77, &f->e), 0);
	assert_int_equal(store_commit(s, &f->e), 0);
	store_close(s);
}

static int64_t
followed(struct store *s, struct fixture *f)
{
	int64_t since;

	assert_int_equal(store_followed(s, LOG, &since, &f->e), 0);
	return since;
}

static void
what_is_followed_is_kept(void **state)
{
	struct fixture *f = *state;
	struct store *s;

	follow(f);
	assert_int_equal(rebuild(f), 0);
	s = opened(f, STORE_READ);
	assert_int_equal(followed(s, f), 77);
	store_close(s);
}

/* Else all that was written since then would be told again. */
static void
lost_names_and_positions_are_told(void **state)
{
	struct fixture *f = *state;
	struct store_queue_status *q;
	struct store *s;
	size_t n;

	follow(f);
	run_sql(
	    f->path, "DELETE FROM files; DELETE FROM appservices WHERE name = 'xmpp'");
	assert_int_equal(rebuild(f), 0);
	assert_int_equal(f->report.lost.count, 2);
	assert_non_null(strstr(f->report.lost.texts[0], "lost their name"));
	assert_non_null(strstr(f->report.lost.texts[1], "how far " LOG " was read"));
	s = opened(f, STORE_READ);
	assert_int_equal(store_queue_statuses(s, f->a, &q, &n, &f->e), 0);
	assert_int_equal(n, 2);
	assert_string_equal(q[1].appservice, "unknown appservice 2");
	assert_int_equal(q[1].queued, EVENTS);
	assert_int_equal(followed(s, f), 0);
	store_close(s);
}

/* ---- files that are gone -------------------------------------------------- */

/* As after kill -9: what was committed last is in the write-ahead log alone. */
static void
commit_and_die(struct fixture *f, uint64_t offset)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		put_one(opened(f, STORE_OWN), offset, &f->e);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
refused(struct fixture *f, enum store_mode mode, const char *why)
{
	assert_null(store_open(f->path, mode, &f->e));
	if (strstr(f->e.text, why) == NULL)
		fail_msg("%s", f->e.text);
}

static void
log_deleted_after_a_kill_is_missed(void **state)
{
	struct fixture *f = *state;
	struct store *s;

	commit_and_die(f, EVENTS + 1);
	commit_and_die(f, EVENTS + 2);
	remove_one(f->path, "-wal");
	refused(f, STORE_OWN, "commits are missing");
	refused(f, STORE_EDIT, "commits are missing");
	refused(f, STORE_OWN, "commits are missing"); /* not only at the first look */
	assert_int_equal(check(f), 1);
	assert_non_null(strstr(f->problems.texts[0], "commits are missing"));

	assert_int_equal(rebuild(f), 0);
	assert_int_equal(f->report.lost.count, 1);
	assert_non_null(strstr(f->report.lost.texts[0], "commits"));
	assert_int_equal(check(f), 0);
	s = opened(f, STORE_OWN);
	put_one(s, EVENTS + 1, &f->e);
	store_close(s);
	s = opened(f, STORE_OWN);
	store_close(s);
}

static void
log_that_is_put_back_brings_all_back(void **state)
{
	struct fixture *f = *state;
	char *log = xasprintf("%s-wal", f->path), *aside = xasprintf("%s.aside", f->path);
	struct store *s;

	commit_and_die(f, EVENTS + 1);
	assert_int_equal(rename(log, aside), 0);
	refused(f, STORE_OWN, "put it back");
	assert_int_equal(rename(aside, log), 0);
	s = opened(f, STORE_OWN);
	store_close(s);
	assert_int_equal(number_in(f->path, "SELECT count(*) FROM events"), EVENTS + 1);
	free(log);
	free(aside);
}

static void
older_store_is_refused(void **state)
{
	struct fixture *f = *state;
	struct store *s = opened(f, STORE_OWN);

	put_one(s, EVENTS + 1, &f->e);
	store_close(s);
	copy_file(f->sound, f->path);
	refused(f, STORE_OWN, "an older file was put in its place");
	assert_int_equal(rebuild(f), 0);
	assert_int_equal(f->report.lost.count, 1);
	s = opened(f, STORE_OWN);
	store_close(s);
}

static void
store_that_is_gone_is_not_begun_in_silence(void **state)
{
	struct fixture *f = *state;
	struct store *s;

	assert_int_equal(truncate(f->path, 0), 0);
	refused(f, STORE_OWN, "is gone or empty");
	remove_one(f->path, "");
	refused(f, STORE_OWN, "is gone or empty");
	assert_int_equal(access(f->path, F_OK), -1);
	remove_one(f->path, ".lock");
	s = opened(f, STORE_OWN);
	store_close(s);
}

static void
log_deleted_while_in_use_is_saved(void **state)
{
	struct fixture *f = *state;
	struct store *s = opened(f, STORE_OWN), *reader;
	uint64_t waiting;
	int i;

	for (i = 1; i <= 3; i++) {
		put_one(s, EVENTS + (uint64_t)i, &f->e);
		remove_one(f->path, "-wal");
		assert_int_equal(store_noticed(s, &f->e), 1);
		assert_int_equal(access(f->path, F_OK), 0);
		reader = opened(f, STORE_READ);
		assert_int_equal(store_waiting(reader, &waiting, &f->e), 0);
		assert_int_equal(waiting, 300 + EVENTS + (uint64_t)i);
		store_close(reader);
	}
	/* A commit notices it, too. */
	remove_one(f->path, "-wal");
	put_one(s, EVENTS + 4, &f->e);
	store_close(s);
	assert_int_equal(check(f), 0);
	assert_int_equal(number_in(f->path, "SELECT count(*) FROM events"), EVENTS + 4);
}

static void
store_deleted_while_in_use_is_written_anew(void **state)
{
	struct fixture *f = *state;
	struct store *s = opened(f, STORE_OWN);
	struct stat st;

	put_one(s, EVENTS + 1, &f->e);
	remove_one(f->path, "");
	assert_int_equal(store_noticed(s, &f->e), 1);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	put_one(s, EVENTS + 2, &f->e);
	store_close(s);
	assert_int_equal(check(f), 0);
	assert_int_equal(number_in(f->path, "SELECT count(*) FROM events"), EVENTS + 2);
	assert_int_equal(number_in(f->path, "PRAGMA auto_vacuum"), 2);
}

static void
store_replaced_while_in_use_is_told(void **state)
{
	struct fixture *f = *state;
	struct store *s = opened(f, STORE_OWN);
	char *aside = xasprintf("%s.aside", f->path);

	assert_int_equal(rename(f->path, aside), 0);
	copy_file(f->sound, f->path);
	assert_int_equal(store_begin(s, &f->e), -1);
	assert_non_null(strstr(f->e.text, "another file has its name"));
	assert_int_equal(rename(aside, f->path), 0);
	put_one(s, EVENTS + 1, &f->e);
	store_close(s);
	free(aside);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(sound_store_is_sound),
	    TEST(rebuilding_a_sound_store_loses_nothing),
	    TEST(store_in_use_is_left_alone),
	    TEST(store_of_version_1_is_rebuilt_as_of_this),
	    TEST(no_page_is_lost_silently),
	    TEST(damage_is_found),
	    TEST(truncated_store_gives_its_first_part),
	    TEST(what_is_no_store_is_left_alone),
	    TEST(lost_transaction_is_queued_again_where_it_waited),
	    TEST(store_is_sound_when_transactions_lost_deliveries),
	    TEST(queue_outlives_the_loss_of_all_transactions),
	    TEST(what_is_followed_is_kept),
	    TEST(lost_names_and_positions_are_told),
	    TEST(log_deleted_after_a_kill_is_missed),
	    TEST(log_that_is_put_back_brings_all_back),
	    TEST(older_store_is_refused),
	    TEST(store_that_is_gone_is_not_begun_in_silence),
	    TEST(log_deleted_while_in_use_is_saved),
	    TEST(store_deleted_while_in_use_is_written_anew),
	    TEST(store_replaced_while_in_use_is_told),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
