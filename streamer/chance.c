/* chance.c - random numbers from the kernel. */
/* SPDX-License-Identifier: PostgreSQL */
#include "chance.h"

#include <stdlib.h>
#include <sys/random.h>

uint64_t
chance_bits(void)
{
	uint64_t value = 0;

	while (value == 0)
		if (getrandom(&value, sizeof(value), 0) != (ssize_t) sizeof(value))
			value = 0;
	return value;
}

int64_t
chance_below(int64_t limit)
{
	return limit > 0 ? (int64_t) (chance_bits() % (uint64_t) limit) : 0;
}
