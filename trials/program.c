/* The trial's load in C, over the blocking surface: one worker. What it does is told by the environment; the steps
 * are those of steps.py. */
#define _POSIX_C_SOURCE 200809L
#include <poll.h>
#include <respass.h>
#include <stdarg.h>
#include <time.h>

#include "app_service_token.h"

enum { LEDGERS = 48, OWN_KEYS = 4, STEPS = 10, TEXT_LEN = 160, JSON_LEN = 800 };

static const char *const CYCLE[STEPS] = {"count", "set", "count", "get", "multi", "set", "mget", "count", "get", "del"};

typedef struct worker {
    char name[64];
    long seed, made, generation;
    char values[OWN_KEYS][TEXT_LEN]; /* empty: there is none */
} worker;

/* One command, or the two of a transaction. */
typedef struct step {
    char id[TEXT_LEN], key[OWN_KEYS][TEXT_LEN], wants[JSON_LEN];
    const char *op;
    int own, keys;
} step;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void answer(void *data, respass_token_request *request) {
    app_service_token *token = malloc(sizeof *token);
    (void)data;
    app_service_fetch(token);
    if (token->token)
        respass_token_request_resolve(request, token->token, token->token_len, token->expires_on_us, 0, 0);
    else
        respass_token_request_fail(request, token->error, strlen(token->error), (uint16_t)token->status, 0, 0);
    free(token);
}

static respass_config *configuration(void) {
    static char pem[65536];
    const char *host = getenv("TRIAL_HOST"), *ca = getenv("TRIAL_CA"), *password = getenv("TRIAL_PASSWORD");
    respass_config *config;
    respass_config_new(host, strlen(host), (uint16_t)atoi(getenv("TRIAL_PORT")), &config);
    if (ca && *ca) {
        FILE *file = fopen(ca, "r");
        size_t pem_len = file ? fread(pem, 1, sizeof pem, file) : 0;
        if (file) fclose(file);
        respass_config_add_ca(config, pem, pem_len);
    }
    if (password) respass_config_set_password(config, "", 0, password, strlen(password));
    if (getenv("IDENTITY_ENDPOINT")) {
        respass_credential *credential;
        respass_credential_callback(answer, NULL, &credential);
        respass_config_set_credential(config, credential);
        respass_credential_free(credential);
    }
    return config;
}

/* Text as JSON has it. */
static void write_text(FILE *file, const char *text, size_t len) {
    fputc('"', file);
    for (size_t at = 0; at < len; at++) {
        unsigned char byte = (unsigned char)text[at];
        if (byte < 32 || byte == '"' || byte == '\\')
            fprintf(file, "\\u%04x", byte);
        else
            fputc(byte, file);
    }
    fputc('"', file);
}

/* A number, a text, nothing, or an array of these. */
static void write_reply(FILE *file, const respass_reply *reply) {
    respass_tape tape;
    respass_reply_tape(reply, &tape);
    int is_array = tape.nodes->kind == RESPASS_KIND_ARRAY;
    const respass_node *node = is_array ? tape.nodes + 1 : tape.nodes;
    if (is_array) fputc('[', file);
    for (uint32_t at = 0, count = is_array ? tape.nodes->count : 1; at < count; at++, node = respass_node_after(node)) {
        if (at) fputc(',', file);
        if (node->kind == RESPASS_KIND_NULL) {
            fputs("null", file);
        } else if (node->kind == RESPASS_KIND_INTEGER) {
            fprintf(file, "%lld", (long long)node->value);
        } else {
            respass_slice text = respass_node_text(node, tape.bytes);
            write_text(file, (const char *)text.data, text.len);
        }
    }
    if (is_array) fputc(']', file);
}

static const char *own_key(const worker *me, int number, char *key) {
    snprintf(key, TEXT_LEN, "own:%s.%ld:%d", me->name, me->generation, number % OWN_KEYS);
    return key;
}

static void append(char *text, const char *format, ...) {
    size_t len = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + len, JSON_LEN - len, format, arguments);
    va_end(arguments);
}

static void append_value(char *text, const char *value) {
    append(text, *value ? "\"%s\"" : "null", value);
}

static step next_step(worker *me) {
    step it = {.op = CYCLE[++me->made % STEPS], .own = (int)(me->made % OWN_KEYS), .keys = 1};
    snprintf(it.id, sizeof it.id, "%.60s.%ld", me->name, me->made);
    own_key(me, it.own, it.key[0]);
    if (!strcmp(it.op, "count") || !strcmp(it.op, "multi")) {
        snprintf(it.key[0], TEXT_LEN, "ledger:{%ld}", (me->seed + me->made * 7) % LEDGERS);
        append(it.wants, *it.op == 'c' ? "1" : "[1,1]");
    } else if (!strcmp(it.op, "set")) {
        append(it.wants, "\"OK\"");
    } else if (!strcmp(it.op, "get")) {
        append_value(it.wants, me->values[it.own]);
    } else if (!strcmp(it.op, "mget")) {
        for (it.keys = 0; it.keys < OWN_KEYS; it.keys++) {
            own_key(me, it.keys, it.key[it.keys]);
            append(it.wants, it.keys ? "," : "[");
            append_value(it.wants, me->values[it.keys]);
        }
        append(it.wants, "]");
    } else {
        own_key(me, it.own + 1, it.key[it.keys++]);
        append(it.wants, "%d", (*me->values[it.own] != 0) + (*me->values[(it.own + 1) % OWN_KEYS] != 0));
    }
    return it;
}

