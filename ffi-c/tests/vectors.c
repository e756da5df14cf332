/* Plays the conversation vectors against the library: vectors ROOT NAME…; see tests/vectors/README.md. */
#include "vector_text.h"

static const char *const NOTICES[] = {"other", "ready", "connection-lost", "login-refused", "reauthenticated",
    "reauth-refused", "clock-is-wrong", "clock-jumped", "identity-changed"};
static const char *const OUTCOMES[] = {"", "not-sent", "indeterminate", "refused"};
static const char *const STATES[] = {"other", "empty", "fresh", "renewing", "late", "expired"};

#define NO_CALL UINT64_MAX

static respass_core *core;
static respass_source *source;
static respass_now now;
static struct { uint64_t id; char label[16]; } calls[64];
static size_t calls_len;
static uint64_t transmit;
static bool is_held;
static text outcomes, notices, doings;

static void check(respass_result result) {
    if (result != RESPASS_RESULT_OK) fprintf(stderr, "a call was refused: %u\n", (unsigned)result), exit(2);
}

/* By its label, or by its id. */
static size_t call_of(const char *label, uint64_t id) {
    size_t i = 0;
    while (strcmp(calls[i].label, label) != 0 && (id == NO_CALL || calls[i].id != id)) i++;
    return i;
}

static void show_replies(const respass_output *output) {
    for (size_t i = 0; i < output->answers_len; i++) {
        const respass_node *node = &output->nodes[output->answers[i].node];
        const char *label = calls[call_of("", output->answers[i].command)].label;
        putf(&outcomes, "    %s %s ", node->kind == RESPASS_KIND_ERROR ? "failed" : "reply", label);
        if (node->kind != RESPASS_KIND_ERROR) value(&outcomes, output, node);
        else server_error(&outcomes, (const char *)output->bytes.data + node->value, node->count);
        putf(&outcomes, "\n");
    }
}

static void act(const respass_output *output) {
    unsigned id = (unsigned)output->id, code = output->code;
    respass_token *token = NULL;
    switch (output->kind) {
    case RESPASS_OUTPUT_KIND_CONNECT:
        putf(&doings, "    open %u %.*s:%u\n", id, (int)output->text.len, (const char *)output->text.data, code);
        break;
    case RESPASS_OUTPUT_KIND_DISCONNECT: putf(&doings, "    close %u\n", id); break;
    case RESPASS_OUTPUT_KIND_TRANSMIT: transmit = output->id; break;
    case RESPASS_OUTPUT_KIND_REPLIES: show_replies(output); break;
    case RESPASS_OUTPUT_KIND_FAILED:
        say(&outcomes, output->text, "failed %s %u %s", calls[call_of("", id)].label, code, OUTCOMES[output->outcome]);
        break;
    case RESPASS_OUTPUT_KIND_NOTICE: say(&notices, output->text, "notice %s", NOTICES[code]); break;
    case RESPASS_OUTPUT_KIND_TOKEN_NEEDED:
        putf(&doings, "    token-needed %u\n", id);
        check(respass_source_request(source, id, now, &token));
        if (token != NULL) check(respass_core_token(core, token, now));
        respass_token_free(token);
        break;
    case RESPASS_OUTPUT_KIND_FETCH: putf(&doings, "    fetch\n"); break;
    case RESPASS_OUTPUT_KIND_STATE: putf(&doings, "    supply %s\n", STATES[code]); break;
    case RESPASS_OUTPUT_KIND_TOKEN: check(respass_core_token(core, output->token, now)); break;
    }
}

/* Hands what is ready to the socket; whether there was anything. */
static bool send_piece(void) {
    respass_slice piece, command;
    if (core == NULL || transmit == 0) return false;
    check(respass_core_transmit(core, transmit, now, &piece));
    for (size_t at = 0; at < piece.len; at += command.len) {
        command = command_at(piece, at);
        say(&doings, command, "send %u", (unsigned)transmit);
    }
    check(respass_core_transmitted(core, transmit, piece.len, now));
    return piece.len > 0;
}

