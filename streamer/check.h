/* check.h - what --check does: connects as the streamer would and names what is missing, each with its cure. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_CHECK_H
#define SYNC_CHECK_H

#include <stdio.h>

#include "options.h"

/* Prints one line for each thing looked at; returns how many of them are wrong. Blocks: nothing else runs then. */
int		check_run(const struct options *o, FILE *out);

#endif
