/* What the examples share: a configuration from the command line, and what they print. */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <respass.h>

static inline void stop(const char *what, respass_slice why) {
    fprintf(stderr, "%s: %.*s\n", what, (int)why.len, (const char *)why.data);
    exit(1);
}

/* The configuration for HOST and PORT: over TLS with the authorities of CA_FILE, logging in with tokens. */
static inline respass_config *settings_config(const char *host, const char *port, const char *ca_file) {
    static char pem[65536];
    respass_config *config = NULL;
    FILE *file = fopen(ca_file, "r");
    size_t len = file ? fread(pem, 1, sizeof pem, file) : 0;
    if (file) fclose(file);
    if (respass_config_new(host, strlen(host), (uint16_t)atoi(port), &config) ||
        respass_config_add_ca(config, pem, len) || respass_config_set_token(config, NULL, 0)) {
        respass_slice why = {(const uint8_t *)"no host", 7};
        if (config) respass_config_error_text(config, &why);
        stop("configuration", why);
    }
    return config;
}

#endif
