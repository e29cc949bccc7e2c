/*
 * registration - one appservice's registration file, and what it subscribes to.
 */
#ifndef HEARSAY_ROUTE_REGISTRATION_H
#define HEARSAY_ROUTE_REGISTRATION_H

#include <stdint.h>
#include <sys/types.h>
#include <xxhash.h>

#include "route/route.h"

struct err_list;
struct users;

/* The key under which hearsay's own configuration subscribes. */
#define STABLE_KEY "m.synthetic_events"

/* A type as the subscription lists it, and the stable name that it stands for. */
struct listed_type {
	char *sent;
	char *stable;
};

struct subscription {
	const char *key; /* of the body; a constant */
	struct listed_type *types;
	size_t type_count;
	struct users **users; /* whom it is about; the users are the registration's */
	size_t user_count;    /* 0: every local user */
	struct subscription *next;
};

struct registration {
	struct appservice appservice; /* its strings are the next four */
	char *id, *url, *hs_token, *path;
	XXH128_hash_t as_hash, hs_hash; /* of the tokens: are they in two files? */
	bool has_as_token;
	dev_t dev; /* which file it is: two globs may find it */
	ino_t ino;
	struct users **users;       /* all that its subscriptions name */
	size_t user_count;          /* of these */
	size_t namespace_count;     /* the first so many are namespaces.users[] */
	struct subscription *first; /* in order: the first that fits is sent */
};

/*
 * Read the file at path.  seed is for the hashes of tokens; it is not kept, so that they tell nothing.  NULL where there is
 * any mistake; errs then has all of them.  Patterns are not compiled yet.
 */
struct registration *registration_read(
    const char *path, uint64_t seed, struct err_list *errs);
void registration_free(struct registration *r); /* overwrites the token first */

/* Takes u as one of r's users, and returns it. */
struct users *registration_take_users(struct registration *r, struct users *u);

/* Add a subscription, without types yet, behind those that there are: to users, or (count 0) everyone. */
struct subscription *registration_subscribe(struct registration *r, const char *key,
    struct users *const *users, size_t user_count);
/* Add a type to it, as listed; copied. */
void subscription_add_type(struct subscription *s, const char *listed);

#endif
