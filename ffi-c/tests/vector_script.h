/* The format of conversation vectors: the same in every language, see tests/vectors/README.md. */
#include "respass.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that grow, with a NUL behind them. */
typedef struct { char *at; size_t len, room; } text;

typedef struct { text name, secret; } token;
static token tokens[16];
static size_t tokens_len;
static char nonce[16];

static void put(text *to, const void *bytes, size_t len) {
    if (to->len + len >= to->room) {
        to->room = (to->len + len + 1) * 2;
        to->at = realloc(to->at, to->room);
        if (to->at == NULL) abort();
    }
    if (len > 0) memcpy(to->at + to->len, bytes, len);
    to->len += len;
    to->at[to->len] = 0;
}

static void putf(text *to, const char *format, ...) {
    char line[256];
    va_list values;
    va_start(values, format);
    int len = vsnprintf(line, sizeof line, format, values);
    va_end(values);
    put(to, line, (size_t)len);
}

static token *token_named(const char *name, size_t len) {
    for (size_t i = 0; i < tokens_len; i++) {
        if (tokens[i].name.len == len && memcmp(tokens[i].name.at, name, len) == 0) return &tokens[i];
    }
    fprintf(stderr, "no token %.*s\n", (int)len, name);
    exit(2);
}

/* The bytes of a text with escapes. */
static void unescape(text *to, const char *at, size_t len) {
    const char *end = at + len;
    while (at < end) {
        char *next;
        if (*at != '\\') {
            put(to, at++, 1);
        } else if (at[1] == '*') {
            text inner = {0};
            unsigned long count = strtoul(at + 2, &next, 10);
            at = strchr(next, '}');
            unescape(&inner, next + 1, (size_t)(at - next - 1));
            while (count-- > 0) put(to, inner.at, inner.len);
            free(inner.at);
            at++;
        } else if (at[1] == '<') {
            const char *close = strchr(at, '>');
            token *known = token_named(at + 2, (size_t)(close - at - 2));
            put(to, known->secret.at, known->secret.len);
            at = close + 1;
        } else if (at[1] == 'x') {
            char digits[3] = {at[2], at[3], 0};
            char byte = (char)strtoul(digits, NULL, 16);
            put(to, &byte, 1);
            at += 4;
        } else {
            if (at[1] == 'p') put(to, nonce, sizeof nonce);
            else put(to, at[1] == 'r' ? "\r" : at[1] == 'n' ? "\n" : at + 1, 1);
            at += 2;
        }
    }
}

/* The bytes of a word, or of a text in quotes. */
static text bytes_of(const char *word, size_t len) {
    text bytes = {0};
    int quotes = len >= 2 && word[0] == '"';
    put(&bytes, "", 0);
    unescape(&bytes, word + quotes, len - 2 * (size_t)quotes);
    return bytes;
}

static token *token_at(const char *at, const char *end) {
    for (size_t i = 0; i < tokens_len; i++) {
        size_t len = tokens[i].secret.len;
        if (len <= (size_t)(end - at) && memcmp(at, tokens[i].secret.at, len) == 0) return &tokens[i];
    }
    return NULL;
}

/* Bytes in quotes. */
static void quote(text *to, const void *bytes, size_t len) {
    const char *at = bytes, *end = at + len;
    put(to, "\"", 1);
    while (at < end) {
        token *known = token_at(at, end);
        if (known != NULL) {
            putf(to, "\\<%s>", known->name.at);
            at += known->secret.len;
            continue;
        }
        size_t run = 1;
        while (at + run < end && at[run] == *at) run++;
        if (run < 32) run = 1;
        else putf(to, "\\*%zu{", run);
        if (*at == '\r' || *at == '\n') put(to, *at == '\r' ? "\\r" : "\\n", 2);
        else if (*at == '"' || *at == '\\') putf(to, "\\%c", *at);
        else if (*at >= 32 && *at < 127) put(to, at, 1);
        else putf(to, "\\x%02x", (unsigned char)*at);
        if (run > 1) put(to, "}", 1);
        at += run;
    }
    put(to, "\"", 1);
}

static void define(const char *name, const char *value) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    token *made = &tokens[tokens_len++];
    memset(made, 0, sizeof *made);
    put(&made->name, name, strlen(name));
    if (value[0] != '{') {
        made->secret = bytes_of(value, strlen(value));
        return;
    }
    putf(&made->secret, "e30.");
    for (size_t bit = 0; bit < strlen(value) * 8; bit += 6) {
        unsigned pair = (unsigned)(unsigned char)value[bit / 8] << 8 | (unsigned char)value[bit / 8 + 1];
        put(&made->secret, &digits[pair >> (10 - bit % 8) & 63], 1);
    }
    putf(&made->secret, ".c2ln");
}

