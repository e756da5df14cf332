"""Credentials, and the supplies of tokens that clients share.

The native `Source` decides when to ask and what an answer is worth; here the asking is done: on a daemon
thread for ordinary credentials, as a task for asynchronous ones. The process has one supply for each
credential object.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from . import _background, _fork
from ._respass import Failure, Source, Token
from .exceptions import ConfigurationError

SCOPE = "https://redis.azure.com/.default"

_TEXT_LEN_MAX = 400
_ENTRA_SAID = re.compile(r"AADSTS\d+: [^.\\\"]{1,120}")
_LOOKS_LIKE_A_TOKEN = re.compile(r"eyJ[\w-]{6,}(?:\.[\w-]*)*")


class Subscriber(Protocol):
    """A driver, as a supply sees it. May be called from any thread."""

    def on_token(self, token: Token) -> None: ...

    def on_failure(self, failure: Failure) -> None: ...


def asker(credential: Any) -> Any:
    """What to call for a token; its result, or what it awaits to, goes to `_parts`."""
    for name in ("get_token_info", "get_token"):
        method = getattr(credential, name, None)
        if callable(method):
            return lambda: method(SCOPE)
    if callable(credential):
        return credential
    raise ConfigurationError(
        f"a credential has get_token_info or get_token, or is callable: not so {type(credential).__name__}"
    )


def is_async(credential: Any) -> bool:
    """Whether the credential's answers have to be awaited."""
    for name in ("get_token_info", "get_token"):
        method = getattr(credential, name, None)
        if callable(method):
            return inspect.iscoroutinefunction(method)
    return inspect.iscoroutinefunction(credential) or inspect.iscoroutinefunction(type(credential).__call__)


class Supply:
    """A token source with those who ask it and those who want its tokens."""

    def __init__(self, credential: Any) -> None:
        self.credential = credential
        self.source = Source(os.urandom(32))
        self._ask = asker(credential)
        self._clients: weakref.WeakSet[Any] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"<respass token supply over {type(self.credential).__name__}>"

    def subscribe(self, client: Subscriber) -> weakref.finalize[[], Any]:
        """From now on the client is told of tokens. Returns what ends that; the client's end does, too."""
        self._clients.add(client)
        self.source.subscribe()
        source, clients, key = self.source, self._clients, weakref.ref(client)

        def end() -> None:
            former = key()
            if former is not None:
                clients.discard(former)
            source.unsubscribe()

        subscription = weakref.finalize(client, end)
        subscription.atexit = False
        return subscription

    def request(self, client: Subscriber, newer_than: int) -> None:
        """The client needs a token newer than that one: it is told at once, or later."""
        token = self.source.request(newer_than)
        if token is not None:
            client.on_token(token)
        else:
            self.drain()

    def tick(self) -> None:
        """Time has passed."""
        self.source.timeout()
        self.drain()

    def drain(self) -> None:
        """Does what the source wants done."""
        for kind, *rest in self.source.outputs():
            if kind == "fetch":
                self._fetch()
            elif kind == "issued":
                self._tell("on_token", rest[0])
            elif kind == "failed":
                self._tell("on_failure", rest[0])

    def _tell(self, method: str, what: Any) -> None:
        for client in _background.snapshot(self._clients):
            try:
                getattr(client, method)(what)
            except Exception:  # one client's trouble is not the others'
                continue

    def _fetch(self) -> None:
        raise NotImplementedError

    def _answer(self, answer: Any) -> None:
        try:
            text, expires_on, refresh_on = _parts(answer)
        except ValueError as error:
            self.source.failed(str(error), is_permanent=True)
            return
        except _NoToken as error:
            self.source.failed(_tidy(str(error)), is_permanent=False)
            return
        self.source.fetched(text, expires_on, refresh_on)

    def _failure(self, error: BaseException) -> None:
        status, retry_after = _http(error)
        # Whether waiting helps is certain only where the endpoint itself refused the request as such.
        self.source.failed(describe(error), status, retry_after, status in (400, 401, 403))


class ThreadSupply(Supply):
    """Asks an ordinary credential: on a daemon thread, or where threads are unwanted on the caller's."""

    def __init__(self, credential: Any) -> None:
        super().__init__(credential)
        self.uses_threads = True

    def request(self, client: Subscriber, newer_than: int) -> None:
        """See `Supply.request`. The question may be due later, and the thread has to know."""
        super().request(client, newer_than)
        if self.uses_threads:
            _background.poke()

    def _fetch(self) -> None:
        if not self.uses_threads:
            self._work()
            return
        worker = threading.Thread(target=self._work, name="respass-credential", daemon=True)
        try:
            worker.start()
        except RuntimeError:  # no thread to be had
            if _background.is_here():  # the only thread that there is has others to look after
                self.source.failed("no thread could be started to ask the credential")
            else:
                self._work()

    def _work(self) -> None:
        try:
            answer = self._ask()
            if inspect.isawaitable(answer):
                if inspect.iscoroutine(answer):
                    answer.close()
                raise TypeError("the credential is asynchronous: use it with respass.asyncio")
        except Exception as error:
            self._failure(error)
        else:
            self._answer(answer)
        self.drain()
        if self.uses_threads:
            _background.poke()


