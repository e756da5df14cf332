/* Subscribers, sessions and blocking commands of a driver, over poll(2) and over libuv.
 *
 *   subscribers LOOP CASES HOST PORT
 */
#define _POSIX_C_SOURCE 200809L
#include <respass_poll.h>
#include <respass_uv.h>

#include "check.h"

static struct {
    bool is_uv;
    respass_driver *driver, *other;
    respass_config *config;
} app;

/* The answer that came last. */
static struct {
    size_t count;
    uint32_t error;
    uint8_t kind;
    uint64_t value;
} latest;

/* The messages that came last, one line for each. */
static char heard[4096];
static size_t heard_len;

static void on_reply(respass_driver *driver, const respass_driver_reply *reply, void *data) {
    (void)driver;
    if (data) ++*(size_t *)data;
    latest.count++;
    latest.error = reply->error;
    latest.kind = reply->node ? reply->node->kind : 0;
    latest.value = reply->node ? reply->node->value : 0;
}

static void on_message(respass_driver *driver, const respass_message *message, void *data) {
    (void)driver;
    heard_len += (size_t)snprintf(heard + heard_len, sizeof heard - heard_len, "%s%u %.*s|%.*s|%.*s\n",
                                  data ? (const char *)data : "", (unsigned)message->kind,
                                  (int)message->pattern.len, (const char *)message->pattern.data,
                                  (int)message->channel.len, (const char *)message->channel.data,
                                  (int)message->payload.len, (const char *)message->payload.data);
    CHECK(heard_len < sizeof heard);
}

static void on_closed(void *data) {
    --*(int *)data;
}

static int open_count;

static respass_driver *open_driver(void) {
    respass_driver_events events = {&open_count, NULL, NULL, on_closed, NULL};
    respass_driver *driver = NULL;
    if (app.is_uv)
        OK(respass_uv_new(uv_default_loop(), app.config, &events, &driver));
    else
        OK(respass_poll_new(app.config, &events, &driver));
    open_count++;
    return driver;
}

static void turn(void) {
    if (app.is_uv)
        uv_run(uv_default_loop(), UV_RUN_ONCE);
    else {
        respass_poll_turn(app.driver, 10);
        respass_poll_turn(app.other, 10);
    }
}

static void wait_for(size_t count) {
    for (size_t all = latest.count + count; latest.count < all;) turn();
}

#define CMD(...) (OK(RESPASS_SUBMIT(app.driver, on_reply, NULL, __VA_ARGS__)), wait_for(1))
#define OTHER(...) (OK(RESPASS_SUBMIT(app.other, on_reply, NULL, __VA_ARGS__)), wait_for(1))

/* Waits until exactly this was heard, and forgets it. */
static void expect(const char *lines) {
    for (int turns = 0; heard_len < strlen(lines); turns++) {
        CHECK(turns < 1000);
        turn();
    }
    if (strcmp(heard, lines)) fprintf(stderr, "expected %s, heard %s\n", lines, heard);
    CHECK(!strcmp(heard, lines));
    heard[heard_len = 0] = 0;
}

static void subscribe(uint64_t subscriber, uint32_t kind, const char *channel) {
    OK(respass_driver_subscribe(app.driver, subscriber, kind, 1, &channel, NULL));
}

static void test_messages(void) {
    uint64_t first, second;
    char name[] = "second ";
    OK(respass_driver_open_subscriber(app.driver, on_message, NULL, &first));
    OK(respass_driver_open_subscriber(app.driver, on_message, name, &second));
    CHECK(respass_driver_open_subscriber(app.driver, NULL, NULL, NULL) == RESPASS_RESULT_NULL);
    subscribe(first, RESPASS_CHANNEL_KIND_CHANNEL, "subs:a");
    expect("4 |subs:a|\n");
    subscribe(second, RESPASS_CHANNEL_KIND_PATTERN, "subs:*");
    expect("second 5 |subs:*|\n");
    CMD("PUBLISH", "subs:b", "one");
    CHECK(latest.kind == RESPASS_KIND_INTEGER && latest.value == 1);
    expect("second 2 subs:*|subs:b|one\n");
    OK(respass_driver_unsubscribe(app.driver, second, RESPASS_CHANNEL_KIND_PATTERN, 0, NULL, NULL));
    expect("second 8 |subs:*|\n");
    OTHER("PUBLISH", "subs:a", "two");
    expect("1 |subs:a|two\n");
    respass_driver_close_subscriber(app.driver, first);
    respass_driver_close_subscriber(app.driver, first);
    for (latest.value = 1; latest.value > 0;) OTHER("PUBLISH", "subs:a", "unheard");
    CHECK(heard_len == 0);
    CHECK(respass_driver_subscribe(app.driver, first, RESPASS_CHANNEL_KIND_CHANNEL, 0, NULL, NULL) !=
          RESPASS_RESULT_OK);
}

