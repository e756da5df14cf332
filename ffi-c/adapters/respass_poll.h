/* Drives respass in a loop of your own around poll(2).
 *
 *     respass_driver *driver;
 *     respass_poll_new(config, &events, &driver);
 *     RESPASS_SUBMIT(driver, on_reply, NULL, "GET", "key");
 *     while (respass_poll_turn(driver, -1)) {}
 *
 * Host names are looked up with getaddrinfo, which blocks: where that would hold up other connections of the
 * driver, a thread of its own does it. Addresses are not looked up. respass_driver.h tells the rest.
 */
#ifndef RESPASS_POLL_H
#define RESPASS_POLL_H

#include <limits.h>
#include <poll.h>
#include <signal.h>

#include "respass_driver.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A look-up by a thread of its own. */
typedef struct respass_poll_look_up_request {
    respass_bell *bell;
    uint64_t conn;
    char host[256], port[8];
    struct addrinfo *addresses;
    int error;
    struct respass_poll_look_up_request *next;
} respass_poll_look_up_request;

typedef struct respass_poll {
    respass_driver driver;
    int pipe[2];                         /* other threads wake the loop with it */
    respass_poll_look_up_request *ended; /* look-ups of other threads; under the bell's lock */
    struct pollfd *fds;                  /* of respass_poll_turn */
    size_t fds_max;
} respass_poll;

static inline int respass_poll_get(const char *host, const char *port, int flags,
                                   struct addrinfo **addresses) {
    struct addrinfo hints;
    int error;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags;
    *addresses = NULL;
    error = getaddrinfo(host, port, &hints, addresses);
    if (error) *addresses = NULL;
    return error;
}

static inline void respass_poll_free_request(respass_poll_look_up_request *request) {
    if (request->addresses) freeaddrinfo(request->addresses);
    free(request);
}

static inline void *respass_poll_run(void *data) {
    respass_poll_look_up_request *request = (respass_poll_look_up_request *)data;
    respass_bell *bell = request->bell;
    request->error = respass_poll_get(request->host, request->port, 0, &request->addresses);
    pthread_mutex_lock(&bell->lock);
    if (bell->driver) {
        respass_poll *poll = (respass_poll *)bell->driver;
        request->next = poll->ended;
        poll->ended = request;
        request = NULL;
        poll->driver.loop->wake(&poll->driver);
    }
    pthread_mutex_unlock(&bell->lock);
    if (request) respass_poll_free_request(request);
    respass_priv_leave_bell(bell);
    return NULL;
}

/* The program's signals are not for the thread. */
static inline bool respass_poll_start_thread(respass_poll_look_up_request *request) {
    pthread_t thread;
    sigset_t all, before;
    bool is_started;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    is_started = pthread_create(&thread, NULL, respass_poll_run, request) == 0;
    if (is_started) pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return is_started;
}

static inline bool respass_poll_start_look_up(respass_driver *driver, uint64_t conn, const char *host,
                                              const char *port) {
    respass_poll_look_up_request *request = (respass_poll_look_up_request *)calloc(1, sizeof *request);
    if (!request) return false;
    request->bell = driver->bell;
    request->conn = conn;
    snprintf(request->host, sizeof request->host, "%s", host);
    snprintf(request->port, sizeof request->port, "%s", port);
    pthread_mutex_lock(&driver->bell->lock);
    driver->bell->users++;
    pthread_mutex_unlock(&driver->bell->lock);
    if (respass_poll_start_thread(request)) return true;
    respass_priv_leave_bell(driver->bell);
    free(request);
    return false;
}

static inline bool respass_poll_holds_up_others(const respass_driver *driver, uint64_t conn) {
    for (size_t i = 0; i < driver->connections_len; i++)
        if (driver->connections[i]->conn && driver->connections[i]->conn != conn) return true;
    return false;
}

static inline void respass_poll_look_up(respass_driver *driver, uint64_t conn, const char *host,
                                        const char *port) {
    struct addrinfo *addresses;
    int error = respass_poll_get(host, port, AI_NUMERICHOST, &addresses);
    if (error) {
        if (respass_poll_holds_up_others(driver, conn) && respass_poll_start_look_up(driver, conn, host, port))
            return;
        error = respass_poll_get(host, port, 0, &addresses);
    }
    respass_driver_found(driver, conn, addresses, error ? gai_strerror(error) : NULL);
}

static inline void respass_poll_take_ended(respass_driver *driver) {
    respass_poll_look_up_request *request;
    pthread_mutex_lock(&driver->bell->lock);
    request = ((respass_poll *)driver)->ended;
    ((respass_poll *)driver)->ended = NULL;
    pthread_mutex_unlock(&driver->bell->lock);
    while (request) {
        respass_poll_look_up_request *next = request->next;
        respass_driver_found(driver, request->conn, request->addresses,
                             request->error ? gai_strerror(request->error) : NULL);
        request->addresses = NULL;
        respass_poll_free_request(request);
        request = next;
    }
}

/* The next respass_poll_prepare asks the driver what to watch. */
static inline void respass_poll_watch(respass_connection *connection, int events) {
    (void)connection, (void)events;
}

/* The next respass_poll_prepare sees that the driver is due, and has poll(2) not wait. */
static inline void respass_poll_soon(respass_driver *driver) {
    (void)driver;
}

static inline void respass_poll_wake(respass_driver *driver) {
    ssize_t written = write(((respass_poll *)driver)->pipe[1], "", 1);
    (void)written; /* a full pipe wakes the loop as well */
}

