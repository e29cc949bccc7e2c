/*
 * pq_schema - the tables of the store in PostgreSQL, and how an older store
 * becomes a newer.  They stand in a schema of their own, "hearsay", so that
 * the database may have other tables too.
 */
#ifndef HEARSAY_STORE_PQ_SCHEMA_H
#define HEARSAY_STORE_PQ_SCHEMA_H

struct err;
struct pq;

/*
 * See what the database has, before anything is changed in it.  1: a store of
 * this version.  0: none, or one of an older version.  -1: of a newer version,
 * or tables of somebody else, with the way on in e.
 */
int pq_schema_check(struct pq *p, struct err *e);

/*
 * Make the store, or bring an older one to this version, in one transaction;
 * refused while others use it as it is.
 */
int pq_schema_migrate(struct pq *p, struct err *e);

/* Use the store as it is, for as long as the connection lasts: it must be of this version. */
int pq_schema_use(struct pq *p, struct err *e);

#endif
