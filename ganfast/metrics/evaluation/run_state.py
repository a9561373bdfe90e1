"""What an interrupted evaluation needs to go on as if nothing had happened."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast import _checks
from ganfast._atomic_file import path_beside, require_writable
from ganfast._lock import Lock
from ganfast.errors import InputError
from ganfast.metrics.arrays_file import ArraysFile, save_arrays

FORMAT = 1
_FACTS = "facts"
_SECONDS = 30.0
_SHARE = 20.0


@dataclass
class SideState:
    """How far one side is: ``summary`` is Summary.state_dict() after all batches before
    ``next_batch``, and ``skipped`` are (name, reason) of images that could not be read."""

    summary: dict[str, Tensor]
    next_batch: int
    skipped: list[tuple[str, str]] = field(default_factory=list)
    done: bool = False


class RunState:
    """The file of ``--state``: for each side ("real", "fake") how far it is.

    ::

        state = RunState(path, {"extractor": extractor.identity, "batch_size": 50, ...})
        state.load()
        side = state.sides.get("real")              # None: nothing of it is done
        ...
        if state.due():
            state.sides["real"] = SideState(summary.state_dict(), batch.number + 1, skipped)
            state.save()

    ``identity`` is what must be the same for the sum of two runs to be the result of one: strings,
    numbers, True, False or None by name. The file is a .npz of plain arrays, which nothing is
    executed to read, which needs no package beyond NumPy, and whose CRC-32 finds damage. Several
    processes have a file each.

    At 2048 features a save writes 34 to 50 MB for each side, and so much for each chunk.
    """

    def __init__(self, path: str | os.PathLike[str], identity: Mapping[str, Any]) -> None:
        self.path = _checks.path("state", path)
        require_writable(self.path, "state")
        self.identity: dict[str, Any] = json.loads(json.dumps(dict(identity)))
        self.sides: dict[str, SideState] = {}
        self._saved_at, self._took = time.monotonic(), 0.0
        self._lock: Lock | None = None

    def lock(self) -> None:
        """Keep other processes from using the file; InputError if one does so already."""
        busy = f"state: got {str(self.path)!r}, which another run is using; give another file"
        self._lock = Lock(self.path.with_name(f".{self.path.name}.lock"), busy)

    def unlock(self) -> None:
        """Let other processes use it again."""
        if self._lock is not None:
            self._lock.release()

    def load(self, *, own: Collection[str] = ()) -> bool:
        """Read the file into ``sides``; False if there is none. Of the names in ``own`` the file's
        values are taken over into ``identity``.

        Raises:
            InputError: the file is damaged or no state, or that of another run, with all that
                differs.
        """
        if not os.path.lexists(self.path):
            return False
        with ArraysFile(self.path, "state", "the state of a run") as file:
            facts = _facts(file)
            kept = {name: facts["identity"][name] for name in own if name in facts["identity"]}
            self.identity.update(kept)
            self._require_this_run(facts["identity"])
            sides = {}
            for name, side in facts["sides"].items():
                start = f"{name}/"
                keys = [key for key in file.names if key.startswith(start)]
                summary = {key[len(start) :]: torch.from_numpy(file[key]) for key in keys}
                skipped = [(str(image), str(reason)) for image, reason in side["skipped"]]
                sides[name] = SideState(summary, side["next_batch"], skipped, side["done"])
        self.sides = sides
        return True

    def save(self) -> None:
        """Write all sides. Killed at any moment, the file is the one before or this one."""
        began = time.monotonic()
        facts = {
            "ganfast_run_state": FORMAT,
            "identity": self.identity,
            "sides": {
                name: {
                    "next_batch": side.next_batch,
                    "skipped": side.skipped,
                    "done": side.done,
                }
                for name, side in self.sides.items()
            },
        }
        # Bytes of ASCII, in which even a file name that is not Unicode has an escape.
        arrays = {_FACTS: np.frombuffer(json.dumps(facts).encode("ascii"), dtype=np.uint8)}
        for name, side in self.sides.items():
            for key, value in side.summary.items():
                arrays[f"{name}/{key}"] = value.detach().cpu().numpy()
        save_arrays(self.path, "state", arrays, one_writer=True)
        self._saved_at = time.monotonic()
        self._took = self._saved_at - began

    def due(self) -> bool:
        """Whether it is time to save: 30 seconds after the last time, and not so often that saving
        takes more than a twentieth of the run. What a kill costs is the time since."""
        return time.monotonic() - self._saved_at >= max(_SECONDS, _SHARE * self._took)

    def delete(self) -> None:
        """Remove the file, once the result is out; it may be gone already."""
        for path in (self.path, path_beside(self.path)):
            path.unlink(missing_ok=True)
        self.unlock()

    def _require_this_run(self, theirs: Mapping[str, Any]) -> None:
        absent = object()
        differing = [
            f"{key} is {_shown(theirs.get(key, absent), absent)} there and "
            f"{_shown(self.identity.get(key, absent), absent)} now"
            for key in sorted({*theirs, *self.identity})
            if theirs.get(key, absent) != self.identity.get(key, absent)
        ]
        if differing:
            raise InputError(
                f"state: {str(self.path)!r} is of another run: {'; '.join(differing)}; give the "
                "same arguments to finish that one, or delete the file to begin anew"
            )


def _facts(file: ArraysFile) -> dict[str, Any]:
    """The description in the file, with the structure that save() gives it."""
    if _FACTS not in file:
        raise file.refusal(f"it has no entry {_FACTS!r}")
    try:
        facts = json.loads(file[_FACTS].tobytes())
        if facts["ganfast_run_state"] != FORMAT:
            raise file.refusal(
                f"it has the format {facts['ganfast_run_state']} of another version of ganfast, "
                f"which is {FORMAT} here; delete it to begin anew"
            )
        for side in facts["sides"].values():
            if not isinstance(side["next_batch"], int) or not isinstance(side["done"], bool):
                raise TypeError
            for _image, _reason in side["skipped"]:
                pass
        if not isinstance(facts["identity"], dict):
            raise TypeError
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        raise file.refusal(
            "its description is not that of a run; delete it to begin anew"
        ) from None
    return dict(facts)


def _shown(value: Any, absent: object) -> str:
    return "not given" if value is absent else repr(value)
