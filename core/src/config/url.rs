//! `redis://` and `rediss://` URLs, as the provisional registrations at IANA describe them.

use super::{Config, Credential};
use crate::error::ConfigError;
use crate::secret::Secret;
use crate::tls::TlsConfig;
use std::sync::Arc;

/// Where neither the URL nor a convention of its scheme says more.
const PORT: u16 = 6379;

fn refuse<T>(text: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError { text: text.into() })
}

impl Config {
    /// What a URL says: `redis://` or, with TLS, `rediss://`, then `[[user]:password@]host[:port][/database]`. User
    /// name and password are percent-encoded. No error repeats what may be a password.
    pub fn from_url(url: &str) -> Result<Config, ConfigError> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return refuse("the URL has no scheme: redis:// or, with TLS, rediss://");
        };
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "redis" => false,
            "rediss" => true,
            _ => return refuse("the URL's scheme is neither redis nor rediss"),
        };
        if rest.contains(['?', '#']) {
            return refuse(
                "the URL holds a query or a fragment: set options otherwise, and write ? and # as %3F and %23",
            );
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        let (host, port) = address_of(address)?;
        let mut config = Config::new(host, port);
        config.tls = is_secure.then(TlsConfig::default);
        config.database = database_of(path)?;
        if let Some(login) = login {
            config.credential = credential_of(login)?;
        }
        Ok(config)
    }
}

fn address_of(address: &str) -> Result<(&str, u16), ConfigError> {
    // An IPv6 address stands in brackets, because it holds colons.
    let (host, rest) = match address.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, rest)) => (host, rest),
            None => return refuse("the URL's address lacks a closing bracket"),
        },
        None => address.split_at(address.find(':').unwrap_or(address.len())),
    };
    if host.is_empty() {
        return refuse("the URL names no host");
    }
    if rest.is_empty() {
        return Ok((host, PORT));
    }
    match rest.strip_prefix(':').and_then(number) {
        Some(port) => Ok((host, port)),
        None => refuse("the URL's port is no number from 1 to 65535"),
    }
}

fn database_of(path: &str) -> Result<u32, ConfigError> {
    if path.is_empty() {
        return Ok(0);
    }
    number(path).map_or_else(|| refuse("the URL's path is no database number"), Ok)
}

/// Digits alone: `parse` takes a sign, too.
fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn credential_of(login: &str) -> Result<Credential, ConfigError> {
    let Some((username, password)) = login.split_once(':') else {
        return refuse(
            "the URL names a user and no password; a user name for tokens is an option of its own",
        );
    };
    let username =
        String::from_utf8(decoded(username)?).or_else(|_| refuse("the URL's user name is not UTF-8"))?;
    let password = Arc::new(Secret::new(decoded(password)?));
    Ok(Credential::Password { username, password })
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> Result<Vec<u8>, ConfigError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(byte) = byte else {
            return refuse("the URL's user name or password holds a % without two hexadecimal digits");
        };
        bytes.push(byte);
        rest = after.get(2..).unwrap_or_default();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login_of(config: &Config) -> Option<(&str, &[u8])> {
        match &config.credential {
            Credential::Password { username, password } => Some((username, password.expose())),
            _ => None,
        }
    }

    #[test]
    fn a_url_says_where_and_who() {
        let config = Config::from_url("rediss://al%40ice:p%3A%2f@cache.example:10000/3").expect("a URL");
        assert_eq!((config.host.as_str(), config.port, config.database), ("cache.example", 10000, 3));
        assert!(config.tls.is_some());
        assert_eq!(login_of(&config), Some(("al@ice", &b"p:/"[..])));
    }

    #[test]
    fn what_a_url_leaves_out_has_its_default() {
        let config = Config::from_url("REDIS://localhost").expect("a URL");
        assert_eq!((config.host.as_str(), config.port, config.database), ("localhost", 6379, 0));
        assert!(config.tls.is_none() && login_of(&config).is_none());
        let config = Config::from_url("redis://:pw@[::1]/").expect("a URL");
        assert_eq!((config.host.as_str(), config.port), ("::1", 6379));
        assert_eq!(login_of(&config), Some(("", &b"pw"[..])));
    }

    #[test]
    fn a_url_that_cannot_be_meant_is_refused_and_its_password_not_repeated() {
        for url in [
            "localhost:6379",
            "unix:///tmp/hunter2",
            "https://:hunter2@host",
            "redis://",
            "redis://:hunter2@:6379",
            "redis://:hunter2@host:port",
            "redis://:hunter2@host:0x1",
            "redis://:hunter2@host:+1",
            "redis://:hunter2@host/+1",
            "redis://:hunter2@host:70000",
            "redis://:hunter2@host/first",
            "redis://:hunter2@host/0?protocol=3",
            "redis://:hunter2@host#1",
            "redis://:hunter2%@host",
            "redis://:hunter2%4@host",
            "redis://:hunter2%+1@host",
            "redis://%ff:hunter2@host",
            "redis://hunter2@host",
            "redis://:hunter2@[::1",
            "redis://:hunter2@[::1]6379",
        ] {
            let error = Config::from_url(url).expect_err(url);
            assert!(error.text.contains("URL") && !error.text.contains("hunter2"), "{url}: {error}");
        }
    }
}
