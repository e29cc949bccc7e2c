#include "route/route.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/err.h"
#include "base/mem.h"
#include "config/config.h"
#include "extract/account_event.h"
#include "route/registration.h"
#include "route/users.h"

struct route {
	size_t disabling; /* mistakes that only disable an appservice */
	struct registration **registrations; /* in order of the configuration */
	size_t count;
	struct given_up {
		uint64_t times;
		const char *id;
	} * given_up;
};

/* ---- registrations --------------------------------------------------------- */

static bool
same_hash(XXH128_hash_t a, XXH128_hash_t b)
{
	return XXH128_isEqual(a, b) != 0;
}

/* What two files must not have in common; NULL where it is nothing. */
static const char *
common(const struct registration *a, const struct registration *b)
{
	if (strcmp(a->id, b->id) == 0)
		return "id";
	if (same_hash(a->hs_hash, b->hs_hash))
		return "hs_token";
	if (a->has_as_token && b->has_as_token && same_hash(a->as_hash, b->as_hash))
		return "as_token";
	return NULL;
}

/* Takes reg, or frees it where it is one of r's already or contradicts one. */
static void
take(struct route *r, struct registration *reg, struct err_list *errs)
{
	const char *what = NULL;
	bool same = false;
	size_t i;

	for (i = 0; i < r->count && what == NULL && !same; i++) {
		const struct registration *other = r->registrations[i];

		same = other->dev == reg->dev && other->ino == reg->ino;
		what = same ? NULL : common(other, reg);
		if (what != NULL)
			(void)err_list_add(errs,
			    "%s: has the \"%s\" of %s; each needs its own", reg->path,
			    what, other->path);
	}
	if (what != NULL || same) {
		registration_free(reg);
		return;
	}
	r->registrations =
	    xreallocarray(r->registrations, r->count + 1, sizeof(struct registration *));
	r->registrations[r->count++] = reg;
}

/* A glob that matches nothing is no mistake: no appservice is registered yet. */
static void
load_glob(struct route *r, const char *pattern, uint64_t seed, struct err_list *errs)
{
	struct registration *reg;
	glob_t found = {0};
	size_t i;
	int got;

	got = glob(pattern, GLOB_ERR | GLOB_NOMAGIC, NULL, &found);
	if (got == GLOB_NOSPACE)
		mem_exhausted();
	if (got == GLOB_ABORTED)
		(void)err_list_add(
		    errs, "%s: cannot be looked for: %s", pattern, strerror(errno));
	for (i = 0; got == 0 && i < found.gl_pathc; i++) {
		reg = registration_read(found.gl_pathv[i], seed, errs);
		if (reg != NULL)
			take(r, reg, errs);
	}
	globfree(&found);
}

static struct registration *
find(const struct route *r, const char *id)
{
	size_t i;

	for (i = 0; i < r->count; i++)
		if (strcmp(r->registrations[i]->id, id) == 0)
			return r->registrations[i];
	return NULL;
}

/* ---- subscriptions ------------------------------------------------------------ */

static void
add_configured(struct route *r, const struct config *c,
    const struct config_subscription *from, struct err_list *errs)
{
	struct registration *reg = find(r, from->appservice);
	struct subscription *s;
	struct users *u;
	size_t i;

	if (reg == NULL) {
		(void)err_list_add(errs,
		    "%s:%u: no registration that could be read is of appservice \"%s\"",
		    c->path, from->line, from->appservice);
		return;
	}
	if (from->users == NULL) {
		s = registration_subscribe(
		    reg, STABLE_KEY, reg->users, reg->namespace_count);
	} else {
		u = registration_take_users(
		    reg, users_new(from->users, c->path, from->line));
		s = registration_subscribe(reg, STABLE_KEY, &u, 1);
	}
	for (i = 0; i < from->event_count; i++)
		subscription_add_type(s, from->events[i]);
}

