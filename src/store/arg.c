#include "store/arg.h"

struct db_arg
db_number(int64_t n)
{
	return (struct db_arg){.kind = DB_NUMBER, .n = n};
}

struct db_arg
db_bits(uint64_t n)
{
	return (struct db_arg){.kind = DB_NUMBER, .n = (int64_t)n};
}

struct db_arg
db_text(const char *s)
{
	return (struct db_arg){.kind = DB_TEXT, .p = s};
}

struct db_arg
db_bytes(const void *p, size_t len)
{
	return (struct db_arg){.kind = DB_BYTES, .p = p, .n = (int64_t)len};
}