/* Does what the machines want done; whether there was anything. Bytes leave when all else is done. */
static bool obey(void) {
    respass_output output;
    bool is_busy = false;
    for (int turn = core == NULL; turn < 2;) {
        check(turn == 0 ? respass_core_next_output(core, &output) : respass_source_next_output(source, &output));
        if (output.kind == RESPASS_OUTPUT_KIND_NONE) turn++;
        else act(&output), is_busy = true;
        respass_output_clear(&output);
    }
    return is_busy || (!is_held && send_piece());
}

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
    uint64_t wait = at > now.monotonic_us ? at - now.monotonic_us : 0;
    if (at == RESPASS_NEVER_US) putf(&doings, "    no timer\n");
    else putf(&doings, "    waited %.6fs\n", (double)wait / 1e6), pass(wait);
}

static void configure(char *pairs) {
    enum { HOST, USER, PASSWORD, TOKEN, PLAINTEXT, NAME, DB, COMMAND, CONNECT, KEYS };
    static const char *const keys[] = {"host=", "user=", "password=", "token=", "plaintext=", "name=", "db=",
        "command=", "connect="};
    const char *of[KEYS] = {"localhost", ""};
    uint8_t seed[32];
    respass_config *config;
    for (char *pair = strtok(pairs, " "); pair != NULL; pair = strtok(NULL, " ")) {
        for (int i = 0; i < KEYS; i++) if (strncmp(pair, keys[i], strlen(keys[i])) == 0) of[i] = pair + strlen(keys[i]);
    }
    check(respass_config_new(of[HOST], strlen(of[HOST]), 6379, &config));
    if (of[TOKEN]) check(respass_config_set_token(config, of[USER], strlen(of[USER])));
    else if (of[PASSWORD]) {
        check(respass_config_set_password(config, of[USER], strlen(of[USER]), of[PASSWORD], strlen(of[PASSWORD])));
    }
    if (of[PLAINTEXT]) check(respass_config_allow_plaintext_token(config));
    if (of[NAME]) check(respass_config_set_client_name(config, of[NAME], strlen(of[NAME])));
    if (of[DB]) check(respass_config_set_database(config, (uint32_t)atoi(of[DB])));
    if (of[COMMAND]) check(respass_config_set_timeout(config, RESPASS_TIMER_COMMAND, (uint64_t)micros(of[COMMAND])));
    if (of[CONNECT]) check(respass_config_set_timeout(config, RESPASS_TIMER_CONNECT, (uint64_t)micros(of[CONNECT])));
    memset(seed, 7, sizeof seed);
    if (respass_core_new(config, seed, now, &core) != RESPASS_RESULT_OK) {
        respass_slice why;
        check(respass_config_error_text(config, &why));
        say(&doings, why, "invalid");
    }
    respass_config_free(config);
}

static void submit(const char *label, const char *words, bool is_transaction) {
    static uint32_t lengths[4096];
    text bytes = {0};
    size_t count = commands_of(words, &bytes, lengths);
    uint64_t *id = &calls[calls_len].id;
    *id = NO_CALL;
    snprintf(calls[calls_len++].label, sizeof calls->label, "%.15s", label);
    respass_result result = is_transaction
        ? respass_core_submit_transaction(core, bytes.at, bytes.len, lengths, count, now, id)
        : respass_core_submit_batch(core, bytes.at, bytes.len, lengths, count, now, id);
    if (result != RESPASS_RESULT_OK) {
        respass_slice why;
        check(respass_core_error_text(core, &why));
        say(&outcomes, why, "failed %s %u not-sent", label, (unsigned)result);
    }
    free(bytes.at);
}

