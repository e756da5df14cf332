/* Plays the conversation vectors against the library: vectors ROOT NAME…; see tests/vectors/README.md. */
#include "vector_text.h"

#define NEW_LABELS_MAX 256

static const char *const NOTICES[] = {"other", "ready", "connection-lost", "login-refused", "reauthenticated",
    "reauth-refused", "clock-is-wrong", "clock-jumped", "identity-changed"};
static const char *const OUTCOMES[] = {"", "not-sent", "indeterminate", "refused"};
static const char *const STATES[] = {"other", "empty", "fresh", "renewing", "late", "expired"};

static const char *root;
static respass_core *core;
static respass_source *source;
static respass_now now;
static struct { uint64_t id; char label[16]; } calls[NEW_LABELS_MAX];
static size_t calls_len;
static uint64_t transmit;
static int is_held;
static text outcomes, notices, doings;

/* Where a call that the vector does not expect to fail does fail, the run ends. */
static void check(respass_result result) {
    if (result == RESPASS_RESULT_OK) return;
    fprintf(stderr, "a call was refused: %u\n", (unsigned)result);
    exit(2);
}

static const char *label_of(uint64_t id) {
    size_t i = 0;
    while (calls[i].id != id) i++;
    return calls[i].label;
}

static void fail(const char *label, unsigned code, unsigned outcome, respass_slice why) {
    putf(&outcomes, "    failed %s %u %s ", label, code, OUTCOMES[outcome]);
    quote(&outcomes, why.data, why.len);
    putf(&outcomes, "\n");
}

static void show_replies(const respass_output *output) {
    for (size_t i = 0; i < output->answers_len; i++) {
        const respass_node *node = &output->nodes[output->answers[i].node];
        int is_error = node->kind == RESPASS_KIND_ERROR;
        putf(&outcomes, "    %s %s ", is_error ? "failed" : "reply", label_of(output->answers[i].command));
        if (is_error) server_error(&outcomes, (const char *)output->bytes.data + node->value, node->count);
        else value(&outcomes, output, node);
        putf(&outcomes, "\n");
    }
}

static void act(const respass_output *output) {
    respass_token *token = NULL;
    switch (output->kind) {
    case RESPASS_OUTPUT_KIND_CONNECT:
        putf(&doings, "    open %u %.*s:%u\n", (unsigned)output->id, (int)output->text.len,
            (const char *)output->text.data, (unsigned)output->code);
        break;
    case RESPASS_OUTPUT_KIND_DISCONNECT: putf(&doings, "    close %u\n", (unsigned)output->id); break;
    case RESPASS_OUTPUT_KIND_TRANSMIT: transmit = output->id; break;
    case RESPASS_OUTPUT_KIND_TOKEN_NEEDED:
        putf(&doings, "    token-needed %u\n", (unsigned)output->id);
        check(respass_source_request(source, output->id, now, &token));
        if (token != NULL) check(respass_core_token(core, token, now));
        respass_token_free(token);
        break;
    case RESPASS_OUTPUT_KIND_REPLIES: show_replies(output); break;
    case RESPASS_OUTPUT_KIND_FAILED: fail(label_of(output->id), output->code, output->outcome, output->text); break;
    case RESPASS_OUTPUT_KIND_NOTICE:
        putf(&notices, "    notice %s ", NOTICES[output->code]);
        quote(&notices, output->text.data, output->text.len);
        putf(&notices, "\n");
        break;
    case RESPASS_OUTPUT_KIND_FETCH: putf(&doings, "    fetch\n"); break;
    case RESPASS_OUTPUT_KIND_TOKEN: check(respass_core_token(core, output->token, now)); break;
    case RESPASS_OUTPUT_KIND_STATE: putf(&doings, "    supply %s\n", STATES[output->code]); break;
    }
}

