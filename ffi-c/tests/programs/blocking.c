/* What the blocking surface promises, against a server.  blocking CASE HOST PORT [CA_FILE] */
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "respass.h"

static respass_client *client;
static respass_reply *reply;
static respass_error error;

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))
#define OK(call) CHECK((call) == RESPASS_RESULT_OK)
#define CMD(...) RESPASS_CMD(client, &reply, &error, __VA_ARGS__)

static void fail(int line, const char *what) {
    fprintf(stderr, "line %d: %s (%s)\n", line, what, error.message);
    exit(1);
}

static void free_reply(void) {
    respass_reply_free(reply);
    reply = NULL;
}

static int64_t integer(void) {
    int64_t number = 0;
    OK(respass_reply_integer(reply, &number));
    free_reply();
    return number;
}

static int is_text(const respass_reply *of, const char *expected) {
    respass_slice text;
    OK(respass_reply_text(of, &text));
    return text.len == strlen(expected) && !memcmp(text.data, expected, text.len);
}

static void run_commands(void) {
    const char *binary[] = {"SET", "blocking:b", "a\0b"};
    size_t lengths[] = {3, 10, 3}, len;
    respass_kind kind;
    OK(RESPASS_CMD(client, NULL, &error, "DEL", "blocking:k", "blocking:b", "blocking:n", "blocking:h"));
    OK(CMD("SET", "blocking:k", "value"));
    CHECK(is_text(reply, "OK"));
    free_reply();
    OK(CMD("GET", "blocking:k"));
    OK(respass_reply_kind(reply, &kind));
    CHECK(kind == RESPASS_KIND_BULK_STRING && is_text(reply, "value"));
    CHECK(respass_reply_integer(reply, &(int64_t){0}) == RESPASS_RESULT_ARGUMENT);
    free_reply();
    CHECK(respass_reply_kind(reply, &kind) == RESPASS_RESULT_NULL);
    OK(respass_command(client, 3, binary, lengths, NULL, NULL));
    OK(CMD("STRLEN", "blocking:b"));
    CHECK(integer() == 3);
    CHECK(CMD("INCR", "blocking:k") == RESPASS_ERROR_CODE_SERVER);
    CHECK(error.outcome == RESPASS_OUTCOME_REFUSED && strstr(error.message, "not an integer") && !reply);
    CHECK(CMD("LPUSH", "blocking:k", "1") == RESPASS_ERROR_CODE_WRONG_TYPE);
    CHECK(CMD("SUBSCRIBE", "x") == RESPASS_ERROR_CODE_NEEDS_OWN_CONNECTION);
    CHECK(respass_command(client, 0, NULL, NULL, &reply, &error) == RESPASS_ERROR_CODE_INVALID_COMMAND);
    OK(CMD("HSET", "blocking:h", "f", "1", "g", "2"));
    CHECK(integer() == 2);
    OK(CMD("HGETALL", "blocking:h"));
    OK(respass_reply_length(reply, &len));
    CHECK(len == 4);
    free_reply();
    OK(CMD("GET", "blocking:n"));
    OK(respass_reply_kind(reply, &kind));
    CHECK(kind == RESPASS_KIND_NULL);
    free_reply();
}

static void walk_replies(void) {
    respass_reply *inner, *leaf;
    respass_tape tape;
    int64_t number;
    size_t count = 0;
    OK(CMD("EVAL", "return {1, {'a', {2, 3}}, 'z'}", "0"));
    OK(respass_reply_element(reply, 1, &inner));
    OK(respass_reply_element(reply, 2, &leaf));
    CHECK(is_text(leaf, "z"));
    respass_reply_free(leaf);
    CHECK(respass_reply_element(reply, 3, &leaf) == RESPASS_RESULT_ARGUMENT);
    free_reply(); /* the element keeps the memory */
    OK(respass_reply_element(inner, 1, &reply));
    respass_reply_free(inner);
    OK(respass_reply_element(reply, 1, &leaf));
    OK(respass_reply_integer(leaf, &number));
    CHECK(number == 3);
    CHECK(respass_reply_double(leaf, &(double){0}) == RESPASS_RESULT_ARGUMENT);
    respass_reply_free(leaf);
    free_reply();
    OK(CMD("EVAL", "local t = {} for i = 1, 100000 do t[i] = i % 2 == 0 and {i, tostring(i)} or i end return t", "0"));
    OK(respass_reply_tape(reply, &tape));
    for (const respass_node *node = tape.nodes + 1; node < tape.nodes + tape.nodes_len; count++) {
        if (node->kind == RESPASS_KIND_ARRAY) {
            respass_slice text = respass_node_text(node + 2, tape.bytes);
            CHECK(node[1].value == count + 1 && (size_t)atoi((const char *)text.data) == count + 1);
        }
        node = respass_node_after(node);
    }
    CHECK(count == 100000);
    free_reply();
}

