//! Logins with tokens against the emulator: over TLS, renewed while commands run and while none does.

mod rig;

use futures_lite::{StreamExt, future};
use respass_futures::{
    ErrorCode, FetchedToken, NoticeKind, Outcome, Redis, Secret, TokenFailure, TokenState, Tokens,
};
use rig::{Emulator, Executor};
use serde_json::json;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

on_each_executor! {
    clients_of_one_credential_outlive_many_tokens
    a_lost_connection_is_replaced_without_a_failed_login
    a_credential_that_fails_is_an_error_that_says_so
    a_token_without_an_assignment_is_an_error_that_says_so
    a_client_that_ends_leaves_its_question_to_another
}

/// A token for tests, straight from the emulator's admin endpoint.
fn fetch(admin: &str, ttl: u32) -> FetchedToken {
    let answer = Emulator::post(admin, "token", &json!({ "ttl": ttl }));
    let text = answer["access_token"].as_str().expect("a token");
    FetchedToken::new(Secret::new(text.as_bytes().to_vec()))
}

/// A credential whose tokens live so many seconds, and how often it was asked.
fn credential(emulator: &Emulator, ttl: u32) -> (Tokens, Arc<AtomicUsize>) {
    let (admin, asked) = (emulator.text("admin"), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&asked);
    let tokens = Tokens::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        let admin = admin.clone();
        // The rig's request blocks, which a driver must not.
        async move { Ok(::smol::unblock(move || fetch(&admin, ttl)).await) }
    });
    (tokens, asked)
}

async fn clients_of_one_credential_outlive_many_tokens(executor: impl Executor) {
    let Some(emulator) = Emulator::start(&[]) else { return };
    let (tokens, asked) = credential(&emulator, 6);
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Redis::connect_with_tokens(emulator.config(), &tokens, executor).await.unwrap());
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "one token for all");
    let (busy, idle) = clients.split_at(10);
    let work = |redis: &Redis| {
        let redis = redis.clone();
        async move {
            let end = std::time::Instant::now() + Duration::from_secs(9);
            while std::time::Instant::now() < end {
                redis.command(&["INCR", "n"]).await.expect("no command fails while tokens come and go");
                executor.sleep(Duration::from_millis(5)).await;
            }
        }
    };
    executor.run_all(busy.iter().map(work).collect()).await;
    for redis in idle {
        let mut status = redis.auth_status();
        assert!(status.is_ready && status.reauth_count >= 1, "an idle client renews its login: {status:?}");
        // A newer token may be on its way just now, or wait for this connection's turn to present it.
        for _ in 0..60 {
            if status.state == Some(TokenState::Fresh) && status.expires_at.is_some() {
                break;
            }
            executor.sleep(Duration::from_millis(50)).await;
            status = redis.auth_status();
        }
        assert!(status.oid.is_some() && status.expires_at > Some(std::time::SystemTime::now()), "{status:?}");
        assert_eq!((status.state, &status.last_error), (Some(TokenState::Fresh), &None), "{status:?}");
        assert!(status.refresh_at.is_some());
    }
    let asked = asked.load(Ordering::Relaxed);
    assert!((3..=8).contains(&asked), "{asked} questions in 9 seconds of tokens that live 6");
    future::zip(busy[0].close(), idle[0].close()).await;
}

async fn a_lost_connection_is_replaced_without_a_failed_login(executor: impl Executor) {
    let Some(emulator) = Emulator::start(&[]) else { return };
    let (tokens, asked) = credential(&emulator, 600);
    let redis = Redis::connect_with_tokens(emulator.config(), &tokens, executor).await.unwrap();
    let mut notices = redis.notices();
    for round in 1..=3 {
        Emulator::post(&emulator.text("admin"), "fault", &json!({ "kind": "close-all" }));
        while notices.next().await.expect("open").kind() != NoticeKind::Ready {}
        assert_eq!(redis.command(&["INCR", "n"]).await.unwrap().to::<i64>().unwrap(), round);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "the same token logs in again");
}

