#include "send/verdict.h"

#include <json-c/json.h>
#include <string.h>

#define ANSWER_DEPTH 16

/* The first row that holds is taken; the last one holds for all. */
static const struct verdict table[] = {
    {200, 200, VERDICT_ACCEPTED, NULL},
    {201, 299, VERDICT_ODD, "taken as accepted"},
    {300, 399, VERDICT_RETRY,
	"redirects are not followed: put the final url into the registration"},
    {400, 400, VERDICT_SET_ASIDE, "it refuses the body"},
    {401, 401, VERDICT_PAUSE, "it does not know our hs_token"},
    {403, 403, VERDICT_PAUSE, "it refuses our hs_token"},
    {404, 405, VERDICT_OTHER_PATH, "it does not know the path of transactions"},
    {413, 413, VERDICT_SET_ASIDE, "the body is too large for it"},
    {422, 422, VERDICT_SET_ASIDE, "it refuses the body"},
    {429, 429, VERDICT_AS_TOLD, NULL},
    {503, 503, VERDICT_AS_TOLD, NULL},
    {0, 999, VERDICT_RETRY, NULL},
};

/* The first row that holds for status; NULL where none does. */
static const struct verdict *
row_of(const struct verdict *rows, size_t count, int status)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (status >= rows[i].first && status <= rows[i].last)
			return &rows[i];
	return NULL;
}

const struct verdict *
verdict_of(const struct verdict *rows, size_t count, int status, const char *errcode)
{
	const size_t n = sizeof(table) / sizeof(table[0]);
	const struct verdict *last = &table[n - 1], *v = row_of(rows, count, status);

	if (v == NULL)
		v = row_of(table, n, status);
	if (v == NULL)
		return last;
	/* A receiver that has words of its own for it does know the path. */
	if (v->action == VERDICT_OTHER_PATH && errcode[0] != '\0' &&
	    strcmp(errcode, "M_UNRECOGNIZED") != 0)
		return last;
	return v;
}

static struct json_object *
parse(const char *body, size_t len)
{
	struct json_tokener *tok = json_tokener_new_ex(ANSWER_DEPTH);
	struct json_object *o;

	if (tok == NULL)
		return NULL;
	o = json_tokener_parse_ex(tok, body, (int)len);
	json_tokener_free(tok);
	return o;
}

void
verdict_errcode(
    const char *body, size_t len, const char *secret, char errcode_r[ERRCODE_MAX + 1])
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	struct json_object *o = parse(body, len), *code;
	const char *text;

	errcode_r[0] = '\0';
	if (!json_object_is_type(o, json_type_object) ||
	    !json_object_object_get_ex(o, "errcode", &code) ||
	    !json_object_is_type(code, json_type_string))
		goto done;
	text = json_object_get_string(code);
	if (strlen(text) <= ERRCODE_MAX && text[strspn(text, plain)] == '\0' &&
	    strstr(text, secret) == NULL)
		(void)strcpy(errcode_r, text);
done:
	(void)json_object_put(o);
}

int64_t
verdict_backoff(int64_t min_ms, int64_t max_ms, unsigned attempt, uint64_t random)
{
	int64_t ceiling = min_ms;

	while (attempt-- > 0 && ceiling < max_ms)
		ceiling = ceiling > max_ms / 2 || ceiling == 0 ? max_ms : ceiling * 2;
	if (ceiling <= min_ms)
		return min_ms;
	return min_ms + (int64_t)(random % (uint64_t)(ceiling - min_ms + 1));
}
