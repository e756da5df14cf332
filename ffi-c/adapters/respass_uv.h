/* Drives respass in a libuv loop.
 *
 *     respass_driver *driver;
 *     respass_uv_new(uv_default_loop(), config, &events, &driver);
 *     RESPASS_SUBMIT(driver, on_reply, NULL, "GET", "key");
 *     uv_run(uv_default_loop(), UV_RUN_DEFAULT);
 *
 * The loop stays alive until the driver is closed. respass_driver.h tells the rest.
 */
#ifndef RESPASS_UV_H
#define RESPASS_UV_H

#include <uv.h>

#include "respass_driver.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct respass_uv {
    respass_driver driver;
    uv_loop_t *loop;
    uv_idle_t idle; /* active when something was submitted since the last turn */
    uv_timer_t timer;
    uint64_t timer_at; /* what the timer is set to */
    uv_async_t async;  /* other threads wake the loop with it */
    size_t parts;      /* handles and look-ups that libuv knows of */
    bool is_ended;
} respass_uv;

/* Watches a connection's socket, and may outlive it. */
typedef struct respass_uv_socket {
    uv_poll_t poll;
    respass_uv *uv;
    uint64_t conn;
} respass_uv_socket;

/* A look-up may end after the driver has lost interest in it. */
typedef struct respass_uv_look_up_request {
    uv_getaddrinfo_t request;
    respass_uv *uv;
    uint64_t conn;
} respass_uv_look_up_request;

/* The last part frees the whole. */
static inline void respass_uv_leave(respass_uv *uv) {
    respass_driver_events events = uv->driver.events;
    if (--uv->parts > 0 || !uv->is_ended) return;
    respass_driver_free(&uv->driver);
    free(uv);
    if (events.on_closed) events.on_closed(events.data);
}

static inline void respass_uv_set_timer(respass_uv *uv);

static inline void respass_uv_turn(respass_uv *uv) {
    if (respass_driver_turn(&uv->driver)) respass_uv_set_timer(uv);
}

static inline void respass_uv_on_timer(uv_timer_t *timer) {
    respass_uv *uv = (respass_uv *)timer->data;
    uv->timer_at = RESPASS_NEVER_US;
    respass_uv_turn(uv);
}

/* Waking too early is allowed, so a later moment never costs a new timer. */
static inline void respass_uv_set_timer(respass_uv *uv) {
    uint64_t at = respass_driver_wakeup(&uv->driver), now = uv->driver.now.monotonic_us;
    if (at >= uv->timer_at) return;
    uv->timer_at = at;
    uv_timer_start(&uv->timer, respass_uv_on_timer, at > now ? (at - now + 999) / 1000 : 0, 0);
}

/* Stays active for one more round, in which the loop therefore does not wait: callbacks may have run, and whoever
 * runs the loop one step at a time wants to see what they did. */
static inline void respass_uv_on_idle(uv_idle_t *idle) {
    respass_uv *uv = (respass_uv *)idle->data;
    if (uv->driver.is_due)
        respass_uv_turn(uv);
    else
        uv_idle_stop(idle);
}

static inline void respass_uv_on_async(uv_async_t *async) {
    respass_uv_turn((respass_uv *)async->data);
}

static inline void respass_uv_on_ready(uv_poll_t *poll, int status, int events) {
    respass_uv_socket *socket = (respass_uv_socket *)poll->data;
    int ready = (events & UV_READABLE ? RESPASS_DRIVER_READABLE : 0) |
                (events & UV_WRITABLE ? RESPASS_DRIVER_WRITABLE : 0);
    /* What is wrong, the next read or write tells. */
    respass_driver_ready(&socket->uv->driver, socket->conn, status < 0 ? RESPASS_DRIVER_READABLE : ready);
    respass_uv_turn(socket->uv);
}

static inline void respass_uv_on_found(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses) {
    respass_uv_look_up_request *look_up = (respass_uv_look_up_request *)request->data;
    respass_uv *uv = look_up->uv;
    respass_driver_found(&uv->driver, look_up->conn, addresses, status ? uv_strerror(status) : NULL);
    if (!uv->is_ended) respass_uv_turn(uv);
    free(look_up);
    respass_uv_leave(uv);
}

