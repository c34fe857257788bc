import itertools

import pytest

from autotune import Config, maximize, minimize
from autotune.measurement import Conditions, Failure, FailureKind, Measurement, Samples
from autotune.selection.contest import KEPT, LEAST_ROUNDS, MOST_DISTURBED, MOST_LOST, MOST_ROUNDS, Contest

DEFAULT, INCUMBENT = Config(x=0), Config(x=1)
FINALISTS = [Config(x=x) for x in range(2, 10)]


def measured(value, throttle=(), disturbed=(), **metrics):
    samples = {"latency_ms": Samples((value,))} | {name: Samples((v,)) for name, v in metrics.items()}
    return Measurement(metrics=samples, conditions=Conditions(throttle=throttle, disturbed=disturbed))


def failed(kind=FailureKind.RUNTIME):
    return Failure(kind=kind, message="it broke")


def held(contest, answer):
    """The members of each round; `answer` gives the outcome of a configuration in a round."""
    rounds = []
    while not contest.over:
        rounds.append(contest.members)
        contest.take([answer(config, contest.number) for config in contest.members])
        assert len(rounds) <= 40
    return rounds


def by_x(values, default=1.0):
    return lambda config, number: measured(values.get(config.x, default))


def test_the_default_and_the_incumbent_take_part_in_every_round_while_finalists_are_halved():
    contest = Contest(minimize(), FINALISTS, DEFAULT, INCUMBENT)
    rounds = held(contest, by_x({5: 0.90, 7: 0.905}, default=0.93))
    assert [len(members) - 2 for members in rounds] == [8, KEPT[0], *[KEPT[1]] * LEAST_ROUNDS]
    assert all({DEFAULT, INCUMBENT} < set(members) for members in rounds)
    assert contest.winner == FINALISTS[3]


def test_nobody_is_prepared_in_the_same_place_round_after_round():
    contest = Contest(minimize(), FINALISTS[:2], DEFAULT, None)
    rounds = held(contest, by_x({2: 0.99, 3: 0.99}))
    assert len(rounds) >= LEAST_ROUNDS
    for before, after in itertools.pairwise(rounds):
        assert set(before) == set(after)
        assert all(one != other for one, other in zip(before, after, strict=True))


def test_a_place_that_is_worth_some_per_cent_makes_no_winner():
    """Whoever is prepared first reads 5 % better, as in a block of memory that is given again and again."""
    contest = Contest(minimize(), FINALISTS[:1], DEFAULT, None)
    while not contest.over:
        contest.take([measured(1.0 if place else 0.95, spread=0.01) for place in range(2)])
    assert contest.winner is None


def test_what_chose_the_finalists_is_no_evidence():
    def lucky(config, number):  # in the two rounds that choose, and never again
        return measured(0.9 if config.x == 5 and number <= len(KEPT) else 1.0)

    contest = Contest(minimize(), FINALISTS, DEFAULT, None)
    held(contest, lucky)
    assert contest.winner is None
    assert contest.standing == DEFAULT
    assert contest.gain(Config(x=5), over=DEFAULT).mean == 0


def test_two_finalists_or_fewer_need_no_rounds_that_choose():
    contest = Contest(minimize(), FINALISTS[:2], DEFAULT, None)
    assert len(held(contest, by_x({2: 0.9}))) == LEAST_ROUNDS
    assert contest.winner == FINALISTS[0]


def test_a_finalist_far_behind_in_two_rounds_leaves():
    contest = Contest(minimize(), FINALISTS[:2], DEFAULT, None)
    assert [len(members) for members in held(contest, by_x({2: 0.5, 3: 0.6}))] == [3, 3, 2]


@pytest.mark.parametrize(
    ("share", "winner"), [(0.015, Config(x=2)), (0.0099, None), (0.0, None), (-0.02, None)], ids=str
)
def test_the_threshold_decides_where_the_interval_is_narrow(share, winner):
    contest = Contest(minimize(), FINALISTS[:1], DEFAULT, None)
    assert len(held(contest, by_x({2: 1 - share}))) == LEAST_ROUNDS
    assert contest.winner == winner


def test_what_is_not_proved_after_the_most_rounds_is_not_promoted():
    def swinging(config, number):
        return measured(1.0 if config == DEFAULT else 0.97 + 0.06 * (-1) ** number)

    contest = Contest(minimize(), FINALISTS[:1], DEFAULT, None)
    assert len(held(contest, swinging)) == MOST_ROUNDS
    assert contest.winner is None


def test_a_winner_must_beat_the_incumbent_as_well_as_the_default():
    contest = Contest(minimize(), FINALISTS, DEFAULT, INCUMBENT)
    held(contest, by_x({1: 0.8, 5: 0.795}))
    assert (contest.winner, contest.standing) == (None, INCUMBENT)


