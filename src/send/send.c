#include "send/send.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <syslog.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "base/unix_url.h"
#include "config/config.h"
#include "route/route.h"
#include "send/http.h"
#include "send/keep.h"
#include "send/verdict.h"
#include "store/store.h"

#define STORE_RETRY_MS 2000 /* when the store takes nothing: a full disk, mostly */

enum queue_state {
	QUEUE_IDLE, /* nothing waits, as far as is known */
	QUEUE_WAITS, /* until its timer: an attempt failed, the store did, or another sends */
	QUEUE_SENDS, /* its request is under way */
	QUEUE_SAVES  /* txn was accepted, and the store could not note it yet */
};

/* One appservice, its transaction, and what became of that so far. */
struct queue {
	struct send *send;
	const struct appservice *appservice;
	struct http_way way;
	char *socket; /* NULL: it is reached by TCP, at base */
	char *base;   /* what goes before the path of a request */
	enum queue_state state;
	struct event *timer;
	struct http_request *request; /* NULL but in QUEUE_SENDS */
	struct arena *arena;          /* txn lives here */
	struct transaction txn;
	int accepted_status;        /* in QUEUE_SAVES */
	unsigned failures;          /* in a row */
	bool edited;                /* maybe by hand, while its request was under way */
	bool legacy;                /* the receiver knows only the old path */
	int said_status, said_kind; /* the failure that was last told to the operator */
};

struct send {
	const struct config *config;
	struct store *store;
	struct http *http;
	struct queue *queues;
	size_t count;
	struct keep *keep;
	struct event *woken;     /* someone asked to look at all queues */
	struct event *noticed;   /* another process did something; NULL: not to be had */
	struct event *rights;    /* look at them while requests wait; NULL: no need */
	bool store_fails;        /* and that was told */
	bool writing_fails;      /* it does so in noting what came of an attempt */
	struct event *idle;      /* no request is under way after send_stop */
	void (*done)(void *arg); /* NULL before send_stop */
	void *done_arg;
};

static void look(struct queue *q);

static void
wait_ms(struct queue *q, enum queue_state state, int64_t ms)
{
	q->state = state;
	clock_timer(q->timer, ms);
}

/* ---- the store's failures ---------------------------------------------- */

/* A full disk fails every call for hours: it is told once, and its end too. */
static void
store_failed_us(struct send *s, const struct err *e)
{
	if (!s->store_fails)
		say(LOG_ERR, "%s; trying again every %d s", e->text,
		    STORE_RETRY_MS / 1000);
	s->store_fails = true;
}

/*
 * A full disk can be read from: a transaction that was only looked up is no
 * sign that the disk is well, and would tell its end and its beginning in turns.
 */
static void
store_served_us(struct send *s)
{
	if (s->store_fails)
		say(LOG_NOTICE, "the store takes what is written to it again");
	s->store_fails = s->writing_fails = false;
}

/* ---- what came of an attempt ------------------------------------------- */

/* Where the store cannot note it, that is remembered here: it is not sent again. */
static void
save_accepted(struct queue *q)
{
	struct send *s = q->send;
	struct err e;

	if (store_accepted(s->store, q->appservice->id, q->txn.id, q->accepted_status,
		clock_utc_ms(), &e) == -1) {
		s->writing_fails = true;
		store_failed_us(s, &e);
		wait_ms(q, QUEUE_SAVES, STORE_RETRY_MS);
		return;
	}
	store_served_us(s);
	keep_look(s->keep);
	look(q);
}

static void
accepted(struct queue *q, int status)
{
	if (q->failures > 0)
		say(LOG_NOTICE, "appservice %s accepts again; failed attempts: %u",
		    q->appservice->id, q->failures);
	q->failures = 0;
	q->edited = false;
	q->said_status = q->said_kind = 0;
	q->accepted_status = status;
	save_accepted(q);
}

static int64_t
backoff(const struct queue *q)
{
	const struct config *c = q->send->config;
	uint64_t random = 0;

	/* Without random bytes the shortest wait is drawn, which is still one. */
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		random = 0;
	return verdict_backoff(c->backoff_min_ms, c->backoff_max_ms, q->failures, random);
}

