"""Publish and subscribe: redis-py's `PubSub`. Each has connections of its own, which the core keeps alive."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from ._config import Options
from ._respass import Subscriber
from .exceptions import ConnectionError, DataError, ForkError, PubSubError, RedisError, TimeoutError

Handler = Callable[[dict[str, Any]], Any]

#: Words for messages, and for the ends of subscriptions.
_PUBLISHED = ("message", "pmessage", "smessage")
_ENDED = {"unsubscribe": 1, "punsubscribe": 2, "sunsubscribe": 3}


def _listed(args: tuple[Any, ...]) -> list[Any]:
    """Names, of which the first may be a list of them."""
    if args and isinstance(args[0], list | tuple | set | frozenset):
        return [*args[0], *args[1:]]
    return list(args)


@dataclass(frozen=True)
class Subscription:
    """A channel or a pattern, and what is called with its messages."""

    name: Any
    handler: Handler | None = None


class BasePubSub:
    """What both kinds share: who is subscribed to what, and what becomes of a message."""

    def __init__(
        self,
        options: Options,
        ignore_subscribe_messages: bool,
        on_gap: Callable[[Any], Any] | None,
    ) -> None:
        self._options = options
        self.ignore_subscribe_messages = ignore_subscribe_messages
        #: Called with this object where messages may be missing, before the next one.
        self.on_gap = on_gap
        self._subscriber: Subscriber | None = None
        self._forget()

    def _forget(self) -> None:
        #: Names and handlers.
        self.channels: dict[Any, Handler | None] = {}
        self.patterns: dict[Any, Handler | None] = {}
        self.shard_channels: dict[Any, Handler | None] = {}
        #: Names by their kind that were unsubscribed from, until that is confirmed.
        self._ending: dict[int, set[Any]] = {1: set(), 2: set(), 3: set()}
        self._entries: deque[tuple[str, Any, Any, Any]] = deque()

    @property
    def subscribed(self) -> bool:
        """Whether there is any subscription."""
        return bool(self.channels or self.patterns or self.shard_channels)

    def _names(self, kind: int) -> dict[Any, Handler | None]:
        return (self.channels, self.patterns, self.shard_channels)[kind - 1]

    def _encoded(self, name: Any) -> bytes:
        if isinstance(name, str):
            return name.encode(self._options.encoding, self._options.encoding_errors)
        if isinstance(name, bytes | bytearray | memoryview):
            return bytes(name)
        if isinstance(name, int | float) and not isinstance(name, bool):
            return repr(name).encode()
        raise DataError(f"a channel's name is str or bytes, not {type(name).__name__}")

    def _shown(self, name: bytes) -> Any:
        """A name as messages have it."""
        options = self._options
        return name.decode(options.encoding, options.encoding_errors) if options.decode_responses else name

    def _begin(self, kind: int, subscriber: Subscriber, args: Any, kwargs: Any) -> list[bytes]:
        """Subscribes; the names to be confirmed."""
        handlers: dict[bytes, Handler | None] = {}
        for one in _listed(args):
            name, handler = (one.name, one.handler) if isinstance(one, Subscription) else (one, None)
            handlers[self._encoded(name)] = handler
        for name, handler in kwargs.items():
            handlers[self._encoded(name)] = handler
        if not handlers:
            raise DataError("subscribe to what? Give channels, or channels with handlers as keywords")
        names = list(handlers)
        subscriber.subscribe(kind, names)
        shown = {self._shown(name): handler for name, handler in handlers.items()}
        self._names(kind).update(shown)
        self._ending[kind].difference_update(shown)
        return names

    def _end(self, kind: int, args: Any) -> None:
        """Unsubscribes; from all of the kind where no names are given."""
        names = [self._encoded(name) for name in _listed(args)]
        self._ending[kind].update(map(self._shown, names) if args else self._names(kind))
        if self._subscriber is not None:
            self._subscriber.unsubscribe(kind, names)

    def _withdraw(self, kind: int, subscriber: Subscriber, names: list[bytes]) -> TimeoutError:
        """Gives up on subscriptions that were not confirmed in time; the error."""
        subscriber.unsubscribe(kind, names)
        for name in names:
            self._names(kind).pop(self._shown(name), None)
        return late("the subscription")

    def _take(self, subscriber: Subscriber) -> int | None:
        """Takes what came: `None` where there is something, else how often something came."""
        taken = subscriber.take()
        if taken is None:
            # Closed: by this object, or with the client.
            if subscriber is self._subscriber:
                raise closed()
            return None
        entries, seen = taken
        self._entries.extend(entries)
        return None if self._entries else seen

    def _sorted(
        self, entry: tuple[str, Any, Any, Any], ignores: bool
    ) -> tuple[dict[str, Any] | None, Handler | None]:
        """The message of an entry, if it is for the caller, and the handler that gets it instead."""
        word, pattern, channel, data = entry
        if word == "refused":
            for names in (self.channels, self.patterns, self.shard_channels):
                names.pop(channel, None)
            self._changed()
            raise data
        message = {"type": word, "pattern": pattern, "channel": channel, "data": data}
        if word in _PUBLISHED:
            kind = _PUBLISHED.index(word) + 1
            return message, self._names(kind).get(pattern if kind == 2 else channel)
        if word == "pong":
            return message, None
        kind = _ENDED.get(word, 0)
        if kind and channel in self._ending[kind]:
            self._ending[kind].discard(channel)
            self._names(kind).pop(channel, None)
            self._changed()
        return (None if ignores or self.ignore_subscribe_messages else message), None

    def _changed(self) -> None:
        """A subscription was ended."""

    def _check_handlers(self) -> None:
        kinds = (
            ("Channel", self.channels),
            ("Pattern", self.patterns),
            ("Shard Channel", self.shard_channels),
        )
        for what, names in kinds:
            for name, handler in names.items():
                if handler is None:
                    raise PubSubError(f"{what}: '{name!r}' has no handler registered")


def confirmation_max(options: Options) -> float | None:
    """How long a confirmation may take, in seconds: as long as connecting and a command may."""
    connect, command = options.socket_connect_timeout, options.socket_timeout
    return None if connect is None or command is None else connect + command


def late(what: str) -> TimeoutError:
    """The error where there was no confirmation."""
    error = TimeoutError(f"{what} was not confirmed in time: see auth_status() for what is wrong")
    error.outcome, error.code = "indeterminate", 300
    return error


def closed() -> RedisError:
    """The error for whoever waits when the client is closed."""
    error = ConnectionError("the client is closed")
    error.outcome, error.code = "not_sent", 100
    return error


class PubSub(BasePubSub):
    """Subscriptions over connections of their own. Connections that are lost are made again, and all subscriptions
    with them; `on_gap` is called where messages may be missing for that."""

    def __init__(
        self,
        client: Any,
        ignore_subscribe_messages: bool = False,
        on_gap: Callable[[Any], Any] | None = None,
    ) -> None:
        self._driver = client._driver
        self._client = client
        #: Set while there are subscriptions.
        self._is_subscribed = threading.Event()
        super().__init__(client._options, ignore_subscribe_messages, on_gap)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.reset()

    def __del__(self) -> None:
        try:
            if self._subscriber is not None:
                self.reset()
        except Exception:  # half made, or of a parent process
            pass

    def reset(self) -> None:
        """Ends all subscriptions, and the connections."""
        subscriber, self._subscriber = self._subscriber, None
        self._forget()
        self._is_subscribed.clear()
        if subscriber is not None:
            try:
                subscriber.close()
            except ForkError:  # the parent's
                return
            self._driver.attend()

    close = reset

    def subscribe(self, *args: Any, **kwargs: Handler | None) -> None:
        """Subscribes to channels; those that are given as keywords have handlers."""
        self._subscribe(1, args, kwargs)

    def psubscribe(self, *args: Any, **kwargs: Handler | None) -> None:
        """Subscribes to all channels that match patterns."""
        self._subscribe(2, args, kwargs)

    def ssubscribe(self, *args: Any, target_node: Any = None, **kwargs: Handler | None) -> None:
        """Subscribes to channels of shards. The nodes are found, whatever `target_node` says."""
        self._subscribe(3, args, kwargs)

    def _subscribe(self, kind: int, args: Any, kwargs: Any) -> None:
        subscriber = self._subscriber
        if subscriber is None:
            subscriber = self._subscriber = Subscriber(self._driver.native_core(), False)
        names = self._begin(kind, subscriber, args, kwargs)
        self._is_subscribed.set()
        limit = confirmation_max(self._options)
        deadline = None if limit is None else time.monotonic() + limit
        while (found := subscriber.are_answered(kind, names)) is not None:
            are_answered, seen = found
            if are_answered:
                return
            if deadline is not None and time.monotonic() >= deadline:
                raise self._withdraw(kind, subscriber, names)
            call = subscriber.next(seen)
            if call is not None:
                self._driver.wait(call, deadline)
        raise closed()

    def unsubscribe(self, *args: Any) -> None:
        """Ends subscriptions to channels; to all where none are given."""
        self._unsubscribe(1, args)

    def punsubscribe(self, *args: Any) -> None:
        """Ends subscriptions to patterns; to all where none are given."""
        self._unsubscribe(2, args)

    def sunsubscribe(self, *args: Any, target_node: Any = None) -> None:
        """Ends subscriptions to channels of shards; to all where none are given."""
        self._unsubscribe(3, args)

    def _unsubscribe(self, kind: int, args: Any) -> None:
        self._end(kind, args)
        self._driver.attend()

    def _changed(self) -> None:
        if not self.subscribed:
            self._is_subscribed.clear()

    def get_message(
        self, ignore_subscribe_messages: bool = False, timeout: float | None = 0.0
    ) -> dict[str, Any] | None:
        """The next message, waiting up to `timeout` seconds for it, for ever with `None`. `None` also for a message
        that a handler got, or a confirmation that is ignored. Raises where a subscription was refused."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self.subscribed and not self._is_subscribed.wait(timeout):
            return None
        entry = self._next(deadline)
        if entry is None:
            return None
        message, handler = self._sorted(entry, ignore_subscribe_messages)
        if handler is not None:
            handler(message or {})
            return None
        return message

    get_sharded_message = get_message

    def _next(self, deadline: float | None) -> tuple[str, Any, Any, Any] | None:
        """The next entry but gaps, which are told."""
        is_late = False
        while True:
            try:
                entry = self._entries.popleft()
            except IndexError:
                pass
            else:
                if entry[0] != "gap":
                    return entry
                if self.on_gap is not None:
                    self.on_gap(self)
                continue
            subscriber = self._subscriber
            if subscriber is None:
                return None
            seen = self._take(subscriber)
            if seen is None:
                continue
            if is_late:
                return None
            call = subscriber.next(seen)
            if call is not None:
                self._driver.wait(call, deadline)
            is_late = deadline is not None and time.monotonic() >= deadline

    def listen(self) -> Iterator[dict[str, Any]]:
        """Messages, for as long as there are subscriptions."""
        while self.subscribed:
            message = self.get_message(timeout=None)
            if message is not None:
                yield message

    def ping(self, message: Any = None) -> bool:
        """Tries the server; its answer becomes a message of type `pong`."""
        words = () if message is None else (message,)
        self._client.execute_command("PING", *words)
        if self._subscriber is not None:
            self._take(self._subscriber)
        self._entries.append(
            ("pong", None, None, self._shown(b"" if message is None else self._encoded(message)))
        )
        return True

    def run_in_thread(
        self,
        sleep_time: float = 0.0,
        daemon: bool = False,
        exception_handler: Callable[..., Any] | None = None,
        pubsub: Any = None,
        sharded_pubsub: bool = False,
    ) -> PubSubWorkerThread:
        """A thread that hands messages to their handlers, until its `stop` is called."""
        self._check_handlers()
        thread = PubSubWorkerThread(pubsub or self, sleep_time, daemon, exception_handler)
        thread.start()
        return thread


class PubSubWorkerThread(threading.Thread):
    """Hands messages to their handlers."""

    def __init__(
        self,
        pubsub: PubSub,
        sleep_time: float,
        daemon: bool = False,
        exception_handler: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(daemon=daemon)
        self.pubsub, self.exception_handler = pubsub, exception_handler
        # Nothing is missed by waiting: a message ends it, and so does `stop`.
        self._wait_max = sleep_time or 1.0
        self._is_stopped_by_user = threading.Event()

    def run(self) -> None:
        """Until it is stopped."""
        while not self._is_stopped_by_user.is_set():
            try:
                self.pubsub.get_message(ignore_subscribe_messages=True, timeout=self._wait_max)
            except BaseException as error:
                if self.exception_handler is None:
                    raise
                self.exception_handler(error, self.pubsub, self)
        self.pubsub.close()

    def stop(self) -> None:
        """Ends it, and the subscriptions."""
        self._is_stopped_by_user.set()
        subscriber = self.pubsub._subscriber
        if subscriber is not None and threading.current_thread() is not self:
            self.pubsub.close()
