/*
 * postgres - a PostgreSQL server of the tests' own, on a Unix socket in a
 * temporary folder.
 */
#ifndef HEARSAY_TESTS_POSTGRES_H
#define HEARSAY_TESTS_POSTGRES_H

struct postgres;

/*
 * Make a server and start it.  NULL, and why in *reason_r, where none is
 * installed or it would have to run as root.  Any other trouble fails the test.
 */
struct postgres *postgres_start(const char **reason_r);
void postgres_stop(struct postgres *p); /* NULL is allowed */

/* End it in the middle of everything, as a power cut would, and start it again. */
void postgres_kill(struct postgres *p);
void postgres_go_on(struct postgres *p);

/* Let it and all its processes stand still, as a machine that hangs, and go on. */
void postgres_freeze(const struct postgres *p);
void postgres_thaw(const struct postgres *p);

/* The url of its database, for the role postgres; "guarded" needs a password. */
const char *postgres_url(const struct postgres *p);
/* The folder of its socket. */
const char *postgres_folder(const struct postgres *p);
#define POSTGRES_PASSWORD "s3cr3t-p4ssw0rd"

/* Run statements; the first column of the first row, malloc'd, "" where there is none. */
char *postgres_run(const struct postgres *p, const char *sql);

#endif