static int64_t
delay_of(const struct queue *q, const struct verdict *v, const struct http_answer *answer)
{
	if (v->action == VERDICT_PAUSE)
		return q->send->config->backoff_max_ms;
	if (v->action != VERDICT_AS_TOLD || answer->retry_after_ms == 0)
		return backoff(q);
	if (answer->retry_after_ms > RETRY_AFTER_MAX_MS)
		return RETRY_AFTER_MAX_MS;
	return answer->retry_after_ms;
}

static void
describe(const struct http_answer *answer, const struct verdict *v, const char *errcode,
    struct err *e)
{
	if (answer->status == 0)
		(void)err_set(e, "%s", answer->error);
	else
		(void)err_set(e, "HTTP %d%s%s%s%s", answer->status,
		    errcode[0] == '\0' ? "" : " ", errcode, v->words == NULL ? "" : ": ",
		    v->words == NULL ? "" : v->words);
}

/*
 * Tell the operator.  A failure that goes on as it was is told once; a wrong
 * token each time, since only the operator can end that.
 */
static void
tell_failure(struct queue *q, const struct http_answer *answer, const struct verdict *v,
    const struct err *e, int64_t delay)
{
	if (v->action == VERDICT_PAUSE)
		say(LOG_ERR,
		    "appservice %s: %s; its queue is paused, compare hs_token in %s with what "
		    "the appservice uses",
		    q->appservice->id, e->text, q->appservice->path);
	else if (q->said_status != answer->status || q->said_kind != answer->kind)
		say(LOG_WARNING, "appservice %s: %s; next try in %.1f s",
		    q->appservice->id, e->text, (double)delay / 1000);
	q->said_status = answer->status;
	q->said_kind = answer->kind;
}

static void
tell_set_aside(struct queue *q, const struct err *e)
{
	say(LOG_ERR,
	    "appservice %s: transaction %s of %u events is set aside after %u attempts: %s; "
	    "`hearsay queue' shows it, and the queue goes on",
	    q->appservice->id, q->txn.id, q->txn.events, q->txn.attempts + 1, e->text);
	q->said_status = q->said_kind = 0;
}

/*
 * What becomes of the transaction.  It is set aside by number and by time: a
 * receiver that was restarted with a wrong configuration must not cost it in
 * a minute, and neither must a clock that jumps.
 */
static enum store_then
then_of(const struct queue *q, const struct verdict *v, int64_t now)
{
	const struct config *c = q->send->config;
	const struct transaction *t = &q->txn;
	int64_t first = t->first_refusal_ms == 0 ? now : t->first_refusal_ms;

	if (v->action == VERDICT_PAUSE)
		return STORE_TRY_AGAIN;
	if (c->give_up_after_ms != 0 && t->first_try_ms != 0 &&
	    now - t->first_try_ms >= c->give_up_after_ms)
		return STORE_SET_ASIDE;
	if (v->action != VERDICT_SET_ASIDE)
		return STORE_TRY_AGAIN;
	return t->refusals + 1 >= c->set_aside_tries &&
		now - first >= c->set_aside_after_ms
	    ? STORE_SET_ASIDE
	    : STORE_REFUSED;
}

static void
failed(struct queue *q, const struct http_answer *answer, const struct verdict *v,
    const char *errcode)
{
	struct send *s = q->send;
	int64_t now = clock_utc_ms(), delay;
	enum store_then then = then_of(q, v, now);
	struct err what, e;

	if (q->failures < q->txn.attempts)
		q->failures = q->txn.attempts;
	q->failures++;
	delay = delay_of(q, v, answer);
	describe(answer, v, errcode, &what);
	if (then == STORE_SET_ASIDE)
		tell_set_aside(q, &what);
	else
		tell_failure(q, answer, v, &what, delay);
	if (store_failed(s->store, q->appservice->id, q->txn.id, answer->status,
		what.text, then, now + delay, now, &e) == -1) {
		s->writing_fails = true;
		store_failed_us(s, &e);
		wait_ms(q, QUEUE_WAITS, delay);
		return;
	}
	store_served_us(s);
	/* By the loop, so that failures that need no network are no recursion. */
	wait_ms(q, QUEUE_WAITS, then == STORE_SET_ASIDE || q->edited ? 0 : delay);
	q->edited = false;
}

