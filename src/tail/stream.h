/*
 * stream - the bytes of an open file, decompressed where it is compressed.
 *
 * What a file is, its first bytes tell: gzip, zstd, xz, or plain.
 */
#ifndef HEARSAY_TAIL_STREAM_H
#define HEARSAY_TAIL_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct stream;

/* Takes fd, also on error.  name is for messages; copied.  NULL on error. */
struct stream *stream_open(int fd, const char *name, struct err *e);
void stream_close(struct stream *s);

/* Up to size bytes to p: 1 and *len_r > 0; 0 at the end; -1 on error. */
int stream_read(struct stream *s, char *p, size_t size, size_t *len_r, struct err *e);
/* Read and forget count bytes: 1; 0 where the stream ends before; -1 on error. */
int stream_skip(struct stream *s, uint64_t count, struct err *e);

/* Bytes taken from the file itself so far. */
uint64_t stream_consumed(const struct stream *s);

/* Do these first bytes of a file say that it is compressed? */
bool stream_is_compressed(const void *head, size_t len);

#endif
