/*
 * run - what the files of `hearsay run` share: the daemon and its logs.
 *
 * run_follow.c opens the logs, run_lines.c takes what they give through the
 * tellers to the batch, run_commit.c brings the batch and the positions to the
 * store, run_metrics.c counts, and run.c starts and ends it all.  Nobody else includes this.
 */
#ifndef HEARSAY_COMMANDS_RUN_H
#define HEARSAY_COMMANDS_RUN_H

#include <event2/util.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pack/pack.h"

struct arena;
struct config_log;
struct config_server;
struct err;
struct event;
struct event_base;
struct tail_chunk;

/* One followed log. */
struct log {
	struct log *next;
	struct run *run;
	const struct config_server *server;
	const struct config_log *config;
	char *path;
	struct tail_log *tail_log;     /* NULL until tail told of it */
	struct source *source;         /* instead, where it is no file */
	struct teller *teller;         /* its server's */
	struct teller_log *teller_log; /* NULL until its pack is known */
	struct zone *zone;
	int64_t last_ts; /* of the last run */
	uint64_t file;   /* of the last chunk; 0: there was none yet */
	uint64_t end;    /* of that chunk */
	char *health;    /* what is wrong with it, as stored; NULL: not known yet */
	char *found;     /* the same, of now, while it is being stored; or NULL */
	bool dirty;      /* its position is not committed */
	uint64_t errors; /* patterns given up on its lines, as far as it was said */
	bool foreign;    /* it was said that no pack knows it */
	bool looked;     /* at what it begins with */
	bool gap;        /* what stands before the next chunk was not read */
	uint64_t gaps;   /* times that bytes were gone unread */
};

/* A glob of the configuration; each path that it matches becomes a log. */
struct glob {
	struct glob *next;
	const struct config_server *server;
	const struct config_log *config;
};

/* Events that wait for the next commit; in the arena. */
struct batch_event {
	struct log *log;
	const struct account_event *event;
	struct store_delivery *to;
	size_t to_count;
};

struct run {
	struct event_base *base;
	struct config *config;
	struct pack_set packs;
	struct route *route;
	struct store *store;
	struct send *send;
	struct tail *tail;
	struct glob *globs;
	struct log *logs;
	struct known *known;     /* logs of the last run that are not followed yet */
	struct teller **tellers; /* one for each server of the configuration */

	struct arena *arena;
	struct batch_event *batch;
	size_t batch_count;
	uint64_t batch_bytes;
	bool blocked; /* the store failed or the queue is full: nothing is read */
	bool refused; /* tail holds a chunk back */
	bool ending;
	uint64_t route_errors; /* as far as it was said */
	int64_t since_ms;      /* when all logs were first looked at; 0: that is stored */
	struct event *commit;  /* soon, or when positions alone have waited */
	struct event *retry;
	struct event *metrics; /* to be written; NULL: nobody asks for them */
	bool metrics_failed;   /* that they cannot be written was said */
	int signal_fd;
	struct event *signal;
	struct route_delivery *deliveries; /* room for one event's */
};

/* ---- run_follow.c: opening ------------------------------------------------ */

/* Make the tail and follow all logs of the configuration.  0, or -1 on error. */
int run_follow_logs(struct run *r, struct err *e);
void run_close_logs(struct run *r);

/* ---- run_lines.c: taking ---------------------------------------------------- */

/*
 * Take a chunk as the lines hook of tail.h does: 0: taken; 1: not now, while
 * reading is stopped.
 */
int run_lines(struct log *log, const struct tail_chunk *c);
/* Tell what waited for log to go on; it is read to its end at the time now. */
void run_lines_idle(struct log *log, int64_t now);
/* The lines of log are those of pack, which is borrowed. */
void run_use_pack(struct log *log, const struct pack *pack);

/* ---- run_commit.c: storing ---------------------------------------------------- */

/*
 * Put the batch and all positions that changed into the store, in one commit.
 * 0, or -1: the batch stays, reading stops, and it is tried again.
 */
int run_commit(struct run *r);
/* A callback of the loop: what waits is due, or what failed is tried again. */
void run_commit_due(evutil_socket_t fd, short what, void *arg);
/* The position of log changed: commit in at most within_ms. */
void run_commit_within(struct log *log, int64_t within_ms);
/* Reading stops while the queue is full, and goes on when it is not. */
void run_block_or_go_on(struct run *r);

/* ---- run_metrics.c: counting -------------------------------------------------- */

/* Write the metrics now and then, where they are configured.  0, or -1 on error. */
int run_metrics_begin(struct run *r, struct err *e);
void run_metrics_end(struct run *r); /* and remove their file */

#endif
