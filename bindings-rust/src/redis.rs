//! The client as its users hold it.

use crate::driver::Driver;
use crate::pipeline::Pipeline;
use crate::shared::Shared;
use crate::waiters::{Exchange, SlotId, Waiters};
use crate::{AuthStatus, Connector, Error, Monitor, Notices, Reply, Session, Subscriber, Tokens, clock};
use respass::{Client, Command, CommandIds, Config, Credential, Outcome};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A handle to a client. Clones share its connections, which are closed with the last handle, session and future.
#[derive(Clone)]
pub struct Redis {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    tokens: Option<Tokens>,
    name: String,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Redis {
    /// Connects and logs in: without a credential, or with a password. Returns when the server has answered;
    /// fails with the cause where the configuration's time for that runs out, or trying again is of no use.
    /// From then on the client connects again by itself, whenever it has to.
    pub async fn connect<C: Connector>(config: Config, connector: C) -> Result<Redis, Error> {
        if matches!(config.credential, Credential::Token { .. }) {
            return Err(Error::invalid_config("tokens come from a credential: use connect_with_tokens"));
        }
        Redis::proven(Redis::start(config, None, connector)?).await
    }

    /// The same with tokens, which are renewed before they end, whether the client is used or not.
    /// `config.credential` matters only where it is [`Credential::Token`] with a user name.
    pub async fn connect_with_tokens<C: Connector>(
        mut config: Config,
        tokens: &Tokens,
        connector: C,
    ) -> Result<Redis, Error> {
        if !matches!(config.credential, Credential::Token { .. }) {
            config.credential = Credential::Token { username: None };
        }
        Redis::proven(Redis::start(config, Some(tokens), connector)?).await
    }

    /// A client, and the command whose answer shows that it is logged in.
    fn start<C: Connector>(
        config: Config,
        tokens: Option<&Tokens>,
        connector: C,
    ) -> Result<(Redis, CommandFuture), Error> {
        let name = format!("{}:{}", config.host, config.port);
        let client = Client::new(config, clock::seed(), clock::now())?;
        let shared = Arc::new(Shared::new(client));
        let subscription = tokens.map(|tokens| tokens.subscribe(&shared));
        let handle = Handle { shared: Arc::clone(&shared), tokens: tokens.cloned(), name };
        let redis = Redis { handle: Arc::new(handle) };
        // It must wait when the driver begins: a login that fails at once is its answer.
        let proof = redis.command(&["PING"]);
        let connector = Arc::new(connector);
        connector.spawn(Driver::new(shared, Arc::clone(&connector), subscription));
        Ok((redis, proof))
    }

    /// The client, once the server has answered: a refusal of the command is an answer.
    async fn proven((redis, proof): (Redis, CommandFuture)) -> Result<Redis, Error> {
        match proof.await {
            Err(error) if error.outcome() != Some(Outcome::Refused) => Err(error),
            _ => Ok(redis),
        }
    }

    /// One command: its name and arguments. It is submitted at once, in the order of the calls; the future is
    /// its reply. A future that is dropped cancels the command; whether it runs all the same depends on
    /// whether it had left. An error that the server sends is an `Err`.
    pub fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> CommandFuture {
        self.submit(arguments, None)
    }

    /// The same with a time limit of its own for the reply, instead of the configuration's.
    pub fn command_within<A: AsRef<[u8]>>(&self, timeout: Duration, arguments: &[A]) -> CommandFuture {
        self.submit(arguments, Some(timeout))
    }

    /// Commands that leave together and whose replies come together.
    pub fn pipeline(&self) -> Pipeline {
        Pipeline::new(self.clone())
    }

    /// Commands that run together and alone, or not at all: MULTI and EXEC around a pipeline.
    pub fn transaction(&self) -> Pipeline {
        Pipeline::transaction(self.clone())
    }

    /// A connection for this caller alone: for `WATCH`.
    pub fn session(&self) -> Result<Session, Error> {
        Session::new(self)
    }

    /// Subscriptions, on connections of their own.
    pub fn subscriber(&self) -> Result<Subscriber, Error> {
        Subscriber::new(self.shared())
    }

    /// Every command that one server runs.
    pub fn monitor(&self) -> Result<Monitor, Error> {
        Monitor::new(self.shared())
    }

    /// What happens to the connections and the login from now on.
    pub fn notices(&self) -> Notices {
        Notices::new(Arc::clone(self.shared()))
    }

    /// How the client stands with its login.
    pub fn auth_status(&self) -> AuthStatus {
        let status = self.shared().lock().client.auth_status();
        AuthStatus::new(status, self.handle.tokens.as_ref())
    }

    /// Closes all connections, for all clones, and returns when that is done. Commands without a reply fail,
    /// and so do later ones.
    pub async fn close(&self) {
        self.shared().close();
        poll_fn(|context| self.shared().poll_ended(context.waker())).await;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    fn submit<A: AsRef<[u8]>>(&self, arguments: &[A], timeout: Option<Duration>) -> CommandFuture {
        let slot = with_slices(arguments, |slices| {
            let command = Command::new(slices);
            let command = timeout.map_or(command, |timeout| command.timeout(timeout));
            self.shared()
                .submit(|client, now| client.submit(command, now).map(|first| CommandIds { first, count: 1 }))
        });
        CommandFuture::new(Pending::new(self, slot))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("server", &self.handle.name).finish_non_exhaustive()
    }
}

/// The arguments as the core wants them; without a list on the heap for the usual few.
pub(crate) fn with_slices<A: AsRef<[u8]>, R>(arguments: &[A], act: impl FnOnce(&[&[u8]]) -> R) -> R {
    let mut few: [&[u8]; 8] = [&[]; 8];
    match few.get_mut(..arguments.len()) {
        Some(places) => {
            places.iter_mut().zip(arguments).for_each(|(place, argument)| *place = argument.as_ref());
            act(places)
        }
        None => act(&arguments.iter().map(AsRef::as_ref).collect::<Vec<_>>()),
    }
}

/// Commands that were submitted, or the reason why they were not. Keeps the client open.
#[derive(Debug)]
pub(crate) struct Pending {
    redis: Redis,
    slot: Submitted,
}

#[derive(Debug)]
enum Submitted {
    Open(SlotId),
    Refused(Error),
    Done,
}

impl Pending {
    pub(crate) fn new(redis: &Redis, slot: Result<SlotId, Error>) -> Pending {
        let slot = slot.map_or_else(Submitted::Refused, Submitted::Open);
        Pending { redis: redis.clone(), slot }
    }

    /// Looks whether there is an answer, until there was one.
    pub(crate) fn poll<T>(
        &mut self,
        context: &Context<'_>,
        poll: impl FnOnce(&mut Waiters, SlotId, Exchange<'_>) -> Poll<Result<T, Error>>,
    ) -> Poll<Result<T, Error>> {
        match std::mem::replace(&mut self.slot, Submitted::Done) {
            Submitted::Open(slot) => {
                let mut old = None;
                let wakers = Exchange { new: context.waker(), old: &mut old };
                let polled = poll(&mut self.redis.shared().lock().waiters, slot, wakers);
                if polled.is_pending() {
                    self.slot = Submitted::Open(slot);
                }
                polled
            }
            Submitted::Refused(error) => Poll::Ready(Err(error)),
            Submitted::Done => panic!("polled after it was ready"),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Submitted::Open(slot) = self.slot {
            self.redis.shared().cancel(slot);
        }
    }
}

/// The reply to a command. See [`Redis::command`].
#[must_use = "a command whose future is dropped is cancelled"]
#[derive(Debug)]
pub struct CommandFuture {
    pending: Pending,
}

impl CommandFuture {
    pub(crate) fn new(pending: Pending) -> CommandFuture {
        CommandFuture { pending }
    }
}

impl Future for CommandFuture {
    type Output = Result<Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Reply, Error>> {
        self.pending.poll(context, Waiters::poll_one)
    }
}
