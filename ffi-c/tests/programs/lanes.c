/* Blocking calls that need connections of their own: what waits, what watches, what is subscribed to.
 *
 *   lanes CASE HOST PORT [CA_FILE]
 *
 * With CA_FILE: TLS, and the token in RESPASS_TOKEN.
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <time.h>

#include "check.h"

#define SECOND 1000000

static respass_client *client, *other;
static respass_error error;
static respass_reply *reply;
static respass_message message;

#define SAID(call) said(call, __LINE__)

/* The call went well, or the program ends with what the library says. */
static void said(respass_result result, int line) {
    if (result == RESPASS_RESULT_OK) return;
    fprintf(stderr, "line %d: %u %s\n", line, (unsigned)result, error.message);
    exit(1);
}

static bool is(respass_slice text, const char *expected) {
    return text.len == strlen(expected) && !memcmp(text.data, expected, text.len);
}

static bool holds(respass_slice text, const char *part) {
    size_t len = strlen(part);
    for (size_t at = 0; at + len <= text.len; at++)
        if (!memcmp(text.data + at, part, len)) return true;
    return false;
}

static respass_kind kind(void) {
    respass_kind of;
    OK(respass_reply_kind(reply, &of));
    respass_reply_free(reply);
    return of;
}

static int64_t integer(void) {
    int64_t number;
    OK(respass_reply_integer(reply, &number));
    respass_reply_free(reply);
    return number;
}

/* --- What waits ----------------------------------------------------------------------------------------------- */

static void *push_later(void *key) {
    const struct timespec wait = {0, 800000000};
    nanosleep(&wait, NULL);
    SAID(RESPASS_CMD(other, NULL, &error, "RPUSH", key, "late"));
    return NULL;
}

static void append(const char *name, const char *key, const char *value) {
    const char *argv[] = {name, key, value};
    SAID(respass_append(client, value ? 3 : 2, argv, NULL, &error));
}

static void wait_for_pushes(void) {
    pthread_t thread;
    respass_reply *value;
    respass_slice text;
    char key[] = "lanes:late";
    SAID(RESPASS_CMD(client, NULL, &error, "DEL", "lanes:none", "lanes:late", "lanes:n", "lanes:own"));
    /* Longer than the time limit for commands, which is not theirs. */
    SAID(RESPASS_CMD(client, &reply, &error, "BLPOP", "lanes:none", "1"));
    CHECK(kind() == RESPASS_KIND_NULL);
    CHECK(!pthread_create(&thread, NULL, push_later, key));
    SAID(RESPASS_CMD(client, &reply, &error, "BLPOP", key, "0"));
    pthread_join(thread, NULL);
    OK(respass_reply_element(reply, 1, &value));
    OK(respass_reply_text(value, &text));
    CHECK(is(text, "late"));
    respass_reply_free(value);
    respass_reply_free(reply);
    /* The first is answered last, and given out first. */
    append("BLPOP", "lanes:own", "0");
    for (int i = 0; i < 1000; i++) append("INCR", "lanes:n", NULL);
    append("RPUSH", "lanes:own", "x");
    SAID(respass_next_reply(client, &reply, &error));
    CHECK(kind() == RESPASS_KIND_ARRAY);
    for (int64_t i = 1; i <= 500; i++) {
        SAID(respass_next_reply(client, &reply, &error));
        CHECK(integer() == i);
    }
    for (uint64_t i = 501; i <= 1001;) {
        respass_output run;
        SAID(respass_next_replies(client, &run, &error));
        for (size_t at = 0; at < run.answers_len; at++, i++)
            CHECK(run.nodes[run.answers[at].node].value == (i <= 1000 ? i : 1));
        respass_output_clear(&run);
    }
    CHECK(respass_next_reply(client, &reply, &error) == RESPASS_RESULT_END);
}

/* --- What several servers hold -------------------------------------------------------------------------------- */

static char key_text[32], value_text[32];

static void name_key(int number) {
    snprintf(key_text, sizeof key_text, "lanes:shards:%d", number);
    snprintf(value_text, sizeof value_text, "%d", number);
}

static bool is_own_value(void) {
    respass_slice text;
    bool is_right;
    OK(respass_reply_text(reply, &text));
    is_right = is(text, value_text);
    respass_reply_free(reply);
    return is_right;
}

