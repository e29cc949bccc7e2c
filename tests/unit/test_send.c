#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <event2/event.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "config/config.h"
#include "extract/account_event.h"
#include "route/route.h"
#include "send/send.h"
#include "send/verdict.h"
#include "store/store.h"

#define TOKEN "s3cret+/="
#define BOUND_MS 20000 /* nothing here takes longer, on any machine that works */
#define REQUESTS_MAX 64
#define NEW_PATH "/_matrix/app/v1/transactions/"
#define OLD_PATH "/transactions/"

/* ---- a receiver on the same loop --------------------------------------- */

struct request {
	char *method, *path, *id, *authorization, *type, *expect, *query_token;
	struct buf body;
};

struct reply {
	int status; /* 0: cut the connection */
	const char *body;
	const char *header, *value;
	bool endless; /* the body goes on for ever */
};

struct receiver {
	struct MHD_Daemon *daemon;
	struct event *ready;
	uint16_t port;
	struct request requests[REQUESTS_MAX];
	size_t count;
	struct reply replies[8]; /* to the first requests; then 200 */
	size_t reply_count;
	bool only_old_path;
	bool knows_no_path;
	void (*seen)(void *arg); /* called at each request */
	void *arg;
};

static char *
header(struct MHD_Connection *c, enum MHD_ValueKind kind, const char *name)
{
	const char *value = MHD_lookup_connection_value(c, kind, name);

	return value == NULL ? NULL : xstrdup(value);
}

static ssize_t
fill(void *arg, uint64_t at, char *p, size_t len)
{
	(void)arg;
	(void)at;
	memset(p, ' ', len);
	return (ssize_t)len;
}

