/*
 * backfill - events of the past, for one appservice, through its queue.
 *
 * They go the way of all events, marked as "org.hearsay.backfill" in their
 * content.  The place of each in its log is remembered with it, so that a
 * second backfill of the same lines queues nothing, and neither does one of
 * what was told live.
 */
#ifndef HEARSAY_COMMANDS_BACKFILL_H
#define HEARSAY_COMMANDS_BACKFILL_H

#include <stdint.h>

struct account_events;
struct arena;
struct backfill;
struct err;

/* Load the configuration at path and open its store.  NULL on error. */
struct backfill *backfill_new(const char *path, const char *appservice, struct err *e);
void backfill_free(struct backfill *b); /* NULL is allowed */

/*
 * The key of the file at path: that of its checkpoint where run knows it, also
 * by another name or compressed, and else one that its beginning gives.
 */
int backfill_file(struct backfill *b, const char *path, uint64_t *key_r, struct err *e);

/*
 * Queue those of events that happened from since until until and that the
 * appservice asks for.  server: whose log it is; NULL: of the only one of the
 * configuration.  Waits while the queue is well filled.
 */
int backfill_put(struct backfill *b, const struct account_events *events,
    const char *server, int64_t since, int64_t until, struct arena *a, struct err *e);

/*
 * How many were queued, how many had been before, and how many stand behind
 * what run has read of its logs: it will tell them itself.
 */
void backfill_counts(
    const struct backfill *b, uint64_t *queued_r, uint64_t *known_r, uint64_t *ahead_r);

#endif