/* Replies are in the order of their commands, wherever they come from. */
static void read_shards(void) {
    size_t count;
    for (int i = 0; i < 5000; i++) name_key(i), append("SET", key_text, value_text);
    for (size_t left = 5000; left > 0;) {
        respass_output run;
        SAID(respass_next_replies(client, &run, &error));
        CHECK(run.answers_len > 0 && run.nodes[run.answers[0].node].kind == RESPASS_KIND_SIMPLE_STRING);
        left -= run.answers_len;
        respass_output_clear(&run);
    }
    for (int i = 0; i < 5000; i++) {
        name_key(i), append("GET", key_text, NULL);
        if (i % 1000 != 999) continue;
        /* One in between, with a reply of its own. */
        SAID(RESPASS_CMD(client, &reply, &error, "GET", key_text));
        CHECK(is_own_value());
    }
    for (int i = 0; i < 5000; i++) {
        SAID(respass_next_reply(client, &reply, &error));
        name_key(i);
        CHECK(is_own_value());
    }
    SAID(RESPASS_CMD(client, &reply, &error, "MGET", "lanes:shards:1", "lanes:shards:2", "lanes:shards:3"));
    CHECK(kind() == RESPASS_KIND_ARRAY);
    OK(respass_client_connection_count(client, &count));
    for (size_t i = 0; i < count; i++) {
        respass_connection_status connection;
        OK(respass_client_connection_at(client, i, &connection));
        CHECK(connection.lane == RESPASS_LANE_KIND_MAIN && connection.port > 0);
        CHECK(!getenv("RESPASS_TOKEN") || (connection.expires_on_us > 0 && connection.expires_at_us > 0));
    }
    printf("%d connections\n", (int)count);
}

/* --- What watches --------------------------------------------------------------------------------------------- */

static uint64_t session;

static void run_in(const char *name, const char *key) {
    const char *argv[] = {name, key};
    SAID(respass_session_command(client, session, key ? 2 : 1, argv, NULL, &reply, &error));
    respass_reply_free(reply);
}

static void watch(void) {
    respass_batch *batch;
    const char *set[] = {"SET", "lanes:w", "1"}, *argv[] = {"GET", "lanes:w"};
    OK(respass_batch_new(&batch));
    OK(respass_batch_add(batch, 3, set, NULL));
    SAID(respass_session_open(client, &session, &error));
    run_in("WATCH", "lanes:w");
    SAID(respass_session_transaction(client, session, batch, &reply, &error));
    CHECK(kind() == RESPASS_KIND_ARRAY);
    run_in("WATCH", "lanes:w");
    run_in("GET", "lanes:w");
    SAID(RESPASS_CMD(client, NULL, &error, "SET", "lanes:w", "theirs"));
    SAID(respass_session_transaction(client, session, batch, &reply, &error));
    CHECK(kind() == RESPASS_KIND_NULL);
    run_in("WATCH", "lanes:w");
    SAID(RESPASS_CMD(other, NULL, &error, "CLIENT", "KILL", "TYPE", "normal"));
    OK(respass_client_idle(client, SECOND / 20));
    CHECK(respass_session_transaction(client, session, batch, &reply, &error) == RESPASS_ERROR_CODE_WATCH_LOST);
    run_in("WATCH", "lanes:w");
    run_in("UNWATCH", NULL);
    OK(respass_session_close(client, session));
    OK(respass_session_close(client, session));
    CHECK(respass_session_command(client, session, 2, argv, NULL, &reply, &error) != RESPASS_RESULT_OK);
    respass_batch_free(batch);
}

/* --- What is subscribed to ------------------------------------------------------------------------------------ */

static void subscribe(uint32_t of, const char *channel) {
    SAID(respass_subscribe(client, of, 1, &channel, NULL, &error));
}

static void expect(uint32_t of, const char *pattern, const char *channel, const char *payload) {
    SAID(respass_next_message(client, 5 * SECOND, &message, &error));
    if (message.kind == of && is(message.pattern, pattern) && is(message.channel, channel) &&
        is(message.payload, payload))
        return;
    fprintf(stderr, "expected %u %s %s %s, got %u %.*s %.*s %.*s\n", (unsigned)of, pattern, channel, payload,
            (unsigned)message.kind, (int)message.pattern.len, (const char *)message.pattern.data,
            (int)message.channel.len, (const char *)message.channel.data, (int)message.payload.len,
            (const char *)message.payload.data);
    exit(1);
}

