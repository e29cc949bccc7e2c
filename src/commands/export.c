#include "commands/export.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "store/store.h"

static void
print_string(const char *key, const char *text)
{
	struct buf shown = {0};
	struct json_object *o;
	const char *json;

	utf8_show(&shown, slice_of(text));
	o = json_object_new_string_len(shown.p != NULL ? shown.p : "", (int)shown.len);
	buf_free(&shown);
	if (o == NULL)
		mem_exhausted();
	json = json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE);
	if (json == NULL)
		mem_exhausted();
	printf("\"%s\":%s,", key, json);
	(void)json_object_put(o);
}

/* A time or status that never was is null. */
static void
print_number(const char *key, int64_t n)
{
	if (n == 0)
		printf("\"%s\":null,", key);
	else
		printf("\"%s\":%" PRId64 ",", key, n);
}

void
export_item(const struct store_item *item)
{
	const struct transaction *t = &item->txn;

	putchar('{');
	print_string("appservice", item->appservice);
	print_string("state", item->dead_ms != 0 ? "dead" : "waiting");
	print_string("txn", t->id);
	printf("\"events\":%u,\"attempts\":%u,\"refusals\":%u,", t->events, t->attempts,
	    t->refusals);
	print_number("queued_ms", item->oldest_ms);
	print_number("formed_ms", t->formed_ms);
	print_number("first_try_ms", t->first_try_ms);
	print_number("next_try_ms", t->next_try_ms);
	print_number("dead_ms", item->dead_ms);
	print_number("status", item->status);
	print_string("error", item->error);
	/* It is JSON already, and stays as it is, byte for byte. */
	printf("\"body\":%.*s}\n", (int)t->body_len, t->body);
}

void
export_told(const struct store_told *told)
{
	putchar('{');
	print_string("appservice", told->appservice);
	print_string("state", told->accepted_ms != 0 ? "accepted" : "queued");
	if (told->accepted_ms != 0) {
		print_string("txn", told->txn);
		print_number("accepted_ms", told->accepted_ms);
		print_number("status", told->status);
	}
	print_number("queued_ms", told->queued_ms);
	print_string("log", told->log);
	printf("\"source\":%s,", told->source);
	print_string("key", told->key);
	print_string("type", told->type);
	printf("\"content\":%s,\"ts\":%" PRId64 "}\n", told->content, told->ts);
}

static int
export_items(struct store *s, const char *appservice, const char *id, struct err *e)
{
	struct arena *a = arena_new();
	struct store_item *items;
	int64_t after = 0;
	size_t count, i;
	int rc;

	while ((rc = store_items(s, appservice, id, after, a, &items, &count, e)) == 0 &&
	    count > 0) {
		for (i = 0; i < count; i++)
			export_item(&items[i]);
		after = items[count - 1].place;
		arena_reset(a);
	}
	arena_free(a);
	return rc;
}

static int
export_queued(struct store *s, const char *appservice, struct err *e)
{
	const struct store_which which = {
	    .appservice = appservice, .since_ms = INT64_MIN};
	struct arena *a = arena_new();
	struct store_told *told;
	int64_t after = 0;
	size_t count, i;
	int rc;

	while (
	    (rc = store_tell(s, &which, after, a, &told, &count, e)) == 0 && count > 0) {
		for (i = 0; i < count; i++)
			export_told(&told[i]);
		after = told[count - 1].place;
		arena_reset(a);
	}
	arena_free(a);
	return rc;
}

int
export_waiting(struct store *s, const char *appservice, const char *id, struct err *e)
{
	if (export_items(s, appservice, id, e) == -1)
		return -1;
	return id == NULL ? export_queued(s, appservice, e) : 0;
}
