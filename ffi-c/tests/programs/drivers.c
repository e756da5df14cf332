/* What drivers promise, over poll(2) and over libuv.
 *
 *   drivers LOOP CASES HOST PORT [CA_FILE]
 *
 * LOOP is poll or uv; CASES are names parted by commas; with CA_FILE: TLS, and tokens from RESPASS_TOKEN.
 */
#define _POSIX_C_SOURCE 200809L
#include <respass_poll.h>
#include <respass_uv.h>
#include <sys/wait.h>

#include "check.h"

enum { LIST_LEN = 100000 };

static struct {
    bool is_uv, is_alive;
    const char *host, *ca_file;
    uint16_t port;
    uint64_t timeout_us; /* of commands; 0 stands for the default */
    respass_driver *driver;
    void (*on_token_needed)(respass_driver *, respass_token_request *, void *);
    uint32_t notices; /* a bit for each that came */
} app;

/* Of the command that was answered last. */
static struct {
    size_t count; /* of answers in all */
    uint32_t error, outcome;
    uint8_t kind;
    uint64_t value;
    size_t len, children;
    char text[512];
} latest;

static void on_reply(respass_driver *driver, const respass_driver_reply *reply, void *data) {
    respass_slice text = reply->text;
    (void)driver;
    if (data) ++*(size_t *)data;
    latest.count++;
    latest.error = reply->error;
    latest.outcome = reply->outcome;
    latest.kind = reply->node ? reply->node->kind : 0;
    latest.value = reply->node ? reply->node->value : 0;
    latest.children = reply->node ? reply->node->count : 0;
    if (latest.kind == RESPASS_KIND_SIMPLE_STRING || latest.kind == RESPASS_KIND_ERROR ||
        latest.kind == RESPASS_KIND_BULK_STRING)
        text = respass_node_text(reply->node, reply->bytes);
    latest.len = text.len;
    if (text.len >= sizeof latest.text) text.len = sizeof latest.text - 1;
    memcpy(latest.text, text.data, text.len);
    latest.text[text.len] = 0;
}

static void on_notice(respass_driver *driver, const respass_output *notice, void *data) {
    (void)driver, (void)data;
    CHECK(notice->kind == RESPASS_OUTPUT_KIND_NOTICE || notice->kind == RESPASS_OUTPUT_KIND_STATE);
    if (notice->kind == RESPASS_OUTPUT_KIND_NOTICE) app.notices |= 1u << notice->code;
}

static void on_closed(void *data) {
    (void)data;
    app.is_alive = false;
    app.driver = NULL;
}

static respass_config *configure(void) {
    static char pem[65536];
    respass_config *config;
    FILE *file;
    OK(respass_config_new(app.host, strlen(app.host), app.port, &config));
    OK(respass_config_set_queued_bytes_max(config, 256u << 20));
    if (app.timeout_us) OK(respass_config_set_timeout(config, RESPASS_TIMER_COMMAND, app.timeout_us));
    if (!app.ca_file) return config;
    file = fopen(app.ca_file, "r");
    CHECK(file);
    OK(respass_config_add_ca(config, pem, fread(pem, 1, sizeof pem, file)));
    fclose(file);
    OK(respass_config_set_token(config, NULL, 0));
    return config;
}

static void open_driver(void) {
    respass_config *config = configure();
    respass_driver_events events = {NULL, app.on_token_needed, on_notice, on_closed, NULL};
    app.notices = 0;
    if (app.is_uv)
        OK(respass_uv_new(uv_default_loop(), config, &events, &app.driver));
    else
        OK(respass_poll_new(config, &events, &app.driver));
    app.is_alive = true;
    respass_config_free(config);
}

static void turn(void) {
    if (app.is_uv)
        uv_run(uv_default_loop(), UV_RUN_ONCE);
    else if (app.is_alive)
        respass_poll_turn(app.driver, 1000);
}

/* A turn that waits for nothing. */
static void turn_now(void) {
    if (app.is_uv)
        uv_run(uv_default_loop(), UV_RUN_NOWAIT);
    else
        respass_poll_turn(app.driver, 0);
}

/* What programs do beside: the loop does not run meanwhile. */
static void pause_for(long milliseconds) {
    struct timespec wait = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&wait, NULL);
}

static void close_driver(void) {
    if (app.is_alive) respass_driver_close(app.driver);
    while (app.is_alive) turn();
}

/* Waits until `count` more commands are answered. */
static void wait_for(size_t count) {
    for (size_t all = latest.count + count; latest.count < all; turn()) CHECK(app.is_alive);
}

