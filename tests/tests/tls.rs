//! TLS in memory: what is verified, that nothing leaves before it, and how much a record holds.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use respass::{
    Client, Command, Config, ConnId, Credential, DisconnectCause, ErrorCode, Instant, Now, Outcome, Output,
    Secret, TlsConfig, UnixTime,
};
use respass_tests::conversation::{EPOCH, HELLO_OK, NO_SETINFO};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

const PASSWORD: &str = "a-long-and-secret-password";

/// A certificate for `name`, valid for so many days before and after the test's present.
struct Site {
    ca_pem: String,
    config: Arc<ServerConfig>,
}

fn site(name: &str, from_days: i64, to_days: i64, versions: &[&'static SupportedProtocolVersion]) -> Site {
    let present = OffsetDateTime::from_unix_timestamp(EPOCH.cast_signed()).expect("in range");
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).expect("signed").pem();
    let key = KeyPair::generate().expect("a key");
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    leaf.not_before = present + time::Duration::days(from_days);
    leaf.not_after = present + time::Duration::days(to_days);
    let certificate = leaf.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).expect("signed");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        )
        .expect("a certificate");
    Site { ca_pem, config: Arc::new(config) }
}

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// A client and a server that speak TLS in memory.
struct Wire {
    client: Client,
    server: ServerConnection,
    conn: Option<ConnId>,
    now: Now,
    /// What the server decrypted.
    heard: String,
    /// The lengths of the records the client sent last.
    records: Vec<usize>,
    outcomes: Vec<String>,
    notices: Vec<String>,
}

impl Wire {
    fn new(site: &Site, trusted: &str, change: impl FnOnce(&mut Config)) -> Wire {
        let now = Now { monotonic: Instant::from_micros(1), unix: UnixTime::from_secs(EPOCH.cast_signed()) };
        let mut config = Config::new("cache.example.org", 10_000);
        config.credential = Credential::Password {
            username: "alice".to_owned(),
            password: Arc::new(Secret::new(PASSWORD.as_bytes().to_vec())),
        };
        config.tls = Some(TlsConfig { ca_pem: vec![trusted.as_bytes().to_vec()], ..TlsConfig::default() });
        change(&mut config);
        let client = Client::new(config, [1; 32], now).expect("a working configuration");
        let server = ServerConnection::new(site.config.clone()).expect("a server");
        let mut wire = Wire {
            client,
            server,
            conn: None,
            now,
            heard: String::new(),
            records: vec![],
            outcomes: vec![],
            notices: vec![],
        };
        wire.client.connect(now);
        wire.pump();
        wire.client.handle_connected(wire.conn.expect("asked for"), now);
        wire
    }

    /// A wire over which the login has been accepted.
    fn ready(versions: &[&'static SupportedProtocolVersion]) -> Wire {
        let site = site("cache.example.org", -1, 1, versions);
        let mut wire = Wire::new(&site, &site.ca_pem, |_| {});
        wire.exchange();
        wire.say(&format!("{HELLO_OK}{NO_SETINFO}"));
        wire
    }

    /// Carries bytes both ways until nobody has anything to say.
    fn exchange(&mut self) {
        loop {
            self.pump();
            let Some(conn) = self.conn else { return };
            let bytes = self.client.take_transmit(conn, self.now);
            self.records.extend(record_lengths(&bytes));
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                self.server.read_tls(&mut rest).expect("room");
                if self.server.process_new_packets().is_err() {
                    break;
                }
                let mut text = Vec::new();
                // Ends in `WouldBlock` where the client has not closed; what was read counts.
                let _ = self.server.reader().read_to_end(&mut text);
                self.heard.push_str(&String::from_utf8_lossy(&text));
            }
            let mut answer = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut answer).expect("a Vec");
            }
            if bytes.is_empty() && answer.is_empty() {
                return;
            }
            if !answer.is_empty() {
                self.client.handle_received(conn, &answer, self.now);
            }
        }
    }

    /// The server says something; everything is carried.
    fn say(&mut self, text: &str) {
        self.server.writer().write_all(text.as_bytes()).expect("room");
        self.exchange();
    }

    fn submit(&mut self, line: &str) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.client.submit(Command::new(&words), self.now).expect("accepted");
    }

    fn pump(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Connect { conn, .. } => self.conn = Some(conn),
                Output::Disconnect { .. } => self.conn = None,
                Output::Replies(batch) => {
                    let replies = batch.iter().map(|(_, reply)| respass_tests::resp_text::text_of(&reply));
                    self.outcomes.extend(replies);
                }
                Output::Failed { error, .. } => {
                    self.outcomes.push(format!("{:?} {:?} {}", error.code, error.outcome, error.text));
                }
                Output::Notice(notice) => self.notices.push(format!("{notice:?}")),
                _ => {}
            }
        }
    }
}

/// The lengths of TLS records (RFC 8446, 5.1).
fn record_lengths(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [_, _, _, high, low, rest @ ..] = bytes {
        let len = usize::from(*high) << 8 | usize::from(*low);
        lengths.push(len);
        bytes = &rest[len..];
    }
    lengths
}

#[test]
fn login_and_commands_work_over_tls_1_3_and_1_2() {
    for version in BOTH {
        let mut wire = Wire::ready(&[version]);
        wire.submit("GET k");
        wire.exchange();
        assert!(wire.heard.contains(PASSWORD) && wire.heard.ends_with("$3\r\nGET\r\n$1\r\nk\r\n"));
        wire.say("$1\r\nv\r\n");
        assert_eq!(wire.outcomes, ["v"]);
        assert_eq!(wire.server.protocol_version(), Some(version.version));
    }
}

