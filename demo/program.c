/* One C program over the blocking surface, whose keys are in several slots. */
#define _POSIX_C_SOURCE 200809L
#include <respass.h>
#include <time.h>

#include "app_service_token.h"

typedef struct count {
    long commands, errors;
    char last_error[512];
} count;

static double wall_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void answer(void *data, respass_token_request *request) {
    app_service_token *token = malloc(sizeof *token);
    (void)data;
    app_service_fetch(token);
    if (token->token)
        respass_token_request_resolve(request, token->token, token->token_len, token->expires_on_us, 0, 0);
    else
        respass_token_request_fail(request, token->error, strlen(token->error), (uint16_t)token->status, 0, 0);
    free(token);
}

static respass_config *configuration(void) {
    static char pem[65536];
    respass_config *config;
    respass_credential *credential;
    FILE *file = fopen(getenv("DEMO_CA"), "r");
    size_t pem_len = file ? fread(pem, 1, sizeof pem, file) : 0;
    if (file) fclose(file);
    respass_config_new("localhost", 9, (uint16_t)atoi(getenv("DEMO_PORT")), &config);
    respass_config_add_ca(config, pem, pem_len);
    respass_credential_callback(answer, NULL, &credential);
    respass_config_set_credential(config, credential);
    respass_credential_free(credential);
    return config;
}

enum { KEYS = 6 };
static const char *const KEY[KEYS] = {"c:0", "c:1", "c:2", "c:3", "c:4", "c:5"};

/* Whether the reply is so many times that text. */
static int holds_everywhere(const respass_reply *reply, const char *text) {
    respass_tape tape;
    size_t len = strlen(text), index;
    if (respass_reply_tape(reply, &tape) || tape.nodes[0].count != KEYS) return 0;
    for (index = 1; index <= KEYS; index++) {
        const respass_node *node = &tape.nodes[index];
        if (node->count != len || memcmp(tape.bytes.data + node->value, text, len)) return 0;
    }
    return 1;
}

/* Whether the values that were written are read back: MGET is one command to each node that holds some of them. */
static int write_and_read(respass_client *client, count *state, long value, respass_error *error) {
    const char *mget[KEYS + 1] = {"MGET"};
    char text[32];
    respass_reply *reply;
    int is_right, index;
    snprintf(text, sizeof text, "%ld", value);
    for (index = 0; index < KEYS; index++) {
        if (RESPASS_CMD(client, NULL, error, "SET", KEY[index], text)) return 0;
        state->commands++;
        mget[index + 1] = KEY[index];
    }
    if (respass_command(client, KEYS + 1, mget, NULL, &reply, error)) return 0;
    state->commands++;
    is_right = holds_everywhere(reply, text);
    if (!is_right) snprintf(error->message, sizeof error->message, "not every key is %ld", value);
    respass_reply_free(reply);
    return is_right;
}

/* The ports of the connections that are logged in, as JSON. */
static void print_ports(respass_client *client) {
    respass_connection_status connection;
    size_t total, index;
    const char *separator = "";
    if (respass_client_connection_count(client, &total)) return;
    for (index = 0; index < total; index++) {
        if (respass_client_connection_at(client, index, &connection) || !connection.is_ready) continue;
        printf("%s%u", separator, (unsigned)connection.port);
        separator = ", ";
    }
}

static void report(respass_client *client, const count *state) {
    respass_auth_status status;
    if (respass_client_auth_status(client, &status)) return;
    printf("{\"commands\": %ld, \"errors\": %ld, \"last_error\": \"%s\", \"reauthentications\": %lld, "
           "\"token_seconds_left\": %.1f, \"ports\": [",
           state->commands, state->errors, state->last_error, (long long)status.reauth_count,
           (double)status.expires_on_us / 1e6 - wall_clock());
    print_ports(client);
    printf("]}\n");
    fflush(stdout);
}

int main(void) {
    count state = {0, 0, ""};
    respass_client *client;
    respass_error error;
    respass_config *config = configuration();
    double end = wall_clock() + atof(getenv("DEMO_SECONDS")), next = 0;
    if (respass_open(config, &client, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    respass_config_free(config);
    for (long value = 1; wall_clock() < end; value++) {
        if (!write_and_read(client, &state, value, &error)) {
            state.errors++;
            snprintf(state.last_error, sizeof state.last_error, "%s", error.message);
        }
        if (wall_clock() >= next) {
            report(client, &state);
            next = wall_clock() + 1;
        }
        respass_client_idle(client, 10000);
    }
    report(client, &state);
    respass_close(client);
    return 0;
}
