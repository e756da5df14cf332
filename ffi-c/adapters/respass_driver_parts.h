/* What a driver consists of: queue, waiters and connections; respass_driver.h includes it. Adapters fill in
 * `respass_loop` and call what is named respass_driver_…; what begins with respass_priv_ is not for them. */
#ifndef RESPASS_DRIVER_PARTS_H
#define RESPASS_DRIVER_PARTS_H

enum {
    RESPASS_DRIVER_READABLE = 1,
    RESPASS_DRIVER_WRITABLE = 2,
    RESPASS_READ_LEN = 256 * 1024, /* one read: a large reply costs few calls */
    RESPASS_READS_MAX = 16,        /* of a socket in one turn, so that the loop's others get theirs */
    RESPASS_PART_MIN = 48, /* commands; fewer are not worth a write of their own before the turn's end */
    RESPASS_QUEUE_LEN_MAX = 1 << 20 /* of a turn's commands: what is larger goes to the core by itself */
};

/* A connection: its host is looked up, then one address after the other is tried, then it is connected. */
typedef struct respass_connection {
    respass_driver *driver;
    uint64_t conn; /* 0: it is forgotten, and freed at the end of the turn */
    int fd;        /* -1: there is none */
    bool is_connected;
    int write_error; /* 0, or why the last write failed: until the next turn has read all that is here */
    int watched;     /* events that the loop watches */
    int ready;       /* events that it saw since the last turn */
    struct addrinfo *addresses, *address;
    void *watcher; /* the loop's own */
    char host[256];
} respass_connection;

/* What an event loop does for a driver. */
typedef struct respass_loop {
    /* Looks the host up, then calls respass_driver_found, at once or later. */
    void (*look_up)(respass_driver *driver, uint64_t conn, const char *host, const char *port);
    /* Watches the socket for RESPASS_DRIVER_READABLE and _WRITABLE. With 0 events it is about to be closed.
     */
    void (*watch)(respass_connection *connection, int events);
    /* Calls respass_driver_turn before the loop waits again. */
    void (*soon)(respass_driver *driver);
    /* As `soon`, from any thread. The bell is locked. */
    void (*wake)(respass_driver *driver);
    /* Calls respass_driver_free once the loop knows nothing of the driver any more. */
    void (*end)(respass_driver *driver);
    void (*free_addresses)(struct addrinfo *addresses);
} respass_loop;

/* How another thread calls the driver. Open token requests keep it alive beyond the driver. */
typedef struct respass_bell {
    pthread_mutex_t lock;
    size_t users;           /* the driver, and each open request */
    respass_driver *driver; /* NULL when it is closed */
} respass_bell;

typedef struct respass_subscriber {
    uint64_t number;
    respass_message_fn *on_message;
    void *data;
} respass_subscriber;

typedef struct respass_waiter {
    respass_reply_fn *on_reply; /* NULL when its command has ended */
    void *data;
} respass_waiter;

struct respass_driver {
    const respass_loop *loop;
    respass_core *core;
    respass_source *source; /* NULL without token login */
    respass_driver_events events;
    respass_bell *bell;
    respass_now now;       /* of this turn */
    respass_result broken; /* the core does nothing any more: a bug in respass, or a fork */
    bool is_due;           /* since the last turn something was submitted or cancelled, or a write failed */
    bool is_in_turn, is_closing, is_ended;

    respass_connection **connections;
    size_t connections_len, connections_max;
    respass_subscriber *subscribers;
    size_t subscribers_len, subscribers_max;

    /* Commands of this turn, and who waits: `waiters` is a ring by the command's number. */
    respass_commands queue;
    size_t queued;
    respass_waiter *waiters;
    uint64_t waiters_max, oldest, next; /* numbers from `oldest` on, before `next`, may have a waiter */
    unsigned char received[RESPASS_READ_LEN];
};

static inline void respass_priv_ignore(respass_driver *driver, const respass_driver_reply *reply,
                                       void *data) {
    (void)driver, (void)reply, (void)data;
}

static inline void respass_priv_read_clocks(respass_driver *driver) {
    struct timespec monotonic, real;
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    clock_gettime(CLOCK_REALTIME, &real);
    driver->now.monotonic_us = (uint64_t)monotonic.tv_sec * 1000000 + (uint64_t)monotonic.tv_nsec / 1000;
    driver->now.unix_us = (uint64_t)real.tv_sec * 1000000 + (uint64_t)real.tv_nsec / 1000;
}

