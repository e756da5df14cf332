/* A token for Azure Managed Redis from the managed identity of App Service, Functions or Container Apps: one
 * plain HTTP request to IDENTITY_ENDPOINT with IDENTITY_HEADER. It blocks; event loops call it in a thread.
 */
#ifndef APP_SERVICE_TOKEN_H
#define APP_SERVICE_TOKEN_H

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct app_service_token {
    char response[32768];
    const char *token; /* inside of the response; NULL: there is none, and `error` says why */
    size_t token_len;
    uint64_t expires_on_us;
    int status; /* of HTTP; 0 without an answer */
    char error[128];
} app_service_token;

/* A socket that is connected to "host:port", or -1. */
static inline int app_service_connect(char *authority) {
    char *colon = strrchr(authority, ':');
    struct addrinfo hints, *found = NULL;
    int fd = -1;
    if (colon) *colon = 0;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(authority, colon ? colon + 1 : "80", &hints, &found)) return -1;
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM, 0);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen)) close(fd), fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

/* Sends the request and reads the response to its end; false where the connection failed. */
static inline bool app_service_ask(app_service_token *out, const char *endpoint, const char *header) {
    static const char query[] = "?api-version=2019-08-01&resource=https%3A%2F%2Fredis.azure.com";
    char request[2048], authority[256];
    const char *path = strchr(endpoint, '/');
    const char *client_id = getenv("AZURE_CLIENT_ID");
    size_t len = 0;
    ssize_t received;
    int fd;
    snprintf(authority, sizeof authority, "%.*s", path ? (int)(path - endpoint) : 255, endpoint);
    snprintf(request, sizeof request, "GET %s%s%s%s HTTP/1.0\r\nHost: %s\r\nX-IDENTITY-HEADER: %s\r\n\r\n",
             path ? path : "/", query, client_id ? "&client_id=" : "", client_id ? client_id : "", authority,
             header);
    fd = app_service_connect(authority);
    if (fd < 0) return false;
    received = send(fd, request, strlen(request), MSG_NOSIGNAL);
    while (received > 0 && len < sizeof out->response - 1) {
        received = recv(fd, out->response + len, sizeof out->response - 1 - len, 0);
        if (received > 0) len += (size_t)received;
    }
    close(fd);
    out->response[len] = 0;
    return len > 0;
}

static inline void app_service_fetch(app_service_token *out) {
    const char *endpoint = getenv("IDENTITY_ENDPOINT"), *header = getenv("IDENTITY_HEADER");
    const char *token, *expires_on;
    memset(out, 0, sizeof *out);
    if (!endpoint || !header || strncmp(endpoint, "http://", 7)) {
        snprintf(out->error, sizeof out->error, "IDENTITY_ENDPOINT or IDENTITY_HEADER is not set");
        return;
    }
    if (!app_service_ask(out, endpoint + 7, header)) {
        snprintf(out->error, sizeof out->error, "the identity endpoint does not answer");
        return;
    }
    if (sscanf(out->response, "HTTP/%*s %d", &out->status) != 1) out->status = 0;
    token = strstr(out->response, "\"access_token\":\"");
    expires_on = strstr(out->response, "\"expires_on\":\"");
    if (out->status != 200 || !token || !expires_on) {
        snprintf(out->error, sizeof out->error, "the identity endpoint answered with status %d", out->status);
        return;
    }
    out->token = token + strlen("\"access_token\":\"");
    out->token_len = strcspn(out->token, "\"");
    out->expires_on_us = strtoull(expires_on + strlen("\"expires_on\":\""), NULL, 10) * 1000000;
}

#endif
