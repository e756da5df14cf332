/* respass in a loop around poll(2): publishes and hears ten messages a second, while tokens are renewed and the
 * connection of the subscriptions is replaced in time where it cannot be.
 *
 *   subscribe_poll HOST PORT CA_FILE SECONDS
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <respass_poll.h>

#include "app_service_token.h"
#include "settings.h"

typedef struct app {
    int published, answered, heard, gaps, renewals;
    bool is_subscribed;
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

static void on_message(respass_driver *driver, const respass_message *message, void *data) {
    app *state = data;
    (void)driver;
    switch (message->kind) {
    case RESPASS_MESSAGE_KIND_SUBSCRIBED: state->is_subscribed = true; break;
    case RESPASS_MESSAGE_KIND_MESSAGE: state->heard++; break;
    case RESPASS_MESSAGE_KIND_GAP: state->gaps++; break;
    case RESPASS_MESSAGE_KIND_REFUSED: stop("SUBSCRIBE", message->payload);
    }
}

static void on_published(respass_driver *driver, const respass_driver_reply *reply, void *data) {
    (void)driver;
    if (reply->error) stop("PUBLISH", reply->text);
    ((app *)data)->answered++;
}

int main(int argc, char **argv) {
    app state = {0, 0, 0, 0, 0, false};
    respass_driver_events events = {&state, on_token_needed, on_notice, NULL, NULL};
    const char *channel = "example:subscribe_poll";
    respass_driver *driver = NULL;
    respass_config *config;
    uint64_t subscriber, next = 0;
    int left;
    if (argc != 5) return fprintf(stderr, "usage: subscribe_poll HOST PORT CA_FILE SECONDS\n"), 2;
    config = settings_config(argv[1], argv[2], argv[3]);
    left = atoi(argv[4]) * 10;
    if (respass_poll_new(config, &events, &driver)) {
        respass_slice why;
        respass_config_error_text(config, &why);
        stop("configuration", why);
    }
    respass_config_free(config);
    if (respass_driver_open_subscriber(driver, on_message, &state, &subscriber) ||
        respass_driver_subscribe(driver, subscriber, RESPASS_CHANNEL_KIND_CHANNEL, 1, &channel, NULL)) {
        respass_slice why;
        respass_core_error_text(driver->core, &why);
        stop("SUBSCRIBE", why);
    }
    /* Whether a message was missed is known a while after the last one was published. */
    while (left > 0 || state.answered < state.published ||
           (state.heard < state.published && driver->now.monotonic_us < next + 5000000)) {
        uint64_t now = driver->now.monotonic_us;
        if (state.is_subscribed && left > 0 && now >= next) {
            RESPASS_SUBMIT(driver, on_published, &state, "PUBLISH", channel, "hello");
            state.published++;
            next = now + 100000;
            left--;
        }
        respass_poll_turn(driver, 50);
    }
    respass_driver_close(driver);
    printf("heard %d of %d, gaps: %d, renewals: %d\n", state.heard, state.published, state.gaps, state.renewals);
    return 0;
}
