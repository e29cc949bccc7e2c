/*
 * content - the JSON of an event, from a rule's values.
 */
#ifndef HEARSAY_EXTRACT_CONTENT_H
#define HEARSAY_EXTRACT_CONTENT_H

struct account_event;
struct arena;
struct capture;
struct pack_emit;
struct slice;

/* The capture called name, or NULL. */
typedef const struct capture *content_find(void *arg, const char *name);

/*
 * Fill user_id, content and source of ev.  item (or NULL) stands for the capture
 * that emit->each names.  A value that is not there is left out; NULL, or the
 * name of the capture without which there is no event (the user's).
 */
const char *content_make(const struct pack_emit *emit, const struct slice *item,
    content_find *find, void *arg, struct arena *a, struct account_event *ev);

#endif
