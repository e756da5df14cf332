"""Four threads on one synchronous client, each with keys of its own."""

import threading
import time

import respass
from azure.identity import ManagedIdentityCredential
from report import CA, PORT, SECONDS, Count


def write_and_read(client, names: list[str], value: int) -> int:
    """The names are in several slots: MGET is one command to each."""
    for name in names:
        client.set(name, value)
    found = client.mget(names)
    if any(int(one) != value for one in found):
        raise AssertionError(f"{names} are {found}, not {value}")
    return len(names) + 1


def work(client, count: Count, names: list[str], end: float) -> None:
    value = 0
    while time.monotonic() < end:
        value += 1
        try:
            count.commands += write_and_read(client, names, value)
        except Exception as error:  # every failure counts, whatever it is
            count.failed(error)
        time.sleep(0.01)


def main() -> None:
    count, end = Count(), time.monotonic() + SECONDS
    with respass.Redis("localhost", PORT, credential=ManagedIdentityCredential(), ssl_ca_certs=CA) as client:
        owned = [[f"threads:{thread}:{index}" for index in range(3)] for thread in range(4)]
        threads = [threading.Thread(target=work, args=(client, count, names, end)) for names in owned]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(1)
            count.report(client)


main()
