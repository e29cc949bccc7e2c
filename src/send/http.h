/*
 * http - PUT requests to appservices, on the event loop.
 *
 * libcurl's multi interface behind two functions.  What an answer means is no
 * concern of this module.  No redirect is followed, no proxy is used but one
 * that is given, TLS is verified, and an answer is read to ANSWER_MAX bytes.
 * HTTP/2 is spoken over TLS where the receiver does.
 */
#ifndef HEARSAY_SEND_HTTP_H
#define HEARSAY_SEND_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ANSWER_MAX (64 * 1024) /* bytes; the connection is cut behind these */

struct err;
struct event_base;
struct http;
struct http_request;

struct http_answer {
	int status;        /* 0: none came */
	const char *error; /* why none came; without secrets */
	int kind;          /* the same for errors that differ in figures only; 0: none */
	const char *body;  /* what was read of it, with a NUL behind it */
	size_t len;
	int64_t retry_after_ms; /* from now; 0: not told */
};

/* How a receiver is reached; borrowed until the answer.  NULL is the usual. */
struct http_way {
	const char *socket;            /* path of a Unix socket */
	const char *ca;                /* file of certificates, instead of the system's */
	const char *certificate, *key; /* ours; key NULL: in the certificate's file */
	const char *proxy;             /* url */
	int tls_min;                   /* 12 or 13; 0: 12 */
};

struct http_timeouts {
	int64_t connect_ms;
	int64_t first_byte_ms; /* of the answer, from the beginning; 0: no bound */
	int64_t whole_ms;
};

struct http_put {
	const char *url;
	struct http_way way;
	const char *token;   /* for "Authorization: Bearer" */
	bool token_in_query; /* as access_token, too */
	const char *body;    /* JSON; borrowed until the answer */
	size_t len;
	/* Called once, from the loop, never from http_put itself. */
	void (*answered)(void *arg, const struct http_answer *answer);
	void *arg;
};

/*
 * Borrows base.  wakes (may be NULL) is called whenever the loop comes to a
 * request, before anything more of any is sent; it may cancel them.  NULL on error.
 */
struct http *http_new(struct event_base *base, const struct http_timeouts *timeouts,
    void (*wakes)(void *arg), void *arg, struct err *e);
/* After every request was answered or cancelled.  NULL is allowed. */
void http_free(struct http *h);

/* Begin a request; it is freed after its answered returned.  NULL on error. */
struct http_request *http_put(struct http *h, const struct http_put *put, struct err *e);
/* Cut a request; answered is not called.  NULL is allowed. */
void http_cancel(struct http_request *r);

#endif