static enum MHD_Result
reply_with(struct MHD_Connection *c, const struct reply *reply)
{
	const char *body = reply->body == NULL ? "{}" : reply->body;
	struct MHD_Response *response;
	enum MHD_Result rc;

	if (reply->status == 0)
		return MHD_NO;
	response = reply->endless
	    ? MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, fill, NULL, NULL)
	    : MHD_create_response_from_buffer(
		  strlen(body), (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
	if (reply->header != NULL)
		(void)MHD_add_response_header(response, reply->header, reply->value);
	rc = MHD_queue_response(c, (unsigned)reply->status, response);
	MHD_destroy_response(response);
	return rc;
}

static enum MHD_Result
take(void *arg, struct MHD_Connection *c, const char *url, const char *method,
    const char *version, const char *data, size_t *len, void **request)
{
	static const struct reply fine = {.status = 200};
	static const struct reply unknown = {
	    .status = 404, .body = "{\"errcode\":\"M_UNRECOGNIZED\"}"};
	struct receiver *r = arg;
	struct request *q = *request;

	(void)version;
	if (q == NULL) {
		assert_true(r->count < REQUESTS_MAX);
		q = *request = &r->requests[r->count++];
		q->method = xstrdup(method);
		q->path = xstrdup(url);
		q->id = xstrdup(strrchr(url, '/') + 1);
		q->authorization = header(c, MHD_HEADER_KIND, "Authorization");
		q->type = header(c, MHD_HEADER_KIND, "Content-Type");
		q->expect = header(c, MHD_HEADER_KIND, "Expect");
		q->query_token = header(c, MHD_GET_ARGUMENT_KIND, "access_token");
		return MHD_YES;
	}
	if (*len > 0) {
		buf_add(&q->body, data, *len);
		*len = 0;
		return MHD_YES;
	}
	if (r->seen != NULL)
		r->seen(r->arg);
	if (r->knows_no_path ||
	    (r->only_old_path && strncmp(url, OLD_PATH, strlen(OLD_PATH)) != 0))
		return reply_with(c, &unknown);
	if ((size_t)(q - r->requests) < r->reply_count)
		return reply_with(c, &r->replies[q - r->requests]);
	return reply_with(c, &fine);
}

static void
serve(evutil_socket_t fd, short what, void *arg)
{
	struct receiver *r = arg;
	MHD_UNSIGNED_LONG_LONG ms;

	(void)fd;
	(void)what;
	do
		(void)MHD_run(r->daemon);
	while (MHD_get_timeout(r->daemon, &ms) == MHD_YES && ms == 0);
}

/* Listen at r->port, or at any where that is 0. */
static void
receiver_start(struct receiver *r, struct event_base *base)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(r->port)};

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	r->daemon = MHD_start_daemon(MHD_USE_EPOLL, r->port, NULL, NULL, take, r,
	    MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
	    MHD_OPTION_LISTENING_ADDRESS_REUSE, 1U, MHD_OPTION_END);
	assert_non_null(r->daemon);
	r->port = MHD_get_daemon_info(r->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
	r->ready = event_new(base,
	    MHD_get_daemon_info(r->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd,
	    EV_READ | EV_PERSIST, serve, r);
	assert_int_equal(event_add(r->ready, NULL), 0);
}

static void
receiver_stop(struct receiver *r)
{
	if (r->daemon == NULL)
		return;
	event_free(r->ready);
	MHD_stop_daemon(r->daemon);
	r->daemon = NULL;
}

static void
receiver_clear(struct receiver *r)
{
	receiver_stop(r);
	while (r->count > 0) {
		struct request *q = &r->requests[--r->count];

		free(q->method);
		free(q->path);
		free(q->id);
		free(q->authorization);
		free(q->type);
		free(q->expect);
		free(q->query_token);
		buf_free(&q->body);
	}
}

/* ---- the fixture ------------------------------------------------------- */

struct fixture {
	char dir[256];
	char *registrations[2];
	char *store_path;
	struct config config;
	struct event_base *base;
	struct event *tick; /* so that the loop looks at the bound */
	struct store *store;
	struct route *route;
	struct send *send;
	struct arena *a;
	struct receiver receiver;
	const char *content; /* of the events; NULL: {} */
	uint64_t offset;
	bool done;
	struct err e;
};

static int64_t
now_ms(clockid_t clock)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(clock, &ts), 0);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void
do_nothing(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static int
setup(void **state)
{
	const struct timeval tick = {.tv_usec = 5000};
	struct fixture *f = xcalloc(1, sizeof(*f));
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(
	    f->dir, sizeof(f->dir), "%s/hearsay-send-XXXXXX", tmp == NULL ? "/tmp" : tmp);
	assert_non_null(mkdtemp(f->dir));
	f->store_path = xasprintf("%s/store", f->dir);
	f->base = event_base_new();
	f->tick = event_new(f->base, -1, EV_PERSIST, do_nothing, NULL);
	assert_int_equal(event_add(f->tick, &tick), 0);
	f->store = store_open(f->store_path, STORE_OWN, &f->e);
	assert_non_null(f->store);
	f->a = arena_new();
	f->config.connect_timeout_ms = 5000;
	f->config.send_timeout_ms = 10000;
	f->config.backoff_min_ms = 1;
	f->config.backoff_max_ms = 20;
	f->config.set_aside_tries = 20;
	f->config.set_aside_after_ms = 3600 * 1000;
	f->config.keep_accepted_ms = 3600 * 1000;
	f->config.keep_size = 1024;
	f->config.registrations = f->registrations;
	receiver_start(&f->receiver, f->base);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	static const char *const ends[] = {"", ".lock", "-wal", "-shm"};
	struct fixture *f = *state;
	size_t i;

	send_free(f->send);
	receiver_clear(&f->receiver);
	route_free(f->route);
	store_close(f->store);
	arena_free(f->a);
	event_free(f->tick);
	event_base_free(f->base);
	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		char *path = xasprintf("%s%s", f->store_path, ends[i]);

		(void)unlink(path);
		free(path);
	}
	for (i = 0; i < f->config.registration_count; i++) {
		(void)unlink(f->registrations[i]);
		free(f->registrations[i]);
	}
	free(f->store_path);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static void
add_registration(struct fixture *f, const char *id, unsigned port, const char *path)
{
	char *file = xasprintf("%s/%s.yaml", f->dir, id);
	FILE *out = fopen(file, "w");

	assert_non_null(out);
	assert_true(
	    fprintf(out,
		"id: %s\nurl: \"http://127.0.0.1:%u%s\"\nas_token: as-%s\n"
		"hs_token: \"%s%s\"\nsender_localpart: %s\n"
		"namespaces:\n  users:\n    - regex: '@.*'\n      exclusive: false\n"
		"      m.synthetic_events:\n        events: [m.user.login]\n",
		id, port, path, id, TOKEN, strcmp(id, "irc") == 0 ? "" : id, id) > 0);
	assert_int_equal(fclose(out), 0);
	f->registrations[f->config.registration_count++] = file;
}

static void
start(struct fixture *f)
{
	struct err_list errs = {0};

	if (f->config.registration_count == 0)
		add_registration(f, "irc", f->receiver.port, "");
	f->route = route_load(&f->config, &errs);
	if (errs.count > 0)
		fail_msg("%s", errs.texts[0]);
	f->send = send_new(f->base, &f->config, f->route, f->store, &f->e);
	assert_non_null(f->send);
}

static void
restart(struct fixture *f)
{
	send_free(f->send);
	f->send = send_new(f->base, &f->config, f->route, f->store, &f->e);
	assert_non_null(f->send);
}

static void
queue(struct fixture *f, const char *appservice, unsigned events)
{
	const struct store_delivery to = {
	    appservice, "m.synthetic_events", "m.user.login"};
	struct account_event ev = {.file = 1,
	    .rule = "p/r",
	    .type = "m.user.login",
	    .user_id = "@a:b",
	    .content = f->content == NULL ? "{}" : f->content,
	    .source = "{}"};

	assert_int_equal(store_begin(f->store, &f->e), 0);
	for (; events > 0; events--) {
		ev.offset = ++f->offset;
		ev.ts = (int64_t)ev.offset;
		assert_int_equal(
		    store_put_event(f->store, "l", &ev, &to, 1, 1, NULL, &f->e), 0);
	}
	assert_int_equal(store_commit(f->store, &f->e), 0);
}

static uint64_t
waiting(struct fixture *f)
{
	uint64_t count;

	assert_int_equal(store_waiting(f->store, &count, &f->e), 0);
	return count;
}

static struct store_queue_status *
status_of(struct fixture *f, const char *appservice)
{
	struct store_queue_status *q;
	size_t count, i;

	assert_int_equal(store_queue_statuses(f->store, f->a, &q, &count, &f->e), 0);
	for (i = 0; i < count; i++)
		if (strcmp(q[i].appservice, appservice) == 0)
			return &q[i];
	fail_msg("no queue %s", appservice);
	return NULL;
}

/* Let the loop run until the fact holds. */
#define RUN_UNTIL(f, fact)                                                               \
	do {                                                                             \
		int64_t end_ = now_ms(CLOCK_MONOTONIC) + BOUND_MS;                       \
		while (!(fact)) {                                                        \
			if (now_ms(CLOCK_MONOTONIC) > end_)                              \
				fail_msg("not within the bound: %s", #fact);             \
			assert_int_equal(event_base_loop((f)->base, EVLOOP_ONCE), 0);    \
		}                                                                        \
	} while (0)

/* Let everything run that is due now. */
static void
run_what_is_due(struct fixture *f)
{
	int i;

	for (i = 0; i < 20; i++)
		assert_int_equal(event_base_loop(f->base, EVLOOP_NONBLOCK), 0);
}

static void
assert_same_request(const struct request *a, const struct request *b)
{
	assert_string_equal(a->id, b->id);
	assert_string_equal(a->body.p, b->body.p);
}

static void
assert_path(const struct request *q, const char *path)
{
	assert_int_equal(strncmp(q->path, path, strlen(path)), 0);
	assert_int_equal(strlen(q->path), strlen(path) + strlen(q->id));
}

/* ---- attempts ---------------------------------------------------------- */

static void
request_is_as_the_contract_says(void **state)
{
	struct fixture *f = *state;
	struct request *q = &f->receiver.requests[0];

	start(f);
	run_what_is_due(f);
	assert_int_equal(f->receiver.count, 0);
	queue(f, "irc", 2);
	send_wake(f->send);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, 1);
	assert_string_equal(q->method, "PUT");
	assert_path(q, NEW_PATH);
	assert_int_equal(strncmp(q->id, "hs-", 3), 0);
	assert_string_equal(q->authorization, "Bearer " TOKEN);
	assert_string_equal(q->type, "application/json");
	assert_null(q->expect);
	assert_null(q->query_token);
	assert_string_equal(q->body.p,
	    "{\"events\":[],\"m.synthetic_events\":["
	    "{\"type\":\"m.user.login\",\"content\":{},\"ts\":1},"
	    "{\"type\":\"m.user.login\",\"content\":{},\"ts\":2}]}");
	assert_int_equal(status_of(f, "irc")->accepted, 2);
	assert_int_equal(status_of(f, "irc")->last_status, 200);
}

static void
url_may_have_a_path_and_a_slash_behind_it(void **state)
{
	struct fixture *f = *state;

	add_registration(f, "irc", f->receiver.port, "/base/");
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_path(&f->receiver.requests[0], "/base" NEW_PATH);
}

static void
other_2xx_is_accepted(void **state)
{
	struct fixture *f = *state;

	f->receiver.replies[0] = (struct reply){.status = 202};
	f->receiver.reply_count = 1;
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, 1);
	assert_int_equal(status_of(f, "irc")->last_status, 202);
}