/* The patterns that matter; a bridge's others are none of our business. */
static void
compile(struct route *r, struct registration *reg, struct err_list *errs)
{
	const struct subscription *s;
	size_t before = errs->count, i;

	for (s = reg->first; s != NULL; s = s->next) {
		if (s->type_count == 0)
			continue;
		reg->appservice.subscribed = true;
		for (i = 0; i < s->user_count; i++)
			(void)users_compile(s->users[i], errs);
	}
	if (errs->count == before)
		return;
	reg->appservice.disabled = true;
	(void)err_list_add(errs,
	    "%s: \"%s\" is told nothing until its patterns are mended", reg->path,
	    reg->id);
	r->disabling += errs->count - before;
}

struct route *
route_load(const struct config *c, struct err_list *errs)
{
	struct route *r = xcalloc(1, sizeof(*r));
	uint64_t seed = 0;
	size_t i;

	r->given_up = xcalloc(1, sizeof(*r->given_up));
	if (getrandom(&seed, sizeof(seed), 0) == -1)
		seed = 0; /* the hashes can be compared all the same */
	for (i = 0; i < c->registration_count; i++)
		load_glob(r, c->registrations[i], seed, errs);
	for (i = 0; i < c->subscription_count; i++)
		add_configured(r, c, &c->subscriptions[i], errs);
	for (i = 0; i < r->count; i++)
		compile(r, r->registrations[i], errs);
	return r;
}

void
route_free(struct route *r)
{
	size_t i;

	if (r == NULL)
		return;
	for (i = 0; i < r->count; i++)
		registration_free(r->registrations[i]);
	free(r->registrations);
	free(r->given_up);
	free(r);
}

size_t
route_disabling(const struct route *r)
{
	return r->disabling;
}

size_t
route_count(const struct route *r)
{
	return r->count;
}

const struct appservice *
route_appservice(const struct route *r, size_t i)
{
	return &r->registrations[i]->appservice;
}

const struct appservice *
route_find(const struct route *r, const char *id)
{
	const struct registration *reg = find(r, id);

	return reg == NULL ? NULL : &reg->appservice;
}

/* ---- events --------------------------------------------------------------------- */

static bool
is_local(const char *user_id, const char *server_name)
{
	const char *colon = strchr(user_id, ':'); /* no localpart has one */

	return user_id[0] == '@' && colon != NULL && strcmp(colon + 1, server_name) == 0;
}

static const struct listed_type *
type_of(const struct subscription *s, const char *type)
{
	size_t i;

	for (i = 0; i < s->type_count; i++)
		if (strcmp(s->types[i].stable, type) == 0)
			return &s->types[i];
	return NULL;
}

static bool
is_about(const struct route *r, const struct registration *reg,
    const struct subscription *s, const char *user_id)
{
	size_t i;
	int got;

	for (i = 0; i < s->user_count; i++) {
		got = users_match(s->users[i], user_id);
		if (got == 1)
			return true;
		if (got == -1) {
			r->given_up->times++;
			r->given_up->id = reg->id;
		}
	}
	return s->user_count == 0;
}

/* 1 and *out_r where reg gets the event; else 0. */
static size_t
deliver(const struct route *r, const struct registration *reg,
    const struct account_event *ev, struct route_delivery *out_r)
{
	const struct subscription *s;
	const struct listed_type *type;

	if (reg->appservice.disabled || reg->url == NULL)
		return 0;
	for (s = reg->first; s != NULL; s = s->next) {
		type = type_of(s, ev->type);
		if (type == NULL || !is_about(r, reg, s, ev->user_id))
			continue;
		*out_r = (struct route_delivery){&reg->appservice, s->key, type->sent};
		return 1;
	}
	return 0;
}

size_t
route_event(const struct route *r, const char *server_name,
    const struct account_event *ev, struct route_delivery *out_r)
{
	size_t i, count = 0;

	if (!is_local(ev->user_id, server_name))
		return 0;
	for (i = 0; i < r->count; i++)
		count += deliver(r, r->registrations[i], ev, &out_r[count]);
	return count;
}

uint64_t
route_errors(const struct route *r, const char **id_r)
{
	if (id_r != NULL)
		*id_r = r->given_up->id;
	return r->given_up->times;
}
