"""One run in several processes: the batch of one, the files of one."""

from __future__ import annotations

import json
import signal

import pytest
import torch
import torch.distributed as dist
from helpers import pair
from safetensors.torch import load_file

from ganfast.errors import InputError
from ganfast.train import TrainConfig, checkpoint, train
from ganfast.train.checkpoint import NAME
from ganfast.train.processes import Processes
from ganfast.train.recipe import CHAPTER
from ganfast.train.whole_batch_norm import WholeBatchNorm

slow = pytest.mark.slow
pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")

# What a run is asked for, by name: every game, and what else depends on the whole batch.
RUNS = {game: {"game": game} for game in CHAPTER} | {
    "points": {"game": "wgan-gp", "data": "ring"},
    "labels": {"game": "minimax", "label_noise": 0.1, "label_flip": 0.1, "label_smoothing": 0.1},
    "growing": {"game": "wgan-gp", "grow_from": 4, "grow_steps": 1},
    "lazy": {"penalty": "r1+r2", "penalty_every": 2, "on_nan": "skip", "channels_last": True},
}
SMALL = {"width": 4, "batch_size": 12, "log_every": 2, "checkpoint_every": 3, "pretraining": 2}

# One process of two. The first argument is a list of runs, or a command line in whose step 4
# process 1 has the signal that is the second.
WORKER = """
import json
import signal
import sys
import torch.distributed as dist
from ganfast import cli
from ganfast.train import TrainConfig, loop, pictures, train

pictures.save_log = pictures.save_samples = lambda *_: None  # most of the time of such runs
what = json.loads(sys.argv[1])
if what[0] == "train":
    step = loop.Trainer.step

    def last_step(trainer):
        if trainer.steps_done == 4 and trainer.processes.rank == 1:
            signal.raise_signal(int(sys.argv[2]))
        step(trainer)

    loop.Trainer.step = last_step
    sys.exit(cli.main(what))
dist.init_process_group("gloo")
for settings in what:
    run = train(TrainConfig(**settings))
    assert run.trainer.processes.count == 2 and run.lines
assert not {"torch._dynamo", "sklearn"} & set(sys.modules)  # as long as torch itself to import
dist.barrier()
dist.destroy_process_group()
"""


def workers(folder, what, number=0):
    """Two of WORKER: exit code, stdout and stderr of each."""
    worker = folder / "worker.py"
    worker.write_text(WORKER)
    return pair([str(worker), json.dumps(what), str(int(number))], OMP_NUM_THREADS="1")


