/* What the benchmark's programs in C repeat for some seconds, and the line that they print. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { BATCH = 1000, KEYS = 1000, VALUE_LEN = 100, ELEMENTS = 100000, LARGE_LEN = 64 * 1024 * 1024 };

static char value[VALUE_LEN];

/* Made once: what is measured is the client. */
static struct {
    char text[16];
    size_t len;
} keys[KEYS];

/* A client of Redis. */
struct client {
    void (*connect)(char **argv);
    void (*run_batch)(const char *name, int count);                     /* GETs or SETs in one go */
    void (*ask)(size_t expected, const char *name, const char *key);    /* a reply of that length */
    size_t (*run_tasks)(int count, double seconds);                     /* how many commands they gave */
};

static inline void die(const char *what) {
    fprintf(stderr, "%.200s\n", what);
    exit(1);
}

static inline double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static inline double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Runs the workload once; how many commands that were. */
static inline size_t step(const struct client *client, const char *workload) {
    if (!strcmp(workload, "get")) return client->ask(VALUE_LEN, "GET", "key:7"), 1;
    if (!strcmp(workload, "lrange")) return client->ask(ELEMENTS, "LRANGE", "list"), 1;
    if (!strcmp(workload, "large")) return client->ask(LARGE_LEN, "GET", "large"), 1;
    if (!strcmp(workload, "pipe_get")) return client->run_batch("GET", BATCH), BATCH;
    if (!strcmp(workload, "pipe_set")) return client->run_batch("SET", BATCH), BATCH;
    return die("there is no such workload"), 0;
}

static inline size_t repeat(const struct client *client, const char *workload, double seconds) {
    size_t count = 0;
    for (double end = now() + seconds; count == 0 || now() < end;) count += step(client, workload);
    return count;
}

static inline int run_workload(const struct client *client, int argc, char **argv) {
    size_t (*run)(const struct client *, const char *, double) = repeat;
    double seconds, start, cpu;
    size_t count;
    int tasks;
    if (argc != 6 && argc != 9) die("usage: WORKLOAD HOST PORT SECONDS TASKS [CA USER PASSWORD]");
    seconds = atof(argv[4]);
    tasks = strcmp(argv[1], "tasks") ? 0 : atoi(argv[5]);
    memset(value, 'x', sizeof value);
    for (int i = 0; i < KEYS; i++) keys[i].len = (size_t)snprintf(keys[i].text, sizeof keys[i].text, "key:%d", i);
    client->connect(argv);
    if (tasks) client->run_tasks(tasks, 0.1); else run(client, argv[1], 0.1);
    start = now(), cpu = cpu_seconds();
    count = tasks ? client->run_tasks(tasks, seconds) : run(client, argv[1], seconds);
    printf("{\"ops\":%zu,\"seconds\":%.6f,\"cpu_s\":%.6f}\n", count, now() - start, cpu_seconds() - cpu);
    return 0;
}
