#include <curl/curl.h>
#include <event2/event.h>
#include <getopt.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <microhttpd.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <uthash.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "commands/commands.h"
#include "commands/patterns.h"
#include "config/config.h"
#include "route/route.h"

#define BODY_MAX (8 * 1024 * 1024)
#define FAILS_MAX 16
#define NEW_PATH "/_matrix/app/v1/transactions/"
#define OLD_PATH "/transactions/"
#define EVENTS_KEY "synthetic_events" /* behind "m." or an unstable prefix */

static const char usage_text[] =
    "usage: hearsay listen -r FILE [OPTION...]\n"
    "Receive as an appservice would; print each event as a line of JSON.\n"
    "\n"
    "  -r, --registration FILE   the registration of the appservice to play\n"
    "  -b, --address ADDRESS     listen there instead of at 127.0.0.1\n"
    "  -p, --port PORT           instead of the port in the registration's url;\n"
    "                            0: any, told on standard error\n"
    "  -n, --events N            end when that many events have arrived\n"
    "  -h, --help                this text\n"
    "\n"
    "To misbehave on purpose:\n"
    "      --fail STATUS[:COUNT] answer this to every request, or to the first\n"
    "                            COUNT; given again, for those that follow\n"
    "      --fail-every N        answer 500 to every Nth request\n"
    "      --lose-answer N       take every Nth transaction and cut the connection\n"
    "      --delay MS            wait so long before each answer\n";

struct fail {
	unsigned status;
	uint64_t left; /* requests */
};

struct options {
	char *registration;
	const char *address;
	long port;       /* -1: that of the registration */
	uint64_t events; /* 0: no end */
	struct fail fails[FAILS_MAX];
	size_t fail_count;
	uint64_t fail_every, lose_every; /* 0: never */
	uint64_t delay_ms;
};

/* A transaction that was taken. */
struct taken {
	char *id;
	struct buf body;
	UT_hash_handle hh;
};

struct listener {
	struct options options;
	const struct appservice *appservice;
	char *prefix; /* the path of the registration's url, no slash behind it */
	struct event_base *base;
	struct MHD_Daemon *daemon;
	struct event *ready;
	struct event *signals[2];
	struct call *delayed; /* list */
	struct taken *taken;  /* table by id */
	uint64_t requests, events, transactions, repeated, refused, failed, lost;
	bool ending;
	int status; /* of the program */
};

/* One request. */
struct call {
	struct listener *listener;
	struct MHD_Connection *connection;
	struct buf body;
	bool too_large;
	bool waited;
	struct event *timer; /* while it waits */
	struct call *next;   /* of those that wait */
};

struct refusal {
	unsigned status;
	const char *errcode, *text;
};

static const struct refusal unknown_path = {404, "M_UNRECOGNIZED", "no such path"};
static const struct refusal wrong_method = {405, "M_UNRECOGNIZED", "PUT is the method"};
static const struct refusal no_token = {401, "M_UNAUTHORIZED", "a token is missing"};
static const struct refusal wrong_token = {403, "M_FORBIDDEN", "the token is wrong"};
static const struct refusal too_large = {413, "M_TOO_LARGE", "the body is too large"};
static const struct refusal not_json = {400, "M_NOT_JSON", "the body is no JSON object"};
static const struct refusal no_events = {400, "M_BAD_JSON", "events is no array"};

/* ---- what a request holds ---------------------------------------------- */

/* The time that this takes does not tell how much of a guess was right. */
static bool
same_secret(const char *given, const char *secret)
{
	size_t len = strlen(secret), n = strlen(given), i;
	unsigned different = len != n;

	for (i = 0; i < n && len > 0; i++)
		different |= (unsigned)(given[i] ^ secret[i % len]);
	return len > 0 && different == 0;
}

static const char *
token_of(const struct call *call)
{
	static const char scheme[] = "Bearer ";
	const char *header = MHD_lookup_connection_value(
	    call->connection, MHD_HEADER_KIND, "Authorization");

	if (header != NULL && strncasecmp(header, scheme, sizeof(scheme) - 1) == 0)
		return header + sizeof(scheme) - 1;
	return MHD_lookup_connection_value(
	    call->connection, MHD_GET_ARGUMENT_KIND, "access_token");
}

/* What stands behind start in s, NULL where s does not begin with it. */
static const char *
behind(const char *s, const char *start)
{
	size_t len = strlen(start);

	return strncmp(s, start, len) == 0 ? s + len : NULL;
}

