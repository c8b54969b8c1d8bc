import pytest

from i2i.engine.schedule import Schedule


def test_linear_decay_by_hand():
    schedule = Schedule(steps=10, decay_from=6)
    assert [schedule.factor(step) for step in range(11)] == [1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]


def test_warmup_rises_to_one_by_hand():
    schedule = Schedule(steps=10, warmup=4)
    assert [schedule.factor(step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


@pytest.mark.parametrize("decay_from", [None, 10, 11])
def test_constant_without_a_place_to_decay(decay_from):
    schedule = Schedule(steps=10, decay_from=decay_from)
    assert schedule.constant and schedule.factor(9) == 1


def test_a_larger_number_of_steps_stretches_what_is_left():
    schedule = Schedule(steps=10, decay_from=4)
    assert schedule.stretched(done=2, steps=20) == Schedule(
        20, 4
    )  # before the decay: as if it had been so from the start
    longer = schedule.stretched(done=8, steps=19)  # the last update made, number 7, had 1 - 3/6
    assert longer.factor(7) == 0.5 and longer.factor(13) == pytest.approx(0.25) and longer.factor(19) == 0
    assert longer.stretched(done=9, steps=19) == longer  # continued once more with the same number
    assert Schedule.from_state(longer.state()) == longer
    again = longer.stretched(done=13, steps=40)
    assert again.factor(12) == pytest.approx(longer.factor(12)) and again.factor(40) == 0


def test_a_finished_run_goes_on_from_its_last_rate():
    schedule = Schedule(steps=10, decay_from=5).stretched(done=10, steps=20)
    assert schedule.factor(9) == pytest.approx(0.2) and 0 < schedule.factor(10) < 0.2 and schedule.factor(20) == 0


def test_the_same_steps_change_nothing():
    schedule = Schedule(steps=10, decay_from=4, warmup=2)
    assert schedule.stretched(done=8, steps=10) == schedule
