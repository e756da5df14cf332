/* hiredis doing what ffi-c/examples/probe.c does: GETs in batches over one connection, and the rate.
 *
 *   hiredis HOST PORT SECONDS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <hiredis.h>

enum { BATCH = 1000, VALUE_LEN = 100 };

static void die(const char *what) {
    fprintf(stderr, "hiredis: %s\n", what);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void run_batch(redisContext *context, int set) {
    static char value[VALUE_LEN];
    char key[32];
    memset(value, 'x', sizeof value);
    for (int i = 0; i < BATCH; i++) {
        const char *words[] = {set ? "SET" : "GET", key, value};
        size_t lengths[] = {3, (size_t)snprintf(key, sizeof key, "probe:%d", i), sizeof value};
        if (redisAppendCommandArgv(context, set ? 3 : 2, words, lengths) != REDIS_OK) die(context->errstr);
    }
    for (int i = 0; i < BATCH; i++) {
        redisReply *reply;
        if (redisGetReply(context, (void **)&reply) != REDIS_OK) die(context->errstr);
        if (reply->type == REDIS_REPLY_ERROR) die(reply->str);
        if (!set && reply->len != VALUE_LEN) die("a reply of another length");
        freeReplyObject(reply);
    }
}

int main(int argc, char **argv) {
    if (argc != 4) die("usage: hiredis HOST PORT SECONDS");
    redisContext *context = redisConnect(argv[1], atoi(argv[2]));
    if (!context || context->err) die(context ? context->errstr : "out of memory");
    run_batch(context, 1);
    size_t batches = 0;
    double start = now(), end = start + atof(argv[3]);
    for (; now() < end; batches++) run_batch(context, 0);
    printf("{\"ops_per_s\":%.0f}\n", (double)(batches * BATCH) / (now() - start));
    redisFree(context);
    return 0;
}
