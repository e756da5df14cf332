/* respass in a libuv loop: publishes and hears ten messages a second, while tokens are renewed and the connection of
 * the subscriptions is replaced in time where it cannot be.
 *
 *   subscribe_uv HOST PORT CA_FILE SECONDS
 */
#define _POSIX_C_SOURCE 200809L
#include <respass_uv.h>

#include "app_service_token.h"
#include "settings.h"

static const char *const CHANNEL = "example:subscribe_uv";

typedef struct app {
    respass_driver *driver;
    uv_timer_t timer;
    int left, published, answered, heard, gaps, renewals;
} app;

typedef struct question {
    uv_work_t work;
    respass_token_request *request;
} question;

/* Asking blocks, so it happens in libuv's pool of threads; the answer is given from there. */
static void fetch(uv_work_t *work) {
    respass_token_request *request = ((question *)work->data)->request;
    app_service_token *answer = malloc(sizeof *answer);
    app_service_fetch(answer);
    if (answer->token)
        respass_token_request_resolve(request, answer->token, answer->token_len, answer->expires_on_us, 0, 0);
    else
        respass_token_request_fail(request, answer->error, strlen(answer->error), (uint16_t)answer->status, 0,
                                   0);
    free(answer);
}

static void fetched(uv_work_t *work, int status) {
    (void)status;
    free(work->data);
}

static void on_token_needed(respass_driver *driver, respass_token_request *request, void *data) {
    question *asked = malloc(sizeof *asked);
    (void)driver;
    asked->work.data = asked;
    asked->request = request;
    uv_queue_work(((app *)data)->timer.loop, &asked->work, fetch, fetched);
}

static void on_notice(respass_driver *driver, const respass_output *notice, void *data) {
    app *state = data;
    (void)driver;
    if (notice->kind != RESPASS_OUTPUT_KIND_NOTICE) return;
    state->renewals += notice->code == RESPASS_NOTICE_RE_AUTHENTICATED;
    printf("%.*s\n", (int)notice->text.len, (const char *)notice->text.data);
}

static void end(uv_timer_t *timer) {
    app *state = timer->data;
    if (uv_is_closing((uv_handle_t *)timer)) return;
    uv_close((uv_handle_t *)timer, NULL);
    respass_driver_close(state->driver);
}

static void end_if_done(app *state) {
    if (state->left == 0 && state->answered == state->published && state->heard == state->published)
        end(&state->timer);
}

static void on_published(respass_driver *driver, const respass_driver_reply *reply, void *data) {
    app *state = data;
    (void)driver;
    if (reply->error) stop("PUBLISH", reply->text);
    state->answered++;
    end_if_done(state);
}

static void on_timer(uv_timer_t *timer) {
    app *state = timer->data;
    RESPASS_SUBMIT(state->driver, on_published, state, "PUBLISH", CHANNEL, "hello");
    state->published++;
    /* Whether a message was missed is known a while after the last one was published. */
    if (--state->left == 0) uv_timer_start(timer, end, 5000, 0);
}

static void on_message(respass_driver *driver, const respass_message *message, void *data) {
    app *state = data;
    (void)driver;
    switch (message->kind) {
    case RESPASS_MESSAGE_KIND_SUBSCRIBED: uv_timer_start(&state->timer, on_timer, 0, 100); break;
    case RESPASS_MESSAGE_KIND_MESSAGE: state->heard++; break;
    case RESPASS_MESSAGE_KIND_GAP: state->gaps++; break;
    case RESPASS_MESSAGE_KIND_REFUSED: stop("SUBSCRIBE", message->payload);
    }
    end_if_done(state);
}

int main(int argc, char **argv) {
    static app state;
    uv_loop_t *loop = uv_default_loop();
    respass_driver_events events = {&state, on_token_needed, on_notice, NULL, NULL};
    respass_config *config;
    uint64_t subscriber;
    if (argc != 5) return fprintf(stderr, "usage: subscribe_uv HOST PORT CA_FILE SECONDS\n"), 2;
    config = settings_config(argv[1], argv[2], argv[3]);
    state.left = atoi(argv[4]) * 10;
    if (respass_uv_new(loop, config, &events, &state.driver)) {
        respass_slice why;
        respass_config_error_text(config, &why);
        stop("configuration", why);
    }
    respass_config_free(config);
    uv_timer_init(loop, &state.timer);
    state.timer.data = &state;
    if (respass_driver_open_subscriber(state.driver, on_message, &state, &subscriber) ||
        respass_driver_subscribe(state.driver, subscriber, RESPASS_CHANNEL_KIND_CHANNEL, 1, &CHANNEL, NULL)) {
        respass_slice why;
        respass_core_error_text(state.driver->core, &why);
        stop("SUBSCRIBE", why);
    }
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    printf("heard %d of %d, gaps: %d, renewals: %d\n", state.heard, state.published, state.gaps, state.renewals);
    return 0;
}
