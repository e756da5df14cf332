/* A load that knows what may have happened: many tasks at once, each with keys of its own, and a ledger in which every
 * entry may be made once at most. Prints a line of JSON for each command that was not answered or was answered wrong,
 * then compares the ledger with what it knows, and ends with a summary; 1 where something cannot be.
 *
 *   ledger LOOP HOST PORT CA_FILE SECONDS [TASKS [PAUSE_MS]]
 *
 * LOOP is poll or uv. CA_FILE - stands for no TLS and no login; else tokens come as in examples/app_service_token.h.
 */
#define _POSIX_C_SOURCE 200809L
#include <respass_poll.h>
#include <respass_uv.h>

#include "../../examples/app_service_token.h"
#include "check.h"

enum { TASKS_MAX = 1000, HASHES = 64, DOUBTS = 32 };

typedef enum outcome { NOT_SENT = 1, INDETERMINATE, REFUSED, REPLIED } outcome;

static const char *const OUTCOMES[] = {"none", "not-sent", "indeterminate", "refused", "replied"};

typedef struct task {
    unsigned number, step;
    bool is_busy;
    uint64_t next_us, value, entry;
    uint64_t known;            /* what the key holds for sure, but for what is in doubt */
    uint64_t doubts[DOUBTS];   /* values whose SET may yet run */
    unsigned doubts_len;
} task;

static struct {
    respass_driver *driver;
    bool is_uv, is_open;
    unsigned run; /* in the names of all keys */
    uv_timer_t timer;
    uint64_t start_us, pause_us;
    unsigned char *entries; /* an outcome for each */
    uint64_t entries_len, entries_max, counts[5], wrong, notices, left;
} app;

static double elapsed(void) {
    return (double)(app.driver->now.monotonic_us - app.start_us) / 1e6;
}

static void complain(const char *what, const task *of, outcome came, const respass_driver_reply *reply) {
    printf("{\"at\": %.3f, \"command\": \"%s\", \"task\": %u, \"outcome\": \"%s\", \"code\": %u, \"text\": \"",
           elapsed(), what, of->number, OUTCOMES[came], (unsigned)reply->error);
    for (size_t i = 0; i < reply->text.len; i++) {
        int byte = reply->text.data[i];
        if (byte >= ' ' && byte != '"' && byte != '\\') putchar(byte);
    }
    puts("\"}");
}

static void judge(const char *what, const task *of, outcome came, bool is_right,
                  const respass_driver_reply *reply) {
    app.counts[came]++;
    if (came == REPLIED && is_right) return;
    app.wrong += came == REPLIED;
    complain(what, of, came, reply);
}

static outcome outcome_of(const respass_driver_reply *reply) {
    if (reply->error) return reply->outcome ? (outcome)reply->outcome : NOT_SENT;
    return reply->node->kind == RESPASS_KIND_ERROR ? REFUSED : REPLIED;
}

static void rest(task *of) {
    of->is_busy = false;
    of->next_us = app.driver->now.monotonic_us + app.pause_us;
}

static void on_set(respass_driver *driver, const respass_driver_reply *reply, void *data) {
    task *of = (task *)data;
    outcome came = outcome_of(reply);
    (void)driver;
    judge("SET", of, came, true, reply);
    if (came == REPLIED) of->known = of->value;
    if (came == INDETERMINATE) of->doubts[of->doubts_len++ % DOUBTS] = of->value;
    rest(of);
}

static bool may_hold(const task *of, uint64_t value) {
    for (unsigned i = 0; i < of->doubts_len && i < DOUBTS; i++)
        if (of->doubts[i] == value) return true;
    return of->known == value;
}

static void on_get(respass_driver *driver, const respass_driver_reply *reply, void *data) {
    task *of = (task *)data;
    outcome came = outcome_of(reply);
    uint64_t value = 0;
    (void)driver;
    if (came == REPLIED && reply->node->kind == RESPASS_KIND_BULK_STRING)
        value = strtoull((const char *)respass_node_text(reply->node, reply->bytes).data, NULL, 10);
    judge("GET", of, came, may_hold(of, value), reply);
    rest(of);
}

static void on_entry(respass_driver *driver, const respass_driver_reply *reply, void *data) {
    task *of = (task *)data;
    outcome came = outcome_of(reply);
    (void)driver;
    app.entries[of->entry] = (unsigned char)came;
    judge("HINCRBY", of, came, came == REPLIED && reply->node->value == 1, reply);
    rest(of);
}

static void begin(task *of) {
    char key[32], text[32];
    of->is_busy = true;
    if (of->step++ % 3 == 2) {
        of->entry = app.entries_len++;
        CHECK(app.entries_len < app.entries_max);
        snprintf(key, sizeof key, "ledger:%x:%u", app.run, (unsigned)(of->entry % HASHES));
        snprintf(text, sizeof text, "%llu", (unsigned long long)of->entry);
        OK(RESPASS_SUBMIT(app.driver, on_entry, of, "HINCRBY", key, text, "1"));
        return;
    }
    snprintf(key, sizeof key, "task:%x:%u", app.run, of->number);
    snprintf(text, sizeof text, "%llu", (unsigned long long)++of->value);
    if (of->step % 3 == 1)
        OK(RESPASS_SUBMIT(app.driver, on_set, of, "SET", key, text));
    else
        OK(RESPASS_SUBMIT(app.driver, on_get, of, "GET", key));
}

/* --- What the ledger holds ------------------------------------------------------------------------------------ */