static const char *
transaction_id(const struct listener *l, const char *url)
{
	const char *path = behind(url, l->prefix);
	const char *id = path == NULL ? NULL : behind(path, NEW_PATH);

	if (path != NULL && id == NULL)
		id = behind(path, OLD_PATH);
	return id == NULL || *id == '\0' || strchr(id, '/') != NULL ? NULL : id;
}

static struct json_object *
parse(const struct buf *body)
{
	struct json_tokener *tok = json_tokener_new();
	struct json_object *o;

	if (tok == NULL)
		mem_exhausted();
	o = body->len == 0 ? NULL : json_tokener_parse_ex(tok, body->p, (int)body->len);
	json_tokener_free(tok);
	return o;
}

/* What is wrong with the request; NULL and its id and body where nothing is. */
static const struct refusal *
judge(const struct call *call, const char *url, const char *method, const char **id_r,
    struct json_object **body_r)
{
	struct json_object *events;
	const char *token = token_of(call);

	*id_r = transaction_id(call->listener, url);
	if (*id_r == NULL)
		return &unknown_path;
	if (strcmp(method, "PUT") != 0)
		return &wrong_method;
	if (token == NULL)
		return &no_token;
	if (!same_secret(token, call->listener->appservice->hs_token))
		return &wrong_token;
	if (call->too_large)
		return &too_large;
	*body_r = parse(&call->body);
	if (!json_object_is_type(*body_r, json_type_object))
		return &not_json;
	if (!json_object_object_get_ex(*body_r, "events", &events) ||
	    !json_object_is_type(events, json_type_array))
		return &no_events;
	return NULL;
}

/* ---- answers ----------------------------------------------------------- */

static enum MHD_Result
answer(struct call *call, unsigned status, const char *errcode, const char *text)
{
	struct MHD_Response *response;
	enum MHD_Result rc;
	char *body = errcode == NULL
	    ? xstrdup("{}")
	    : xasprintf("{\"errcode\":\"%s\",\"error\":\"%s\"}", errcode, text);

	response =
	    MHD_create_response_from_buffer(strlen(body), body, MHD_RESPMEM_MUST_COPY);
	free(body);
	if (response == NULL)
		return MHD_NO;
	rc = MHD_add_response_header(response, "Content-Type", "application/json");
	if (rc == MHD_YES)
		rc = MHD_queue_response(call->connection, status, response);
	MHD_destroy_response(response);
	return rc;
}

static enum MHD_Result
refuse(struct call *call, const struct refusal *r)
{
	call->listener->refused++;
	say(LOG_WARNING, "refused a request: %u %s, %s", r->status, r->errcode, r->text);
	return answer(call, r->status, r->errcode, r->text);
}

static void
end(struct listener *l, int status)
{
	if (status > l->status)
		l->status = status;
	l->ending = true;
}

/* The status to fail with on purpose; 0: this request is treated well. */
static unsigned
failure_due(struct listener *l)
{
	size_t i;

	for (i = 0; i < l->options.fail_count; i++)
		if (l->options.fails[i].left > 0) {
			l->options.fails[i].left--;
			return l->options.fails[i].status;
		}
	if (l->options.fail_every > 0 && l->requests % l->options.fail_every == 0)
		return 500;
	return 0;
}

/* ---- transactions ------------------------------------------------------ */

static void
print_event(struct listener *l, struct json_object *event, const char *id)
{
	static const char *const fields[] = {"type", "content", "ts"};
	struct json_object *out = json_object_new_object(), *value;
	size_t i;

	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (json_object_object_get_ex(event, fields[i], &value))
			(void)json_object_object_add(
			    out, fields[i], json_object_get(value));
	(void)json_object_object_add(out, "txn", json_object_new_string(id));
	if (puts(json_object_to_json_string_ext(
		out, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)) == EOF)
		end(l, EXIT_FAILED);
	(void)json_object_put(out);
	l->events++;
}

/* 0 when all of them are with whoever reads standard output. */
static int
print_events(struct listener *l, struct json_object *body, const char *id)
{
	json_object_object_foreach(body, key, list)
	{
		size_t len = strlen(key), tail = sizeof(EVENTS_KEY) - 1, i;

		if (len < tail || strcmp(key + len - tail, EVENTS_KEY) != 0 ||
		    !json_object_is_type(list, json_type_array))
			continue;
		for (i = 0; i < json_object_array_length(list); i++)
			print_event(l, json_object_array_get_idx(list, i), id);
	}
	if (fflush(stdout) == EOF || ferror(stdout)) {
		say(LOG_ERR, "cannot write to standard output");
		end(l, EXIT_FAILED);
		return -1;
	}
	return 0;
}

