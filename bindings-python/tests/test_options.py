"""Options of redis-py, notices, and log lines."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import redis
import respass
from conftest import REPOSITORY, Emulator, Server, make_certificates
from respass._compatibility import NOT_NEEDED, REFUSED


def test_every_option_of_redis_py_is_taken_or_refused_with_a_reason() -> None:
    ours = set(inspect.signature(respass.Redis.__init__).parameters) | {"ssl_min_version"}
    theirs = set(inspect.signature(redis.Redis.__init__).parameters)
    theirs |= set(inspect.signature(redis.asyncio.Redis.__init__).parameters)
    assert theirs - ours - NOT_NEEDED.keys() - REFUSED.keys() == set()
    assert not NOT_NEEDED.keys() & REFUSED.keys() and not ours & (NOT_NEEDED.keys() | REFUSED.keys())


def test_the_documentation_names_every_option_that_is_not_needed_or_refused() -> None:
    text = (REPOSITORY / "docs" / "python.md").read_text()
    for name, reason in (NOT_NEEDED | REFUSED).items():
        assert f"`{name}`" in text and reason in text, name


def test_typical_options_of_redis_py_work(server: Server) -> None:
    from redis.backoff import ExponentialBackoff
    from redis.retry import Retry

    with respass.Redis(
        host="localhost",
        port=server.port,
        db=0,
        password=None,
        socket_timeout=5,
        socket_connect_timeout=5,
        socket_keepalive=True,
        socket_keepalive_options={},
        retry=Retry(ExponentialBackoff(), 3),
        retry_on_error=[redis.ConnectionError],
        retry_on_timeout=True,
        health_check_interval=30,
        max_connections=50,
        single_connection_client=False,
        decode_responses=True,
        protocol=3,
        legacy_responses=True,
        connection_pool=None,
        unix_socket_path=None,
        credential_provider=None,
        client_name="app",
        lib_name="redis-py",
    ) as r:
        assert r.ping() and r.client_getname() == "app"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"connection_pool": object()}, "there is no pool"),
        ({"credential_provider": object()}, "give credential="),
        ({"unix_socket_path": "/tmp/redis.sock"}, "give host and port"),
        ({"cache_config": object()}, "client-side cache"),
        ({"ssl_validate_ocsp": True}, "OCSP"),
        ({"ssl_min_version": 0x0304}, "TLS 1.2"),
        ({"legacy_responses": False}, "default shapes"),
        ({"protocol": 4}, "2 or 3"),
        ({"ssl": True, "ssl_cert_reqs": "none"}, "verification"),
    ],
)
def test_options_that_cannot_be_had_are_refused_and_say_what_to_do(
    options: dict[str, Any], says: str
) -> None:
    with pytest.raises(respass.ConfigurationError, match=says):
        respass.Redis(**options)


def test_options_that_nobody_knows_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'hots'"):
        respass.Redis(hots="localhost")  # type: ignore[call-overload]


def test_urls_take_the_query_of_redis_py(server: Server) -> None:
    url = f"redis://localhost:{server.port}/2?socket_timeout=3&health_check_interval=10&max_connections=9"
    url += "&protocol=3&socket_keepalive=True&retry_on_timeout=no&client_name=u&decode_responses=True"
    with respass.Redis.from_url(url, db=7) as r:
        assert r.client_info()["db"] == 2 and r.client_getname() == "u" and r.echo("x") == "x"
    with pytest.raises(respass.ConfigurationError, match="Unix sockets"):
        respass.from_url("unix:///tmp/redis.sock")
    with pytest.raises(respass.ConfigurationError, match="'nonsense' is not known"):
        respass.from_url("redis://localhost?nonsense=1")
    with pytest.raises(respass.ConfigurationError, match="wrong kind"):
        respass.from_url("redis://localhost?max_connections=many")


@pytest.mark.parametrize(
    "rest",
    ["", "/", "/3", "/3/", "//3", "/1/2", "/%34", "/3?db=5", "/name", "/name?db=5", "?db=5&db=6",
     "/?client_name=a&client_name=b&socket_timeout=3&socket_timeout=4"],
)  # fmt: skip
def test_urls_mean_what_they_mean_to_redis_py(rest: str) -> None:
    ours = respass.Redis.from_url(f"redis://localhost:1{rest}")
    theirs = redis.Redis.from_url(f"redis://localhost:1{rest}").get_connection_kwargs()
    assert ours._options.db == theirs.get("db", 0)
    assert ours._options.client_name == theirs.get("client_name", "")
    assert ours._options.socket_timeout == theirs.get("socket_timeout", 5)


PEM = "-----BEGIN PRIVATE KEY-----\nhunter2hunter2\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "text", [PEM, PEM.replace("\n", ""), "hunter2\nhunter2", "hunter2\0", PEM.encode()], ids=str
)
@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"])
def test_pem_in_place_of_a_path_is_not_shown(name: str, text: Any) -> None:
    options: dict[str, Any] = {"ssl_certfile": __file__} if name == "ssl_keyfile" else {}
    options |= {"ssl_keyfile": __file__} if name == "ssl_certfile" else {}
    with pytest.raises(respass.ConfigurationError, match=f"{name} wants a path") as caught:
        respass.Redis(ssl=True, **{**options, name: text})
    assert "hunter2" not in str(caught.value) and "ssl_ca_data=" in str(caught.value)


def test_the_repr_of_options_shows_no_private_key(tmp_path: Path) -> None:
    paths = make_certificates(tmp_path)
    files = {"ssl_certfile": paths["server.pem"], "ssl_keyfile": paths["server.key"]}
    with respass.Redis(ssl=True, password="hunter2", **files) as r:
        assert r._options.client_pem is not None
        shown = repr(r._options)
    assert "PRIVATE" not in shown and "hunter2" not in shown


def test_the_environment_names_the_authorities_where_no_option_does(
    tls_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tls_server.ca is not None
    monkeypatch.setenv("SSL_CERT_FILE", tls_server.ca)
    with respass.Redis(port=tls_server.port, ssl=True) as r:
        assert r.ping()
    other = make_certificates(tmp_path)["ca.pem"]
    with (
        respass.Redis(port=tls_server.port, ssl=True, ssl_ca_certs=other, socket_timeout=1) as r,
        pytest.raises(respass.ConnectionError, match="certificate"),
    ):
        r.ping()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(respass.ConfigurationError, match=r"SSL_CERT_FILE: .*none\.pem"):
        respass.Redis(ssl=True)
    respass.Redis(ssl=True, ssl_ca_certs=other).close()
    respass.Redis(ssl=False).close()


def test_the_systems_authorities_can_be_had(
    tls_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its file, or from its folder, where the names are hashes."""
    assert tls_server.ca is not None
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "0123abcd.0").write_bytes(Path(tls_server.ca).read_bytes())
    (folder / "README").write_text("no certificate")
    for file, where in ((tls_server.ca, tmp_path), (tmp_path / "none.pem", folder)):
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        monkeypatch.setenv("SSL_CERT_DIR", str(where))
        with respass.Redis(port=tls_server.port, ssl=True, ssl_ca_certs="system") as r:
            assert r.ping()
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(respass.ConfigurationError, match="system"):
        respass.Redis(ssl=True, ssl_ca_certs="system")