#define CMD(...) (OK(RESPASS_SUBMIT(app.driver, on_reply, NULL, __VA_ARGS__)), wait_for(1))

static void test_binary(void) {
    const char *argv[] = {"SET", "drivers:b", "\0a\0"}, *empty[] = {"SET", "", ""};
    size_t lengths[] = {3, 9, 3}, none[] = {3, 0, 0};
    OK(respass_driver_submit(app.driver, 3, argv, lengths, 0, on_reply, NULL, NULL));
    wait_for(1);
    CMD("GET", "drivers:b");
    CHECK(latest.kind == RESPASS_KIND_BULK_STRING && latest.len == 3 && !memcmp(latest.text, "\0a\0", 3));
    OK(respass_driver_submit(app.driver, 3, empty, none, 0, on_reply, NULL, NULL));
    wait_for(1);
    CMD("GET", "");
    CHECK(latest.kind == RESPASS_KIND_BULK_STRING && latest.len == 0);
    CMD("GET", "drivers:none");
    CHECK(latest.kind == RESPASS_KIND_NULL);
    CHECK(respass_driver_submit(app.driver, 0, argv, lengths, 0, on_reply, NULL, NULL) == RESPASS_RESULT_ARGUMENT);
}

/* A value of 64 MiB and a list of 100,000 elements; under a slow tool, a smaller value. */
static void test_large(void) {
    size_t len = getenv("RESPASS_TEST_SMALL") ? 1u << 20 : 64u << 20, lengths[] = {3, 9, 0};
    char *value = malloc(len), index[16];
    const char *argv[] = {"SET", "drivers:l", value};
    memset(value, 'x', len);
    lengths[2] = len;
    OK(respass_driver_submit(app.driver, 3, argv, lengths, 0, on_reply, NULL, NULL));
    free(value);
    wait_for(1);
    CHECK(!strcmp(latest.text, "OK"));
    CMD("GET", "drivers:l");
    CHECK(latest.len == len && latest.text[0] == 'x');
    CMD("DEL", "drivers:l", "drivers:list");
    for (int i = 0; i < LIST_LEN; i++) {
        snprintf(index, sizeof index, "%d", i);
        OK(RESPASS_SUBMIT(app.driver, on_reply, NULL, "RPUSH", "drivers:list", index));
    }
    wait_for(LIST_LEN);
    CHECK(latest.kind == RESPASS_KIND_INTEGER && latest.value == LIST_LEN);
    CMD("LRANGE", "drivers:list", "0", "-1");
    CHECK(latest.kind == RESPASS_KIND_ARRAY && latest.children == LIST_LEN && latest.value == LIST_LEN + 1);
}

static void test_kinds(void) {
    static const struct {
        const char *name;
        uint8_t kind;
    } kinds[] = {
        {"string", RESPASS_KIND_BULK_STRING},
        {"integer", RESPASS_KIND_INTEGER},
        {"double", RESPASS_KIND_DOUBLE},
        {"null", RESPASS_KIND_NULL},
        {"array", RESPASS_KIND_ARRAY},
        {"set", RESPASS_KIND_SET},
        {"map", RESPASS_KIND_MAP},
        {"bignum", RESPASS_KIND_BIG_NUMBER},
        {"true", RESPASS_KIND_BOOLEAN},
        {"false", RESPASS_KIND_BOOLEAN},
        {"verbatim", RESPASS_KIND_VERBATIM_STRING},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        CMD("DEBUG", "PROTOCOL", kinds[i].name);
        CHECK(latest.error == 0 && latest.kind == kinds[i].kind);
    }
    CMD("PING");
    CHECK(latest.kind == RESPASS_KIND_SIMPLE_STRING && !strcmp(latest.text, "PONG"));
}

static void test_errors(void) {
    CMD("SET", "drivers:k", "v");
    CMD("LPUSH", "drivers:k", "1");
    CHECK(latest.error == 0 && latest.kind == RESPASS_KIND_ERROR && !strncmp(latest.text, "WRONGTYPE ", 10));
    CMD("SUBSCRIBE", "drivers:channel");
    CHECK(latest.error == RESPASS_ERROR_CODE_NEEDS_OWN_CONNECTION && latest.outcome == RESPASS_OUTCOME_NOT_SENT);
    CHECK(latest.len > 0);
    CMD("AUTH", "x");
    CHECK(latest.error == RESPASS_ERROR_CODE_OWNED_BY_CLIENT);
    CMD("GET", "drivers:k");
    CHECK(!strcmp(latest.text, "v"));
}