/* Hands what is ready to the socket, a line for each command; whether there was anything. */
static int send_piece(void) {
    respass_slice piece;
    if (core == NULL || transmit == 0) return 0;
    check(respass_core_transmit(core, transmit, now, &piece));
    const char *at = (const char *)piece.data, *end = at + piece.len;
    while (at < end) {
        const char *next = at + 1;
        while (next < end && (*next != '*' || next[-1] != '\n' || next[-2] != '\r')) next++;
        if (next - at == 37 && memcmp(at, "*2\r\n$4\r\nPING\r\n$16\r\n", 19) == 0) memcpy(nonce, at + 19, 16);
        putf(&doings, "    send %u ", (unsigned)transmit);
        quote(&doings, at, (size_t)(next - at));
        putf(&doings, "\n");
        at = next;
    }
    check(respass_core_transmitted(core, transmit, piece.len, now));
    return piece.len > 0;
}

/* Does what the machines want done; whether there was anything. Bytes leave when all else is done. */
static int obey(void) {
    respass_output output;
    int is_busy = 0;
    for (; core != NULL; is_busy = 1, respass_output_clear(&output)) {
        check(respass_core_next_output(core, &output));
        if (output.kind == RESPASS_OUTPUT_KIND_NONE) break;
        act(&output);
    }
    for (;; is_busy = 1, respass_output_clear(&output)) {
        check(respass_source_next_output(source, &output));
        if (output.kind == RESPASS_OUTPUT_KIND_NONE) break;
        act(&output);
    }
    return is_busy || (!is_held && send_piece());
}

static uint64_t micros(const char *seconds) { return (uint64_t)(strtod(seconds, NULL) * 1e6 + 0.5); }

static void pass(uint64_t us) {
    now.monotonic_us += us;
    now.unix_us += us;
    if (core != NULL) check(respass_core_timeout(core, now));
    check(respass_source_timeout(source, now));
}

static void timer(void) {
    uint64_t at, other;
    check(respass_core_next_wakeup(core, now, &at));
    check(respass_source_next_wakeup(source, &other));
    if (other < at) at = other;
    if (at == RESPASS_NEVER_US) {
        putf(&doings, "    no timer\n");
        return;
    }
    at = at > now.monotonic_us ? at - now.monotonic_us : 0;
    putf(&doings, "    waited %.6fs\n", (double)at / 1e6);
    pass(at);
}

static void configure(char *pairs) {
    respass_config *config;
    const char *host = "localhost", *user = "", *password = NULL, *is_token = NULL;
    for (char *pair = pairs; *pair != 0; pair += strcspn(pair, " "), pair += *pair == ' ') {
        if (strncmp(pair, "host=", 5) == 0) host = pair + 5;
    }
    check(respass_config_new(host, strcspn(host, " "), 6379, &config));
    for (char *pair = pairs; *pair != 0; pair += strcspn(pair, " "), pair += *pair == ' ') {
        const char *of = strchr(pair, '=') + 1;
        if (strncmp(pair, "user=", 5) == 0) user = of;
        if (strncmp(pair, "password=", 9) == 0) password = of;
        if (strncmp(pair, "token=", 6) == 0) is_token = of;
        if (strncmp(pair, "plaintext=", 10) == 0) check(respass_config_allow_plaintext_token(config));
        if (strncmp(pair, "name=", 5) == 0) check(respass_config_set_client_name(config, of, strcspn(of, " ")));
        if (strncmp(pair, "db=", 3) == 0) check(respass_config_set_database(config, (uint32_t)strtoul(of, NULL, 10)));
        if (strncmp(pair, "command=", 8) == 0) {
            check(respass_config_set_timeout(config, RESPASS_TIMER_COMMAND, micros(of)));
        }
        if (strncmp(pair, "connect=", 8) == 0) {
            check(respass_config_set_timeout(config, RESPASS_TIMER_CONNECT, micros(of)));
        }
    }
    size_t user_len = strcspn(user, " ");
    if (is_token != NULL) check(respass_config_set_token(config, user, user_len));
    else if (password != NULL) {
        check(respass_config_set_password(config, user, user_len, password, strcspn(password, " ")));
    }
    static const uint8_t seed[32] = {7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        7, 7, 7, 7, 7};
    if (respass_core_new(config, seed, now, &core) != RESPASS_RESULT_OK) {
        respass_slice why;
        check(respass_config_error_text(config, &why));
        putf(&doings, "    invalid ");
        quote(&doings, why.data, why.len);
        putf(&doings, "\n");
    }
    respass_config_free(config);
}

