/*
 * teller - a line's way from bytes to events: scan, decode, match, extract.
 *
 * The same for every command that reads logs.  One teller serves one
 * homeserver; each of its logs has its own place in it.
 */
#ifndef HEARSAY_COMMANDS_TELLER_H
#define HEARSAY_COMMANDS_TELLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decode/envelope.h"
#include "extract/extract.h"

struct account_events;
struct arena;
struct pack;
struct slice;
struct teller;
struct teller_log;
struct zone;

/* server_name is copied; NULL: users of any server. */
struct teller *teller_new(const char *server_name, const struct extract_limits *limits);
void teller_free(struct teller *t); /* and its logs */

/* Borrows pack and zone until teller_free. */
struct teller_log *teller_log_new(
    struct teller *t, const struct pack *pack, const struct zone *zone);

/* Before teller_free, where the log is over; NULL is allowed. */
void teller_log_free(struct teller *t, struct teller_log *log);

/* The envelope of its lines, if it is configured: before the first chunk. */
void teller_log_envelope(struct teller_log *log, enum envelope_kind kind);

/*
 * Find the envelope from the lines that the log begins with, where the first
 * chunk does not: that one may be of a user's lines alone.
 */
void teller_log_look(
    struct teller_log *log, const char *data, size_t len, struct arena *a);

/* Whole lines of one file. */
struct teller_chunk {
	uint64_t file;
	uint64_t offset;
	const char *data;
	size_t len;
	bool again;          /* rebuild memory only */
	int64_t fallback_ms; /* the time of lines that have none */
	bool before; /* tell and remember nothing: it only shows whether what is read
	                behind it begins within a line */
	bool gap;    /* what stands before it was not read; it may begin within a line */
};

/* What explain is told of each line that was taken apart; may be NULL. */
struct teller_trace {
	/*
	 * Before the rules of a line, which began at offset of its file; record is
	 * NULL where the line is none.
	 */
	void (*line)(void *arg, uint64_t offset, struct slice line,
	    const struct record *record, size_t matches);
	extract_trace *rule;
	/* The line cut short what was remembered before it. */
	void (*torn)(void *arg);
	void *arg;
};

/* Take a chunk; what it shows, and what waited, is appended to out, in the arena. */
void teller_chunk(struct teller_log *log, const struct teller_chunk *c, struct arena *a,
    struct account_events *out, const struct teller_trace *trace);

/*
 * Events wait where the log must go on to show whether they are genuine: are
 * there any, and what is told now that it was read to its end at the time now
 * (UTC ms; INT64_MAX: it does not go on).
 */
bool teller_log_waits(const struct teller_log *log);
void teller_log_idle(
    struct teller_log *log, int64_t now, struct arena *a, struct account_events *out);

/* As extract_log_clock. */
void teller_log_clock(struct teller_log *log, int64_t now);

/* Has a line begun of which more pieces are to come? */
bool teller_log_cut(const struct teller_log *log);
/* As extract_needs; a line of which only pieces came is needed as well. */
bool teller_log_needs(const struct teller_log *log, uint64_t *file_r, uint64_t *offset_r);
/* Lines that came in pieces and were passed over for their length. */
uint64_t teller_log_long_lines(const struct teller_log *log);
/* The UTC ms of the newest line, INT64_MIN if none; and to set it from a checkpoint. */
int64_t teller_log_last_ts(const struct teller_log *log);
void teller_log_set_last_ts(struct teller_log *log, int64_t ts);
/* As matcher_errors. */
uint64_t teller_log_errors(const struct teller_log *log, const char **rule_r);
/* Lines that have a rule's words in a form that the pack does not know. */
uint64_t teller_log_unknown(const struct teller_log *log);
/* UTC ms of the newest sentinel, or of the first line; 0: the pack has none. */
int64_t teller_log_sentinel(const struct teller_log *log);
/* As health_trouble. */
const char *teller_log_trouble(const struct teller_log *log, struct arena *a);
void teller_log_stats(const struct teller_log *log, struct extract_stats *st_r);

#endif