static inline void respass_poll_free(respass_poll *poll) {
    while (poll->ended) {
        respass_poll_look_up_request *next = poll->ended->next;
        respass_poll_free_request(poll->ended);
        poll->ended = next;
    }
    respass_driver_free(&poll->driver);
    free(poll->fds);
    for (int i = 0; i < 2; i++)
        if (poll->pipe[i] >= 0) close(poll->pipe[i]);
    free(poll);
}

static inline void respass_poll_end(respass_driver *driver) {
    respass_driver_events events = driver->events;
    respass_poll_free((respass_poll *)driver);
    if (events.on_closed) events.on_closed(events.data);
}

static inline bool respass_poll_open_pipe(int fds[2]) {
    if (pipe(fds)) return false;
    for (int i = 0; i < 2; i++) {
        fcntl(fds[i], F_SETFL, O_NONBLOCK);
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
    }
    return true;
}

/* A driver that connects with its first command. The configuration is copied. Where it cannot work,
 * respass_config_error_text says why. */
static inline respass_result respass_poll_new(respass_config *config, const respass_driver_events *events,
                                              respass_driver **driver) {
    static const respass_loop loop = {respass_poll_look_up, respass_poll_watch, respass_poll_soon,
                                      respass_poll_wake,    respass_poll_end,   freeaddrinfo};
    respass_result result;
    respass_poll *poll = (respass_poll *)calloc(1, sizeof *poll);
    if (!poll) return RESPASS_ERROR_CODE_INVALID_CONFIG;
    poll->pipe[0] = poll->pipe[1] = -1;
    result = respass_driver_start(&poll->driver, &loop, config, events);
    if (result == RESPASS_RESULT_OK && !respass_poll_open_pipe(poll->pipe))
        result = RESPASS_ERROR_CODE_INVALID_CONFIG;
    if (result == RESPASS_RESULT_OK)
        *driver = &poll->driver;
    else
        respass_poll_free(poll);
    return result;
}

/* Fills in what to poll, and lowers `timeout_ms` (-1: for ever) to the time until the driver wants its turn. Returns
 * how many descriptors there are: one, and one for each connection. What is beyond `fds_max` is not filled in: come
 * again with more room. */
static inline size_t respass_poll_prepare(respass_driver *driver, struct pollfd *fds, size_t fds_max,
                                          int *timeout_ms) {
    uint64_t at, wait = 0;
    respass_priv_read_clocks(driver); /* the last turn may be long ago */
    at = respass_driver_wakeup(driver);
    for (size_t i = 0; i < driver->connections_len + 1 && i < fds_max; i++) {
        const respass_connection *connection = i ? driver->connections[i - 1] : NULL;
        int watched = connection ? connection->watched : RESPASS_DRIVER_READABLE;
        fds[i].fd = !connection ? ((respass_poll *)driver)->pipe[0] : watched ? connection->fd : -1;
        fds[i].events = (short)((watched & RESPASS_DRIVER_READABLE ? POLLIN : 0) |
                                (watched & RESPASS_DRIVER_WRITABLE ? POLLOUT : 0));
        fds[i].revents = 0;
    }
    if (at == RESPASS_NEVER_US) return driver->connections_len + 1;
    if (at > driver->now.monotonic_us) wait = (at - driver->now.monotonic_us + 999) / 1000;
    if (wait > INT_MAX) wait = INT_MAX;
    if (*timeout_ms < 0 || wait < (uint64_t)*timeout_ms) *timeout_ms = (int)wait;
    return driver->connections_len + 1;
}

/* Does what is due after poll(2) has filled in what respass_poll_prepare asked for; this is where callbacks run.
 * False: the driver has ended. */
static inline bool respass_poll_dispatch(respass_driver *driver, const struct pollfd *fds, size_t fds_len) {
    char bytes[64];
    for (size_t i = 1; i < fds_len && i <= driver->connections_len; i++) {
        respass_connection *connection = driver->connections[i - 1];
        if (fds[i].fd < 0 || fds[i].fd != connection->fd) continue;
        connection->ready |=
            (fds[i].revents & (POLLIN | POLLHUP | POLLERR) ? RESPASS_DRIVER_READABLE : 0) |
            (fds[i].revents & POLLOUT ? RESPASS_DRIVER_WRITABLE : 0);
    }
    if (fds_len > 0 && fds[0].revents) {
        while (read(fds[0].fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes) continue;
        respass_poll_take_ended(driver);
    }
    return respass_driver_turn(driver);
}

/* One turn of a loop that has nothing else to do; waits for `timeout_ms` at most. False: the driver has ended. */
static inline bool respass_poll_turn(respass_driver *driver, int timeout_ms) {
    respass_poll *own = (respass_poll *)driver;
    size_t len = driver->connections_len + 1;
    void *fds = own->fds;
    if (!respass_priv_reserve(&fds, &own->fds_max, 0, len, sizeof *own->fds)) len = own->fds_max;
    own->fds = (struct pollfd *)fds;
    respass_poll_prepare(driver, own->fds, len, &timeout_ms);
    if (poll(own->fds, (nfds_t)len, timeout_ms) < 0)
        for (size_t i = 0; i < len; i++) own->fds[i].revents = 0;
    return respass_poll_dispatch(driver, own->fds, len);
}

#ifdef __cplusplus
}
#endif

#endif
