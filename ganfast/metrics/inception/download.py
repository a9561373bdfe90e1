"""One file from the first address that has it, or nothing."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import importlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

TIMEOUT = 30.0
"""Seconds without a single byte after which an address is given up."""

CHUNK = 1 << 18

Advance = Callable[[int], object]


class DownloadError(Exception):
    """No address gave the file; the message has the reason of each."""


def download(
    urls: Sequence[str], target: Path, *, sha256: str, size: int, progress: bool = False
) -> None:
    """Put the file with the hash ``sha256`` at ``target``, from the first of ``urls`` that has it.

    It is written beside under a name of its own and renamed when the hash is right, so that
    ``target`` is never half a file, whatever happens and however many processes do this at once.
    ``size`` is what the progress bar counts to. Raises DownloadError, and OSError where the folder
    can't be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in urls:
        part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
        try:
            with part.open("xb") as file, _bar(target.name, size, progress) as advance:
                reason = _fetch(url, file, advance, sha256)
            if reason is None:
                os.replace(part, target)
                return
            reasons.append(f"{url}: {reason}")
        finally:
            part.unlink(missing_ok=True)
    raise DownloadError("; ".join(reasons))


def _fetch(url: str, file: BinaryIO, advance: Advance, sha256: str) -> str | None:
    """Write what is at ``url``; why it is not the file, or None where it is."""
    digest = hashlib.sha256()
    received = 0
    with contextlib.ExitStack() as stack:
        try:
            response = stack.enter_context(urlopen(url, timeout=TIMEOUT))
            promised = response.headers.get("Content-Length", "")
        except (OSError, http.client.HTTPException) as error:
            return _why(error)
        while True:
            try:
                chunk = response.read(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                return f"{_why(error)} after {received:,} bytes"
            if not chunk:
                break
            file.write(chunk)  # a full disk is no fault of the address: not caught here
            digest.update(chunk)
            received += len(chunk)
            advance(len(chunk))
    if promised.isdigit() and received != int(promised):
        return f"ended after {received:,} of {int(promised):,} bytes"
    if digest.hexdigest() != sha256:
        return f"another file ({received:,} bytes, sha256 {digest.hexdigest()})"
    return None


def _why(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"HTTP {error.code}"
    reason = error.reason if isinstance(error, URLError) else error
    return " ".join(str(reason).split()) or type(error).__name__


@contextlib.contextmanager
def _bar(name: str, size: int, progress: bool) -> Iterator[Advance]:
    """A progress bar on stderr where it is wanted and tqdm is there; what to tell it of bytes."""
    bars = None
    if progress:
        with contextlib.suppress(ImportError):
            bars = importlib.import_module("tqdm")
    if bars is None:
        yield lambda count: None
        return
    with bars.tqdm(total=size, unit="B", unit_scale=True, unit_divisor=1024, desc=name) as bar:
        yield bar.update
