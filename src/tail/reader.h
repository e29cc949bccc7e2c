/*
 * reader - one whole file, plain or compressed, as chunks of complete lines.
 *
 * For commands that read logs once (replay, explain, check), and for rotated
 * generations that were compressed.  Compression is told by the first bytes,
 * not by the name: gzip (zlib), zstd, xz (liblzma).
 */
#ifndef HEARSAY_TAIL_READER_H
#define HEARSAY_TAIL_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct reader;

/* "-" is standard input.  NULL on error. */
struct reader *reader_open(const char *path, struct err *e);
void reader_close(struct reader *r);

/*
 * The next complete lines: 1 and *data_r, *len_r (borrowed until the next
 * call), *offset_r (in the uncompressed bytes); the last chunk may lack its
 * newline; 0 at the end; -1 on error.  Lines longer than LINE_MAX_BYTES are
 * passed over and counted.
 */
int reader_next(struct reader *r, const char **data_r, size_t *len_r, uint64_t *offset_r,
    struct err *e);

/* Was a line passed over right before what reader_next gave last, or the end? */
bool reader_gap(const struct reader *r);

/* UTC ms of the file's last modification; of now for standard input. */
int64_t reader_mtime_ms(const struct reader *r);
/* Bytes of the file on disk, and how many of these were consumed; 0 if unknown. */
uint64_t reader_size(const struct reader *r);
uint64_t reader_consumed(const struct reader *r);
uint64_t reader_long_lines(const struct reader *r);

#endif