static void event(const char *line) {
    char verb[16] = "", first[512] = "", word[16] = "";
    int rest = 0, others = 0;
    unsigned long long a = 0, b = 0;
    sscanf(line, "%15s %n%511s %n%llu %llu", verb, &rest, first, &others, &a, &b);
    const char *quoted = strchr(line, '"');
    text bytes = quoted != NULL ? bytes_of(quoted, strlen(quoted)) : (text){0};
    uint64_t conn = strtoull(first, NULL, 10);
#define IS(name) (strcmp(verb, name) == 0)
    if (IS("config")) configure((char *)line + rest);
    else if (IS("token")) define(first, line + others);
    else if (IS("fetched")) {
        text secret = token_named(first, strlen(first))->secret;
        check(respass_source_fetched(source, secret.at, secret.len, a * 1000000, 0, b * 1000000, now));
    } else if (IS("unfetched")) {
        sscanf(line + others, "%*u %15s", word);
        check(respass_source_failed(source, bytes.at, bytes.len, (uint16_t)conn, a * 1000000,
            strcmp(word, "permanent") == 0, now));
    }
    else if (IS("after")) pass((uint64_t)micros(first));
    else if (IS("timer")) timer();
    else if (IS("jump")) now.unix_us += (uint64_t)micros(first);
    else if (IS("hold") || IS("flow")) is_held = IS("hold");
    else if (IS("piece")) send_piece();
    else if (IS("call") || IS("multi")) submit(first, line + others, IS("multi"));
    else if (IS("cancel")) check(respass_core_cancel(core, calls[call_of(first, NO_CALL)].id));
    else if (IS("connect")) check(respass_core_connect(core, now));
    else if (IS("close")) check(respass_core_close(core, now));
    else if (IS("connected")) check(respass_core_connected(core, conn, now));
    else if (IS("recv")) check(respass_core_received(core, conn, bytes.at, bytes.len, now));
    else {
        respass_cause cause = IS("closed") ? RESPASS_CAUSE_CLOSED : IS("broken") ? RESPASS_CAUSE_BROKEN
            : RESPASS_CAUSE_CONNECT_FAILED;
        check(respass_core_disconnected(core, conn, cause, bytes.at, bytes.len, now));
    }
    free(bytes.at);
}

static void play(const char *root, const char *name, text *played) {
    text content = file_of(root, name);
    for (char *line = content.at, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        if (strncmp(line, "    ", 4) == 0) continue;
        put(played, line, (size_t)(end - line) + 1);
        bool is_last = end - line < 2 || memcmp(end - 2, " &", 2) != 0;
        end[is_last ? 0 : -2] = 0;
        if (*line == 0 || *line == '#') continue;
        if (strncmp(line, "given ", 6) == 0) {
            text silent = {0};
            play(root, line + 6, &silent);
            free(silent.at);
            continue;
        }
        event(line);
        while (is_last && obey()) {}
        for (int i = 0; is_last && i < 3; i++) {
            text *list = i == 0 ? &outcomes : i == 1 ? &notices : &doings;
            put(played, list->at, list->len);
            list->len = 0;
        }
    }
    free(content.at);
}

int main(int argc, char **argv) {
    int passed = 0;
    for (int i = 2; i < argc; i++) {
        uint8_t seed[32];
        text played = {0}, expected = file_of(argv[1], argv[i]);
        now = (respass_now){1000000, 1800000000000000};
        memset(seed, 8, sizeof seed);
        check(respass_source_new(seed, now, &source));
        check(respass_source_subscribe(source));
        play(argv[1], argv[i], &played);
        printf("vector %08lx %s\n", hash_of(played), argv[i]);
        if (strcmp(played.at, expected.at) == 0) passed++;
        else fprintf(stderr, "%s went like this:\n%s\n", argv[i], played.at);
        respass_core_free(core);
        respass_source_free(source);
        core = NULL;
        transmit = calls_len = is_held = 0;
        forget_tokens();
        free(played.at);
        free(expected.at);
    }
    printf("vectors: %d passed\n", passed);
    return passed != argc - 2;
}