static void publish(const char *name, const char *channel, const char *payload) {
    SAID(RESPASS_CMD(client, &reply, &error, name, channel, payload));
    CHECK(integer() > 0);
}

static void hear(void) {
    const char *both[] = {"lanes:a", "lanes:b"};
    CHECK(respass_next_message(client, 0, &message, &error) == RESPASS_RESULT_END);
    CHECK(respass_subscribe(client, 9, 2, both, NULL, &error) == RESPASS_RESULT_ARGUMENT);
    SAID(respass_unsubscribe(client, RESPASS_CHANNEL_KIND_CHANNEL, 0, NULL, NULL, &error));
    SAID(respass_subscribe(client, RESPASS_CHANNEL_KIND_CHANNEL, 2, both, NULL, &error));
    expect(RESPASS_MESSAGE_KIND_SUBSCRIBED, "", "lanes:a", "");
    CHECK(message.count == 1);
    expect(RESPASS_MESSAGE_KIND_SUBSCRIBED, "", "lanes:b", "");
    CHECK(message.count == 2);
    publish("PUBLISH", "lanes:b", "one");
    publish("PUBLISH", "lanes:a", "");
    expect(RESPASS_MESSAGE_KIND_MESSAGE, "", "lanes:b", "one");
    expect(RESPASS_MESSAGE_KIND_MESSAGE, "", "lanes:a", "");
    subscribe(RESPASS_CHANNEL_KIND_PATTERN, "lanes:p*");
    expect(RESPASS_MESSAGE_KIND_PATTERN_SUBSCRIBED, "", "lanes:p*", "");
    publish("PUBLISH", "lanes:pq", "two");
    expect(RESPASS_MESSAGE_KIND_PATTERN_MESSAGE, "lanes:p*", "lanes:pq", "two");
    CHECK(respass_next_message(client, SECOND / 10, &message, &error) == RESPASS_RESULT_END);
    CHECK(strstr(error.message, "no message"));
    SAID(respass_unsubscribe(client, RESPASS_CHANNEL_KIND_CHANNEL, 1, both, NULL, &error));
    expect(RESPASS_MESSAGE_KIND_UNSUBSCRIBED, "", "lanes:a", "");
    SAID(RESPASS_CMD(client, &reply, &error, "PUBLISH", "lanes:a", "unheard"));
    CHECK(integer() == 0);
    subscribe(RESPASS_CHANNEL_KIND_SHARD, "lanes:s");
    expect(RESPASS_MESSAGE_KIND_SHARD_SUBSCRIBED, "", "lanes:s", "");
    publish("SPUBLISH", "lanes:s", "three");
    expect(RESPASS_MESSAGE_KIND_SHARD_MESSAGE, "", "lanes:s", "three");
}

static void lose_connections(void) {
    subscribe(RESPASS_CHANNEL_KIND_CHANNEL, "lanes:a");
    expect(RESPASS_MESSAGE_KIND_SUBSCRIBED, "", "lanes:a", "");
    SAID(RESPASS_CMD(other, NULL, &error, "CLIENT", "KILL", "TYPE", "pubsub"));
    expect(RESPASS_MESSAGE_KIND_GAP, "", "", "");
    for (;; respass_client_idle(client, SECOND / 20)) {
        SAID(RESPASS_CMD(other, &reply, &error, "PUBLISH", "lanes:a", "again"));
        if (integer() > 0) break;
    }
    expect(RESPASS_MESSAGE_KIND_MESSAGE, "", "lanes:a", "again");
}

static void monitor(void) {
    SAID(respass_monitor(client, &error));
    for (int tries = 0;; tries++) {
        CHECK(tries < 100);
        SAID(RESPASS_CMD(other, NULL, &error, "ECHO", "lanes:seen"));
        if (respass_next_message(client, SECOND / 20, &message, &error) != RESPASS_RESULT_OK) continue;
        if (message.kind == RESPASS_MESSAGE_KIND_SUBSCRIBED) continue;
        CHECK(message.kind == RESPASS_MESSAGE_KIND_MONITOR);
        if (holds(message.payload, "\"lanes:seen\"")) return;
    }
}

