/* Drives respass in a loop of your own around poll(2).
 *
 *     respass_driver *driver;
 *     respass_poll_new(config, &events, &driver);
 *     RESPASS_SUBMIT(driver, on_reply, NULL, "GET", "key");
 *     while (respass_poll_turn(driver, -1)) {}
 *
 * Host names are looked up with getaddrinfo, which blocks; addresses are not looked up. respass_driver.h
 * tells the rest.
 */
#ifndef RESPASS_POLL_H
#define RESPASS_POLL_H

#include <limits.h>
#include <poll.h>

#include "respass_driver.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The socket, and the pipe that other threads wake the loop with. */
#define RESPASS_POLL_FDS 2

typedef struct respass_poll {
    respass_driver driver;
    int pipe[2];
} respass_poll;

static inline void respass_poll_look_up(respass_driver *driver, uint64_t conn, const char *host,
                                        const char *port) {
    struct addrinfo hints, *addresses = NULL;
    int error;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    error = getaddrinfo(host, port, &hints, &addresses);
    respass_driver_found(driver, conn, error ? NULL : addresses, error ? gai_strerror(error) : NULL);
}

/* The next respass_poll_prepare asks the driver what to watch. */
static inline void respass_poll_watch(respass_driver *driver, int fd, int events) {
    (void)driver, (void)fd, (void)events;
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
    respass_driver_free(&poll->driver);
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

/* Fills in what to poll, and lowers `timeout_ms` (-1: for ever) to the time until the driver wants its turn. */
static inline void respass_poll_prepare(respass_driver *driver, struct pollfd fds[RESPASS_POLL_FDS],
                                        int *timeout_ms) {
    uint64_t at, wait = 0;
    respass_priv_read_clocks(driver); /* the last turn may be long ago */
    at = respass_driver_wakeup(driver);
    fds[0].fd = driver->watched ? driver->fd : -1;
    fds[0].events = (short)((driver->watched & RESPASS_DRIVER_READABLE ? POLLIN : 0) |
                            (driver->watched & RESPASS_DRIVER_WRITABLE ? POLLOUT : 0));
    fds[1].fd = ((respass_poll *)driver)->pipe[0];
    fds[1].events = POLLIN;
    fds[0].revents = fds[1].revents = 0;
    if (at == RESPASS_NEVER_US) return;
    if (at > driver->now.monotonic_us) wait = (at - driver->now.monotonic_us + 999) / 1000;
    if (wait > INT_MAX) wait = INT_MAX;
    if (*timeout_ms < 0 || wait < (uint64_t)*timeout_ms) *timeout_ms = (int)wait;
}

/* Does what is due after poll(2) has filled in `fds`; this is where callbacks run. False: the driver has ended. */
static inline bool respass_poll_dispatch(respass_driver *driver, const struct pollfd fds[RESPASS_POLL_FDS]) {
    char bytes[64];
    short events = fds[0].fd >= 0 ? fds[0].revents : 0;
    int ready = (events & (POLLIN | POLLHUP | POLLERR) ? RESPASS_DRIVER_READABLE : 0) |
                (events & POLLOUT ? RESPASS_DRIVER_WRITABLE : 0);
    if (fds[1].revents)
        while (read(fds[1].fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes) continue;
    return respass_driver_turn(driver, ready);
}

/* One turn of a loop that has nothing else to do; waits for `timeout_ms` at most. False: the driver has ended. */
static inline bool respass_poll_turn(respass_driver *driver, int timeout_ms) {
    struct pollfd fds[RESPASS_POLL_FDS];
    respass_poll_prepare(driver, fds, &timeout_ms);
    if (poll(fds, RESPASS_POLL_FDS, timeout_ms) < 0) fds[0].revents = fds[1].revents = 0;
    return respass_poll_dispatch(driver, fds);
}

#ifdef __cplusplus
}
#endif

#endif
