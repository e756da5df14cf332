/* One C program over the blocking surface. */
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

/* Whether the value that was written is read back. */
static int write_and_read(respass_client *client, count *state, long value, respass_error *error) {
    char text[32];
    respass_reply *reply;
    respass_slice found;
    int is_right;
    snprintf(text, sizeof text, "%ld", value);
    if (RESPASS_CMD(client, NULL, error, "SET", "c:0", text)) return 0;
    state->commands++;
    if (RESPASS_CMD(client, &reply, error, "GET", "c:0")) return 0;
    state->commands++;
    is_right = !respass_reply_text(reply, &found) && found.len == strlen(text) && !memcmp(found.data, text, found.len);
    if (!is_right) snprintf(error->message, sizeof error->message, "c:0 is not %ld", value);
    respass_reply_free(reply);
    return is_right;
}

static void report(respass_client *client, const count *state) {
    respass_auth_status status;
    if (respass_client_auth_status(client, &status)) return;
    printf("{\"commands\": %ld, \"errors\": %ld, \"last_error\": \"%s\", \"reauthentications\": %lld, "
           "\"token_seconds_left\": %.1f}\n",
           state->commands, state->errors, state->last_error, (long long)status.reauth_count,
           (double)status.expires_on_us / 1e6 - wall_clock());
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
