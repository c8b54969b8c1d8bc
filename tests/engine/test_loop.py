"""The loop by itself, with a method that only writes down what happens."""

import itertools

import torch

from i2i.engine.loop import Events, run_loop, step_seed
from i2i.engine.processes import Processes
from i2i.engine.schedule import Schedule
from i2i.seeds import derive


class Runtime:
    step, processes = 0, Processes()

    def __init__(self, calls):
        self.calls = calls

    def to_device(self, batch):
        return batch

    def reseed(self, seed):
        torch.manual_seed(seed)

    def settle(self, method):
        pass

    def check_finite(self, method):
        self.calls.append("check")


class Method:
    batches_per_step = 2

    def __init__(self, calls):
        self.calls, self.draws, self.batches, self.rates = calls, [], [], []
        self.optimizers = {"G": torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)}

    def step(self, batches):
        self.batches.append(list(batches))
        self.draws.append(float(torch.rand(())))
        self.rates.append(self.optimizers["G"].param_groups[0]["lr"])
        return {"loss/G": torch.tensor(1.5)}


def run(start=0, steps=6, stop_after=None, best=None):
    calls, ticks = [], []
    method, runtime = Method(calls), Runtime(calls)
    events = Events(
        log=lambda step, scalars, rate: calls.append(("log", step, scalars["loss/G"])),
        sample=lambda step: calls.append(("sample", step)),
        evaluate=lambda step, end: step == best,
        save=lambda step: calls.append(("save", step)),
        tick=ticks.append,
        stopping=lambda: stop_after is not None and len(method.draws) >= stop_after,
        log_every=2,
        sample_every=3,
        save_every=4,
    )
    schedule = Schedule(steps, decay_from=2)
    last = run_loop(method, itertools.count(2 * start), runtime, schedule, {"G": [0.1]}, 7, start, 1, events)
    return last, method, calls, ticks


def test_every_step_gets_its_own_batches_rate_and_random_numbers():
    last, method, _, ticks = run()
    assert last == 6 and ticks == [1, 2, 3, 4, 5, 6]
    assert method.batches == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]
    assert method.rates == [0.1, 0.1, 0.1, 0.1 * 0.75, 0.1 * 0.5, 0.1 * 0.25]
    assert len(set(method.draws)) == 6
    torch.manual_seed(derive(7, "step", 4))
    assert method.draws[4] == float(torch.rand(()))


def test_one_process_draws_as_ever_and_each_of_several_by_itself():
    assert step_seed(7, 4, 0) == derive(7, "step", 4)
    seeds = {step_seed(7, step, rank) for step in range(3) for rank in range(3)}
    assert len(seeds) == 9


def test_a_continued_loop_draws_and_decays_as_the_unbroken_one():
    _, whole, _, _ = run()
    _, rest, _, _ = run(start=3)
    assert (rest.draws, rest.rates, rest.batches) == (whole.draws[3:], whole.rates[3:], whole.batches[3:])


def test_events_come_when_they_should_and_nothing_is_saved_unchecked():
    _, _, calls, _ = run()
    assert [call for call in calls if call != "check"] == [
        ("log", 2, 1.5), ("sample", 3), ("log", 4, 1.5), ("save", 4), ("log", 6, 1.5), ("sample", 6), ("save", 6),
    ]  # fmt: skip
    for index, call in enumerate(calls):
        if call != "check":
            assert calls[index - 1] == "check"


def test_a_signal_ends_after_the_step_logs_and_saves_but_draws_nothing():
    last, method, calls, _ = run(stop_after=1)
    assert last == 1 and len(method.draws) == 1
    assert [call for call in calls if call != "check"] == [("log", 1, 1.5), ("save", 1)]


def test_a_step_that_is_the_best_so_far_is_saved_after_it_is_checked():
    _, _, calls, _ = run(best=5)
    assert [call[1] for call in calls if call[0] == "save"] == [4, 5, 6]
    assert calls[calls.index(("save", 5)) - 1] == "check"
