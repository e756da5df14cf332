//! Where the nodes of a cluster are, which advertise addresses of their own.
//!
//! What a server advertises is untrusted, and may be out of reach: Azure's nodes advertise an address that no
//! certificate names, behind one name and many ports.

use super::topology::{Endpoint, Topology};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// How advertised addresses become those to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapMode {
    /// As on Azure for Azure's names, and wherever all nodes share one host and differ in port; else as advertised.
    Auto,
    /// The configured host with the advertised port; where nodes share a port, the advertised address.
    Azure,
    /// The advertised address, verified by the advertised host.
    Advertised,
    /// As the table says.
    Table,
    /// The advertised address: whoever connects changes it.
    Driver,
}

/// An advertised address, and where it is.
pub(crate) type TableRow = ((String, u16), (String, u16));

/// What is configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddressMapRules<'a> {
    pub(crate) mode: MapMode,
    pub(crate) configured_host: &'a str,
    pub(crate) is_tls: bool,
    pub(crate) has_token: bool,
    /// Where tokens may go beside the configured host: names, addresses, or `*.example.com` for what is below.
    pub(crate) allowed_hosts: &'a [String],
    pub(crate) table: &'a [TableRow],
}

/// Which name a certificate must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerNameFrom {
    /// The configured host.
    Configured,
    /// The host that is connected to.
    Host,
}

/// Where to connect, and by which name to verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    pub(crate) server_name: ServerNameFrom,
}

/// Where a node may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Targets {
    pub(crate) first: Target,
    /// Where `first` cannot be reached.
    pub(crate) fallback: Option<Target>,
}

/// Where each node of the cluster is, or for people, why it is not connected to.
pub(crate) fn map(
    rules: AddressMapRules<'_>,
    topology: &Topology,
) -> BTreeMap<Endpoint, Result<Targets, String>> {
    let nodes: BTreeSet<&Endpoint> = topology.nodes().collect();
    let ports: BTreeSet<u16> = nodes.iter().map(|node| node.port).collect();
    let differ_in_port = ports.len() == nodes.len();
    let share_host = nodes.iter().zip(nodes.iter().skip(1)).all(|(one, other)| one.host == other.host);
    let mode = match rules.mode {
        MapMode::Auto if is_azure(rules.configured_host) || share_host && differ_in_port => MapMode::Azure,
        MapMode::Auto => MapMode::Advertised,
        mode => mode,
    };
    let targets = |node: &Endpoint| match mode {
        MapMode::Azure => rules.azure(node, differ_in_port),
        MapMode::Table => rules.table(node),
        MapMode::Driver => Ok(Targets::only(node, ServerNameFrom::Configured)),
        MapMode::Auto | MapMode::Advertised => rules.advertised(node),
    };
    nodes.into_iter().map(|node| (node.clone(), targets(node))).collect()
}

impl Targets {
    fn only(node: &Endpoint, server_name: ServerNameFrom) -> Targets {
        let first = Target { host: node.host.clone(), port: node.port, server_name };
        Targets { first, fallback: None }
    }
}

