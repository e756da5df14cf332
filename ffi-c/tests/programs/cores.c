/* What a core promises, without a socket: the bytes of the server are written here.
 *
 *   cores replies          every kind of reply, in RESP3 and in RESP2, in one piece and byte by byte
 *   cores cycles COUNT     so many cores are made, used and freed
 *   cores threads COUNT    eight threads, so often: each with a core of its own, then all with the same one
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>

#include "check.h"

enum { THREADS = 8 };

static const respass_now START = {1000000, 1700000000000000};
/* Answers to HELLO and two CLIENT SETINFO. */
static const char HELLO3[] = "%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n+OK\r\n+OK\r\n";
static const char NO_HELLO[] = "-ERR unknown command 'HELLO'\r\n-ERR no\r\n-ERR no\r\n";
static const char PONG[] = "+PONG\r\n"; /* to what is asked where there is no HELLO */

/* A core, and what it told last. */
typedef struct host {
    respass_core *core;
    uint64_t conn;
    respass_output replies; /* empty until there are some */
    uint32_t failed;        /* the error of a command without reply */
} host;

static respass_core *make_core(void) {
    static const uint8_t seed[32] = {7};
    respass_config *config;
    respass_core *core;
    OK(respass_config_new("localhost", 9, 6379, &config));
    OK(respass_core_new(config, seed, START, &core));
    respass_config_free(config);
    return core;
}

/* Takes all that the core would write. */
static size_t transmit(host *at) {
    respass_slice bytes;
    size_t len = 0;
    for (;;) {
        OK(respass_core_transmit(at->core, at->conn, START, &bytes));
        if (bytes.len == 0) return len;
        len += bytes.len;
        OK(respass_core_transmitted(at->core, at->conn, bytes.len, START));
    }
}

static void obey(host *at) {
    respass_output output;
    for (;;) {
        OK(respass_core_next_output(at->core, &output));
        switch (output.kind) {
        case RESPASS_OUTPUT_KIND_NONE: return;
        case RESPASS_OUTPUT_KIND_CONNECT:
            CHECK(output.text.len == 9 && output.code == 6379);
            at->conn = output.id;
            OK(respass_core_connected(at->core, at->conn, START));
            break;
        case RESPASS_OUTPUT_KIND_TRANSMIT: CHECK(transmit(at) > 0); break;
        case RESPASS_OUTPUT_KIND_REPLIES:
            CHECK(output.answers_len == 1 && at->replies.kind == 0);
            at->replies = output;
            continue; /* kept */
        case RESPASS_OUTPUT_KIND_FAILED: at->failed = output.code; break;
        default: break;
        }
        OK(respass_core_recycle(at->core, &output));
    }
}

static void receive(host *at, const char *bytes, size_t len, size_t step) {
    for (size_t from = 0; from < len; from += step < len ? step : len) {
        OK(respass_core_received(at->core, at->conn, bytes + from, len - from < step ? len - from : step, START));
        obey(at);
    }
}

static uint64_t submit(host *at) {
    const char *argv[] = {"GET", "key"};
    uint64_t command;
    OK(respass_core_submit(at->core, 2, argv, NULL, 0, START, &command));
    obey(at);
    return command;
}

static void log_in(host *at, const char *hello) {
    memset(at, 0, sizeof *at);
    at->core = make_core();
    CHECK(submit(at) == 1);
    CHECK(at->conn != 0);
    receive(at, hello, strlen(hello), SIZE_MAX);
    if (hello == NO_HELLO) receive(at, PONG, strlen(PONG), SIZE_MAX);
}

static void check_reply(host *at, const char *bytes, uint8_t kind, uint64_t command, size_t step) {
    const respass_node *node;
    receive(at, bytes, strlen(bytes), step);
    CHECK(at->failed == 0 && at->replies.kind == RESPASS_OUTPUT_KIND_REPLIES);
    CHECK(at->replies.answers[0].command == command);
    node = at->replies.nodes + at->replies.answers[0].node;
    CHECK(node->kind == kind);
    CHECK(respass_node_after(node) == at->replies.nodes + at->replies.nodes_len);
    OK(respass_core_recycle(at->core, &at->replies));
}

typedef struct sample {
    const char *bytes;
    uint8_t kind;
} sample;

static const sample RESP2[] = {
    {"+OK\r\n", RESPASS_KIND_SIMPLE_STRING},
    {"-WRONGTYPE no\r\n", RESPASS_KIND_ERROR},
    {":-7\r\n", RESPASS_KIND_INTEGER},
    {"$3\r\na\nb\r\n", RESPASS_KIND_BULK_STRING},
    {"$0\r\n\r\n", RESPASS_KIND_BULK_STRING},
    {"$-1\r\n", RESPASS_KIND_NULL},
    {"*-1\r\n", RESPASS_KIND_NULL},
    {"*0\r\n", RESPASS_KIND_ARRAY},
    {"*3\r\n:1\r\n*1\r\n$1\r\nx\r\n$-1\r\n", RESPASS_KIND_ARRAY},
    {NULL, 0},
};

