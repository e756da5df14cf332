//! The command line and the names of the profiles; what a profile does is not decided here.

use std::ffi::OsString;

use lexopt::prelude::{Long, Short, ValueExt};

use crate::dialect::{ClusterRefusal, Select};
use crate::random;

pub(crate) const USAGE: &str = "\
usage: respass-emulator [options]
  --profile NAME        amr-nocluster (default), amr-enterprise, amr-oss, acr-single or acr-cluster
  --shards N            shards: of amr-enterprise 2 or more (default 2), of amr-oss and acr-cluster 1 to 10
                        (default 3), of the others 1
  --access-keys MODE    on or off (default: on for acr-single, else off)
  --cluster-refusal X   what amr answers to CLUSTER: disabled (default), unknown or not-allowed
  --select MODE         what amr makes of SELECT: refuse or ignore (default: ignore on amr-oss, else refuse)
  --token-ttl S[-S]     life of a token in seconds, or the range to draw it from (default 3600)
  --federated-ttl S     life of the workload's service-account token (default 3600)
  --token-cache MODE    fresh (default): a new token at every call; cached: as the platform does
  --port P              the cache (default 10000, acr 6380; 0 picks a free port)
  --node-port P         the first node of a cluster (default 8502, acr 15000; 0, also the default where
                        --port is 0, picks free ones)
  --identity-port P     the managed-identity endpoints (default 0)
  --stdin-lifeline      end when standard input closes";

/// What the command line asks for.
pub(crate) enum Request {
    Run(Options),
    Help,
}

pub(crate) struct Options {
    pub(crate) profile: Profile,
    pub(crate) shards: usize,
    pub(crate) access_keys: bool,
    pub(crate) cluster_refusal: ClusterRefusal,
    pub(crate) select: Select,
    /// Life of the tokens of the identity endpoints.
    pub(crate) token_ttl: Ttl,
    /// Life of the service-account token of workload identity, in seconds.
    pub(crate) federated_ttl_s: u64,
    pub(crate) token_cache: TokenCache,
    pub(crate) port: u16,
    /// Of the first node; 0 for free ones.
    pub(crate) node_port: u16,
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
    AmrEnterprise,
    AmrOss,
    AcrSingle,
    AcrCluster,
}

const PROFILES: [(&str, Profile); 5] = [
    ("amr-nocluster", Profile::AmrNocluster),
    ("amr-enterprise", Profile::AmrEnterprise),
    ("amr-oss", Profile::AmrOss),
    ("acr-single", Profile::AcrSingle),
    ("acr-cluster", Profile::AcrCluster),
];

impl Profile {
    pub(crate) fn name(self) -> &'static str {
        PROFILES.iter().find(|(_, profile)| *profile == self).map_or("", |(name, _)| name)
    }

    pub(crate) fn is_managed(self) -> bool {
        matches!(self, Profile::AmrNocluster | Profile::AmrEnterprise | Profile::AmrOss)
    }

    /// Whether clients see its nodes.
    pub(crate) fn is_clustered(self) -> bool {
        matches!(self, Profile::AmrOss | Profile::AcrCluster)
    }

    fn port(self) -> u16 {
        if self.is_managed() { 10_000 } else { 6_380 }
    }

    fn node_port(self) -> u16 {
        if self.is_managed() { 8_502 } else { 15_000 }
    }

    /// Access keys are off on new caches of Azure Managed Redis.
    fn has_access_keys(self) -> bool {
        !self.is_managed()
    }

    /// Both are true of Azure Managed Redis by someone's word; what a cluster's clients send depends on it.
    fn select(self) -> Select {
        if self == Profile::AmrOss { Select::Ignore } else { Select::Refuse }
    }

    fn shards(self, asked: Option<usize>) -> Result<usize, String> {
        let (default, allowed) = match self {
            Profile::AmrEnterprise => (2, 2..=usize::MAX),
            Profile::AmrOss | Profile::AcrCluster => (3, 1..=SHARDS_MAX),
            Profile::AmrNocluster | Profile::AcrSingle => (1, 1..=1),
        };
        let shards = asked.unwrap_or(default);
        if allowed.contains(&shards) {
            return Ok(shards);
        }
        let range = match (*allowed.start(), *allowed.end()) {
            (1, 1) => "exactly 1".to_owned(),
            (min, usize::MAX) => format!("{min} or more"),
            (min, max) => format!("{min} to {max}"),
        };
        Err(format!("--shards {shards}: {} has {range}", self.name()))
    }

    fn parse(name: &str) -> Result<Profile, String> {
        PROFILES.iter().find(|(known, _)| *known == name).map(|(_, profile)| *profile).ok_or_else(|| {
            let names: Vec<&str> = PROFILES.iter().map(|(name, _)| *name).collect();
            format!("--profile {name}: there is: {}", names.join(", "))
        })
    }
}

