"""One file from the first address that has it, or nothing.

torch.hub.download_url_to_file and pooch do less where it matters here: neither gives up an address
that sends nothing, or tries a second one, and torch.hub can't tell half a file from another one.
"""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from ganfast._atomic_file import write_atomically
from ganfast._terminal import Progress
from ganfast.errors import one_line

TIMEOUT = 30.0
"""Seconds without a single byte after which an address is given up."""

CHUNK = 1 << 18


class DownloadError(Exception):
    """No address gave the file; the message has the reason of each."""


def download(
    urls: Sequence[str], target: Path, *, sha256: str, size: int, progress: bool = False
) -> None:
    """Put the file with the hash ``sha256`` at ``target``, from the first of ``urls`` that has it.

    ``target`` is never half a file, whatever happens and however many processes do this at once.
    ``size`` is what the progress bar counts to. Raises DownloadError, and InputError or OSError
    where the folder can't be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in urls:
        try:
            with Progress(target.name, size, unit="bytes", show=progress) as bar:
                write_atomically(target, "weights", partial(_fetch, url, sha256, bar))
            return
        except DownloadError as error:
            reasons.append(f"{url}: {error}")
    raise DownloadError("; ".join(reasons))


def _fetch(url: str, sha256: str, bar: Progress, file: BinaryIO) -> None:
    """Write what is at ``url``, or raise DownloadError if it is not the file."""
    digest = hashlib.sha256()
    received = 0
    try:
        with urlopen(url, timeout=TIMEOUT) as response:
            promised = response.headers.get("Content-Length", "")
            while chunk := _next(response, received):
                file.write(chunk)  # a full disk is no fault of the address
                digest.update(chunk)
                received += len(chunk)
                bar.advance(len(chunk))
    except (URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise DownloadError(_why(error)) from None
    if promised.isdigit() and received != int(promised):
        raise DownloadError(f"ended after {received:,} of {int(promised):,} bytes")
    if digest.hexdigest() != sha256:
        raise DownloadError(f"another file ({received:,} bytes, sha256 {digest.hexdigest()})")


def _next(response: http.client.HTTPResponse, received: int) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{_why(error)} after {received:,} bytes") from None


def _why(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"HTTP {error.code}"
    reason = error.reason if isinstance(error, URLError) else error
    return one_line(reason) if isinstance(reason, Exception) else str(reason)
