"""Azure's own credentials log in to the emulator: every kind of identity, over several lives of a token.

Credentials that share an environment are tried at the same time, each with a client of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import azure.identity
import azure.identity.aio
import msal
import pytest
import requests
import respass
from conftest import Emulator, run_emulator

TOKEN_TTL_S = 5
# Whoever does not renew is cut.
SECONDS = 7.0

# Workload identity in azure-identity is not built on MSAL and asks again after 30 seconds, or when its token is
# dead: then connections are replaced, which no command may notice.
NO_EARLY_RENEWAL = {"workload", "default with a workload"}


@pytest.fixture(scope="module")
def azure_emulator(emulator_path: str) -> Iterator[Emulator]:
    with (
        pytest.MonkeyPatch.context() as environment,
        run_emulator(emulator_path, TOKEN_TTL_S, environment) as emulator,
    ):
        yield emulator


@pytest.fixture
def azure_cloud(azure_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The emulator without faults, and a process without any hint of where it runs."""
    for name in list(os.environ):
        # The last would overrule the authority that MSAL is told to trust.
        if name.startswith(("AZURE_", "IDENTITY_", "MSI_")) or name.endswith("CA_BUNDLE"):
            monkeypatch.delenv(name)
    azure_emulator.admin("/fault", {"kind": "clear"})
    yield azure_emulator
    azure_emulator.admin("/fault", {"kind": "clear"})


def app_service(emulator: Emulator) -> dict[str, str]:
    facts = emulator.facts
    return {"IDENTITY_ENDPOINT": facts["identity_endpoint"], "IDENTITY_HEADER": facts["identity_header"]}


def virtual_machine(emulator: Emulator) -> dict[str, str]:
    return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": emulator.facts["imds"]}


def application(emulator: Emulator, **more: str) -> dict[str, str]:
    facts = emulator.facts
    return {
        "AZURE_AUTHORITY_HOST": facts["authority"],
        "AZURE_TENANT_ID": facts["tenant_id"],
        "AZURE_CLIENT_ID": facts["client_id"],
        **more,
    }


def trust(emulator: Emulator) -> dict[str, Any]:
    """Options of credentials that talk to the authority itself."""
    return {"disable_instance_discovery": True, "connection_verify": emulator.ca}


def client_secret(identity: ModuleType, emulator: Emulator, *, retry_total: int = 3, **other: str) -> Any:
    facts = {**emulator.facts, **other}
    return identity.ClientSecretCredential(
        facts["tenant_id"], facts["client_id"], facts["client_secret"], authority=facts["authority"],
        retry_total=retry_total, **trust(emulator),
    )  # fmt: skip


# Credentials by name, for each environment. `identity` is azure.identity or its asynchronous twin.


def of_app_service(identity: ModuleType, emulator: Emulator) -> dict[str, Any]:
    facts = emulator.facts
    by_resource = {"resource_id": facts["identity_resource_id"]}
    return {
        "managed identity": identity.ManagedIdentityCredential(),
        "managed identity by client id": identity.ManagedIdentityCredential(client_id=facts["client_id"]),
        "managed identity by resource": identity.ManagedIdentityCredential(identity_config=by_resource),
        "default": identity.DefaultAzureCredential(),
    }


def of_virtual_machine(identity: ModuleType, emulator: Emulator) -> dict[str, Any]:
    facts = emulator.facts
    by_object = {"object_id": facts["oid"]}
    return {
        "managed identity": identity.ManagedIdentityCredential(),
        "managed identity by client id": identity.ManagedIdentityCredential(client_id=facts["client_id"]),
        "managed identity by object": identity.ManagedIdentityCredential(identity_config=by_object),
        "default": identity.DefaultAzureCredential(),
    }


