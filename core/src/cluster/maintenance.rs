//! What Azure Cache for Redis publishes on the channel `AzureRedisEvents` before and after it takes a node away.

use super::{checked_host, decimal};

/// Which moment of the maintenance it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaintenanceKind {
    /// In up to a quarter of an hour.
    Scheduled,
    /// In about 20 s.
    Starting,
    /// Within 5 s.
    Start,
    FailoverComplete,
    Ended,
    ScaleComplete,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Maintenance<'a> {
    pub(crate) kind: MaintenanceKind,
    /// Whether the node is a replica.
    pub(crate) is_replica: bool,
    /// The node; empty where it is not told.
    pub(crate) host: &'a str,
    pub(crate) ssl_port: Option<u16>,
    pub(crate) plain_port: Option<u16>,
    /// When it starts, as the server writes it; empty where it is not told.
    pub(crate) start_time: &'a str,
}

/// No message is nearly as long.
const BODY_LEN_MAX: usize = 4096;

/// Reads a message: names and values with `|` between them. `None` where it is malformed or of an unknown type.
pub(crate) fn parse_maintenance(body: &[u8]) -> Option<Maintenance<'_>> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= BODY_LEN_MAX)?;
    if text.contains(char::is_control) {
        return None;
    }
    let mut kind = None;
    let (mut is_replica, mut host, mut start_time) = (false, "", "");
    let (mut ssl_port, mut plain_port) = (None, None);
    let mut words = text.split('|');
    while let Some(name) = words.next() {
        let value = words.next()?;
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("NotificationType") {
            kind = Some(kind_of(value)?);
        } else if is("IsReplica") {
            is_replica = flag(value)?;
        } else if is("IPAddress") {
            host = if value.is_empty() { value } else { checked_host(value.as_bytes())? };
        } else if is("SSLPort") {
            ssl_port = port(value)?;
        } else if is("NonSSLPort") {
            plain_port = port(value)?;
        } else if is("StartTimeInUTC") {
            start_time = value;
        }
    }
    Some(Maintenance { kind: kind?, is_replica, host, ssl_port, plain_port, start_time })
}

fn kind_of(value: &str) -> Option<MaintenanceKind> {
    Some(match value {
        "NodeMaintenanceScheduled" => MaintenanceKind::Scheduled,
        "NodeMaintenanceStarting" => MaintenanceKind::Starting,
        "NodeMaintenanceStart" => MaintenanceKind::Start,
        // The second is the name it had before.
        "NodeMaintenanceFailoverComplete" | "NodeMaintenanceFailover" => MaintenanceKind::FailoverComplete,
        "NodeMaintenanceEnded" => MaintenanceKind::Ended,
        "NodeMaintenanceScaleComplete" => MaintenanceKind::ScaleComplete,
        _ => return None,
    })
}

fn flag(value: &str) -> Option<bool> {
    let is = |known: &str| value.eq_ignore_ascii_case(known);
    if is("true") { Some(true) } else { (is("false") || value.is_empty()).then_some(false) }
}

/// No port is none; what is not a number is malformed.
fn port(value: &str) -> Option<Option<u16>> {
    if value.is_empty() {
        return Some(None);
    }
    decimal(value.as_bytes()).map(|port| Some(port).filter(|&port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sample_is_read() {
        let body =
            b"NotificationType|NodeMaintenanceStarting|StartTimeInUTC|2021-03-02T23:26:57|IsReplica|False|\
            IPAddress||SSLPort|15001|NonSSLPort|13001";
        let expected = Maintenance {
            kind: MaintenanceKind::Starting,
            is_replica: false,
            host: "",
            ssl_port: Some(15001),
            plain_port: Some(13001),
            start_time: "2021-03-02T23:26:57",
        };
        assert_eq!(parse_maintenance(body), Some(expected));
    }

    #[test]
    fn names_in_another_order_or_unknown_or_missing_do_no_harm() {
        let body = b"What|ever|IPAddress|52.158.249.185|IsReplica|true|SSLPort||NotificationType|NodeMaintenanceEnded";
        let read = parse_maintenance(body).expect("a message");
        assert_eq!((read.kind, read.host, read.is_replica), (MaintenanceKind::Ended, "52.158.249.185", true));
        assert_eq!((read.ssl_port, read.plain_port, read.start_time), (None, None, ""));
    }

    #[test]
    fn every_type_is_known() {
        for (name, kind) in [
            ("Scheduled", MaintenanceKind::Scheduled),
            ("Starting", MaintenanceKind::Starting),
            ("Start", MaintenanceKind::Start),
            ("FailoverComplete", MaintenanceKind::FailoverComplete),
            ("Failover", MaintenanceKind::FailoverComplete),
            ("Ended", MaintenanceKind::Ended),
            ("ScaleComplete", MaintenanceKind::ScaleComplete),
        ] {
            let body = format!("NotificationType|NodeMaintenance{name}");
            assert_eq!(parse_maintenance(body.as_bytes()).map(|read| read.kind), Some(kind), "{name}");
        }
    }

    #[test]
    fn what_is_malformed_or_unknown_is_nothing() {
        let ended = "NotificationType|NodeMaintenanceEnded";
        for rest in
            ["|", "|SSLPort|x", "|SSLPort|65536", "|SSLPort|-1", "|IsReplica|2", "|IPAddress|a b", "|x|a\nb"]
        {
            assert_eq!(parse_maintenance(format!("{ended}{rest}").as_bytes()), None, "{rest}");
        }
        for body in ["", "|", "NotificationType|Other", "NotificationType", "SSLPort|15001", "hello"] {
            assert_eq!(parse_maintenance(body.as_bytes()), None, "{body}");
        }
        assert_eq!(parse_maintenance(b"NotificationType|NodeMaintenanceEnded|x|\xff"), None);
        assert_eq!(parse_maintenance(format!("{ended}|x|{}", "y".repeat(5000)).as_bytes()), None);
    }
}
