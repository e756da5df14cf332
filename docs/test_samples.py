"""The samples of the README and of docs/. Every program runs as it stands, but for addresses, names of identities and
pauses, against the emulator or a plain server; every shell block parses, and those about the emulator run.

JavaScript and TypeScript run in the project that RESPASS_NODE_PROJECT names, C is built against the prefix that
RESPASS_C_PREFIX names, and Rust stands word by word in an example of the Rust driver, which its tests run.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import REPOSITORY, Emulator, Server, run_emulator

PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "bindings-node" / "README.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]

#: What no test can have: these stand for the emulator's own.
CLIENT_ID = "11111111-1111-1111-1111-111111111111"

#: Runs a sample. Credentials that talk to the sign-in service are told to trust the emulator's.
RUN = """
import functools, sys
import azure.identity
path, ca = sys.argv[1:]
for name in ("ClientSecretCredential", "WorkloadIdentityCredential"):
    make = getattr(azure.identity, name)
    setattr(azure.identity, name, functools.partial(make, disable_instance_discovery=True, connection_verify=ca))
exec(compile(open(path).read(), path, "exec"), {"__name__": "__main__"})
"""

#: Stands for the Azure CLI of someone who is signed in.
AZ = """#!/bin/sh
case "$*" in *--version*) echo azure-cli 2.77.0; exit ;; esac
cat '{answer}'
"""


@dataclass
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PYTHON, SHELL, SCRIPT, C, RUST = (
    [block for block in BLOCKS if block.language in languages]
    for languages in (("python",), ("sh",), ("js", "cjs", "ts"), ("c",), ("rust",))
)


@pytest.fixture(scope="session")
def azure(emulator_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One emulator for all samples."""
    with (
        pytest.MonkeyPatch.context() as environment,
        run_emulator(emulator_path, 60, environment, "amr-oss") as emulator,
    ):
        yield emulator


@pytest.fixture(scope="session")
def forwarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port on this machine of a cluster's only node, which advertises port 7000 of a host that is elsewhere."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--save", "", "--cluster-enabled", "yes"]
    command += ["--cluster-announce-ip", "10.0.0.1", "--cluster-announce-port", "7000"]
    command += ["--cluster-port", str(free_port()), "--bind", "127.0.0.1"]
    process = subprocess.Popen(command, cwd=tmp_path_factory.mktemp("node"), stdout=subprocess.DEVNULL)
    try:
        for words in (["cluster", "addslotsrange", "0", "16383"], ["cluster", "info"]):
            wait_for_reply(port, words, b"OK" if len(words) > 2 else b"cluster_state:ok")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def wait_for_reply(port: int, words: list[str], expected: bytes) -> None:
    """Asks until the server is there and answers so."""
    for _ in range(200):
        done = subprocess.run(
            ["redis-cli", "-p", str(port), *words], capture_output=True, timeout=10, check=False
        )
        if expected in done.stdout:
            return
        time.sleep(0.05)
    raise AssertionError(done.stdout + done.stderr)


@pytest.fixture
def environment(azure: Emulator, tmp_path: Path, emulator_path: str) -> dict[str, str]:
    """What a sample finds around it."""
    (tmp_path / "emulator.json").write_text(json.dumps(azure.facts))
    issued = azure.token()
    answer = tmp_path / "az.json"
    facts = {"accessToken": issued["access_token"], "expires_on": issued["expires_on"], "tokenType": "Bearer"}
    answer.write_text(json.dumps(facts))
    az = tmp_path / "bin" / "az"
    az.parent.mkdir()
    az.write_text(AZ.format(answer=answer))
    az.chmod(az.stat().st_mode | stat.S_IXUSR)
    # A bundle of the machine's own would overrule the certificate that the samples are told to trust.
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("CA_BUNDLE")}
    return inherited | {
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        "AZURE_TENANT_ID": azure.facts["tenant_id"],
        "AZURE_CLIENT_ID": azure.facts["client_id"],
        "AZURE_CLIENT_SECRET": azure.facts["client_secret"],
        "AZURE_AUTHORITY_HOST": azure.facts["authority"],
        "AZURE_FEDERATED_TOKEN_FILE": azure.facts["federated_token_file"],
        "RESPASS_EMULATOR": emulator_path,
        "PATH": f"{az.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def adapted(block: Block, azure: Emulator, server: Server, forwarded: int) -> str:
    """The sample with the addresses that exist here, and with little patience."""
    language, text = block.language, block.text
    text = text.replace("time.sleep(1)", "time.sleep(0.01)")
    here = f'"{azure.host}", {azure.port}, ssl_ca_certs="{azure.ca}"'
    for address in ('"mycache.westeurope.redis.azure.net", 10000', '"mycache.redis.cache.windows.net", 6380'):
        text = text.replace(address, here)
    text = text.replace(
        "rediss://mycache.westeurope.redis.azure.net:10000",
        f"rediss://{azure.host}:{azure.port}" + (f"?ssl_ca_certs={azure.ca}" if language == "python" else ""),
    )
    text = text.replace('"localhost", 6379', f'"localhost", {server.port}')
    text = text.replace("redis://localhost:6379", f"redis://localhost:{server.port}")
    text = text.replace('"localhost", 7000', f'"localhost", {forwarded}')
    text = text.replace(CLIENT_ID, azure.facts["client_id"])
    assert not re.search(r"azure\.net|windows\.net|6379", text), "an address that the test does not know"
    return text


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.name)
def test_python_samples_run(
    block: Block,
    azure: Emulator,
    server: Server,
    forwarded: int,
    tmp_path: Path,
    environment: dict[str, str],
) -> None:
    is_test = "\ndef test_" in block.text
    path = tmp_path / ("test_sample.py" if is_test else "sample.py")
    path.write_text(adapted(block, azure, server, forwarded))
    before = azure.admin("/stats")["auth_accepted"]
    if is_test:
        assert " passed" in run([sys.executable, "-m", "pytest", "-q", str(path)], tmp_path, environment)
    else:
        run([sys.executable, "-c", RUN, str(path), azure.ca], tmp_path, environment)
        uses_tokens = "credential=" in block.text
        assert (azure.admin("/stats")["auth_accepted"] > before) is uses_tokens


