/* Decodes a file of RESP over and over with hiredis' reader, building and freeing its reply objects.
 * The counterpart of respass.rs, with the same arguments and output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hiredis.h"

static double seconds(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static char *read_file(const char *path, size_t *len) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) fail("cannot read the file");
    *len = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*len);
    if (bytes == NULL || fread(bytes, 1, *len, file) != *len) fail("cannot read the file");
    fclose(file);
    return bytes;
}

/* Decodes the stream once; the number of replies in it. */
static long pass(redisReader *reader, const char *stream, size_t len, size_t chunk_len) {
    long replies = 0;
    for (size_t at = 0; at < len; at += chunk_len) {
        size_t rest = len - at;
        redisReaderFeed(reader, stream + at, rest < chunk_len ? rest : chunk_len);
        for (;;) {
            void *reply = NULL;
            if (redisReaderGetReply(reader, &reply) != REDIS_OK) fail(reader->errstr);
            if (reply == NULL) break;
            freeReplyObject(reply);
            replies++;
        }
    }
    return replies;
}

int main(int argc, char **argv) {
    if (argc != 5) fail("usage: hiredis FILE REPLIES CHUNK_LEN SECONDS|xPASSES");
    size_t len;
    char *stream = read_file(argv[1], &len);
    size_t chunk_len = strtoul(argv[3], NULL, 10);
    if (chunk_len == 0) chunk_len = len;
    redisReader *reader = redisReaderCreate();
    if (pass(reader, stream, len, chunk_len) != atol(argv[2])) fail("the file holds another number of replies");

    long count = argv[4][0] == 'x' ? atol(argv[4] + 1) : -1;
    double cpu_start = seconds(CLOCK_THREAD_CPUTIME_ID);
    double end = seconds(CLOCK_MONOTONIC) + (count < 0 ? atof(argv[4]) : 0);
    long passes = 0;
    while (count < 0 ? seconds(CLOCK_MONOTONIC) < end : passes < count) {
        pass(reader, stream, len, chunk_len);
        passes++;
    }
    double cpu = seconds(CLOCK_THREAD_CPUTIME_ID) - cpu_start;
    printf("{\"passes\": %ld, \"cpu_s\": %.9f}\n", passes, cpu);
    redisReaderFree(reader);
    free(stream);
    return 0;
}
