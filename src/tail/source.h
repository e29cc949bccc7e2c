/*
 * source - a log that is no file: what is done with a pipe and with the journal.
 *
 * Each is opened by its own module (pipe.h, journal.h) and told apart no more.
 */
#ifndef HEARSAY_TAIL_SOURCE_H
#define HEARSAY_TAIL_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

struct checkpoint;
struct source;
struct tail_chunk;

struct source_hooks {
	/*
	 * As the hook of tail: 0 where the chunk, whose log is NULL, was taken; 1: not
	 * now, it is offered again after source_go_on.
	 */
	int (*lines)(void *arg, const struct tail_chunk *c);
	/* What stood before the next chunk can't be had any more; why is a sentence. */
	void (*gap)(void *arg, const char *why);
};

/* What was taken so far. */
struct source_stats {
	uint64_t bytes;
	uint64_t long_lines; /* passed over for their length: in the journal, fields */
};

void source_close(struct source *s); /* NULL is allowed */
void source_go_on(struct source *s);
/* Take what was written already, without waiting for more; at most limit_ms. */
void source_drain(struct source *s, int64_t limit_ms);
/*
 * Where reading stands, as of the last chunk that was taken; resume and last_ts
 * as tail_checkpoints tells them.  true: the path in *cp_r is the caller's to
 * free.  false: there is no such place, as in a pipe.
 */
bool source_checkpoint(const struct source *s, struct checkpoint *cp_r);
const struct source_stats *source_stats(const struct source *s);

/* For those who make one: a struct source is the first member of theirs. */
struct source_kind {
	void (*close)(struct source *s);
	void (*go_on)(struct source *s);
	void (*drain)(struct source *s, int64_t limit_ms);
	bool (*checkpoint)(const struct source *s, struct checkpoint *cp_r); /* or NULL */
};

struct source {
	const struct source_kind *kind;
	struct source_stats stats;
};

#endif
