from autotune.sweep.share import Shares
from tests.unit.answering import AnsweringExecutor, measured, plan


def test_slots_are_divided_among_those_who_are_there_and_one_is_left_for_each():
    shares = Shares(AnsweringExecutor(lambda config: measured(1.0), slots=4))
    with shares.of("h200") as one:
        assert one.slots("h200") == 4
        with shares.of("h200") as two, shares.of("a100"):
            assert (one.slots("h200"), two.slots("h200")) == (2, 2)
        assert one.slots("h200") == 4
    assert Shares(AnsweringExecutor(None, slots=0))
    with Shares(AnsweringExecutor(None, slots=0)).of("h200") as none:
        assert none.slots("h200") == 0


def test_what_trials_and_rounds_cost_is_added_up():
    from autotune.round import Round

    one = plan()
    trial = one.trial(one.workload.space.config({"x": 1}))
    with Shares(AnsweringExecutor(lambda config: measured(1.0))).of("h200") as share:
        share.submit(trial)
        share.submit_round(Round(trials=(trial, trial), number=1))
        assert share.gpu_s == 3 * 0.5
