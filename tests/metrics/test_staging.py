"""Images on their way to a GPU: what is packed, and the order of copies, events and reads.

torch.cuda is one here that writes down what it is asked for, and runs copies as late as a GPU may.
"""

import contextlib

import pytest
import torch

from ganfast.metrics import staging
from ganfast.metrics.staging import DEPTH, Staging, parts, sent

DEVICE = torch.device("cuda", 0)


class Gpu:
    """Streams are lists of what is to be done; run() does it, up to where a stream waits."""

    def __init__(self):
        self.log, self.current = [], "main"
        self.queues = {"main": [], "side": []}
        self.done = set()
        self.events = 0

    def run(self, until=None):
        while until is None or until not in self.done:
            for queue in self.queues.values():
                if queue and (queue[0][0] != "wait" or queue[0][1] in self.done):
                    kind, what = queue.pop(0)
                    if kind == "record":
                        self.done.add(what)
                    elif kind == "do":
                        what()
                    break
            else:
                assert until is None, "waits for what is never recorded"
                assert not any(self.queues.values()), "a stream waits for ever"
                return


class Stream:
    def __init__(self, gpu, name):
        self.gpu, self.name = gpu, name

    def wait_event(self, event):
        self.gpu.log.append(f"{self.name} waits for {event.name}")
        self.gpu.queues[self.name].append(("wait", event.number))


class Event:
    def __init__(self, gpu, blocking=False):
        self.gpu, self.name = gpu, "read" if blocking else "copied"
        self.number = None

    def record(self, stream):
        self.gpu.events += 1
        self.number = self.gpu.events
        self.gpu.log.append(f"{self.name} recorded on {stream.name}")
        self.gpu.queues[stream.name].append(("record", self.number))

    def synchronize(self):
        self.gpu.log.append(f"host waits for {self.name}")
        self.gpu.run(until=self.number)


@pytest.fixture
def gpu(monkeypatch):
    gpu = Gpu()

    @contextlib.contextmanager
    def stream(one):
        before, gpu.current = gpu.current, one.name
        yield
        gpu.current = before

    true_to = torch.Tensor.to

    def to(x, device, **kwargs):
        if torch.device(device).type != "cuda":
            return true_to(x, device, **kwargs)
        assert kwargs == {"non_blocking": True}
        gpu.log.append(f"copy of {x.numel()} on {gpu.current}")
        there = torch.full_like(x, 77)
        gpu.queues[gpu.current].append(("do", lambda: there.copy_(x)))
        return there

    cuda = torch.cuda
    monkeypatch.setattr(cuda, "Stream", lambda device: Stream(gpu, "side"))
    monkeypatch.setattr(cuda, "Event", lambda blocking=False: Event(gpu, blocking))
    monkeypatch.setattr(cuda, "stream", stream)
    monkeypatch.setattr(cuda, "current_stream", lambda device: Stream(gpu, "main"))
    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(
        torch.Tensor,
        "record_stream",
        lambda x, s: gpu.log.append(f"memory is {s.name}'s too"),
    )
    return gpu


def images_of(*shape):
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8)


def kinds():
    many = images_of(4, 6, 5)
    planes = images_of(4, 6, 5).movedim(3, 1).contiguous().movedim(1, 3)
    return {
        "one size": many,
        "channels first": planes,
        "with gaps": many[:, ::2, 1:],
        "one row again and again": many[:, :1].expand(-1, 6, -1, -1),
        "one": many[:1],
        "many sizes": [images_of(3, 4), images_of(1, 1), images_of(9, 2).transpose(0, 1)],
    }


def same(found, wanted):
    assert isinstance(found, torch.Tensor) == isinstance(wanted, torch.Tensor)
    assert len(found) == len(wanted)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("kind", kinds())
def test_one_copy_of_what_was_given(gpu, kind):
    images = kinds()[kind]
    there = sent(images, DEVICE)
    total = sum(image.numel() for image in images)
    assert gpu.log == [f"copy of {total} on main"]
    gpu.run()
    same(there, images)
    if kind == "channels first":
        assert there.stride() == images.stride()


def test_what_is_pinned_already_is_not_packed(gpu, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda x: True)
    monkeypatch.setattr(staging, "pinned", None)
    images = images_of(2, 3, 4)
    there = sent(images, DEVICE)
    gpu.run()
    same(there, images)


def test_pinned_memory_is_asked_for_and_may_be_refused(monkeypatch):
    asked, true_empty = [], torch.empty

    def empty(size, **kwargs):
        asked.append(kwargs.pop("pin_memory", False))
        if asked[-1] and size > 100:
            raise RuntimeError("out of memory")
        return true_empty(size, **kwargs)

    monkeypatch.setattr(torch, "empty", empty)
    assert len(staging.pinned(100)) == 100 and asked == [True]
    assert len(staging.pinned(101)) == 101 and asked == [True, True, False]


def test_the_order_of_a_batch(gpu):
    line = Staging(DEVICE)
    line.wait()
    with line.sent(images_of(2, 3, 4)):
        gpu.log.append("read")
    assert gpu.log == [
        "copy of 72 on side",
        "copied recorded on side",
        "main waits for copied",
        "memory is main's too",
        "read",
        "read recorded on main",
    ]


def test_the_host_waits_only_for_the_batch_that_had_the_buffer(gpu):
    line = Staging(DEVICE)
    for i in range(DEPTH + 2):
        gpu.log.clear()
        line.wait()
        with line.sent(images_of(2, 3, 4)):
            pass
        assert gpu.log.count("host waits for read") == (i >= DEPTH)


@pytest.mark.parametrize("late", [True, False])
def test_each_batch_arrives_whole(gpu, late):
    """Whether the GPU is as far behind as it can be, or at once done."""
    line, seen, given = Staging(DEVICE), [], []
    for i in range(12):
        images = images_of(1 + i % 4, 3, 4) if i % 3 else [images_of(i + 1, 2), images_of(2, 5)]
        given.append(images)
        line.wait()
        with line.sent(images) as there:
            read = lambda there=there: seen.append([x.clone() for x in there])  # noqa: E731
            gpu.queues["main"].append(("do", read))
        if not late:
            gpu.run()
    gpu.run()
    assert len(seen) == len(given)
    for found, wanted in zip(seen, given, strict=True):
        same(found, list(wanted))


def test_a_failure_in_between_leaves_the_ring_in_order(gpu):
    line = Staging(DEVICE)
    for _ in range(2 * DEPTH):
        with pytest.raises(ZeroDivisionError), line.sent(images_of(2, 3, 4)):
            1 / 0  # noqa: B018
    images = images_of(2, 3, 4)
    with line.sent(images) as there:
        pass
    gpu.run()
    same(there, images)


def test_parts_have_room():
    images = images_of(10, 2, 2)
    assert [len(part) for part in parts(images, 40)] == [3, 3, 3, 1]
    assert [len(part) for part in parts(images, 1)] == [1] * 10
    assert [len(part) for part in parts(list(images), 40)] == [3, 3, 3, 1]
    mixed = [images_of(1, 1), images_of(50, 1), images_of(1, 1), images_of(1, 1)]
    assert [len(part) for part in parts(mixed, 40)] == [1, 1, 2]
    assert [len(part) for part in parts(mixed)] == [4]
    together = [image for part in parts(mixed, 40) for image in part]
    same(together, mixed)