def of_application(identity: ModuleType, emulator: Emulator, retry_total: int = 3) -> dict[str, Any]:
    facts, certificate = emulator.facts, emulator.facts["client_certificate_file"]
    more = {"authority": facts["authority"], "retry_total": retry_total, **trust(emulator)}
    tenant, client = facts["tenant_id"], facts["client_id"]
    credentials = {
        "secret": client_secret(identity, emulator, retry_total=retry_total),
        "certificate": identity.CertificateCredential(tenant, client, certificate, **more),
        "workload": identity.WorkloadIdentityCredential(
            tenant_id=tenant, client_id=client, token_file_path=facts["federated_token_file"], **more
        ),
    }
    # The chain looks at the environment when it is made.
    for name, variable, value in (
        ("default with a secret", "AZURE_CLIENT_SECRET", facts["client_secret"]),
        ("default with a certificate", "AZURE_CLIENT_CERTIFICATE_PATH", certificate),
        ("default with a workload", "AZURE_FEDERATED_TOKEN_FILE", facts["federated_token_file"]),
    ):
        with pytest.MonkeyPatch.context() as environment:
            set_all(environment, application(emulator, **{variable: value}))
            credentials[name] = identity.DefaultAzureCredential(**trust(emulator))
    return credentials


def set_all(environment: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        environment.setenv(name, value)


# MSAL hands out dictionaries; a callable of two lines makes of them what respass takes.


def from_msal(application: msal.ConfidentialClientApplication) -> Callable[[], str]:
    def credential() -> str:
        answer = application.acquire_token_for_client(["https://redis.azure.com/.default"])
        return answer.get("access_token") or refuse(answer)

    return credential


def from_msal_managed_identity(client: msal.ManagedIdentityClient) -> Callable[[], str]:
    def credential() -> str:
        answer = client.acquire_token_for_client(resource="https://redis.azure.com")
        return answer.get("access_token") or refuse(answer)

    return credential


def refuse(answer: dict[str, Any]) -> NoReturn:
    raise PermissionError(answer["error_description"])


def msal_managed_identities(emulator: Emulator) -> dict[str, Any]:
    user_assigned = msal.UserAssignedManagedIdentity(client_id=emulator.facts["client_id"])
    return {
        f"msal {type(identity).__name__}": from_msal_managed_identity(
            msal.ManagedIdentityClient(identity, http_client=requests.Session())
        )
        for identity in (msal.SystemAssignedManagedIdentity(), user_assigned)
    }


def msal_applications(emulator: Emulator) -> dict[str, Any]:
    facts = emulator.facts
    pem = Path(facts["client_certificate_file"]).read_text()
    proofs = {
        "secret": facts["client_secret"],
        "certificate": {"private_key": pem, "public_certificate": pem},
        "workload": {"client_assertion": Path(facts["federated_token_file"]).read_text},
    }
    return {
        f"msal {name}": from_msal(
            msal.ConfidentialClientApplication(
                facts["client_id"], client_credential=proof, authority=f"{facts['authority']}/{facts['tenant_id']}",
                instance_discovery=False, verify=emulator.ca,
            )
        )
        for name, proof in proofs.items()
    }  # fmt: skip


def drive(emulator: Emulator, credential: Any) -> dict[str, Any]:
    """Commands over more than one life of a token; each must succeed."""
    with respass.Redis(**emulator.options(), credential=credential) as r:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            assert r.incr("identity")
            time.sleep(0.02)
        return r.auth_status()


async def drive_async(emulator: Emulator, credential: Any) -> None:
    async with respass.asyncio.Redis(**emulator.options(), credential=credential) as r:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            assert await r.incr("identity")
            await asyncio.sleep(0.02)


def check_all(emulator: Emulator, credentials: dict[str, Any]) -> dict[str, int]:
    """Drives them at the same time; the tokens that were issued meanwhile, by what they were given for."""
    before = emulator.admin("/stats")["tokens_issued_by_proof"]
    with ThreadPoolExecutor(len(credentials)) as pool:
        runs = {name: pool.submit(drive, emulator, credential) for name, credential in credentials.items()}
    for name, run in runs.items():
        status = run.result()
        assert status["oid"] == emulator.facts["oid"], name
        assert status["reauth_count"] >= 1 or name in NO_EARLY_RENEWAL, name
    return issued_since(emulator, before)


def check_all_async(
    emulator: Emulator, make: Callable[[ModuleType, Emulator], dict[str, Any]]
) -> dict[str, int]:
    """The same for asynchronous credentials, none of which renews early."""

    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            credentials = make(azure.identity.aio, emulator)
            for credential in credentials.values():
                await stack.enter_async_context(credential)
            await asyncio.gather(*(drive_async(emulator, credential) for credential in credentials.values()))

    before = emulator.admin("/stats")["tokens_issued_by_proof"]
    asyncio.run(main())
    return issued_since(emulator, before)


def issued_since(emulator: Emulator, before: dict[str, int]) -> dict[str, int]:
    now = emulator.admin("/stats")["tokens_issued_by_proof"]
    return {
        proof: count - before.get(proof, 0) for proof, count in now.items() if count > before.get(proof, 0)
    }


def test_managed_identities_of_app_service(azure_cloud: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, app_service(azure_cloud))
    credentials = of_app_service(azure.identity, azure_cloud) | msal_managed_identities(azure_cloud)
    issued = check_all(azure_cloud, credentials)
    assert issued.keys() == {"managed_identity"}
    assert "imds" not in azure_cloud.admin("/stats")["identity_requests_by_endpoint"]


def test_managed_identities_of_app_service_async(
    azure_cloud: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, app_service(azure_cloud))
    issued = check_all_async(azure_cloud, of_app_service)
    assert issued.keys() == {"managed_identity"} and issued["managed_identity"] >= 8


def test_managed_identities_of_a_virtual_machine(
    azure_cloud: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, virtual_machine(azure_cloud))
    before = azure_cloud.admin("/stats")["identity_requests_by_endpoint"].get("app_service", 0)
    credentials = of_virtual_machine(azure.identity, azure_cloud) | msal_managed_identities(azure_cloud)
    assert check_all(azure_cloud, credentials).keys() == {"managed_identity"}
    requests = azure_cloud.admin("/stats")["identity_requests_by_endpoint"]
    assert requests["imds"] >= 12 and requests.get("app_service", 0) == before


def test_managed_identities_of_a_virtual_machine_async(
    azure_cloud: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, virtual_machine(azure_cloud))
    issued = check_all_async(azure_cloud, of_virtual_machine)
    assert issued.keys() == {"managed_identity"} and issued["managed_identity"] >= 8


def test_applications_with_secrets_certificates_and_workload_identity(azure_cloud: Emulator) -> None:
    credentials = of_application(azure.identity, azure_cloud) | msal_applications(azure_cloud)
    issued = check_all(azure_cloud, credentials)
    # Three of each kind, each over two lives at least; nobody fell back to another.
    assert issued.keys() == {"secret", "certificate", "federated"}
    assert min(issued.values()) >= 6


def test_applications_with_secrets_certificates_and_workload_identity_async(azure_cloud: Emulator) -> None:
    issued = check_all_async(azure_cloud, of_application)
    assert issued.keys() == {"secret", "certificate", "federated"}
    assert min(issued.values()) >= 4


def told(r: respass.Redis) -> str:
    """What a command is told that gets no token."""
    with pytest.raises(respass.TokenError) as caught:
        r.ping()
    return str(caught.value)


async def told_async(r: respass.asyncio.Redis) -> str:
    with pytest.raises(respass.TokenError) as caught:
        await r.ping()
    return str(caught.value)


def recover(r: respass.Redis, seconds: float) -> None:
    """A command succeeds within that time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            assert r.ping()
            return
        except respass.TokenError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


MISTAKES = [
    ({"client_secret": "wrong"}, "AADSTS7000215"),
    ({"tenant_id": "11111111-1111-4111-8111-111111111111"}, "AADSTS90002"),
    ({"client_id": "11111111-1111-4111-8111-111111111111"}, "AADSTS700016"),
]


def test_a_mistake_in_the_configuration_is_named_by_its_code(azure_cloud: Emulator) -> None:
    def ask(mistake: dict[str, str]) -> str:
        credential = client_secret(azure.identity, azure_cloud, **mistake)
        with respass.Redis(**azure_cloud.options(), credential=credential, socket_timeout=1) as r:
            return told(r)

    with ThreadPoolExecutor(len(MISTAKES)) as pool:
        texts = list(pool.map(ask, [mistake for mistake, _ in MISTAKES]))
    for (mistake, code), text in zip(MISTAKES, texts, strict=True):
        assert code in text, mistake
        assert azure_cloud.facts["client_secret"] not in text


def test_a_mistake_in_the_configuration_is_named_by_its_code_async(azure_cloud: Emulator) -> None:
    async def ask(mistake: dict[str, str], code: str) -> None:
        async with (
            client_secret(azure.identity.aio, azure_cloud, **mistake) as credential,
            respass.asyncio.Redis(**azure_cloud.options(), credential=credential) as r,
        ):
            began = time.monotonic()
            assert code in await told_async(r)
            # The status comes with the error, so nobody waits for it to pass.
            assert time.monotonic() - began < 3

    async def main() -> None:
        await asyncio.gather(*(ask(mistake, code) for mistake, code in MISTAKES))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("environment", "text"),
    [(app_service, "No User Assigned Identity found"), (virtual_machine, "Identity not found")],
)
def test_an_identity_that_the_host_does_not_have_is_named(
    azure_cloud: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    environment: Callable[[Emulator], dict[str, str]],
    text: str,
) -> None:
    set_all(monkeypatch, environment(azure_cloud))
    # The tenant's id, pasted into the wrong place.
    credential = azure.identity.ManagedIdentityCredential(client_id=azure_cloud.facts["tenant_id"])
    with respass.Redis(**azure_cloud.options(), credential=credential, socket_timeout=1) as r:
        assert text in told(r)


def test_what_entra_says_reaches_the_user_through_msal(azure_cloud: Emulator) -> None:
    facts = azure_cloud.facts
    application = msal.ConfidentialClientApplication(
        facts["client_id"], client_credential=facts["client_secret"], verify=azure_cloud.ca,
        authority=f"{facts['authority']}/{facts['tenant_id']}", instance_discovery=False,
    )  # fmt: skip
    azure_cloud.admin("/fault", {"kind": "identity-error", "code": 7000222})
    options = {**azure_cloud.options(), "socket_timeout": 1}
    with respass.Redis(**options, credential=from_msal(application)) as r:
        assert "AADSTS7000222" in told(r)
        azure_cloud.admin("/fault", {"kind": "clear"})
        recover(r, 10)


# Each fault with the credential that meets it and what the error must say.
FAULTS = {
    "429": ({"status": 429, "retry_after": 1}, "secret", "AADSTS90055"),
    "500": ({"status": 500}, "managed identity", "500"),
    "503": ({"status": 503}, "workload", "AADSTS90033"),
    "410": ({"status": 410}, "managed identity", "410"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_endpoint_that_fails_is_named_and_its_return_noticed(
    azure_cloud: Emulator, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fault, kind, text = FAULTS[name]
    set_all(monkeypatch, app_service(azure_cloud))
    if kind == "managed identity":
        # The credentials' own attempts would only take longer.
        credential = azure.identity.ManagedIdentityCredential(retry_total=0)
    else:
        credential = of_application(azure.identity, azure_cloud, retry_total=0)[kind]
    with respass.Redis(**azure_cloud.options(), credential=credential, socket_timeout=1) as r:
        azure_cloud.admin("/fault", {"kind": "identity-status", **fault})
        assert text in told(r)
        azure_cloud.admin("/fault", {"kind": "clear"})
        # MSAL holds back for 5 s after a 5xx, whatever it is asked; our own patience grows meanwhile.
        recover(r, 30)


def test_an_endpoint_is_not_asked_again_before_the_time_it_sets(azure_cloud: Emulator) -> None:
    def asked() -> int:
        return int(azure_cloud.admin("/stats")["identity_requests_by_endpoint"]["entra"])

    async def main() -> None:
        async with (
            client_secret(azure.identity.aio, azure_cloud, retry_total=0) as credential,
            respass.asyncio.Redis(**azure_cloud.options(), credential=credential, socket_timeout=3) as r,
        ):
            before = asked()
            azure_cloud.admin(
                "/fault", {"kind": "identity-status", "status": 429, "retry_after": 4, "count": 1}
            )
            assert "AADSTS90055" in await told_async(r)
            assert asked() == before + 1
            assert await r.ping()
            assert asked() == before + 2

    asyncio.run(main())


@pytest.mark.parametrize("body", ["malformed", "no-token"])
def test_a_spoiled_answer_is_a_token_error_and_the_next_good_one_is_used(
    azure_cloud: Emulator, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    set_all(monkeypatch, app_service(azure_cloud))
    options = {**azure_cloud.options(), "socket_timeout": 1}
    with respass.Redis(**options, credential=azure.identity.ManagedIdentityCredential()) as r:
        azure_cloud.admin("/fault", {"kind": "identity-body", "body": body})
        assert "eyJ" not in told(r)
        azure_cloud.admin("/fault", {"kind": "clear"})
        recover(r, 10)


@pytest.mark.parametrize("off_by", [3600, -3600])
def test_the_expiry_in_the_token_counts_not_the_one_that_the_endpoint_tells(
    azure_cloud: Emulator, monkeypatch: pytest.MonkeyPatch, off_by: int
) -> None:
    set_all(monkeypatch, app_service(azure_cloud))
    azure_cloud.admin("/fault", {"kind": "identity-token", "expires_off_by": off_by})
    with respass.Redis(**azure_cloud.options(), credential=azure.identity.ManagedIdentityCredential()) as r:
        assert r.ping()
        assert abs(r.auth_status()["expires_at"] - time.time() - TOKEN_TTL_S) < 2


def test_a_token_of_the_second_version_logs_in(azure_cloud: Emulator) -> None:
    azure_cloud.admin("/fault", {"kind": "identity-token", "ver": "2.0", "len": 12000})
    with respass.Redis(**azure_cloud.options(), credential=client_secret(azure.identity, azure_cloud)) as r:
        assert r.ping() and r.auth_status()["oid"] == azure_cloud.facts["oid"]


def test_a_proxy_in_the_environment_is_not_asked_for_loopback(
    azure_cloud: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.1)
        proxy = f"http://127.0.0.1:{trap.getsockname()[1]}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy)
            monkeypatch.setenv(name.lower(), proxy)
        monkeypatch.setenv("no_proxy", os.environ["NO_PROXY"])
        for environment in (app_service, virtual_machine):
            with pytest.MonkeyPatch.context() as one:
                set_all(one, environment(azure_cloud))
                check_once(azure_cloud, lambda identity: identity.ManagedIdentityCredential())
        check_once(azure_cloud, lambda identity: client_secret(identity, azure_cloud))
        with contextlib.suppress(TimeoutError):
            asked.append(trap.accept())
    assert not asked


def check_once(emulator: Emulator, make: Callable[[ModuleType], Any]) -> None:
    """One command with the credential, and one with its asynchronous twin."""
    with respass.Redis(**emulator.options(), credential=make(azure.identity)) as r:
        assert r.ping()

    async def main() -> None:
        async with (
            make(azure.identity.aio) as credential,
            respass.asyncio.Redis(**emulator.options(), credential=credential) as r,
        ):
            assert await r.ping()

    asyncio.run(main())
