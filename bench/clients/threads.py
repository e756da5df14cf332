"""Threads that share one client: respass beside redis-py's pool, as a ratio within each round.

    python bench/clients/threads.py [--threads 8] [--rounds 7] [--seconds 0.7]

Each thread gives a GET and a SET in turn, one at a time, of small values. Needs respass and redis installed.
"""

import argparse
import os
import statistics
import threading
from time import perf_counter as clock

import servers

VALUE = b"x" * 16


def rate(client, count, seconds):
    """Commands a second of all threads together."""
    client.set("warm", VALUE)
    barrier, done = threading.Barrier(count + 1), []

    def work(number):
        get, put, name, turns = client.get, client.set, f"key:{number}", 0
        put(name, VALUE)
        barrier.wait()
        end = clock() + seconds
        while clock() < end:
            put(name, VALUE)
            assert get(name) == VALUE
            turns += 2
        done.append(turns)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    barrier.wait()
    started = clock()
    for thread in threads:
        thread.join()
    return sum(done) / (clock() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.7)
    options = parser.parse_args()
    import redis
    import respass

    with servers.running(max(os.sched_getaffinity(0))) as found:
        port = found["plain"].port
        clients = {
            "respass": respass.Redis(port=port),
            "redis-py": redis.Redis(port=port),
        }
        for count in (1, options.threads):
            rates = {name: [] for name in clients}
            for turn in range(options.rounds):
                names = list(clients) if turn % 2 else list(clients)[::-1]
                for name in names:
                    rates[name].append(rate(clients[name], count, options.seconds))
            ratios = sorted(
                a / b for a, b in zip(rates["respass"], rates["redis-py"], strict=True)
            )
            figures = ", ".join(
                f"{name} {statistics.median(all_):,.0f}/s"
                for name, all_ in rates.items()
            )
            print(
                f"{count} threads: {figures}; ratio {statistics.median(ratios):.2f} "
                f"({ratios[0]:.2f}-{ratios[-1]:.2f})"
            )


if __name__ == "__main__":
    main()
