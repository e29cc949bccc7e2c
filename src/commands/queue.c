#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "commands/commands.h"
#include "commands/configured.h"
#include "commands/export.h"
#include "commands/when.h"
#include "config/config.h"
#include "route/route.h"

/* What was asked for. */
struct request {
	const char *config;
	const char *appservice, *id; /* NULL: all */
	bool dead, yes;
};

static const char usage_text[] =
    "usage: hearsay queue ACTION [OPTION...] [APPSERVICE [TRANSACTION]]\n"
    "Show and change what waits, whether the daemon runs or not.\n"
    "\n"
    "  list                   the queues and their transactions\n"
    "  show                   one queue or transaction at length\n"
    "  export                 everything that waits, one JSON object a line\n"
    "  retry                  try at once; put a dead letter back into its queue\n"
    "  hold                   let a queue rest; set a transaction aside\n"
    "  release                end that\n"
    "  discard                delete what waits\n"
    "\n"
    "  -c, --config FILE      instead of the installed hearsay.conf\n"
    "      --dead             retry: all dead letters of APPSERVICE\n"
    "      --yes              discard: without this, nothing is deleted\n"
    "  -h, --help             this text\n";

static int
failed(const struct err *e)
{
	fprintf(stderr, "hearsay queue: %s\n", e->text);
	return EXIT_FAILED;
}

static int
no_such(const struct request *q)
{
	if (q->id != NULL)
		fprintf(stderr,
		    "hearsay queue: no transaction \"%s\" of appservice \"%s\" is there to "
		    "be changed or shown\n",
		    q->id, q->appservice);
	else
		fprintf(
		    stderr, "hearsay queue: there is no queue \"%s\"\n", q->appservice);
	return EXIT_FAILED;
}

/* ---- looking ------------------------------------------------------------------- */

static void
print_queue(const struct store_queue_status *q, int64_t now, struct arena *a)
{
	printf("appservice %s: %" PRIu64 " waiting", q->appservice, q->queued);
	if (q->queued > 0)
		printf(", oldest %s", when_text(q->oldest_ms, now, a));
	if (q->dead > 0)
		printf(", %" PRIu64 " dead letter%s", q->dead, q->dead == 1 ? "" : "s");
	if (q->held_ms != 0)
		printf(", on hold since %s", when_text(q->held_ms, now, a));
	putchar('\n');
}

static void
print_item(const struct store_item *item, int64_t now, struct arena *a)
{
	const struct transaction *t = &item->txn;

	printf("  %s %s, %u event%s, %u attempt%s", t->id,
	    item->dead_ms != 0 ? "dead" : "waiting", t->events, t->events == 1 ? "" : "s",
	    t->attempts, t->attempts == 1 ? "" : "s");
	if (item->dead_ms != 0)
		printf(", set aside %s", when_text(item->dead_ms, now, a));
	else if (t->next_try_ms > now)
		printf(", next %s", when_text(t->next_try_ms, now, a));
	printf("%s%s\n", item->error[0] == '\0' ? "" : ": ", item->error);
}

static void
show_item(const struct store_item *item, int64_t now, struct arena *a)
{
	const struct transaction *t = &item->txn;

	printf("transaction %s\n", t->id);
	printf("  appservice    %s\n", item->appservice);
	printf("  state         %s\n", item->dead_ms != 0 ? "dead letter" : "waiting");
	printf("  events        %u\n", t->events);
	printf("  queued        %s\n", when_text(item->oldest_ms, now, a));
	printf("  formed        %s\n", when_text(t->formed_ms, now, a));
	printf("  first try     %s\n", when_text(t->first_try_ms, now, a));
	printf("  attempts      %u, refused %u\n", t->attempts, t->refusals);
	if (item->error[0] != '\0')
		printf("  last error    %s\n", item->error);
	if (item->dead_ms != 0)
		printf("  set aside     %s\n", when_text(item->dead_ms, now, a));
	else
		printf("  next try      %s\n",
		    t->next_try_ms <= now ? "at once"
					  : when_text(t->next_try_ms, now, a));
}

/* The transactions of q's queue, in a line each or at length. */
static int
print_items(struct store *s, const struct request *q, const char *appservice, bool full,
    size_t *count_r, struct err *e)
{
	struct arena *a = arena_new();
	struct store_item *items;
	int64_t after = 0, now = clock_utc_ms();
	size_t count, i;
	int rc;

	*count_r = 0;
	while (
	    (rc = store_items(s, appservice, q->id, after, a, &items, &count, e)) == 0 &&
	    count > 0) {
		for (i = 0; i < count; i++)
			(full ? show_item : print_item)(&items[i], now, a);
		if (q->id != NULL)
			printf("  body          %.*s\n", (int)items[0].txn.body_len,
			    items[0].txn.body);
		*count_r += count;
		after = items[count - 1].place;
		arena_reset(a);
	}
	arena_free(a);
	return rc;
}

static int
print_queues(
    struct store *s, const struct request *q, bool full, size_t *count_r, struct err *e)
{
	struct arena *a = arena_new();
	struct store_queue_status *queues;
	size_t count, i, items;
	int rc = store_queue_statuses(s, a, &queues, &count, e);

