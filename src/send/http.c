#include "send/http.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

struct http {
	struct event_base *base;
	CURLM *multi;
	struct event *timer; /* when libcurl wants to be called at the latest */
	struct http_timeouts timeouts;
	void (*wakes)(void *arg);
	void *arg;
	bool http2; /* libcurl was built with it */
};

struct http_request {
	struct http *http;
	CURL *easy;
	struct curl_slist *headers;
	void (*answered)(void *arg, const struct http_answer *answer);
	void *arg;
	struct event *first_byte; /* too late for that; NULL: no bound */
	bool silent;              /* it was */
	char *token;              /* only to keep it out of error texts */
	struct buf answer;
	char error[CURL_ERROR_SIZE];
};

/* ---- requests ---------------------------------------------------------- */

/* Called for each line of the answer's head: it has begun. */
static size_t
take_head(char *data, size_t size, size_t count, void *arg)
{
	struct http_request *r = arg;

	(void)data;
	if (r->first_byte != NULL)
		(void)event_del(r->first_byte);
	return size * count;
}

static size_t
take_answer(char *data, size_t size, size_t count, void *arg)
{
	struct http_request *r = arg;
	size_t len = size * count;
	size_t room = ANSWER_MAX - r->answer.len;

	buf_add(&r->answer, data, len < room ? len : room);
	/* Anything but len cuts the connection: an answer without end ends here. */
	return len <= room ? len : 0;
}

/* The header holds the token: it is overwritten before its memory is given back. */
static void
free_headers(struct curl_slist *headers)
{
	struct curl_slist *h;

	for (h = headers; h != NULL; h = h->next)
		explicit_bzero(h->data, strlen(h->data));
	curl_slist_free_all(headers);
}

static void
free_token(char *token)
{
	explicit_bzero(token, strlen(token));
	free(token);
}

static void
free_request(struct http_request *r)
{
	if (r->easy != NULL)
		curl_easy_cleanup(r->easy);
	if (r->first_byte != NULL)
		event_free(r->first_byte);
	free_headers(r->headers);
	free_token(r->token);
	buf_free(&r->answer);
	free(r);
}

static void
add_header(struct http_request *r, const char *line)
{
	struct curl_slist *longer = curl_slist_append(r->headers, line);

	if (longer == NULL)
		mem_exhausted();
	r->headers = longer;
}

static void
set_headers(struct http_request *r)
{
	char *bearer = xasprintf("Authorization: Bearer %s", r->token);

	add_header(r, bearer);
	free_token(bearer);
	add_header(r, "Content-Type: application/json");
	/* Without this libcurl asks first, and waits a second for servers that don't answer. */
	add_header(r, "Expect:");
}

/* libcurl keeps a copy of the url, and never puts it into an error's text. */
static CURLcode
set_url(struct http_request *r, const struct http_put *put)
{
	char *token, *url;
	CURLcode code;

	if (!put->token_in_query)
		return curl_easy_setopt(r->easy, CURLOPT_URL, put->url);
	token = curl_easy_escape(r->easy, put->token, 0);
	if (token == NULL)
		mem_exhausted();
	url = xasprintf("%s?access_token=%s", put->url, token);
	code = curl_easy_setopt(r->easy, CURLOPT_URL, url);
	explicit_bzero(token, strlen(token));
	curl_free(token);
	free_token(url);
	return code;
}

