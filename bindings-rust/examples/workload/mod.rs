//! What both examples do once they are connected: commands without a pause, for a while.

use futures_lite::{StreamExt, future};
use respass_futures::{Config, NoticeKind};
use respass_futures::{Error, Redis, Severity, TlsConfig};
use std::time::{Duration, Instant};

/// From `REDIS_HOST`, `REDIS_PORT` and `REDIS_CA` (a PEM file).
pub(crate) fn config_from_env() -> Config {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let mut config = Config::new(variable("REDIS_HOST"), variable("REDIS_PORT").parse().expect("a port"));
    let ca = std::fs::read(variable("REDIS_CA")).expect("REDIS_CA names a readable file");
    config.tls = Some(TlsConfig { ca_pem: vec![ca], ..TlsConfig::default() });
    config
}

/// How long to run: `SECONDS`, 10 by default.
pub(crate) fn duration_from_env() -> Duration {
    let seconds = std::env::var("SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10.0);
    Duration::from_secs_f64(seconds)
}

/// Counts in Redis until the time is over, tells what happens to the login, and closes.
pub(crate) async fn run(redis: Redis, time: Duration) -> Result<(), Error> {
    let mut notices = redis.notices();
    let tell = async {
        let mut reauthentications = 0;
        while let Some(notice) = notices.next().await {
            reauthentications += u32::from(notice.kind() == NoticeKind::ReAuthenticated);
            if notice.severity() >= Severity::Info {
                println!("{notice}");
            }
        }
        Ok::<_, Error>(reauthentications)
    };
    let count = async {
        let end = Instant::now() + time;
        let mut commands = 0;
        while Instant::now() < end {
            let replies =
                redis.pipeline().command(&["INCR", "hits"]).command(&["GET", "hits"]).execute().await?;
            let (counted, read): (i64, i64) = (replies[0].clone()?.to()?, replies[1].clone()?.to()?);
            assert!(counted <= read, "{counted} was counted, and then {read} was there");
            commands += replies.len();
        }
        redis.close().await;
        Ok(commands)
    };
    let (reauthentications, commands) = future::try_zip(tell, count).await?;
    println!("{commands} commands, {reauthentications} re-authentications, no errors");
    Ok(())
}
