/*
 * route - who is told of an event: the appservices' registrations.
 *
 * Reads registration files (YAML) and subscriptions from hearsay's own
 * configuration, and answers for one event which appservices get it, and in
 * which words (spec: "Subscription").
 */
#ifndef HEARSAY_ROUTE_ROUTE_H
#define HEARSAY_ROUTE_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct account_event;
struct config;
struct err_list;
struct route;

/* One appservice, as its registration has it.  Owned by route. */
struct appservice {
	const char *id;
	const char *url;      /* NULL: deliver nothing, queue nothing */
	const char *hs_token; /* a secret: never print, never store */
	const char *path;     /* of the registration, for messages */
	bool subscribed;      /* asks for any synthetic event at all */
	bool disabled;        /* a pattern does not compile; err_list has why */
};

/*
 * Load every registration that the configuration names.  A file that can't be
 * read or is wrong is told in errs (file:line: …), all of them at once; the
 * others are loaded.  Never NULL.
 */
struct route *route_load(const struct config *c, struct err_list *errs);
/* How many of the mistakes told in errs only disable their appservice: the others go on. */
size_t route_disabling(const struct route *r);
void route_free(struct route *r); /* overwrites the tokens first */

size_t route_count(const struct route *r);
const struct appservice *route_appservice(const struct route *r, size_t i);
/* NULL where there is none of that id. */
const struct appservice *route_find(const struct route *r, const char *id);

/* One delivery: to whom, under which body key, under which type. */
struct route_delivery {
	const struct appservice *appservice;
	const char *key;  /* "m.synthetic_events", or with an unstable prefix */
	const char *type; /* as the subscription listed it */
};

/*
 * The deliveries of ev (each appservice at most once), for a user local to
 * server_name.  Fills out_r, which has room for route_count() of them, and
 * returns how many.  Strings live as long as r.
 */
size_t route_event(const struct route *r, const char *server_name,
    const struct account_event *ev, struct route_delivery *out_r);

/*
 * How often PCRE2 gave up on a user's id (match limit) since the start: no
 * event went there for it, and that is never silent.  *id_r (may be NULL) is
 * the last such appservice's, NULL if there was none.
 */
uint64_t route_errors(const struct route *r, const char **id_r);

#endif
