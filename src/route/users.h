/*
 * users - a set of users, by a pattern over their full ids.
 *
 * Matched as the homeservers do: at the start of the id, not at its end.
 */
#ifndef HEARSAY_ROUTE_USERS_H
#define HEARSAY_ROUTE_USERS_H

struct err_list;
struct users;

/* regex is copied; file and line, where it stands, are for messages (file is copied). */
struct users *users_new(const char *regex, const char *file, unsigned line);
void users_free(struct users *u);

/* Before the first match.  0 (at once if it was done already), or -1, told in errs. */
int users_compile(struct users *u, struct err_list *errs);

/* 1: user_id is one of them; 0: it is not; -1: PCRE2 gave up (match limit). */
int users_match(const struct users *u, const char *user_id);

#endif
