//! What the program tells the judge: a line of JSON for each command, message and gap.

use respass_futures::{Error, Kind, Outcome, Reply};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) struct Recorder(Mutex<BufWriter<File>>);

impl Recorder {
    pub(crate) fn new(path: &str) -> Recorder {
        Recorder(Mutex::new(BufWriter::new(File::create(path).expect("a file for the records"))))
    }

    pub(crate) fn write(&self, record: &Value) {
        writeln!(self.0.lock().expect("no panic before"), "{record}").expect("room for records");
    }

    pub(crate) fn heard(&self, client: &str, channel: &str, payload: Option<&str>) {
        self.write(&json!({"client": client, "op": "heard", "id": payload, "key": channel, "began": now()}));
    }

    pub(crate) fn flush(&self) {
        self.0.lock().expect("no panic before").flush().expect("room for records");
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs_f64()
}

pub(crate) fn outcome(result: &Result<Value, Error>) -> &'static str {
    match result.as_ref().map_err(Error::outcome) {
        Ok(_) => "replied",
        Err(Some(Outcome::NotSent)) => "not_sent",
        Err(Some(Outcome::Indeterminate)) => "indeterminate",
        Err(Some(Outcome::Refused)) => "refused",
        Err(_) => "unknown",
    }
}

pub(crate) fn plain(reply: &Reply) -> Value {
    match reply.kind() {
        Kind::Null => Value::Null,
        Kind::Integer => json!(reply.to::<i64>().expect("an integer")),
        kind if kind.is_aggregate() => reply.elements().map(|element| plain(&element)).collect(),
        _ => json!(String::from_utf8_lossy(reply.as_bytes())),
    }
}