/* ---- the right to send ------------------------------------------------- */

static void tell_if_idle(struct send *s);

/* What came of it is not known: it is sent again, by whoever may. */
static void
cut(struct queue *q, const char *why)
{
	say(LOG_WARNING, "appservice %s: a request is cut: %s", q->appservice->id, why);
	http_cancel(q->request);
	q->request = NULL;
	if (q->send->done == NULL)
		wait_ms(q, QUEUE_WAITS, 0);
	else
		q->state = QUEUE_IDLE;
	tell_if_idle(q->send);
}

/*
 * We may have stood still, or the store's server may be out of reach, so that
 * another sends by now.  Of what it has sent, nothing must come behind it.
 */
static void
check_rights(void *arg)
{
	struct send *s = arg;
	bool under_way = false;
	struct err e;
	size_t i;

	for (i = 0; i < s->count; i++) {
		struct queue *q = &s->queues[i];

		if (q->state != QUEUE_SENDS)
			continue;
		switch (store_may_go_on(s->store, q->appservice->id, &e)) {
		case 1:
			under_way = true;
			break;
		case 0:
			cut(q, "another hearsay took over");
			break;
		default:
			cut(q, e.text);
		}
	}
	if (under_way)
		clock_timer(s->rights, STORE_RIGHT_MS);
}

static void
on_rights(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	check_rights(arg);
}

/* ---- attempts ---------------------------------------------------------- */

static void answered(void *arg, const struct http_answer *answer);

static char *
url_of(const struct queue *q)
{
	return xasprintf("%s%s/transactions/%s", q->base,
	    q->legacy ? "" : "/_matrix/app/v1", q->txn.id);
}

static void
try(struct queue *q)
{
	char *url = url_of(q);
	struct http_put put = {
	    .url = url,
	    .way = q->way,
	    .token = q->appservice->hs_token,
	    .token_in_query = q->legacy && q->send->config->legacy_token_in_query,
	    .body = q->txn.body,
	    .len = q->txn.body_len,
	    .answered = answered,
	    .arg = q,
	};
	struct err e;

	q->request = http_put(q->send->http, &put, &e);
	free(url);
	if (q->request != NULL) {
		q->state = QUEUE_SENDS;
		return;
	}
	failed(q, &(struct http_answer){.error = e.text, .kind = -1},
	    verdict_of(NULL, 0, 0, ""), "");
}

/*
 * The receiver does not know the path.  Where it knows neither, the new one is
 * first again at the next attempt: a proxy says 404 too while what is behind it
 * starts, and must not turn us away from the right path for good.
 */
static void
other_path(struct queue *q, const struct http_answer *answer, const struct verdict *v,
    const char *errcode)
{
	q->legacy = !q->legacy;
	if (!q->legacy) {
		failed(q, answer, v, errcode);
		return;
	}
	say(LOG_INFO, "appservice %s: HTTP %d; trying the old path /transactions/",
	    q->appservice->id, answer->status);
	if (q->send->done == NULL)
		try(q);
	else
		q->state = QUEUE_IDLE;
}

static void
tell_if_idle(struct send *s)
{
	size_t i;

	if (s->done == NULL)
		return;
	for (i = 0; i < s->count; i++)
		if (s->queues[i].state == QUEUE_SENDS)
			return;
	event_active(s->idle, 0, 0);
}

static void
answered(void *arg, const struct http_answer *answer)
{
	struct queue *q = arg;
	char errcode[ERRCODE_MAX + 1];
	const struct verdict *v;

	q->request = NULL;
	q->state = QUEUE_IDLE;
	verdict_errcode(answer->body, answer->len, q->appservice->hs_token, errcode);
	v = verdict_of(q->send->config->statuses, q->send->config->status_count,
	    answer->status, errcode);
	switch (v->action) {
	case VERDICT_ODD:
		say(LOG_WARNING, "appservice %s: HTTP %d where 200 is right: %s",
		    q->appservice->id, answer->status, v->words);
		/* fall through */
	case VERDICT_ACCEPTED:
		accepted(q, answer->status);
		break;
	case VERDICT_OTHER_PATH:
		other_path(q, answer, v, errcode);
		break;
	case VERDICT_RETRY:
	case VERDICT_AS_TOLD:
	case VERDICT_PAUSE:
	case VERDICT_SET_ASIDE:
		failed(q, answer, v, errcode);
		break;
	}
	tell_if_idle(q->send);
}