/* True where the transaction was taken before; its bytes must be what they were. */
static bool
known(struct listener *l, const char *id, const struct buf *body)
{
	struct taken *t;

	HASH_FIND_STR(l->taken, id, t);
	if (t == NULL)
		return false;
	l->repeated++;
	if (t->body.len != body->len || memcmp(t->body.p, body->p, body->len) != 0) {
		say(LOG_ERR, "transaction %s came again with OTHER BYTES: %s", id,
		    body->p);
		if (l->status == EXIT_DONE)
			l->status = EXIT_FAILED;
	}
	return true;
}

static void
remember(struct listener *l, const char *id, struct buf *body)
{
	struct taken *t = xcalloc(1, sizeof(*t));

	t->id = xstrdup(id);
	t->body = *body;
	*body = (struct buf){0};
	HASH_ADD_KEYPTR(hh, l->taken, t->id, strlen(t->id), t);
	l->transactions++;
}

static enum MHD_Result
take(struct call *call, const char *id, struct json_object *body)
{
	struct listener *l = call->listener;

	if (known(l, id, &call->body))
		return answer(call, 200, NULL, NULL);
	if (print_events(l, body, id) == -1)
		return answer(call, 500, "M_UNKNOWN", "the event could not be printed");
	remember(l, id, &call->body);
	if (l->options.events > 0 && l->events >= l->options.events)
		end(l, EXIT_DONE);
	if (l->options.lose_every > 0 && l->transactions % l->options.lose_every == 0) {
		l->lost++;
		return MHD_NO;
	}
	return answer(call, 200, NULL, NULL);
}

static enum MHD_Result
handle(struct call *call, const char *url, const char *method)
{
	struct listener *l = call->listener;
	struct json_object *body = NULL;
	const struct refusal *wrong;
	enum MHD_Result rc;
	const char *id;
	unsigned fail;

	wrong = judge(call, url, method, &id, &body);
	if (wrong != NULL) {
		rc = refuse(call, wrong);
	} else {
		l->requests++;
		fail = failure_due(l);
		l->failed += fail != 0;
		rc = fail != 0 ? answer(call, fail, "M_UNKNOWN", "as was asked for")
			       : take(call, id, body);
	}
	(void)json_object_put(body);
	return rc;
}

/* ---- libmicrohttpd and the loop ---------------------------------------- */

static void
serve(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;
	MHD_UNSIGNED_LONG_LONG ms;

	(void)fd;
	(void)what;
	do
		(void)MHD_run(l->daemon);
	while (MHD_get_timeout(l->daemon, &ms) == MHD_YES && ms == 0);
}

static void
stop_waiting(struct call *call)
{
	struct call **p = &call->listener->delayed;

	while (*p != call)
		p = &(*p)->next;
	*p = call->next;
	event_free(call->timer);
	call->timer = NULL;
	call->waited = true;
	MHD_resume_connection(call->connection);
}

static void
on_waited(evutil_socket_t fd, short what, void *arg)
{
	struct call *call = arg;
	struct listener *l = call->listener;

	stop_waiting(call);
	serve(fd, what, l);
}

static void
wait_first(struct call *call)
{
	struct listener *l = call->listener;
	struct timeval tv = clock_timeval((int64_t)l->options.delay_ms);

	call->timer = evtimer_new(l->base, on_waited, call);
	if (call->timer == NULL || event_add(call->timer, &tv) == -1)
		mem_exhausted();
	call->next = l->delayed;
	l->delayed = call;
	MHD_suspend_connection(call->connection);
}

/* Called at the headers, for each piece of the body, at its end, and after a wait. */
static enum MHD_Result
on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method,
    const char *version, const char *data, size_t *len, void **state)
{
	struct listener *l = arg;
	struct call *call = *state;

	(void)version;
	if (call == NULL) {
		call = *state = xcalloc(1, sizeof(*call));
		call->listener = l;
		call->connection = c;
		return MHD_YES;
	}
	if (*len > 0) {
		call->too_large = call->too_large || *len > BODY_MAX - call->body.len;
		if (!call->too_large)
			buf_add(&call->body, data, *len);
		*len = 0;
		return MHD_YES;
	}
	if (l->options.delay_ms > 0 && !call->waited && !l->ending) {
		wait_first(call);
		return MHD_YES;
	}
	return handle(call, url, method);
}

