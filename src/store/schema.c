#include "store/schema.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/db.h"

#define APPLICATION_ID 0x68736179 /* "hsay": tells a store from other databases */

/*
 * The comments stand inside the statements, so that they are kept in the file
 * and .schema of sqlite3(1) shows them.  Times are UTC milliseconds.  Numbers
 * of 64 bits without a sign are kept as the signed numbers of the same bits.
 */
static const char version_1[] =
    "CREATE TABLE meta (\n"
    "  one INTEGER PRIMARY KEY CHECK (one = 1), -- there is one row\n"
    "  epoch TEXT NOT NULL,       -- 128 random bits in every new transaction's id\n"
    "  sequence INTEGER NOT NULL  -- of the newest transaction's id\n"
    ") STRICT;\n"
    "INSERT INTO meta (one, epoch, sequence) VALUES (1, '', 0);\n"

    "CREATE TABLE logs (\n"
    "  id INTEGER PRIMARY KEY,\n"
    "  name TEXT NOT NULL UNIQUE,          -- the path that is followed\n"
    "  read_ms INTEGER NOT NULL DEFAULT 0, -- when its checkpoints were last committed\n"
    "  events INTEGER NOT NULL DEFAULT 0   -- ever told from it\n"
    ") STRICT;\n"

    "CREATE TABLE files ( -- checkpoints: how far each file of a log is read\n"
    "  log INTEGER NOT NULL REFERENCES logs (id),\n"
    "  key INTEGER NOT NULL,       -- random, drawn at first sight\n"
    "  generation INTEGER NOT NULL,-- order within the log\n"
    "  dev INTEGER NOT NULL, ino INTEGER NOT NULL, btime_ns INTEGER NOT NULL,\n"
    "  head_len INTEGER NOT NULL, head BLOB NOT NULL,\n"
    "  offset INTEGER NOT NULL,    -- first byte not yet told of\n"
    "  resume INTEGER NOT NULL,    -- first byte that an unfinished request needs\n"
    "  guard_len INTEGER NOT NULL, guard BLOB NOT NULL,\n"
    "  last_ts INTEGER NOT NULL,   -- of the newest line told\n"
    "  finished INTEGER NOT NULL,  -- 1: rotated away and read to its end\n"
    "  path TEXT NOT NULL,         -- where it was last seen\n"
    "  PRIMARY KEY (log, key)\n"
    ") STRICT, WITHOUT ROWID;\n"

    "CREATE TABLE events (\n"
    "  id INTEGER PRIMARY KEY,\n"
    "  file INTEGER NOT NULL,  -- these four are the event's place, and so its identity;\n"
    "  offset INTEGER NOT NULL,-- the file may be forgotten before its events\n"
    "  rule TEXT NOT NULL,\n"
    "  ordinal INTEGER NOT NULL,\n"
    "  log INTEGER NOT NULL REFERENCES logs (id),\n"
    "  type TEXT NOT NULL,     -- stable name\n"
    "  user_id TEXT NOT NULL,\n"
    "  content TEXT NOT NULL,  -- JSON, as it goes over the wire\n"
    "  source TEXT NOT NULL,   -- JSON, how the event was told\n"
    "  ts INTEGER NOT NULL,    -- of the log line\n"
    "  put_ms INTEGER NOT NULL,\n"
    "  UNIQUE (file, offset, rule, ordinal)\n"
    ") STRICT;\n"

    "CREATE TABLE appservices (\n"
    "  id INTEGER PRIMARY KEY,\n"
    "  name TEXT NOT NULL UNIQUE,           -- id in its registration\n"
    "  accepted INTEGER NOT NULL DEFAULT 0, -- events, ever\n"
    "  last_success_ms INTEGER NOT NULL DEFAULT 0,\n"
    "  last_failure_ms INTEGER NOT NULL DEFAULT 0,\n"
    "  last_status INTEGER NOT NULL DEFAULT 0, -- HTTP; 0: none came\n"
    "  last_error TEXT NOT NULL DEFAULT ''\n"
    ") STRICT;\n"

    "CREATE TABLE transactions (\n"
    "  seq INTEGER PRIMARY KEY,\n"
    "  id TEXT NOT NULL UNIQUE, -- txnId; it and the body never change\n"
    "  appservice INTEGER NOT NULL REFERENCES appservices (id),\n"
    "  body BLOB NOT NULL,      -- the bytes that are sent, at every attempt\n"
    "  events INTEGER NOT NULL,\n"
    "  oldest_ms INTEGER NOT NULL, -- when its first delivery was queued\n"
    "  formed_ms INTEGER NOT NULL,\n"
    "  attempts INTEGER NOT NULL DEFAULT 0,\n"
    "  first_try_ms INTEGER NOT NULL DEFAULT 0,\n"
    "  next_try_ms INTEGER NOT NULL DEFAULT 0,\n"
    "  status INTEGER NOT NULL DEFAULT 0, -- of the last attempt\n"
    "  accepted_ms INTEGER      -- NULL: it waits\n"
    ") STRICT;\n"
    "CREATE UNIQUE INDEX transactions_waiting -- one at a time for each appservice\n"
    "  ON transactions (appservice) WHERE accepted_ms IS NULL;\n"

    "CREATE TABLE deliveries (\n"
    "  id INTEGER PRIMARY KEY,  -- the order of the queue\n"
    "  event INTEGER NOT NULL REFERENCES events (id),\n"
    "  appservice INTEGER NOT NULL REFERENCES appservices (id),\n"
    "  key TEXT NOT NULL,       -- of the body\n"
    "  type TEXT NOT NULL,      -- as it goes over the wire\n"
    "  queued_ms INTEGER NOT NULL,\n"
    "  txn INTEGER REFERENCES transactions (seq), -- NULL: in none yet\n"
    "  UNIQUE (event, appservice)\n"
    ") STRICT;\n"
    "CREATE INDEX deliveries_queued ON deliveries (appservice, id) WHERE txn IS NULL;\n"
    "CREATE INDEX deliveries_txn ON deliveries (txn) WHERE txn IS NOT NULL;\n";