static void submit(const char *label, size_t label_len, const char *words, int is_transaction) {
    uint32_t lengths[4096];
    size_t count = 0, head = 0;
    text bytes = {0};
    uint64_t id;
    put(&bytes, "", 0);
    lengths[count++] = 0;
    for (;; words++) {
        size_t len = strcspn(words, " ");
        if (len == 1 && *words == '|') {
            head = count;
            lengths[count++] = 0;
        } else {
            text word = bytes_of(words, len);
            put(&bytes, word.at, word.len);
            lengths[head]++;
            lengths[count++] = (uint32_t)word.len;
            free(word.at);
        }
        words += len;
        if (*words == 0) break;
    }
    snprintf(calls[calls_len].label, sizeof calls->label, "%.*s", (int)label_len, label);
    respass_result result = is_transaction
        ? respass_core_submit_transaction(core, bytes.at, bytes.len, lengths, count, now, &id)
        : respass_core_submit_batch(core, bytes.at, bytes.len, lengths, count, now, &id);
    if (result == RESPASS_RESULT_OK) {
        calls[calls_len++].id = id;
    } else {
        respass_slice why;
        check(respass_core_error_text(core, &why));
        fail(calls[calls_len].label, result, RESPASS_OUTCOME_NOT_SENT, why);
    }
    free(bytes.at);
}

static void fetched(const char *name, size_t len, const char *times) {
    token *known = token_named(name, len);
    char *next = (char *)times;
    uint64_t expires_on = strtoull(next + (*next == '-'), &next, 10);
    uint64_t refresh_on = strtoull(next + strspn(next, " -"), &next, 10);
    check(respass_source_fetched(source, known->secret.at, known->secret.len, expires_on * 1000000, 0,
        refresh_on * 1000000, now));
}

static void unfetched(const char *words) {
    char *next = (char *)words;
    unsigned long status = strtoul(next + (*next == '-'), &next, 10);
    unsigned long wait = strtoul(next + strspn(next, " -"), &next, 10);
    const char *why = strchr(words, '"');
    text bytes = bytes_of(why, strlen(why));
    check(respass_source_failed(source, bytes.at, bytes.len, (uint16_t)status, wait * 1000000,
        strstr(words, " permanent ") != NULL, now));
    free(bytes.at);
}

static void lose(uint64_t conn, respass_cause cause, const char *why) {
    text bytes = bytes_of(why, strlen(why));
    check(respass_core_disconnected(core, conn, cause, bytes.at, bytes.len, now));
    free(bytes.at);
}

static void receive(uint64_t conn, const char *others) {
    text bytes = bytes_of(others, strlen(others));
    check(respass_core_received(core, conn, bytes.at, bytes.len, now));
    free(bytes.at);
}