static CURLcode
set_protocols(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	return curl_easy_setopt(
	    easy, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
}

static CURLcode
set_text(CURL *easy, CURLoption option, const char *text)
{
	return text == NULL ? CURLE_OK : curl_easy_setopt(easy, option, text);
}

static int
all_set(const CURLcode *codes, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (codes[i] != CURLE_OK)
			return -1;
	return 0;
}

static int
set_way(struct http_request *r, const struct http_way *way)
{
	CURL *c = r->easy;
	const CURLcode codes[] = {
	    set_text(c, CURLOPT_UNIX_SOCKET_PATH, way->socket),
	    set_text(c, CURLOPT_CAINFO, way->ca),
	    set_text(c, CURLOPT_SSLCERT, way->certificate),
	    set_text(c, CURLOPT_SSLKEY, way->key),
	    curl_easy_setopt(c, CURLOPT_SSLVERSION,
		way->tls_min == 13 ? (long)CURL_SSLVERSION_TLSv1_3
				   : (long)CURL_SSLVERSION_TLSv1_2),
	    /* "" is none, whatever the environment says. */
	    curl_easy_setopt(c, CURLOPT_PROXY, way->proxy == NULL ? "" : way->proxy),
	    curl_easy_setopt(c, CURLOPT_NOPROXY, ""),
	    curl_easy_setopt(c, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE),
	    curl_easy_setopt(c, CURLOPT_HTTP_VERSION,
		r->http->http2 ? (long)CURL_HTTP_VERSION_2TLS
			       : (long)CURL_HTTP_VERSION_1_1),
	    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L),
	    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L),
	};

	return all_set(codes, sizeof(codes) / sizeof(codes[0]));
}

static int
set_options(struct http_request *r, const struct http_put *put)
{
	const struct http *h = r->http;
	CURL *c = r->easy;
	/* Any of these fails only for want of memory, or where libcurl was built without it. */
	const CURLcode codes[] = {
	    set_protocols(c),
	    set_url(r, put),
	    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, "PUT"),
	    curl_easy_setopt(c, CURLOPT_POSTFIELDS, put->body),
	    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)put->len),
	    curl_easy_setopt(c, CURLOPT_HTTPHEADER, r->headers),
	    curl_easy_setopt(c, CURLOPT_USERAGENT, "hearsay"),
	    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L),
	    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)h->timeouts.connect_ms),
	    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)h->timeouts.whole_ms),
	    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L),
	    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_head),
	    curl_easy_setopt(c, CURLOPT_HEADERDATA, r),
	    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_answer),
	    curl_easy_setopt(c, CURLOPT_WRITEDATA, r),
	    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, r->error),
	    curl_easy_setopt(c, CURLOPT_PRIVATE, r),
	};

	return all_set(codes, sizeof(codes) / sizeof(codes[0]));
}

static void on_silence(evutil_socket_t fd, short what, void *arg);

static void
bound_silence(struct http_request *r)
{
	int64_t ms = r->http->timeouts.first_byte_ms;
	struct timeval tv = clock_timeval(ms);

	if (ms == 0)
		return;
	r->first_byte = evtimer_new(r->http->base, on_silence, r);
	if (r->first_byte == NULL || event_add(r->first_byte, &tv) == -1)
		mem_exhausted();
}

struct http_request *
http_put(struct http *h, const struct http_put *put, struct err *e)
{
	struct http_request *r = xcalloc(1, sizeof(*r));

	r->http = h;
	r->answered = put->answered;
	r->arg = put->arg;
	r->token = xstrdup(put->token);
	r->easy = curl_easy_init();
	if (r->easy == NULL)
		mem_exhausted();
	set_headers(r);
	if (set_options(r, put) == -1 || set_way(r, &put->way) == -1 ||
	    curl_multi_add_handle(h->multi, r->easy) != CURLM_OK) {
		free_request(r);
		(void)err_set(e, "libcurl refuses to begin a request");
		return NULL;
	}
	bound_silence(r);
	return r;
}

void
http_cancel(struct http_request *r)
{
	if (r == NULL)
		return;
	(void)curl_multi_remove_handle(r->http->multi, r->easy);
	free_request(r);
}

/* ---- answers ----------------------------------------------------------- */

/* Why no answer came.  A text that a server had a part in might repeat the token. */
static const char *
error_of(const struct http_request *r, CURLcode code)
{
	if (r->silent)
		return "no answer began in time";
	if (r->error[0] == '\0' || strstr(r->error, r->token) != NULL)
		return curl_easy_strerror(code);
	return r->error;
}

