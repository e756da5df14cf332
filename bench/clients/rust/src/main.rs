//! One sample: one client, one workload, for some seconds, on one thread of tokio; prints a JSON line.
//!
//!   respass-bench-rust CLIENT WORKLOAD --port N --seconds S [--tasks N] [--ca FILE --user NAME --password WORD]

mod clients;

use clients::{Client, RedisRs, Respass};
use std::rc::Rc;
use std::time::{Duration, Instant};

const KEYS: usize = 1000;
const ELEMENTS: usize = 100_000;
const VALUE_LEN: usize = 100;
const WARM_UP_S: f64 = 0.15;

/// The command line.
pub struct Options {
    client: String,
    workload: String,
    port: u16,
    seconds: f64,
    tasks: usize,
    /// With TLS, a login.
    ca: Option<String>,
    user: String,
    password: String,
}

impl Options {
    fn parse() -> Options {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let option = |name: &str| {
            let at = words.iter().position(|word| word == name)?;
            words.get(at + 1).cloned()
        };
        Options {
            client: words.first().cloned().expect("CLIENT"),
            workload: words.get(1).cloned().expect("WORKLOAD"),
            port: option("--port").expect("--port").parse().expect("a port"),
            seconds: option("--seconds").expect("--seconds").parse().expect("seconds"),
            tasks: option("--tasks").map_or(100, |text| text.parse().expect("a number")),
            ca: option("--ca"),
            user: option("--user").unwrap_or_default(),
            password: option("--password").unwrap_or_default(),
        }
    }
}

/// Wall time and CPU of this process.
struct Meter {
    wall: Instant,
    cpu_s: f64,
}

impl Meter {
    fn read() -> Meter {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointer is to a timespec of ours.
        unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
        Meter { wall: Instant::now(), cpu_s: time.tv_sec as f64 + time.tv_nsec as f64 / 1e9 }
    }

    fn report(&self, ops: usize) {
        let now = Meter::read();
        let (wall, cpu_s) = ((now.wall - self.wall).as_secs_f64(), now.cpu_s - self.cpu_s);
        println!("{{\"ops\":{ops},\"seconds\":{wall:.6},\"cpu_s\":{cpu_s:.6}}}");
    }
}

fn main() {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        match options.client.as_str() {
            "respass" => run::<Respass>(&options).await,
            "redis-rs" => run::<RedisRs>(&options).await,
            other => panic!("no client {other}"),
        }
    });
}

async fn run<C: Client>(options: &Options) {
    let client = C::open(options).await;
    let names: Rc<Vec<String>> = Rc::new((0..KEYS).map(|number| format!("key:{number}")).collect());
    let value = vec![b'x'; VALUE_LEN];
    if options.workload == "tasks" {
        take_turns(&client, &names, &value, options.tasks, WARM_UP_S).await;
        let meter = Meter::read();
        return meter.report(take_turns(&client, &names, &value, options.tasks, options.seconds).await);
    }
    let step = || async {
        match options.workload.as_str() {
            "get" => {
                assert_eq!(client.get(&names[7]).await.len(), VALUE_LEN);
                1
            }
            "pipe_get" => {
                let values = client.pipe_get(&names).await;
                assert!(values.len() == KEYS && values.iter().all(|value| value.len() == VALUE_LEN));
                KEYS
            }
            "pipe_set" => {
                assert_eq!(client.pipe_set(&names, &value).await, KEYS);
                KEYS
            }
            "lrange" => {
                assert_eq!(client.lrange("list").await.len(), ELEMENTS);
                1
            }
            other => panic!("no workload {other}"),
        }
    };
    let warm_up_end = Instant::now() + Duration::from_secs_f64(WARM_UP_S);
    while Instant::now() < warm_up_end {
        step().await;
    }
    let meter = Meter::read();
    let end = meter.wall + Duration::from_secs_f64(options.seconds);
    let mut ops = 0;
    while Instant::now() < end {
        ops += step().await;
    }
    meter.report(ops);
}

/// Each task gives a GET and a SET in turn on the one client; how many commands.
async fn take_turns<C: Client>(
    client: &C,
    names: &Rc<Vec<String>>,
    value: &[u8],
    tasks: usize,
    seconds: f64,
) -> usize {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let task = |number: usize| {
        let (client, names, value) = (client.clone(), Rc::clone(names), value.to_vec());
        tokio::task::spawn_local(async move {
            let (mut at, mut count) = (number * 31, 0);
            while Instant::now() < end {
                assert_eq!(client.get(&names[at % KEYS]).await.len(), VALUE_LEN);
                client.set(&names[(at + 1) % KEYS], &value).await;
                at += 2;
                count += 2;
            }
            count
        })
    };
    let tasks: Vec<_> = (0..tasks).map(task).collect();
    let mut count = 0;
    for task in tasks {
        count += task.await.expect("no panic");
    }
    count
}