static const char version_2[] =
    /* Several may wait: dead letters that were put back. */
    "DROP INDEX transactions_waiting;\n"
    "ALTER TABLE transactions ADD COLUMN -- attempts at which the body was refused\n"
    "  refusals INTEGER NOT NULL DEFAULT 0;\n"
    "ALTER TABLE transactions ADD COLUMN -- when that was first; 0: never\n"
    "  refused_ms INTEGER NOT NULL DEFAULT 0;\n"
    "ALTER TABLE transactions ADD COLUMN -- of the last attempt\n"
    "  error TEXT NOT NULL DEFAULT '';\n"
    "ALTER TABLE transactions ADD COLUMN -- when it was set aside; NULL: it was not\n"
    "  dead_ms INTEGER;\n"
    "CREATE INDEX transactions_waiting ON transactions (appservice, seq)\n"
    "  WHERE accepted_ms IS NULL AND dead_ms IS NULL;\n"
    "CREATE INDEX transactions_dead ON transactions (appservice, seq)\n"
    "  WHERE dead_ms IS NOT NULL;\n"
    "CREATE INDEX transactions_accepted ON transactions (accepted_ms)\n"
    "  WHERE accepted_ms IS NOT NULL;\n"

    "ALTER TABLE appservices ADD COLUMN -- since when its queue rests; 0: it does not\n"
    "  held_ms INTEGER NOT NULL DEFAULT 0;\n"
    "ALTER TABLE appservices ADD COLUMN -- transactions accepted by an odd status\n"
    "  odd INTEGER NOT NULL DEFAULT 0;\n"
    "ALTER TABLE appservices ADD COLUMN -- events, by hand\n"
    "  discarded INTEGER NOT NULL DEFAULT 0;\n";

static const char version_3[] =
    "ALTER TABLE logs ADD COLUMN -- what is wrong with it, for people; '': nothing\n"
    "  health TEXT NOT NULL DEFAULT '';\n"
    "ALTER TABLE logs ADD COLUMN -- when that was found; 0: never\n"
    "  health_ms INTEGER NOT NULL DEFAULT 0;\n";

