/*
 * body - the JSON body of a transaction, put together event by event.
 */
#ifndef HEARSAY_STORE_BODY_H
#define HEARSAY_STORE_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

/* text is owned by the caller (buf_free). */
struct body {
	struct buf text;
	unsigned events;
};

/* Begin a body whose events stand under key. */
void body_begin(struct body *b, const char *key);
/*
 * Add an event; content is JSON and goes in as it is.  False, and b as it was,
 * where it would break a limit of store.h.  The first event always fits: one
 * that is too large by itself is for the receiver to refuse, not for us to drop.
 */
bool body_add(struct body *b, const char *type, const char *content, int64_t ts);
void body_end(struct body *b);

#endif
