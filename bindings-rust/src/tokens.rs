//! Tokens: a credential with the core's source around it, shared by all clients that log in with it.
//!
//! The source has no task of its own. Every client's driver keeps its time and may be the one that asks the
//! credential; what comes of it goes to all of them. A driver that ends in the middle of a question leaves it
//! to another.

use crate::clock;
use crate::shared::Shared;
use futures_lite::future::Boxed;
use respass::{FetchedToken, IssuedToken, Now, SourceOutput, TokenFailure, TokenSource, TokenState};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// What a credential says when it is asked for a token.
pub(crate) type Fetched = Result<FetchedToken, TokenFailure>;

/// A credential, and the source that decides when to ask it. Clone it to share it between clients: they then
/// log in with the same tokens, and the credential is asked once for all of them, while they are idle too.
#[derive(Clone)]
pub struct Tokens(Arc<Supply>);

impl Tokens {
    /// `credential` is asked for a token now and then; never twice at once, but where it did not answer for
    /// 30 seconds. It runs inside a client's driver, so it must not block, and a panic would end that client;
    /// how often it is asked again after a failure is not its business. The text of a failure must hold no
    /// secret.
    pub fn new<F, A>(credential: F) -> Tokens
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<FetchedToken, TokenFailure>> + Send + 'static,
    {
        let state = State {
            source: TokenSource::new(clock::seed(), clock::now()),
            questions: 0,
            members: BTreeMap::new(),
            latest: 0,
        };
        Tokens(Arc::new(Supply {
            credential: Box::new(move || Box::pin(credential())),
            state: Mutex::new(state),
        }))
    }

    /// How the supply of tokens stands.
    pub fn state(&self) -> TokenState {
        self.0.lock().source.state()
    }

    /// When the credential will be asked next, as far as is known.
    pub fn next_question_at(&self) -> Option<SystemTime> {
        let at = self.0.lock().source.next_question_at()?;
        Some(clock::wall_time(at, clock::now()))
    }

    pub(crate) fn subscribe(&self, shared: &Arc<Shared>) -> Subscription {
        let mut state = self.0.lock();
        state.source.subscribe();
        state.latest += 1;
        let id = state.latest;
        state.members.insert(id, Member { shared: Arc::clone(shared), mailbox: Vec::new() });
        drop(state);
        // There may be a question that somebody left behind.
        shared.ring();
        Subscription { supply: Arc::clone(&self.0), id, answers: Vec::new() }
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("state", &self.state()).finish_non_exhaustive()
    }
}

struct Supply {
    credential: Box<dyn Fn() -> Boxed<Fetched> + Send + Sync>,
    state: Mutex<State>,
}

struct State {
    source: TokenSource,
    /// Questions that nobody has taken to the credential.
    questions: usize,
    members: BTreeMap<u64, Member>,
    latest: u64,
}

struct Member {
    shared: Arc<Shared>,
    mailbox: Vec<News>,
}

/// What the source has for every client.
#[derive(Clone)]
pub(crate) enum News {
    Token(IssuedToken),
    Failed(TokenFailure),
}

impl Supply {
    fn lock(&self) -> MutexGuard<'_, State> {
        // See `Shared::lock`.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the source, and tells the members what came of it.
    fn run<R>(&self, act: impl FnOnce(&mut TokenSource, Now) -> R) -> R {
        let now = clock::now();
        let mut state = self.lock();
        let before = state.source.poll_timeout();
        let result = act(&mut state.source, now);
        let mut has_news = state.source.poll_timeout() != before;
        while let Some(output) = state.source.poll_output() {
            match output {
                SourceOutput::Fetch => {
                    state.questions += 1;
                    has_news = true;
                }
                SourceOutput::Issued(token) => has_news |= state.post(&News::Token(token)),
                SourceOutput::Failed(failure) => has_news |= state.post(&News::Failed(failure)),
                // `Tokens::state` tells; a newer core may have more, nothing that must be obeyed.
                _ => {}
            }
        }
        let members = if has_news { state.everybody() } else { Vec::new() };
        drop(state);
        members.iter().for_each(|member| member.ring());
        result
    }
}

impl State {
    fn post(&mut self, news: &News) -> bool {
        self.members.values_mut().for_each(|member| member.mailbox.push(news.clone()));
        true
    }

    fn everybody(&self) -> Vec<Arc<Shared>> {
        self.members.values().map(|member| Arc::clone(&member.shared)).collect()
    }
}

/// One client's share in a source.
pub(crate) struct Subscription {
    supply: Arc<Supply>,
    id: u64,
    /// Questions that the credential has not answered yet.
    answers: Vec<Boxed<Fetched>>,
}

impl Subscription {
    /// A token newer than that, where there is one; else it comes as news.
    pub(crate) fn request(&self, newer_than: u64) -> Option<IssuedToken> {
        self.supply.run(|source, now| source.request(newer_than, now))
    }

    pub(crate) fn handle_timeout(&self) {
        self.supply.run(|source, now| source.handle_timeout(now));
    }

    /// When `handle_timeout` wants to be called, in microseconds of the monotonic clock.
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        self.supply.lock().source.poll_timeout().map(|at| at.as_micros())
    }

    /// What came for this client; and takes over the questions that nobody asked yet.
    pub(crate) fn collect(&mut self) -> Vec<News> {
        let mut state = self.supply.lock();
        let questions = std::mem::take(&mut state.questions);
        let mailbox = state.members.get_mut(&self.id).map(|member| std::mem::take(&mut member.mailbox));
        drop(state);
        for _ in 0..questions {
            self.answers.push((self.supply.credential)());
        }
        mailbox.unwrap_or_default()
    }

    /// Hears the credential's answers. Whether there was one.
    pub(crate) fn poll_answers(&mut self, context: &mut std::task::Context<'_>) -> bool {
        let Subscription { supply, answers, .. } = self;
        let before = answers.len();
        answers.retain_mut(|answer| match answer.as_mut().poll(context) {
            std::task::Poll::Ready(Ok(fetched)) => {
                supply.run(|source, now| source.handle_fetched(fetched, now));
                false
            }
            std::task::Poll::Ready(Err(failure)) => {
                supply.run(|source, now| source.handle_failed(failure, now));
                false
            }
            std::task::Poll::Pending => true,
        });
        answers.len() < before
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.supply.lock();
        state.members.remove(&self.id);
        state.source.unsubscribe();
        // Somebody else asks what we did not hear the answer to.
        state.questions += self.answers.len();
        let members = state.everybody();
        drop(state);
        // The futures may hold anything; they go before others are called.
        self.answers.clear();
        members.iter().for_each(|member| member.ring());
    }
}
