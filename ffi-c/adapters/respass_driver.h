/* What the adapters for event loops share: a driver owns the sockets, the timer and the callbacks of one
 * client.
 *
 * Make one with respass_poll_new (respass_poll.h) or respass_uv_new (respass_uv.h); all else here is the same
 * for both. A driver decides nothing: it tells the core facts and obeys its outputs. For POSIX systems.
 *
 * - Callbacks run in the thread of the loop, and only inside of it or of respass_driver_close. They may
 *   submit, cancel and close. What they are given is borrowed for the call.
 * - One thread uses a driver; of all functions, only those that answer a token request are for any thread.
 * - What is submitted between two waits of the loop goes to the core in one call and to the server in one
 *   write.
 */
#ifndef RESPASS_DRIVER_H
#define RESPASS_DRIVER_H

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <respass.h>

#ifndef CLOCK_MONOTONIC
#error "define _POSIX_C_SOURCE as 200809L before the first include"
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct respass_driver respass_driver;

/* What became of one command. */
typedef struct respass_driver_reply {
    uint64_t command; /* the number that respass_driver_submit gave */
    uint32_t
        error; /* 0: the server answered. Else why it did not: RESPASS_ERROR_CODE_… or RESPASS_RESULT_… */
    uint32_t outcome;         /* with an error, RESPASS_OUTCOME_…: whether the command may have run */
    respass_slice text;       /* with an error: what happened, and what helps */
    const respass_node *node; /* the answer's first node, perhaps of RESPASS_KIND_ERROR; NULL with an error */
    respass_slice bytes;      /* for respass_node_text */
} respass_driver_reply;

/* Called once for each command that was accepted. */
typedef void respass_reply_fn(respass_driver *driver, const respass_driver_reply *reply, void *data);

/* Called for each message of a subscriber, for as long as that is not closed. */
typedef void respass_message_fn(respass_driver *driver, const respass_message *message, void *data);

/* What a driver tells its program. All but `on_token_needed` may be NULL where nobody wants to know, and that
 * too where the configuration has no token login. (Tokens by respass_config_set_credential are for blocking
 * clients.) */
typedef struct respass_driver_events {
    void *data; /* handed to each of them */
    /* A token is asked for. May not wait: answer the request here, or later, from any thread, with
     * respass_token_request_resolve or respass_token_request_fail; even where the driver is closed by then. */
    void (*on_token_needed)(respass_driver *driver, respass_token_request *request, void *data);
    /* An output of the kind RESPASS_OUTPUT_KIND_NOTICE or RESPASS_OUTPUT_KIND_STATE. */
    void (*on_notice)(respass_driver *driver, const respass_output *notice, void *data);
    /* The last callback of all. The driver is gone when it returns. */
    void (*on_closed)(void *data);
    /* Where the configuration says RESPASS_ADDRESS_MAP_DRIVER: puts where the node is in the place of the host, which
     * ends with a NUL, and the port that it advertises. */
    void (*on_connect)(respass_driver *driver, char host[256], uint16_t *port, void *data);
} respass_driver_events;

/* Several commands, to be sent as one transaction. Begin with all zeros. */
typedef struct respass_commands {
    char *bytes;       /* arguments, one after the other */
    uint32_t *lengths; /* for each command the number of its arguments, then their lengths */
    size_t bytes_len, bytes_max, lengths_len, lengths_max;
} respass_commands;

/* Adds a command. Where `argv_len` is NULL, all arguments end in NUL. */
static inline respass_result respass_commands_add(respass_commands *commands, size_t argc,
                                                  const char *const *argv, const size_t *argv_len);
static inline void respass_commands_clear(respass_commands *commands);

/* Submits one command; its number goes to `command` unless that is NULL. With another result than
 * RESPASS_RESULT_OK, `on_reply` is never called. `timeout_us` 0 stands for the configured time limit. */
static inline respass_result respass_driver_submit(respass_driver *driver, size_t argc,
                                                   const char *const *argv, const size_t *argv_len,
                                                   uint64_t timeout_us, respass_reply_fn *on_reply,
                                                   void *data, uint64_t *command);

