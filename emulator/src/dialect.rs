//! What a profile's Redis is: its version, what it refuses, and with which words.

use crate::options::Profile;
use crate::redis_6_0;

/// The Redis that clients see in front of whatever redis-server runs here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    pub(crate) product: Product,
    /// Keys of one command have to be in one slot, for a proxy spreads them over shards.
    pub(crate) one_slot: bool,
    /// Clients see the nodes of a cluster.
    pub(crate) clustered: bool,
    pub(crate) cluster_refusal: ClusterRefusal,
    pub(crate) select: Select,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    /// Azure Managed Redis: Redis Enterprise.
    Managed,
    /// Azure Cache for Redis: open-source Redis 6.0.
    Cache,
}

/// What Azure Managed Redis answers to CLUSTER where there is no cluster: nobody has published it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ClusterRefusal {
    #[default]
    Disabled,
    Unknown,
    NotAllowed,
}

/// What Azure Managed Redis makes of SELECT: Microsoft's page lists it as blocked, and Redis' own table says
/// that it is accepted and does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Select {
    Refuse,
    Ignore,
}

/// What becomes of a command, as far as its name tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    /// The server gets a mistake in its place, and the client this error (without its minus sign).
    Refuse(Refused),
    /// The argument at this position becomes one that the server does not know either.
    Spoil(usize),
    /// SELECT 0, whatever was to be selected.
    SelectZero,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) text: String,
    /// The command and its subcommand, if NOAUTH and NOPERM come before this error.
    pub(crate) after_rights: Option<(String, String)>,
}

impl Refused {
    /// Not even a client that has not logged in gets another answer.
    pub(crate) fn first_of_all(text: &str) -> Refused {
        Refused { text: one_line(text), after_rights: None }
    }

    /// For a client that is logged in and may run the command.
    pub(crate) fn after_rights(text: &str, name: &str, subcommand: &str) -> Refused {
        Refused { text: one_line(text), after_rights: Some((name.to_owned(), subcommand.to_owned())) }
    }
}

/// An error is one line, whatever arguments it shows.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

impl Dialect {
    pub(crate) fn new(profile: Profile, cluster_refusal: ClusterRefusal, select: Select) -> Dialect {
        Dialect {
            product: if profile.is_managed() { Product::Managed } else { Product::Cache },
            one_slot: profile == Profile::AmrEnterprise,
            clustered: profile.is_clustered(),
            cluster_refusal,
            select,
        }
    }