/* Notes what a call came to that fails only where respass has a bug. */
static inline void respass_priv_check(respass_driver *driver, respass_result result) {
    if (result != RESPASS_RESULT_OK && driver->broken == RESPASS_RESULT_OK) driver->broken = result;
}

/* Room for `len` more elements; false without memory. */
static inline bool respass_priv_reserve(void **block, size_t *max, size_t len, size_t more, size_t element) {
    size_t wanted = *max ? *max : 1024;
    void *moved;
    if (len + more <= *max) return true;
    while (wanted < len + more) wanted *= 2;
    moved = realloc(*block, wanted * element);
    if (!moved) return false;
    *block = moved;
    *max = wanted;
    return true;
}

static inline size_t respass_priv_argument_len(const char *const *argv, const size_t *argv_len, size_t at) {
    return argv_len ? argv_len[at] : strlen(argv[at]);
}

static inline respass_result respass_commands_add(respass_commands *commands, size_t argc,
                                                  const char *const *argv, const size_t *argv_len) {
    size_t len = 0;
    void *bytes = commands->bytes, *lengths = commands->lengths;
    for (size_t i = 0; i < argc; i++) {
        size_t argument_len = respass_priv_argument_len(argv, argv_len, i);
        if (argument_len > UINT32_MAX) return RESPASS_RESULT_ARGUMENT;
        len += argument_len;
    }
    if (argc == 0 || argc > UINT32_MAX) return RESPASS_RESULT_ARGUMENT;
    if (!respass_priv_reserve(&bytes, &commands->bytes_max, commands->bytes_len, len, 1))
        return RESPASS_ERROR_CODE_QUEUE_FULL;
    commands->bytes = (char *)bytes;
    if (!respass_priv_reserve(&lengths, &commands->lengths_max, commands->lengths_len, argc + 1,
                              sizeof(uint32_t)))
        return RESPASS_ERROR_CODE_QUEUE_FULL;
    commands->lengths = (uint32_t *)lengths;
    commands->lengths[commands->lengths_len++] = (uint32_t)argc;
    for (size_t i = 0; i < argc; i++) {
        size_t argument_len = respass_priv_argument_len(argv, argv_len, i);
        if (argument_len) memcpy(commands->bytes + commands->bytes_len, argv[i], argument_len);
        commands->bytes_len += argument_len;
        commands->lengths[commands->lengths_len++] = (uint32_t)argument_len;
    }
    return RESPASS_RESULT_OK;
}

static inline void respass_commands_clear(respass_commands *commands) {
    free(commands->bytes);
    free(commands->lengths);
    memset(commands, 0, sizeof *commands);
}

/* --- Who waits
 * ------------------------------------------------------------------------------------------------ */

static inline bool respass_priv_add_waiter(respass_driver *driver, respass_reply_fn *on_reply, void *data) {
    respass_waiter *at;
    if (driver->next - driver->oldest == driver->waiters_max) {
        /* A command that waits long holds back the ring's end; those in between may have ended. */
        uint64_t max = driver->waiters_max ? driver->waiters_max * 2 : 256;
        respass_waiter *ring = (respass_waiter *)calloc(max, sizeof *ring);
        if (!ring) return false;
        for (uint64_t id = driver->oldest; id < driver->next; id++)
            ring[id & (max - 1)] = driver->waiters[id & (driver->waiters_max - 1)];
        free(driver->waiters);
        driver->waiters = ring;
        driver->waiters_max = max;
    }
    at = &driver->waiters[driver->next++ & (driver->waiters_max - 1)];
    at->on_reply = on_reply ? on_reply : respass_priv_ignore;
    at->data = data;
    return true;
}

static inline void respass_priv_deliver(respass_driver *driver, const respass_driver_reply *reply) {
    respass_waiter *at, waiter;
    uint64_t mask = driver->waiters_max - 1;
    if (reply->command < driver->oldest || reply->command >= driver->next) return;
    at = &driver->waiters[reply->command & mask];
    waiter = *at;
    at->on_reply = NULL;
    while (driver->oldest < driver->next && !driver->waiters[driver->oldest & mask].on_reply)
        driver->oldest++;
    if (waiter.on_reply) waiter.on_reply(driver, reply, waiter.data);
}

