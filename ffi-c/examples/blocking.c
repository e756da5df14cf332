/* respass by blocking calls: counts in Redis five times a second, while tokens are renewed.
 *
 *   blocking HOST PORT CA_FILE SECONDS
 */
#define _POSIX_C_SOURCE 200809L
#include "app_service_token.h"
#include "settings.h"

/* Runs inside of a call that wants a token, and may take its time. */
static void fetch(void *data, respass_token_request *request) {
    app_service_token *answer = malloc(sizeof *answer);
    (void)data;
    app_service_fetch(answer);
    if (answer->token)
        respass_token_request_resolve(request, answer->token, answer->token_len, answer->expires_on_us, 0, 0);
    else
        respass_token_request_fail(request, answer->error, strlen(answer->error), (uint16_t)answer->status, 0,
                                   0);
    free(answer);
}

static void stop_on(const respass_error *error) {
    fprintf(stderr, "%s\n%s\n", error->message, error->hint);
    exit(1);
}

int main(int argc, char **argv) {
    respass_config *config;
    respass_credential *credential;
    respass_client *client;
    respass_auth_status status;
    respass_error error;
    int64_t count = 0;
    if (argc != 5) return fprintf(stderr, "usage: blocking HOST PORT CA_FILE SECONDS\n"), 2;
    config = settings_config(argv[1], argv[2], argv[3]);
    if (respass_credential_callback(fetch, NULL, &credential) ||
        respass_config_set_credential(config, credential))
        return fprintf(stderr, "credential\n"), 1;
    if (respass_open(config, &client, &error)) stop_on(&error);
    respass_config_free(config);
    for (int left = atoi(argv[4]) * 5; left > 0; left--) {
        respass_reply *reply;
        if (RESPASS_CMD(client, &reply, &error, "INCR", "example:blocking")) stop_on(&error);
        respass_reply_integer(reply, &count);
        respass_reply_free(reply);
        respass_client_idle(client, 200000);
    }
    respass_client_auth_status(client, &status);
    printf("counted to %lld, renewals: %llu\n", (long long)count, (unsigned long long)status.reauth_count);
    respass_close(client);
    respass_credential_free(credential);
    return 0;
}