    /// What HELLO and INFO say.
    pub(crate) fn version(self) -> &'static str {
        match self.product {
            Product::Managed => "7.4.3",
            Product::Cache => "6.0.20",
        }
    }

    pub(crate) fn database_count(self) -> u32 {
        match self.product {
            Product::Managed => 1,
            Product::Cache => 16,
        }
    }

    /// Commands that the server itself must not have, so that scripts do not reach them either. The servers of
    /// a cluster need some among themselves.
    pub(crate) fn missing_commands(self) -> impl Iterator<Item = &'static str> {
        let missing = self.refused_commands().iter().copied();
        missing.filter(move |name| !self.clustered || !AMONG_SERVERS.contains(name))
    }

    fn refused_commands(self) -> &'static [&'static str] {
        match self.product {
            Product::Managed => MANAGED_MISSING,
            Product::Cache => CACHE_MISSING,
        }
    }

    /// Judges a command by its arguments, the name among them.
    pub(crate) fn judge(self, arguments: &[&[u8]]) -> Verdict {
        let lower = |position: usize| {
            let text = arguments.get(position).copied().unwrap_or_default();
            // Long ones are no names.
            String::from_utf8_lossy(&text[..text.len().min(NAME_LEN_MAX)]).to_lowercase()
        };
        match self.product {
            Product::Managed => self.judge_managed(&lower(0), &lower(1), arguments),
            Product::Cache => self.judge_cache(&lower(0), &lower(1), arguments),
        }
    }

    fn judge_managed(self, name: &str, subcommand: &str, arguments: &[&[u8]]) -> Verdict {
        let given = || String::from_utf8_lossy(arguments[1]).into_owned();
        match name {
            "select" if arguments.len() == 2 => match self.select {
                Select::Ignore => Verdict::SelectZero,
                Select::Refuse => refuse_first(&unknown_command(self.product, arguments)),
            },
            "cluster" if self.clustered => {
                match MANAGED_CLUSTER.contains(&subcommand) || arguments.len() == 1 {
                    true => Verdict::Pass,
                    false => {
                        refuse_first(&format!("ERR unknown subcommand '{}'. Try CLUSTER HELP.", given()))
                    }
                }
            }
            "cluster" => match self.cluster_refusal {
                ClusterRefusal::Disabled => refuse(NO_CLUSTER, name, subcommand),
                ClusterRefusal::Unknown => refuse_first(&unknown_command(self.product, arguments)),
                ClusterRefusal::NotAllowed => refuse("ERR command is not allowed", name, subcommand),
            },
            _ if MANAGED_MISSING.contains(&name) => refuse_first(&unknown_command(self.product, arguments)),
            _ if MANAGED_MISSING_SUBCOMMANDS.contains(&(name, subcommand)) => {
                let name = name.to_uppercase();
                refuse_first(&format!("ERR unknown subcommand '{}'. Try {name} HELP.", given()))
            }
            _ => Verdict::Pass,
        }
    }

    fn judge_cache(self, name: &str, subcommand: &str, arguments: &[&[u8]]) -> Verdict {
        if !redis_6_0::has_command(name) || CACHE_MISSING.contains(&name) || name == "acl" {
            return refuse_first(&unknown_command(Product::Cache, arguments));
        }
        if name == "cluster" && !self.clustered {
            return refuse(NO_CLUSTER, name, subcommand);
        }
        let refused_here = (name, subcommand) == ("client", "reply");
        if arguments.len() > 1 && (refused_here || !redis_6_0::has_subcommand(name, subcommand)) {
            let given = String::from_utf8_lossy(arguments[1]);
            let end =
                if name == "cluster" { "CLUSTER HELP.".to_owned() } else { name.to_uppercase() + " HELP" };
            let text =
                format!("ERR Unknown subcommand or wrong number of arguments for '{given}'. Try {end}");
            return refuse(&text, name, subcommand);
        }
        match redis_6_0::check_arguments(name, arguments) {
            redis_6_0::Arguments::Known => Verdict::Pass,
            redis_6_0::Arguments::UnknownOption(position) => Verdict::Spoil(position),
            redis_6_0::Arguments::WrongCount => {
                refuse_first(&format!("ERR wrong number of arguments for '{name}' command"))
            }
        }
    }
}

fn refuse(text: &str, name: &str, subcommand: &str) -> Verdict {
    Verdict::Refuse(Refused::after_rights(text, name, subcommand))
}

fn refuse_first(text: &str) -> Verdict {
    Verdict::Refuse(Refused::first_of_all(text))
}

/// The server's own words, which show the start of the arguments.
fn unknown_command(product: Product, arguments: &[&[u8]]) -> String {
    let (quotes, end) = match product {
        Product::Managed => (["'", "'"], " "),
        Product::Cache => (["`", "`"], ", "),
    };
    let quote = |text: &[u8], len_max: usize| {
        let text = String::from_utf8_lossy(&text[..text.len().min(len_max)]).into_owned();
        format!("{}{text}{}", quotes[0], quotes[1])
    };
    let mut shown = String::new();
    for argument in &arguments[1..] {
        if shown.len() >= SHOWN_LEN_MAX {
            break;
        }
        shown += &quote(argument, SHOWN_LEN_MAX - shown.len());
        shown += end;
    }
    let name = quote(arguments[0], SHOWN_LEN_MAX);
    format!("ERR unknown command {name}, with args beginning with: {shown}")
}

