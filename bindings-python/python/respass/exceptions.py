"""The exceptions: redis-py's tree, with what became of the command and a stable code on each.

``outcome`` is ``"not_sent"`` (the server did not run the command), ``"indeterminate"`` (it may have run) or
``"refused"`` (the server answered, and refused it); ``code`` is the same number in every language of respass.
"""

from __future__ import annotations

import builtins


class RedisError(Exception):
    """Base of every exception of this package."""

    outcome: str | None = None
    code: int | None = None
    #: What to do about it, where experience tells.
    hint: str | None = None


class ConnectionError(RedisError):
    """The server could not be reached, or the connection was lost."""


class TimeoutError(RedisError):
    """No reply came in time."""


class AuthenticationError(ConnectionError):
    """The server refused the login."""


class TokenError(AuthenticationError):
    """The credential gave no token, or one that cannot be used, or the server refused it.

    ``stage`` says how far it came: ``"acquire"``, ``"claims"``, ``"auth"`` or ``"expired"``.
    """

    stage: str | None = None


class AuthorizationError(ConnectionError):
    """The user may not do this."""


class BusyLoadingError(ConnectionError):
    """The server is still loading its data."""


class MaxConnectionsError(ConnectionError):
    """The server takes no more connections."""


class InvalidResponse(RedisError):
    """The server's bytes were no RESP, or its replies did not fit the commands."""


class ResponseError(RedisError):
    """The server refused a command."""


class DataError(RedisError):
    """An argument has no form in which it could be sent."""


class PubSubError(RedisError):
    """Publish and subscribe."""


class WatchError(RedisError):
    """A watched key changed, or the connection that would tell was lost."""


class NoScriptError(ResponseError):
    """No script has this digest."""


class OutOfMemoryError(ResponseError):
    """The server is out of memory."""


class ExecAbortError(ResponseError):
    """A command of the transaction was refused when it was queued: none of them ran."""


class ReadOnlyError(ResponseError):
    """The server is a replica."""


class NoPermissionError(ResponseError):
    """The user may not run this command, or not on this key."""


class ClusterError(RedisError):
    """The cluster cannot serve this."""


class AskError(ResponseError):
    """The slot is being moved to another node."""


class TryAgainError(ResponseError):
    """The keys are spread over two nodes while their slot moves."""


class RedisClusterException(RedisError):
    """The server is no node of a cluster, or no node serves a slot."""


class ClusterCrossSlotError(ResponseError, RedisClusterException):
    """The keys are in different slots."""


class MovedError(AskError):
    """The slot belongs to another node."""


class ClusterDownError(ClusterError, ResponseError):
    """The cluster is down."""


class MasterDownError(ClusterDownError):
    """The replica has lost its primary."""


class ConfigurationError(RedisError, ValueError):
    """The options of a client cannot work."""


class QueueFullError(RedisError):
    """Too many bytes of commands wait already."""


class UnsupportedCommandError(RedisError):
    """A shared connection cannot carry this command."""


class ForkError(RedisError, RuntimeError):
    """A client that the parent process made was used in a forked child."""


class EventLoopError(RedisError, RuntimeError):
    """An asyncio client was used on another event loop than its own, or on none."""


class LockError(RedisError, ValueError):
    """A lock was not acquired, or not released."""

    def __init__(self, message: str | None = None, lock_name: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.lock_name = lock_name


class LockNotOwnedError(LockError):
    """The lock is not held any more, or by another."""


#: The one table of codes. The numbers are the core's and never change.
BY_CODE: dict[int, type[RedisError]] = {
    100: ConnectionError,
    101: QueueFullError,
    102: DataError,
    103: UnsupportedCommandError,
    104: UnsupportedCommandError,
    105: ConfigurationError,
    200: ConnectionError,
    201: ConnectionError,
    202: ConnectionError,
    203: InvalidResponse,
    204: WatchError,
    205: RedisClusterException,
    300: TimeoutError,
    301: TimeoutError,
    400: AuthenticationError,
    401: TokenError,
    402: TokenError,
    403: TokenError,
    404: TokenError,
    405: TokenError,
    406: TokenError,
    407: TokenError,
    500: ResponseError,
    501: AuthenticationError,
    502: AuthenticationError,
    503: NoPermissionError,
    504: BusyLoadingError,
    505: ResponseError,
    506: ReadOnlyError,
    507: OutOfMemoryError,
    508: NoScriptError,
    509: ExecAbortError,
    510: ResponseError,
    511: MovedError,
    512: AskError,
    513: TryAgainError,
    514: ClusterCrossSlotError,
    515: ClusterDownError,
    516: MasterDownError,
    517: ResponseError,
    518: ResponseError,
    519: ResponseError,
    520: ResponseError,
    521: ResponseError,
}

_TOKEN_STAGES = {
    401: "acquire",
    402: "claims",
    403: "auth",
    404: "auth",
    405: "auth",
    406: "expired",
    407: "auth",
}

_OUTCOME_TEXTS = {"not_sent": " (not sent)", "indeterminate": " (it may have run)"}

#: redis-py shows these errors without their first word.
_WITHOUT_WORD = frozenset((501, 502, 503, 504, 506, 507, 508, 509, 511, 512, 513, 514, 515, 516))


def make(code: int, outcome: str, text: str, hint: str | None = None) -> RedisError:
    """The exception for an error of the core. The native module calls this."""
    if code == 500:
        text = text.removeprefix("ERR ")
    elif code in _WITHOUT_WORD and text[:1].isupper() and text.partition(" ")[0].isupper():
        text = text.partition(" ")[2] or text
    if code >= 200:
        text += _OUTCOME_TEXTS.get(outcome, "")
    if hint is not None:
        text += f". {hint}"
    error = BY_CODE.get(code, RedisError)(text)
    error.code = code
    error.outcome = outcome
    error.hint = hint
    if isinstance(error, TokenError):
        error.stage = _TOKEN_STAGES.get(code)
    return error


__all__ = [
    name
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, builtins.Exception)
]
