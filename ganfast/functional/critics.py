"""A critic's input gradient, and whether it can be differentiated again."""

from __future__ import annotations

import contextlib
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import has_torch_function

from ganfast.errors import InputError, one_line
from ganfast.functional.inputs import Inputs, joined, tensors_of
from ganfast.functional.scores import Scores, scores_of

Critic = Callable[..., Any]

_run_backward: Any = getattr(torch.autograd.graph, "_engine_run_backward", None)
"""What torch.autograd.grad calls when it has compared shapes, which takes as long as the backward
of a small layer: ours are right by construction."""

_twice: weakref.WeakSet[Any] = weakref.WeakSet()
"""Critics whose graph was looked through and has a second derivative everywhere."""

_ends: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()
"""By its id, the weight nearest to the scores of each graph that was looked through: there may be
no critic to know it by, and a walk takes as long as a fifth of R1 of a small one."""

_proven: set[str] = set()
"""Names of nodes of such graphs whose second derivative was taken once without an error."""

_COMPILED = (
    "critic: {what} is compiled by torch.compile, which has no double backward: the penalty would "
    "fail or, in some versions, lose its gradient silently. Give the module before torch.compile "
    "(compiled._orig_mod), or compile the whole critic step and call the penalty inside it"
)
_NO_SECOND = (
    "critic: it uses {op}, which has no second derivative, and the penalty needs one. {cure}, or "
    "take finite_difference_penalty if the target is 0"
)
_SECOND_RAISES = (
    "critic: its second derivative, which the penalty needs, raises {error!r}. Replace the "
    "operation by one that is differentiable twice, or take finite_difference_penalty if the "
    "target is 0"
)


def input_gradient(
    critic: Critic, points: Inputs, kwargs: dict[str, Any], scores: Scores = None
) -> Tensor:
    """d (sum of all scores) / d points, ready to be differentiated again where gradients are
    enabled. ``points`` is detached; of several tensors the gradient is :func:`joined`."""
    if not torch.is_grad_enabled():
        if torch.is_inference_mode_enabled():
            raise InputError("a penalty needs gradients; call it under no_grad, not inference_mode")
        with torch.enable_grad():
            return _scores_and_gradient(critic, points, kwargs, scores, False)[1]
    refuse_compiled(critic)
    found, gradient = _scores_and_gradient(critic, points, kwargs, scores, True)
    check_twice(critic, gradient, points, found)
    return gradient


def _scores_and_gradient(
    critic: Critic, points: Inputs, kwargs: dict[str, Any], scores: Scores, again: bool
) -> tuple[list[Tensor], Tensor]:
    for x in (points,) if isinstance(points, Tensor) else tensors_of(points):
        x.requires_grad_()
    found = scores_of(critic(points, **kwargs), scores, depth=6)
    return found, differentiate(found, points, again, "critic")


def differentiate(scores: list[Tensor], points: Inputs, again: bool, name: str) -> Tensor:
    """The gradient of the sum of ``scores`` at ``points``, with errors that say what to do."""
    if isinstance(points, Tensor):
        found = gradients(scores, [points], again)
        return gradient_of(points, found, name) if found[0] is None else found[0]
    return gradient_of(points, gradients(scores, tensors_of(points), again), name)


def gradients(
    scores: Sequence[Tensor], tensors: Sequence[Tensor], again: bool
) -> Sequence[Tensor | None]:
    """torch.autograd.grad of the sum of ``scores``; of nothing where none has a graph."""
    depending = scores
    if len(scores) > 1:
        depending = [score for score in scores if score.requires_grad]
    if not depending or not depending[0].requires_grad:
        return [None] * len(tensors)
    # Ones, not .sum(): the sum of many half precision scores may be inf.
    ones = tuple(map(torch.ones_like, depending))
    try:
        if _run_backward is not None and not has_torch_function((*depending, *tensors)):
            depending, tensors = tuple(depending), tuple(tensors)
            return _run_backward(
                depending, ones, again, again, tensors, True, accumulate_grad=False
            )
        return torch.autograd.grad(depending, tensors, ones, create_graph=again, allow_unused=True)
    except RuntimeError as error:
        raise _explained(error) from error


def gradient_of(points: Inputs, gradients: Sequence[Tensor | None], name: str) -> Tensor:
    """That of one tensor, or the :func:`joined` ones of several; InputError if there is none."""
    if isinstance(points, Tensor) and gradients[0] is not None:
        return gradients[0]
    if all(gradient is None for gradient in gradients):
        raise InputError(
            f"{name}: the scores do not depend on the inputs through autograd; score the inputs "
            "themselves, without detach(), no_grad or a conversion to NumPy on the way"
        )
    return joined(gradients, tensors_of(points))


def _explained(error: RuntimeError) -> RuntimeError:
    text = str(error)
    if "use_reentrant" in text or "Checkpointing is not compatible" in text:
        return RuntimeError(
            "critic: it uses torch.utils.checkpoint with use_reentrant=True, which cannot give an "
            "input's gradient; use checkpoint(..., use_reentrant=False)"
        )
    if "does not currently support double backward" in text or "donated buffers" in text:
        return RuntimeError(_COMPILED.format(what="a part of it"))
    return error