static void
failure_is_tried_again_with_the_same_id_and_bytes(void **state)
{
	struct fixture *f = *state;
	static const int statuses[] = {500, 0, 400, 413, 302, 502, 599};
	const size_t n = sizeof(statuses) / sizeof(statuses[0]);
	size_t i;

	for (i = 0; i < n; i++)
		f->receiver.replies[i] = (struct reply){
		    .status = statuses[i], .header = "Location", .value = "/"};
	f->receiver.reply_count = n;
	queue(f, "irc", 3);
	start(f);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, n + 1);
	for (i = 1; i <= n; i++) {
		assert_same_request(&f->receiver.requests[0], &f->receiver.requests[i]);
		assert_path(&f->receiver.requests[i], NEW_PATH);
	}
	assert_string_equal(status_of(f, "irc")->last_error, "HTTP 599");
	assert_true(status_of(f, "irc")->last_failure_ms > 0);
}

static void
transactions_come_in_order_one_at_a_time(void **state)
{
	struct fixture *f = *state;
	size_t i;

	f->receiver.replies[0] = (struct reply){.status = 200};
	f->receiver.replies[1] = (struct reply){.status = 500};
	f->receiver.reply_count = 2;
	queue(f, "irc", 250);
	start(f);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, 4);
	assert_same_request(&f->receiver.requests[1], &f->receiver.requests[2]);
	for (i = 0; i < 3; i++) {
		char first[32];

		(void)snprintf(first, sizeof(first), "\"ts\":%zu}", i * 100 + 1);
		assert_non_null(
		    strstr(f->receiver.requests[i == 0 ? 0 : i + 1].body.p, first));
	}
}

static void
wrong_token_pauses_the_queue(void **state)
{
	struct fixture *f = *state;
	int64_t before = now_ms(CLOCK_REALTIME), next;

	f->config.backoff_max_ms = 300;
	f->receiver.replies[0] = (struct reply){.status = 401};
	f->receiver.replies[1] =
	    (struct reply){.status = 403, .body = "{\"errcode\":\"M_FORBIDDEN\"}"};
	f->receiver.reply_count = 2;
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, status_of(f, "irc")->attempts == 1);
	next = status_of(f, "irc")->next_try_ms;
	assert_true(next >= before + 300); /* slowly, at the first failure already */
	RUN_UNTIL(f, status_of(f, "irc")->attempts == 2);
	assert_non_null(strstr(status_of(f, "irc")->last_error, "HTTP 403 M_FORBIDDEN"));
	RUN_UNTIL(f, waiting(f) == 0);
	assert_same_request(&f->receiver.requests[0], &f->receiver.requests[2]);
}

static void
old_path_is_found_and_kept(void **state)
{
	struct fixture *f = *state;

	f->receiver.only_old_path = true;
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, 2);
	assert_path(&f->receiver.requests[0], NEW_PATH);
	assert_path(&f->receiver.requests[1], OLD_PATH);
	assert_same_request(&f->receiver.requests[0], &f->receiver.requests[1]);
	assert_null(f->receiver.requests[1].query_token);
	assert_int_equal(status_of(f, "irc")->last_failure_ms, 0);

	queue(f, "irc", 1);
	send_wake(f->send);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, 3);
	assert_path(&f->receiver.requests[2], OLD_PATH);
}

static void
query_token_only_where_asked_for(void **state)
{
	struct fixture *f = *state;

	f->config.legacy_token_in_query = true;
	f->receiver.only_old_path = true;
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_null(f->receiver.requests[0].query_token);
	assert_string_equal(f->receiver.requests[1].query_token, TOKEN);
}

static void
new_path_is_first_again_where_neither_is_known(void **state)
{
	struct fixture *f = *state;

	f->receiver.knows_no_path = true;
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, f->receiver.count == 4);
	f->receiver.knows_no_path = false;
	RUN_UNTIL(f, waiting(f) == 0);
	assert_path(&f->receiver.requests[0], NEW_PATH);
	assert_path(&f->receiver.requests[1], OLD_PATH);
	assert_path(&f->receiver.requests[2], NEW_PATH);
	assert_path(&f->receiver.requests[3], OLD_PATH);
}