async fn a_credential_that_fails_is_an_error_that_says_so(executor: impl Executor) {
    let Some(emulator) = Emulator::start(&[]) else { return };
    let tokens =
        Tokens::new(|| async { Err(TokenFailure::permanent("no identity is assigned to this machine")) });
    let error = Redis::connect_with_tokens(emulator.config(), &tokens, executor).await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), (ErrorCode::TokenUnavailable, Some(Outcome::NotSent)));
    assert!(error.to_string().starts_with("no identity is assigned to this machine (not sent)"), "{error}");
    assert!(error.hint().is_some_and(|hint| error.to_string().ends_with(hint)));
    let tokens = Tokens::new(|| async { Ok(FetchedToken::new(Secret::new(b"not a\ntoken".to_vec()))) });
    let error = Redis::connect_with_tokens(emulator.config(), &tokens, executor).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::TokenUnavailable);
    assert!(!format!("{error:?} {tokens:?}").contains("not a"));
    // Without TLS, no token leaves this machine.
    let mut config = emulator.config();
    config.tls = None;
    let error = Redis::connect_with_tokens(config, &tokens, executor).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidConfig);
}

async fn a_token_without_an_assignment_is_an_error_that_says_so(executor: impl Executor) {
    let Some(emulator) = Emulator::start(&[]) else { return };
    let admin = emulator.text("admin");
    let oid = "11111111-2222-3333-4444-555555555555";
    let tokens = Tokens::new(move || {
        let answer = Emulator::post(&admin, "token", &json!({ "oid": oid }));
        let text = answer["access_token"].as_str().expect("a token").as_bytes().to_vec();
        async { Ok(FetchedToken::new(Secret::new(text))) }
    });
    let error = Redis::connect_with_tokens(emulator.config(), &tokens, executor).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NoAssignment);
    assert!(error.to_string().contains(oid), "{error}");
    assert!(error.hint().is_some());
}

async fn a_client_that_ends_leaves_its_question_to_another(executor: impl Executor) {
    let Some(emulator) = Emulator::start(&[]) else { return };
    let (admin, asked) = (emulator.text("admin"), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&asked);
    let tokens = Tokens::new(move || {
        let (admin, number) = (admin.clone(), counter.fetch_add(1, Ordering::Relaxed));
        async move {
            if number == 0 {
                future::pending::<()>().await;
            }
            Ok(::smol::unblock(move || fetch(&admin, 600)).await)
        }
    });
    let first = Redis::connect_with_tokens(emulator.config(), &tokens, executor);
    // It asks, and goes before there is an answer.
    assert!(
        future::or(async { first.await.is_ok() }, async {
            while asked.load(Ordering::Relaxed) == 0 {
                executor.sleep(Duration::from_millis(5)).await;
            }
            false
        })
        .await
        .eq(&false)
    );
    let second = Redis::connect_with_tokens(emulator.config(), &tokens, executor).await.unwrap();
    assert!(second.auth_status().is_ready);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

/// Runs an example as its user would; `cargo test` has built it.
fn run_example(name: &str) {
    let Some(emulator) = Emulator::start(&["--token-ttl", "6"]) else { return };
    let test = std::env::current_exe().expect("this test's own path");
    let folder =
        test.parent().and_then(|folder| folder.parent()).expect("the target folder").join("examples");
    let output = Command::new(folder.join(name))
        .env("REDIS_HOST", emulator.text("host"))
        .env("REDIS_PORT", emulator.port().to_string())
        .env("REDIS_CA", emulator.text("ca_file"))
        .env("IDENTITY_ENDPOINT", emulator.text("identity_endpoint"))
        .env("IDENTITY_HEADER", emulator.text("identity_header"))
        .env("SECONDS", "8")
        .output()
        .expect("the example was built: cargo build -p respass-futures --examples");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    let last = stdout.lines().last().unwrap_or_default();
    assert!(last.ends_with(" re-authentications, no errors") && !last.contains(" 0 re-"), "{stdout}");
}

#[test]
fn the_smol_example_runs_while_tokens_expire() {
    run_example("smol");
}

#[test]
fn the_tokio_example_runs_while_tokens_expire() {
    run_example("tokio");
}
