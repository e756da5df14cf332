/* respass in C, by its blocking functions, doing what hiredis.c does by those of hiredis.
 *
 *   respass_blocking WORKLOAD HOST PORT SECONDS TASKS [CA USER PASSWORD]
 */
#define _POSIX_C_SOURCE 200809L
#include <respass.h>

#include "workload.h"

static respass_client *client;
static respass_error error;

static void check(respass_result result) {
    if (result) die(error.message);
}

static void run_batch(const char *name, int count) {
    int is_set = name[0] == 'S';
    for (int i = 0; i < count; i++) {
        const char *argv[] = {name, keys[i].text, value};
        size_t lengths[] = {3, keys[i].len, VALUE_LEN};
        check(respass_append(client, is_set ? 3 : 2, argv, lengths, &error));
    }
    for (size_t left = (size_t)count; left > 0;) {
        respass_output replies;
        check(respass_next_replies(client, &replies, &error));
        for (size_t i = 0; i < replies.answers_len; i++) {
            const respass_node *reply = replies.nodes + replies.answers[i].node;
            if (reply->kind == RESPASS_KIND_ERROR) die("an error reply");
            if (!is_set && reply->count != VALUE_LEN) die("a reply of another length");
        }
        left -= replies.answers_len;
        respass_output_clear(&replies);
    }
}

static void ask(size_t expected, const char *name, const char *key) {
    respass_reply *reply;
    size_t len;
    if (name[0] == 'L')
        check(RESPASS_CMD(client, &reply, &error, name, key, "0", "-1"));
    else
        check(RESPASS_CMD(client, &reply, &error, name, key));
    if (respass_reply_length(reply, &len) || len != expected) die("a reply of another length");
    respass_reply_free(reply);
}

static void connect_to(char **argv) {
    respass_config *config;
    static char pem[65536];
    if (respass_config_new(argv[2], strlen(argv[2]), (uint16_t)atoi(argv[3]), &config)) die("configuration");
    if (argv[6]) {
        FILE *file = fopen(argv[6], "r");
        if (!file || respass_config_add_ca(config, pem, fread(pem, 1, sizeof pem, file))) die(argv[6]);
        fclose(file);
        respass_config_set_password(config, argv[7], strlen(argv[7]), argv[8], strlen(argv[8]));
    }
    check(respass_open(config, &client, &error));
    respass_config_free(config);
}

int main(int argc, char **argv) {
    const struct client blocking = {connect_to, run_batch, ask, NULL};
    return run_workload(&blocking, argc, argv);
}
