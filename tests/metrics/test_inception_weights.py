"""Weights found, fetched, checked and refused."""

from __future__ import annotations

import hashlib
import http.server
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ganfast.errors import InputError
from ganfast.metrics.inception import download as downloads
from ganfast.metrics.inception import weights
from ganfast.metrics.inception.weights import load_weights
from testing.inception_weights import random_state_dict, save_random_weights

NAME = "pt_inception-2015-12-05-6726825d.pth"
OTHER_NAME = "weights-inception-2015-12-05-6726825d.pth"


def small_state() -> dict[str, Tensor]:
    """In place of 95 MB: what is done with a file does not depend on how many tensors it has."""
    random = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=random) for name, shape in SHAPES.items()}


SHAPES = {
    "Conv2d_1a_3x3.conv.weight": torch.Size([32, 3, 3, 3]),
    "Conv2d_1a_3x3.bn.weight": torch.Size([32]),
    "Mixed_5b.branch1x1.conv.weight": torch.Size([8, 3, 1, 1]),
    "fc.weight": torch.Size([1008, 2]),
    "fc.bias": torch.Size([1008]),
}


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "expected_state", lambda: SHAPES)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(small_state(), path)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network: whoever wants one says so."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(weights, "URLS", tuple(f"{dead_address()}/{n}" for n in (NAME, OTHER_NAME)))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "hub" / "checkpoints"


def dead_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def publish(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``file`` the published one."""
    monkeypatch.setattr(weights, "SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    monkeypatch.setattr(weights, "BYTES", file.stat().st_size)


class Server:
    """Serves what ``pages`` has by path: bytes, or (bytes, the length that it claims)."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes | tuple[bytes, int]] = {}
        self.asked: list[str] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                page = server.pages.get(self.path)
                if page is None:
                    self.send_error(404)
                    return
                body, length = page if isinstance(page, tuple) else (page, len(page))
                self.send_response(200)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found = Server()
    monkeypatch.setattr(weights, "URLS", tuple(f"{found.address}/{n}" for n in (NAME, OTHER_NAME)))
    yield found
    found.http.shutdown()
    found.http.server_close()


def test_the_published_facts():
    fresh = Path(weights.__file__).read_text()
    assert "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2" in fresh
    assert weights.BYTES == 95_628_359


def test_the_whole_network(tmp_path, monkeypatch):
    monkeypatch.undo()
    path = tmp_path / "whole.pth"
    save_random_weights(path)
    found = load_weights(path).state
    assert all(torch.equal(found[name], v) for name, v in random_state_dict(0).items())
    assert len(found) == 472


def test_a_file_that_is_named(file):
    found = load_weights(str(file))
    assert found.path == file and not found.published
    assert all(torch.equal(found.state[name], v) for name, v in small_state().items())


def test_a_named_file_may_be_the_published_one(file, monkeypatch):
    publish(file, monkeypatch)
    assert load_weights(file).published


def test_counters_and_other_float_dtypes_are_no_obstacle(tmp_path):
    state = {name: value.half() for name, value in small_state().items()}
    state["Conv2d_1a_3x3.bn.num_batches_tracked"] = torch.tensor(0)
    path = tmp_path / "half.pth"
    torch.save(state, path)
    found = load_weights(path).state
    assert found.keys() == SHAPES.keys()
    assert {value.dtype for value in found.values()} == {torch.float32}


def test_safetensors(tmp_path, file):
    save_file = pytest.importorskip("safetensors.torch").save_file
    path = tmp_path / "random.safetensors"
    save_file(small_state(), path)
    found, pth = load_weights(path).state, load_weights(file).state
    assert all(torch.equal(found[name], value) for name, value in pth.items())


def test_safetensors_without_the_package(tmp_path, monkeypatch):
    path = tmp_path / "random.safetensors"
    path.write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    refused(path, "pip install safetensors")


def refused(path: Path, *parts: str) -> str:
    with pytest.raises(InputError) as caught:
        load_weights(path)
    message = str(caught.value)
    assert "\n" not in message and message.startswith("weights: ")
    for part in (str(path), *parts):
        assert part in message
    return message


def test_a_file_that_is_not_there(tmp_path):
    refused(tmp_path / "none.pth", "no such file")
    refused(tmp_path, "a folder")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_program_as_other_tools_use(tmp_path):
    path = tmp_path / "inception-2015-12-05.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), str(path))
    assert "weights_only" not in refused(path, "TorchScript", "give the file of the weights, http")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"<html>404</html>", b"\x80"])
def test_a_file_of_something_else(tmp_path, content):
    path = tmp_path / "page.pth"
    path.write_bytes(content)
    refused(path, f"{len(content)} bytes", "95,628,359", "no file of tensors")


def test_half_a_file(tmp_path, file):
    path = tmp_path / "half.pth"
    path.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused(path, "or a part of one")


def test_nothing_in_a_file_is_executed(tmp_path):
    path = tmp_path / "evil.pth"
    target = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return Path.touch, (target,)

    torch.save({"fc.weight": Evil()}, path)
    refused(path)
    assert not target.exists()