static void
not_found_in_other_words_is_no_unknown_path(void **state)
{
	struct fixture *f = *state;

	f->receiver.replies[0] =
	    (struct reply){.status = 404, .body = "{\"errcode\":\"M_NOT_FOUND\"}"};
	f->receiver.reply_count = 1;
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, 2);
	assert_path(&f->receiver.requests[1], NEW_PATH);
}

/* The wait that Retry-After value gives, in ms, to within the test's own time. */
static int64_t
wait_for(struct fixture *f, int status, const char *value)
{
	int64_t before = now_ms(CLOCK_REALTIME);

	f->receiver.replies[0] =
	    (struct reply){.status = status, .header = "Retry-After", .value = value};
	f->receiver.reply_count = 1;
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, status_of(f, "irc")->attempts == 1);
	return status_of(f, "irc")->next_try_ms - before;
}

#define assert_about(ms, wanted) assert_in_range(ms, (wanted)-1500, (wanted) + BOUND_MS)

static void
retry_after_seconds_is_honoured(void **state)
{
	assert_about(wait_for(*state, 429, "120"), 120 * 1000);
}

static void
retry_after_date_is_honoured(void **state)
{
	time_t then = time(NULL) + 600;
	struct tm tm;
	char date[64];

	assert_non_null(gmtime_r(&then, &tm));
	assert_true(strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
	assert_about(wait_for(*state, 503, date), 600 * 1000);
}

static void
retry_after_has_a_cap(void **state)
{
	assert_about(wait_for(*state, 503, "20000"), RETRY_AFTER_MAX_MS);
}

static void
retry_after_counts_on_429_and_503_only(void **state)
{
	assert_in_range(wait_for(*state, 500, "120"), 0, BOUND_MS);
}

static void
wait_goes_on_over_a_restart(void **state)
{
	struct fixture *f = *state;

	(void)wait_for(f, 429, "120");
	restart(f);
	run_what_is_due(f);
	assert_int_equal(f->receiver.count, 1);
	assert_int_equal(waiting(f), 1);
}

static void
receiver_that_is_down_gets_all_when_it_is_up(void **state)
{
	struct fixture *f = *state;

	receiver_stop(&f->receiver);
	queue(f, "irc", 150);
	start(f);
	RUN_UNTIL(f, status_of(f, "irc")->attempts == 2);
	assert_int_equal(status_of(f, "irc")->last_status, 0);
	assert_non_null(strstr(status_of(f, "irc")->last_error, "onnect"));
	receiver_start(&f->receiver, f->base);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, 2);
}

/* One success, and nothing is waited for any more: a wait would be an hour. */
static void
first_success_drains_at_full_speed(void **state)
{
	struct fixture *f = *state;

	f->receiver.replies[0] = (struct reply){.status = 500};
	f->receiver.reply_count = 1;
	queue(f, "irc", 1000);
	start(f);
	RUN_UNTIL(f, status_of(f, "irc")->attempts == 1);
	f->config.backoff_min_ms = f->config.backoff_max_ms = 3600 * 1000;
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, 11);
}

static void
dead_appservice_delays_nobody(void **state)
{
	struct fixture *f = *state;

	add_registration(f, "dead", 1, "");
	add_registration(f, "irc", f->receiver.port, "");
	queue(f, "dead", 1);
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, status_of(f, "irc")->accepted == 1);
	assert_int_equal(status_of(f, "dead")->queued, 1);
}

/* It takes connections and says nothing. */
static int
silent_socket(uint16_t *port_r)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_not_equal(fd, -1);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*port_r = ntohs(address.sin_port);
	return fd;
}

static void
silent_appservice_delays_nobody_and_is_given_up_in_time(void **state)
{
	struct fixture *f = *state;
	uint16_t port;
	int fd = silent_socket(&port);

	f->config.send_timeout_ms = 1000;
	add_registration(f, "dead", port, "");
	add_registration(f, "irc", f->receiver.port, "");
	queue(f, "dead", 1);
	queue(f, "irc", 250);
	start(f);
	RUN_UNTIL(f, status_of(f, "irc")->accepted == 250);
	assert_int_equal(status_of(f, "dead")->attempts, 0);
	RUN_UNTIL(f, status_of(f, "dead")->attempts == 1);
	assert_non_null(strstr(status_of(f, "dead")->last_error, "timed out"));
	assert_int_equal(status_of(f, "dead")->last_status, 0);
	assert_int_equal(close(fd), 0);
}

/* Nobody takes the connection, and nobody refuses it. */
static void
connection_that_does_not_come_is_given_up_in_time(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in address = {.sin_family = AF_INET};
	uint16_t port;
	int fd = silent_socket(&port), full[2];
	size_t i;

	/* A backlog of 0 has room for one. */
	assert_int_equal(listen(fd, 0), 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons(port);
	for (i = 0; i < 2; i++) {
		full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(full[i], (struct sockaddr *)&address, sizeof(address));
	}
	f->config.connect_timeout_ms = 300;
	f->config.send_timeout_ms = 3600 * 1000;
	add_registration(f, "irc", port, "");
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, status_of(f, "irc")->attempts == 1);
	assert_non_null(strstr(status_of(f, "irc")->last_error, "Timeout"));
	for (i = 0; i < 2; i++)
		assert_int_equal(close(full[i]), 0);
	assert_int_equal(close(fd), 0);
}

static void
token_is_in_no_error(void **state)
{
	struct fixture *f = *state;

	f->receiver.replies[0] =
	    (struct reply){.status = 500, .body = "{\"errcode\":\"" TOKEN "\"}"};
	f->receiver.replies[1] =
	    (struct reply){.status = 500, .body = "{\"errcode\":\"M_A\\nB\"}"};
	f->receiver.reply_count = 2;
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, status_of(f, "irc")->attempts == 1);
	assert_string_equal(status_of(f, "irc")->last_error, "HTTP 500");
	RUN_UNTIL(f, waiting(f) == 0);
	assert_string_equal(status_of(f, "irc")->last_error, "HTTP 500");
}

