/*
 * pending - events that wait until the log has shown whether they are genuine.
 *
 * They are told in the order of the log, so what follows one that waits waits
 * as well.  Each has the number of the line that told it (doubt.h): a line is
 * decided when the numbers up to its own are.
 */
#ifndef HEARSAY_EXTRACT_PENDING_H
#define HEARSAY_EXTRACT_PENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct account_event;
struct account_events;
struct arena;
struct pending;

struct pending *pending_new(void);
void pending_free(struct pending *p);

/*
 * ev, told by the line of that number, waits: copied, so that it outlives its
 * arena.  again: it was told before the last stop, if it was decided then.
 */
void pending_add(
    struct pending *p, const struct account_event *ev, uint64_t number, bool again);

/* What waits of lines behind number is forged: it will only be suspected. */
void pending_forged(struct pending *p, uint64_t number, struct arena *a);

/*
 * Append to out, in the arena, what is decided by now, in order: what waits of
 * lines up to number.  What was told before is dropped while again is so.
 */
void pending_tell(struct pending *p, uint64_t number, bool again, struct arena *a,
    struct account_events *out);

size_t pending_count(const struct pending *p);

#endif