static void event(const char *verb, char *rest) {
    size_t len = strcspn(rest, " ");
    const char *others = rest + len + (rest[len] == ' ');
    uint64_t conn = strtoull(rest, NULL, 10);
#define IS(word) (strcmp(verb, word) == 0)
    if (IS("config")) configure(rest);
    else if (IS("token")) define(rest, len, others);
    else if (IS("fetched")) fetched(rest, len, others);
    else if (IS("unfetched")) unfetched(rest);
    else if (IS("after")) pass(micros(rest));
    else if (IS("timer")) timer();
    else if (IS("jump")) now.unix_us += (uint64_t)(int64_t)(strtod(rest, NULL) * 1e6);
    else if (IS("hold")) is_held = 1;
    else if (IS("flow")) is_held = 0;
    else if (IS("piece")) send_piece();
    else if (IS("call")) submit(rest, len, others, 0);
    else if (IS("multi")) submit(rest, len, others, 1);
    else if (IS("cancel")) {
        for (size_t i = 0; i < calls_len; i++) {
            if (strcmp(calls[i].label, rest) == 0) check(respass_core_cancel(core, calls[i].id));
        }
    }
    else if (IS("connect")) check(respass_core_connect(core, now));
    else if (IS("close")) check(respass_core_close(core, now));
    else if (IS("connected")) check(respass_core_connected(core, conn, now));
    else if (IS("recv")) receive(conn, others);
    else if (IS("closed")) lose(conn, RESPASS_CAUSE_CLOSED, "");
    else if (IS("broken")) lose(conn, RESPASS_CAUSE_BROKEN, others);
    else if (IS("unreachable")) lose(conn, RESPASS_CAUSE_CONNECT_FAILED, others);
    else fprintf(stderr, "no event: %s\n", verb), exit(2);
}

static text file_of(const char *name) {
    text path = {0}, content = {0};
    char block[4096];
    put(&path, root, strlen(root));
    put(&path, "/", 1);
    put(&path, name, strlen(name));
    put(&path, ".txt", 4);
    FILE *file = fopen(path.at, "rb");
    if (file == NULL) perror(path.at), exit(2);
    for (size_t len; (len = fread(block, 1, sizeof block, file)) > 0;) put(&content, block, len);
    fclose(file);
    free(path.at);
    return content;
}

static void play(const char *name, text *played) {
    text content = file_of(name);
    for (char *line = content.at, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        if (strncmp(line, "    ", 4) == 0) continue;
        put(played, line, (size_t)(end - line) + 1);
        int is_last = end - line < 2 || memcmp(end - 2, " &", 2) != 0;
        end[is_last ? 0 : -2] = 0;
        if (strncmp(line, "given ", 6) == 0) {
            text silent = {0};
            play(line + 6, &silent);
            free(silent.at);
        } else if (*line != 0 && *line != '#') {
            char *rest = line + strcspn(line, " ");
            if (*rest != 0) *rest++ = 0;
            event(line, rest);
            while (is_last && obey()) {}
            for (text *list = is_last ? &outcomes : NULL; list != NULL;
                list = list == &outcomes ? &notices : list == &notices ? &doings : NULL) {
                put(played, list->at, list->len);
                list->len = 0;
            }
        }
    }
    free(content.at);
}

int main(int argc, char **argv) {
    int passed = 0;
    root = argv[1];
    for (int i = 2; i < argc; i++) {
        static const uint8_t seed[32] = {8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8,
            8, 8, 8, 8, 8, 8};
        text played = {0}, expected = file_of(argv[i]);
        now.monotonic_us = 1000000;
        now.unix_us = 1800000000000000;
        check(respass_source_new(seed, now, &source));
        check(respass_source_subscribe(source));
        play(argv[i], &played);
        uint32_t log = 0x811c9dc5;
        for (size_t at = 0; at < played.len; at++) log = (log ^ (unsigned char)played.at[at]) * 0x01000193;
        printf("vector %08lx %s\n", (unsigned long)log, argv[i]);
        if (played.len == expected.len && memcmp(played.at, expected.at, expected.len) == 0) passed++;
        else fprintf(stderr, "%s went like this:\n%s\n", argv[i], played.at);
        respass_core_free(core);
        respass_source_free(source);
        core = NULL;
        transmit = 0, is_held = 0, calls_len = 0;
        forget_tokens();
        free(played.at);
        free(expected.at);
    }
    printf("vectors: %d passed\n", passed);
    return passed != argc - 2;
}
