/* Linked to a program that knows nothing of Redis, this lets its environment say that its metrics
   are there: PYTHEUS_BACKEND_CLASS=redis. */
#define PYTHEUS_REDIS_IMPLEMENTATION
#include "pytheus_redis.h"
