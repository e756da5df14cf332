/* What a driver does: tokens, turns, and the functions for programs; respass_driver.h includes it. */
#ifndef RESPASS_DRIVER_TURN_H
#define RESPASS_DRIVER_TURN_H

/* --- Tokens
 * --------------------------------------------------------------------------------------------------- */

static inline void respass_priv_leave_bell(respass_bell *bell) {
    size_t users;
    pthread_mutex_lock(&bell->lock);
    users = --bell->users;
    pthread_mutex_unlock(&bell->lock);
    if (users > 0) return;
    pthread_mutex_destroy(&bell->lock);
    free(bell);
}

/* A request was answered, on whatever thread. */
static inline void respass_priv_ring(void *data) {
    respass_bell *bell = (respass_bell *)data;
    pthread_mutex_lock(&bell->lock);
    if (bell->driver) bell->driver->loop->wake(bell->driver);
    pthread_mutex_unlock(&bell->lock);
    respass_priv_leave_bell(bell);
}

static inline void respass_priv_ask(respass_driver *driver) {
    respass_token_request *request;
    respass_result result;
    pthread_mutex_lock(&driver->bell->lock);
    driver->bell->users++;
    pthread_mutex_unlock(&driver->bell->lock);
    result = respass_token_request_new(driver->source, respass_priv_ring, driver->bell, &request);
    respass_priv_check(driver, result);
    if (result == RESPASS_RESULT_OK)
        driver->events.on_token_needed(driver, request, driver->events.data);
    else
        respass_priv_leave_bell(driver->bell);
}

static inline void respass_priv_need_token(respass_driver *driver, uint64_t newer_than) {
    respass_token *token = NULL;
    if (!driver->source) return;
    respass_priv_check(driver, respass_source_request(driver->source, newer_than, driver->now, &token));
    if (token) respass_priv_check(driver, respass_core_token(driver->core, token, driver->now));
    respass_token_free(token);
}

/* In respass_driver_subscribers.h. */
static inline void respass_priv_deliver_messages(respass_driver *driver, const respass_output *output);

/* --- The turn
 * ------------------------------------------------------------------------------------------------- */

static inline void respass_priv_transmit_to(respass_driver *driver, uint64_t conn) {
    respass_connection *connection = respass_priv_find(driver, conn);
    if (connection) respass_priv_transmit(connection);
}

static inline void respass_priv_obey(respass_driver *driver, const respass_output *output) {
    switch (output->kind) {
    case RESPASS_OUTPUT_KIND_CONNECT: respass_priv_connect(driver, output); break;
    case RESPASS_OUTPUT_KIND_DISCONNECT: respass_priv_disconnect(driver, output); break;
    case RESPASS_OUTPUT_KIND_TRANSMIT: respass_priv_transmit_to(driver, output->id); break;
    case RESPASS_OUTPUT_KIND_TOKEN_NEEDED: respass_priv_need_token(driver, output->id); break;
    case RESPASS_OUTPUT_KIND_REPLIES: respass_priv_deliver_replies(driver, output); break;
    case RESPASS_OUTPUT_KIND_FAILED:
        respass_priv_deliver_failure(driver, output->id, output->code, output->outcome, output->text);
        break;
    case RESPASS_OUTPUT_KIND_MESSAGES: respass_priv_deliver_messages(driver, output); break;
    case RESPASS_OUTPUT_KIND_FETCH: respass_priv_ask(driver); break;
    case RESPASS_OUTPUT_KIND_TOKEN:
        respass_priv_check(driver, respass_core_token(driver->core, output->token, driver->now));
        break;
    case RESPASS_OUTPUT_KIND_NOTICE:
    case RESPASS_OUTPUT_KIND_STATE:
        if (driver->events.on_notice) driver->events.on_notice(driver, output, driver->events.data);
        break;
    default: break;
    }
}

/* Obeys all outputs that there are. */
static inline void respass_priv_obey_all(respass_driver *driver) {
    respass_output output;
    while (driver->broken == RESPASS_RESULT_OK) {
        respass_priv_check(driver, respass_core_next_output(driver->core, &output));
        if (driver->broken != RESPASS_RESULT_OK) return;
        if (output.kind == RESPASS_OUTPUT_KIND_NONE && driver->source)
            respass_priv_check(driver, respass_source_next_output(driver->source, &output));
        if (driver->broken != RESPASS_RESULT_OK || output.kind == RESPASS_OUTPUT_KIND_NONE) return;
        respass_priv_obey(driver, &output);
        respass_priv_check(driver, respass_core_recycle(driver->core, &output));
    }
}

