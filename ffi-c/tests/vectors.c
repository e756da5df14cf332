/* Plays the conversation vectors against the library: vectors ROOT NAME…, see tests/vectors. */
#include "vector_script.h"

static const char *const NOTICES[] = {"other", "ready", "connection-lost", "login-refused", "reauthenticated",
    "reauth-refused", "clock-is-wrong", "clock-jumped", "identity-changed", "topology-changed",
    "redirect-ignored", "gap", "maintenance"};
static const char *const OUTCOMES[] = {"", "not-sent", "indeterminate", "refused"};
static const char *const STATES[] = {"other", "empty", "fresh", "renewing", "late", "expired"};

static respass_core *core;
static respass_source *source;
static respass_now now;
/* Whether a connection has something to send, by its number. */
static bool is_writable[256];
static bool is_held;

static void check(respass_result result) {
    if (result != RESPASS_RESULT_OK) fprintf(stderr, "a call was refused: %u\n", (unsigned)result), exit(2);
}

static void request(uint64_t newer_than) {
    respass_token *token;
    putf(&doings, "    token-needed %u\n", (unsigned)newer_than);
    check(respass_source_request(source, newer_than, now, &token));
    if (token != NULL) check(respass_core_token(core, token, now));
    respass_token_free(token);
}

static void act(const respass_output *output) {
    const char *host = (const char *)output->text.data;
    unsigned id = (unsigned)output->id, code = output->code;
    switch (output->kind) {
    case RESPASS_OUTPUT_KIND_CONNECT:
        putf(&doings, "    open %u %.*s:%u\n", id, (int)output->text.len, host, code);
        break;
    case RESPASS_OUTPUT_KIND_FAILED:
        say(&outcomes, output->text, "failed %s %u %s", label_of(id), code, OUTCOMES[output->outcome]);
        break;
    case RESPASS_OUTPUT_KIND_DISCONNECT: putf(&doings, "    close %u\n", id); break;
    case RESPASS_OUTPUT_KIND_TRANSMIT: is_writable[output->id % 256] = true; break;
    case RESPASS_OUTPUT_KIND_REPLIES: show_replies(output); break;
    case RESPASS_OUTPUT_KIND_NOTICE: say(&notices, output->text, "notice %s", NOTICES[code]); break;
    case RESPASS_OUTPUT_KIND_TOKEN_NEEDED: request(output->id); break;
    case RESPASS_OUTPUT_KIND_FETCH: putf(&doings, "    fetch\n"); break;
    case RESPASS_OUTPUT_KIND_STATE: putf(&doings, "    supply %s\n", STATES[code]); break;
    case RESPASS_OUTPUT_KIND_TOKEN: check(respass_core_token(core, output->token, now)); break;
    }
}

/* Hands what is ready to the sockets, one after the other; whether there was anything. */
static bool send_piece(void) {
    bool is_busy = false;
    for (uint64_t conn = 1; core != NULL && conn < 256; conn++) {
        respass_slice piece = {0}, command;
        if (!is_writable[conn]) continue;
        check(respass_core_transmit(core, conn, now, &piece));
        for (size_t at = 0; at < piece.len; at += command.len) {
            command = command_at(piece, at);
            say(&doings, command, "send %u", (unsigned)conn);
        }
        check(respass_core_transmitted(core, conn, piece.len, now));
        is_writable[conn] = piece.len > 0;
        is_busy |= piece.len > 0;
    }
    return is_busy;
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

static void configure(settings of) {
    uint8_t seed[32];
    respass_config *config;
    size_t user_len = strlen(of.user);
    check(respass_config_new(of.host, strlen(of.host), 6379, &config));
    if (of.token) check(respass_config_set_token(config, of.user, user_len));
    else if (of.password) {
        check(respass_config_set_password(config, of.user, user_len, of.password, strlen(of.password)));
    }
    if (of.plaintext) check(respass_config_allow_plaintext_token(config));
    if (of.name) check(respass_config_set_client_name(config, of.name, strlen(of.name)));
    if (of.db) check(respass_config_set_database(config, (uint32_t)atoi(of.db)));
    if (of.command) check(respass_config_set_timeout(config, RESPASS_TIMER_COMMAND, (uint64_t)micros(of.command)));
    if (of.connect) check(respass_config_set_timeout(config, RESPASS_TIMER_CONNECT, (uint64_t)micros(of.connect)));
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
    respass_result result = (is_transaction ? respass_core_submit_transaction : respass_core_submit_batch)(
        core, bytes.at, bytes.len, lengths, count, now, call_new(label));
    if (result != RESPASS_RESULT_OK) {
        respass_slice why;
        check(respass_core_error_text(core, &why));
        say(&outcomes, why, "failed %s %u not-sent", label, (unsigned)result);
    }
    free(bytes.at);
}

static void event(char *line) {
    char verb[16] = "", first[32] = "", word[16] = "";
    int rest = 0, others = 0;
    unsigned long long a = 0, b = 0;
    sscanf(line, "%15s %n%31s %n%llu%15s", verb, &rest, first, &others, &a, word);
    sscanf(line + others, "%*u %llu", &b);
    const char *quoted = strchr(line, '"');
    text bytes = quoted != NULL ? bytes_of(quoted, strlen(quoted)) : (text){0};
    uint64_t conn = strtoull(first, NULL, 10);
#define IS(name) (strcmp(verb, name) == 0)
    if (IS("config")) configure(settings_of(line + rest));
    else if (IS("token")) define(first, line + others);
    else if (IS("fetched")) {
        text secret = token_named(first, strlen(first))->secret;
        check(respass_source_fetched(source, secret.at, secret.len, a * 1000000, 0, b * 1000000, now));
    } else if (IS("unfetched")) {
        bool is_permanent = strcmp(word, "permanent") == 0;
        check(respass_source_failed(source, bytes.at, bytes.len, (uint16_t)conn, a * 1000000, is_permanent, now));
    }
    else if (IS("after")) pass((uint64_t)micros(first));
    else if (IS("timer")) timer();
    else if (IS("jump")) now.unix_us += (uint64_t)micros(first);
    else if (IS("hold") || IS("flow")) is_held = IS("hold");
    else if (IS("piece")) send_piece();
    else if (IS("call") || IS("multi")) submit(first, line + others, IS("multi"));
    else if (IS("cancel")) check(respass_core_cancel(core, id_of(first)));
    else if (IS("connect")) check(respass_core_connect(core, now));
    else if (IS("close")) check(respass_core_close(core, now));
    else if (IS("connected")) check(respass_core_connected(core, conn, now));
    else if (IS("recv")) check(respass_core_received(core, conn, bytes.at, bytes.len, now));
    else {
        respass_cause cause = IS("closed") ? RESPASS_CAUSE_CLOSED : RESPASS_CAUSE_CONNECT_FAILED;
        if (IS("broken")) cause = RESPASS_CAUSE_BROKEN;
        check(respass_core_disconnected(core, conn, cause, bytes.at, bytes.len, now));
    }
    free(bytes.at);
}

int main(int argc, char **argv) {
    int passed = 0;
    for (int i = 2; i < argc; i++) {
        uint8_t seed[32];
        memset(seed, 8, sizeof seed);
        now.monotonic_us = 1000000, now.unix_us = 1800000000000000;
        check(respass_source_new(seed, now, &source));
        check(respass_source_subscribe(source));
        passed += passes(argv[1], argv[i]);
        respass_core_free(core);
        respass_source_free(source);
        core = NULL, is_held = false;
        memset(is_writable, 0, sizeof is_writable);
    }
    printf("vectors: %d passed\n", passed);
    return passed != argc - 2;
}
