/*
 * told - which events were told a while ago, so that none is told twice.
 *
 * A server may write twice what happened once: two of its jobs race, or one is
 * tried again.  A rule whose emit has "unless_told" tells such an event the
 * first time only, until a rule that "renews" its type says that it can happen
 * again, or a while has passed.
 */
#ifndef HEARSAY_EXTRACT_TOLD_H
#define HEARSAY_EXTRACT_TOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct account_event;
struct told;

/* Remembers max events at most, the oldest are forgotten first; each for timeout_ms. */
struct told *told_new(int64_t timeout_ms, size_t max);
void told_free(struct told *t);

/* Was an event of the same type and content noted?  If not, it is now. */
bool told_before(struct told *t, const struct account_event *ev);

/* Forget the events of one type. */
void told_forget(struct told *t, const char *type);

#endif
