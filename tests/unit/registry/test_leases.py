import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from autotune.errors import RegistryError
from autotune.event import EventKind
from autotune.registry import Registry
from tests.unit.registry.samples import execute, script
from tests.waiting import eventually

HOLD = """
import sys, time
from autotune.registry import Registry
with Registry.open(sys.argv[1]) as registry, registry.lease("sweep", 1.0):
    print("held", flush=True)
    time.sleep(60)
"""


def ends(url):
    with Registry.open(url) as registry, registry._database.reading() as connection:
        return connection.exec_driver_sql("SELECT expires_at FROM leases").scalar()


def test_a_lease_is_held_by_one_and_free_when_it_is_given_back(registry, url):
    with registry.lease("sweep", 30) as lease, Registry.open(url) as other:
        assert not lease.lost
        assert (lease.previous, lease.resumed) == (None, None)
        with (
            pytest.raises(
                RegistryError,
                match=rf"sweep is being run by process {os.getpid()} on {socket.gethostname()} since 20.* until 20",
            ),
            other.lease("sweep", 30),
        ):
            pass
        with other.lease("another", 30):
            pass
    with registry.lease("sweep", 30) as lease:
        assert lease.previous is None


def test_a_lease_is_renewed_while_its_block_lasts(registry, url):
    with registry.lease("sweep", 0.6) as lease:
        first = ends(url)
        time.sleep(1.5)
        assert ends(url) > first
        assert not lease.lost
        with pytest.raises(RegistryError, match="is being run by"), registry.lease("sweep", 1):
            pass


def test_the_lease_of_one_that_was_killed_is_taken_over_and_says_whose_it_was(registry, url):
    with script(HOLD, url) as holder:
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
    began_s = time.monotonic()

    def take():
        try:
            with registry.lease("sweep", 30) as lease:
                taken.append(lease)
        except RegistryError:
            return False
        return True

    taken = []
    assert eventually(take)
    assert time.monotonic() - began_s < 3
    (lease,) = taken
    assert lease.previous.pid == holder.pid
    assert (lease.resumed.kind, lease.resumed.node) == (EventKind.RESUMED, socket.gethostname())
    assert f"process {holder.pid} on {socket.gethostname()}" in lease.resumed.message


def test_who_was_held_up_for_too_long_learns_that_it_lost_its_lease(registry, url):
    with script(HOLD, url) as holder:
        holder.stdout.readline()
        holder.send_signal(signal.SIGSTOP)
        time.sleep(1.2)
        with registry.lease("sweep", 30) as lease:
            holder.send_signal(signal.SIGCONT)
            time.sleep(0.5)
            assert not lease.lost
        holder.kill()


def test_a_holder_sees_that_another_has_its_lease(registry, url):
    with registry.lease("sweep", 0.6) as lease:
        execute(url, "UPDATE leases SET token = 'of another', pid = 1")
        assert eventually(lambda: lease.lost)
        assert lease.lost
    assert ends(url) is not None  # the other's is not given back


def test_a_lease_that_ended_and_that_nobody_took_is_still_ours(registry, url):
    with registry.lease("sweep", 30) as lease:
        execute(url, "UPDATE leases SET expires_at = '2000-01-01T00:00:00.000+00:00'")
        lease._until_s = 0.0  # as after a night in which the host slept
        assert not lease.lost
        assert ends(url) > "2026"


def test_the_clock_of_the_server_decides(registry, url, monkeypatch):
    monkeypatch.setattr("autotune.registry.rows.now", lambda: "1999")
    monkeypatch.setattr("time.time", lambda: 0.0)
    with registry.lease("sweep", 30):
        assert ends(url) > "2026"
        with pytest.raises(RegistryError, match="is being run by"), registry.lease("sweep", 30):
            pass


def test_of_many_who_want_a_lease_one_has_it(url):
    held = threading.Barrier(6)

    def want(_):
        with Registry.open(url) as registry:
            held.wait()
            try:
                with registry.lease("sweep", 30):
                    time.sleep(0.5)
            except RegistryError:
                return 0
            return 1

    Registry.open(url).close()
    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(want, range(6))) == 1


def test_a_restart_longer_than_the_lease_costs_nothing_where_nobody_took_it(server):
    with Registry.open(server.url) as registry, registry.lease("sweep", 0.6) as lease:
        server.stop()
        timer = threading.Timer(1.5, server.start)
        timer.start()
        time.sleep(1)
        assert not lease.lost  # waited for
        timer.join()
        assert [event.kind for event in registry.events] == [EventKind.DATABASE]


def test_nights_stay_in_their_order(registry):
    assert registry.nights() == []
    first = {"schema": "autotune-night/1", "missing": [], "x": 0.1}
    numbers = [
        registry.record_night(started_at=f"2026-01-0{day}", ended_at="later", state="complete", document=first)
        for day in (1, 2, 3)
    ]
    assert numbers == [1, 2, 3]
    assert [night.number for night in registry.nights()] == [3, 2, 1]
    (newest,) = registry.nights(1)
    assert (newest.started_at, newest.ended_at, newest.state, newest.document) == (
        "2026-01-03",
        "later",
        "complete",
        first,
    )
