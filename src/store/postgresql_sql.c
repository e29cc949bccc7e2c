/*
 * The statements of the store in PostgreSQL.  Those of sqlite.c say the same
 * where they can; every number is a bigint here, and those that PostgreSQL
 * would make numeric, by adding up, are cast.
 */
#include "store/postgresql.h"

#define APPSERVICE_NAMED(n) "(SELECT id FROM appservices WHERE name = " n ")"
#define LOG_NAMED "(SELECT id FROM logs WHERE instance = $1 AND name = $2)"
#define FILE_COLUMNS                                                                     \
	"f.key, f.generation, f.dev, f.ino, f.btime_ns, f.head_len, f.head, "            \
	"f.\"offset\", f.resume, f.guard_len, f.guard, f.last_ts, f.finished, f.path, "  \
	"f.prefixes"
/* As its own instance calls it; a log of another with that one's name before it. */
#define LOG_SHOWN(n)                                                                     \
	"CASE l.instance WHEN " n " THEN l.name "                                        \
	"ELSE convert_to(l.instance || ':', 'UTF8') || l.name END"
#define IN_TURN(n)                                                                       \
	"EXISTS (SELECT FROM senders WHERE senders.appservice = $2 AND turn = " n ")"
#define WAITS "accepted_ms IS NULL AND dead_ms IS NULL"
#define AS_IF_NEW                                                                         \
	"dead_ms = NULL, next_try_ms = 0, attempts = 0, first_try_ms = 0, refusals = 0, " \
	"refused_ms = 0"
#define TOLD_COLUMNS                                                                     \
	"d.id, a.name, d.key, d.type, e.user_id, e.content, e.source, " LOG_SHOWN(       \
	    "$6") ", "                                                                   \
		  "e.ts, d.queued_ms"
#define TOLD_JOINS                                                                       \
	"JOIN events e ON e.id = d.event JOIN logs l ON l.id = e.log "                   \
	"JOIN appservices a ON a.id = d.appservice "
/* Generations have no sign: those beyond 2^63 are negative here, and the newest. */
#define OLDEST_FIRST "f.generation < 0, f.generation"

