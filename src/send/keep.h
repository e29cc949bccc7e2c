/*
 * keep - what was accepted stays in the store for a time, and is forgotten then.
 *
 * A few at a time, between other things of the loop, so that nothing waits for
 * it; and no timer is set for longer than something is there to be forgotten.
 */
#ifndef HEARSAY_SEND_KEEP_H
#define HEARSAY_SEND_KEEP_H

struct config;
struct event_base;
struct keep;
struct store;

/* Borrows all its arguments until keep_free. */
struct keep *keep_new(
    struct event_base *base, const struct config *c, struct store *store);
void keep_free(struct keep *k); /* NULL is allowed */

/* The store has grown: look soon whether that is too much. */
void keep_look(struct keep *k);

#endif