/* Submits one command of texts: RESPASS_SUBMIT(driver, on_reply, data, "SET", key, value). */
#define RESPASS_SUBMIT(driver, on_reply, data, ...)                                                          \
    respass_driver_submit_texts(driver, on_reply, data, __VA_ARGS__, (const char *)NULL)
static inline respass_result respass_driver_submit_texts(respass_driver *driver, respass_reply_fn *on_reply,
                                                         void *data, ...);

/* Submits a transaction, which has one answer: that of EXEC. The commands stay the caller's. */
static inline respass_result respass_driver_transaction(respass_driver *driver,
                                                        const respass_commands *commands,
                                                        respass_reply_fn *on_reply, void *data,
                                                        uint64_t *command);

/* Gives up on a command: its callback gets RESPASS_ERROR_CODE_CANCELLED. Does nothing where it has ended. */
static inline void respass_driver_cancel(respass_driver *driver, uint64_t command);

/* A subscriber, with connections of its own as it needs them; its number goes to `subscriber` unless that is NULL. It
 * lives until it is closed, and reconnects and logs in as long. */
static inline respass_result respass_driver_open_subscriber(respass_driver *driver,
                                                            respass_message_fn *on_message, void *data,
                                                            uint64_t *subscriber);

/* A subscriber that gets every command which one server runs. */
static inline respass_result respass_driver_open_monitor(respass_driver *driver,
                                                         respass_message_fn *on_message, void *data,
                                                         uint64_t *subscriber);

/* Subscribes to channels; `kind` is a RESPASS_CHANNEL_KIND_…. A message tells when each subscription stands. Where
 * `channels_len` is NULL, each channel ends in NUL. */
static inline respass_result respass_driver_subscribe(respass_driver *driver, uint64_t subscriber,
                                                      uint32_t kind, size_t count,
                                                      const char *const *channels,
                                                      const size_t *channels_len);

/* Ends subscriptions: all of the kind where `count` is 0. */
static inline respass_result respass_driver_unsubscribe(respass_driver *driver, uint64_t subscriber,
                                                        uint32_t kind, size_t count,
                                                        const char *const *channels,
                                                        const size_t *channels_len);

/* Ends a subscriber. No message of its follows. Does nothing where it has ended. */
static inline void respass_driver_close_subscriber(respass_driver *driver, uint64_t subscriber);

/* A session: a connection that nobody else uses, from its first command on, as WATCH needs it. */
static inline respass_result respass_driver_open_session(respass_driver *driver, uint64_t *session);

/* As respass_driver_submit, in a session. */
static inline respass_result respass_driver_submit_in(respass_driver *driver, uint64_t session, size_t argc,
                                                      const char *const *argv, const size_t *argv_len,
                                                      uint64_t timeout_us, respass_reply_fn *on_reply,
                                                      void *data, uint64_t *command);

/* As respass_driver_transaction, in a session. The answer is of RESPASS_KIND_NULL where a key that the session watches
 * was written to, and RESPASS_ERROR_CODE_WATCH_LOST where its connection was lost since WATCH: then begin again. */
static inline respass_result respass_driver_transaction_in(respass_driver *driver, uint64_t session,
                                                           const respass_commands *commands,
                                                           respass_reply_fn *on_reply, void *data,
                                                           uint64_t *command);

/* Ends a session, and with it what it watches. Does nothing where it has ended. */
static inline void respass_driver_close_session(respass_driver *driver, uint64_t session);

/* Connects without waiting for a command, and stays connected. */
static inline void respass_driver_connect(respass_driver *driver);

/* Ends everything: commands that wait get RESPASS_ERROR_CODE_CLOSED, then comes `on_closed`. Inside of a callback
 * that happens once the callback has returned. */
static inline void respass_driver_close(respass_driver *driver);

#include "respass_driver_parts.h"
#include "respass_driver_turn.h"

#include "respass_driver_subscribers.h"

#ifdef __cplusplus
}
#endif

#endif