/* Hands the queued commands to the core. Their time begins now: the last turn may be long ago, and the
 * callbacks of this one may have taken long. */
static inline void respass_priv_flush(respass_driver *driver) {
    respass_commands *queue = &driver->queue;
    uint64_t first;
    if (driver->queued == 0) return;
    driver->queued = 0;
    respass_priv_read_clocks(driver);
    respass_priv_check(driver,
                       respass_core_submit_each(driver->core, queue->bytes, queue->bytes_len, queue->lengths,
                                                queue->lengths_len, driver->now, &first));
    queue->bytes_len = queue->lengths_len = 0;
}

static inline respass_slice respass_priv_why_broken(const respass_driver *driver) {
    static const char forked[] = "the process forked; a child opens drivers of its own";
    static const char bug[] = "respass met a bug of its own; this driver can only be closed";
    const char *why = driver->broken == RESPASS_RESULT_FORKED ? forked : bug;
    respass_slice text;
    text.data = (const uint8_t *)why;
    text.len = strlen(why);
    return text;
}

/* Everybody who waits hears why the core does nothing any more. */
static inline void respass_priv_fail_all(respass_driver *driver) {
    respass_slice text = respass_priv_why_broken(driver);
    uint32_t outcome =
        driver->broken == RESPASS_RESULT_FORKED ? RESPASS_OUTCOME_NOT_SENT : RESPASS_OUTCOME_INDETERMINATE;
    respass_priv_forget_all(driver);
    for (uint64_t id = driver->oldest, end = driver->next; id < end; id++)
        respass_priv_deliver_failure(driver, id, driver->broken, outcome, text);
}

static inline void respass_priv_end(respass_driver *driver) {
    driver->is_in_turn = driver->is_closing = driver->is_ended = true;
    respass_priv_flush(driver);
    respass_priv_check(driver, respass_core_close(driver->core, driver->now));
    respass_priv_obey_all(driver);
    respass_priv_fail_all(driver);
    pthread_mutex_lock(&driver->bell->lock);
    driver->bell->driver = NULL;
    pthread_mutex_unlock(&driver->bell->lock);
    driver->loop->end(driver);
}

/* The loop saw RESPASS_DRIVER_READABLE or _WRITABLE at the socket of this connection: the next turn sees to it. */
static inline void respass_driver_ready(respass_driver *driver, uint64_t conn, int ready) {
    respass_connection *connection = respass_priv_find(driver, conn);
    if (connection) connection->ready |= ready;
}

/* One turn of the loop: does all there is to do. False: the driver has ended. */
static inline bool respass_driver_turn(respass_driver *driver);

/* When respass_driver_turn wants to be called again, in microseconds of CLOCK_MONOTONIC. */
static inline uint64_t respass_driver_wakeup(respass_driver *driver) {
    uint64_t core = RESPASS_NEVER_US, source = RESPASS_NEVER_US;
    if (driver->broken != RESPASS_RESULT_OK) return RESPASS_NEVER_US;
    if (driver->is_due || driver->queued > 0) return driver->now.monotonic_us;
    respass_priv_check(driver, respass_core_next_wakeup(driver->core, driver->now, &core));
    if (driver->source) respass_priv_check(driver, respass_source_next_wakeup(driver->source, &source));
    return core < source ? core : source;
}

/* Reads what is here; after a failed write all of it, and then the connection is lost. */
static inline void respass_priv_read(respass_connection *connection) {
    respass_driver *driver = connection->driver;
    for (int reads = 0; connection->is_connected && (reads < RESPASS_READS_MAX || connection->write_error);
         reads++) {
        ssize_t len = recv(connection->fd, driver->received, sizeof driver->received, 0);
        if (len < 0 && errno == EINTR) continue;
        if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (connection->write_error)
                respass_priv_lost(connection, RESPASS_CAUSE_BROKEN, strerror(connection->write_error));
            return;
        }
        if (len <= 0) {
            respass_priv_lost(connection, len ? RESPASS_CAUSE_BROKEN : RESPASS_CAUSE_CLOSED,
                              len ? strerror(errno) : "the server closed the connection");
            return;
        }
        respass_priv_check(driver, respass_core_received(driver->core, connection->conn, driver->received,
                                                         (size_t)len, driver->now));
        respass_priv_obey_all(driver);
        if ((size_t)len < sizeof driver->received && !connection->write_error) return;
    }
}