def test_wrong_contents(tmp_path):
    path = tmp_path / "other.pth"

    def saved(state: object) -> Path:
        torch.save(state, path)
        return path

    state = small_state()
    refused(saved([torch.zeros(1)]), "holds a list")
    refused(saved({"epoch": 3}), "holds a dict; give a state_dict of tensors")
    refused(saved({k: v for k, v in state.items() if k != "fc.bias"}), "missing: fc.bias")
    refused(saved({**state, "AuxLogits.fc.weight": torch.zeros(1)}), "unknown: AuxLogits.fc.weight")
    wrong = {**state, "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    refused(saved(wrong), "fc.weight is (1000, 2048), not (1008, 2)")
    wrong = {**state, "fc.bias": torch.full((1008,), torch.nan)}
    refused(saved(wrong), "not finite: fc.bias")
    refused(saved({}), "missing: Conv2d_1a_3x3.conv.weight, ", "and 2 more")


@pytest.mark.parametrize("name", [NAME, OTHER_NAME])
def test_the_cache_is_used(cache, file, monkeypatch, name):
    publish(file, monkeypatch)
    cache.mkdir(parents=True)
    (cache / name).write_bytes(file.read_bytes())
    found = load_weights()
    assert found.published and found.path == cache / name


def test_a_damaged_cache_is_replaced(cache, file, monkeypatch, server):
    publish(file, monkeypatch)
    cache.mkdir(parents=True)
    (cache / NAME).write_bytes(b"half of it")
    server.pages[f"/{NAME}"] = file.read_bytes()
    assert load_weights().published
    assert (cache / NAME).read_bytes() == file.read_bytes()


def test_the_first_address(cache, file, monkeypatch, server, capsys):
    publish(file, monkeypatch)
    server.pages[f"/{NAME}"] = file.read_bytes()
    found = load_weights()
    assert found.published and found.path == cache / NAME
    assert server.asked == [f"/{NAME}"]
    assert [path.name for path in cache.iterdir()] == [NAME]
    assert load_weights().path == found.path and len(server.asked) == 1  # from the cache now
    assert capsys.readouterr() == ("", "")


def test_progress(cache, file, monkeypatch, server, capsys):
    publish(file, monkeypatch)
    pytest.importorskip("tqdm")
    server.pages[f"/{NAME}"] = file.read_bytes()
    load_weights(progress=True)
    shown = capsys.readouterr()
    assert NAME in shown.err and "100%" in shown.err and not shown.out


def test_progress_without_tqdm(cache, file, monkeypatch, server, capsys):
    publish(file, monkeypatch)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    server.pages[f"/{NAME}"] = file.read_bytes()
    assert load_weights(progress=True).published
    shown = capsys.readouterr()
    assert shown.out == "" and len(shown.err.splitlines()) == 1
    assert NAME in shown.err and "pip install tqdm" in shown.err


def failed(cache: Path, *parts: str) -> None:
    """It can't be had, the message says all that helps, and nothing is left behind."""
    with pytest.raises(InputError) as caught:
        load_weights()
    message = str(caught.value)
    assert "\n" not in message
    helpful = (weights.URLS[0], weights.SHA256, f"{weights.BYTES:,} bytes", str(cache / NAME))
    for part in (*helpful, "--weights PATH", *parts):
        assert part in message
    assert list(cache.iterdir()) == []


def test_the_second_address(cache, file, monkeypatch, server):
    publish(file, monkeypatch)
    server.pages[f"/{OTHER_NAME}"] = file.read_bytes()
    assert load_weights().published
    assert server.asked == [f"/{NAME}", f"/{OTHER_NAME}"]
    assert [path.name for path in cache.iterdir()] == [NAME]


def test_no_network(cache):
    failed(cache, "refused")


def test_not_found(cache, server):
    failed(cache, "HTTP 404")


def test_another_file(cache, server):
    server.pages[f"/{NAME}"] = b"a login page"
    failed(cache, f"another file (12 bytes, sha256 {hashlib.sha256(b'a login page').hexdigest()})")


def test_a_download_that_ends_early(cache, server):
    server.pages[f"/{NAME}"] = (b"x" * 1000, 2000)
    failed(cache, "ended after 1,000 of 2,000 bytes")


def test_a_connection_that_stalls(cache, server, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(downloads, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def accept() -> None:
            connection, _ = silent.accept()
            with connection:
                release.wait(10)

        thread = threading.Thread(target=accept)
        thread.start()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/{NAME}"
        monkeypatch.setattr(weights, "URLS", (address,))
        failed(cache, "timed out")
        release.set()
        thread.join()


def test_an_interrupted_download(cache, file, monkeypatch, server):
    publish(file, monkeypatch)
    server.pages[f"/{NAME}"] = file.read_bytes()

    def interrupt(*args: object) -> None:
        assert len(list(cache.iterdir())) == 1  # beside, under another name
        assert not (cache / NAME).exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(downloads.hashlib, "sha256", lambda: type("H", (), {"update": interrupt})())
        with pytest.raises(KeyboardInterrupt):
            load_weights()
    assert list(cache.iterdir()) == []
    assert load_weights().published


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, server):
    (tmp_path / "hub").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="could not be fetched") as caught:
        load_weights()
    assert "--weights PATH" in str(caught.value)
