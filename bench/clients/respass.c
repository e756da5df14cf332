/* respass in C, over its driver for poll(2), doing what hiredis.c does.
 *
 *   respass WORKLOAD HOST PORT SECONDS TASKS [CA USER PASSWORD]
 */
#define _POSIX_C_SOURCE 200809L
#include <respass_poll.h>

#include "workload.h"

static respass_driver *driver;
static size_t waiting, done;
static double end;

static void check(const respass_driver_reply *reply) {
    if (reply->error) die((const char *)reply->text.data);
    if (reply->node->kind == RESPASS_KIND_ERROR) die((const char *)reply->bytes.data + reply->node->value);
}

static void on_reply(respass_driver *from, const respass_driver_reply *reply, void *data) {
    (void)from;
    check(reply);
    if (data && reply->node->count != *(const size_t *)data) die("a reply of another length");
    waiting--;
}

static void submit(const char *name, size_t key, respass_reply_fn *callback, void *data) {
    int is_set = name[0] == 'S';
    const char *argv[] = {name, keys[key].text, value};
    size_t lengths[] = {3, keys[key].len, VALUE_LEN};
    if (respass_driver_submit(driver, is_set ? 3 : 2, argv, lengths, 0, callback, data, NULL)) die("submit");
}

static void wait_for_replies(void) {
    while (waiting > 0) respass_poll_turn(driver, -1);
}

static void run_batch(const char *name, int count) {
    static size_t len = VALUE_LEN;
    waiting = (size_t)count;
    for (int i = 0; i < count; i++) submit(name, (size_t)i, on_reply, name[0] == 'S' ? NULL : &len);
    wait_for_replies();
}

static void ask(size_t expected, const char *name, const char *key) {
    waiting = 1;
    if (name[0] == 'L')
        RESPASS_SUBMIT(driver, on_reply, &expected, name, key, "0", "-1");
    else
        RESPASS_SUBMIT(driver, on_reply, &expected, name, key);
    wait_for_replies();
}

/* A task gives a GET and a SET in turn. */
static void on_turn(respass_driver *from, const respass_driver_reply *reply, void *data) {
    uintptr_t at = (uintptr_t)data + 1;
    (void)from;
    check(reply);
    done++;
    if (now() >= end)
        waiting--;
    else
        submit(at % 2 ? "SET" : "GET", at * 31 % KEYS, on_turn, (void *)at);
}

static size_t run_tasks(int count, double seconds) {
    done = 0;
    waiting = (size_t)count;
    end = now() + seconds;
    for (uintptr_t i = 0; i < (uintptr_t)count; i++) submit("GET", i % KEYS, on_turn, (void *)(i * 2));
    wait_for_replies();
    return done;
}

static void connect_to(char **argv) {
    respass_config *config;
    static char pem[65536];
    if (respass_config_new(argv[2], strlen(argv[2]), (uint16_t)atoi(argv[3]), &config)) die("configuration");
    if (argv[6]) {
        FILE *file = fopen(argv[6], "r");
        if (!file || respass_config_add_ca(config, pem, fread(pem, 1, sizeof pem, file))) die(argv[6]);
        fclose(file);
        respass_config_set_password(config, argv[7], strlen(argv[7]), argv[8], strlen(argv[8]));
    }
    if (respass_poll_new(config, NULL, &driver)) die("configuration");
    respass_config_free(config);
}

int main(int argc, char **argv) {
    const struct client client = {connect_to, run_batch, ask, run_tasks};
    return run_workload(&client, argc, argv);
}
