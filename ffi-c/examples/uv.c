/* respass in a libuv loop: counts in Redis five times a second, while tokens are renewed.
 *
 *   uv HOST PORT CA_FILE SECONDS
 */
#define _POSIX_C_SOURCE 200809L
#include <respass_uv.h>

#include "app_service_token.h"
#include "settings.h"

typedef struct app {
    respass_driver *driver;
    uv_timer_t timer;
    long long count;
    int renewals, to_ask, to_hear;
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

static void on_count(respass_driver *driver, const respass_driver_reply *reply, void *data) {
    app *state = data;
    if (reply->error) stop("INCR", reply->text);
    if (reply->node->kind == RESPASS_KIND_ERROR) stop("INCR", respass_node_text(reply->node, reply->bytes));
    state->count = (long long)reply->node->value;
    if (--state->to_hear == 0) respass_driver_close(driver);
}

static void on_timer(uv_timer_t *timer) {
    app *state = timer->data;
    RESPASS_SUBMIT(state->driver, on_count, state, "INCR", "example:uv");
    if (--state->to_ask == 0) uv_close((uv_handle_t *)timer, NULL);
}

int main(int argc, char **argv) {
    static app state;
    uv_loop_t *loop = uv_default_loop();
    respass_driver_events events = {&state, on_token_needed, on_notice, NULL, NULL};
    respass_config *config;
    if (argc != 5) return fprintf(stderr, "usage: uv HOST PORT CA_FILE SECONDS\n"), 2;
    config = settings_config(argv[1], argv[2], argv[3]);
    state.to_ask = state.to_hear = atoi(argv[4]) * 5;
    if (respass_uv_new(loop, config, &events, &state.driver)) {
        respass_slice why;
        respass_config_error_text(config, &why);
        stop("configuration", why);
    }
    respass_config_free(config);
    uv_timer_init(loop, &state.timer);
    state.timer.data = &state;
    uv_timer_start(&state.timer, on_timer, 0, 200);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    printf("counted to %lld, renewals: %d\n", state.count, state.renewals);
    return 0;
}
