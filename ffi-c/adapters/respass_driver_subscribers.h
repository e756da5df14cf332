/* Subscribers and sessions of a driver; respass_driver.h includes it. */
#ifndef RESPASS_DRIVER_SUBSCRIBERS_H
#define RESPASS_DRIVER_SUBSCRIBERS_H

/* --- Subscribers
 * ---------------------------------------------------------------------------------------------- */

static inline respass_subscriber *respass_priv_find_subscriber(const respass_driver *driver,
                                                               uint64_t number) {
    for (size_t i = 0; i < driver->subscribers_len; i++)
        if (driver->subscribers[i].number == number) return &driver->subscribers[i];
    return NULL;
}

/* A callback may close its own subscriber and open others. */
static inline void respass_priv_deliver_messages(respass_driver *driver, const respass_output *output) {
    for (size_t i = 0; i < output->messages_len; i++) {
        respass_message message = respass_output_message(output, i);
        const respass_subscriber *found = respass_priv_find_subscriber(driver, output->id);
        respass_subscriber subscriber;
        if (!found) return;
        subscriber = *found;
        subscriber.on_message(driver, &message, subscriber.data);
    }
}

/* Room for one more; then the core is asked. */
static inline respass_result respass_priv_prepare_subscriber(respass_driver *driver,
                                                             respass_message_fn *on_message) {
    void *list = driver->subscribers;
    respass_result result = respass_priv_is_open(driver);
    if (result != RESPASS_RESULT_OK) return result;
    if (!on_message) return RESPASS_RESULT_NULL;
    if (!respass_priv_reserve(&list, &driver->subscribers_max, driver->subscribers_len, 1,
                              sizeof *driver->subscribers))
        return RESPASS_ERROR_CODE_QUEUE_FULL;
    driver->subscribers = (respass_subscriber *)list;
    respass_priv_read_clocks(driver);
    return RESPASS_RESULT_OK;
}

static inline void respass_priv_keep_subscriber(respass_driver *driver, uint64_t number,
                                                respass_message_fn *on_message, void *data) {
    respass_subscriber *subscriber = &driver->subscribers[driver->subscribers_len++];
    subscriber->number = number;
    subscriber->on_message = on_message;
    subscriber->data = data;
    respass_priv_soon(driver);
}

static inline respass_result respass_driver_open_subscriber(respass_driver *driver,
                                                            respass_message_fn *on_message, void *data,
                                                            uint64_t *subscriber) {
    uint64_t number;
    respass_result result = respass_priv_prepare_subscriber(driver, on_message);
    if (result == RESPASS_RESULT_OK)
        result = respass_core_open_subscriber(driver->core, driver->now, &number);
    if (result != RESPASS_RESULT_OK) return result;
    respass_priv_keep_subscriber(driver, number, on_message, data);
    if (subscriber) *subscriber = number;
    return result;
}

static inline respass_result respass_driver_open_monitor(respass_driver *driver,
                                                         respass_message_fn *on_message, void *data,
                                                         uint64_t *subscriber) {
    uint64_t number;
    respass_result result = respass_priv_prepare_subscriber(driver, on_message);
    if (result == RESPASS_RESULT_OK)
        result = respass_core_open_monitor(driver->core, driver->now, &number);
    if (result != RESPASS_RESULT_OK) return result;
    respass_priv_keep_subscriber(driver, number, on_message, data);
    if (subscriber) *subscriber = number;
    return result;
}

static inline respass_result respass_driver_subscribe(respass_driver *driver, uint64_t subscriber,
                                                      uint32_t kind, size_t count,
                                                      const char *const *channels,
                                                      const size_t *channels_len) {
    respass_result result = respass_priv_is_open(driver);
    if (result != RESPASS_RESULT_OK) return result;
    respass_priv_read_clocks(driver);
    result = respass_core_subscribe(driver->core, subscriber, kind, count, channels, channels_len,
                                    driver->now);
    respass_priv_soon(driver);
    return result;
}

static inline respass_result respass_driver_unsubscribe(respass_driver *driver, uint64_t subscriber,
                                                        uint32_t kind, size_t count,
                                                        const char *const *channels,
                                                        const size_t *channels_len) {
    respass_result result = respass_priv_is_open(driver);
    if (result != RESPASS_RESULT_OK) return result;
    respass_priv_read_clocks(driver);
    result = respass_core_unsubscribe(driver->core, subscriber, kind, count, channels, channels_len,
                                      driver->now);
    respass_priv_soon(driver);
    return result;
}

static inline void respass_driver_close_subscriber(respass_driver *driver, uint64_t subscriber) {
    respass_subscriber *found = respass_priv_find_subscriber(driver, subscriber);
    if (!found || respass_priv_is_open(driver) != RESPASS_RESULT_OK) return;
    *found = driver->subscribers[--driver->subscribers_len];
    respass_priv_read_clocks(driver);
    respass_priv_check(driver, respass_core_close_subscriber(driver->core, subscriber, driver->now));
    respass_priv_soon(driver);
}

/* --- Sessions
 * ------------------------------------------------------------------------------------------------- */

static inline respass_result respass_driver_open_session(respass_driver *driver, uint64_t *session) {
    respass_result result = respass_priv_is_open(driver);
    if (result != RESPASS_RESULT_OK) return result;
    respass_priv_read_clocks(driver);
    return respass_core_open_session(driver->core, driver->now, session);
}

static inline respass_result respass_driver_submit_in(respass_driver *driver, uint64_t session, size_t argc,
                                                      const char *const *argv, const size_t *argv_len,
                                                      uint64_t timeout_us, respass_reply_fn *on_reply,
                                                      void *data, uint64_t *command) {
    uint64_t number;
    respass_result result = respass_priv_is_open(driver);
    if (result != RESPASS_RESULT_OK) return result;
    respass_priv_read_clocks(driver);
    respass_priv_flush(driver);
    result = respass_core_submit_in(driver->core, session, argc, argv, argv_len, timeout_us, driver->now,
                                    &number);
    return result == RESPASS_RESULT_OK ? respass_priv_accepted(driver, on_reply, data, command) : result;
}

static inline respass_result respass_driver_transaction_in(respass_driver *driver, uint64_t session,
                                                           const respass_commands *commands,
                                                           respass_reply_fn *on_reply, void *data,
                                                           uint64_t *command) {
    uint64_t number;
    respass_result result = respass_priv_is_open(driver);
    if (result != RESPASS_RESULT_OK) return result;
    respass_priv_read_clocks(driver);
    respass_priv_flush(driver);
    result = respass_core_submit_transaction_in(driver->core, session, commands->bytes, commands->bytes_len,
                                                commands->lengths, commands->lengths_len, driver->now,
                                                &number);
    return result == RESPASS_RESULT_OK ? respass_priv_accepted(driver, on_reply, data, command) : result;
}

static inline void respass_driver_close_session(respass_driver *driver, uint64_t session) {
    if (respass_priv_is_open(driver) != RESPASS_RESULT_OK) return;
    respass_priv_read_clocks(driver);
    respass_priv_flush(driver);
    respass_priv_check(driver, respass_core_close_session(driver->core, session, driver->now));
    respass_priv_soon(driver);
}

#endif