const NO_CLUSTER: &str = "ERR This instance has cluster support disabled";
const NAME_LEN_MAX: usize = 64;
const SHOWN_LEN_MAX: usize = 128;

/// What the servers of a cluster send to each other, and the emulator to them.
const AMONG_SERVERS: &[&str] = &["config", "migrate", "psync", "replconf"];

/// The subcommands of CLUSTER that Redis Software has.
const MANAGED_CLUSTER: &[&str] = &["help", "info", "keyslot", "nodes", "shards", "slots"];

/// Commands that Redis Software or Azure Managed Redis refuse as unknown; renaming to nothing gives the very
/// text, `ERR unknown command 'READONLY', with args beginning with: `.
const MANAGED_MISSING: &[&str] = &[
    "asking",
    "bgrewriteaof",
    "bgsave",
    "debug",
    "failover",
    "lastsave",
    "latency",
    "migrate",
    "move",
    "psync",
    "readonly",
    "readwrite",
    "replconf",
    "replicaof",
    "reset",
    "role",
    "save",
    "shutdown",
    "slaveof",
    "swapdb",
    "sync",
];

/// The same for subcommands. CLIENT REPLY is on the list because a command without a reply cannot be counted.
const MANAGED_MISSING_SUBCOMMANDS: &[(&str, &str)] = &[
    ("acl", "setuser"),
    ("acl", "deluser"),
    ("acl", "genpass"),
    ("acl", "load"),
    ("acl", "save"),
    ("acl", "log"),
    ("client", "reply"),
    ("client", "pause"),
    ("client", "unpause"),
    ("client", "no-evict"),
    ("client", "getredir"),
    ("config", "resetstat"),
    ("config", "rewrite"),
    ("memory", "doctor"),
    ("memory", "stats"),
    ("memory", "purge"),
    ("memory", "malloc-stats"),
    ("module", "load"),
    ("module", "loadex"),
    ("module", "unload"),
    ("script", "debug"),
];

/// What Azure Cache for Redis blocks. ACL is blocked too, but the emulator itself needs it on the server.
const CACHE_MISSING: &[&str] = &[
    "bgrewriteaof",
    "bgsave",
    "config",
    "debug",
    "migrate",
    "module",
    "psync",
    "replconf",
    "replicaof",
    "save",
    "shutdown",
    "slaveof",
    "sync",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(profile: Profile, line: &str) -> Verdict {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        Dialect::new(profile, ClusterRefusal::Unknown, Select::Ignore).judge(&words)
    }

    fn text(verdict: Verdict) -> String {
        let Verdict::Refuse(refused) = verdict else { panic!("{verdict:?} is no refusal") };
        refused.text
    }

    #[test]
    fn each_product_refuses_in_its_own_words() {
        let managed = |line: &str| judge(Profile::AmrNocluster, line);
        let cache = |line: &str| judge(Profile::AcrSingle, line);
        assert_eq!(managed("SELECT 3"), Verdict::SelectZero);
        assert_eq!(managed("GETEX k"), Verdict::Pass);
        assert_eq!(
            text(managed("CLUSTER SLOTS")),
            "ERR unknown command 'CLUSTER', with args beginning with: 'SLOTS' "
        );
        assert_eq!(text(managed("CLIENT Pause 1")), "ERR unknown subcommand 'Pause'. Try CLIENT HELP.");
        assert_eq!(cache("SELECT 3"), Verdict::Pass);
        assert_eq!(
            text(cache("GETEX k EX 1")),
            "ERR unknown command `GETEX`, with args beginning with: `k`, `EX`, `1`, "
        );
        assert_eq!(cache("SET k v GET"), Verdict::Spoil(3));
        assert_eq!(text(cache("CLUSTER SLOTS")), NO_CLUSTER);
        assert_eq!(
            text(cache("CLIENT INFO")),
            "ERR Unknown subcommand or wrong number of arguments for 'INFO'. Try CLIENT HELP"
        );
    }
}