const char *const postgresql_statements[STATEMENT_COUNT] = {
    [TRY_LOCK] = "SELECT pg_try_advisory_lock($1)::int::bigint",
    [LOCK] = "SELECT pg_advisory_lock($1)",
    [HOLDER] = "SELECT a.application_name FROM pg_locks l "
	       "JOIN pg_stat_activity a ON a.pid = l.pid "
	       "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
	       "AND l.database = "
	       "  (SELECT oid FROM pg_database WHERE datname = current_database()) "
	       "AND l.classid::bigint = $1 AND l.objid::bigint = $2",
    [LOCK_ORDER] = "SELECT pg_advisory_xact_lock($1)",
    [NOTIFY_OTHERS] = "NOTIFY hearsay",

    [FIND_LOG] = "SELECT id FROM logs WHERE instance = $1 AND name = $2",
    [ADD_LOG] = "INSERT INTO logs (instance, name) VALUES ($1, $2) RETURNING id",
    [COUNT_EVENTS] = "UPDATE logs SET events = events + $2 WHERE id = $1",
    [ADD_APPSERVICE] =
	"INSERT INTO appservices (name) VALUES ($1) ON CONFLICT (name) DO NOTHING",
    /*
     * An event and its deliveries in one round trip.  An appservice without a
     * row would be NULL, and refused, not passed over.
     */
    [ADD_EVENT] =
	"WITH put AS ("
	"  INSERT INTO events (file, \"offset\", rule, ordinal, log, type, user_id, "
	"    content, source, ts, put_ms) "
	"  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) "
	"  ON CONFLICT (file, \"offset\", rule, ordinal) DO NOTHING RETURNING id), "
	"queued AS ("
	"  INSERT INTO deliveries (event, appservice, key, type, queued_ms) "
	"  SELECT put.id, a.id, t.key, t.type, $11 FROM put, "
	"    unnest($12::text[], $13::text[], $14::text[]) AS t (name, key, type) "
	"    LEFT JOIN appservices a ON a.name = t.name) "
	"SELECT id FROM put",

    [TOUCH_LOG] = "INSERT INTO logs (instance, name, read_ms) VALUES ($1, $2, $3) "
		  "ON CONFLICT (instance, name) DO UPDATE SET read_ms = excluded.read_ms",
    [PUT_HEALTH] = "UPDATE logs SET health = $3, health_ms = $4 "
		   "WHERE instance = $1 AND name = $2",
    [FORGET_FILES] = "DELETE FROM files WHERE log = " LOG_NAMED,
    [ADD_FILE] =
	"INSERT INTO files (log, key, generation, dev, ino, btime_ns, head_len, head, "
	"  \"offset\", resume, guard_len, guard, last_ts, finished, path, "
	"  prefixes) "
	"VALUES (" LOG_NAMED ", $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, "
	"  $15, $16, $17)",
    [FILES_OF_LOG] = "SELECT " FILE_COLUMNS " FROM files f WHERE log = " LOG_NAMED
		     " ORDER BY " OLDEST_FIRST,
    [FILES_OF_ALL] = "SELECT " FILE_COLUMNS ", l.name "
		     "FROM files f JOIN logs l ON l.id = f.log "
		     "WHERE l.instance = $1 ORDER BY " OLDEST_FIRST,
    [FOLLOWED] = "SELECT since_ms FROM followed WHERE instance = $1 AND name = $2",
    [PUT_FOLLOWED] =
	"INSERT INTO followed (instance, name, since_ms) VALUES ($1, $2, $3) "
	"ON CONFLICT (instance, name) DO NOTHING",

    [LAST_SENDER] = "SELECT turn, released FROM senders WHERE appservice = $1",
    [TAKE_OVER] =
	"INSERT INTO senders (appservice, turn, released) VALUES ($1, $2, 0) "
	"ON CONFLICT (appservice) DO UPDATE SET turn = excluded.turn, released = 0",
    [RELEASE] = "UPDATE senders SET released = 1 WHERE appservice = $1 AND turn = $2",
    [STANDING] = "SELECT coalesce(a.held_ms, 0) FROM senders s "
		 "LEFT JOIN appservices a ON a.name = s.appservice "
		 "WHERE s.appservice = $1 AND s.turn = $2",

    [COUNT_WAITING] =
	"SELECT (SELECT count(*) FROM deliveries WHERE txn IS NULL) + "
	"  (SELECT coalesce(sum(events), 0)::bigint FROM transactions WHERE " WAITS ")",
    [ANYTHING_WAITS] =
	"SELECT (EXISTS (SELECT FROM transactions WHERE " WAITS
	"    AND appservice = " APPSERVICE_NAMED(
	    "$1") ") OR EXISTS (SELECT FROM deliveries WHERE txn IS NULL "
		  "    AND appservice = " APPSERVICE_NAMED("$1") "))::int::bigint",
    /* An attempt later than now: the clock was set back, and next_try_ms means nothing. */
    [WAITING] = "SELECT t.id, body, events, formed_ms, attempts, first_try_ms, "
		"  CASE WHEN last_failure_ms > $2 THEN 0 ELSE next_try_ms END, "
		"  refusals, refused_ms "
		"FROM transactions t JOIN appservices a ON a.id = t.appservice "
		"WHERE a.name = $1 AND " WAITS " ORDER BY seq LIMIT 1",
    [QUEUED] = "SELECT d.id, d.key, d.type, d.queued_ms, e.content, e.ts "
	       "FROM deliveries d JOIN events e ON e.id = d.event "
	       "WHERE d.appservice = " APPSERVICE_NAMED(
		   "$1") " AND d.txn IS NULL "
			 "ORDER BY d.id LIMIT $2 FOR UPDATE OF d",
    [NEXT_SEQUENCE] = "UPDATE meta SET sequence = sequence + 1 RETURNING sequence",
    [ADD_TRANSACTION] =
	"INSERT INTO transactions (id, appservice, body, events, oldest_ms, formed_ms) "
	"VALUES ($1, " APPSERVICE_NAMED("$2") ", $3, $4, $5, $6) RETURNING seq",
    [ASSIGN] =
	"UPDATE deliveries SET txn = $1 "
	"WHERE appservice = " APPSERVICE_NAMED("$2") " AND txn IS NULL AND id <= $3",

    [ACCEPT] =
	"UPDATE transactions SET accepted_ms = $3, status = $4, attempts = attempts + 1, "
	"  dead_ms = NULL, error = '', "
	"  first_try_ms = CASE first_try_ms WHEN 0 THEN $3 ELSE first_try_ms END "
	"WHERE id = $1 AND appservice = " APPSERVICE_NAMED(
	    "$2") " AND accepted_ms IS NULL AND " IN_TURN("$5") " RETURNING events",
    [ACCEPTED_BY] = "UPDATE appservices SET accepted = accepted + $2, "
		    "odd = odd + CASE $4 WHEN 200 THEN 0 ELSE 1 END, "
		    "last_success_ms = $3, last_status = $4 WHERE name = $1",
    [FAIL] =
	"UPDATE transactions SET status = $4, next_try_ms = $5, attempts = attempts + 1, "
	"  first_try_ms = CASE first_try_ms WHEN 0 THEN $3 ELSE first_try_ms END, "
	"  error = $6, refusals = refusals + $7, "
	"  refused_ms = CASE WHEN $7 = 1 AND refused_ms = 0 THEN $3 ELSE refused_ms END, "
	"  dead_ms = CASE WHEN $8 = 1 AND dead_ms IS NULL THEN $3 ELSE dead_ms END "
	"WHERE id = $1 AND appservice = " APPSERVICE_NAMED(
	    "$2") " AND accepted_ms IS NULL AND " IN_TURN("$9") " RETURNING events",
    [FAILED_BY] = "UPDATE appservices SET last_failure_ms = $2, last_status = $3, "
		  "last_error = $4 WHERE name = $1",

    [LOG_STATUSES] = "SELECT " FILE_COLUMNS ", " LOG_SHOWN(
	"$1") ", "
	      "  l.read_ms, l.events, l.id, l.health, l.health_ms "
	      "FROM logs l LEFT JOIN files f ON f.log = l.id "
	      "ORDER BY l.instance <> $1, l.instance, l.name, " OLDEST_FIRST,
    [QUEUE_STATUSES] =
	"SELECT a.name, "
	"  (SELECT coalesce(sum(events), 0)::bigint FROM transactions "
	"    WHERE appservice = a.id AND " WAITS ") + "
	"  (SELECT count(*) FROM deliveries d "
	"    WHERE d.appservice = a.id AND d.txn IS NULL), "
	"  coalesce((SELECT min(oldest_ms) FROM transactions "
	"      WHERE appservice = a.id AND " WAITS "), "
	"    (SELECT d.queued_ms FROM deliveries d "
	"      WHERE d.appservice = a.id AND d.txn IS NULL ORDER BY d.id LIMIT 1), 0), "
	"  a.accepted, a.last_success_ms, a.last_failure_ms, a.last_status, "
	"  a.last_error, coalesce(t.attempts, 0), coalesce(t.next_try_ms, 0), "
	"  a.held_ms, (SELECT count(*) FROM transactions "
	"    WHERE appservice = a.id AND dead_ms IS NOT NULL), a.odd, a.discarded "
	"FROM appservices a LEFT JOIN transactions t "
	"  ON t.seq = (SELECT min(seq) FROM transactions "
	"    WHERE appservice = a.id AND " WAITS ") "
	"ORDER BY a.name",

    [TRY_FORGET] = "SELECT pg_try_advisory_xact_lock($1)::int::bigint",
    [WAS_TOLD] =
	"SELECT 1::bigint FROM events e JOIN deliveries d ON d.event = e.id "
	"WHERE e.file = $1 AND e.\"offset\" = $2 AND e.rule = $3 AND e.ordinal = $4 "
	"AND d.appservice = (SELECT id FROM appservices WHERE name = $5)",
    [HOLD_QUEUE] = "INSERT INTO appservices (name, held_ms) VALUES ($1, $2) "
		   "ON CONFLICT (name) DO UPDATE SET held_ms = excluded.held_ms",
    [RELEASE_QUEUE] = "UPDATE appservices SET held_ms = 0 WHERE name = $1",
    [RETRY_WAITING] =
	"UPDATE transactions SET next_try_ms = 0 "
	"WHERE appservice = " APPSERVICE_NAMED("$1") " AND " WAITS " RETURNING events",
    [REVIVE_ALL] =
	"UPDATE transactions SET " AS_IF_NEW " WHERE appservice = " APPSERVICE_NAMED(
	    "$1") " AND dead_ms IS NOT NULL RETURNING events",
    [SET_ASIDE] = "UPDATE transactions SET dead_ms = $3, "
		  "  error = CASE error WHEN '' THEN 'set aside by hand' ELSE error END "
		  "WHERE appservice = " APPSERVICE_NAMED("$1") " AND id = $2 AND " WAITS
							       " RETURNING events",
    [REVIVE] =
	"UPDATE transactions SET " AS_IF_NEW " WHERE appservice = " APPSERVICE_NAMED(
	    "$1") " AND id = $2 AND accepted_ms IS NULL RETURNING events",
    [NOT_ACCEPTED] = "SELECT seq, events FROM transactions "
		     "WHERE appservice = " APPSERVICE_NAMED(
			 "$1") " AND id = $2 AND accepted_ms IS NULL",
    [FIRST_NOT_ACCEPTED] = "SELECT seq, events FROM transactions WHERE seq = coalesce("
			   "  (SELECT min(seq) FROM transactions "
			   "    WHERE appservice = " APPSERVICE_NAMED(
			       "$1") " AND " WAITS "), "
				     "  (SELECT min(seq) FROM transactions "
				     "    WHERE appservice = " APPSERVICE_NAMED(
					 "$1") " AND dead_ms IS NOT NULL))",
    [DROP_DELIVERIES] = "DELETE FROM deliveries WHERE txn = $1 RETURNING event",
    [DROP_QUEUED] = "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries "
		    "  WHERE appservice = " APPSERVICE_NAMED(
			"$1") " AND txn IS NULL "
			      "  ORDER BY id LIMIT $2) RETURNING event",
    [DROP_EVENTS] = "DELETE FROM events WHERE id = ANY ($1::bigint[]) "
		    "AND NOT EXISTS (SELECT FROM deliveries WHERE event = events.id)",
    [DROP_TRANSACTION] = "DELETE FROM transactions WHERE seq = $1",
    [DISCARDED] = "UPDATE appservices SET discarded = discarded + $2 WHERE name = $1",
    /* What one takes: its body, the same again in events, sources, rows, indexes. */
    [OLDEST_ACCEPTED] =
	"SELECT seq, accepted_ms, octet_length(body) * 2::bigint + events * 400 "
	"FROM transactions WHERE accepted_ms IS NOT NULL ORDER BY accepted_ms LIMIT 1",
    /* Events are in the order in which they were put, so that the first young one ends it. */
    [UNTOLD_UP_TO] =
	"SELECT coalesce(max(id), 0) FROM "
	"(SELECT id, put_ms FROM events WHERE id > $1 ORDER BY id LIMIT $2) o "
	"WHERE put_ms < $3",
    [DROP_UNTOLD] = "DELETE FROM events WHERE id > $1 AND id <= $2 AND put_ms < $3 "
		    "AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event = events.id)",
    [COUNT_ACCEPTED] = "SELECT count(*) FROM transactions WHERE accepted_ms IS NOT NULL",
    [BYTES] = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint "
	      "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
	      "WHERE n.nspname = 'hearsay' AND c.relkind = 'r'",
    /*
     * Files of PostgreSQL do not shrink when rows go, so that a bound on their
     * size would delete everything and be none the better.  Hence an estimate:
     * rows that live, which are counted as they come and go, times what a row of
     * their table takes with its entries in indexes; 0 before the first ANALYZE.
     */
    [BYTES_IN_USE] =
	"SELECT coalesce(sum(st.n_live_tup * (w.width + 100)), 0)::bigint + "
	"  coalesce((SELECT sum(o.n_live_tup) * 2048 FROM pg_stat_all_tables o "
	"    JOIN pg_class c ON c.reltoastrelid = o.relid "
	"    JOIN pg_namespace n ON n.oid = c.relnamespace "
	"    WHERE n.nspname = 'hearsay'), 0)::bigint "
	"FROM pg_stat_all_tables st JOIN "
	"  (SELECT tablename, sum(avg_width) AS width FROM pg_stats "
	"    WHERE schemaname = 'hearsay' GROUP BY tablename) w "
	"  ON w.tablename = st.relname "
	"WHERE st.schemaname = 'hearsay'",
    [ITEMS] = "SELECT t.id, t.body, t.events, t.formed_ms, t.attempts, t.first_try_ms, "
	      "  t.next_try_ms, t.refusals, t.refused_ms, t.seq, a.name, t.oldest_ms, "
	      "  coalesce(t.dead_ms, 0), t.status, t.error "
	      "FROM transactions t JOIN appservices a ON a.id = t.appservice "
	      "WHERE t.seq IN (SELECT seq FROM transactions WHERE " WAITS " UNION ALL "
	      "  SELECT seq FROM transactions WHERE dead_ms IS NOT NULL) "
	      "AND ($1 IS NULL OR a.name = $1) AND ($2 IS NULL OR t.id = $2) "
	      "AND t.seq > $3 ORDER BY t.seq LIMIT $4",
    /* From the deliveries on, in their order: a page is found without sorting all. */
    [TELL_ACCEPTED] =
	"SELECT " TOLD_COLUMNS ", t.id, t.accepted_ms, t.status "
	"FROM deliveries d JOIN transactions t ON t.seq = d.txn " TOLD_JOINS
	"WHERE d.id > $1 AND t.accepted_ms >= $2 AND ($3 IS NULL OR a.name = $3) "
	"AND ($4 IS NULL OR e.user_id = $4) ORDER BY d.id LIMIT $5",
    [TELL_QUEUED] = "SELECT " TOLD_COLUMNS
		    ", ''::text, 0::bigint, 0::bigint FROM deliveries d " TOLD_JOINS
		    "WHERE d.txn IS NULL AND d.id > $1 AND d.queued_ms >= $2 "
		    "AND ($3 IS NULL OR a.name = $3) AND ($4 IS NULL OR e.user_id = $4) "
		    "ORDER BY d.id LIMIT $5",
};
