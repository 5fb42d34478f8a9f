/* rights.h - what a user may do in a topic, as sync.topic_rights() says. Pure. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_RIGHTS_H
#define SYNC_RIGHTS_H

#include <stdbool.h>

#include "json.h"

struct rights
{
	bool	join;		/* be there and receive broadcasts */
	bool	broadcast;	/* send them */
	bool	presence;	/* see who is there, and be seen */
};

struct rights rights_read(struct json_value answer);		/* {"pattern","actions":[…]}; anything else is no right */

#endif