@pytest.fixture(scope="session")
def node_project() -> Path:
    return Path(os.environ["RESPASS_NODE_PROJECT"])


@pytest.mark.parametrize("block", SCRIPT, ids=lambda block: block.name)
def test_javascript_and_typescript_samples_run(
    block: Block,
    azure: Emulator,
    server: Server,
    forwarded: int,
    node_project: Path,
    environment: dict[str, str],
) -> None:
    # Modules are looked for beside the program.
    name = f"sample-{block.page.stem}-{block.line}"
    path = node_project / f"{name}.{ {'js': 'mjs', 'cjs': 'cjs', 'ts': 'mts'}[block.language] }"
    path.write_text(adapted(block, azure, server, forwarded))
    before = azure.admin("/stats")["auth_accepted"]
    if block.language == "ts":
        tsc = ["npx", "tsc", "--strict", "--module", "nodenext", "--target", "es2022", "--types", "node"]
        run([*tsc, "--lib", "es2022,esnext.disposable,dom", str(path)], node_project, environment)
    program = f"{name}.{'cjs' if block.language == 'cjs' else 'mjs'}"
    run(["node", program], node_project, environment | {"NODE_EXTRA_CA_CERTS": azure.ca})
    assert (azure.admin("/stats")["auth_accepted"] > before) is ("credential" in block.text)


@pytest.mark.parametrize("block", C, ids=lambda block: block.name)
def test_c_samples_build_and_run(
    block: Block,
    azure: Emulator,
    server: Server,
    forwarded: int,
    tmp_path: Path,
    environment: dict[str, str],
) -> None:
    prefix = Path(os.environ["RESPASS_C_PREFIX"])
    environment |= {
        "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig"),
        "LD_LIBRARY_PATH": str(prefix / "lib"),
        "SSL_CERT_FILE": azure.ca,
    }
    (tmp_path / "sample.c").write_text(adapted(block, azure, server, forwarded))
    examples = REPOSITORY / "ffi-c" / "examples"
    build = f"cc -std=c99 -Wall -Wextra -Werror -I{examples} -o sample sample.c $(pkg-config --cflags --libs respass)"
    run(["sh", "-c", build], tmp_path, environment)
    before = azure.admin("/stats")["auth_accepted"]
    run(["./sample"], tmp_path, environment)
    assert (azure.admin("/stats")["auth_accepted"] > before) is ("credential" in block.text)


@pytest.mark.parametrize("block", RUST, ids=lambda block: block.name)
def test_rust_samples_are_parts_of_examples(block: Block) -> None:
    examples = REPOSITORY / "bindings-rust" / "examples"
    assert any(block.text in path.read_text() for path in examples.rglob("*.rs")), "no example holds it"


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_shell_blocks_parse(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True, timeout=10)


def is_run(block: Block) -> bool:
    """Blocks about the emulator and nothing else."""
    return bool(re.search(r"respass emulator|/fault", block.text))


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(is_run(b) for b in SHELL if b.page == page)],
    ids=lambda page: page.name,
)
def test_shell_blocks_about_the_emulator_run(page: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Those of a page are one session in one folder, on free ports."""
    script = "".join(block.text for block in SHELL if block.page == page and is_run(block))
    # The default port may be in use.
    script = script.replace("-m respass emulator", "-m respass emulator --port 0")
    (tmp_path / "emulator.json").unlink()
    script = f'set -euo pipefail\ncurl() {{ command curl --fail-with-body "$@"; }}\n{script}\n'
    script += "until [ -s emulator.json ]; do sleep 0.1; done\nkill $(jobs -p); wait || true\n"
    session = subprocess.Popen(
        ["bash", "-c", script], cwd=tmp_path, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = session.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(session.pid, signal.SIGKILL)
        raise
    assert session.returncode == 0, output
    assert json.loads((tmp_path / "emulator.json").read_text())["host"] == "localhost"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)(#[^)]*)?\)", page.read_text()):
            path = (page.parent / target).resolve() if target else page
            assert path.exists(), f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
                slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
                assert anchor[1:] in slugs, f"{page.name}: {target}{anchor}"


def test_the_search_for_samples_finds_them() -> None:
    assert len(PYTHON) >= 15 and len(SHELL) >= 10 and SCRIPT and C and RUST
    looked_at = {"python", "sh", "js", "cjs", "ts", "c", "rust", "yaml"}
    assert {block.language for block in BLOCKS} <= looked_at, "a block that no test looks at"