impl AddressMapRules<'_> {
    /// An advertised address may be anybody's. With TLS it must show a certificate of the configured name; without, no
    /// token goes there.
    fn azure(&self, node: &Endpoint, differ_in_port: bool) -> Result<Targets, String> {
        let advertised =
            Target { host: node.host.clone(), port: node.port, server_name: ServerNameFrom::Configured };
        let may_go_there = self.is_tls || !self.has_token;
        if differ_in_port {
            let first = Target { host: self.configured_host.into(), ..advertised.clone() };
            let fallback = Some(advertised).filter(|other| may_go_there && *other != first);
            return Ok(Targets { first, fallback });
        }
        if may_go_there || self.is_configured(&node.host) {
            return Ok(Targets { first: advertised, fallback: None });
        }
        Err(format!(
            "nodes share port {}, so only {}'s own address tells it from others, and without TLS no token goes there",
            node.port, node.host
        ))
    }

    fn advertised(&self, node: &Endpoint) -> Result<Targets, String> {
        if self.has_token && !self.is_configured(&node.host) && !self.is_allowed(&node.host) {
            return Err(format!(
                "tokens go to the configured host only, and to those named as allowed hosts: {} is none of them",
                node.host
            ));
        }
        self.unless_in_plaintext(Targets::only(node, ServerNameFrom::Host))
    }

    fn table(&self, node: &Endpoint) -> Result<Targets, String> {
        let row =
            self.table.iter().find(|((host, port), _)| same_host(host, &node.host) && *port == node.port);
        let Some((_, (host, port))) = row else {
            return Err(format!("the address table has no row for {} port {}", node.host, node.port));
        };
        let first =
            Target { host: host.as_str().into(), port: *port, server_name: ServerNameFrom::Configured };
        self.unless_in_plaintext(Targets { first, fallback: None })
    }

    /// A token without TLS was allowed for tests on this machine, not for wherever a server points.
    fn unless_in_plaintext(&self, targets: Targets) -> Result<Targets, String> {
        let host = &targets.first.host;
        if self.is_tls || !self.has_token || self.is_configured(host) || is_loopback(host) {
            return Ok(targets);
        }
        Err(format!("{host} is another machine, and without TLS no token goes there"))
    }

    fn is_configured(&self, host: &str) -> bool {
        same_host(host, self.configured_host)
    }

    fn is_allowed(&self, host: &str) -> bool {
        self.allowed_hosts.iter().any(|allowed| match allowed.strip_prefix('*') {
            Some(suffix) if suffix.len() > 1 && suffix.starts_with('.') => is_below(host, suffix),
            Some(_) => false,
            None => same_host(host, allowed),
        })
    }
}

/// The endings of the names of Azure Managed Redis, in all of Azure's clouds.
const MANAGED_SUFFIXES: [&str; 6] = [
    ".redis.azure.net",
    ".redis.chinacloudapi.cn",
    ".redis.usgovcloudapi.net",
    ".redis.sovcloud-api.de",
    ".redis.sovcloud-api.fr",
    ".redisenterprise.cache.azure.net",
];

/// The same of Azure Cache for Redis.
const CACHE_SUFFIXES: [&str; 5] = [
    ".redis.cache.windows.net",
    ".redis.cache.chinacloudapi.cn",
    ".redis.cache.usgovcloudapi.net",
    ".redis.cache.sovcloud-api.de",
    ".redis.cache.sovcloud-api.fr",
];

fn is_azure(host: &str) -> bool {
    is_azure_cache(host) || MANAGED_SUFFIXES.iter().any(|suffix| is_below(host, suffix))
}

/// Whether it is a name of Azure Cache for Redis, in any of Azure's clouds.
pub(crate) fn is_azure_cache(host: &str) -> bool {
    CACHE_SUFFIXES.iter().any(|suffix| is_below(host, suffix))
}

/// Whether a name ends so, with something in front of it. An address is below nothing.
fn is_below(host: &str, suffix: &str) -> bool {
    let host = without_root(host).as_bytes();
    let start = host.len().saturating_sub(suffix.len());
    start > 0 && host.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
}

fn same_host(one: &str, other: &str) -> bool {
    without_root(one).eq_ignore_ascii_case(without_root(other))
}

