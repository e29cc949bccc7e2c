/*
 * send - deliver the outbox: one transaction at a time to each appservice.
 *
 * Takes the next transaction of each appservice from the store, PUTs it
 * (libcurl's multi interface on the one event loop) and tells the store what
 * came of it.  What a status means, backoff, and the legacy path are in the
 * spec under "Delivery".  One dead appservice never delays another.
 */
#ifndef HEARSAY_SEND_SEND_H
#define HEARSAY_SEND_SEND_H

struct config;
struct err;
struct event_base;
struct route;
struct send;
struct store;

/*
 * Borrows all its arguments until send_free.  Begins at once with what waits
 * from the last run.  NULL on error.
 */
struct send *send_new(struct event_base *base, const struct config *c,
    const struct route *r, struct store *s, struct err *e);
/* Requests under way are cut; their transactions stay in the store. */
void send_free(struct send *s);

/* New deliveries were committed for any of the appservices: look for them. */
void send_wake(struct send *s);

/*
 * Nothing new is begun any more; done is called from the loop as soon as no
 * request is under way.
 */
void send_stop(struct send *s, void (*done)(void *arg), void *arg);

#endif