static void test_lost(void) {
    uint64_t subscriber;
    OK(respass_driver_open_subscriber(app.driver, on_message, NULL, &subscriber));
    subscribe(subscriber, RESPASS_CHANNEL_KIND_CHANNEL, "subs:l");
    expect("4 |subs:l|\n");
    OTHER("CLIENT", "KILL", "TYPE", "pubsub");
    for (latest.value = 0; latest.value == 0;) OTHER("PUBLISH", "subs:l", "again");
    expect("11 ||\n1 |subs:l|again\n");
    respass_driver_close_subscriber(app.driver, subscriber);
}

static bool is_confirmed;

static void close_on_message(respass_driver *driver, const respass_message *message, void *data) {
    is_confirmed |= message->kind == RESPASS_MESSAGE_KIND_SUBSCRIBED;
    if (message->kind != RESPASS_MESSAGE_KIND_MESSAGE) return;
    ++*(size_t *)data;
    respass_driver_close(driver);
}

/* A callback may close its driver; what else came with that message is heard or not. */
static void test_close_inside(void) {
    uint64_t subscriber;
    size_t messages = 0;
    OK(respass_driver_open_subscriber(app.driver, close_on_message, &messages, &subscriber));
    subscribe(subscriber, RESPASS_CHANNEL_KIND_CHANNEL, "subs:c");
    while (!is_confirmed) turn();
    for (int i = 0; i < 10; i++) OK(RESPASS_SUBMIT(app.other, NULL, NULL, "PUBLISH", "subs:c", "x"));
    while (open_count == 2) {
        if (app.is_uv) {
            uv_run(uv_default_loop(), UV_RUN_ONCE);
            continue;
        }
        respass_poll_turn(app.other, 10);
        respass_poll_turn(app.driver, 10);
    }
    CHECK(messages >= 1 && messages <= 10);
    app.driver = open_driver();
}

/* Others go on while one command waits. */
static void test_blocking(void) {
    size_t popped = 0;
    CMD("DEL", "subs:list");
    OK(RESPASS_SUBMIT(app.driver, on_reply, &popped, "BLPOP", "subs:list", "0"));
    for (int i = 0; i < 100; i++) CMD("PING");
    CHECK(popped == 0);
    OK(RESPASS_SUBMIT(app.driver, on_reply, NULL, "RPUSH", "subs:list", "x"));
    while (popped == 0) turn();
    CHECK(latest.error == 0);
}

static void run_in(uint64_t session, const char *name, const char *key) {
    const char *argv[] = {name, key};
    OK(respass_driver_submit_in(app.driver, session, 2, argv, NULL, 0, on_reply, NULL, NULL));
    wait_for(1);
    CHECK(latest.error == 0);
}

static void test_watch(void) {
    uint64_t session;
    const char *set[] = {"SET", "subs:w", "1"};
    respass_commands commands;
    memset(&commands, 0, sizeof commands);
    OK(respass_commands_add(&commands, 3, set, NULL));
    OK(respass_driver_open_session(app.driver, &session));
    run_in(session, "WATCH", "subs:w");
    OTHER("SET", "subs:w", "theirs");
    OK(respass_driver_transaction_in(app.driver, session, &commands, on_reply, NULL, NULL));
    wait_for(1);
    CHECK(latest.error == 0 && latest.kind == RESPASS_KIND_NULL);
    run_in(session, "WATCH", "subs:w");
    OK(respass_driver_transaction_in(app.driver, session, &commands, on_reply, NULL, NULL));
    wait_for(1);
    CHECK(latest.error == 0 && latest.kind == RESPASS_KIND_ARRAY);
    respass_driver_close_session(app.driver, session);
    respass_commands_clear(&commands);
}

static void test_monitor(void) {
    uint64_t subscriber;
    OK(respass_driver_open_monitor(app.driver, on_message, NULL, &subscriber));
    expect("4 ||\n");
    for (int tries = 0; heard_len == 0; tries++) {
        CHECK(tries < 100);
        OTHER("ECHO", "subs:seen");
    }
    CHECK(!strncmp(heard, "10 ||", 5));
    respass_driver_close_subscriber(app.driver, subscriber);
    heard[heard_len = 0] = 0;
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
        {"messages", test_messages}, {"lost", test_lost},   {"close-inside", test_close_inside},
        {"blocking", test_blocking}, {"watch", test_watch}, {"monitor", test_monitor},
    };
    CHECK(argc == 5);
    app.is_uv = !strcmp(argv[1], "uv");
    OK(respass_config_new(argv[3], strlen(argv[3]), (uint16_t)atoi(argv[4]), &app.config));
    app.driver = open_driver();
    app.other = open_driver();
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (!is_named(argv[2], tests[i].name)) continue;
        tests[i].run();
        fprintf(stderr, "%s over %s: passed\n", tests[i].name, argv[1]);
    }
    respass_driver_close(app.driver);
    respass_driver_close(app.other);
    while (open_count > 0) uv_run(uv_default_loop(), UV_RUN_ONCE);
    if (app.is_uv) CHECK(uv_loop_close(uv_default_loop()) == 0);
    respass_config_free(app.config);
    return 0;
}
