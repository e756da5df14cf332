"""`python -m respass`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import respass
from respass import __main__


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "respass", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_the_emulator_starts_and_ends_with_its_starter(emulator_path: str) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "respass",
            "emulator",
            "--port",
            "0",
            "--identity-port",
            "0",
            "--stdin-lifeline",
        ],
        env={**os.environ, "RESPASS_EMULATOR": emulator_path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        facts = json.loads(process.stdout.readline())
        options = {"host": facts["host"], "port": facts["port"], "ssl_ca_certs": facts["ca_file"]}
        with respass.Redis(**options, credential=lambda: "no-token", username="x", socket_timeout=2) as r:
            try:
                r.ping()
            except respass.AuthenticationError as error:
                assert "WRONGPASS" in str(error)
            else:
                raise AssertionError("the emulator took any token")
        process.stdin.close()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_where_there_is_no_emulator_the_way_to_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        __main__, "emulator_candidates", lambda: iter([str(tmp_path / "none"), str(tmp_path)])
    )
    assert __main__.emulator([]) == 2
    assert "pip install respass-emulator" in capsys.readouterr().err


def test_the_one_named_by_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPASS_EMULATOR", "/somewhere/respass-emulator")
    assert next(__main__.emulator_candidates()) == "/somewhere/respass-emulator"


def test_anything_else_is_answered_with_the_usage() -> None:
    for arguments in ([], ["emulate"]):
        wrong = run(*arguments)
        assert wrong.returncode == 2 and "usage: python -m respass emulator" in wrong.stderr
    assert run("--help").returncode == 0
