/*
 * account_event - one MSC3395 synthetic event and where in a log it stands.
 *
 * The place is the event's identity: file, offset of the line that completed
 * it, rule, and ordinal among the events of that rule on that line.
 */
#ifndef HEARSAY_EXTRACT_ACCOUNT_EVENT_H
#define HEARSAY_EXTRACT_ACCOUNT_EVENT_H

#include <stdbool.h>
#include <stdint.h>

struct arena;

struct account_event {
	uint64_t file;    /* key of the file, as tail tells it */
	uint64_t offset;  /* of the completing line, bytes */
	const char *rule; /* "pack/rule" */
	uint32_t ordinal;
	const char *type;           /* stable name: m.user.login, org.hearsay.user.… */
	const char *user_id;        /* whom it is about: @localpart:server */
	const char *content;        /* JSON object, without org.hearsay.source */
	const char *source;         /* JSON object for org.hearsay.source; never NULL */
	int64_t ts;                 /* UTC ms, from the log line */
	struct account_event *next; /* in the order in which they are told */
};

/* A list in order; the events live in the arena that the list was filled from. */
struct account_events {
	struct account_event *first, **last;
	unsigned count;
};

/* Append ev, which must outlive the list. */
void account_events_add(struct account_events *list, struct account_event *ev);

/*
 * Make of ev a report that a user seems to have forged the lines of it: another
 * type, and the one that was forged in the content; in the arena.
 */
#define TYPE_FORGERY_SUSPECTED "org.hearsay.forgery_suspected"
void account_event_suspect(struct account_event *ev, struct arena *a);
bool account_event_suspected(const struct account_event *ev);

/* The content with the source in it, under org.hearsay.source; in the arena. */
const char *account_event_with_source(const struct account_event *ev, struct arena *a);

/* {"type", "content", "ts"}, with the source in the content if asked; in the arena. */
const char *account_event_line(
    const struct account_event *ev, bool source, struct arena *a);

#endif