static void
answer_without_end_is_cut_and_its_status_counts(void **state)
{
	struct fixture *f = *state;
	int64_t begin = now_ms(CLOCK_MONOTONIC);

	f->receiver.replies[0] = (struct reply){.status = 200, .endless = true};
	f->receiver.reply_count = 1;
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, 1);
	assert_true(now_ms(CLOCK_MONOTONIC) - begin < f->config.send_timeout_ms);
}

/* From a megabyte on, libcurl would ask whether it may send the body. */
static void
large_body_is_sent_without_asking_first(void **state)
{
	struct fixture *f = *state;
	size_t len = 1500000;
	char *content = xmalloc(len + 1);

	memset(content, ' ', len);
	memcpy(content, "{}", 2);
	content[len] = '\0';
	f->content = content;
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_true(f->receiver.requests[0].body.len > len);
	assert_null(f->receiver.requests[0].expect);
	free(content);
}

/* ---- dead letters, and queues changed by hand --------------------------- */

/* The items of the store, all of one queue. */
static size_t
items(struct fixture *f, struct store_item **out_r)
{
	size_t count;

	assert_int_equal(
	    store_items(f->store, NULL, NULL, 0, f->a, out_r, &count, &f->e), 0);
	return count;
}

static void
refused_body_is_set_aside_and_the_queue_goes_on(void **state)
{
	struct fixture *f = *state;
	struct store_item *item;
	size_t i;

	for (i = 0; i < 4; i++)
		f->receiver.replies[i] =
		    (struct reply){.status = 400, .body = "{\"errcode\":\"M_BAD_JSON\"}"};
	f->receiver.replies[1] = (struct reply){.status = 500};
	f->receiver.reply_count = 4;
	f->config.set_aside_tries = 3;
	f->config.set_aside_after_ms = 0;
	queue(f, "irc", 150);
	start(f);
	RUN_UNTIL(f, status_of(f, "irc")->accepted == 50);
	assert_int_equal(f->receiver.count, 5);
	assert_same_request(&f->receiver.requests[0], &f->receiver.requests[3]);
	assert_int_equal(waiting(f), 0);
	assert_int_equal(status_of(f, "irc")->dead, 1);
	assert_int_equal(items(f, &item), 1);
	assert_string_equal(item->txn.id, f->receiver.requests[0].id);
	assert_string_equal(item->txn.body, f->receiver.requests[0].body.p);
	assert_int_equal(item->txn.attempts, 4);
	assert_true(item->dead_ms > 0);
	assert_int_equal(item->status, 400);
	assert_string_equal(item->error, "HTTP 400 M_BAD_JSON: it refuses the body");
}

static void
refused_body_is_not_set_aside_before_its_time(void **state)
{
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < 8; i++)
		f->receiver.replies[i] = (struct reply){.status = 422};
	f->receiver.reply_count = 8;
	f->config.set_aside_tries = 2;
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, 9);
	assert_int_equal(status_of(f, "irc")->dead, 0);
	assert_int_equal(status_of(f, "irc")->accepted, 1);
}

static void
what_fails_for_too_long_is_given_up_where_asked_for(void **state)
{
	struct fixture *f = *state;
	struct store_item *item;
	size_t i;

	for (i = 0; i < 2; i++)
		f->receiver.replies[i] = (struct reply){.status = 500};
	f->receiver.reply_count = 2;
	f->config.give_up_after_ms = 1;
	f->config.backoff_min_ms = 10;
	queue(f, "irc", 150);
	start(f);
	RUN_UNTIL(f, status_of(f, "irc")->accepted == 50);
	assert_int_equal(f->receiver.count, 3);
	assert_int_equal(items(f, &item), 1);
	assert_string_equal(item->error, "HTTP 500");
}

static void
wrong_token_is_never_given_up(void **state)
{
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < 8; i++)
		f->receiver.replies[i] = (struct reply){.status = i % 2 == 0 ? 401 : 403};
	f->receiver.reply_count = 8;
	f->config.give_up_after_ms = 1;
	f->config.set_aside_tries = 1;
	f->config.set_aside_after_ms = 0;
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, status_of(f, "irc")->accepted == 1);
	assert_int_equal(f->receiver.count, 9);
}

static void
statuses_mean_what_the_configuration_says(void **state)
{
	struct fixture *f = *state;
	struct verdict rows[] = {
	    {500, 500, VERDICT_SET_ASIDE, NULL}, {400, 400, VERDICT_ACCEPTED, NULL}};

	f->receiver.replies[0] = (struct reply){.status = 500};
	f->receiver.replies[1] = (struct reply){.status = 400};
	f->receiver.reply_count = 2;
	f->config.statuses = rows;
	f->config.status_count = 2;
	f->config.set_aside_tries = 1;
	f->config.set_aside_after_ms = 0;
	queue(f, "irc", 150);
	start(f);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, 2);
	assert_int_equal(status_of(f, "irc")->dead, 1);
	assert_int_equal(status_of(f, "irc")->accepted, 50);
}

static uint64_t
kept(struct fixture *f)
{
	struct store_size size;

	assert_int_equal(store_size(f->store, &size, &f->e), 0);
	return size.kept;
}

static void
accepted_is_forgotten_after_its_time(void **state)
{
	struct fixture *f = *state;

	f->config.keep_accepted_ms = 1;
	queue(f, "irc", 1500);
	start(f);
	RUN_UNTIL(f, status_of(f, "irc")->accepted == 1500);
	restart(f); /* the first look is soon after a start */
	RUN_UNTIL(f, kept(f) == 0);
}