/* An error of the server's: its number, and its text without the first word, which the number tells. */
static void server_error(text *to, const char *at, size_t len) {
    size_t word = 0;
    putf(to, "%u refused ", (unsigned)respass_error_of_reply(at, len));
    while (word < len && isupper((unsigned char)at[word])) word++;
    if (word > 0 && word < len && at[word] == ' ') at += word + 1, len -= word + 1;
    quote(to, at, len);
}

/* A reply as every language can tell it from its own values; the node behind it. */
static const respass_node *value(text *to, const respass_output *output, const respass_node *node) {
    const char *bytes = (const char *)output->bytes.data + (node->value < output->bytes.len ? node->value : 0);
    const respass_node *next = node + 1;
    size_t count = node->count;
    double number;
    memcpy(&number, &node->value, sizeof number);
    switch (node->kind) {
    case RESPASS_KIND_NULL: putf(to, "null"); break;
    case RESPASS_KIND_BOOLEAN: putf(to, node->value ? "true" : "false"); break;
    case RESPASS_KIND_INTEGER: putf(to, "%lld", (long long)node->value); break;
    case RESPASS_KIND_DOUBLE: putf(to, "%.15g", number); break;
    case RESPASS_KIND_BIG_NUMBER: put(to, bytes, count); break;
    case RESPASS_KIND_ERROR: putf(to, "error "); server_error(to, bytes, count); break;
    case RESPASS_KIND_MAP:
    case RESPASS_KIND_ARRAY:
    case RESPASS_KIND_SET:
    case RESPASS_KIND_PUSH:
        put(to, node->kind == RESPASS_KIND_MAP ? "{" : "[", 1);
        for (size_t i = 0; i < count; i++) {
            if (i > 0) putf(to, ", ");
            next = value(to, output, next);
            if (node->kind == RESPASS_KIND_MAP) putf(to, ": "), next = value(to, output, next);
        }
        put(to, node->kind == RESPASS_KIND_MAP ? "}" : "]", 1);
        break;
    default: quote(to, bytes, count);
    }
    return next;
}

/* A line of output that ends in a text. */
static void say(text *to, respass_slice words, const char *format, ...) {
    char line[128];
    va_list values;
    va_start(values, format);
    vsnprintf(line, sizeof line, format, values);
    va_end(values);
    putf(to, "    %s ", line);
    quote(to, words.data, words.len);
    putf(to, "\n");
}

/* The commands of a `call` or a `multi`, as blocks of bytes and lengths; how many lengths there are. */
static size_t commands_of(const char *words, text *bytes, uint32_t *lengths) {
    size_t head = 0, count = 1;
    put(bytes, "", 0);
    lengths[0] = 0;
    for (; *words != 0; words += *words == ' ') {
        size_t len = strcspn(words, " ");
        if (len == 1 && *words == '|') {
            head = count++;
            lengths[head] = 0;
        } else {
            text word = bytes_of(words, len);
            put(bytes, word.at, word.len);
            lengths[head]++;
            lengths[count++] = (uint32_t)word.len;
            free(word.at);
        }
        words += len;
    }
    return count;
}

/* The command that begins at `at`; a nonce in it is remembered. */
static respass_slice command_at(respass_slice piece, size_t at) {
    static const char probe[] = "*2\r\n$4\r\nPING\r\n$16\r\n";
    const char *start = (const char *)piece.data + at;
    size_t len = 1;
    while (at + len < piece.len && (start[len] != '*' || memcmp(start + len - 2, "\r\n", 2) != 0)) len++;
    if (len == sizeof probe - 1 + 18 && memcmp(start, probe, sizeof probe - 1) == 0) {
        memcpy(nonce, start + sizeof probe - 1, sizeof nonce);
    }
    return (respass_slice){piece.data + at, len};
}

static int64_t micros(const char *seconds) {
    double us = strtod(seconds, NULL) * 1e6;
    return (int64_t)(us < 0 ? us - 0.5 : us + 0.5);
}

/* What `config` says; NULL where it does not. */
typedef struct { const char *host, *user, *password, *token, *plaintext, *name, *db, *command, *connect; } settings;