/// A name may end in the dot of the root.
fn without_root(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::super::topology::Shard;
    use super::*;

    const AMR: &str = "my.eastus.redis.azure.net";

    fn rules(mode: MapMode, configured_host: &str) -> AddressMapRules<'_> {
        AddressMapRules {
            mode,
            configured_host,
            is_tls: true,
            has_token: true,
            allowed_hosts: &[],
            table: &[],
        }
    }

    /// Each node's targets in short: `host:port` with `!` where the certificate must show the host connected to.
    fn mapped(rules: AddressMapRules<'_>, nodes: &[(&str, u16)]) -> Vec<String> {
        let shard = |&(host, port): &(&str, u16)| Shard {
            slots: vec![(port, port)],
            primary: Endpoint::new(host, port).expect("an endpoint"),
            replicas: Vec::new(),
        };
        let topology = Topology { shards: nodes.iter().map(shard).collect() };
        let shown = |target: &Target| {
            let name = if target.server_name == ServerNameFrom::Host { "!" } else { "" };
            format!("{}:{}{name}", target.host, target.port)
        };
        let nodes = map(rules, &topology).into_values().map(|targets| match targets {
            Ok(Targets { first, fallback: None }) => shown(&first),
            Ok(Targets { first, fallback: Some(other) }) => format!("{} or {}", shown(&first), shown(&other)),
            Err(_) => "no".to_owned(),
        });
        nodes.collect()
    }

    #[test]
    fn azures_nodes_are_behind_the_configured_name_and_their_own_port() {
        let nodes = [("10.1.2.3", 8502), ("10.1.2.3", 8503)];
        let expected = [format!("{AMR}:8502 or 10.1.2.3:8502"), format!("{AMR}:8503 or 10.1.2.3:8503")];
        assert_eq!(mapped(rules(MapMode::Auto, AMR), &nodes), expected);
        assert_eq!(mapped(rules(MapMode::Azure, AMR), &nodes), expected);
    }

    #[test]
    fn azures_names_are_known_in_all_its_clouds() {
        let nodes = [("10.0.0.4", 15000), ("10.0.0.5", 15001)];
        for suffix in MANAGED_SUFFIXES.into_iter().chain(CACHE_SUFFIXES) {
            for name in
                [format!("my{suffix}"), format!("MY{}", suffix.to_uppercase()), format!("a.b{suffix}.")]
            {
                let expected = format!("{name}:15000 or 10.0.0.4:15000");
                assert_eq!(mapped(rules(MapMode::Auto, &name), &nodes)[0], expected);
            }
        }
        for name in
            ["redis.azure.net", ".redis.azure.net", "xredis.azure.net", "my.redis.azure.net.evil.example"]
        {
            assert_eq!(mapped(rules(MapMode::Auto, name), &nodes), ["no", "no"], "{name}");
        }
    }

    #[test]
    fn nodes_that_share_one_host_and_differ_in_port_are_mapped_as_azures_are() {
        let nodes = [("127.0.0.2", 7000), ("127.0.0.2", 7001)];
        let expected = ["localhost:7000 or 127.0.0.2:7000", "localhost:7001 or 127.0.0.2:7001"];
        assert_eq!(mapped(rules(MapMode::Auto, "localhost"), &nodes), expected);
        assert_eq!(mapped(rules(MapMode::Auto, "127.0.0.2"), &nodes), ["127.0.0.2:7000", "127.0.0.2:7001"]);
    }

    #[test]
    fn nodes_of_azure_that_share_a_port_are_at_their_own_addresses_under_the_configured_name() {
        let nodes = [("10.0.0.4", 6380), ("10.0.0.5", 6380)];
        assert_eq!(mapped(rules(MapMode::Azure, AMR), &nodes), ["10.0.0.4:6380", "10.0.0.5:6380"]);
    }

    #[test]
    fn without_tls_a_token_goes_to_the_configured_host_only() {
        let azure = AddressMapRules { is_tls: false, ..rules(MapMode::Azure, "localhost") };
        assert_eq!(mapped(azure, &[("10.0.0.4", 1), ("10.0.0.5", 2)]), ["localhost:1", "localhost:2"]);
        assert_eq!(mapped(azure, &[("10.0.0.4", 1), ("localhost", 1)]), ["no", "localhost:1"]);
        let password = AddressMapRules { has_token: false, ..azure };
        assert_eq!(mapped(password, &[("10.0.0.4", 1)]), ["localhost:1 or 10.0.0.4:1"]);
        let allowed = ["10.0.0.4".to_owned(), "127.0.0.2".to_owned()];
        let advertised = AddressMapRules { mode: MapMode::Advertised, allowed_hosts: &allowed, ..azure };
        assert_eq!(mapped(advertised, &[("10.0.0.4", 1), ("127.0.0.2", 1)]), ["no", "127.0.0.2:1!"]);
        let table =
            [(("a".to_owned(), 1), ("10.0.0.4".to_owned(), 2)), (("b".to_owned(), 1), ("::1".to_owned(), 3))];
        let table = AddressMapRules { mode: MapMode::Table, table: &table, ..azure };
        assert_eq!(mapped(table, &[("a", 1), ("b", 1)]), ["no", "::1:3"]);
    }

    #[test]
    fn advertised_nodes_are_verified_by_their_own_names_and_get_tokens_only_where_allowed() {
        let nodes =
            [("a.example", 1), ("b.a.example", 1), ("c.d.A.example", 1), ("evil-a.example", 1), ("seed", 1)];
        let expected = |shown: &[&str]| shown.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let advertised = rules(MapMode::Advertised, "SEED");
        assert_eq!(mapped(advertised, &nodes), expected(&["no", "no", "no", "no", "seed:1!"]));
        let allowed = ["*.a.example".to_owned()];
        let wild = AddressMapRules { allowed_hosts: &allowed, ..advertised };
        let shown = mapped(wild, &nodes);
        assert_eq!(shown, expected(&["no", "b.a.example:1!", "c.d.A.example:1!", "no", "seed:1!"]));
        for allowed in ["*", "*.", "*example", "", "a.exampl"] {
            let allowed = [allowed.to_owned()];
            let none = AddressMapRules { allowed_hosts: &allowed, ..advertised };
            assert_eq!(mapped(none, &nodes), mapped(advertised, &nodes), "{allowed:?}");
        }
        let allowed = ["A.example".to_owned()];
        let exact = AddressMapRules { allowed_hosts: &allowed, ..advertised };
        assert_eq!(mapped(exact, &nodes), expected(&["a.example:1!", "no", "no", "no", "seed:1!"]));
        let password = AddressMapRules { has_token: false, ..advertised };
        assert_eq!(mapped(password, &[("10.0.0.4", 1), ("10.0.0.5", 1)]), ["10.0.0.4:1!", "10.0.0.5:1!"]);
    }

    #[test]
    fn a_table_names_every_node_that_is_connected_to() {
        let table = [(("10.0.0.4".to_owned(), 8501), ("proxy".to_owned(), 9001))];
        let table = AddressMapRules { table: &table, ..rules(MapMode::Table, AMR) };
        let nodes = [("10.0.0.4", 8501), ("10.0.0.4", 8502)];
        assert_eq!(mapped(table, &nodes), ["proxy:9001", "no"]);
    }

    #[test]
    fn a_driver_gets_what_is_advertised() {
        let driver = rules(MapMode::Driver, AMR);
        assert_eq!(mapped(driver, &[("10.0.0.4", 1), ("10.0.0.5", 1)]), ["10.0.0.4:1", "10.0.0.5:1"]);
    }

    #[test]
    fn replicas_are_mapped_as_primaries_are() {
        let endpoint = |port| Endpoint::new("10.1.2.3", port).expect("an endpoint");
        let shard =
            Shard { slots: vec![(0, 16383)], primary: endpoint(15000), replicas: vec![endpoint(15001)] };
        let mapped = map(rules(MapMode::Auto, AMR), &Topology { shards: vec![shard] });
        let replica = mapped.get(&endpoint(15001)).expect("listed").as_ref().expect("mapped");
        assert_eq!((&*replica.first.host, replica.first.port), (AMR, 15001));
    }
}
