from concurrent.futures import FIRST_COMPLETED, wait

from autotune.executors.in_flight import InFlight
from autotune.measurement import Failure, FailureKind

OUTCOMES = [Failure(kind=FailureKind.RUNTIME, message=str(number)) for number in range(40)]


def searched(count, seed=0):
    """The order in which outcomes become known to a search that keeps as many under way as it may."""
    flight, asked, under_way, order, most = InFlight(count, seed), iter(OUTCOMES), {}, [], []
    while True:
        while len(under_way) < count and looked(flight) and (outcome := next(asked, None)):
            under_way[flight.hold(outcome)] = outcome
        if not under_way:
            return order, most
        done = wait(under_way, timeout=0, return_when=FIRST_COMPLETED).done
        most.append((len(under_way), len(done)))
        for future in done:
            under_way.pop(future)
            order.append(int(future.result().message))


def looked(flight):
    flight.look_for_room()
    return True


def test_an_outcome_is_known_only_when_enough_others_are_under_way():
    order, seen = searched(8)
    assert sorted(order) == list(range(40))
    assert order != sorted(order)
    assert {done for under_way, done in seen if under_way == 8} == {1}
    assert max(done for _, done in seen) == 1
    assert sum(done == 0 for _, done in seen) <= 1  # once, when it looks in vain for more to ask


def test_the_order_is_the_seeds():
    assert searched(8)[0] == searched(8)[0]
    assert searched(8)[0] != searched(8, seed=1)[0]


def test_who_waits_for_one_alone_gets_it():
    flight = InFlight(8, 0)
    first, second = flight.hold(OUTCOMES[0]), flight.hold(OUTCOMES[1])
    assert not first.done()
    assert second.result() is OUTCOMES[1]
    assert not first.done()


def test_what_watches_a_result_does_not_take_it():
    flight, seen = InFlight(2, 0), []
    futures = [flight.hold(outcome) for outcome in OUTCOMES[:1]]
    futures[0].add_done_callback(lambda done: seen.append(done.result()))
    futures.append(flight.hold(OUTCOMES[1]))
    assert sum(future.done() for future in futures) == 1


def test_what_was_withdrawn_is_passed_over():
    flight = InFlight(2, 0)
    first = flight.hold(OUTCOMES[0])
    first.cancel()
    for outcome in OUTCOMES[1:6]:
        flight.hold(outcome)
    assert first.cancelled()