/* Whether the socket that was being dialled is connected. */
static inline void respass_priv_dialled(respass_connection *connection) {
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &len)) error = errno;
    if (error == 0) {
        respass_priv_connected(connection);
        return;
    }
    respass_priv_close_socket(connection);
    respass_priv_dial_next(connection, error);
}

static inline void respass_priv_serve(respass_connection *connection) {
    int ready = connection->ready;
    connection->ready = 0;
    if (connection->fd < 0) return;
    if (ready && !connection->is_connected) {
        respass_priv_dialled(connection);
        return;
    }
    if (ready & RESPASS_DRIVER_READABLE || connection->write_error) respass_priv_read(connection);
    if (ready & RESPASS_DRIVER_WRITABLE) respass_priv_transmit(connection);
}

static inline bool respass_driver_turn(respass_driver *driver) {
    if (driver->is_in_turn || driver->is_ended) return !driver->is_ended;
    driver->is_in_turn = true;
    driver->is_due = false;
    respass_priv_read_clocks(driver);
    /* The list may grow meanwhile. */
    for (size_t i = 0; i < driver->connections_len; i++) respass_priv_serve(driver->connections[i]);
    respass_priv_check(driver, respass_core_timeout(driver->core, driver->now));
    if (driver->source) respass_priv_check(driver, respass_source_timeout(driver->source, driver->now));
    respass_priv_obey_all(driver);
    respass_priv_flush(driver);
    respass_priv_obey_all(driver);
    if (driver->broken != RESPASS_RESULT_OK) respass_priv_fail_all(driver);
    respass_priv_sweep(driver);
    driver->is_in_turn = false;
    if (!driver->is_closing) return true;
    respass_priv_end(driver);
    return false;
}

/* --- What programs call
 * --------------------------------------------------------------------------------------- */

/* Whether a command can be accepted now, as a result. */
static inline respass_result respass_priv_is_open(const respass_driver *driver) {
    return driver->is_closing ? (respass_result)RESPASS_ERROR_CODE_CLOSED : driver->broken;
}

/* Has what was submitted since the last turn go out before the loop waits. */
static inline void respass_priv_soon(respass_driver *driver) {
    if (driver->is_in_turn || driver->is_due) return;
    driver->is_due = true;
    driver->loop->soon(driver);
}

/* The core took a command: the next number is its own. */
static inline respass_result respass_priv_accepted(respass_driver *driver, respass_reply_fn *on_reply,
                                                   void *data, uint64_t *command) {
    if (command) *command = driver->next;
    if (!respass_priv_add_waiter(driver, on_reply, data)) driver->broken = RESPASS_ERROR_CODE_QUEUE_FULL;
    respass_priv_soon(driver);
    return driver->broken;
}

static inline bool respass_priv_fits_queue(const respass_driver *driver, size_t argc, const char *const *argv,
                                           const size_t *argv_len) {
    size_t len = driver->queue.bytes_len;
    for (size_t i = 0; i < argc && len <= RESPASS_QUEUE_LEN_MAX; i++)
        len += respass_priv_argument_len(argv, argv_len, i);
    return len <= RESPASS_QUEUE_LEN_MAX;
}

/* Past the queue: a command with a time limit of its own, or a large one. */
static inline respass_result respass_priv_submit_alone(respass_driver *driver, size_t argc,
                                                       const char *const *argv, const size_t *argv_len,
                                                       uint64_t timeout_us) {
    uint64_t command;
    respass_priv_read_clocks(driver);
    respass_priv_flush(driver);
    return respass_core_submit(driver->core, argc, argv, argv_len, timeout_us, driver->now, &command);
}

/* Many commands at once go out in parts, each as large as all that is on its way: the server works on one while the
 * program makes the next. */
static inline void respass_priv_send_part(respass_driver *driver) {
    if (driver->queued < RESPASS_PART_MIN || driver->queued * 2 < driver->next - driver->oldest) return;
    respass_priv_flush(driver);
    respass_priv_transmit_all(driver);
}

static inline respass_result respass_driver_submit(respass_driver *driver, size_t argc,
                                                   const char *const *argv, const size_t *argv_len,
                                                   uint64_t timeout_us, respass_reply_fn *on_reply,
                                                   void *data, uint64_t *command) {
    respass_result result = respass_priv_is_open(driver);
    if (result != RESPASS_RESULT_OK) return result;
    if (timeout_us == 0 && respass_priv_fits_queue(driver, argc, argv, argv_len)) {
        result = respass_commands_add(&driver->queue, argc, argv, argv_len);
        if (result == RESPASS_RESULT_OK) driver->queued++;
    } else
        result = respass_priv_submit_alone(driver, argc, argv, argv_len, timeout_us);
    if (result != RESPASS_RESULT_OK) return result;
    result = respass_priv_accepted(driver, on_reply, data, command);
    respass_priv_send_part(driver);
    return result;
}

