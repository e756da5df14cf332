/* Drives respass over one socket with poll(2): pipelines GETs in batches for some seconds and prints the rate.
 *
 *   probe HOST PORT [SECONDS [CA_FILE]]      TLS where a CA file is given; a token is read from RESPASS_TOKEN
 */
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "respass.h"

enum { BATCH = 1000, VALUE_LEN = 100 };

static struct {
    respass_core *core;
    respass_source *source;
    int fd, blocked; /* blocked: the core has bytes that the socket did not take */
    uint64_t conn;
    size_t waiting, batches, reauths;
} app = {.fd = -1};

static void die(const char *what, respass_slice why) {
    fprintf(stderr, "probe: %s: %.*s\n", what, (int)why.len, (const char *)why.data);
    exit(1);
}

static void check(respass_result result, const char *what) {
    respass_slice why = {(const uint8_t *)"", 0};
    if (result == RESPASS_RESULT_OK) return;
    if (app.core) respass_core_error_text(app.core, &why);
    die(what, why);
}

static uint64_t clock_us(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static respass_now now(void) {
    respass_now now = {clock_us(CLOCK_MONOTONIC), clock_us(CLOCK_REALTIME)};
    return now;
}

static void lost(uint32_t cause, const char *text) {
    if (app.fd >= 0) close(app.fd);
    app.fd = -1;
    check(respass_core_disconnected(app.core, app.conn, cause, text, strlen(text), now()), "disconnected");
}

static void dial(const respass_output *output) {
    char host[256] = "", port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int on = 1;
    app.conn = output->id;
    memcpy(host, output->text.data, output->text.len < sizeof host ? output->text.len : sizeof host - 1);
    snprintf(port, sizeof port, "%u", (unsigned)output->code);
    if (getaddrinfo(host, port, &hints, &found)) {
        lost(RESPASS_CAUSE_CONNECT_FAILED, "the name is not known");
        return;
    }
    for (struct addrinfo *at = found; at && app.fd < 0; at = at->ai_next) {
        app.fd = socket(at->ai_family, SOCK_STREAM, 0);
        if (app.fd >= 0 && connect(app.fd, at->ai_addr, at->ai_addrlen)) close(app.fd), app.fd = -1;
    }
    freeaddrinfo(found);
    if (app.fd < 0) {
        lost(RESPASS_CAUSE_CONNECT_FAILED, "nobody answers there");
        return;
    }
    setsockopt(app.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(app.fd, F_SETFL, O_NONBLOCK);
    check(respass_core_connected(app.core, app.conn, now()), "connected");
}

/* Writes until the socket or the core has no more. */
static void transmit(void) {
    respass_slice bytes;
    for (app.blocked = 0; app.fd >= 0;) {
        check(respass_core_transmit(app.core, app.conn, now(), &bytes), "transmit");
        if (bytes.len == 0) return;
        ssize_t len = send(app.fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        app.blocked = len <= 0;
        if (app.blocked) return;
        check(respass_core_transmitted(app.core, app.conn, (size_t)len, now()), "transmitted");
    }
}

static void count_replies(const respass_output *output) {
    for (size_t i = 0; i < output->answers_len; i++) {
        const respass_node *reply = &output->nodes[output->answers[i].node];
        respass_slice text = {output->bytes.data + reply->value, reply->count};
        if (reply->kind == RESPASS_KIND_ERROR) die("error reply", text);
        if (app.batches > 0 && reply->count != VALUE_LEN) die("a reply of another length", text);
    }
    app.waiting -= output->answers_len;
}

/* The token that the starter gave. A program would ask its credential here. */
static void fetch(void) {
    const char *token = getenv("RESPASS_TOKEN");
    check(respass_source_fetched(app.source, token, strlen(token), 0, 0, 0, now()), "fetched");
}

static void need_token(uint64_t newer_than) {
    respass_token *token = NULL;
    check(respass_source_request(app.source, newer_than, now(), &token), "request");
    if (token) check(respass_core_token(app.core, token, now()), "token");
    respass_token_free(token);
}

/* Obeys every output of the core and the source. */
static void obey(void) {
    respass_output output;
    for (;;) {
        check(respass_core_next_output(app.core, &output), "next output");
        if (output.kind == RESPASS_OUTPUT_KIND_NONE && app.source)
            check(respass_source_next_output(app.source, &output), "next output of the source");
        switch (output.kind) {
        case RESPASS_OUTPUT_KIND_NONE: return;
        case RESPASS_OUTPUT_KIND_CONNECT: dial(&output); break;
        case RESPASS_OUTPUT_KIND_DISCONNECT:
            if (send(app.fd, output.text.data, output.text.len, MSG_NOSIGNAL) < 0) perror("last bytes");
            close(app.fd), app.fd = -1;
            break;
        case RESPASS_OUTPUT_KIND_TRANSMIT: transmit(); break;
        case RESPASS_OUTPUT_KIND_REPLIES: count_replies(&output); break;
        case RESPASS_OUTPUT_KIND_FAILED: die("a command failed", output.text); break;
        case RESPASS_OUTPUT_KIND_TOKEN_NEEDED: need_token(output.id); break;
        case RESPASS_OUTPUT_KIND_FETCH: fetch(); break;
        case RESPASS_OUTPUT_KIND_TOKEN: check(respass_core_token(app.core, output.token, now()), "token"); break;
        case RESPASS_OUTPUT_KIND_NOTICE: app.reauths += output.code == RESPASS_NOTICE_RE_AUTHENTICATED; break;
        }
        respass_core_recycle(app.core, &output);
    }
}

static void turn(void) {
    static char received[256 * 1024];
    uint64_t wakeup, source_wakeup = RESPASS_NEVER_US;
    obey();
    struct pollfd poller = {app.fd, (short)(app.blocked ? POLLIN | POLLOUT : POLLIN), 0};
    if (app.waiting == 0) return;
    check(respass_core_next_wakeup(app.core, now(), &wakeup), "next wakeup");
    if (app.source) check(respass_source_next_wakeup(app.source, &source_wakeup), "next wakeup");
    uint64_t at = wakeup < source_wakeup ? wakeup : source_wakeup, from = now().monotonic_us;
    poll(&poller, 1, at <= from ? 0 : at - from > 1000000 ? 1000 : (int)((at - from + 999) / 1000));
    if (poller.revents & POLLOUT) transmit();
    if (poller.revents & (POLLIN | POLLHUP | POLLERR)) {
        ssize_t len = recv(app.fd, received, sizeof received, 0);
        if (len > 0)
            check(respass_core_received(app.core, app.conn, received, (size_t)len, now()), "received");
        else
            lost(len == 0 ? RESPASS_CAUSE_CLOSED : RESPASS_CAUSE_BROKEN, "the connection broke");
    }
    check(respass_core_timeout(app.core, now()), "timeout");
    if (app.source) check(respass_source_timeout(app.source, now()), "timeout of the source");
}

static void put(char **bytes, uint32_t **lengths, const char *text) {
    size_t len = strlen(text);
    memcpy(*bytes, text, len);
    *bytes += len;
    *(*lengths)++ = (uint32_t)len;
}

/* One batch: SETs the first time, GETs from then on. */
static void run_batch(void) {
    static char bytes[BATCH * (VALUE_LEN + 32)], value[VALUE_LEN + 1];
    static uint32_t lengths[BATCH * 4];
    char *byte = bytes, key[32];
    uint32_t *length = lengths;
    uint64_t first;
    int set = app.batches == 0;
    memset(value, 'x', VALUE_LEN);
    for (int i = 0; i < BATCH; i++) {
        snprintf(key, sizeof key, "probe:%d", i);
        *length++ = set ? 3 : 2;
        put(&byte, &length, set ? "SET" : "GET");
        put(&byte, &length, key);
        if (set) put(&byte, &length, value);
    }
    check(respass_core_submit_batch(app.core, bytes, (size_t)(byte - bytes), lengths, (size_t)(length - lengths),
                                    now(), &first), "submit");
    for (app.waiting = BATCH; app.waiting > 0;) turn();
    app.batches++;
}

static respass_config *configure(const char *host, uint16_t port, const char *ca_file) {
    static char pem[65536];
    respass_config *config = NULL;
    check(respass_config_new(host, strlen(host), port, &config), "config");
    if (ca_file) {
        FILE *file = fopen(ca_file, "r");
        if (!file) perror(ca_file), exit(1);
        check(respass_config_add_ca(config, pem, fread(pem, 1, sizeof pem, file)), "certificate authority");
        fclose(file);
    }
    if (getenv("RESPASS_TOKEN")) check(respass_config_set_token(config, NULL, 0), "token login");
    return config;
}

int main(int argc, char **argv) {
    uint8_t seed[32];
    FILE *random = fopen("/dev/urandom", "r");
    if (argc < 3 || !random || fread(seed, sizeof seed, 1, random) != 1)
        return fprintf(stderr, "usage: probe HOST PORT [SECONDS [CA_FILE]]\n"), 2;
    fclose(random);
    double seconds = argc > 3 ? atof(argv[3]) : 1;
    respass_config *config = configure(argv[1], (uint16_t)atoi(argv[2]), argc > 4 ? argv[4] : NULL);
    if (respass_core_new(config, seed, now(), &app.core) != RESPASS_RESULT_OK) {
        respass_slice why;
        respass_config_error_text(config, &why);
        die("configuration", why);
    }
    respass_config_free(config);
    if (getenv("RESPASS_TOKEN")) {
        check(respass_source_new(seed, now(), &app.source), "source");
        check(respass_source_subscribe(app.source), "subscribe");
    }
    run_batch();
    uint64_t start = clock_us(CLOCK_MONOTONIC), end = start + (uint64_t)(seconds * 1e6), from = app.batches;
    while (clock_us(CLOCK_MONOTONIC) < end) run_batch();
    double rate = (double)((app.batches - from) * BATCH) * 1e6 / (double)(clock_us(CLOCK_MONOTONIC) - start);
    printf("{\"client\":\"respass-c\",\"batch\":%d,\"ops_per_s\":%.0f,\"reauths\":%zu}\n", BATCH, rate, app.reauths);
    check(respass_core_close(app.core, now()), "close");
    obey();
    respass_source_free(app.source);
    respass_core_free(app.core);
    return 0;
}
