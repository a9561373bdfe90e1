"""The benchmark of the trainer runs; what it finds is for a quiet machine to say."""

from benchmarks import trainer


def test_small_cases_of_both_tables():
    lines = trainer.overhead(rounds=2, steps=1, width=4) + trainer.fewer_passes(2, width=4)
    assert [line.partition(":")[0] for line in lines] == [
        "digits 8x8, width 32",
        "DCGAN 32x32, width 4",
        "DCGAN 32x32, width 4",
        "the same for critic steps (five of theirs to a generator step)",
    ]


def test_a_ratio_is_that_of_the_two_times(monkeypatch):
    now = [0.0]

    def step(seconds):
        def run():
            now[0] += seconds

        return run

    monkeypatch.setattr(trainer.time, "process_time", lambda: now[0])
    assert trainer.ratio(step(3.0), step(2.0), rounds=4, steps=5) == (1.5, 1.5, 1.5)
