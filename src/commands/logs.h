/*
 * logs - whole logs from files, read once and side by side.
 *
 * Files that are rotated pieces of one log are one log.  Logs of one server
 * tell things together, so that the one furthest behind in time is read on.
 */
#ifndef HEARSAY_COMMANDS_LOGS_H
#define HEARSAY_COMMANDS_LOGS_H

#include <stddef.h>
#include <stdint.h>

#include "decode/envelope.h"

struct account_events;
struct arena;
struct err;
struct extract_stats;
struct logs;
struct pack_set;

/* How a file is to be read; NULL, ENVELOPE_AUTO: not given.  Borrowed until logs_free. */
struct logs_settings {
	const char *pack; /* else found from the lines */
	const char *server;
	const char *zone; /* else the system's */
	enum envelope_kind envelope;
};

struct logs *logs_new(void);
void logs_free(struct logs *l); /* NULL is allowed */

/* Put path ("-": standard input) to the log that it is a piece of, or begin one. */
void logs_add(struct logs *l, const char *path, const struct logs_settings *settings);
size_t logs_count(const struct logs *l);

/* Find the packs, borrowed until logs_free.  0, or -1. */
int logs_open(struct logs *l, const struct pack_set *packs, struct err *e);

/* What a chunk of a log told. */
struct logs_told {
	const struct account_events *events; /* in the arena of logs_read */
	const char *server;                  /* as given */
	int64_t fallback_ms; /* what lines without a time have as theirs */
};

struct logs_hooks {
	/*
	 * A file is about to be read; its events are to have the key *key_r, unless it
	 * is left 0; may be NULL.  0, or -1.
	 */
	int (*file)(void *arg, const char *path, uint64_t *key_r, struct err *e);
	/* After each chunk, whether it told anything or not.  0, or -1. */
	int (*told)(void *arg, const struct logs_told *told, struct err *e);
};

/* Read all; the arena is reset behind each chunk.  0, or -1. */
int logs_read(struct logs *l, const struct logs_hooks *hooks, void *arg, struct arena *a,
    struct err *e);

struct logs_progress {
	uint64_t size;       /* of the files on disk; 0: unknown */
	uint64_t done;       /* of these, read */
	uint64_t bytes;      /* of lines: what was compressed counts in full */
	uint64_t long_lines; /* passed over for their length */
	uint64_t unfinished; /* last lines without a newline, of which nothing is told */
};

void logs_progress(const struct logs *l, struct logs_progress *p_r);

/* One of the logs, after logs_open. */
struct logs_about {
	const char *path; /* of its newest piece */
	const char *pack;
	size_t pieces;
};

void logs_about(const struct logs *l, size_t i, struct logs_about *about_r,
    struct extract_stats *st_r);

#endif
