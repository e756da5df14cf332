"""Four threads on one synchronous client."""

import threading
import time

import respass
from azure.identity import ManagedIdentityCredential
from report import CA, PORT, SECONDS, Count


def work(client, count: Count, name: str, end: float) -> None:
    value = 0
    while time.monotonic() < end:
        try:
            value += 1
            client.set(name, value)
            count.commands += 1
            if int(client.get(name)) != value:
                raise AssertionError(f"{name} is not {value}")
            count.commands += 1
        except Exception as error:  # every failure counts, whatever it is
            count.failed(error)
        time.sleep(0.01)


def main() -> None:
    count, end = Count(), time.monotonic() + SECONDS
    with respass.Redis("localhost", PORT, credential=ManagedIdentityCredential(), ssl_ca_certs=CA) as client:
        threads = [
            threading.Thread(target=work, args=(client, count, f"threads:{index}", end)) for index in range(4)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(1)
            count.report(client)


main()
