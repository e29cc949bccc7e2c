/*
 * patterns - what the commands that are given logs by hand share: the packs,
 * and which of them a log belongs to.
 */
#ifndef HEARSAY_COMMANDS_PATTERNS_H
#define HEARSAY_COMMANDS_PATTERNS_H

#include <stddef.h>

#include "decode/envelope.h"

struct err;
struct err_list;
struct pack;
struct pack_set;

/*
 * Load the packs of dir, or, where it is NULL, those of the configuration's and
 * the installation's directories.  Mistakes are printed on stderr.  -1 where
 * there was any.
 */
int patterns_load(struct pack_set *set_r, const char *dir);

/* Print and clear errs; their number. */
size_t errors_print(struct err_list *errs);

/*
 * The pack that recognises most of the first lines of data, which are in such
 * envelopes; NULL where none does any.
 */
const struct pack *patterns_find_in(const struct pack_set *set,
    enum envelope_kind envelope, const char *data, size_t len);

/* The same for the file at path; NULL with a sentence in e. */
const struct pack *patterns_find(const struct pack_set *set, enum envelope_kind envelope,
    const char *path, struct err *e);

#endif
