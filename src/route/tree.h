/*
 * tree - a YAML document as a tree of nodes with their lines, read with bounds.
 *
 * Registrations are small and plain, so what they never hold is refused:
 * aliases (a few lines of which can stand for gigabytes), deep nesting, very
 * many keys, keys that are no text, a key twice, a second document.
 */
#ifndef HEARSAY_ROUTE_TREE_H
#define HEARSAY_ROUTE_TREE_H

#include <stdbool.h>
#include <stddef.h>

#define TREE_DEPTH_MAX 32
#define TREE_KEYS_MAX 1000 /* of one map */

struct err_list;

enum tree_kind { TREE_TEXT, TREE_LIST, TREE_MAP };

struct tree {
	enum tree_kind kind;
	unsigned line;
	char *key;  /* in a map; else NULL */
	char *text; /* of TREE_TEXT */
	bool null;  /* a TREE_TEXT without quotes that means nothing: "", ~, null */
	struct tree *first, *next; /* first child; next of its siblings */
};

/*
 * Take the text of the file called path apart.  NULL on a mistake, which is
 * then in errs.  The texts may hold secrets: tree_free overwrites them.
 */
struct tree *tree_read(
    const char *path, const char *text, size_t len, struct err_list *errs);
void tree_free(struct tree *t);

/* The value under key; NULL where there is none or t is NULL or no map. */
const struct tree *tree_get(const struct tree *t, const char *key);

#endif