static void
odd_statuses_are_counted(void **state)
{
	struct fixture *f = *state;

	f->receiver.replies[0] = (struct reply){.status = 202};
	f->receiver.reply_count = 1;
	queue(f, "irc", 150);
	start(f);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(status_of(f, "irc")->odd, 1);
}

/* As another process does. */
static void
edit(struct fixture *f, const char *id, enum store_edit how)
{
	struct store *other = store_open(f->store_path, STORE_EDIT, &f->e);

	assert_non_null(other);
	assert_int_equal(
	    store_edit(other, "irc", id, how, now_ms(CLOCK_REALTIME), NULL, &f->e), 1);
	store_close(other);
}

/* What is no time to come leaves the usual backoff, here of 600 s. */
static void
retry_after_that_is_absurd_is_bounded(void **state)
{
	static const struct {
		const char *value;
		int64_t ms;
	} rows[] = {
	    {"99999999999999999999999", 600 * 1000},
	    {"9223372036854775807", RETRY_AFTER_MAX_MS},
	    {"Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_MAX_MS},
	    {"0", 600 * 1000},
	    {"-5", 600 * 1000},
	    {"soon", 600 * 1000},
	    {"", 600 * 1000},
	    {"Thu, 01 Jan 1970 00:00:00 GMT", 600 * 1000},
	};
	struct fixture *f = *state;
	size_t i;

	f->config.backoff_min_ms = f->config.backoff_max_ms = 600 * 1000;
	f->receiver.reply_count = sizeof(rows) / sizeof(rows[0]);
	for (i = 0; i < f->receiver.reply_count; i++)
		f->receiver.replies[i] = (struct reply){
		    .status = 503, .header = "Retry-After", .value = rows[i].value};
	queue(f, "irc", 1);
	start(f);
	for (i = 0; i < f->receiver.reply_count; i++) {
		int64_t before = now_ms(CLOCK_REALTIME), wait;

		if (i > 0)
			edit(f, NULL, STORE_RETRY);
		RUN_UNTIL(f,
		    f->receiver.count == i + 1 && status_of(f, "irc")->next_try_ms > 0);
		wait = status_of(f, "irc")->next_try_ms - before;
		if (wait < rows[i].ms - 1500 || wait > rows[i].ms + BOUND_MS)
			fail_msg("\"%s\" is %lld ms", rows[i].value, (long long)wait);
	}
}

static void
held_queue_rests_until_it_is_released(void **state)
{
	struct fixture *f = *state;

	queue(f, "irc", 1);
	edit(f, NULL, STORE_HOLD);
	start(f);
	run_what_is_due(f);
	restart(f);
	run_what_is_due(f);
	assert_int_equal(f->receiver.count, 0);
	assert_true(status_of(f, "irc")->held_ms > 0);
	edit(f, NULL, STORE_RELEASE);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(status_of(f, "irc")->held_ms, 0);
}

static void
hold_beside_the_running_daemon_is_noticed(void **state)
{
	struct fixture *f = *state;

	start(f);
	run_what_is_due(f);
	edit(f, NULL, STORE_HOLD);
	queue(f, "irc", 1);
	send_wake(f->send);
	run_what_is_due(f);
	assert_int_equal(f->receiver.count, 0);
}

static void
retry_by_hand_ends_the_wait(void **state)
{
	struct fixture *f = *state;

	(void)wait_for(f, 429, "120");
	run_what_is_due(f);
	assert_int_equal(f->receiver.count, 1);
	edit(f, NULL, STORE_RETRY);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, 2);
	assert_same_request(&f->receiver.requests[0], &f->receiver.requests[1]);
}

static void
transaction_set_aside_by_hand_lets_the_next_pass(void **state)
{
	struct fixture *f = *state;

	(void)wait_for(f, 429, "120");
	queue(f, "irc", 1);
	edit(f, f->receiver.requests[0].id, STORE_HOLD);
	RUN_UNTIL(f, f->receiver.count == 2);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_string_not_equal(f->receiver.requests[0].id, f->receiver.requests[1].id);
	edit(f, f->receiver.requests[0].id, STORE_RELEASE);
	RUN_UNTIL(f, f->receiver.count == 3);
	RUN_UNTIL(f, status_of(f, "irc")->accepted == 2);
	assert_same_request(&f->receiver.requests[0], &f->receiver.requests[2]);
	assert_int_equal(waiting(f), 0);
}

static void
discarded_queue_is_gone_and_the_count_right(void **state)
{
	struct fixture *f = *state;

	(void)wait_for(f, 429, "120");
	queue(f, "irc", 1200);
	assert_int_equal(waiting(f), 1201);
	edit(f, NULL, STORE_DISCARD);
	assert_int_equal(waiting(f), 0);
	queue(f, "irc", 1);
	send_wake(f->send);
	RUN_UNTIL(f, status_of(f, "irc")->accepted == 1);
	assert_int_equal(f->receiver.count, 2);
	assert_int_equal(waiting(f), 0);
	assert_int_equal(status_of(f, "irc")->discarded, 1201);
}

static void
discard_now(void *arg)
{
	struct fixture *f = arg;

	f->receiver.seen = NULL;
	edit(f, NULL, STORE_DISCARD);
}

static void
discarding_what_is_under_way_harms_nothing(void **state)
{
	struct fixture *f = *state;

	f->receiver.seen = discard_now;
	f->receiver.arg = f;
	f->receiver.replies[0] = (struct reply){.status = 500};
	f->receiver.reply_count = 1;
	f->config.backoff_min_ms = 3600 * 1000;
	f->config.backoff_max_ms = 3600 * 1000;
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, f->receiver.count == 1);
	queue(f, "irc", 1);
	RUN_UNTIL(f, status_of(f, "irc")->accepted == 1);
	assert_int_equal(waiting(f), 0);

	f->receiver.seen = discard_now;
	queue(f, "irc", 1);
	send_wake(f->send);
	RUN_UNTIL(f, f->receiver.count == 3);
	queue(f, "irc", 1);
	send_wake(f->send);
	RUN_UNTIL(f, status_of(f, "irc")->accepted == 2);
	assert_int_equal(waiting(f), 0);
}