def refuse_compiled(critic: Critic) -> None:
    """InputError for what torch.compile made: its backward cannot be differentiated again."""
    if not isinstance(critic, nn.Module):
        if "_torchdynamo_orig_callable" in getattr(critic, "__dict__", ()):
            raise InputError(_COMPILED.format(what="it"))
        return
    # Of each module's own dictionary: nn.Module's __getattr__ would look through it all, and
    # named_modules() takes as long as the forward of a small layer.
    seen, todo = {critic}, [critic]
    for module in todo:
        own = module.__dict__
        if (
            own.get("_compiled_call_impl") is not None
            or "_torchdynamo_orig_callable" in own
            or (isinstance(module, _BatchNorm) and module.training)
        ):
            return _refuse_by_name(critic)
        for child in own["_modules"].values():
            if child is not None and child not in seen:
                seen.add(child)
                todo.append(child)


def _refuse_by_name(critic: nn.Module) -> None:
    """What is said of the first module of ``critic`` that :func:`refuse_compiled` found."""
    batch_norm = None
    for name, module in critic.named_modules():
        own = module.__dict__
        if own.get("_compiled_call_impl") is not None or "_torchdynamo_orig_callable" in own:
            raise InputError(_COMPILED.format(what=repr(name) if name else "it"))
        if isinstance(module, _BatchNorm) and module.training:
            batch_norm = batch_norm or name or type(module).__name__
    warnings.warn(
        f"critic: {batch_norm!r} is a BatchNorm in training mode, which ties the samples "
        "of a batch together: the penalty is then not about each one's own gradient. "
        "Use LayerNorm, InstanceNorm or GroupNorm in a critic with a gradient penalty",
        stacklevel=5,
    )


def check_twice(critic: Critic, gradient: Tensor, points: Inputs, scores: Sequence[Tensor]) -> None:
    """RuntimeError where the penalty's own backward would fail, or change nothing.

    torch finds out in the user's ``backward()`` at the earliest; here the cure can be named. The
    graph of one critic is looked through once.
    """
    if not gradient.requires_grad:
        if isinstance(critic, nn.Module) and any(p.requires_grad for p in critic.parameters()):
            raise RuntimeError(
                "critic: its input gradient does not depend on its weights through autograd, so "
                "the penalty would train nothing. A custom autograd.Function with "
                "once_differentiable does that; so do layers that are linear in frozen weights: "
                "call the penalty under torch.no_grad() if it is only to be looked at"
            )
        return
    try:
        if critic in _twice:
            return
    except TypeError:  # not hashable or without weak references: look each time
        pass
    check_graph(gradient, points, scores)
    with contextlib.suppress(TypeError):
        _twice.add(critic)


def check_graph(gradient: Tensor, points: Inputs, scores: Sequence[Tensor]) -> None:
    """RuntimeError where an operation in the graph of ``gradient`` has no second derivative.

    The graph behind one weight is looked through once: should another one end in that weight,
    torch raises in the user's ``backward()``, with its own words.
    """
    end = _last_weight(scores[0], points)
    if end is not None and _ends.get(id(end)) is end:
        return
    names = set()
    for node in _graph(gradient.grad_fn):
        name = node.name()
        if name in _proven or name in names:
            continue
        names.add(name)
        short = name.rsplit("::", 1)[-1]
        if short in ("NotImplemented", "DelayedError", "Error"):
            raise RuntimeError(_NO_SECOND.format(**_diagnosis(node)))
        if short.startswith("CompiledFunction"):
            raise RuntimeError(_COMPILED.format(what="a part of it"))
    if names:
        _take_second(gradient, points)
        _proven.update(names)
    if end is not None:
        _ends[id(end)] = end


def _last_weight(score: Tensor, points: Inputs) -> Tensor | None:
    """The leaf that needs gradients nearest to ``score``, the inputs apart."""
    node: Any = score.grad_fn
    for _ in range(16):
        if node is None:
            break
        onwards = None
        for following, _index in node.next_functions:
            leaf: Tensor | None = getattr(following, "variable", None)  # of what adds up a gradient
            if leaf is None:
                onwards = onwards or following
            elif leaf is not points and (
                isinstance(points, Tensor) or all(leaf is not x for x in tensors_of(points))
            ):
                return leaf
        node = onwards
    return None


def _take_second(gradient: Tensor, points: Inputs) -> None:
    """RuntimeError where it raises: some operations (torch.cdist) have a node that only does so."""
    try:
        torch.autograd.grad(
            gradient,
            tensors_of(points),
            torch.ones_like(gradient),
            retain_graph=True,
            allow_unused=True,
        )
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise RuntimeError(_SECOND_RAISES.format(error=one_line(error))) from error


def _graph(root: Any) -> Iterator[Any]:
    """Every node of an autograd graph."""
    seen, todo = {root}, [root]
    while todo:
        node = todo.pop()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)


def _diagnosis(node: Any) -> dict[str, str]:
    """Which operation has no second derivative, and what to use instead."""
    following = [next_.name() for next_, _ in node.next_functions if next_ is not None]
    names = " ".join(following)
    if "Attention" in names:
        return {
            "op": "a fused scaled_dot_product_attention",
            "cure": "Run it with torch.nn.attention.sdpa_kernel(SDPBackend.MATH) around the "
            "critic's forward",
        }
    if "Rnn" in names or "rnn" in names or "Miopen" in names:
        return {
            "op": "a fused recurrent layer",
            "cure": "Run it under torch.backends.cudnn.flags(enabled=False)",
        }
    return {
        "op": f"an operation ({names or 'a custom autograd.Function'})",
        "cure": "Replace it by one that is differentiable twice",
    }