/* The answer is out, or the sender is gone. */
static void
on_completed(void *arg, struct MHD_Connection *c, void **state,
    enum MHD_RequestTerminationCode why)
{
	struct listener *l = arg;
	struct call *call = *state;

	(void)c;
	(void)why;
	if (call == NULL)
		return;
	buf_free(&call->body);
	free(call);
	*state = NULL;
	if (l->ending)
		(void)event_base_loopbreak(l->base);
}

static void
on_signal(evutil_socket_t number, short what, void *arg)
{
	struct listener *l = arg;

	(void)number;
	(void)what;
	end(l, EXIT_DONE);
	(void)event_base_loopbreak(l->base);
}

/* ---- beginning and ending ---------------------------------------------- */

/* Take the port and the path from the registration's url. */
static int
read_url(struct listener *l, struct err *e)
{
	char *port = NULL, *path = NULL;
	CURLU *url = curl_url();
	int rc = -1;
	size_t len;

	if (url == NULL)
		mem_exhausted();
	if (curl_url_set(url, CURLUPART_URL, l->appservice->url, 0) != CURLUE_OK ||
	    curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
	    curl_url_get(url, CURLUPART_PATH, &path, 0) != CURLUE_OK) {
		(void)err_set(e, "%s: its url is no http url", l->appservice->path);
		goto free;
	}
	len = strlen(path);
	while (len > 0 && path[len - 1] == '/')
		len--;
	free(l->prefix);
	l->prefix = xstrndup(path, len);
	if (l->options.port == -1)
		l->options.port = strtol(port, NULL, 10);
	rc = 0;
free:
	curl_free(port);
	curl_free(path);
	curl_url_cleanup(url);
	return rc;
}

static int
start_daemon(struct listener *l, struct err *e)
{
	const struct addrinfo hints = {
	    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *where;
	char port[16];
	unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;

	(void)snprintf(port, sizeof(port), "%ld", l->options.port);
	if (getaddrinfo(l->options.address, port, &hints, &where) != 0)
		return err_set(
		    e, "\"%s\" is no address of this host", l->options.address);
	if (where->ai_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	l->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, l,
	    MHD_OPTION_SOCK_ADDR, where->ai_addr, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1U,
	    MHD_OPTION_NOTIFY_COMPLETED, on_completed, l, MHD_OPTION_END);
	freeaddrinfo(where);
	if (l->daemon == NULL)
		return err_errno(
		    e, "cannot listen at %s, port %s", l->options.address, port);
	say(LOG_NOTICE, "listening at %s, port %u, as appservice %s", l->options.address,
	    MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_BIND_PORT)->port,
	    l->appservice->id);
	return 0;
}

static int
add_events(struct listener *l, struct err *e)
{
	static const int numbers[] = {SIGTERM, SIGINT};
	int fd = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	size_t i;

	l->ready = event_new(l->base, fd, EV_READ | EV_PERSIST, serve, l);
	if (l->ready == NULL || event_add(l->ready, NULL) == -1)
		return err_set(e, "cannot watch the port");
	for (i = 0; i < 2; i++) {
		l->signals[i] = evsignal_new(l->base, numbers[i], on_signal, l);
		if (l->signals[i] == NULL || event_add(l->signals[i], NULL) == -1)
			return err_set(e, "cannot catch signals");
	}
	return 0;
}

static int
listen_on(struct listener *l, struct err *e)
{
	if (l->appservice->url != NULL && read_url(l, e) == -1)
		return -1;
	if (l->options.port == -1)
		return err_set(
		    e, "%s has no url: say the port with -p", l->appservice->path);
	l->base = event_base_new();
	if (l->base == NULL)
		return err_set(e, "cannot make an event loop");
	if (start_daemon(l, e) == -1 || add_events(l, e) == -1)
		return -1;
	if (event_base_dispatch(l->base) == -1)
		return err_set(e, "the event loop failed");
	say(LOG_NOTICE,
	    "events %" PRIu64 ", transactions %" PRIu64 ", repeated %" PRIu64
	    ", refused %" PRIu64 ", failed on purpose %" PRIu64 ", answers lost %" PRIu64,
	    l->events, l->transactions, l->repeated, l->refused, l->failed, l->lost);
	return 0;
}

