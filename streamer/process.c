/* process.c - what the kernel says of this process, as metrics. */
/* SPDX-License-Identifier: PostgreSQL */
#include "process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "metrics.h"

static void
note_memory(void)
{
	FILE   *f = fopen("/proc/self/statm", "re");
	long	size;
	long	resident;

	if (f == NULL)
		return;
	if (fscanf(f, "%ld %ld", &size, &resident) == 2)
		metric_set(METRIC_PROCESS_MEMORY, (double) resident * (double) sysconf(_SC_PAGESIZE));
	fclose(f);
}

static void
note_descriptors(void)
{
	DIR    *d = opendir("/proc/self/fd");
	struct rlimit limit;
	int		count = -3;			/* ".", "..", and the one that reads */

	if (d != NULL)
	{
		while (readdir(d) != NULL)
			count++;
		closedir(d);
		metric_set(METRIC_PROCESS_FDS, count);
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		metric_set(METRIC_PROCESS_MAX_FDS, (double) limit.rlim_cur);
}

static void
note_times(void)
{
	static double started;		/* as good as the start: the first look is at the first turn */
	struct rusage usage;
	struct timespec now;

	if (getrusage(RUSAGE_SELF, &usage) == 0)
		metric_set(METRIC_PROCESS_CPU, (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
	clock_gettime(CLOCK_REALTIME, &now);
	if (started == 0)
		started = (double) now.tv_sec + (double) now.tv_nsec / 1e9;
	metric_set(METRIC_PROCESS_START, started);
}

void
process_gauges(void)
{
	note_memory();
	note_descriptors();
	note_times();
}