/// Each shard takes two processes; Azure Cache for Redis has no more either.
const SHARDS_MAX: usize = 10;

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
    let mut profile = Profile::AmrNocluster;
    let (mut shards, mut port, mut node_port) = (None, None, None);
    let (mut access_keys, mut cluster_refusal, mut select) = (None, ClusterRefusal::default(), None);
    let mut token_ttl = Ttl { min_s: 3_600, max_s: 3_600 };
    let (mut federated_ttl_s, mut token_cache, mut identity_port) = (3_600, TokenCache::Fresh, 0);
    let mut stdin_lifeline = false;
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Long("profile") => profile = Profile::parse(&text(&mut parser)?)?,
            Long("shards") => shards = Some(number(&mut parser, "--shards")?),
            Long("access-keys") => {
                access_keys = Some(choice(&mut parser, "--access-keys", &[("on", true), ("off", false)])?);
            }
            Long("cluster-refusal") => {
                cluster_refusal = choice(&mut parser, "--cluster-refusal", &CLUSTER_REFUSALS)?;
            }
            Long("select") => {
                let modes = [("refuse", Select::Refuse), ("ignore", Select::Ignore)];
                select = Some(choice(&mut parser, "--select", &modes)?);
            }
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
            Long("node-port") => node_port = Some(number(&mut parser, "--node-port")?),
            Long("identity-port") => identity_port = number(&mut parser, "--identity-port")?,
            Long("stdin-lifeline") => stdin_lifeline = true,
            Long("help") | Short('h') => return Ok(Request::Help),
            other => return Err(other.unexpected().to_string()),
        }
    }
    if !(1..=TOKEN_TTL_S_MAX).contains(&federated_ttl_s) {
        return Err(format!("--federated-ttl is 1 to {TOKEN_TTL_S_MAX} seconds"));
    }
    let port = port.unwrap_or(profile.port());
    Ok(Request::Run(Options {
        profile,
        shards: profile.shards(shards)?,
        access_keys: access_keys.unwrap_or(profile.has_access_keys()),
        cluster_refusal,
        select: select.unwrap_or(profile.select()),
        token_ttl,
        federated_ttl_s,
        token_cache,
        port,
        node_port: node_port.unwrap_or(if port == 0 { 0 } else { profile.node_port() }),
        identity_port,
        stdin_lifeline,
    }))
}

const CLUSTER_REFUSALS: [(&str, ClusterRefusal); 3] = [
    ("disabled", ClusterRefusal::Disabled),
    ("unknown", ClusterRefusal::Unknown),
    ("not-allowed", ClusterRefusal::NotAllowed),
];

/// Ten years: far beyond any token, and sums with the present time stay far from overflow.
const TOKEN_TTL_S_MAX: u64 = 315_360_000;

fn text(parser: &mut lexopt::Parser) -> Result<String, String> {
    parser.value().and_then(ValueExt::string).map_err(|error| error.to_string())
}

fn choice<T: Copy>(parser: &mut lexopt::Parser, option: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let text = text(parser)?;
    choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("{option} is one of {}, not {text:?}", names.join(", "))
    })
}

fn number<T: std::str::FromStr>(parser: &mut lexopt::Parser, option: &str) -> Result<T, String> {
    let text = text(parser)?;
    text.parse().map_err(|_| format!("{option}: {text:?} is not a number in range"))
}
