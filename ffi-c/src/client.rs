//! The blocking surface: a client that waits for its replies on the caller's thread.

use crate::batch::{Batch, Commands};
use crate::config::Config;
use crate::driver::{Driver, notice_output};
use crate::error::{ErrorReport, told};
use crate::handle::{self, Failure, place};
use crate::output::Output;
use crate::reply::{Piece, Reply};
use crate::status::{AuthStatus, ConnectionStatus, connection_at};
use crate::{RESPASS_RESULT_END, ResultCode};
use respass_core::{Command, Credential, ErrorCode};
use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::time::Duration;

/// A connected client. Its calls wait. While none is made it does nothing: a program that pauses for long does so by
/// `respass_client_idle`.
pub struct Client {
    _opaque: [u8; 0],
}

object!(Client, Box<State>, 10, |state: Box<State>| state.driver.forsake());

pub(crate) struct State {
    pub(crate) driver: Driver,
    /// What `AuthStatus` points at.
    status: respass_core::AuthStatus,
}

/// Hands the reply over, or drops it where nobody wants it.
pub(crate) fn hand_over(piece: Piece, reply: Option<&mut MaybeUninit<*mut Reply>>) {
    if let Some(reply) = reply {
        reply.write(handle::insert(piece));
    }
}

fn end() -> Failure {
    Failure::new(RESPASS_RESULT_END, "no appended command is left")
}

/// Connects and logs in. The configuration is copied; its credential is shared. Of `error`, here and everywhere, NULL
/// is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn respass_open(
    config: *const Config,
    client: Option<&mut MaybeUninit<*mut Client>>,
    error: Option<&mut MaybeUninit<ErrorReport>>,
) -> ResultCode {
    told(
        error,
        handle::look(config, |config| {
            let place = place(client)?;
            if config.tokens.is_none() && matches!(config.core.credential, Credential::Token { .. }) {
                let text = "tokens need a credential: respass_config_set_credential";
                return Err(Failure::new(ErrorCode::InvalidConfig as ResultCode, text));
            }
            if config.core.address_map == respass_core::AddressMap::Driver {
                let text = "a blocking client connects by itself: respass_config_map_address";
                return Err(Failure::new(ErrorCode::InvalidConfig as ResultCode, text));
            }
            let mut driver = Driver::new(config.with_authorities()?, config.tokens.as_ref())?;
            let ping = driver.run(|core, now| core.submit(Command::new(&[b"PING"]), now));
            match ping {
                // A user who may not PING is logged in all the same.
                Err(failure) if failure.code != ErrorCode::NoPerm as ResultCode => {
                    driver.close();
                    return Err(failure);
                }
                Ok(_) | Err(_) => {}
            }
            let status = driver.core.auth_status();
            place.write(handle::insert(Box::new(State { driver, status })));
            Ok(())
        }),
    )
}

/// Ends the connection and releases the client. Its replies stay as they are.
#[unsafe(no_mangle)]
pub extern "C" fn respass_close(client: *mut Client) {
    // A client that cannot be closed any more is released all the same.
    let _ = enter!(mut client => client.driver.close());
    handle::free(client);
}

/// Sends one command and waits for its reply, which is to be freed with `respass_reply_free`. Where `argv_len` is NULL,
/// each argument ends with a NUL; where `reply` is NULL, nobody wants it. An error reply is a failure, and its first
/// word is the code.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_command(
    client: *mut Client,
    argc: usize,
    argv: *const *const c_char,
    argv_len: *const usize,
    reply: Option<&mut MaybeUninit<*mut Reply>>,
    error: Option<&mut MaybeUninit<ErrorReport>>,
) -> ResultCode {
    told(
        error,
        handle::change(client, |client| {
            arguments!(argc, argv, argv_len, |arguments| {
                let piece = client.driver.run(|core, now| core.submit(Command::new(arguments), now))?;
                hand_over(piece, reply);
                Ok(())
            })
        }),
    )
}

/// Gives one command without waiting. Its reply comes from `respass_next_reply`, in order. Arguments as in
/// `respass_command`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_append(
    client: *mut Client,
    argc: usize,
    argv: *const *const c_char,
    argv_len: *const usize,
    error: Option<&mut MaybeUninit<ErrorReport>>,
) -> ResultCode {
    told(
        error,
        handle::change(client, |client| {
            arguments!(argc, argv, argv_len, |arguments| {
                let len = arguments.iter().map(|argument| argument.len()).sum();
                client
                    .driver
                    .append(len, argc, |core, now| Ok((core.submit(Command::new(arguments), now)?, 1)))
            })
        }),
    )
}

