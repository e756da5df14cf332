/* respass in a loop around poll(2): counts in Redis five times a second, while tokens are renewed.
 *
 *   poll HOST PORT CA_FILE SECONDS
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <respass_poll.h>

#include "app_service_token.h"
#include "settings.h"

typedef struct app {
    long long count;
    int renewals, left;
} app;

/* Asking blocks, so a thread of its own does it; it answers from there. */
static void *fetch(void *request) {
    app_service_token *answer = malloc(sizeof *answer);
    app_service_fetch(answer);
    if (answer->token)
        respass_token_request_resolve(request, answer->token, answer->token_len, answer->expires_on_us, 0, 0);
    else
        respass_token_request_fail(request, answer->error, strlen(answer->error), (uint16_t)answer->status, 0,
                                   0);
    free(answer);
    return NULL;
}

static void on_token_needed(respass_driver *driver, respass_token_request *request, void *data) {
    pthread_t thread;
    (void)driver, (void)data;
    if (pthread_create(&thread, NULL, fetch, request))
        respass_token_request_fail(request, "no thread", 9, 0, 0, 0);
    else
        pthread_detach(thread);
}

static void on_notice(respass_driver *driver, const respass_output *notice, void *data) {
    app *state = data;
    (void)driver;
    if (notice->kind != RESPASS_OUTPUT_KIND_NOTICE) return;
    state->renewals += notice->code == RESPASS_NOTICE_RE_AUTHENTICATED;
    printf("%.*s\n", (int)notice->text.len, (const char *)notice->text.data);
}

static void on_count(respass_driver *driver, const respass_driver_reply *reply, void *data) {
    app *state = data;
    if (reply->error) stop("INCR", reply->text);
    if (reply->node->kind == RESPASS_KIND_ERROR) stop("INCR", respass_node_text(reply->node, reply->bytes));
    state->count = (long long)reply->node->value;
    if (--state->left == 0) respass_driver_close(driver);
}

int main(int argc, char **argv) {
    app state = {0, 0, 0};
    respass_driver_events events = {&state, on_token_needed, on_notice, NULL, NULL};
    respass_driver *driver = NULL;
    respass_config *config;
    uint64_t next = 0;
    if (argc != 5) return fprintf(stderr, "usage: poll HOST PORT CA_FILE SECONDS\n"), 2;
    config = settings_config(argv[1], argv[2], argv[3]);
    state.left = atoi(argv[4]) * 5;
    if (respass_poll_new(config, &events, &driver)) {
        respass_slice why;
        respass_config_error_text(config, &why);
        stop("configuration", why);
    }
    respass_config_free(config);
    for (int asked = 0, all = state.left, alive = 1; alive;) {
        uint64_t now = driver->now.monotonic_us;
        if (asked < all && now >= next) {
            RESPASS_SUBMIT(driver, on_count, &state, "INCR", "example:poll");
            next = now + 200000;
            asked++;
        }
        alive = respass_poll_turn(driver, 50);
    }
    printf("counted to %lld, renewals: %d\n", state.count, state.renewals);
    return 0;
}