static inline void respass_priv_deliver_replies(respass_driver *driver, const respass_output *output) {
    respass_driver_reply reply;
    memset(&reply, 0, sizeof reply);
    reply.text = output->text;
    reply.bytes = output->bytes;
    for (size_t i = 0; i < output->answers_len; i++) {
        reply.command = output->answers[i].command;
        reply.node = &output->nodes[output->answers[i].node];
        respass_priv_deliver(driver, &reply);
    }
}

static inline void respass_priv_deliver_failure(respass_driver *driver, uint64_t command, uint32_t error,
                                                uint32_t outcome, respass_slice text) {
    respass_driver_reply reply;
    memset(&reply, 0, sizeof reply);
    reply.command = command;
    reply.error = error;
    reply.outcome = outcome;
    reply.text = reply.bytes = text;
    reply.bytes.len = 0;
    respass_priv_deliver(driver, &reply);
}

/* --- Connections
 * ---------------------------------------------------------------------------------------------- */

/* NULL: there is no such connection any more. */
static inline respass_connection *respass_priv_find(const respass_driver *driver, uint64_t conn) {
    for (size_t i = 0; i < driver->connections_len; i++)
        if (driver->connections[i]->conn == conn) return driver->connections[i];
    return NULL;
}

static inline void respass_priv_watch(respass_connection *connection, int events) {
    if (connection->watched == events) return;
    connection->watched = events;
    connection->driver->loop->watch(connection, events);
}

static inline void respass_priv_close_socket(respass_connection *connection) {
    if (connection->fd < 0) return;
    respass_priv_watch(connection, 0);
    close(connection->fd);
    connection->fd = -1;
    connection->is_connected = false;
    connection->write_error = connection->ready = 0;
}

static inline void respass_priv_forget(respass_connection *connection) {
    respass_priv_close_socket(connection);
    if (connection->addresses) connection->driver->loop->free_addresses(connection->addresses);
    connection->addresses = connection->address = NULL;
    connection->conn = 0;
}

static inline void respass_priv_forget_all(respass_driver *driver) {
    for (size_t i = 0; i < driver->connections_len; i++) respass_priv_forget(driver->connections[i]);
}

/* Frees the forgotten ones, when nobody goes through the list. */
static inline void respass_priv_sweep(respass_driver *driver) {
    size_t kept = 0;
    for (size_t i = 0; i < driver->connections_len; i++)
        if (driver->connections[i]->conn)
            driver->connections[kept++] = driver->connections[i];
        else
            free(driver->connections[i]);
    driver->connections_len = kept;
}

static inline void respass_priv_tell_lost(respass_driver *driver, uint64_t conn, const char *host,
                                          uint32_t cause, const char *why) {
    char text[512];
    int len = snprintf(text, sizeof text, "%s: %s", host, why);
    respass_priv_check(driver, respass_core_disconnected(
                                   driver->core, conn, cause, text,
                                   len < (int)sizeof text ? (size_t)len : sizeof text - 1, driver->now));
}

static inline void respass_priv_lost(respass_connection *connection, uint32_t cause, const char *why) {
    uint64_t conn = connection->conn;
    respass_priv_forget(connection);
    respass_priv_tell_lost(connection->driver, conn, connection->host, cause, why);
}