/// Gives all commands of a batch without waiting, or none. Each has a reply, as after `respass_append`.
#[unsafe(no_mangle)]
pub extern "C" fn respass_append_batch(
    client: *mut Client,
    batch: *const Batch,
    error: Option<&mut MaybeUninit<ErrorReport>>,
) -> ResultCode {
    told(
        error,
        handle::change(client, |client| {
            handle::look(batch, |Commands { bytes, lengths, count }| {
                client.driver.append(bytes.len(), lengths.len(), |core, now| {
                    Ok((core.submit_batch(bytes, lengths, now)?.first, *count))
                })
            })
        }),
    )
}

/// The reply to the first appended command whose reply was not taken; `RESPASS_RESULT_END` where there is none. A
/// command that failed is over, too: the next call is about the next one.
#[unsafe(no_mangle)]
pub extern "C" fn respass_next_reply(
    client: *mut Client,
    reply: Option<&mut MaybeUninit<*mut Reply>>,
    error: Option<&mut MaybeUninit<ErrorReport>>,
) -> ResultCode {
    told(
        error,
        handle::change(client, |client| {
            hand_over(client.driver.next().ok_or_else(end)??, reply);
            Ok(())
        }),
    )
}

/// The replies to the next appended commands, as many as came together: an output of kind RESPASS_OUTPUT_KIND_REPLIES,
/// with an answer for each, in order; to be cleared with `respass_output_clear`. This is the fast way through long
/// pipelines. An error reply is a node of kind RESPASS_KIND_ERROR here. Fails as `respass_next_reply` does where the
/// first of the commands has no reply.
#[unsafe(no_mangle)]
pub extern "C" fn respass_next_replies(
    client: *mut Client,
    replies: Option<&mut MaybeUninit<Output>>,
    error: Option<&mut MaybeUninit<ErrorReport>>,
) -> ResultCode {
    told(
        error,
        handle::change(client, |client| {
            let place = place(replies)?;
            let (batch, run) = client.driver.next_run().ok_or_else(end)??;
            place.write(Output::of_run(batch, run));
            Ok(())
        }),
    )
}

/// Runs the commands of a batch as one transaction and waits for its reply: an array with theirs.
#[unsafe(no_mangle)]
pub extern "C" fn respass_transaction(
    client: *mut Client,
    batch: *const Batch,
    reply: Option<&mut MaybeUninit<*mut Reply>>,
    error: Option<&mut MaybeUninit<ErrorReport>>,
) -> ResultCode {
    told(
        error,
        handle::change(client, |client| {
            handle::look(batch, |Commands { bytes, lengths, .. }| {
                let piece = client.driver.run(|core, now| core.submit_transaction(bytes, lengths, now))?;
                hand_over(piece, reply);
                Ok(())
            })
        }),
    )
}

/// Waits for so long, and keeps the connection alive and logged in meanwhile.
#[unsafe(no_mangle)]
pub extern "C" fn respass_client_idle(client: *mut Client, duration_us: u64) -> ResultCode {
    enter!(mut client => client.driver.idle(Duration::from_micros(duration_us)))
}

/// What happened, worth a log line: an output of kind RESPASS_OUTPUT_KIND_NOTICE, or _NONE where nothing is left. To be
/// cleared with `respass_output_clear`.
#[unsafe(no_mangle)]
pub extern "C" fn respass_client_next_notice(
    client: *mut Client,
    notice: Option<&mut MaybeUninit<Output>>,
) -> ResultCode {
    enter!(mut client => {
        let place = place(notice)?;
        place.write(notice_output(client.driver.next_notice()));
    })
}

/// How the client stands with its login. The texts are borrowed until the next non-const call on it.
#[unsafe(no_mangle)]
pub extern "C" fn respass_client_auth_status(
    client: *mut Client,
    status: Option<&mut MaybeUninit<AuthStatus>>,
) -> ResultCode {
    enter!(mut client => {
        let place = place(status)?;
        client.status = client.driver.core.auth_status();
        place.write(AuthStatus::of(&client.status));
    })
}

/// How many connections there are; `respass_client_connection_at` tells of each of them, as it is now.
#[unsafe(no_mangle)]
pub extern "C" fn respass_client_connection_count(
    client: *mut Client,
    count: Option<&mut MaybeUninit<usize>>,
) -> ResultCode {
    enter!(mut client => {
        let place = place(count)?;
        client.status = client.driver.core.auth_status();
        place.write(client.status.connections.len());
    })
}

/// One of the connections that `respass_client_connection_count` counted. Its texts are borrowed until the next
/// non-const call on the client.
#[unsafe(no_mangle)]
pub extern "C" fn respass_client_connection_at(
    client: *const Client,
    index: usize,
    connection: Option<&mut MaybeUninit<ConnectionStatus>>,
) -> ResultCode {
    enter!(client => place(connection)?.write(connection_at(&client.status, index)?))
}

/// A client that never connected.
#[cfg(test)]
pub(crate) fn unconnected() -> *mut Client {
    let driver = Driver::new(respass_core::Config::new("localhost", 1), None).expect("a good configuration");
    let status = driver.core.auth_status();
    handle::insert(Box::new(State { driver, status }))
}