static void
answer(struct http_request *r, CURLcode code)
{
	struct http_answer a = {0};
	long status = 0;
	curl_off_t retry_after = 0;
	bool cut = code == CURLE_WRITE_ERROR && r->answer.len == ANSWER_MAX;

	buf_reserve(&r->answer, 0);
	a.body = r->answer.p;
	a.len = r->answer.len;
	if (code != CURLE_OK && !cut) {
		a.error = error_of(r, code);
		a.kind = (int)code;
	} else if (curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status) ==
	    CURLE_OK) {
		a.status = (int)status;
		if (curl_easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &retry_after) ==
			CURLE_OK &&
		    retry_after > 0)
			a.retry_after_ms = retry_after > INT64_MAX / 1000
			    ? INT64_MAX
			    : (int64_t)retry_after * 1000;
	}
	(void)curl_multi_remove_handle(r->http->multi, r->easy);
	r->answered(r->arg, &a);
	free_request(r);
}

static void
on_silence(evutil_socket_t fd, short what, void *arg)
{
	struct http_request *r = arg;

	(void)fd;
	(void)what;
	r->silent = true;
	answer(r, CURLE_OPERATION_TIMEDOUT);
}

static void
collect_answers(struct http *h)
{
	struct http_request *r;
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(h->multi, &left)) != NULL)
		if (msg->msg == CURLMSG_DONE &&
		    curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &r) == CURLE_OK)
			answer(r, msg->data.result);
}

/* ---- libcurl and the loop ---------------------------------------------- */

static void
go_on(struct http *h, curl_socket_t fd, int what)
{
	int running;

	/* libcurl does not mind to be told of a socket that it closed in here. */
	if (h->wakes != NULL)
		h->wakes(h->arg);
	(void)curl_multi_socket_action(h->multi, fd, what, &running);
	collect_answers(h);
}

static void
on_socket(evutil_socket_t fd, short what, void *arg)
{
	go_on(arg, fd,
	    ((what & EV_READ) != 0 ? CURL_CSELECT_IN : 0) |
		((what & EV_WRITE) != 0 ? CURL_CSELECT_OUT : 0));
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	go_on(arg, CURL_SOCKET_TIMEOUT, 0);
}

/* libcurl tells what it waits for on fd; ev is what it was given for fd before. */
static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *ev)
{
	struct http *h = arg;
	short flags = EV_PERSIST;

	(void)easy;
	if (ev != NULL)
		event_free(ev);
	ev = NULL;
	if (what != CURL_POLL_REMOVE) {
		if ((what & CURL_POLL_IN) != 0)
			flags |= EV_READ;
		if ((what & CURL_POLL_OUT) != 0)
			flags |= EV_WRITE;
		ev = event_new(h->base, fd, flags, on_socket, h);
		if (ev == NULL || event_add(ev, NULL) == -1)
			mem_exhausted();
	}
	(void)curl_multi_assign(h->multi, fd, ev);
	return 0;
}

/* libcurl must not be called from here, so that even "now" goes by the loop. */
static int
set_timer(CURLM *multi, long ms, void *arg)
{
	struct http *h = arg;
	struct timeval tv = clock_timeval(ms);

	(void)multi;
	if (ms < 0)
		return event_del(h->timer);
	return event_add(h->timer, &tv);
}

struct http *
http_new(struct event_base *base, const struct http_timeouts *timeouts,
    void (*wakes)(void *arg), void *arg, struct err *e)
{
	struct http *h = xcalloc(1, sizeof(*h));

	h->base = base;
	h->wakes = wakes;
	h->arg = arg;
	h->timeouts = *timeouts;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(h);
		(void)err_set(e, "libcurl does not start");
		return NULL;
	}
	h->http2 =
	    (curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_HTTP2) != 0;
	h->multi = curl_multi_init();
	h->timer = evtimer_new(base, on_timer, h);
	if (h->multi == NULL || h->timer == NULL)
		mem_exhausted();
	if (curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, watch_socket) !=
		CURLM_OK ||
	    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h) != CURLM_OK ||
	    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, set_timer) != CURLM_OK ||
	    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h) != CURLM_OK) {
		http_free(h);
		(void)err_set(e, "libcurl takes no callbacks");
		return NULL;
	}
	return h;
}

void
http_free(struct http *h)
{
	if (h == NULL)
		return;
	/* It closes its connections through watch_socket and set_timer. */
	(void)curl_multi_cleanup(h->multi);
	event_free(h->timer);
	free(h);
	curl_global_cleanup();
}