static void on_count(respass_driver *driver, const respass_driver_reply *reply, void *data) {
    (void)driver;
    CHECK(reply->error == 0 && reply->node->kind == RESPASS_KIND_INTEGER);
    CHECK(reply->node->value == ++*(uint64_t *)data);
    latest.count++;
}

static void test_pipelines(void) {
    uint64_t counted = 0;
    CMD("DEL", "drivers:n");
    for (int i = 0; i < 20000; i++) OK(RESPASS_SUBMIT(app.driver, on_count, &counted, "INCR", "drivers:n"));
    wait_for(20000);
    CHECK(counted == 20000);
}

static void test_transactions(void) {
    respass_commands commands;
    const char *set[] = {"SET", "drivers:t", "1"}, *increment[] = {"INCR", "drivers:t"}, *bad[] = {"NOSUCH"};
    memset(&commands, 0, sizeof commands);
    OK(respass_commands_add(&commands, 3, set, NULL));
    OK(respass_commands_add(&commands, 2, increment, NULL));
    OK(respass_driver_transaction(app.driver, &commands, on_reply, NULL, NULL));
    wait_for(1);
    CHECK(latest.kind == RESPASS_KIND_ARRAY && latest.children == 2);
    OK(respass_commands_add(&commands, 1, bad, NULL));
    OK(respass_driver_transaction(app.driver, &commands, on_reply, NULL, NULL));
    wait_for(1);
    CHECK(latest.error == RESPASS_ERROR_CODE_EXEC_ABORT && strstr(latest.text, "NOSUCH"));
    CMD("GET", "drivers:t");
    CHECK(!strcmp(latest.text, "2"));
    respass_commands_clear(&commands);
}

static void test_timeouts(void) {
    const char *slow[] = {"DEBUG", "SLEEP", "0.4"};
    OK(respass_driver_submit(app.driver, 3, slow, NULL, 100000, on_reply, NULL, NULL));
    wait_for(1);
    CHECK(latest.error == RESPASS_ERROR_CODE_TIMEOUT && latest.outcome == RESPASS_OUTCOME_INDETERMINATE);
    CMD("PING");
    CHECK(!strcmp(latest.text, "PONG"));
}

static void on_well(respass_driver *driver, const respass_driver_reply *reply, void *data) {
    (void)driver, (void)data;
    CHECK(reply->error == 0);
    latest.count++;
}

/* The time that a command has begins when it is submitted, however long ago the loop last ran. */
static void test_pause(void) {
    const char *ping[] = {"PING"};
    struct pollfd fds[2];
    uint64_t number;
    int wait_ms = -1;
    close_driver();
    app.timeout_us = 1000000;
    open_driver();
    CMD("PING");
    pause_for(1100);
    for (int i = 0; i < 100; i++) OK(RESPASS_SUBMIT(app.driver, on_well, NULL, "PING"));
    wait_for(100);
    pause_for(1100);
    OK(RESPASS_SUBMIT(app.driver, on_well, NULL, "PING"));
    OK(respass_driver_submit(app.driver, 1, ping, NULL, 0, on_reply, NULL, &number));
    respass_driver_cancel(app.driver, number);
    wait_for(2);
    if (!app.is_uv) {
        OK(RESPASS_SUBMIT(app.driver, on_well, NULL, "PING"));
        turn_now();
        pause_for(700);
        CHECK(respass_poll_prepare(app.driver, fds, 2, &wait_ms) == 2);
        CHECK(wait_ms <= 300);
        wait_for(1);
    }
    app.timeout_us = 0;
}

/* Who submits before each turn gets replies all the same. */
static void test_steady(void) {
    size_t before = latest.count, submitted = 0;
    for (; latest.count == before; submitted++) {
        CHECK(submitted < 2000);
        OK(RESPASS_SUBMIT(app.driver, on_well, NULL, "PING"));
        turn_now();
        pause_for(1);
    }
    wait_for(before + submitted - latest.count);
}

static void test_cancel(void) {
    uint64_t numbers[3];
    const char *ping[] = {"PING"};
    size_t ended = 0;
    for (int i = 0; i < 3; i++)
        OK(respass_driver_submit(app.driver, 1, ping, NULL, 0, on_reply, &ended, &numbers[i]));
    CHECK(numbers[1] == numbers[0] + 1 && numbers[2] == numbers[0] + 2);
    respass_driver_cancel(app.driver, numbers[2]);
    respass_driver_cancel(app.driver, numbers[0] + 1000);
    wait_for(1);
    CHECK(ended == 1 && latest.error == RESPASS_ERROR_CODE_CANCELLED);
    while (ended < 3) wait_for(1);
    CHECK(latest.error == 0);
}