	for (i = 0; rc == 0 && i < count; i++) {
		if (q->appservice != NULL &&
		    strcmp(queues[i].appservice, q->appservice) != 0)
			continue;
		print_queue(&queues[i], clock_utc_ms(), a);
		rc = print_items(s, q, queues[i].appservice, full, &items, e);
		(*count_r)++;
	}
	arena_free(a);
	return rc;
}

static int
look(struct configured *c, const struct request *q, bool full)
{
	size_t count = 0;
	struct err e;
	int rc;

	if (q->id != NULL)
		rc = print_items(c->store, q, q->appservice, true, &count, &e);
	else
		rc = print_queues(c->store, q, full, &count, &e);
	if (rc == -1)
		return failed(&e);
	if (count == 0 && q->appservice != NULL)
		return no_such(q);
	return configured_printed() == -1 ? EXIT_FAILED : EXIT_DONE;
}

static int
list(struct configured *c, const struct request *q)
{
	return look(c, q, false);
}

static int
show(struct configured *c, const struct request *q)
{
	return look(c, q, true);
}

static int export(struct configured *c, const struct request *q)
{
	struct err e;

	if (export_waiting(c->store, q->appservice, q->id, &e) == -1)
		return failed(&e);
	return configured_printed() == -1 ? EXIT_FAILED : EXIT_DONE;
}

/* ---- changing ------------------------------------------------------------------ */

/* Is there a queue of that name, or a registration that will have one? */
static bool
is_known(struct configured *c, const char *appservice)
{
	struct arena *a = arena_new();
	struct store_queue_status *queues;
	struct err_list errs = {0};
	struct route *r;
	size_t count = 0, i;
	bool known = false;

	if (store_queue_statuses(c->store, a, &queues, &count, NULL) == -1)
		count = 0;
	for (i = 0; i < count; i++)
		known = known || strcmp(queues[i].appservice, appservice) == 0;
	arena_free(a);
	if (known)
		return true;
	r = route_load(c->config, &errs);
	known = route_find(r, appservice) != NULL;
	route_free(r);
	err_list_clear(&errs);
	return known;
}

static int
change(struct configured *c, const struct request *q, enum store_edit edit)
{
	uint64_t events = 0;
	struct err e;
	int done;

	/* A typing error must not make a queue, which nobody would look for. */
	if (q->id == NULL && !is_known(c, q->appservice))
		return no_such(q);
	done =
	    store_edit(c->store, q->appservice, q->id, edit, clock_utc_ms(), &events, &e);
	if (done == -1)
		return failed(&e);
	if (done == 0 && q->id != NULL)
		return no_such(q);
	if (edit == STORE_DISCARD || events > 0)
		printf("%" PRIu64 " event%s\n", events, events == 1 ? "" : "s");
	return configured_printed() == -1 ? EXIT_FAILED : EXIT_DONE;
}

static int
retry(struct configured *c, const struct request *q)
{
	return change(c, q, q->dead && q->id == NULL ? STORE_RETRY_DEAD : STORE_RETRY);
}

static int
hold(struct configured *c, const struct request *q)
{
	return change(c, q, STORE_HOLD);
}

static int
release(struct configured *c, const struct request *q)
{
	return change(c, q, STORE_RELEASE);
}

static int
discard(struct configured *c, const struct request *q)
{
	if (q->yes)
		return change(c, q, STORE_DISCARD);
	fputs("hearsay queue: what is discarded is gone for ever; say --yes, and save it "
	      "with `hearsay queue export' before\n",
	    stderr);
	return EXIT_USAGE;
}

/* ---- the command --------------------------------------------------------------- */

static const struct action {
	const char *name;
	int (*run)(struct configured *c, const struct request *q);
	bool changes; /* then it needs an appservice */
} actions[] = {
    {"list", list, false},
    {"show", show, false},
    {"export", export, false},
    {"retry", retry, true},
    {"hold", hold, true},
    {"release", release, true},
    {"discard", discard, true},
};

static const struct action *
action_of(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
	return NULL;
}

static int
run(const struct action *action, const struct request *q)
{
	struct configured c;
	int status = EXIT_FAILED;

	if (configured_open(&c, q->config, action->changes ? STORE_EDIT : STORE_READ) ==
	    0)
		status = action->run(&c, q);
	configured_close(&c);
	return status;
}

enum { OPT_DEAD = 256, OPT_YES };

int
cmd_queue(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
	    {"dead", no_argument, NULL, OPT_DEAD}, {"yes", no_argument, NULL, OPT_YES},
	    {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	struct request q = {.config = config_default_path()};
	const struct action *action;
	int c;

	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			q.config = optarg;
			break;
		case OPT_DEAD:
			q.dead = true;
			break;
		case OPT_YES:
			q.yes = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return EXIT_DONE;
		default:
			goto usage;
		}
	}
	action = optind < argc ? action_of(argv[optind]) : NULL;
	if (action == NULL || argc - optind > 3)
		goto usage;
	q.appservice = argc - optind > 1 ? argv[optind + 1] : NULL;
	q.id = argc - optind > 2 ? argv[optind + 2] : NULL;
	if (action->changes && q.appservice == NULL)
		goto usage;
	return run(action, &q);

usage:
	fputs(usage_text, stderr);
	return EXIT_USAGE;
}