/*
 * How long until the transaction is due.  The bound is for a clock that was
 * set back since: without it, the queue would rest for as long as that.
 */
static int64_t
due_in(const struct queue *q)
{
	int64_t most = q->send->config->backoff_max_ms, ms;

	if (most < RETRY_AFTER_MAX_MS)
		most = RETRY_AFTER_MAX_MS;
	ms = q->txn.next_try_ms - clock_utc_ms();
	return ms > most ? most : ms;
}

/* The next transaction, where it is ours to send: as store_next_transaction. */
static int
next_of(struct queue *q, struct err *e)
{
	struct send *s = q->send;
	int64_t again_ms = 0;
	int ours = store_may_send(s->store, q->appservice->id, &again_ms, e);

	if (ours == 1)
		return store_next_transaction(
		    s->store, q->appservice->id, clock_utc_ms(), q->arena, &q->txn, e);
	if (ours == 0 && again_ms > 0)
		wait_ms(q, QUEUE_WAITS, again_ms);
	return ours;
}

/* Take the next transaction, and try it when it is due. */
static void
look(struct queue *q)
{
	struct send *s = q->send;
	struct err e;
	int found;

	q->state = QUEUE_IDLE;
	if (s->done != NULL)
		return;
	arena_reset(q->arena);
	found = next_of(q, &e);
	if (found == -1) {
		store_failed_us(s, &e);
		wait_ms(q, QUEUE_WAITS, STORE_RETRY_MS);
		return;
	}
	if (!s->writing_fails)
		store_served_us(s);
	if (found == 0)
		return;
	if (due_in(q) > 0)
		wait_ms(q, QUEUE_WAITS, due_in(q));
	else
		try(q);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct queue *q = arg;

	(void)fd;
	(void)what;
	if (q->state == QUEUE_SAVES)
		save_accepted(q);
	else
		look(q);
}

/* ---- the whole --------------------------------------------------------- */

static void
on_woken(evutil_socket_t fd, short what, void *arg)
{
	struct send *s = arg;
	size_t i;

	(void)fd;
	(void)what;
	keep_look(s->keep);
	for (i = 0; i < s->count; i++)
		if (s->queues[i].state == QUEUE_IDLE)
			look(&s->queues[i]);
}

/* A queue may have been held or released, a wait ended, a transaction discarded. */
static void
on_noticed(evutil_socket_t fd, short what, void *arg)
{
	struct send *s = arg;
	struct err e;
	size_t i;

	(void)fd;
	(void)what;
	switch (store_noticed(s->store, &e)) {
	case 0:
		return;
	case -1:
		store_failed_us(s, &e);
		break;
	default:
		break;
	}
	for (i = 0; i < s->count; i++) {
		struct queue *q = &s->queues[i];

		q->edited = q->state == QUEUE_SENDS;
		if (q->state != QUEUE_IDLE && q->state != QUEUE_WAITS)
			continue;
		(void)event_del(q->timer);
		look(q);
	}
}

static void
on_idle(evutil_socket_t fd, short what, void *arg)
{
	struct send *s = arg;

	(void)fd;
	(void)what;
	s->done(s->done_arg);
}

/* A token with a line's end in it would be a header of its own. */
static bool
token_fits_header(const char *token)
{
	const unsigned char *p;

	for (p = (const unsigned char *)token; *p != '\0'; p++)
		if (*p < 0x20 || *p == 0x7f)
			return false;
	return true;
}

static bool
can_be_sent_to(const struct appservice *as)
{
	if (as->url == NULL || as->disabled)
		return false;
	if (token_fits_header(as->hs_token))
		return true;
	say(LOG_ERR,
	    "appservice %s: hs_token in %s has control characters; nothing is sent",
	    as->id, as->path);
	return false;
}

