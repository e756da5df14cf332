/* RESPASS_CMD(client, &reply, &error, "SET", key, value): one command of arguments that end with a NUL. */
#ifndef RESPASS_INLINE_H
#define RESPASS_INLINE_H

#ifdef __cplusplus
template <typename... Arguments>
inline respass_result respass_cmd(respass_client *client, respass_reply **reply, respass_error *error,
                                  Arguments... arguments) {
    const char *const argv[] = {arguments...};
    return respass_command(client, sizeof...(arguments), argv, nullptr, reply, error);
}
#define RESPASS_CMD(client, reply, error, ...) respass_cmd(client, reply, error, __VA_ARGS__)
#else
#define RESPASS_CMD(client, reply, error, ...) \
    respass_command((client), sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *), \
                    (const char *[]){__VA_ARGS__}, NULL, (reply), (error))
#endif

/* The node behind a value and all that is inside of it: the next element. */
static inline const respass_node *respass_node_after(const respass_node *node) {
    int is_aggregate = node->kind == RESPASS_KIND_ARRAY || node->kind == RESPASS_KIND_MAP ||
                       node->kind == RESPASS_KIND_SET || node->kind == RESPASS_KIND_PUSH;
    return node + (is_aggregate ? node->value : 1);
}

/* The bytes of a string node. They do not end with a NUL. */
static inline respass_slice respass_node_text(const respass_node *node, respass_slice bytes) {
    respass_slice text;
    text.data = bytes.data + node->value;
    text.len = node->count;
    return text;
}

/* One of the messages of an output, as long as that is not cleared. */
static inline respass_message respass_output_message(const respass_output *output, size_t index) {
    const respass_message_entry *entry = output->messages + index;
    respass_message message;
    message.kind = entry->kind;
    message.count = entry->count;
    message.subscriber = output->id;
    message.pattern.data = output->bytes.data + entry->pattern_offset;
    message.pattern.len = (size_t)entry->pattern_len;
    message.channel.data = output->bytes.data + entry->channel_offset;
    message.channel.len = (size_t)entry->channel_len;
    message.payload.data = output->bytes.data + entry->payload_offset;
    message.payload.len = (size_t)entry->payload_len;
    return message;
}

#endif
