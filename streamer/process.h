/* process.h - what the kernel says of this process, as metrics. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_PROCESS_H
#define SYNC_PROCESS_H

void	process_gauges(void);		/* memory, processor time, descriptors, since when; what cannot be read is left out */

#endif