static settings settings_of(char *pairs) {
    settings of = {0};
    const struct { const char *key; const char **value; } known[] = {{"host=", &of.host}, {"user=", &of.user},
        {"password=", &of.password}, {"token=", &of.token}, {"plaintext=", &of.plaintext}, {"name=", &of.name},
        {"db=", &of.db}, {"command=", &of.command}, {"connect=", &of.connect}};
    of.host = "localhost", of.user = "";
    for (char *pair = strtok(pairs, " "); pair != NULL; pair = strtok(NULL, " ")) {
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            size_t len = strlen(known[i].key);
            if (strncmp(pair, known[i].key, len) == 0) *known[i].value = pair + len;
        }
    }
    return of;
}

static text file_of(const char *root, const char *name) {
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

/* FNV-1a. */
static unsigned long hash_of(text played) {
    uint32_t hash = 0x811c9dc5;
    for (size_t i = 0; i < played.len; i++) hash = (hash ^ (unsigned char)played.at[i]) * 0x01000193;
    return hash;
}

/* Commands by the names that the file gives them. */
static struct { uint64_t id; char label[16]; } calls[64];
static size_t calls_len;
#define NO_CALL UINT64_MAX

/* The place for a new command's id. */
static uint64_t *call_new(const char *label) {
    snprintf(calls[calls_len].label, sizeof calls->label, "%.15s", label);
    calls[calls_len].id = NO_CALL;
    return &calls[calls_len++].id;
}

static uint64_t id_of(const char *label) {
    size_t i = 0;
    while (strcmp(calls[i].label, label) != 0) i++;
    return calls[i].id;
}

static const char *label_of(uint64_t id) {
    size_t i = 0;
    while (calls[i].id != id) i++;
    return calls[i].label;
}

/* Sessions and subscribers by the names that the file gives them. */
static struct { uint64_t id; char label[16]; } owners[16];
static size_t owners_len;

/* The place for a new one's number. */
static uint64_t *owner_new(const char *label) {
    snprintf(owners[owners_len].label, sizeof owners->label, "%.15s", label);
    return &owners[owners_len++].id;
}

static uint64_t owner_of(const char *label) {
    size_t i = 0;
    while (strcmp(owners[i].label, label) != 0) i++;
    return owners[i].id;
}

/* What came of an event. */
static text outcomes, notices, doings;

static void show_replies(const respass_output *output) {
    for (size_t i = 0; i < output->answers_len; i++) {
        const respass_node *node = &output->nodes[output->answers[i].node];
        bool is_error = node->kind == RESPASS_KIND_ERROR;
        putf(&outcomes, "    %s %s ", is_error ? "failed" : "reply", label_of(output->answers[i].command));
        if (is_error) server_error(&outcomes, (const char *)output->bytes.data + node->value, node->count);
        else value(&outcomes, output, node);
        putf(&outcomes, "\n");
    }
}

static void show_messages(const respass_output *output) {
    static const char *const KINDS[] = {"", "message", "pattern-message", "shard-message", "subscribed",
        "pattern-subscribed", "shard-subscribed", "unsubscribed", "pattern-unsubscribed", "shard-unsubscribed",
        "monitor", "gap", "refused"};
    size_t owner = 0;
    while (owners[owner].id != output->id) owner++;
    for (size_t i = 0; i < output->messages_len; i++) {
        respass_message message = respass_output_message(output, i);
        const respass_slice parts[] = {message.pattern, message.channel, message.payload};
        putf(&outcomes, "    message %s %s", owners[owner].label, KINDS[message.kind]);
        for (int part = 0; part < 3; part++) {
            if (parts[part].len == 0) continue;
            putf(&outcomes, " ");
            quote(&outcomes, parts[part].data, parts[part].len);
        }
        if (message.count > 0) putf(&outcomes, " %u", (unsigned)message.count);
        putf(&outcomes, "\n");
    }
}

/* Who drives the core defines these. */
static void event(char *line);
static bool obey(void);

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

/* Plays a file and tells how it went; whether it passed. */
static bool passes(const char *root, const char *name) {
    text played = {0}, expected = file_of(root, name);
    play(root, name, &played);
    bool is_same = strcmp(played.at, expected.at) == 0;
    printf("vector %08lx %s\n", hash_of(played), name);
    if (!is_same) fprintf(stderr, "%s went like this:\n%s\n", name, played.at);
    free(played.at);
    free(expected.at);
    calls_len = owners_len = 0;
    while (tokens_len > 0) {
        free(tokens[--tokens_len].name.at);
        free(tokens[tokens_len].secret.at);
    }
    return is_same;
}