static respass_result run_transaction(respass_client *client, const step *it, respass_reply **reply,
                                      respass_error *error) {
    respass_batch *batch;
    respass_result result;
    respass_batch_new(&batch);
    for (const char *part = "ab"; *part; part++) {
        char id[TEXT_LEN + 2];
        snprintf(id, sizeof id, "%s.%c", it->id, *part);
        respass_batch_add(batch, 4, (const char *[]){"HINCRBY", it->key[0], id, "1"}, NULL);
    }
    result = respass_transaction(client, batch, reply, error);
    respass_batch_free(batch);
    return result;
}

static respass_result run(respass_client *client, const step *it, respass_reply **reply, respass_error *error) {
    const char *argv[OWN_KEYS + 1] = {*it->op == 'm' ? "MGET" : "DEL"};
    if (!strcmp(it->op, "multi")) return run_transaction(client, it, reply, error);
    if (!strcmp(it->op, "count")) return RESPASS_CMD(client, reply, error, "HINCRBY", it->key[0], it->id, "1");
    if (!strcmp(it->op, "set")) return RESPASS_CMD(client, reply, error, "SET", it->key[0], it->id);
    if (!strcmp(it->op, "get")) return RESPASS_CMD(client, reply, error, "GET", it->key[0]);
    for (int key = 0; key < it->keys; key++) argv[key + 1] = it->key[key];
    return respass_command(client, (size_t)it->keys + 1, argv, NULL, reply, error);
}

/* What became of a step. A key whose write is uncertain is never used again. */
static void learn(worker *me, const step *it, uint32_t outcome) {
    int is_set = !strcmp(it->op, "set"), is_del = !strcmp(it->op, "del");
    if ((!is_set && !is_del) || outcome == RESPASS_OUTCOME_NOT_SENT || outcome == RESPASS_OUTCOME_REFUSED) return;
    if (outcome) {
        me->generation++;
        memset(me->values, 0, sizeof me->values);
        return;
    }
    snprintf(me->values[it->own], TEXT_LEN, "%s", is_set ? it->id : "");
    if (is_del) *me->values[(it->own + 1) % OWN_KEYS] = 0;
}

static void work(respass_client *client, worker *me, FILE *file) {
    static const char *const OUTCOMES[] = {"replied", "not_sent", "indeterminate", "refused"};
    step it = next_step(me);
    double began = now();
    respass_reply *reply = NULL;
    respass_error error = {0, 0, "", ""};
    int has_failed = run(client, &it, &reply, &error) != RESPASS_RESULT_OK;
    uint32_t outcome = has_failed ? error.outcome : 0;
    int is_known = has_failed ? outcome > 0 && outcome <= 3 : 1;
    fprintf(file, "{\"client\":\"%s\",\"op\":\"%s\",\"id\":\"%s\",\"key\":\"%s\",\"began\":%f,\"ended\":%f,", me->name,
            it.op, it.id, it.key[0], began, now());
    fprintf(file, "\"outcome\":\"%s\",\"wants\":%s,\"reply\":", is_known ? OUTCOMES[outcome] : "unknown", it.wants);
    if (reply)
        write_reply(file, reply);
    else
        fputs("null", file);
    fputs(",\"error\":", file);
    write_text(file, error.message, strlen(error.message));
    fputs("}\n", file);
    respass_reply_free(reply);
    learn(me, &it, is_known ? outcome : RESPASS_OUTCOME_INDETERMINATE);
}

/* The starter closes our standard input when it is time. */
static int goes_on(void) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    return poll(&input, 1, 0) == 0;
}

int main(void) {
    static worker me;
    char path[512];
    double flushed = 0;
    respass_client *client;
    respass_error error;
    respass_config *config = configuration();
    snprintf(me.name, sizeof me.name, "%s-0", getenv("TRIAL_NAME"));
    for (const char *at = me.name; *at; at++) me.seed += *at;
    snprintf(path, sizeof path, "%s/%s.records", getenv("TRIAL_FOLDER"), getenv("TRIAL_NAME"));
    FILE *file = fopen(path, "w");
    if (!file || respass_open(config, &client, &error)) {
        fprintf(stderr, "%s: %s\n", path, file ? error.message : "cannot be written");
        return 1;
    }
    respass_config_free(config);
    while (goes_on()) {
        work(client, &me, file);
        if (now() > flushed + 0.5) {
            fflush(file);
            flushed = now();
        }
        respass_client_idle(client, 10000);
    }
    respass_close(client);
    return fclose(file) != 0;
}