static void on_entry_read(respass_driver *driver, const respass_driver_reply *reply, void *data) {
    unsigned char came = *(unsigned char *)data;
    bool is_there = outcome_of(reply) == REPLIED && reply->node->kind == RESPASS_KIND_BULK_STRING;
    bool is_once = is_there && reply->node->count == 1 && reply->bytes.data[reply->node->value] == '1';
    (void)driver;
    app.left--;
    if (came == REPLIED ? is_once : came == INDETERMINATE ? is_once || !is_there : !is_there) return;
    app.wrong++;
    printf("{\"entry\": %llu, \"outcome\": \"%s\", \"is_there\": %s}\n",
           (unsigned long long)((unsigned char *)data - app.entries), OUTCOMES[came], is_there ? "true" : "false");
}

static void turn(void) {
    if (app.is_uv)
        uv_run(uv_default_loop(), UV_RUN_ONCE);
    else
        respass_poll_turn(app.driver, 5);
    respass_priv_read_clocks(app.driver);
}

static void audit(void) {
    for (uint64_t entry = 0; entry < app.entries_len; entry++) {
        char key[32], field[32];
        snprintf(key, sizeof key, "ledger:%x:%u", app.run, (unsigned)(entry % HASHES));
        snprintf(field, sizeof field, "%llu", (unsigned long long)entry);
        app.left++;
        OK(RESPASS_SUBMIT(app.driver, on_entry_read, app.entries + entry, "HGET", key, field));
        while (app.left >= 1000) turn();
    }
    while (app.left > 0) turn();
}

/* --- The driver ----------------------------------------------------------------------------------------------- */

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
    CHECK(!pthread_create(&thread, NULL, fetch, request));
    pthread_detach(thread);
}

static void on_notice(respass_driver *driver, const respass_output *notice, void *data) {
    (void)driver, (void)data;
    if (notice->kind != RESPASS_OUTPUT_KIND_NOTICE || notice->code == RESPASS_NOTICE_READY) return;
    app.notices++;
    printf("{\"at\": %.3f, \"notice\": %u, \"text\": \"", elapsed(), (unsigned)notice->code);
    for (size_t i = 0; i < notice->text.len; i++)
        if (notice->text.data[i] >= ' ' && notice->text.data[i] != '"' && notice->text.data[i] != '\\')
            putchar(notice->text.data[i]);
    puts("\"}");
}

static void on_closed(void *data) {
    (void)data;
    app.is_open = false;
}

static void on_timer(uv_timer_t *timer) {
    (void)timer; /* ends a turn's wait */
}

static void open_driver(const char *host, const char *port, const char *ca_file) {
    static char pem[65536];
    bool has_login = strcmp(ca_file, "-") != 0;
    respass_driver_events events = {NULL, has_login ? on_token_needed : NULL, on_notice, on_closed, NULL};
    respass_config *config;
    OK(respass_config_new(host, strlen(host), (uint16_t)atoi(port), &config));
    if (has_login) {
        FILE *file = fopen(ca_file, "r");
        CHECK(file);
        OK(respass_config_add_ca(config, pem, fread(pem, 1, sizeof pem, file)));
        OK(respass_config_set_token(config, NULL, 0));
        fclose(file);
    }
    if (app.is_uv) {
        OK(respass_uv_new(uv_default_loop(), config, &events, &app.driver));
        uv_timer_init(uv_default_loop(), &app.timer);
        uv_timer_start(&app.timer, on_timer, 5, 5);
    } else
        OK(respass_poll_new(config, &events, &app.driver));
    app.is_open = true;
    respass_config_free(config);
}

static void close_driver(void) {
    respass_driver_close(app.driver);
    if (app.is_uv) uv_close((uv_handle_t *)&app.timer, NULL);
    while (app.is_open || (app.is_uv && uv_loop_alive(uv_default_loop()))) uv_run(uv_default_loop(), UV_RUN_ONCE);
}

int main(int argc, char **argv) {
    static task tasks[TASKS_MAX];
    unsigned count = argc > 6 ? (unsigned)atoi(argv[6]) : 100, busy = 0;
    uint64_t end_us;
    if (argc < 6 || count > TASKS_MAX)
        return fprintf(stderr, "usage: ledger LOOP HOST PORT CA_FILE SECONDS [TASKS [PAUSE_MS]]\n"), 2;
    app.is_uv = !strcmp(argv[1], "uv");
    app.pause_us = 1000 * (argc > 7 ? strtoull(argv[7], NULL, 10) : 10);
    app.entries_max = 1u << 26;
    app.entries = calloc(app.entries_max, 1);
    CHECK(app.entries);
    setvbuf(stdout, NULL, _IOLBF, 0);
    open_driver(argv[2], argv[3], argv[4]);
    app.start_us = app.driver->now.monotonic_us;
    app.run = (unsigned)app.start_us;
    end_us = app.start_us + strtoull(argv[5], NULL, 10) * 1000000;
    do {
        uint64_t now = app.driver->now.monotonic_us;
        busy = 0;
        for (unsigned i = 0; i < count; i++) {
            tasks[i].number = i;
            if (!tasks[i].is_busy && now >= tasks[i].next_us && now < end_us) begin(&tasks[i]);
            busy += tasks[i].is_busy;
        }
        turn();
    } while (busy > 0 || app.driver->now.monotonic_us < end_us);
    audit();
    printf("{\"replied\": %llu, \"not_sent\": %llu, \"indeterminate\": %llu, \"refused\": %llu, \"entries\": %llu, "
           "\"notices\": %llu, \"wrong\": %llu}\n",
           (unsigned long long)app.counts[REPLIED], (unsigned long long)app.counts[NOT_SENT],
           (unsigned long long)app.counts[INDETERMINATE], (unsigned long long)app.counts[REFUSED],
           (unsigned long long)app.entries_len, (unsigned long long)app.notices, (unsigned long long)app.wrong);
    close_driver();
    free(app.entries);
    return app.wrong > 0;
}