def settings_of(name, out, steps=4):
    return {**SMALL, **RUNS[name], "steps": steps, "out": str(out / name)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The runs of one process and of two, and those that one went on with where two stopped."""
    one, two, on = (tmp_path_factory.mktemp(name) for name in ("one", "two", "on"))
    asked = [settings_of(name, two) for name in RUNS]
    asked += [settings_of(name, on, steps=3) for name in RUNS]
    for code, _, err in workers(two, asked):
        assert code == 0, err
    with pytest.MonkeyPatch.context() as patch:
        for name in ("save_log", "save_samples"):  # as there
            patch.setattr(f"ganfast.train.pictures.{name}", lambda *_: None)
        for name in RUNS:
            train(TrainConfig(**settings_of(name, one)))
            train(TrainConfig(**settings_of(name, on), resume=on / name))
    return {"one": one, "two": two, "on": on}


@slow
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("other", ["two", "on"])
def test_the_run_of_one_process(folders, name, other):
    """To round-off, which Adam's first steps make larger where a gradient is next to 0."""
    one, many = (load_file(folders[key] / name / NAME) for key in ("one", other))
    assert one.keys() == many.keys()
    for key in one:
        if key.startswith(("generator.", "critic.", "average.")):
            torch.testing.assert_close(many[key], one[key], rtol=2e-3, atol=2e-5, msg=key)
    assert torch.equal(one["random"], many["random"])
    lines, others = (
        [json.loads(line) for line in log.read_text().splitlines()]
        for log in (folders[key] / name / "log.jsonl" for key in ("one", other))
    )
    assert [line.keys() for line in lines] == [line.keys() for line in others]
    for line, theirs in zip(lines, others, strict=True):
        assert theirs == pytest.approx(line, rel=2e-3, abs=1e-4)


def command(out):
    """A run of nine steps: its settings, and its command line."""
    flags = {**SMALL, "steps": 9, "out": str(out)}
    return flags, ["train", *(f"--{key.replace('_', '-')}={flags[key]}" for key in flags)]


@slow
def test_a_process_that_is_told_to_stop_stops_all_after_the_same_step(tmp_path):
    out = tmp_path / "run"
    flags, words = command(out)
    _, told = workers(tmp_path, words, signal.SIGTERM)
    assert told[0] == 143 and told[2].startswith("ganfast: terminated; the run so far is kept")
    assert checkpoint.load(out / NAME)[1]["step"] == 5
    train(TrainConfig(**flags, resume=out))
    train(TrainConfig(**{**flags, "out": tmp_path / "whole"}))
    states = [load_file(folder / NAME) for folder in (out, tmp_path / "whole")]
    for key, value in states[1].items():
        if key.startswith("average."):
            torch.testing.assert_close(states[0][key], value, rtol=1e-2, atol=1e-3)


@slow
def test_a_lost_process_ends_the_run_and_the_checkpoint_is_whole(tmp_path):
    out = tmp_path / "run"
    flags, words = command(out)
    waiting, killed = workers(tmp_path, words, signal.SIGKILL)
    assert killed[0] == -signal.SIGKILL
    assert waiting[:2] == (1, ""), waiting
    assert waiting[2].startswith("ganfast: error: lost the other processes"), waiting
    assert len(waiting[2].splitlines()) == 1
    assert waiting[2].endswith(f"; the run so far is kept, --resume {out} goes on with it\n")
    assert checkpoint.load(out / NAME)[1]["step"] == 3
    assert not list(out.glob(".*.part"))
    run = train(TrainConfig(**flags, resume=out))
    assert run.trainer.steps_done == 9


@pytest.fixture
def three(monkeypatch):
    """What the second of three processes sees, the first having ``theirs``."""

    def of(theirs=None):
        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        monkeypatch.setattr(dist, "get_world_size", lambda: 3)
        monkeypatch.setattr(dist, "get_rank", lambda: 1)
        monkeypatch.setattr(dist, "get_backend", lambda: "gloo")

        def broadcast(box, group):
            box[0] = theirs

        monkeypatch.setattr(dist, "broadcast_object_list", broadcast)
        return Processes(together=True)

    return of


def test_what_processes_cannot_share_is_refused(three):
    with pytest.raises(InputError, match="^batch_size: got 64 in 3 .*give a multiple of 3"):
        three("a").check(64, "a")
    with pytest.raises(InputError, match="^data: process 1 has b, and the first one a; give all"):
        three("a").check(63, "b")
    three("a").check(63, "a")


def test_each_process_has_its_rows(three):
    rows = torch.arange(12).view(6, 2)
    assert torch.equal(three().part(rows), rows[2:4])
    assert torch.equal(Processes().part(rows), rows)
    assert Processes().first and not three().first


def test_on_gpus_numbers_go_from_gpu_to_gpu_and_decisions_from_host_to_host(three, monkeypatch):
    """With NCCL, as far as it can be told without a GPU: in one exchange of the gradients' own
    dtype and device, of memory without holes; what the hosts decide by a group of theirs."""
    exchanged = []

    def exchange(tensor, src=0, group="of all"):
        assert tensor.is_contiguous()
        exchanged.append((tensor.device.type, tensor.dtype, tensor.numel(), group))

    three()
    monkeypatch.setattr(dist, "get_backend", lambda: "nccl")
    monkeypatch.setattr(dist, "new_group", lambda backend: f"of {backend}")
    monkeypatch.setattr(dist, "all_reduce", exchange)
    monkeypatch.setattr(dist, "broadcast", exchange)
    processes = Processes(together=True)
    gradients = [torch.zeros(shape, device="meta") for shape in ((3, 4), (5,), ())]
    processes.add_up(gradients)
    processes.any(True)
    assert exchanged == [
        ("meta", torch.float32, 18, "of all"),
        ("cpu", torch.float32, 1, "of gloo"),
    ]
    boxes = []
    monkeypatch.setattr(dist, "broadcast_object_list", lambda box, group: boxes.append(group))
    processes.from_first(int)
    assert boxes == ["of gloo"]
    exchanged.clear()
    layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    processes.join(layer)
    assert [numbers for _, _, numbers, _ in exchanged] == [108, 4]


def test_all_have_the_weights_of_the_first(three, monkeypatch):
    monkeypatch.setattr(dist, "broadcast", lambda tensor, src: tensor.fill_(7))
    layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    three().join(layer)
    assert all(bool((p == 7).all()) for p in layer.parameters())
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)


def test_batch_norm_under_a_penalty_is_refused(three, monkeypatch):
    """Its second derivative would need another exchange; one process has no such limit."""
    monkeypatch.setattr(dist, "all_reduce", lambda *_, **__: None)
    norm = WholeBatchNorm(torch.nn.BatchNorm1d(2), 1)
    x = torch.randn(4, 2, requires_grad=True)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    with pytest.raises(InputError, match="^critic: batch norm and a gradient penalty"):
        torch.autograd.grad(norm(x).square().sum(), x, create_graph=True)


def test_batch_norm_of_one_process_is_torchs(monkeypatch):
    monkeypatch.setattr(dist, "all_reduce", lambda *_, **__: None)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    for shape, kind in (((6, 3), torch.nn.BatchNorm1d), ((4, 3, 5, 5), torch.nn.BatchNorm2d)):
        for given in ({}, {"affine": False}, {"momentum": None}, {"track_running_stats": False}):
            theirs, inner = kind(3, **given), kind(3, **given)
            mine = WholeBatchNorm(inner, 1)
            assert mine.state_dict().keys() == theirs.state_dict().keys()
            x, y = (torch.randn(shape, generator=torch.manual_seed(1)) + 5 for _ in range(2))
            a, b = mine(x.requires_grad_()), theirs(y.requires_grad_())
            torch.testing.assert_close(a, b)
            weight = torch.randn(shape)
            (a * weight).sum().backward(), (b * weight).sum().backward()
            torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-5)
            for name, value in mine.state_dict().items():
                torch.testing.assert_close(value, theirs.state_dict()[name])
            torch.testing.assert_close(mine.eval()(x), theirs.eval()(y))
