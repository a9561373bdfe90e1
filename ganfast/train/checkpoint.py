"""A run's whole state in one safetensors file: weights, optimizers, random streams, counters. No
pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganfast._atomic_file import write_atomically
from ganfast.errors import InputError, one_line
from ganfast.train.environment import need

if TYPE_CHECKING:
    from ganfast.train.loop import Trainer

NAME = "checkpoint.safetensors"
FOLDER = "checkpoints"
FORMAT = 2
MODULES = ("generator", "critic", "average")
OPTIMIZERS = ("generator_optimizer", "critic_optimizer")


def save(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write ``tensors`` and ``facts`` (anything JSON holds) to ``path``.

    Whatever happens meanwhile, ``path`` is the old checkpoint or the new one.
    """
    # clone: safetensors refuses tensors that share memory, and views would carry the whole of it.
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    data = need("safetensors.torch").save(tensors, metadata={"ganfast": json.dumps(facts)})
    write_atomically(path, "out", lambda file: file.write(data), one_writer=True)


def keep(out: Path, step: int, count: int, resumed: str | Path | None = None) -> None:
    """Let the checkpoint that was just written to ``out`` stay under its ``step`` too, and of those
    that stay the last ``count`` that were written, and the one that the run ``resumed`` from."""
    folder = out / FOLDER
    folder.mkdir(exist_ok=True)
    kept = folder / f"{step:06d}.safetensors"
    kept.unlink(missing_ok=True)
    try:
        os.link(out / NAME, kept)  # no room, until the other name is given to a newer one
    except OSError:  # a file system without links
        write_atomically(kept, "out", lambda file: file.write((out / NAME).read_bytes()))
    there = sorted(folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime_ns)
    start = None if resumed is None else located(resumed)[1].resolve()
    for file in there[:-count]:
        if file.resolve() != start:
            file.unlink()


def located(place: str | Path) -> tuple[Path, Path]:
    """The folder of a run and its checkpoint, of a folder the last one; or of a file that
    ``keep`` let stay."""
    path = Path(place)
    if path.suffix != ".safetensors":
        return path, path / NAME
    return path.parent.parent if path.parent.name == FOLDER else path.parent, path


def load(path: Path, name: str = "resume") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What ``save`` wrote, on the CPU; ``name`` is what messages call the folder.

    Raises:
        InputError: the file is missing, or is no checkpoint of ganfast.
    """
    safetensors = need("safetensors")
    if not path.is_file():
        raise InputError(
            f"{name}: got {str(path.parent)!r}, which holds no {path.name}; give the folder of a "
            "run"
        )
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            facts = json.loads((file.metadata() or {})["ganfast"])
            names = file.keys()  # the file itself can't be iterated
            tensors = {each: file.get_tensor(each) for each in names}
    except (safetensors.SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise InputError(
            f"{name}: got {str(path)!r}, which is not a ganfast checkpoint ({one_line(error)}); "
            "give the folder of a run"
        ) from None
    if facts.get("format") != FORMAT:
        raise InputError(
            f"{name}: got {str(path.parent)!r}, a run of another version of ganfast, with "
            "other networks and data; go on with that version, or start a new run"
        )
    return tensors, facts


def state_of(trainer: Trainer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything that the next step depends on: tensors, and facts for JSON."""
    tensors = {"random": trainer.random.get_state()}
    for name in MODULES:
        state = getattr(trainer, name).state_dict()
        tensors |= {f"{name}.{key}": value for key, value in state.items()}
    for name in OPTIMIZERS:
        tensors |= pack_optimizer(getattr(trainer, name), name)
    tensors |= {f"meter.{name}": value for name, value in trainer.meter.sums.items()}
    return tensors, {
        "format": FORMAT,
        "step": trainer.steps_done,
        "rollbacks": trainer.rollbacks,
        "meter_counts": trainer.meter.counts,
        "data": trainer.source.identity,
        "shape": list(trainer.source.shape),
    }


def restore(trainer: Trainer, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Put back what ``state_of`` took: the run goes on as if it had never stopped.

    Raises:
        InputError: the networks are not those of the checkpoint.
    """
    trainer.random.set_state(tensors["random"])
    for name in MODULES:
        try:
            getattr(trainer, name).load_state_dict(under(name, tensors))
        except RuntimeError as error:
            raise InputError(
                f"resume: the {name} is not that of the checkpoint ({one_line(error)}); give the "
                "networks that the run was started with"
            ) from None
    if trainer.guard is not None:
        trainer.guard.keep()
    for name in OPTIMIZERS:
        unpack_optimizer(getattr(trainer, name), name, tensors)
    sums = under("meter", tensors)
    trainer.meter.counts = dict(facts["meter_counts"])
    trainer.meter.sums = {name: sums[name] for name in trainer.meter.counts}
    trainer.steps_done, trainer.rollbacks = facts["step"], facts["rollbacks"]
    trainer.grow()
    if trainer.graphs is not None:
        trainer.graphs.forget()


def pack_optimizer(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """An optimizer's state as flat names: ``prefix.<parameter index>.<key>``. Its settings come
    from the config."""
    state = optimizer.state_dict()["state"]
    return {
        f"{prefix}.{index}.{key}": torch.as_tensor(value)
        for index, values in state.items()
        for key, value in values.items()
    }


def unpack_optimizer(
    optimizer: torch.optim.Optimizer, prefix: str, tensors: dict[str, Tensor]
) -> None:
    """Put back what ``pack_optimizer`` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in under(prefix, tensors).items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries named ``prefix.<rest>``, by <rest>."""
    start = prefix + "."
    return {name[len(start) :]: t for name, t in tensors.items() if name.startswith(start)}
