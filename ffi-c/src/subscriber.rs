//! Subscriptions, of cores and of blocking clients.

use crate::client::Client;
use crate::core::Core;
use crate::error::{ErrorReport, told};
use crate::handle::{self, Failure, place};
use crate::input::Now;
use crate::output::Slice;
use crate::{RESPASS_RESULT_END, ResultCode};
use respass_core::{ChannelKind, SubscriberId};
use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::time::Duration;

/// One message. What it is not about is empty.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MessageView {
    /// A RESPASS_MESSAGE_KIND_….
    pub kind: u32,
    /// Of a confirmation: how many subscriptions the connection has.
    pub count: u32,
    /// Whose it is; see `respass_core_open_subscriber`.
    pub subscriber: u64,
    /// The pattern that matched.
    pub pattern: Slice,
    /// The channel; of a pattern's confirmation, the pattern.
    pub channel: Slice,
    /// What was published; of RESPASS_MESSAGE_KIND_REFUSED, why; of RESPASS_MESSAGE_KIND_MONITOR, the line.
    pub payload: Slice,
}

const _: () = assert!(size_of::<MessageView>() == 64 || size_of::<usize>() != 8);

fn kind_of(kind: u32) -> Result<ChannelKind, Failure> {
    match kind {
        kind if kind == ChannelKind::Channel as u32 => Ok(ChannelKind::Channel),
        kind if kind == ChannelKind::Pattern as u32 => Ok(ChannelKind::Pattern),
        kind if kind == ChannelKind::Shard as u32 => Ok(ChannelKind::Shard),
        _ => Err(Failure::argument("there is no such kind of channel")),
    }
}

/// A subscriber, which has connections of its own as it needs them. What it gets comes as outputs of kind
/// RESPASS_OUTPUT_KIND_MESSAGES.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_open_subscriber(
    core: *mut Core,
    now: Now,
    subscriber: Option<&mut MaybeUninit<u64>>,
) -> ResultCode {
    enter!(mut core => {
        let place = place(subscriber)?;
        place.write(core.client.open_subscriber(now.into())?.as_u64());
    })
}

/// A subscriber that gets every command which one server runs.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_open_monitor(
    core: *mut Core,
    now: Now,
    subscriber: Option<&mut MaybeUninit<u64>>,
) -> ResultCode {
    enter!(mut core => {
        let place = place(subscriber)?;
        place.write(core.client.open_monitor(now.into())?.as_u64());
    })
}

/// Subscribes to channels, until they are unsubscribed from or the subscriber is closed. `kind` is a
/// RESPASS_CHANNEL_KIND_…. Where `channels_len` is NULL, each channel ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_subscribe(
    core: *mut Core,
    subscriber: u64,
    kind: u32,
    count: usize,
    channels: *const *const c_char,
    channels_len: *const usize,
    now: Now,
) -> ResultCode {
    enter!(mut core => {
        let (subscriber, kind) = (SubscriberId::from_u64(subscriber), kind_of(kind)?);
        arguments!(count, channels, channels_len, |channels| {
            Ok(core.client.subscribe(subscriber, kind, channels, now.into())?)
        })?;
    })
}

/// Ends subscriptions: all of the kind where `count` is 0. The rest as in `respass_core_subscribe`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_core_unsubscribe(
    core: *mut Core,
    subscriber: u64,
    kind: u32,
    count: usize,
    channels: *const *const c_char,
    channels_len: *const usize,
    now: Now,
) -> ResultCode {
    enter!(mut core => {
        let (subscriber, kind) = (SubscriberId::from_u64(subscriber), kind_of(kind)?);
        arguments!(count, channels, channels_len, |channels| {
            Ok(core.client.unsubscribe(subscriber, kind, channels, now.into())?)
        })?;
    })
}

/// Ends a subscriber and its connections. No message of its follows. Does nothing where it has ended already.
#[unsafe(no_mangle)]
pub extern "C" fn respass_core_close_subscriber(core: *mut Core, subscriber: u64, now: Now) -> ResultCode {
    enter!(mut core => core.client.close_subscriber(SubscriberId::from_u64(subscriber), now.into()))
}

/// Subscribes to channels, until they are unsubscribed from or the client is closed. `kind` is a
/// RESPASS_CHANNEL_KIND_…. Where `channels_len` is NULL, each channel ends with a NUL. `respass_next_message` tells
/// when the subscription stands, or why it was refused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_subscribe(
    client: *mut Client,
    kind: u32,
    count: usize,
    channels: *const *const c_char,
    channels_len: *const usize,
    error: Option<&mut MaybeUninit<ErrorReport>>,
) -> ResultCode {
    told(
        error,
        handle::change(client, |client| {
            let kind = kind_of(kind)?;
            arguments!(count, channels, channels_len, |channels| client.driver.subscribe(kind, channels))
        }),
    )
}

/// Ends subscriptions: all of the kind where `count` is 0. The rest as in `respass_subscribe`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_unsubscribe(
    client: *mut Client,
    kind: u32,
    count: usize,
    channels: *const *const c_char,
    channels_len: *const usize,
    error: Option<&mut MaybeUninit<ErrorReport>>,
) -> ResultCode {
    told(
        error,
        handle::change(client, |client| {
            let kind = kind_of(kind)?;
            arguments!(count, channels, channels_len, |channels| client.driver.unsubscribe(kind, channels))
        }),
    )
}

/// Every command that the server runs, from now on until the client is closed: messages of kind
/// RESPASS_MESSAGE_KIND_MONITOR.
#[unsafe(no_mangle)]
pub extern "C" fn respass_monitor(
    client: *mut Client,
    error: Option<&mut MaybeUninit<ErrorReport>>,
) -> ResultCode {
    told(error, handle::change(client, |client| client.driver.monitor()))
}

/// Waits for the next message, for so long at most (`RESPASS_NEVER_US`: for ever), and keeps the connections alive and
/// logged in meanwhile. `RESPASS_RESULT_END` where none came. Its texts are borrowed until the next non-const call on
/// the client. Messages that come while other calls run wait for this one; where they take up more than 64 MiB, the
/// oldest give way to one of kind RESPASS_MESSAGE_KIND_GAP.
#[unsafe(no_mangle)]
pub extern "C" fn respass_next_message(
    client: *mut Client,
    timeout_us: u64,
    message: Option<&mut MaybeUninit<MessageView>>,
    error: Option<&mut MaybeUninit<ErrorReport>>,
) -> ResultCode {
    told(
        error,
        handle::change(client, |client| {
            let place = place(message)?;
            let found = client.driver.next_message(Duration::from_micros(timeout_us));
            let none = || Failure::new(RESPASS_RESULT_END, "no message came in time");
            let (subscriber, message) = found.ok_or_else(none)?;
            place.write(MessageView {
                kind: message.kind as u32,
                count: message.count,
                subscriber: subscriber.as_u64(),
                pattern: Slice::of(message.pattern),
                channel: Slice::of(message.channel),
                payload: Slice::of(message.payload),
            });
            Ok(())
        }),
    )
}