/* ---- other ways to a receiver -------------------------------------------- */

static void
changed_url_and_token_count_for_what_waits(void **state)
{
	struct fixture *f = *state;
	struct receiver other = {0};
	FILE *file;

	f->receiver.replies[0] =
	    (struct reply){.status = 503, .header = "Retry-After", .value = "1"};
	f->receiver.reply_count = 1;
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, status_of(f, "irc")->attempts == 1);
	send_free(f->send);
	f->send = NULL;
	route_free(f->route);
	receiver_start(&other, f->base);
	file = fopen(f->registrations[0], "w");
	assert_non_null(file);
	assert_true(
	    fprintf(file, "id: irc\nurl: http://127.0.0.1:%u/new\nhs_token: another\n",
		other.port) > 0);
	assert_int_equal(fclose(file), 0);
	start(f);
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, 1);
	assert_int_equal(other.count, 1);
	assert_same_request(&f->receiver.requests[0], &other.requests[0]);
	assert_path(&other.requests[0], "/new" NEW_PATH);
	assert_string_equal(other.requests[0].authorization, "Bearer another");
	receiver_clear(&other);
}

static void
answer_that_does_not_begin_is_given_up_first(void **state)
{
	struct fixture *f = *state;
	uint16_t port;
	int fd = silent_socket(&port);

	f->config.first_byte_timeout_ms = 200;
	add_registration(f, "irc", port, "");
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, status_of(f, "irc")->attempts >= 1);
	assert_string_equal(status_of(f, "irc")->last_error, "no answer began in time");
	assert_int_equal(close(fd), 0);
}

/* ---- a store that takes nothing ---------------------------------------- */

static void
change_store(struct fixture *f, const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->store_path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void
let_store_go(void *arg)
{
	struct fixture *f = arg;

	f->receiver.seen = NULL;
	change_store(f,
	    "CREATE TRIGGER full BEFORE UPDATE ON transactions "
	    "BEGIN SELECT RAISE(ABORT, 'disk full'); END");
}

static void
what_was_accepted_is_remembered_until_the_store_notes_it(void **state)
{
	struct fixture *f = *state;

	f->receiver.seen = let_store_go;
	f->receiver.arg = f;
	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, f->receiver.count == 1);
	run_what_is_due(f);
	send_wake(f->send);
	run_what_is_due(f);
	assert_int_equal(waiting(f), 1);
	change_store(f, "DROP TRIGGER full");
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, 1);
}

/* ---- ending ------------------------------------------------------------ */

static void
set_done(void *arg)
{
	struct fixture *f = arg;

	assert_false(f->done);
	f->done = true;
}

static void
stop_now(void *arg)
{
	struct fixture *f = arg;

	f->receiver.seen = NULL;
	send_stop(f->send, set_done, f);
}

static void
stop_waits_for_the_request_under_way_and_begins_no_other(void **state)
{
	struct fixture *f = *state;

	f->receiver.seen = stop_now;
	f->receiver.arg = f;
	queue(f, "irc", 150);
	start(f);
	RUN_UNTIL(f, f->done);
	assert_int_equal(waiting(f), 50);
	send_wake(f->send);
	run_what_is_due(f);
	assert_int_equal(f->receiver.count, 1);
}

static void
stop_without_a_request_is_told_from_the_loop(void **state)
{
	struct fixture *f = *state;

	start(f);
	send_stop(f->send, set_done, f);
	assert_false(f->done);
	RUN_UNTIL(f, f->done);
}

static void
cut_request_is_sent_again_as_it_was(void **state)
{
	struct fixture *f = *state;

	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, f->receiver.count == 1);
	restart(f); /* the answer is never read */
	RUN_UNTIL(f, waiting(f) == 0);
	assert_int_equal(f->receiver.count, 2);
	assert_same_request(&f->receiver.requests[0], &f->receiver.requests[1]);
}

/*
 * The tick, the receiver, what tells of edits, and the look at the store's size
 * in ten minutes apart, nothing may wake the loop when nothing waits.
 */
static void
idle_needs_no_timer(void **state)
{
	struct fixture *f = *state;

	queue(f, "irc", 1);
	start(f);
	RUN_UNTIL(f, waiting(f) == 0);
	RUN_UNTIL(f, event_base_get_num_events(f->base, EVENT_BASE_COUNT_ADDED) == 4);
}

/* ---- verdicts ---------------------------------------------------------- */

