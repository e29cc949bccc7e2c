/*
 * json_line - a line that is one JSON object and nothing else.
 */
#ifndef HEARSAY_DECODE_JSON_LINE_H
#define HEARSAY_DECODE_JSON_LINE_H

#include "base/mem.h"

struct json_object;
struct json_tokener;

/* A strict parser with a limit of depth; json_tokener_free frees it. */
struct json_tokener *json_line_parser(int depth);

/*
 * The object that line is, or NULL.  The caller puts it (json_object_put).
 * tok is as new afterwards, whatever the line was.
 */
struct json_object *json_line_parse(struct json_tokener *tok, struct slice line);

/*
 * The text of a scalar, copied to the arena: a string as it is, a number or
 * bool as JSON writes it.  {NULL, 0} for null, arrays and objects.
 */
struct slice json_line_text(struct json_object *value, struct arena *a);

#endif
