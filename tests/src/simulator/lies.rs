//! Nodes that answer something else than the truth.

use super::cluster::{ADVERTISED, Cluster};
use super::wire::Writer;

/// Where nobody must ever be led to.
pub const STRANGER: &str = "stranger.example";

/// How a node answers for a while.
#[derive(Clone, Copy, Debug)]
pub struct Mood {
    /// What it answers.
    pub temper: Temper,
    /// Until when, in true time.
    pub until: u64,
}

/// What a node answers to commands with keys, or to questions for the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    /// `LOADING`
    Loading,
    /// `CLUSTERDOWN`
    ClusterDown,
    /// `MASTERDOWN`
    MasterDown,
    /// `TRYAGAIN`
    TryAgain,
    /// Redirects that must not be followed.
    Redirects(RedirectLie),
    /// Topologies that must not be believed.
    Maps(MapLie),
}

/// Redirects that must not be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectLie {
    /// To a host that no topology lists.
    Stranger,
    /// To a port of the right host that no topology lists.
    StrangePort,
    /// The same, and for ASK.
    AskStranger,
    /// For another slot than the command's.
    OtherSlot,
    /// To nowhere.
    QuestionMark,
    /// To port 0.
    PortZero,
    /// To a slot that does not exist.
    NoSuchSlot,
    /// Not well-formed.
    Garbage,
    /// To the node itself, again and again.
    Itself,
}

/// All of them.
pub const REDIRECT_LIES: [RedirectLie; 9] = [
    RedirectLie::Stranger,
    RedirectLie::StrangePort,
    RedirectLie::AskStranger,
    RedirectLie::OtherSlot,
    RedirectLie::QuestionMark,
    RedirectLie::PortZero,
    RedirectLie::NoSuchSlot,
    RedirectLie::Garbage,
    RedirectLie::Itself,
];

impl RedirectLie {
    /// What a node says to a command of `slot`.
    pub fn text(self, cluster: &Cluster, node: usize, slot: u16) -> String {
        match self {
            RedirectLie::Stranger => format!("MOVED {slot} {STRANGER}:6379"),
            RedirectLie::StrangePort => format!("MOVED {slot} {ADVERTISED}:9"),
            RedirectLie::AskStranger => format!("ASK {slot} {STRANGER}:6379"),
            RedirectLie::OtherSlot => format!("MOVED {} {STRANGER}:6379", (slot + 1) % 16_384),
            RedirectLie::QuestionMark => format!("MOVED {slot} ?:6379"),
            RedirectLie::PortZero => format!("MOVED {slot} {ADVERTISED}:0"),
            RedirectLie::NoSuchSlot => format!("MOVED 16384 {STRANGER}:6379"),
            RedirectLie::Garbage => format!("MOVED {slot} {STRANGER}:6379:1 twice"),
            RedirectLie::Itself => {
                let (host, port) = cluster.advertised(node);
                format!("MOVED {slot} {host}:{port}")
            }
        }
    }
}

/// Topologies that must not be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapLie {
    /// No ranges.
    Empty,
    /// All slots twice, at different nodes.
    Overlap,
    /// Slots that do not exist.
    Negative,
    /// The range's end is before its beginning.
    Backwards,
    /// Port 0 and unknown hosts.
    Nowhere,
    /// No array.
    Text,
    /// Numbers and names change places.
    Shuffled,
    /// More ranges than there are slots.
    Endless,
    /// Another host has everything.
    Stranger,
}

/// All of them.
pub const MAP_LIES: [MapLie; 9] = [
    MapLie::Empty,
    MapLie::Overlap,
    MapLie::Negative,
    MapLie::Backwards,
    MapLie::Nowhere,
    MapLie::Text,
    MapLie::Shuffled,
    MapLie::Endless,
    MapLie::Stranger,
];

impl MapLie {
    /// Answers CLUSTER SLOTS.
    pub fn tell(self, cluster: &mut Cluster, out: &mut Writer) {
        let (host, port) = cluster.advertised(cluster.truth.primaries[0]);
        cluster.listed.insert((host.clone(), port));
        match self {
            MapLie::Empty => out.array(0),
            MapLie::Text => out.simple("OK"),
            MapLie::Overlap => {
                let other = cluster.advertised(*cluster.truth.primaries.last().expect("a primary"));
                cluster.listed.insert(other.clone());
                out.array(2);
                range(out, (0, 16_383), &host, port);
                range(out, (0, 16_383), &other.0, other.1);
            }
            MapLie::Shuffled => {
                out.array(1);
                out.array(2);
                out.bulk("0");
                out.array(1);
                out.bulk(&host);
            }
            MapLie::Endless => {
                out.array(20_000);
                (0..20_000).for_each(|_| range(out, (5, 5), &host, port));
            }
            MapLie::Negative => {
                out.array(1);
                range(out, (-5, 70_000), &host, port);
            }
            MapLie::Backwards => {
                out.array(1);
                range(out, (9000, 3), &host, port);
            }
            MapLie::Stranger => {
                out.array(1);
                range(out, (0, 16_383), STRANGER, 6379);
                cluster.listed.insert((STRANGER.to_owned(), 6379));
            }
            MapLie::Nowhere => {
                out.array(1);
                range(out, (0, 16_383), "?", 0);
            }
        }
    }
}

fn range(out: &mut Writer, slots: (i64, i64), host: &str, port: u16) {
    out.array(3);
    out.integer(slots.0);
    out.integer(slots.1);
    out.array(2);
    out.bulk(host);
    out.integer(i64::from(port));
}