static void count_connections(void) {
    size_t count;
    bool is_main = false, is_subscriber = false;
    respass_connection_status connection;
    subscribe(RESPASS_CHANNEL_KIND_CHANNEL, "lanes:a");
    expect(RESPASS_MESSAGE_KIND_SUBSCRIBED, "", "lanes:a", "");
    OK(respass_client_connection_count(client, &count));
    CHECK(count == 2);
    for (size_t i = 0; i < count; i++) {
        OK(respass_client_connection_at(client, i, &connection));
        CHECK(connection.is_ready && is(connection.host, "127.0.0.1") && connection.port > 0);
        CHECK(connection.conn && connection.expires_on_us == 0 && connection.expires_at_us == 0);
        is_main |= connection.lane == RESPASS_LANE_KIND_MAIN;
        is_subscriber |= connection.lane == RESPASS_LANE_KIND_SUBSCRIBER;
    }
    CHECK(is_main && is_subscriber);
    CHECK(respass_client_connection_at(client, count, &connection) == RESPASS_RESULT_ARGUMENT);
}

static void give_token(void *data, respass_token_request *request) {
    const char *token = getenv("RESPASS_TOKEN");
    (void)data;
    OK(respass_token_request_resolve(request, token, strlen(token), 0, 0, 0));
}

static void log_in(respass_config *config, const char *ca_file) {
    static char pem[65536];
    respass_credential *credential;
    FILE *file = fopen(ca_file, "r");
    CHECK(file);
    OK(respass_config_add_ca(config, pem, fread(pem, 1, sizeof pem, file)));
    fclose(file);
    OK(respass_credential_callback(give_token, NULL, &credential));
    OK(respass_config_set_credential(config, credential));
    respass_credential_free(credential);
}

/* --- What the service tells ------------------------------------------------------------------------------------ */

static bool was_told_of_maintenance(void) {
    bool is_told = false;
    respass_output notice;
    while (!is_told) {
        OK(respass_client_next_notice(client, &notice));
        if (notice.kind != RESPASS_OUTPUT_KIND_NOTICE) break;
        is_told = notice.code == RESPASS_NOTICE_MAINTENANCE && holds(notice.text, "Scheduled");
        respass_output_clear(&notice);
    }
    return is_told;
}

static void listen_for_maintenance(void) {
    const char *body = "NotificationType|NodeMaintenanceScheduled|StartTimeInUTC|2026-11-21T20:00:00";
    int tries = 0;
    SAID(RESPASS_CMD(client, NULL, &error, "PING"));
    for (bool is_told = false; !is_told; is_told = was_told_of_maintenance()) {
        CHECK(tries++ < 100);
        SAID(RESPASS_CMD(other, NULL, &error, "PUBLISH", "AzureRedisEvents", body));
        OK(respass_client_idle(client, SECOND / 20));
    }
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } cases[] = {
        {"blocking", wait_for_pushes}, {"watch", watch},     {"messages", hear},
        {"lost", lose_connections},    {"monitor", monitor}, {"connections", count_connections},
        {"shards", read_shards},       {"maintenance", listen_for_maintenance},
    };
    respass_config *config;
    CHECK(argc == 4 || argc == 5);
    OK(respass_config_new(argv[2], strlen(argv[2]), (uint16_t)atoi(argv[3]), &config));
    /* Less than the waits of that case. */
    if (!strcmp(argv[1], "blocking")) OK(respass_config_set_timeout(config, RESPASS_TIMER_COMMAND, SECOND / 2));
    CHECK(respass_config_set_maintenance_events(config, 9) == RESPASS_RESULT_ARGUMENT);
    if (!strcmp(argv[1], "maintenance"))
        OK(respass_config_set_maintenance_events(config, RESPASS_MAINTENANCE_EVENTS_ALWAYS));
    if (argc == 5) log_in(config, argv[4]);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(argv[1], cases[i].name)) continue;
        SAID(respass_open(config, &client, &error));
        SAID(respass_open(config, &other, &error));
        cases[i].run();
        respass_close(other);
        respass_close(client);
    }
    respass_config_free(config);
    return 0;
}
