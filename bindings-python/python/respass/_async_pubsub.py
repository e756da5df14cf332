"""Publish and subscribe for asyncio: redis-py's `PubSub`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, Self

from ._pubsub import BasePubSub, Handler, closed, confirmation_max
from ._respass import Subscriber


class AsyncPubSub(BasePubSub):
    """As `respass.PubSub`. It belongs to the event loop that it first subscribes on."""

    def __init__(
        self,
        client: Any,
        ignore_subscribe_messages: bool = False,
        on_gap: Callable[[Any], Any] | None = None,
    ) -> None:
        self._client = client
        self._driver: Any = None
        #: Resolved at the next arrival; kept, so that those who give up leave nothing behind.
        self._arrival: Any = None
        super().__init__(client._options, ignore_subscribe_messages, on_gap)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self

    def __del__(self) -> None:
        try:
            if self._subscriber is not None:
                self._subscriber.close()
                self._driver.loop.call_soon_threadsafe(self._driver.port.flush)
        except Exception:  # half made, of a parent process, or of a closed loop
            pass

    async def aclose(self) -> None:
        """Ends all subscriptions, and the connections."""
        subscriber, self._subscriber = self._subscriber, None
        self._forget()
        if subscriber is not None:
            subscriber.close()
            self._driver.port.flush()

    close = reset = aclose

    async def connect(self) -> None:
        """Nothing has to be done: a subscription connects."""

    async def subscribe(self, *args: Any, **kwargs: Handler | None) -> None:
        """Subscribes to channels; those that are given as keywords have handlers."""
        await self._subscribe(1, args, kwargs)

    async def psubscribe(self, *args: Any, **kwargs: Handler | None) -> None:
        """Subscribes to all channels that match patterns."""
        await self._subscribe(2, args, kwargs)

    async def ssubscribe(self, *args: Any, target_node: Any = None, **kwargs: Handler | None) -> None:
        """Subscribes to channels of shards. The nodes are found, whatever `target_node` says."""
        await self._subscribe(3, args, kwargs)

    async def _subscribe(self, kind: int, args: Any, kwargs: Any) -> None:
        subscriber = self._subscriber
        if subscriber is None:
            self._driver = self._client._drivers.current()
            subscriber = self._subscriber = Subscriber(self._driver.core, False)
        names = self._begin(kind, subscriber, args, kwargs)
        self._driver.port.flush()
        try:
            async with asyncio.timeout(confirmation_max(self._options)):
                while (found := subscriber.are_answered(kind, names)) is not None:
                    are_answered, seen = found
                    if are_answered:
                        return
                    await self._wait(subscriber, seen, None)
        except TimeoutError:
            error = self._withdraw(kind, subscriber, names)
            self._driver.port.flush()
            raise error from None
        raise closed()

    async def _wait(self, subscriber: Subscriber, seen: int, timeout: float | None) -> None:
        """Waits for the next arrival, or so many seconds."""
        arrival = self._arrival
        if arrival is None or arrival.done():
            arrival = self._driver.port.next_mail(subscriber, seen)
        if arrival is not None:
            self._arrival = arrival
            await asyncio.wait((arrival,), timeout=timeout)

    async def unsubscribe(self, *args: Any) -> None:
        """Ends subscriptions to channels; to all where none are given."""
        self._unsubscribe(1, args)

    async def punsubscribe(self, *args: Any) -> None:
        """Ends subscriptions to patterns; to all where none are given."""
        self._unsubscribe(2, args)

    async def sunsubscribe(self, *args: Any, target_node: Any = None) -> None:
        """Ends subscriptions to channels of shards; to all where none are given."""
        self._unsubscribe(3, args)

    def _unsubscribe(self, kind: int, args: Any) -> None:
        self._end(kind, args)
        if self._driver is not None:
            self._driver.port.flush()

    async def get_message(
        self, ignore_subscribe_messages: bool = False, timeout: float | None = 0.0
    ) -> dict[str, Any] | None:
        """The next message, waiting up to `timeout` seconds for it, for ever with `None`. `None` also for a message
        that a handler got, or a confirmation that is ignored. Raises where a subscription was refused."""
        if self._subscriber is None:
            raise RuntimeError(
                "pubsub connection not set: did you forget to call subscribe() or psubscribe()?"
            )
        entry = await self._next(timeout)
        if entry is None:
            return None
        message, handler = self._sorted(entry, ignore_subscribe_messages)
        if handler is not None:
            await _finished(handler(message or {}))
            return None
        return message

    get_sharded_message = get_message

    async def _next(self, timeout: float | None) -> tuple[str, Any, Any, Any] | None:
        """The next entry but gaps, which are told."""
        loop = self._driver.loop
        deadline = None if timeout is None else loop.time() + timeout
        is_late = False
        while True:
            if self._entries:
                entry = self._entries.popleft()
                if entry[0] != "gap":
                    return entry
                if self.on_gap is not None:
                    await _finished(self.on_gap(self))
                continue
            subscriber = self._subscriber
            if subscriber is None:
                return None
            seen = self._take(subscriber)
            if seen is None:
                continue
            if is_late:
                return None
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                # The loop's turn to read, all the same.
                await asyncio.sleep(0)
                is_late = True
            else:
                await self._wait(subscriber, seen, left)

    async def listen(self) -> AsyncIterator[dict[str, Any]]:
        """Messages, for as long as there are subscriptions."""
        while self.subscribed:
            message = await self.get_message(timeout=None)
            if message is not None:
                yield message

    async def ping(self, message: Any = None) -> bool:
        """Tries the server; its answer becomes a message of type `pong`."""
        words = () if message is None else (message,)
        await self._client.execute_command("PING", *words)
        if self._subscriber is not None:
            self._take(self._subscriber)
        data = self._shown(b"" if message is None else self._encoded(message))
        self._entries.append(("pong", None, None, data))
        return True

    async def run(
        self,
        *,
        exception_handler: Callable[..., Any] | None = None,
        poll_timeout: float = 1.0,
        pubsub: Any = None,
    ) -> None:
        """Hands messages to their handlers, until it is cancelled."""
        self._check_handlers()
        while True:
            try:
                await (pubsub or self).get_message(ignore_subscribe_messages=True, timeout=poll_timeout)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                if exception_handler is None:
                    raise
                await _finished(exception_handler(error, self))
            await asyncio.sleep(0)


async def _finished(value: Any) -> None:
    """Waits for what a handler returned, where that is to be waited for."""
    if inspect.isawaitable(value):
        await value
