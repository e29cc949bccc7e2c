/*
 * export - what the store holds as lines of JSON on standard output.
 */
#ifndef HEARSAY_COMMANDS_EXPORT_H
#define HEARSAY_COMMANDS_EXPORT_H

struct err;
struct store;
struct store_item;
struct store_told;

void export_item(const struct store_item *item);
void export_told(const struct store_told *told);

/*
 * Everything that waits or is set aside: transactions, then events that are in
 * none yet.  appservice and id (of a transaction) may be NULL: all.
 */
int export_waiting(
    struct store *s, const char *appservice, const char *id, struct err *e);

#endif
