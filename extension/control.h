/*
 * control.h - rules that a negative control of the tests may switch off; in every other build none can be.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SYNC_CONTROL_H
#define SYNC_CONTROL_H

#ifdef SYNC_CONTROLS
/* One at a time, named in the environment that the server was started with. */
static inline bool
control_off(const char *rule)
{
	const char *off = getenv("SYNC_CONTROL_OFF");

	return off != NULL && strcmp(off, rule) == 0;
}
#else
#define control_off(rule) false
#endif

#endif
