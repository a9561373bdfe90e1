"""Batches of files, decoded in this process and in workers."""

from __future__ import annotations

import gc
import itertools
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
import torch
from image_samples import assert_same_batches, crop, encode, images_in, png_files, write
from torch.utils.data._utils import signal_handling
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from ganfast.errors import InputError
from ganfast.metrics.images import Skipped, open_images, reader
from ganfast.metrics.images.decode import DecodeError, Decoder
from ganfast.metrics.images.folder import FolderFiles
from ganfast.metrics.images.reader import SharedBatches

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="patches what a fork inherits")


@pytest.fixture
def folder(tmp_path):
    """23 crops of three sizes; with batches of 4, some are of one size and some mixed."""
    files = {f"{i:03d}.png": encode(crop(i, 24 + 8 * (i // 4 % 2) * (i % 2))) for i in range(23)}
    return write(tmp_path / "set", files)


@pytest.mark.parametrize("workers", [0, 1, 2, 9])
def test_batches_are_in_order_whatever_decodes_them(folder, workers):
    batches = list(open_images(folder).batches(4, workers=workers))
    assert [batch.number for batch in batches] == list(range(6))
    assert sum((batch.positions for batch in batches), []) == list(range(23))
    assert {type(batch.images) for batch in batches} == {list, torch.Tensor}
    images = [image for batch in batches for image in batch.images]
    for i, image in enumerate(images):
        expected = torch.from_numpy(crop(i, 24 + 8 * (i // 4 % 2) * (i % 2)))
        assert image.dtype == torch.uint8 and image.is_contiguous() and torch.equal(image, expected)
    one_size = batches[0].images
    assert isinstance(one_size, torch.Tensor) and one_size.shape == (4, 24, 32, 3)
    assert one_size.is_contiguous()


@pytest.mark.parametrize(
    ("workers", "world_size", "start"),
    [*itertools.product([0], [1, 2, 3, 7], [0, 1, 4, 6, 10]), (2, 2, 0), (2, 2, 3), (2, 7, 1)],
)
def test_ranks_divide_the_batches_from_start_on(folder, workers, world_size, start):
    source = open_images(folder)
    whole = {batch.number: batch for batch in source.batches(4)}
    seen = []
    for rank in range(world_size):
        own = list(
            source.batches(4, workers=workers, rank=rank, world_size=world_size, start=start)
        )
        numbers = [batch.number for batch in own]
        assert numbers == sorted(numbers) and {n % world_size for n in numbers} <= {rank}
        assert_same_batches(own, [whole[n] for n in numbers])
        seen += numbers
    assert sorted(seen) == list(range(start, 6))


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_files_are_skipped_and_named(folder, workers):
    bad = {"001.png": b"hello, this is text", "005.png": b"", "006.png": b"\0" * 99}
    write(folder, bad | {f"{i:03d}.png": b"" for i in range(8, 12)})
    batches = list(open_images(folder, on_error="skip").batches(4, workers=workers))
    assert batches[0].positions == [0, 2, 3] and batches[1].positions == [4, 7]
    assert batches[0].skipped == [Skipped(f"{folder}/001.png", "holds text, not an image")]
    assert [s.reason for s in batches[1].skipped] == [
        "the file is empty (0 bytes)",
        "not an image, or of a format that is not read here",
    ]
    assert (batches[2].images, batches[2].positions, len(batches[2].skipped)) == ([], [], 4)
    assert torch.equal(batches[0].images[1], torch.from_numpy(crop(2, 24)))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_file_is_one_line_and_no_traceback_of_a_worker(folder, workers):
    write(folder, {"013.png": encode(crop(0))[:300]})
    before = []
    with pytest.raises(InputError) as caught:
        for batch in open_images(folder).batches(4, workers=workers):
            before.append(batch.number)
    assert str(caught.value) == (
        f"cannot read {folder}/013.png: image file is truncated; "
        'mend or remove it, or leave such files out with --on-error skip (on_error="skip")'
    )
    assert before == [0, 1, 2] and caught.value.__cause__ is None


def children() -> set[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return {int(pid) for pid in file.read().split()}


@linux_only
@pytest.mark.parametrize("end", ["finished", "left", "failed"])
def test_workers_end_with_the_iteration(folder, end):
    before = children()
    source = open_images(folder)
    batches = source.batches(2, workers=2)
    next(batches)
    assert len(children() - before) == 2
    if end == "finished":
        assert len(list(batches)) == 11
    elif end == "left":
        batches.close()
    else:
        with pytest.raises(ZeroDivisionError):
            batches.throw(ZeroDivisionError())
    assert children() == before


@linux_only
def test_workers_end_before_an_interrupt_is_dealt_with(folder, tmp_path, monkeypatch):
    """One worker keeps the first batch until the signal has come, which the other one sends."""
    program, came = os.getpid(), tmp_path / "came"

    def decode(self, data, name, original=Decoder.decode):
        if name == "006.png":  # of the second batch of the second worker
            os.kill(program, signal.SIGALRM)
        while name == "000.png" and not came.exists():
            time.sleep(0.01)
        return original(self, data, name)

    def interrupt(*_):
        came.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(Decoder, "decode", decode)
    before = children()
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            next(open_images(folder).batches(2, workers=2))
    finally:
        signal.signal(signal.SIGALRM, handler)
    # Its traceback has DataLoader's own objects.
    assert children() == before and caught.tb is not None


@linux_only
def test_few_batches_are_decoded_ahead(tmp_path, monkeypatch):
    folder, log = write(tmp_path / "set", png_files(120, (8,))), tmp_path / "log"

    here = os.getpid()

    def read(self, position, original=FolderFiles.read):
        if os.getpid() != here:
            with open(log, "a") as file:
                file.write(".")
        return original(self, position)

    monkeypatch.setattr(FolderFiles, "read", read)
    for taken, _ in enumerate(open_images(folder).batches(2, workers=2), 1):
        time.sleep(0.05 if taken < 6 else 0)
        # Two batches ahead in each of the two workers.
        assert log.stat().st_size <= (taken + 4) * 2
    assert log.stat().st_size == 120


@pytest.mark.parametrize(
    ("budget", "limits"),
    [(48, (8, 2)), (47, (8, 1)), (24, (8, 1)), (23, (7, 1)), (9, (3, 1)), (1, (1, 1))],
)
def test_of_large_images_fewer_are_decoded_ahead(tmp_path, monkeypatch, budget, limits):
    source = open_images(
        write(tmp_path, {f"{i}.bmp": encode(crop(i, 30, 40), "BMP") for i in range(9)})
    )
    monkeypatch.setattr(reader, "BUDGET", budget * 30 * 40 * 3)
    assert reader.lookahead(source._files, Decoder(), 3, 8) == limits
    assert len(images_in(source, 3, workers=2)) == 9
    write(tmp_path, {"0.bmp": b"text"})
    assert reader.lookahead(source._files, Decoder(), 3, 8) == (8, 2)


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    big = encode(crop(0, 200, 300), "BMP")
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.bmp").write_bytes(big)
    folder = tmp_path / "set"
    folder.mkdir()
    for i in range(60):
        (folder / f"{i}.bmp").symlink_to(tmp_path / "real" / "a.bmp")
    source = open_images(folder)
    next(source.batches(1))
    tracemalloc.start()
    assert sum(len(batch.images) for batch in source.batches(2)) == 60
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * len(big)


def test_a_batch_takes_one_file_descriptor_however_many_sizes(folder):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("counts open files as Linux shows them")

    def opened() -> int:
        gc.collect()  # the loaders' own pipes stay open until their cycles are collected
        return len(os.listdir("/proc/self/fd"))

    source = open_images(folder)
    list(source.batches(4, workers=2))
    before = opened()
    held = list(source.batches(4, workers=2))
    assert opened() <= before + len(held)


@linux_only
def test_without_room_in_shared_memory_the_batches_still_come(folder, monkeypatch):
    expected = list(open_images(folder).batches(4))

    def full(self):
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    assert_same_batches(list(open_images(folder).batches(4, workers=2)), expected)


@linux_only
def test_workers_start_after_torch_used_threads(folder):
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        a = torch.randn(600, 600)
        for _ in range(3):
            (a @ a).softmax(1).sum()
            assert len(images_in(open_images(folder), workers=2)) == 23
    finally:
        torch.set_num_threads(before)


def test_the_users_random_numbers_and_signal_handler_are_left_alone(folder, monkeypatch):
    # As for the first DataLoader of a program.
    monkeypatch.setattr(signal_handling, "_SIGCHLD_handler_set", False)
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    expected = torch.rand(1), random.random(), np.random.rand()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    handler = signal.getsignal(signal.SIGCHLD)
    images_in(open_images(folder), workers=2)
    assert (torch.rand(1), random.random(), np.random.rand()) == expected
    assert signal.getsignal(signal.SIGCHLD) is handler


@linux_only
@pytest.mark.slow
def test_a_killed_worker_is_one_line(folder, monkeypatch):
    def decode(self, data, name, original=Decoder.decode):
        if name == "013.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, data, name)

    monkeypatch.setattr(Decoder, "decode", decode)
    # Every 5 seconds the loader asks whether its workers live.
    asking = _MultiProcessingDataLoaderIter._try_get_data
    monkeypatch.setattr(asking, "__defaults__", (0.1,))
    with pytest.raises(InputError, match=r"a worker process died, .*\); use fewer") as caught:
        images_in(open_images(folder), workers=2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Reset by peer"), EOFError()])
def test_a_worker_killed_while_it_hands_a_batch_over_is_one_line(folder, monkeypatch, error):
    def broken(self, timeout=0):
        raise error

    monkeypatch.setattr(_MultiProcessingDataLoaderIter, "_try_get_data", broken)
    with pytest.raises(InputError, match="a worker process died, ") as caught:
        images_in(open_images(folder), workers=2)
    assert "\n" not in str(caught.value)


INTERRUPTED = """
import sys, time
from ganfast.metrics.images import open_images
from ganfast.metrics.images.decode import Decoder

original = Decoder.decode
def slow(self, data, name):
    time.sleep(0.05)
    return original(self, data, name)
Decoder.decode = slow

images = open_images(sys.argv[1])
images.count *= 10_000  # more than it can read before the signal, on however slow a machine
images._files.names *= 10_000
images._files.sizes *= 10_000
try:
    for batch in images.batches(1, workers=2):
        children = open(f"/proc/self/task/{__import__('os').getpid()}/children").read()
        print(children.strip(), flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@linux_only
@pytest.mark.slow
def test_ctrl_c_leaves_no_worker_and_no_noise(folder):
    # In a group of its own, so that the signal reaches the workers too, as a terminal's does.
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    first = process.stdout.readline().split()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert len(first) == 2 and out.splitlines()[-1] == "interrupted"
    assert (process.returncode, err) == (0, "")
    for pid in first:
        assert not os.path.exists(f"/proc/{pid}")


@linux_only
def test_a_workers_signals_are_not_the_programs(folder, monkeypatch):
    """It leaves Ctrl-C to the program, and ends at SIGTERM, whatever the program does there."""

    def decode(self, data, name, original=Decoder.decode):
        wanted = {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: signal.SIG_DFL}
        if all(signal.getsignal(number) == handler for number, handler in wanted.items()):
            return original(self, data, name)
        raise DecodeError("the handlers are the program's")

    monkeypatch.setattr(Decoder, "decode", decode)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        assert len(images_in(open_images(folder), workers=2)) == 23
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
def test_a_worker_in_a_new_interpreter_as_other_systems_start_it(folder, monkeypatch):
    monkeypatch.setattr(reader, "START_METHOD", "spawn")
    batches = list(open_images(folder).batches(4, workers=1))
    assert_same_batches(batches, list(open_images(folder).batches(4)))


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tar.gz"])
def test_what_a_new_interpreter_is_given_can_be_pickled(folder, tmp_path, kind):
    path = folder
    if kind != "folder":
        formats = {"zip": "zip", "tar": "tar", "tar.gz": "gztar"}
        path = shutil.make_archive(str(tmp_path / "set"), formats[kind], folder)
    files = open_images(path)._files
    files.read(0)  # with what reading opens
    dataset = SharedBatches(files, Decoder(), 4, "raise")
    copied = pickle.loads(pickle.dumps(dataset))
    assert_same_batches([copied[5].unpack()], [dataset[5].unpack()])
    dataset._files.close()
    copied._files.close()


def test_an_error_that_nobody_foresaw_keeps_its_traceback(folder, monkeypatch):
    def decode(self, data, name):
        raise AttributeError("a bug")

    monkeypatch.setattr(Decoder, "decode", decode)
    with pytest.raises(AttributeError, match="a bug"):
        images_in(open_images(folder))


def test_less_batches_than_asked_for_make_none(folder):
    assert list(open_images(folder).batches(4, start=6, workers=2)) == []
    assert len(list(open_images(folder).batches(100, workers=4))) == 1


@pytest.mark.parametrize("beside", ["config.json", "log.jsonl", "checkpoint.safetensors"])
@pytest.mark.parametrize("run", ["", "runs/hinge/"])
def test_the_folder_of_a_training_run_is_named(run, beside, tmp_path):
    chart = encode(crop(0))
    write(tmp_path, png_files(2) | {f"{run}losses.png": chart, f"{run}samples/000100.png": chart})
    assert open_images(tmp_path).count == 4  # nothing tells of a run
    write(tmp_path, {f"{run}{beside}": b"{}"})
    with pytest.raises(InputError, match="fake: .* the folder of a training run: its losses.png"):
        open_images(tmp_path, name="fake")