static void
free_taken(struct listener *l)
{
	struct taken *t, *next;

	HASH_ITER(hh, l->taken, t, next)
	{
		HASH_DEL(l->taken, t);
		buf_free(&t->body);
		free(t->id);
		free(t);
	}
}

static void
stop(struct listener *l)
{
	size_t i;

	/* A daemon must not be stopped while one of its connections is suspended. */
	while (l->delayed != NULL)
		stop_waiting(l->delayed);
	if (l->daemon != NULL)
		MHD_stop_daemon(l->daemon);
	if (l->ready != NULL)
		event_free(l->ready);
	for (i = 0; i < 2; i++)
		if (l->signals[i] != NULL)
			event_free(l->signals[i]);
	if (l->base != NULL)
		event_base_free(l->base);
	free_taken(l);
	free(l->prefix);
}

static int
run(const struct options *o)
{
	char *registration = o->registration;
	struct config config = {.registrations = &registration, .registration_count = 1};
	struct listener l = {.options = *o, .prefix = xstrdup("")};
	struct err_list errs = {0};
	struct route *route = route_load(&config, &errs);
	struct err e;

	if (errors_print(&errs) > 0 || route_count(route) != 1) {
		l.status = EXIT_FAILED;
	} else {
		l.appservice = route_appservice(route, 0);
		if (listen_on(&l, &e) == -1) {
			say(LOG_ERR, "%s", e.text);
			l.status = EXIT_FAILED;
		}
	}
	stop(&l);
	route_free(route);
	return l.status;
}

/* ---- options ----------------------------------------------------------- */

/* A whole number of at least min and at most max. */
static int
read_number(const char *text, uint64_t min, uint64_t max, uint64_t *n_r)
{
	char *rest;

	if (*text < '0' || *text > '9')
		return -1;
	*n_r = strtoull(text, &rest, 10);
	return *rest == '\0' && *n_r >= min && *n_r <= max ? 0 : -1;
}

/* STATUS or STATUS:COUNT. */
static int
read_fail(const char *text, struct options *o)
{
	const char *colon = strchr(text, ':');
	char *status =
	    xstrndup(text, colon == NULL ? strlen(text) : (size_t)(colon - text));
	struct fail f = {.left = UINT64_MAX};
	uint64_t n = 0;
	int rc = read_number(status, 200, 599, &n);

	free(status);
	if (rc == -1 || o->fail_count == FAILS_MAX ||
	    (colon != NULL && read_number(colon + 1, 1, UINT64_MAX, &f.left) == -1))
		return -1;
	f.status = (unsigned)n;
	o->fails[o->fail_count++] = f;
	return 0;
}

enum { FAIL = 256, FAIL_EVERY, LOSE_ANSWER, DELAY };

static int
read_option(int c, char *value, struct options *o)
{
	uint64_t n = 0;
	int rc = 0;

	switch (c) {
	case 'r':
		o->registration = value;
		return 0;
	case 'b':
		o->address = value;
		return 0;
	case 'p':
		rc = read_number(value, 0, 65535, &n);
		o->port = (long)n;
		return rc;
	case 'n':
		return read_number(value, 1, UINT64_MAX, &o->events);
	case FAIL:
		return read_fail(value, o);
	case FAIL_EVERY:
		return read_number(value, 1, UINT64_MAX, &o->fail_every);
	case LOSE_ANSWER:
		return read_number(value, 1, UINT64_MAX, &o->lose_every);
	case DELAY:
		return read_number(value, 0, 24 * 3600 * 1000, &o->delay_ms);
	default:
		return -1;
	}
}

int
cmd_listen(int argc, char **argv)
{
	static const struct option options[] = {
	    {"registration", required_argument, NULL, 'r'},
	    {"address", required_argument, NULL, 'b'},
	    {"port", required_argument, NULL, 'p'},
	    {"events", required_argument, NULL, 'n'},
	    {"fail", required_argument, NULL, FAIL},
	    {"fail-every", required_argument, NULL, FAIL_EVERY},
	    {"lose-answer", required_argument, NULL, LOSE_ANSWER},
	    {"delay", required_argument, NULL, DELAY},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	struct options o = {.address = "127.0.0.1", .port = -1};
	int c;

	while ((c = getopt_long(argc, argv, "r:b:p:n:h", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage_text, stdout);
			return EXIT_DONE;
		}
		if (read_option(c, optarg, &o) == -1)
			goto usage;
	}
	if (optind == argc && o.registration != NULL)
		return run(&o);
usage:
	fputs(usage_text, stderr);
	return EXIT_USAGE;
}
