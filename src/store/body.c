#include "store/body.h"

#include <inttypes.h>
#include <json-c/json.h>

#include "store/store.h"

#define BODY_END "]}"

static void
add_string(struct buf *b, const char *s)
{
	struct json_object *o = json_object_new_string(s);
	const char *text;

	if (o == NULL)
		mem_exhausted();
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE);
	if (text == NULL)
		mem_exhausted();
	buf_adds(b, text);
	(void)json_object_put(o);
}

void
body_begin(struct body *b, const char *key)
{
	buf_reset(&b->text);
	b->events = 0;
	/* Real receivers refuse a body without "events". */
	buf_adds(&b->text, "{\"events\":[],");
	add_string(&b->text, key);
	buf_adds(&b->text, ":[");
}

bool
body_add(struct body *b, const char *type, const char *content, int64_t ts)
{
	size_t before = b->text.len;

	if (b->events == TXN_EVENTS_MAX)
		return false;
	buf_adds(&b->text, b->events == 0 ? "{\"type\":" : ",{\"type\":");
	add_string(&b->text, type);
	buf_addf(&b->text, ",\"content\":%s,\"ts\":%" PRId64 "}", content, ts);
	if (b->events > 0 && b->text.len + sizeof(BODY_END) - 1 > TXN_BODY_MAX) {
		b->text.len = before;
		b->text.p[before] = '\0';
		return false;
	}
	b->events++;
	return true;
}

void
body_end(struct body *b)
{
	buf_adds(&b->text, BODY_END);
}
