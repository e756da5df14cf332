//! A managed identity's token, as Azure App Service gives it: one HTTP request over a socket of whichever
//! executor.

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use respass_futures::{FetchedToken, Secret, TokenFailure, UnixTime};
use serde_json::Value;

/// Where and how to ask.
#[derive(Clone)]
pub(crate) struct AppService {
    /// `host:port`
    pub(crate) authority: String,
    path: String,
    header: String,
}

impl AppService {
    /// From the variables that the platform sets.
    pub(crate) fn from_env() -> AppService {
        let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
        let endpoint = variable("IDENTITY_ENDPOINT");
        let (authority, path) = endpoint
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .expect("IDENTITY_ENDPOINT is an http address");
        AppService {
            authority: authority.to_owned(),
            path: path.to_owned(),
            header: variable("IDENTITY_HEADER"),
        }
    }

    /// Asks over a connected socket.
    pub(crate) async fn token<S>(&self, mut stream: S) -> Result<FetchedToken, TokenFailure>
    where
        S: AsyncReadExt + AsyncWriteExt + Unpin,
    {
        let request = format!(
            "GET /{}?resource=https://redis.azure.com&api-version=2019-08-01 HTTP/1.1\r\n\
             Host: {}\r\nX-IDENTITY-HEADER: {}\r\nConnection: close\r\n\r\n",
            self.path, self.authority, self.header
        );
        let failed =
            |error: std::io::Error| TokenFailure::transient(format!("the identity endpoint: {error}"));
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map_err(failed)?;
        read_answer(&String::from_utf8_lossy(&answer))
    }
}

fn read_answer(answer: &str) -> Result<FetchedToken, TokenFailure> {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let Some(token) = body["access_token"].as_str() else {
        // The body is not repeated: it may hold part of a token.
        let failure =
            TokenFailure::transient(format!("the identity endpoint gave no token (status {status:?})"));
        return Err(TokenFailure { status, ..failure });
    };
    let expires_on =
        body["expires_on"].as_str().and_then(|text| text.parse().ok()).or(body["expires_on"].as_i64());
    let token = FetchedToken::new(Secret::new(token.as_bytes().to_vec()));
    Ok(FetchedToken { expires_on: expires_on.map(UnixTime::from_secs), ..token })
}