/* The registration says where, our own configuration how. */
static void
find_way(struct queue *q)
{
	const struct config *c = q->send->config;
	char *path;
	size_t i;

	if (unix_url_parse(q->appservice->url, &q->socket, &path) == 1) {
		/* The host is only a name here, for the Host header. */
		q->base = xasprintf("http://localhost%s", path);
		free(path);
	} else {
		q->base = xstrdup(q->appservice->url);
	}
	q->way.socket = q->socket;
	for (i = 0; i < c->appservice_count; i++) {
		const struct config_appservice *as = &c->appservices[i];

		if (strcmp(as->id, q->appservice->id) != 0)
			continue;
		q->way.ca = as->ca;
		q->way.certificate = as->certificate;
		q->way.key = as->key;
		q->way.proxy = as->proxy;
		q->way.tls_min = as->tls_min;
	}
}

static void
add_queue(struct send *s, struct event_base *base, const struct appservice *as)
{
	struct queue *q = &s->queues[s->count++];

	q->send = s;
	q->appservice = as;
	find_way(q);
	q->arena = arena_new();
	q->timer = evtimer_new(base, on_timer, q);
	if (q->timer == NULL)
		mem_exhausted();
}

static void
watch_store(struct send *s, struct event_base *base)
{
	int fd = store_fd(s->store);

	if (fd == -1)
		return;
	s->noticed = event_new(base, fd, EV_READ | EV_PERSIST, on_noticed, s);
	if (s->noticed == NULL || event_add(s->noticed, NULL) == -1)
		mem_exhausted();
}

struct send *
send_new(struct event_base *base, const struct config *c, const struct route *r,
    struct store *store, struct err *e)
{
	const struct http_timeouts timeouts = {
	    c->connect_timeout_ms, c->first_byte_timeout_ms, c->send_timeout_ms};
	struct send *s = xcalloc(1, sizeof(*s));
	size_t i;

	s->config = c;
	s->store = store;
	s->http =
	    http_new(base, &timeouts, store_is_shared(store) ? check_rights : NULL, s, e);
	if (s->http == NULL) {
		free(s);
		return NULL;
	}
	s->woken = event_new(base, -1, 0, on_woken, s);
	s->idle = event_new(base, -1, 0, on_idle, s);
	if (store_is_shared(store))
		s->rights = evtimer_new(base, on_rights, s);
	if (s->woken == NULL || s->idle == NULL ||
	    (store_is_shared(store) && s->rights == NULL))
		mem_exhausted();
	watch_store(s, base);
	s->keep = keep_new(base, c, store);
	s->queues = xcalloc(route_count(r), sizeof(*s->queues));
	for (i = 0; i < route_count(r); i++)
		if (can_be_sent_to(route_appservice(r, i)))
			add_queue(s, base, route_appservice(r, i));
	send_wake(s);
	return s;
}

void
send_free(struct send *s)
{
	size_t i;

	if (s == NULL)
		return;
	for (i = 0; i < s->count; i++) {
		http_cancel(s->queues[i].request);
		event_free(s->queues[i].timer);
		arena_free(s->queues[i].arena);
		free(s->queues[i].socket);
		free(s->queues[i].base);
	}
	http_free(s->http);
	keep_free(s->keep);
	if (s->noticed != NULL)
		event_free(s->noticed);
	if (s->rights != NULL)
		event_free(s->rights);
	event_free(s->woken);
	event_free(s->idle);
	free(s->queues);
	free(s);
}

/* From the loop, so that this can be called from anywhere, and many calls are one. */
void
send_wake(struct send *s)
{
	event_active(s->woken, 0, 0);
}

void
send_stop(struct send *s, void (*done)(void *arg), void *arg)
{
	size_t i;

	s->done = done;
	s->done_arg = arg;
	for (i = 0; i < s->count; i++)
		if (s->queues[i].state == QUEUE_WAITS) {
			(void)event_del(s->queues[i].timer);
			s->queues[i].state = QUEUE_IDLE;
		}
	tell_if_idle(s);
}