def test_the_default_replaces_an_incumbent_that_it_beats():
    contest = Contest(minimize(), FINALISTS, DEFAULT, INCUMBENT)
    held(contest, by_x({1: 1.3}, default=1.0))
    assert contest.winner == DEFAULT


def test_rounds_go_on_until_no_finalist_can_be_a_practical_gain_better_than_the_pick():
    def close(config, number):  # both are far better than the default; which is better shows only in the mean
        return measured({2: 0.80, 3: 0.79 + 0.02 * (-1) ** number}.get(config.x, 1.0))

    assert len(held(Contest(minimize(), FINALISTS[:2], DEFAULT, None), close)) > LEAST_ROUNDS


def test_a_failure_takes_its_member_out_and_the_others_readings_count():
    def third_breaks(config, number):
        return failed() if config.x == 2 and number == 2 else measured({2: 0.8, 3: 0.82}.get(config.x, 1.0))

    contest = Contest(minimize(), FINALISTS[:2], DEFAULT, None)
    rounds = held(contest, third_breaks)
    assert [len(members) for members in rounds] == [3, 3, 2]
    assert contest.winner == FINALISTS[1]
    assert contest.failures.keys() == {FINALISTS[0]}


def test_members_lost_to_anothers_crash_are_measured_again_without_it():
    def crash(config, number):
        if Config(x=2) not in contest.members:
            return measured({3: 0.9}.get(config.x, 1.0))
        return failed() if config.x == 2 else failed(FailureKind.LOST)

    contest = Contest(minimize(), FINALISTS[:2], DEFAULT, None)
    assert len(held(contest, crash)) == 1 + LEAST_ROUNDS
    assert contest.winner == FINALISTS[1]


def test_lost_rounds_are_taken_again_within_a_bound():
    lost = []

    def at_first(config, number):
        lost.append(number)
        return failed(FailureKind.LOST) if number <= MOST_LOST else measured({2: 0.9}.get(config.x, 1.0))

    contest = Contest(minimize(), FINALISTS[:1], DEFAULT, None)
    held(contest, at_first)
    assert contest.winner == FINALISTS[0]
    for_ever = Contest(minimize(), FINALISTS[:1], DEFAULT, None)
    assert len(held(for_ever, lambda *_: failed(FailureKind.LOST))) == MOST_LOST + 1
    assert for_ever.abandoned


@pytest.mark.parametrize("mark", [{"throttle": ("sw_power_cap",)}, {"disturbed": ("sw_thermal_slowdown",)}], ids=str)
def test_rounds_under_clocks_of_two_kinds_are_taken_again_within_a_bound(mark):
    contest = Contest(minimize(), FINALISTS[:1], DEFAULT, None)
    rounds = held(contest, lambda config, number: measured(1.0, **(mark if config == DEFAULT else {})))
    assert len(rounds) == MOST_DISTURBED + LEAST_ROUNDS
    assert contest.disturbed == MOST_DISTURBED
    shared = Contest(minimize(), FINALISTS[:1], DEFAULT, None)
    assert len(held(shared, lambda *_: measured(1.0, throttle=("sw_power_cap",)))) == LEAST_ROUNDS


def test_a_default_that_fails_leaves_the_incumbent_as_the_only_rival():
    contest = Contest(minimize(), FINALISTS[:1], None, INCUMBENT)
    held(contest, by_x({1: 0.8, 2: 0.7}))
    assert contest.winner == FINALISTS[0]
    alone = Contest(minimize(), FINALISTS, None, None)
    held(alone, by_x({6: 0.7}))
    assert alone.winner == Config(x=6)


def test_who_breaks_a_bound_neither_wins_nor_stays():
    def answer(config, number):
        return measured(1.0, score={0: 9.0, 2: 8.0}.get(config.x, 5.0), p99_ms=2.0 if config.x in (0, 2) else 1.0)

    contest = Contest(maximize("score", {"p99_ms": 1.5}), FINALISTS[:2], DEFAULT, None)
    held(contest, answer)
    assert contest.winner == FINALISTS[1]
    nobody = Contest(maximize("score", {"p99_ms": 0.5}), FINALISTS[:2], DEFAULT, None)
    held(nobody, answer)
    assert (nobody.winner, nobody.standing) == (None, None)


def test_the_default_alone_is_measured_in_rounds_too():
    contest = Contest(minimize(), [], DEFAULT, DEFAULT)
    assert held(contest, by_x({})) == [(DEFAULT,)] * LEAST_ROUNDS
    assert contest.standing == DEFAULT


def test_nobody_who_can_take_part_is_the_end():
    assert Contest(minimize(), [], None, None).over
    contest = Contest(minimize(), FINALISTS, DEFAULT, None)
    held(contest, lambda *_: failed())
    assert (contest.members, contest.winner, contest.standing) == ((), None, None)
