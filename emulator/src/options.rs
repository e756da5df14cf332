//! The command line and the names of the profiles; what a profile does is not decided here.

use std::ffi::OsString;

use lexopt::prelude::{Long, Short, ValueExt};

use crate::random;

pub(crate) const USAGE: &str = "\
usage: respass-emulator [options]
  --profile NAME        amr-nocluster (default; the only one yet)
  --shards N            redis-server processes; amr-nocluster has 1
  --token-ttl S[-S]     life of a token in seconds, or the range to draw it from (default 3600)
  --federated-ttl S     life of the workload's service-account token (default 3600)
  --token-cache MODE    fresh (default): a new token at every call; cached: as the platform does
  --port P              the cache (default 10000; 0 picks a free port)
  --identity-port P     the managed-identity endpoints (default 0)
  --stdin-lifeline      end when standard input closes";

/// What the command line asks for.
pub(crate) enum Request {
    Run(Options),
    Help,
}

pub(crate) struct Options {
    pub(crate) profile: Profile,
    /// Life of the tokens of the identity endpoints.
    pub(crate) token_ttl: Ttl,
    /// Life of the service-account token of workload identity, in seconds.
    pub(crate) federated_ttl_s: u64,
    pub(crate) token_cache: TokenCache,
    pub(crate) port: u16,
    pub(crate) identity_port: u16,
    pub(crate) stdin_lifeline: bool,
}

/// Life of a token in seconds: any from `min_s` to `max_s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ttl {
    pub(crate) min_s: u64,
    pub(crate) max_s: u64,
}

impl Ttl {
    fn parse(text: &str) -> Result<Ttl, String> {
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        match (min.parse(), max.parse()) {
            (Ok(min_s), Ok(max_s)) if 1 <= min_s && min_s <= max_s && max_s <= TOKEN_TTL_S_MAX => {
                Ok(Ttl { min_s, max_s })
            }
            _ => Err(format!("--token-ttl is 1 to {TOKEN_TTL_S_MAX} seconds or a range, not {text:?}")),
        }
    }

    /// The life of one token.
    pub(crate) fn pick(self) -> u64 {
        self.min_s + u64::from_le_bytes(random::bytes()) % (self.max_s - self.min_s + 1)
    }
}

/// The kind of cache: product and cluster policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    AmrNocluster,
}

impl Profile {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Profile::AmrNocluster => "amr-nocluster",
        }
    }

    fn port(self) -> u16 {
        match self {
            Profile::AmrNocluster => 10_000,
        }
    }

    fn parse(name: &str) -> Result<Profile, String> {
        match name {
            "amr-nocluster" => Ok(Profile::AmrNocluster),
            "amr-oss" | "amr-enterprise" | "acr-cluster" | "acr-single" => {
                Err(format!("profile {name} is not there yet; there is: amr-nocluster"))
            }
            _ => Err(format!("unknown profile {name:?}; there is: amr-nocluster")),
        }
    }
}

/// How the identity endpoint answers repeated calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenCache {
    /// A new token at every call.
    Fresh,
    /// The same token until shortly before its expiry.
    Cached,
}

pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    let (mut profile, mut shards, mut port) = (Profile::AmrNocluster, 1_u32, None);
    let mut token_ttl = Ttl { min_s: 3_600, max_s: 3_600 };
    let (mut federated_ttl_s, mut token_cache, mut identity_port) = (3_600, TokenCache::Fresh, 0);
    let mut stdin_lifeline = false;
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Long("profile") => profile = Profile::parse(&text(&mut parser)?)?,
            Long("shards") => shards = number(&mut parser, "--shards")?,
            Long("token-ttl") => token_ttl = Ttl::parse(&text(&mut parser)?)?,
            Long("federated-ttl") => federated_ttl_s = number(&mut parser, "--federated-ttl")?,
            Long("token-cache") => {
                token_cache = match text(&mut parser)?.as_str() {
                    "fresh" => TokenCache::Fresh,
                    "cached" => TokenCache::Cached,
                    other => return Err(format!("--token-cache is fresh or cached, not {other:?}")),
                }
            }
            Long("port") => port = Some(number(&mut parser, "--port")?),
            Long("identity-port") => identity_port = number(&mut parser, "--identity-port")?,
            Long("stdin-lifeline") => stdin_lifeline = true,
            Long("help") | Short('h') => return Ok(Request::Help),
            other => return Err(other.unexpected().to_string()),
        }
    }
    if shards != 1 {
        return Err(format!("--shards {shards}: {} has exactly one shard", profile.name()));
    }
    if !(1..=TOKEN_TTL_S_MAX).contains(&federated_ttl_s) {
        return Err(format!("--federated-ttl is 1 to {TOKEN_TTL_S_MAX} seconds"));
    }
    let port = port.unwrap_or(profile.port());
    Ok(Request::Run(Options {
        profile,
        token_ttl,
        federated_ttl_s,
        token_cache,
        port,
        identity_port,
        stdin_lifeline,
    }))
}

/// Ten years: far beyond any token, and sums with the present time stay far from overflow.
const TOKEN_TTL_S_MAX: u64 = 315_360_000;

fn text(parser: &mut lexopt::Parser) -> Result<String, String> {
    parser.value().and_then(ValueExt::string).map_err(|error| error.to_string())
}

fn number<T: std::str::FromStr>(parser: &mut lexopt::Parser, option: &str) -> Result<T, String> {
    let text = text(parser)?;
    text.parse().map_err(|_| format!("{option}: {text:?} is not a number in range"))
}