static const sample RESP3[] = {
    {"_\r\n", RESPASS_KIND_NULL},
    {"#t\r\n", RESPASS_KIND_BOOLEAN},
    {",1.5\r\n", RESPASS_KIND_DOUBLE},
    {",-inf\r\n", RESPASS_KIND_DOUBLE},
    {"(3492890328409238509324850943850943825024385\r\n", RESPASS_KIND_BIG_NUMBER},
    {"!8\r\nERR a\r\nb\r\n", RESPASS_KIND_ERROR},
    {"=7\r\ntxt:abc\r\n", RESPASS_KIND_VERBATIM_STRING},
    {"%1\r\n+k\r\n*1\r\n:1\r\n", RESPASS_KIND_MAP},
    {"~2\r\n:1\r\n:2\r\n", RESPASS_KIND_SET},
    {">2\r\n+message\r\n+x\r\n+OK\r\n", RESPASS_KIND_SIMPLE_STRING}, /* a push answers nothing */
    {NULL, 0},
};

static void check_replies(const char *hello, const sample *samples, size_t step) {
    host at;
    uint64_t command = 1;
    log_in(&at, hello);
    for (; samples->bytes; samples++) {
        check_reply(&at, samples->bytes, samples->kind, command, step);
        command = submit(&at);
    }
    OK(respass_core_close(at.core, START));
    obey(&at);
    CHECK(at.failed == RESPASS_ERROR_CODE_CLOSED);
    respass_core_free(at.core);
}

static void use_once(void) {
    host at;
    log_in(&at, HELLO3);
    check_reply(&at, "$5\r\nvalue\r\n", RESPASS_KIND_BULK_STRING, 1, SIZE_MAX);
    submit(&at); /* freed with a command under way */
    respass_core_free(at.core);
}

/* Memory of this process that is in use, in KiB. */
static long resident(void) {
    long pages = 0, all;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    if (fscanf(file, "%ld %ld", &all, &pages) != 2) pages = 0;
    fclose(file);
    return pages * 4;
}

static void run_cycles(int count) {
    long before = 0;
    for (int i = 0; i < count; i++) {
        use_once();
        if (i == count / 10) before = resident();
    }
    /* Valgrind keeps what was freed, and looks for itself. */
    if (!getenv("RESPASS_TEST_SMALL")) CHECK(resident() - before < 1024);
    printf("%d cores made, used and freed\n", count);
}

/* --- Threads -------------------------------------------------------------------------------------------------- */

static struct {
    respass_core *core;
    int count;
    size_t busy[THREADS], done[THREADS];
} shared;

static void *use_own(void *data) {
    (void)data;
    for (int i = 0; i < shared.count; i++) use_once();
    return NULL;
}

static void *use_shared(void *data) {
    size_t at = (size_t)((char *)data - (char *)NULL);
    for (int i = 0; i < shared.count * 100; i++) {
        const char *argv[] = {"PING"};
        uint64_t command;
        respass_result result = respass_core_submit(shared.core, 1, argv, NULL, 0, START, &command);
        CHECK(result == RESPASS_RESULT_OK || result == RESPASS_RESULT_BUSY);
        shared.busy[at] += result == RESPASS_RESULT_BUSY;
        shared.done[at] += result == RESPASS_RESULT_OK;
    }
    return NULL;
}

static void run_threads(void *(*body)(void *)) {
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) CHECK(!pthread_create(&threads[i], NULL, body, (char *)NULL + i));
    for (size_t i = 0; i < THREADS; i++) CHECK(!pthread_join(threads[i], NULL));
}

static void check_threads(int count) {
    size_t busy = 0, done = 0;
    const char *argv[] = {"PING"};
    uint64_t command;
    shared.count = count;
    run_threads(use_own);
    shared.core = make_core();
    run_threads(use_shared);
    for (size_t i = 0; i < THREADS; i++) busy += shared.busy[i], done += shared.done[i];
    CHECK(busy + done == (size_t)count * 100 * THREADS);
    OK(respass_core_submit(shared.core, 1, argv, NULL, 0, START, &command));
    CHECK(command == done + 1);
    respass_core_free(shared.core);
    printf("eight threads on one core: %zu calls done, %zu turned away\n", done, busy);
}

int main(int argc, char **argv) {
    int count = argc > 2 ? atoi(argv[2]) : 0;
    CHECK(argc > 1);
    if (!strcmp(argv[1], "cycles")) return run_cycles(count), 0;
    if (!strcmp(argv[1], "threads")) return check_threads(count), 0;
    for (size_t step = 1; step < 40; step += 19) {
        check_replies(HELLO3, RESP2, step);
        check_replies(HELLO3, RESP3, step);
        check_replies(NO_HELLO, RESP2, step);
    }
    puts("every kind of reply, in RESP3 and in RESP2");
    return 0;
}
