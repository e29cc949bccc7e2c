/*
 * capture - the types of what a pattern captures.
 *
 * A macro %{type:name} in a pattern captures text as that type: the type has
 * the regex that finds it, the decoding that makes the value of it (percent,
 * Python's repr…), and a check of the value.  A value that fails its check
 * makes the whole match void.
 */
#ifndef HEARSAY_PACK_CAPTURE_H
#define HEARSAY_PACK_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

enum capture_type {
	CAPTURE_TEXT,        /* as it stands */
	CAPTURE_USER_ID,     /* @localpart:server */
	CAPTURE_USER_ID_URI, /* the same, percent-encoded */
	CAPTURE_LOCALPART,   /* becomes @localpart:server of the configured server */
	CAPTURE_DEVICE_ID,   /* as it stands */
	CAPTURE_DEVICE_ID_URI,
	CAPTURE_PY_LIST,  /* Python's repr of a list of str: ['A', "B'"] */
	CAPTURE_GO_LIST,  /* Go's %v of a []string: [A B] */
	CAPTURE_RUST_STR, /* Rust's Debug of a str: "a\"b\u{7f}" */
	CAPTURE_TYPE_COUNT
};

/* A captured value: one string, or a list of them.  Lives in an arena. */
struct value {
	struct slice *items;
	size_t count;
	bool list;
};

/*
 * The built-in macro called name: 1, the regex that finds one and the type of
 * what it captures; 0 where there is none.  hearsay-pack(5) lists them.
 */
int capture_macro(
    const char *name, size_t len, const char **pattern_r, enum capture_type *type_r);

bool capture_has_control(struct slice s);

/*
 * Decode text as type: 1 and *v_r (in the arena); 0 where the text is no such
 * thing, and the match is void.  server_name may be NULL: then a user of any
 * server will do, and a bare localpart is void.
 *
 * raw says that the line's format writes strings as they are: a newline would
 * have cut the line there, so a device id with a control character in it may
 * be half of one, and is given as no value (count 0) rather than as another.
 * So is text that is not UTF-8: JSON could not carry it unchanged.
 */
int capture_decode(enum capture_type type, struct slice text, const char *server_name,
    bool raw, struct arena *a, struct value *v_r);

#endif