#[test]
fn nothing_is_said_to_a_server_that_cannot_show_the_configured_name() {
    let good = site("cache.example.org", -1, 1, BOTH);
    for (what, site, trusted) in [
        ("another name", site("other.example.org", -1, 1, BOTH), None),
        ("an address", site("127.0.0.1", -1, 1, BOTH), None),
        ("a parent domain", site("example.org", -1, 1, BOTH), None),
        ("expired", site("cache.example.org", -9, -1, BOTH), None),
        ("not valid yet", site("cache.example.org", 1, 9, BOTH), None),
        ("an unknown authority", site("cache.example.org", -1, 1, BOTH), Some(&good.ca_pem)),
    ] {
        let mut wire = Wire::new(&site, trusted.unwrap_or(&site.ca_pem), |_| {});
        wire.submit("GET k");
        wire.exchange();
        assert_eq!(wire.heard, "", "{what}");
        assert_eq!(wire.conn, None, "{what}: the connection is given up");
        assert!(
            wire.notices.iter().any(|notice| notice.contains("certificate")),
            "{what}: {:?}",
            wire.notices
        );
    }
}

#[test]
fn a_failed_verification_is_what_the_commands_timeout_tells() {
    let site = site("other.example.org", -1, 1, BOTH);
    let mut wire = Wire::new(&site, &site.ca_pem, |_| {});
    wire.submit("GET k");
    wire.exchange();
    wire.now.monotonic = wire.now.monotonic + Duration::from_secs(40);
    wire.client.handle_timeout(wire.now);
    wire.pump();
    assert!(wire.outcomes[0].starts_with("Tls NotSent"), "{:?}", wire.outcomes);
}

#[test]
fn another_name_can_be_verified_by_configuration() {
    let site = site("cluster.example.org", -1, 1, BOTH);
    let mut wire = Wire::new(&site, &site.ca_pem, |config| {
        config.tls.as_mut().expect("set above").server_name = Some("cluster.example.org".to_owned());
    });
    wire.exchange();
    assert!(wire.heard.contains("HELLO"));
}

#[test]
fn commands_of_one_turn_share_a_record() {
    let mut wire = Wire::ready(BOTH);
    wire.records.clear();
    for key in 0..100 {
        wire.submit(&format!("GET {key}"));
    }
    wire.exchange();
    assert_eq!(wire.records.len(), 1, "{:?}", wire.records);
}

#[test]
fn a_large_value_arrives_whole_in_both_directions() {
    let mut wire = Wire::ready(BOTH);
    let value = "x".repeat(300_000);
    wire.submit(&format!("SET k {value}"));
    wire.exchange();
    assert!(wire.heard.ends_with(&format!("{value}\r\n")));
    for part in [format!("$300000\r\n{}", &value[..200_000]), format!("{}\r\n", &value[200_000..])] {
        for piece in part.as_bytes().chunks(40_000) {
            wire.say(std::str::from_utf8(piece).expect("ASCII"));
        }
    }
    assert!(wire.outcomes == [value]);
}

#[test]
fn whole_replies_before_an_abrupt_end_count_and_the_rest_is_indeterminate() {
    let mut wire = Wire::ready(BOTH);
    wire.submit("GET a");
    wire.submit("INCR b");
    wire.exchange();
    wire.say("$1\r\nv\r\n:1");
    wire.client.handle_disconnected(wire.conn.expect("open"), DisconnectCause::Closed, wire.now);
    wire.pump();
    assert_eq!(wire.outcomes[0], "v");
    assert!(wire.outcomes[1].contains(&format!("{:?}", Outcome::Indeterminate)));
}

#[test]
fn a_close_notify_ends_the_connection_before_anything_more_is_sent() {
    let mut wire = Wire::ready(BOTH);
    wire.submit("GET a");
    wire.exchange();
    wire.server.writer().write_all(b"$1\r\nv\r\n").expect("room");
    wire.server.send_close_notify();
    wire.exchange();
    assert_eq!(wire.outcomes, ["v"]);
    assert_eq!(wire.conn, None);
    wire.submit("INCR b");
    wire.client.close(wire.now);
    wire.pump();
    assert!(wire.outcomes[1].contains(&format!("{:?}", Outcome::NotSent)), "{:?}", wire.outcomes);
}

#[test]
fn garbage_inside_the_stream_ends_the_connection() {
    let mut wire = Wire::ready(BOTH);
    wire.submit("GET a");
    wire.exchange();
    let conn = wire.conn.expect("open");
    wire.client.handle_received(conn, b"$1\r\nv\r\n", wire.now);
    wire.pump();
    assert_eq!(wire.conn, None);
    assert!(wire.outcomes[0].contains(&format!("{:?}", ErrorCode::Tls)), "{:?}", wire.outcomes);
}

#[test]
fn unreadable_certificates_are_named_when_the_client_is_made() {
    let now = Now::default();
    for pem in [&b"no pem"[..], b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let mut config = Config::new("localhost", 1);
        config.tls = Some(TlsConfig { ca_pem: vec![pem.to_vec()], ..TlsConfig::default() });
        let error = Client::new(config, [0; 32], now).err().expect("refused");
        assert!(error.text.contains("certificate authority"), "{error}");
    }
}

#[test]
fn one_odd_certificate_in_a_bundle_leaves_the_others_trusted() {
    let site = site("cache.example.org", -1, 1, BOTH);
    let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let mut wire = Wire::new(&site, &format!("{odd}{}", site.ca_pem), |_| {});
    wire.exchange();
    assert!(wire.heard.contains("HELLO"));
}