static inline void respass_uv_look_up(respass_driver *driver, uint64_t conn, const char *host,
                                      const char *port) {
    respass_uv *uv = (respass_uv *)driver;
    struct addrinfo hints;
    int error = UV_ENOMEM;
    respass_uv_look_up_request *look_up = (respass_uv_look_up_request *)calloc(1, sizeof *look_up);
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    if (look_up) {
        look_up->request.data = look_up;
        look_up->uv = uv;
        look_up->conn = conn;
        error = uv_getaddrinfo(uv->loop, &look_up->request, respass_uv_on_found, host, port, &hints);
    }
    if (error) {
        free(look_up);
        respass_driver_found(driver, conn, NULL, uv_strerror(error));
    } else
        uv->parts++;
}

static inline void respass_uv_on_poll_closed(uv_handle_t *handle) {
    respass_uv_socket *socket = (respass_uv_socket *)handle->data;
    respass_uv *uv = socket->uv;
    free(socket);
    respass_uv_leave(uv);
}

/* Unwatched, for want of memory, a connection meets the time limit for connecting. */
static inline respass_uv_socket *respass_uv_open_socket(respass_uv *uv, const respass_connection *connection) {
    respass_uv_socket *socket = (respass_uv_socket *)calloc(1, sizeof *socket);
    if (!socket || uv_poll_init(uv->loop, &socket->poll, connection->fd)) {
        free(socket);
        return NULL;
    }
    socket->poll.data = socket;
    socket->uv = uv;
    socket->conn = connection->conn;
    uv->parts++;
    return socket;
}

static inline void respass_uv_watch(respass_connection *connection, int events) {
    respass_uv *uv = (respass_uv *)connection->driver;
    respass_uv_socket *socket = (respass_uv_socket *)connection->watcher;
    if (events == 0) {
        if (!socket) return;
        uv_poll_stop(&socket->poll);
        uv_close((uv_handle_t *)&socket->poll, respass_uv_on_poll_closed);
        connection->watcher = NULL;
        return;
    }
    if (!socket) connection->watcher = socket = respass_uv_open_socket(uv, connection);
    if (!socket) return;
    uv_poll_start(&socket->poll,
                  (events & RESPASS_DRIVER_READABLE ? UV_READABLE : 0) |
                      (events & RESPASS_DRIVER_WRITABLE ? UV_WRITABLE : 0),
                  respass_uv_on_ready);
}

static inline void respass_uv_soon(respass_driver *driver) {
    uv_idle_start(&((respass_uv *)driver)->idle, respass_uv_on_idle);
}

static inline void respass_uv_wake(respass_driver *driver) {
    uv_async_send(&((respass_uv *)driver)->async);
}

static inline void respass_uv_on_closed(uv_handle_t *handle) {
    respass_uv_leave((respass_uv *)handle->data);
}

static inline void respass_uv_end(respass_driver *driver) {
    respass_uv *uv = (respass_uv *)driver;
    uv->is_ended = true;
    uv_close((uv_handle_t *)&uv->idle, respass_uv_on_closed);
    uv_close((uv_handle_t *)&uv->timer, respass_uv_on_closed);
    uv_close((uv_handle_t *)&uv->async, respass_uv_on_closed);
}

/* A driver that connects with its first command. The configuration is copied. Where it cannot work,
 * respass_config_error_text says why. */
static inline respass_result respass_uv_new(uv_loop_t *loop, respass_config *config,
                                            const respass_driver_events *events, respass_driver **driver) {
    static const respass_loop functions = {respass_uv_look_up, respass_uv_watch, respass_uv_soon,
                                           respass_uv_wake,    respass_uv_end,   uv_freeaddrinfo};
    respass_result result;
    respass_uv *uv = (respass_uv *)calloc(1, sizeof *uv);
    if (!uv) return RESPASS_ERROR_CODE_INVALID_CONFIG;
    uv->loop = loop;
    uv->timer_at = RESPASS_NEVER_US;
    uv->idle.data = uv->timer.data = uv->async.data = uv;
    result = respass_driver_start(&uv->driver, &functions, config, events);
    if (result == RESPASS_RESULT_OK && uv_async_init(loop, &uv->async, respass_uv_on_async))
        result = RESPASS_ERROR_CODE_INVALID_CONFIG;
    if (result != RESPASS_RESULT_OK) {
        respass_driver_free(&uv->driver);
        free(uv);
        return result;
    }
    uv_idle_init(loop, &uv->idle);
    uv_timer_init(loop, &uv->timer);
    uv->parts = 3;
    *driver = &uv->driver;
    return result;
}

#ifdef __cplusplus
}
#endif

#endif