/* --- Callbacks that go on ------------------------------------------------------------------------------------- */

static void on_link(respass_driver *driver, const respass_driver_reply *reply, void *data) {
    int *left = data;
    CHECK(reply->error == 0);
    if (--*left > 0)
        OK(RESPASS_SUBMIT(driver, on_link, data, "PING"));
    else
        latest.count++;
}

static void on_last(respass_driver *driver, const respass_driver_reply *reply, void *data) {
    on_reply(driver, reply, data);
    respass_driver_close(driver);
    respass_driver_close(driver);
    CHECK(RESPASS_SUBMIT(driver, on_reply, NULL, "PING") == RESPASS_ERROR_CODE_CLOSED);
}

static void test_callbacks(void) {
    int left = 1000;
    size_t ended = 0;
    OK(RESPASS_SUBMIT(app.driver, on_link, &left, "PING"));
    wait_for(1);
    CHECK(left == 0);
    OK(RESPASS_SUBMIT(app.driver, NULL, NULL, "SET", "drivers:unheard", "1"));
    OK(RESPASS_SUBMIT(app.driver, on_last, &ended, "PING"));
    for (int i = 0; i < 100; i++) OK(RESPASS_SUBMIT(app.driver, on_reply, &ended, "PING"));
    while (app.is_alive) turn();
    CHECK(ended == 101);
}

static void test_close(void) {
    size_t ended = 0;
    CMD("PING");
    for (int i = 0; i < 100; i++) OK(RESPASS_SUBMIT(app.driver, on_reply, &ended, "PING"));
    respass_driver_close(app.driver);
    CHECK(ended == 100 && latest.error == RESPASS_ERROR_CODE_CLOSED);
    while (app.is_alive) turn();
}

/* While the name is looked up, the socket is dialled, the login is under way. */
static void test_early_close(void) {
    for (int i = 0; i < 20; i++) {
        size_t ended = 0;
        close_driver();
        open_driver();
        respass_driver_connect(app.driver);
        OK(RESPASS_SUBMIT(app.driver, on_reply, &ended, "PING"));
        for (int turns = 0; turns < i % 4; turns++) turn();
        close_driver();
        CHECK(ended == 1);
    }
}