static const char version_4[] =
    "ALTER TABLE meta ADD COLUMN -- ever made; the lock's file has it, too\n"
    "  commits INTEGER NOT NULL DEFAULT 0;\n"
    "CREATE TABLE room ( -- without rows: they come and go, and leave free pages\n"
    "  bytes BLOB NOT NULL\n"
    ") STRICT;\n";

static const char version_5[] =
    "ALTER TABLE files ADD COLUMN -- hashes of the head's prefixes; '': made before\n"
    "  prefixes BLOB NOT NULL DEFAULT x'';\n";

static const char version_6[] =
    "CREATE TABLE followed ( -- paths and globs of the configuration\n"
    "  name TEXT NOT NULL UNIQUE,\n"
    "  since_ms INTEGER NOT NULL -- what was written there later is new\n"
    ") STRICT;\n";

/* Row n makes version n + 1 of what was version n.  A row never changes again. */
static const char *const migrations[] = {
    version_1,
    version_2,
    version_3,
    version_4,
    version_5,
    version_6,
};

#define VERSION ((int64_t)(sizeof(migrations) / sizeof(migrations[0])))

int
schema_check(struct db *d, const char *path, struct err *e)
{
	int64_t application, version, tables;

	if (db_ask_number(d, "PRAGMA application_id", &application, e) == -1 ||
	    db_ask_number(d, "PRAGMA user_version", &version, e) == -1 ||
	    db_ask_number(d, "SELECT count(*) FROM sqlite_schema", &tables, e) == -1)
		return -1;
	return schema_judge(application, version, tables, path, e);
}

int
schema_judge(
    int64_t application, int64_t version, int64_t tables, const char *path, struct err *e)
{
	if (application == 0 && version == 0 && tables == 0)
		return 0;
	if (application != APPLICATION_ID)
		return err_set(e,
		    "%s is a database of another program, no store of hearsay: name another "
		    "file as the store",
		    path);
	if (version > VERSION)
		return err_set(e,
		    "the store %s has schema %lld and this hearsay knows up to %lld: it was "
		    "written by a newer hearsay; start that one, or name another file as the "
		    "store",
		    path, (long long)version, (long long)VERSION);
	return version == VERSION;
}

int
schema_there(const char *path, int64_t had, struct err *e)
{
	struct stat st;

	if (had == 0 || (stat(path, &st) == 0 && st.st_size > 0))
		return 0;
	return err_set(e,
	    "the store %s is gone or empty, and %lld commits were made to it: put it "
	    "back; or remove %s.lock to begin a new one, and `hearsay replay --into' tells "
	    "again what the logs still hold",
	    path, (long long)had, path);
}

int
schema_commits(struct db *d, int64_t had, const char *path, struct err *e)
{
	int64_t commits;

	if (db_ask_number(d, "SELECT coalesce(max(commits), 0) FROM meta", &commits, e) ==
	    -1)
		return -1;
	if (commits >= had)
		return 0;
	return err_set(e,
	    "%lld commits are missing in the store %s: its write-ahead log was deleted, "
	    "or an older file was put in its place; if you still have %s-wal, put it "
	    "back; else `hearsay store rebuild' goes on without them, and `hearsay replay "
	    "--into' tells again what the logs still hold",
	    (long long)(had - commits), path, path);
}

static int
set_version(struct db *d, int64_t version, struct err *e)
{
	char sql[128];

	(void)snprintf(sql, sizeof(sql),
	    "PRAGMA application_id = %d; PRAGMA user_version = %lld", APPLICATION_ID,
	    (long long)version);
	return db_exec(d, sql, e);
}

int
schema_migrate(struct db *d, struct err *e)
{
	int64_t version;

	if (db_exec(d, "BEGIN IMMEDIATE", e) == -1)
		return -1;
	if (db_ask_number(d, "PRAGMA user_version", &version, e) == -1)
		goto undo;
	for (; version < VERSION; version++)
		if (db_exec(d, migrations[version], e) == -1 ||
		    set_version(d, version + 1, e) == -1)
			goto undo;
	if (db_exec(d, "COMMIT", e) == -1)
		goto undo;
	return 0;

undo:
	db_rollback(d);
	return -1;
}