static void append(const char *name, const char *key, const char *argument) {
    const char *argv[] = {name, key, argument};
    OK(respass_append(client, argument ? 3 : 2, argv, NULL, &error));
}

static void run_pipelines(void) {
    enum { COUNT = 20000 };
    respass_batch *batch;
    const char *get[] = {"GET", "blocking:n"};
    CHECK(respass_next_reply(client, &reply, &error) == RESPASS_RESULT_END);
    OK(RESPASS_CMD(client, NULL, &error, "SET", "blocking:n", "0"));
    for (int i = 1; i <= COUNT; i++) append("INCR", "blocking:n", NULL);
    append("LPUSH", "blocking:n", "x");
    append("GET", "blocking:n", NULL);
    for (int i = 1; i <= COUNT / 2; i++) {
        OK(respass_next_reply(client, &reply, &error));
        CHECK(integer() == i);
    }
    OK(CMD("GET", "blocking:n")); /* one that waits goes behind them, and disturbs nothing */
    CHECK(is_text(reply, "20000"));
    free_reply();
    for (int i = COUNT / 2 + 1; i <= COUNT; i++) {
        OK(respass_next_reply(client, &reply, &error));
        CHECK(integer() == i);
    }
    CHECK(respass_next_reply(client, &reply, &error) == RESPASS_ERROR_CODE_WRONG_TYPE);
    OK(respass_next_reply(client, &reply, &error));
    CHECK(is_text(reply, "20000"));
    free_reply();
    CHECK(respass_next_reply(client, &reply, &error) == RESPASS_RESULT_END);

    respass_output replies, copy;
    size_t seen = 0;
    for (int i = 0; i < 5000; i++) append("INCR", "blocking:n", NULL);
    append("LPUSH", "blocking:n", "x");
    OK(respass_next_reply(client, NULL, &error));
    OK(RESPASS_CMD(client, NULL, &error, "PING"));
    for (; seen < 5000; seen += replies.answers_len) {
        if (seen > 0) respass_output_clear(&replies);
        OK(respass_next_replies(client, &replies, &error));
        CHECK(replies.kind == RESPASS_OUTPUT_KIND_REPLIES && replies.answers_len > 0);
        CHECK(seen == 4999 || replies.nodes[replies.answers[0].node].value == COUNT + 2 + seen);
    }
    CHECK(replies.nodes[replies.answers[replies.answers_len - 1].node].kind == RESPASS_KIND_ERROR);
    copy = replies;
    respass_output_clear(&replies);
    respass_output_clear(&copy);
    CHECK(respass_next_replies(client, &replies, &error) == RESPASS_RESULT_END);

    OK(respass_batch_new(&batch));
    for (int i = 0; i < 1000; i++) OK(respass_batch_add(batch, 2, get, NULL));
    OK(respass_append_batch(client, batch, &error));
    for (int i = 0; i < 1000; i++) OK(respass_next_reply(client, NULL, &error));
    CHECK(respass_next_reply(client, &reply, &error) == RESPASS_RESULT_END);
    OK(respass_batch_clear(batch));
    CHECK(respass_batch_add(batch, 0, NULL, NULL) == RESPASS_RESULT_ARGUMENT);
    respass_batch_free(batch);
}

static void run_transactions(void) {
    respass_batch *batch;
    respass_reply *second;
    const char *incr[] = {"INCR", "blocking:t"}, *wrong[] = {"NOSUCHCOMMAND"};
    OK(RESPASS_CMD(client, NULL, &error, "DEL", "blocking:t"));
    OK(respass_batch_new(&batch));
    OK(respass_batch_add(batch, 2, incr, NULL));
    OK(respass_batch_add(batch, 2, incr, NULL));
    OK(respass_transaction(client, batch, &reply, &error));
    OK(respass_reply_element(reply, 1, &second));
    free_reply();
    reply = second;
    CHECK(integer() == 2);
    OK(respass_batch_add(batch, 1, wrong, NULL));
    CHECK(respass_transaction(client, batch, &reply, &error) >= RESPASS_ERROR_CODE_SERVER && !reply);
    OK(CMD("GET", "blocking:t"));
    CHECK(is_text(reply, "2"));
    free_reply();
    respass_batch_free(batch);
}