/* A child of fork gets an answer, and leaves its parent's connection alone. */
static void test_fork(void) {
    int status;
    pid_t child;
    CMD("PING");
    child = fork();
    if (child == 0) {
        OK(RESPASS_SUBMIT(app.driver, on_reply, NULL, "PING"));
        respass_poll_turn(app.driver, 0);
        CHECK(latest.error == RESPASS_RESULT_FORKED && latest.outcome == RESPASS_OUTCOME_NOT_SENT);
        CHECK(RESPASS_SUBMIT(app.driver, on_reply, NULL, "PING") == RESPASS_RESULT_FORKED);
        respass_driver_close(app.driver);
        CHECK(!app.is_alive);
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    CMD("PING");
    CHECK(latest.error == 0);
}

/* --- Servers that come and go --------------------------------------------------------------------------------- */

static void test_nobody(void) {
    CMD("PING");
    CHECK(latest.error == RESPASS_ERROR_CODE_UNREACHABLE && latest.outcome == RESPASS_OUTCOME_NOT_SENT);
    CHECK(strstr(latest.text, "refused"));
}

static void test_unknown_host(void) {
    CMD("PING");
    CHECK(latest.error == RESPASS_ERROR_CODE_UNREACHABLE && strstr(latest.text, app.host));
}

/* Has the runner stop or start the server, and waits until it has. */
static void tell_runner(const char *what) {
    char line[16];
    puts(what);
    fflush(stdout);
    CHECK(fgets(line, sizeof line, stdin));
}

static void test_restart(void) {
    CMD("PING");
    CHECK(latest.error == 0);
    tell_runner("stop");
    CMD("PING");
    CHECK(latest.error == RESPASS_ERROR_CODE_UNREACHABLE || latest.error == RESPASS_ERROR_CODE_CONNECTION_LOST);
    CHECK(app.notices & 1u << RESPASS_NOTICE_CONNECTION_LOST);
    tell_runner("start");
    app.notices = 0;
    for (int tries = 0; latest.error; tries++) {
        CHECK(tries < 100);
        CMD("PING");
    }
    CHECK(app.notices & 1u << RESPASS_NOTICE_READY);
}

static void on_last_words(respass_driver *driver, const respass_driver_reply *reply, void *data) {
    on_reply(driver, reply, data);
    CHECK(latest.error == 0 && latest.kind == RESPASS_KIND_ERROR && strstr(latest.text, "max number of clients"));
}

/* A server that says why it hangs up is heard, though writing fails before anybody reads. */
static void test_last_words(void) {
    size_t ended = 0;
    CMD("PING");
    tell_runner("hang up");
    OK(RESPASS_SUBMIT(app.driver, on_last_words, &ended, "INCR", "drivers:n"));
    for (int part = 0; part < 3; part++) {
        for (int i = 0; i < 100; i++) OK(RESPASS_SUBMIT(app.driver, NULL, NULL, "INCR", "drivers:n"));
        pause_for(100);
    }
    while (ended == 0) turn();
}

/* --- Tokens --------------------------------------------------------------------------------------------------- */

static void answer(respass_token_request *request) {
    const char *token = getenv("RESPASS_TOKEN");
    OK(respass_token_request_resolve(request, token, strlen(token), 0, 0, 0));
}

static void token_at_once(respass_driver *driver, respass_token_request *request, void *data) {
    (void)driver, (void)data;
    answer(request);
}

static void *answer_late(void *request) {
    struct timespec wait = {0, 200000000};
    nanosleep(&wait, NULL);
    answer(request);
    return NULL;
}

static pthread_t late_thread;

static void token_late(respass_driver *driver, respass_token_request *request, void *data) {
    (void)driver, (void)data;
    CHECK(!pthread_create(&late_thread, NULL, answer_late, request));
}

static void token_never(respass_driver *driver, respass_token_request *request, void *data) {
    static const char why[] = "this identity was deleted";
    (void)driver, (void)data;
    OK(respass_token_request_fail(request, why, sizeof why - 1, 400, 0, true));
}

static void open_with(void (*on_token_needed)(respass_driver *, respass_token_request *, void *)) {
    close_driver();
    app.on_token_needed = on_token_needed;
    open_driver();
}

static void test_tokens(void) {
    CMD("PING");
    CHECK(latest.error == 0 && app.notices & 1u << RESPASS_NOTICE_READY);
    open_with(token_late);
    CMD("PING");
    CHECK(latest.error == 0);
    pthread_join(late_thread, NULL);
    open_with(token_late);
    OK(RESPASS_SUBMIT(app.driver, on_reply, NULL, "PING"));
    turn();
    respass_driver_close(app.driver); /* the answer comes later than that */
    CHECK(latest.error == RESPASS_ERROR_CODE_CLOSED);
    pthread_join(late_thread, NULL);
    open_with(token_never);
    CMD("PING");
    CHECK(latest.error == RESPASS_ERROR_CODE_TOKEN_UNAVAILABLE && latest.outcome == RESPASS_OUTCOME_NOT_SENT);
    CHECK(strstr(latest.text, "this identity was deleted") && strstr(latest.text, "Check the identity"));
}

static bool is_named(const char *cases, const char *name) {
    for (size_t len = strlen(name); *cases; cases += strcspn(cases, ","), cases += *cases == ',')
        if (strcspn(cases, ",") == len && !memcmp(cases, name, len)) return true;
    return false;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        {"binary", test_binary},
        {"large", test_large},
        {"kinds", test_kinds},
        {"errors", test_errors},
        {"pipelines", test_pipelines},
        {"transactions", test_transactions},
        {"timeouts", test_timeouts},
        {"cancel", test_cancel},
        {"pause", test_pause},
        {"steady", test_steady},
        {"callbacks", test_callbacks},
        {"close", test_close},
        {"early-close", test_early_close},
        {"fork", test_fork}, /* over poll only: a libuv loop has rules of its own for children */
        {"nobody", test_nobody},
        {"unknown-host", test_unknown_host},
        {"restart", test_restart},
        {"last-words", test_last_words},
        {"tokens", test_tokens},
    };
    CHECK(argc >= 5);
    app.is_uv = !strcmp(argv[1], "uv");
    app.host = argv[3];
    app.port = (uint16_t)atoi(argv[4]);
    app.ca_file = argv[5];
    app.on_token_needed = app.ca_file ? token_at_once : NULL;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (!is_named(argv[2], tests[i].name)) continue;
        open_driver();
        tests[i].run();
        close_driver();
        fprintf(stderr, "%s over %s: passed\n", tests[i].name, argv[1]);
    }
    if (app.is_uv) CHECK(uv_loop_close(uv_default_loop()) == 0);
    return 0;
}