class TaskSupply(Supply):
    """Asks an asynchronous credential, on the one event loop that it may be used on."""

    def __init__(self, credential: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(credential)
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def drain(self) -> None:
        super().drain()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        delay = self.source.wakeup()
        if delay is not None:
            # The timer must not keep an unused supply alive.
            self._timer = self._loop.call_later(delay, _tick, weakref.ref(self))

    def _fetch(self) -> None:
        task = self._loop.create_task(self._work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        try:
            answer = self._ask()
            if inspect.isawaitable(answer):
                answer = await answer
        except asyncio.CancelledError as error:
            self._failure(error)
            raise
        except Exception as error:
            self._failure(error)
        else:
            self._answer(answer)
        self.drain()


def _tick(reference: weakref.ref[TaskSupply]) -> None:
    supply = reference()
    if supply is not None:
        supply.tick()


# One supply for each credential object; for an asynchronous one, on each loop. A supply holds its credential,
# so an identity in use is never given to another object.
_lock = threading.RLock()
_supplies: weakref.WeakValueDictionary[tuple[int, int], Supply] = weakref.WeakValueDictionary()


def thread_supply(credential: Any, uses_threads: bool = True) -> ThreadSupply:
    """The supply over an ordinary credential."""
    with _lock:
        supply = _supplies.get((id(credential), 0))
        if supply is None:
            supply = _supplies[id(credential), 0] = ThreadSupply(credential)
            supply.uses_threads = uses_threads
    assert isinstance(supply, ThreadSupply)
    if uses_threads:
        supply.uses_threads = True
        _background.add(supply)
    return supply


def task_supply(credential: Any, loop: asyncio.AbstractEventLoop) -> TaskSupply:
    """The supply over an asynchronous credential on this loop."""
    with _lock:
        supply = _supplies.get((id(credential), id(loop)))
        if supply is None:
            supply = _supplies[id(credential), id(loop)] = TaskSupply(credential, loop)
    assert isinstance(supply, TaskSupply)
    return supply


@_fork.on_fork
def _forget() -> None:
    """In a forked child: threads, locks and sources are the parent's."""
    global _lock, _supplies
    _lock = threading.RLock()
    _supplies = weakref.WeakValueDictionary()


def describe(error: BaseException) -> str:
    """The exception's name and text, short and without anything that looks like a token."""
    text = str(error)
    if "AADSTS" not in text:
        # MSAL hides what Entra said of an unknown tenant in the cause of its exception.
        said = (_ENTRA_SAID.search(str(cause)) for cause in _causes(error))
        text += next((f" ({match.group()})" for match in said if match), "")
    text = _tidy(text)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _tidy(text: str) -> str:
    text = " ".join(_LOOKS_LIKE_A_TOKEN.sub("(token withheld)", text).split())
    return text if len(text) <= _TEXT_LEN_MAX else text[:_TEXT_LEN_MAX] + "…"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it came from."""
    seen: BaseException | None = error
    for _ in range(4):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


class _NoToken(Exception):
    """MSAL returns its failures."""


def _parts(answer: Any) -> tuple[str, float | None, float | None]:
    """Token text, expiry and recommended refresh (Unix seconds) of whatever a credential returned."""
    refresh_on = None
    if isinstance(answer, str):
        text, expires_on = answer, None
    elif isinstance(answer, tuple) and len(answer) == 2 and not hasattr(answer, "token"):
        text, expires_on = answer
    elif hasattr(answer, "token"):
        text, expires_on = answer.token, getattr(answer, "expires_on", None)
        refresh_on = getattr(answer, "refresh_on", None)
    elif isinstance(answer, Mapping) and "access_token" in answer:
        text, lifetime = answer["access_token"], _unix(answer.get("expires_in"))
        expires_on = None if lifetime is None else time.time() + lifetime
    elif isinstance(answer, Mapping) and "error" in answer:
        raise _NoToken(answer.get("error_description") or answer["error"])
    else:
        text = None
    if not isinstance(text, str):
        # The value itself is not shown: it may be the token in some other form.
        raise ValueError(
            f"the credential returned a {type(answer).__name__}; "
            "wanted: str, (str, expiry), AccessToken or MSAL's dict"
        )
    return text, _unix(expires_on), _unix(refresh_on)


def _unix(moment: Any) -> float | None:
    if isinstance(moment, datetime):
        return moment.timestamp()
    try:
        return None if moment is None else float(moment)
    except (TypeError, ValueError):
        raise ValueError("the credential's expiry is no number of seconds since 1970") from None


def _http(error: BaseException) -> tuple[int | None, float | None]:
    """Status and Retry-After, where the exception is or was caused by azure-core's HttpResponseError."""
    for cause in _causes(error):
        status = getattr(cause, "status_code", None)
        if isinstance(status, int) and 100 <= status < 600:
            headers = getattr(getattr(cause, "response", None), "headers", None) or {}
            try:
                wait = headers.get("Retry-After") or headers.get("retry-after")
            except Exception:
                wait = None
            return status, _retry_after(wait)
    return None, None


def _retry_after(text: Any) -> float | None:
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except (TypeError, ValueError):
        pass
    try:
        moment = parsedate_to_datetime(str(text))
        return max(0.0, (moment - datetime.now(moment.tzinfo)).total_seconds())
    except (TypeError, ValueError):
        return None