static void lose_connections(void) {
    respass_output notice;
    respass_auth_status status;
    int lost = 0, ready = 0;
    OK(CMD("CLIENT", "ID"));
    char id[32];
    snprintf(id, sizeof id, "%lld", (long long)integer());
    OK(RESPASS_CMD(client, NULL, &error, "CLIENT", "KILL", "ID", id, "SKIPME", "no"));
    OK(respass_client_idle(client, 50000));
    OK(RESPASS_CMD(client, NULL, &error, "PING"));
    for (;;) {
        OK(respass_client_next_notice(client, &notice));
        if (notice.kind == RESPASS_OUTPUT_KIND_NONE) break;
        lost += notice.code == RESPASS_NOTICE_CONNECTION_LOST;
        ready += notice.code == RESPASS_NOTICE_READY;
        respass_output_clear(&notice);
        respass_output_clear(&notice);
    }
    CHECK(lost == 1 && ready == 2);
    OK(respass_client_auth_status(client, &status));
    CHECK(status.is_ready == 1 && status.last_error.len == 0);
    CHECK(RESPASS_CMD(client, NULL, &error, "DEBUG", "SLEEP", "0.8") == RESPASS_ERROR_CODE_TIMEOUT);
    CHECK(error.outcome == RESPASS_OUTCOME_INDETERMINATE);
    OK(respass_client_idle(client, 700000));
    OK(RESPASS_CMD(client, NULL, &error, "PING"));
}

static void *disturb(void *data) {
    struct timespec pause = {0, 150000000};
    nanosleep(&pause, NULL);
    *(respass_result *)data = RESPASS_CMD(client, NULL, NULL, "PING");
    return NULL;
}