static void
verdicts_are_as_the_contract_says(void **state)
{
	static const struct {
		int status;
		const char *errcode;
		enum verdict_action action;
	} rows[] = {
	    {0, "", VERDICT_RETRY},
	    {199, "", VERDICT_RETRY},
	    {200, "", VERDICT_ACCEPTED},
	    {200, "M_UNKNOWN", VERDICT_ACCEPTED},
	    {201, "", VERDICT_ODD},
	    {299, "", VERDICT_ODD},
	    {307, "", VERDICT_RETRY},
	    {400, "", VERDICT_SET_ASIDE},
	    {401, "", VERDICT_PAUSE},
	    {403, "M_FORBIDDEN", VERDICT_PAUSE},
	    {404, "", VERDICT_OTHER_PATH},
	    {404, "M_UNRECOGNIZED", VERDICT_OTHER_PATH},
	    {404, "M_NOT_FOUND", VERDICT_RETRY},
	    {405, "", VERDICT_OTHER_PATH},
	    {406, "", VERDICT_RETRY},
	    {413, "", VERDICT_SET_ASIDE},
	    {422, "M_BAD_JSON", VERDICT_SET_ASIDE},
	    {429, "M_LIMIT_EXCEEDED", VERDICT_AS_TOLD},
	    {500, "", VERDICT_RETRY},
	    {503, "", VERDICT_AS_TOLD},
	    {1000, "", VERDICT_RETRY},
	    {-1, "", VERDICT_RETRY},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (verdict_of(NULL, 0, rows[i].status, rows[i].errcode)->action !=
		    rows[i].action)
			fail_msg(
			    "wrong verdict on %d %s", rows[i].status, rows[i].errcode);
}

static void
rows_of_the_configuration_go_first(void **state)
{
	static const struct verdict rows[] = {{413, 413, VERDICT_RETRY, NULL},
	    {500, 599, VERDICT_PAUSE, NULL}, {404, 404, VERDICT_OTHER_PATH, NULL}};

	(void)state;
	assert_int_equal(verdict_of(rows, 3, 413, "")->action, VERDICT_RETRY);
	assert_int_equal(verdict_of(rows, 3, 503, "")->action, VERDICT_PAUSE);
	assert_int_equal(verdict_of(rows, 3, 422, "")->action, VERDICT_SET_ASIDE);
	assert_int_equal(verdict_of(rows, 3, 404, "M_X")->action, VERDICT_RETRY);
	assert_int_equal(verdict_of(rows, 3, 0, "")->action, VERDICT_RETRY);
}

static void
backoff_doubles_between_its_bounds(void **state)
{
	unsigned attempt;

	(void)state;
	assert_int_equal(verdict_backoff(1000, 300000, 1, 0), 1000);
	assert_int_equal(verdict_backoff(1000, 300000, 1, 1000), 2000);
	assert_int_equal(verdict_backoff(1000, 300000, 3, 7000), 8000);
	assert_int_equal(verdict_backoff(1000, 1000, 9, 77), 1000);
	for (attempt = 9; attempt < 100000; attempt += 999) {
		assert_int_equal(verdict_backoff(1000, 300000, attempt, 299000), 300000);
		assert_int_equal(verdict_backoff(1000, 300000, attempt, 299001), 1000);
		assert_in_range(
		    verdict_backoff(1000, 300000, attempt, UINT64_MAX), 1000, 300000);
	}
}

static void
errcode_of_odd_answers_is_none(void **state)
{
	static const char *const bodies[] = {"", "{", "[]", "null", "{\"errcode\":1}",
	    "{\"errcode\":\"a b\"}", "{\"errcode\":\"the-secret-M\"}",
	    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["};
	char errcode[ERRCODE_MAX + 1];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		verdict_errcode(bodies[i], strlen(bodies[i]), "secret", errcode);
		assert_string_equal(errcode, "");
	}
	verdict_errcode("{\"errcode\":\"M_A\"}", 17, "secret", errcode);
	assert_string_equal(errcode, "M_A");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(request_is_as_the_contract_says),
	    TEST(url_may_have_a_path_and_a_slash_behind_it),
	    TEST(other_2xx_is_accepted),
	    TEST(failure_is_tried_again_with_the_same_id_and_bytes),
	    TEST(transactions_come_in_order_one_at_a_time),
	    TEST(wrong_token_pauses_the_queue),
	    TEST(old_path_is_found_and_kept),
	    TEST(query_token_only_where_asked_for),
	    TEST(new_path_is_first_again_where_neither_is_known),
	    TEST(not_found_in_other_words_is_no_unknown_path),
	    TEST(retry_after_seconds_is_honoured),
	    TEST(retry_after_date_is_honoured),
	    TEST(retry_after_has_a_cap),
	    TEST(retry_after_that_is_absurd_is_bounded),
	    TEST(retry_after_counts_on_429_and_503_only),
	    TEST(wait_goes_on_over_a_restart),
	    TEST(receiver_that_is_down_gets_all_when_it_is_up),
	    TEST(first_success_drains_at_full_speed),
	    TEST(dead_appservice_delays_nobody),
	    TEST(silent_appservice_delays_nobody_and_is_given_up_in_time),
	    TEST(connection_that_does_not_come_is_given_up_in_time),
	    TEST(token_is_in_no_error),
	    TEST(answer_without_end_is_cut_and_its_status_counts),
	    TEST(large_body_is_sent_without_asking_first),
	    TEST(refused_body_is_set_aside_and_the_queue_goes_on),
	    TEST(refused_body_is_not_set_aside_before_its_time),
	    TEST(what_fails_for_too_long_is_given_up_where_asked_for),
	    TEST(wrong_token_is_never_given_up),
	    TEST(statuses_mean_what_the_configuration_says),
	    TEST(accepted_is_forgotten_after_its_time),
	    TEST(odd_statuses_are_counted),
	    TEST(held_queue_rests_until_it_is_released),
	    TEST(hold_beside_the_running_daemon_is_noticed),
	    TEST(retry_by_hand_ends_the_wait),
	    TEST(transaction_set_aside_by_hand_lets_the_next_pass),
	    TEST(discarded_queue_is_gone_and_the_count_right),
	    TEST(discarding_what_is_under_way_harms_nothing),
	    TEST(changed_url_and_token_count_for_what_waits),
	    TEST(answer_that_does_not_begin_is_given_up_first),
	    TEST(what_was_accepted_is_remembered_until_the_store_notes_it),
	    TEST(stop_waits_for_the_request_under_way_and_begins_no_other),
	    TEST(stop_without_a_request_is_told_from_the_loop),
	    TEST(cut_request_is_sent_again_as_it_was),
	    TEST(idle_needs_no_timer),
	    cmocka_unit_test(verdicts_are_as_the_contract_says),
	    cmocka_unit_test(rows_of_the_configuration_go_first),
	    cmocka_unit_test(backoff_doubles_between_its_bounds),
	    cmocka_unit_test(errcode_of_odd_answers_is_none),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
