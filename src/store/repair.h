/*
 * repair - whether a store's file is sound, and a new one of what can be read.
 *
 * For stores that are files.  Nothing is deleted: what a damaged file holds
 * besides what could be read stays in it, and it is kept under another name.
 */
#ifndef HEARSAY_STORE_REPAIR_H
#define HEARSAY_STORE_REPAIR_H

#include <stdint.h>

#include "base/err.h"

/*
 * Look at the whole file, beside a running daemon or without.  What is wrong
 * with it is added to problems.  0, or -1 where it cannot be looked at.
 */
int repair_check(const char *path, struct err_list *problems, struct err *e);

struct repair_report {
	struct err_list carried; /* a sentence for each table */
	struct err_list lost; /* and for each thing that is not as it was; mostly empty */
	char *aside;          /* where the old file is now */
};

/*
 * Make a new store of what can be read of the one at path, and put it in its
 * place; no daemon may run.  0 and report; -1 where nothing was changed.
 */
int repair_rebuild(
    const char *path, int64_t now, struct repair_report *report, struct err *e);
void repair_report_clear(struct repair_report *report);

#endif