static void share_and_fork(void) {
    pthread_t thread;
    respass_result result = RESPASS_RESULT_OK;
    pid_t child;
    int status;
    CHECK(!pthread_create(&thread, NULL, disturb, &result));
    OK(RESPASS_CMD(client, NULL, &error, "DEBUG", "SLEEP", "0.3"));
    pthread_join(thread, NULL);
    CHECK(result == RESPASS_RESULT_BUSY);
    OK(CMD("PING"));
    child = fork();
    if (child == 0) {
        respass_result in_child = RESPASS_CMD(client, NULL, &error, "SET", "blocking:child", "1");
        respass_kind kind;
        int is_well = in_child == RESPASS_RESULT_FORKED && strstr(error.message, "child") &&
                      respass_reply_kind(reply, &kind) == RESPASS_RESULT_FORKED;
        respass_reply_free(reply);
        respass_close(client);
        _exit(is_well && respass_reply_kind(reply, &kind) == RESPASS_RESULT_HANDLE ? 0 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(is_text(reply, "PONG"));
    free_reply();
    OK(CMD("EXISTS", "blocking:child"));
    CHECK(integer() == 0);
}

/* Credentials */

static struct {
    int calls;
    const char *how;
} asked;

static void resolve(respass_token_request *request) {
    const char *token = getenv("RESPASS_TOKEN");
    OK(respass_token_request_resolve(request, token, strlen(token), 0, 0, 0));
    CHECK(respass_token_request_resolve(request, token, strlen(token), 0, 0, 0) == RESPASS_RESULT_HANDLE);
}

static void *resolve_later(void *request) {
    struct timespec pause = {0, 200000000};
    nanosleep(&pause, NULL);
    resolve(request);
    return NULL;
}

static void ask(void *data, respass_token_request *request) {
    pthread_t thread;
    CHECK(data == &asked);
    asked.calls++;
    if (!strcmp(asked.how, "now")) {
        resolve(request);
    } else if (!strcmp(asked.how, "later")) {
        CHECK(!pthread_create(&thread, NULL, resolve_later, request));
        pthread_detach(thread);
    } else {
        OK(respass_token_request_fail(request, "no identity here", 16, 400, 0, true));
    }
}

static void check_login(const respass_config *config, const char *how) {
    respass_auth_status status;
    asked.how = how;
    OK(respass_open(config, &client, &error));
    OK(respass_client_auth_status(client, &status));
    CHECK(status.is_ready && status.oid.len == 36 && status.expires_on_us > 0);
    OK(RESPASS_CMD(client, NULL, &error, "PING"));
    respass_close(client);
    CHECK(RESPASS_CMD(client, NULL, &error, "PING") == RESPASS_RESULT_HANDLE);
}

static respass_credential *set_callback(respass_config *config) {
    respass_credential *credential;
    OK(respass_credential_callback(ask, &asked, &credential));
    OK(respass_config_set_credential(config, credential));
    return credential;
}

static int count_descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 256; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* What a child of fork closes, it has no descriptor of any more; its parent goes on. */
static void fork_with_tokens(const respass_config *config) {
    int status, before = count_descriptors();
    pid_t child;
    asked.how = "now";
    OK(respass_open(config, &client, &error));
    CHECK(count_descriptors() > before);
    child = fork();
    if (child == 0) {
        respass_close(client);
        _exit(count_descriptors() == before ? 0 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    OK(RESPASS_CMD(client, NULL, &error, "PING"));
    respass_close(client);
    CHECK(count_descriptors() == before);
}

static void log_in(respass_config *config) {
    respass_credential *credential;
    OK(respass_config_set_token(config, NULL, 0));
    CHECK(respass_open(config, &client, &error) == RESPASS_ERROR_CODE_INVALID_CONFIG);
    credential = set_callback(config);
    check_login(config, "now");
    check_login(config, "now");
    CHECK(asked.calls == 1); /* one token serves all clients of a credential */
    fork_with_tokens(config);
    respass_credential_free(credential);
    credential = set_callback(config);
    check_login(config, "later");
    respass_credential_free(credential);
    credential = set_callback(config);
    asked.how = "never";
    CHECK(respass_open(config, &client, &error) == RESPASS_ERROR_CODE_TOKEN_UNAVAILABLE);
    CHECK(strstr(error.message, "no identity here") && *error.hint);
    respass_credential_free(credential);
}

static void read_urls(void) {
    const char *good = "redis://127.0.0.1:1/2", *bad = "http://127.0.0.1";
    respass_config *config;
    OK(respass_config_from_url(good, strlen(good), &config, &error));
    respass_config_free(config);
    CHECK(respass_config_from_url(bad, strlen(bad), &config, &error) == RESPASS_ERROR_CODE_INVALID_CONFIG);
    CHECK(strstr(error.message, "scheme"));
    OK(respass_config_from_url("rediss://localhost", 18, &config, &error));
    setenv("SSL_CERT_FILE", "/nowhere/ca.pem", 1);
    CHECK(respass_open(config, &client, &error) == RESPASS_ERROR_CODE_INVALID_CONFIG);
    CHECK(strstr(error.message, "SSL_CERT_FILE: /nowhere/ca.pem"));
    unsetenv("SSL_CERT_FILE");
    respass_config_free(config);
}

static void stay_away(const respass_config *config) {
    read_urls();
    CHECK(respass_open(config, &client, &error) == RESPASS_ERROR_CODE_UNREACHABLE);
    CHECK(strstr(error.message, "refused") && error.outcome == RESPASS_OUTCOME_NOT_SENT);
}

int main(int argc, char **argv) {
    static const struct { const char *name; void (*run)(void); } cases[] = {
        {"commands", run_commands}, {"replies", walk_replies}, {"pipelines", run_pipelines},
        {"transactions", run_transactions}, {"connections", lose_connections}, {"threads", share_and_fork},
    };
    static char pem[65536];
    respass_config *config;
    CHECK(argc >= 4);
    OK(respass_config_new(argv[2], strlen(argv[2]), (uint16_t)atoi(argv[3]), &config));
    OK(respass_config_set_timeout(config, RESPASS_TIMER_COMMAND, 500000));
    if (argc > 4) {
        FILE *file = fopen(argv[4], "r");
        CHECK(file);
        OK(respass_config_add_ca(config, pem, fread(pem, 1, sizeof pem, file)));
        fclose(file);
    }
    if (!strcmp(argv[1], "login")) log_in(config);
    if (!strcmp(argv[1], "nobody")) stay_away(config);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(argv[1], cases[i].name)) continue;
        OK(respass_open(config, &client, &error));
        cases[i].run();
        respass_close(client);
    }
    respass_config_free(config);
    return 0;
}