def test_notices_come_as_objects_and_as_log_lines(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    notices: list[respass.Notice] = []
    with (
        caplog.at_level(logging.DEBUG, "respass"),
        respass.Redis(port=server.port, on_notice=notices.append) as r,
    ):
        r.ping()
        assert [notice.name for notice in notices] == ["ready"]
        server.kill_clients()
        with contextlib.suppress(respass.ConnectionError):
            r.ping()
        r.ping()
    assert [notice.name for notice in notices[:3]] == ["ready", "connection-lost", "ready"]
    assert notices[0].severity == "debug" and notices[1].severity == "info" and notices[1].text
    assert notices[0].connection != notices[2].connection
    assert {record.name for record in caplog.records} == {"respass.connection"}
    with pytest.raises(AttributeError):
        notices[0].name = "other"  # type: ignore[misc]


def test_a_callback_may_use_the_client_and_may_fail(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Any] = []

    def on_notice(notice: respass.Notice) -> None:
        answers.append(r.echo(notice.name))
        raise ValueError("in the callback")

    with respass.Redis(port=server.port, on_notice=on_notice) as r:
        done = threading.Thread(target=r.ping, daemon=True)
        done.start()
        done.join(10)
        assert not done.is_alive() and answers == [b"ready"]
        assert "in the callback" in caplog.text and r.ping()


def test_asyncio_notices_may_use_the_client(server: Server) -> None:
    async def run() -> None:
        loop, answers = asyncio.get_running_loop(), asyncio.Queue[Any]()

        def on_notice(notice: respass.Notice) -> None:
            loop.create_task(answer(notice))

        async def answer(notice: respass.Notice) -> None:
            answers.put_nowait(await r.echo(notice.name))

        async with respass.asyncio.Redis(port=server.port, on_notice=on_notice) as r:
            await r.ping()
            assert await answers.get() == b"ready"

    asyncio.run(asyncio.wait_for(run(), 20))


def test_no_notice_holds_a_token(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    notices: list[respass.Notice] = []
    tokens: list[str] = []
    renewed = threading.Event()

    def fetch() -> tuple[str, float]:
        given = emulator.token(ttl=5)
        tokens.append(given["access_token"])
        return given["access_token"], float(given["expires_on"])

    def on_notice(notice: respass.Notice) -> None:
        notices.append(notice)
        if notice.name == "reauthenticated":
            renewed.set()

    with (
        caplog.at_level(logging.DEBUG, "respass"),
        respass.Redis(**emulator.options(), credential=fetch, on_notice=on_notice) as r,
    ):
        assert r.ping() and renewed.wait(20) and r.ping()
    assert "respass.auth" in {record.name for record in caplog.records}
    shown = caplog.text + repr(notices)
    assert len(tokens) > 1 and not any(token in shown for token in tokens)