static inline void respass_priv_connected(respass_connection *connection) {
    respass_driver *driver = connection->driver;
    int on = 1;
    connection->is_connected = true;
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(connection->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
#ifdef SO_NOSIGPIPE
    setsockopt(connection->fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
    respass_priv_watch(connection, RESPASS_DRIVER_READABLE);
    respass_priv_check(driver, respass_core_connected(driver->core, connection->conn, driver->now));
}

/* Whether the address is connected or will be; else errno says why not. */
static inline bool respass_priv_dial(respass_connection *connection, const struct addrinfo *address) {
    connection->fd = socket(address->ai_family, SOCK_STREAM, 0);
    if (connection->fd < 0) return false;
    fcntl(connection->fd, F_SETFL, fcntl(connection->fd, F_GETFL) | O_NONBLOCK);
    fcntl(connection->fd, F_SETFD, FD_CLOEXEC);
    if (connect(connection->fd, address->ai_addr, address->ai_addrlen) == 0) {
        respass_priv_connected(connection);
        return true;
    }
    if (errno != EINPROGRESS && errno != EINTR) return false;
    respass_priv_watch(connection, RESPASS_DRIVER_WRITABLE);
    return true;
}

static inline void respass_priv_dial_next(respass_connection *connection, int error) {
    while (connection->address) {
        const struct addrinfo *address = connection->address;
        connection->address = address->ai_next;
        if (respass_priv_dial(connection, address)) return;
        error = errno;
        respass_priv_close_socket(connection);
    }
    respass_priv_lost(connection, RESPASS_CAUSE_CONNECT_FAILED,
                      error ? strerror(error) : "it has no address");
}

static inline respass_connection *respass_priv_new_connection(respass_driver *driver, uint64_t conn) {
    respass_connection *connection;
    void *list = driver->connections;
    if (!respass_priv_reserve(&list, &driver->connections_max, driver->connections_len, 1, sizeof connection))
        return NULL;
    driver->connections = (respass_connection **)list;
    connection = (respass_connection *)calloc(1, sizeof *connection);
    if (!connection) return NULL;
    connection->driver = driver;
    connection->conn = conn;
    connection->fd = -1;
    driver->connections[driver->connections_len++] = connection;
    return connection;
}

static inline void respass_priv_connect(respass_driver *driver, const respass_output *output) {
    char host[256], port[8];
    uint16_t number = (uint16_t)output->code;
    respass_connection *connection = respass_priv_new_connection(driver, output->id);
    size_t len = output->text.len < sizeof host ? output->text.len : sizeof host - 1;
    memcpy(host, output->text.data, len);
    host[len] = 0;
    if (driver->events.on_connect) driver->events.on_connect(driver, host, &number, driver->events.data);
    snprintf(port, sizeof port, "%u", (unsigned)number);
    if (!connection) {
        respass_priv_tell_lost(driver, output->id, host, RESPASS_CAUSE_CONNECT_FAILED, "no memory");
        return;
    }
    snprintf(connection->host, sizeof connection->host, "%.240s:%s", host, port);
    driver->loop->look_up(driver, output->id, host, port);
}

/* The end of a look-up: addresses, which now are the driver's, or why there are none. */
static inline void respass_driver_found(respass_driver *driver, uint64_t conn, struct addrinfo *addresses,
                                        const char *why) {
    respass_connection *connection = driver->is_ended ? NULL : respass_priv_find(driver, conn);
    respass_priv_read_clocks(driver);
    if (!connection) {
        if (addresses) driver->loop->free_addresses(addresses);
        return;
    }
    connection->addresses = connection->address = addresses;
    if (addresses)
        respass_priv_dial_next(connection, 0);
    else
        respass_priv_lost(connection, RESPASS_CAUSE_CONNECT_FAILED, why);
}

/* The server may have said why it hung up: the next turn reads that first. */
static inline void respass_priv_write_failed(respass_connection *connection, int error) {
    connection->write_error = error;
    respass_priv_watch(connection, RESPASS_DRIVER_READABLE);
    connection->driver->is_due = true;
    connection->driver->loop->soon(connection->driver);
}

/* Writes until the socket or the core has no more. */
static inline void respass_priv_transmit(respass_connection *connection) {
    respass_driver *driver = connection->driver;
    while (connection->is_connected && !connection->write_error) {
        respass_slice bytes;
        ssize_t len;
        respass_result result = respass_core_transmit(driver->core, connection->conn, driver->now, &bytes);
        respass_priv_check(driver, result);
        if (result != RESPASS_RESULT_OK || bytes.len == 0) {
            respass_priv_watch(connection, RESPASS_DRIVER_READABLE);
            return;
        }
        len = send(connection->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (len < 0 && errno == EINTR) continue;
        if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            respass_priv_watch(connection, RESPASS_DRIVER_READABLE | RESPASS_DRIVER_WRITABLE);
            return;
        }
        if (len < 0)
            respass_priv_write_failed(connection, errno);
        else
            respass_priv_check(driver, respass_core_transmitted(driver->core, connection->conn, (size_t)len,
                                                                driver->now));
    }
}

static inline void respass_priv_transmit_all(respass_driver *driver) {
    for (size_t i = 0; i < driver->connections_len; i++) respass_priv_transmit(driver->connections[i]);
}

static inline void respass_priv_disconnect(respass_driver *driver, const respass_output *output) {
    respass_connection *connection = respass_priv_find(driver, output->id);
    if (!connection) return;
    /* Best effort: the connection ends either way. */
    if (connection->is_connected && output->text.len &&
        send(connection->fd, output->text.data, output->text.len, MSG_NOSIGNAL) < 0)
        errno = 0;
    respass_priv_forget(connection);
}

#endif
