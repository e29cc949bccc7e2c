/*
 * config - hearsay.conf (libconfig) as one constant struct; hearsay.conf(5).
 *
 * Read once, whole, by a table of settings; all mistakes are told at once with
 * file and line.  Unknown settings are mistakes.
 */
#ifndef HEARSAY_CONFIG_CONFIG_H
#define HEARSAY_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decode/envelope.h"
#include "send/verdict.h"
#include "tail/journal.h"
#include "tail/tail.h"

struct err;
struct err_list;

enum log_kind {
	LOG_FILE, /* or a glob of files */
	LOG_FIFO, /* or standard input, whose path is "-" */
	LOG_JOURNAL
};

struct config_log {
	char *path;     /* of one in the journal: a name for it, "journal:UNIT" */
	char *pack;     /* name of the pack; NULL: found from the log's first lines */
	char *timezone; /* IANA name; NULL: the system's */
	struct tail_how how;
	enum envelope_kind envelope;
	enum log_kind kind;
	struct journal_unit journal; /* LOG_JOURNAL: whose entries it is */
	unsigned line;               /* of hearsay.conf, for messages */
};

/* One homeserver: a server name and the logs that its processes write. */
struct config_server {
	char *name; /* example.org */
	struct config_log *logs;
	size_t log_count;
	unsigned line;
};

/* A subscription that stands here because the registration can't be changed. */
struct config_subscription {
	char *appservice; /* id in its registration */
	char **events;
	size_t event_count;
	char *users; /* regex; NULL: the registration's own namespaces */
	unsigned line;
};

/* How one appservice is reached, where that is not as usual. */
struct config_appservice {
	char *id;
	char *ca;          /* file of certificates to trust; NULL: the system's */
	char *certificate; /* of ours, PEM; NULL: none */
	char *key;         /* its key; NULL: it is in the file of the certificate */
	char *proxy;       /* url; NULL: none */
	int tls_min;       /* 12 or 13 */
	unsigned line;
};

struct config {
	char *path;     /* of the file itself */
	char *store;    /* path of the store's file, or a url, which is shown to nobody */
	char *instance; /* what tells us apart where several share a store */
	char **
	    pattern_dirs; /* searched in order; a file found first hides those of its name */
	size_t pattern_dir_count;
	char *metrics; /* path of a file to be written; NULL: none */
	struct config_server *servers;
	size_t server_count;
	char **registrations; /* paths or globs */
	size_t registration_count;
	struct config_subscription *subscriptions;
	size_t subscription_count;
	struct config_appservice *appservices;
	size_t appservice_count;
	bool source;        /* add org.hearsay.source to contents */
	uint64_t queue_max; /* deliveries that may wait; then reading stops */
	int64_t
	    request_timeout_ms; /* a request that did not end is forgotten, log time */
	size_t request_max; /* open requests kept per log; oldest are forgotten first */
	int64_t connect_timeout_ms;
	int64_t first_byte_timeout_ms; /* of the answer, from the request's beginning */
	int64_t send_timeout_ms;       /* whole request */
	int64_t backoff_min_ms, backoff_max_ms;
	bool legacy_token_in_query; /* ?access_token= on the legacy path */
	struct verdict *statuses;   /* these go before verdict's own table */
	size_t status_count;
	uint64_t set_aside_tries;   /* refusals until a transaction is set aside, ... */
	int64_t set_aside_after_ms; /* and not before this time since the first */
	int64_t give_up_after_ms;   /* likewise for every failure but a pause; 0: never */
	int64_t keep_accepted_ms;   /* accepted transactions; then they are forgotten */
	uint64_t keep_size; /* MiB of the store; beyond it they are forgotten sooner */
};

/*
 * Read path.  NULL where there is any mistake; errs then has them all, each
 * "file:line: sentence".
 */
struct config *config_load(const char *path, struct err_list *errs);
void config_free(struct config *c);

/* The path used where -c is not given: CONFIG_FILE of the build, e.g. /etc/hearsay/hearsay.conf. */
const char *config_default_path(void);

/* The kind of envelope that a log's setting calls text: 0, or -1 and what there is. */
int config_envelope(const char *text, enum envelope_kind *kind_r, struct err *e);

#endif
