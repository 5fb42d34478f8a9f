/* verdicts_fuzz.c - any text: what is counted stays within the text, and never more verdicts than it has characters. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>

#include "metrics.h"
#include "verdicts.h"

int		LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	metrics_reset();
	verdicts_count((const char *) data, size);
	if (metric_sum(METRIC_VERDICTS) > (double) size || metric_sum(METRIC_OUTCOMES) > metric_sum(METRIC_VERDICTS))
		abort();
	if (verdicts_changes((const char *) data, size) > size)
		abort();
	return 0;
}