static inline respass_result respass_driver_submit_texts(respass_driver *driver, respass_reply_fn *on_reply,
                                                         void *data, ...) {
    const char *argv[64];
    size_t argc = 0;
    va_list texts;
    va_start(texts, data);
    while (argc < 64 && (argv[argc] = va_arg(texts, const char *))) argc++;
    va_end(texts);
    if (argc == 64) return RESPASS_RESULT_ARGUMENT;
    return respass_driver_submit(driver, argc, argv, NULL, 0, on_reply, data, NULL);
}

static inline respass_result respass_driver_transaction(respass_driver *driver,
                                                        const respass_commands *commands,
                                                        respass_reply_fn *on_reply, void *data,
                                                        uint64_t *command) {
    uint64_t number;
    respass_result result = respass_priv_is_open(driver);
    if (result != RESPASS_RESULT_OK) return result;
    respass_priv_read_clocks(driver);
    respass_priv_flush(driver);
    result = respass_core_submit_transaction(driver->core, commands->bytes, commands->bytes_len,
                                             commands->lengths, commands->lengths_len, driver->now, &number);
    return result == RESPASS_RESULT_OK ? respass_priv_accepted(driver, on_reply, data, command) : result;
}

static inline void respass_driver_cancel(respass_driver *driver, uint64_t command) {
    if (respass_priv_is_open(driver) != RESPASS_RESULT_OK) return;
    respass_priv_flush(driver);
    respass_priv_check(driver, respass_core_cancel(driver->core, command));
    respass_priv_soon(driver);
}

static inline void respass_driver_connect(respass_driver *driver) {
    if (respass_priv_is_open(driver) != RESPASS_RESULT_OK) return;
    respass_priv_read_clocks(driver);
    respass_priv_check(driver, respass_core_connect(driver->core, driver->now));
    respass_priv_soon(driver);
}

static inline void respass_driver_close(respass_driver *driver) {
    if (driver->is_closing) return;
    driver->is_closing = true;
    if (driver->is_in_turn) return;
    respass_priv_read_clocks(driver);
    respass_priv_end(driver);
}

/* --- What adapters call to begin and to end
 * ------------------------------------------------------------------- */

/* 32 bytes of the system's randomness. */
static inline bool respass_priv_read_seed(uint8_t seed[32]) {
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    ssize_t len;
    if (fd < 0) return false;
    do len = read(fd, seed, 32);
    while (len < 0 && errno == EINTR);
    close(fd);
    return len == 32;
}

static inline respass_bell *respass_priv_new_bell(respass_driver *driver) {
    respass_bell *bell = (respass_bell *)calloc(1, sizeof *bell);
    if (!bell) return NULL;
    pthread_mutex_init(&bell->lock, NULL);
    bell->users = 1;
    bell->driver = driver;
    return bell;
}

/* Releases what respass_driver_start made; the adapter then frees its memory and calls `on_closed`. */
static inline void respass_driver_free(respass_driver *driver) {
    driver->is_ended = true;
    respass_priv_forget_all(driver);
    respass_priv_sweep(driver);
    free(driver->connections);
    free(driver->subscribers);
    respass_core_free(driver->core);
    respass_source_free(driver->source);
    if (driver->bell) respass_priv_leave_bell(driver->bell);
    respass_commands_clear(&driver->queue);
    free(driver->waiters);
}

/* Fills in a driver in zeroed memory. Where it fails, respass_driver_free is to be called all the same, and
 * respass_config_error_text may say why. */
static inline respass_result respass_driver_start(respass_driver *driver, const respass_loop *loop,
                                                  respass_config *config,
                                                  const respass_driver_events *events) {
    uint8_t seed[32];
    respass_result result;
    driver->loop = loop;
    driver->oldest = driver->next = 1;
    if (events) driver->events = *events;
    respass_priv_read_clocks(driver);
    driver->bell = respass_priv_new_bell(driver);
    if (!driver->bell || !respass_priv_read_seed(seed)) return RESPASS_ERROR_CODE_INVALID_CONFIG;
    result = respass_core_new(config, seed, driver->now, &driver->core);
    if (result != RESPASS_RESULT_OK || !driver->events.on_token_needed) return result;
    result = respass_source_new(seed, driver->now, &driver->source);
    return result == RESPASS_RESULT_OK ? respass_source_subscribe(driver->source) : result;
}

#endif
