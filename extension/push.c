#include "sync.h"
PG_FUNCTION_INFO_V1(sync_push);
Datum sync_push(PG_FUNCTION_ARGS){ PG_RETURN_NULL(); }
