/* hiredis doing what respass.c does: its blocking functions, and for concurrent tasks its asynchronous ones in a
 * loop around poll(2).
 *
 *   hiredis WORKLOAD HOST PORT SECONDS TASKS [CA USER PASSWORD]
 */
#include <poll.h>
#include <stdbool.h>

#include <async.h>
#include <hiredis.h>
#include <hiredis_ssl.h>

#include "workload.h"

static struct {
    const char *host, *user, *password;
    int port;
    redisSSLContext *tls;
} at;
static redisContext *context;
static redisAsyncContext *tasks_context;
static bool wants_read, wants_write;
static size_t waiting, done;
static double end;

static void check(const redisReply *reply) {
    if (!reply) die(context->errstr);
    if (reply->type == REDIS_REPLY_ERROR) die(reply->str);
}

static void connect_to(char **argv) {
    at.host = argv[2], at.port = atoi(argv[3]);
    context = redisConnect(at.host, at.port);
    if (!context || context->err) die(context ? context->errstr : "out of memory");
    if (!argv[6]) return;
    redisInitOpenSSL();
    at.tls = redisCreateSSLContext(argv[6], NULL, NULL, NULL, NULL, NULL);
    at.user = argv[7], at.password = argv[8];
    if (!at.tls || redisInitiateSSLWithContext(context, at.tls) != REDIS_OK) die("TLS");
    redisReply *reply = redisCommand(context, "AUTH %s %s", at.user, at.password);
    check(reply);
    freeReplyObject(reply);
}

static void run_batch(const char *name, int count) {
    bool is_set = name[0] == 'S';
    for (int i = 0; i < count; i++) {
        const char *argv[] = {name, keys[i].text, value};
        size_t lengths[] = {3, keys[i].len, VALUE_LEN};
        if (redisAppendCommandArgv(context, is_set ? 3 : 2, argv, lengths) != REDIS_OK) die(context->errstr);
    }
    for (int i = 0; i < count; i++) {
        redisReply *reply;
        if (redisGetReply(context, (void **)&reply) != REDIS_OK) die(context->errstr);
        check(reply);
        if (!is_set && reply->len != VALUE_LEN) die("a reply of another length");
        freeReplyObject(reply);
    }
}

static void ask(size_t expected, const char *name, const char *key) {
    bool is_list = name[0] == 'L';
    redisReply *reply = redisCommand(context, is_list ? "%s %s 0 -1" : "%s %s", name, key);
    check(reply);
    if ((is_list ? reply->elements : reply->len) != expected) die("a reply of another length");
    freeReplyObject(reply);
}

static void add_read(void *data) { (void)data, wants_read = true; }
static void del_read(void *data) { (void)data, wants_read = false; }
static void add_write(void *data) { (void)data, wants_write = true; }
static void del_write(void *data) { (void)data, wants_write = false; }
static void clean_up(void *data) { (void)data, wants_read = wants_write = false; }

static void on_auth(redisAsyncContext *from, void *reply, void *data) {
    (void)from, (void)data;
    check(reply);
}

static void open_tasks_context(void) {
    tasks_context = redisAsyncConnect(at.host, at.port);
    if (tasks_context->err) die(tasks_context->errstr);
    tasks_context->ev.addRead = add_read, tasks_context->ev.delRead = del_read;
    tasks_context->ev.addWrite = add_write, tasks_context->ev.delWrite = del_write;
    tasks_context->ev.cleanup = clean_up;
    if (at.tls && redisInitiateSSLWithContext(&tasks_context->c, at.tls) != REDIS_OK) die("TLS");
    wants_write = true;
    if (at.tls) redisAsyncCommand(tasks_context, on_auth, NULL, "AUTH %s %s", at.user, at.password);
}

static void on_turn(redisAsyncContext *from, void *reply, void *data);

static void submit(bool is_set, size_t key, uintptr_t data) {
    const char *argv[] = {is_set ? "SET" : "GET", keys[key].text, value};
    size_t lengths[] = {3, keys[key].len, VALUE_LEN};
    redisAsyncCommandArgv(tasks_context, on_turn, (void *)data, is_set ? 3 : 2, argv, lengths);
}

/* A task gives a GET and a SET in turn. */
static void on_turn(redisAsyncContext *from, void *reply, void *data) {
    uintptr_t turn = (uintptr_t)data + 1;
    (void)from;
    check(reply);
    done++;
    if (now() >= end)
        waiting--;
    else
        submit(turn % 2, turn * 31 % KEYS, turn);
}

static size_t run_tasks(int count, double seconds) {
    if (!tasks_context) open_tasks_context();
    done = 0;
    waiting = (size_t)count;
    end = now() + seconds;
    for (uintptr_t i = 0; i < (uintptr_t)count; i++) submit(false, i % KEYS, i * 2);
    while (waiting > 0) {
        struct pollfd fd = {tasks_context->c.fd, (wants_read ? POLLIN : 0) | (wants_write ? POLLOUT : 0), 0};
        if (poll(&fd, 1, 1000) < 0) die("poll");
        if (fd.revents & (POLLIN | POLLHUP)) redisAsyncHandleRead(tasks_context);
        if (fd.revents & POLLOUT) redisAsyncHandleWrite(tasks_context);
        if (tasks_context->err) die(tasks_context->errstr);
    }
    return done;
}

int main(int argc, char **argv) {
    const struct client client = {connect_to, run_batch, ask, run_tasks};
    return run_workload(&client, argc, argv);
}
