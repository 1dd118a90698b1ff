"""The order in which an epoch sees its faces, and how often it sees those of rare emotions."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from affectnet_plus import EMOTIONS


class EpochSampler(Sampler[int]):
    """As many places as there are faces, in an order that follows from the seed and the epoch alone.

    It has a generator of its own and touches no other, so all processes draw the same order, of which accelerate gives
    each its batches, and a resumed run draws that of the run it goes on with. accelerate calls `set_epoch`, but for a
    run of several processes that goes on within an epoch (`skip_first_batches`): there, call it before the iteration.

    * natural: every face once.
    * balanced: with replacement, every class as often as any other, a face of class k with 1 / (K n_k); n_k faces
      have the hard label k, K classes have a face. ("Class-balanced" of Kang et al. 2020, equation 1 with q = 0.)
    * square-root: with replacement, class k in proportion to the square root of n_k (Mahajan et al. 2018; q = 1/2 of
      Kang et al. 2020). Here with soft labels s: n_k is the sum of s_ik over the faces, and class k, once drawn, draws
      face i with s_ik / n_k, so that face i is drawn in proportion to sum_k s_ik / sqrt(n_k). One-hot labels give the
      paper's.

    Natural order needs no label. The others never draw a face whose label, hard for balanced and soft for square-root,
    is unknown: `never_drawn` of the faces.

    Args:
        kind: "natural", "balanced" or "square-root".
        labels: (n,) hard labels as whole numbers, negative where unknown.
        soft_labels: (n, 8), or (n, 7) of AffectNet-7, that sum to 1; a row with a NaN is unknown.
        seed: non-negative.
        allow_empty_classes: balance the classes that have a face, if one has none.

    Raises:
        ValueError: the kind is another, the shapes do not match, there is no face, no label is known, a label is
            beyond the emotions, or a class has no face where all are to be balanced.
    """

    def __init__(
        self, kind: str, labels: Tensor, soft_labels: Tensor, seed: int = 0, allow_empty_classes: bool = False
    ):
        if labels.ndim != 1 or soft_labels.shape not in [(len(labels), classes) for classes in (7, len(EMOTIONS))]:
            shapes = f"{tuple(labels.shape)} and soft_labels {tuple(soft_labels.shape)}"
            raise ValueError(f"labels have the shape {shapes}, expected (n,) and (n, {len(EMOTIONS)}) or (n, 7)")
        if not len(labels):
            raise ValueError("there is no face to draw; expected at least one")
        if kind == "natural":
            self._weights = None
        elif kind == "balanced":
            self._weights = _balanced(labels, EMOTIONS[: soft_labels.shape[1]], allow_empty_classes)
        elif kind == "square-root":
            self._weights = _square_root(soft_labels)
        else:
            raise ValueError(f"the sampler is {kind!r}; it must be natural, balanced or square-root")
        self.never_drawn = 0 if self._weights is None else int((self._weights == 0).sum())
        self._faces, self._seed, self._epoch = len(labels), seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch, counted from 0, the next iteration is of."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._faces

    def __iter__(self) -> Iterator[int]:
        # Hashed together: with a sum, epoch 1 of seed 0 would be epoch 0 of seed 1.
        mixed = np.random.SeedSequence([self._seed, self._epoch]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(mixed[0]))
        if self._weights is None:
            order = torch.randperm(self._faces, generator=generator)
        else:
            order = torch.multinomial(self._weights, self._faces, replacement=True, generator=generator)
        return iter(order.tolist())


def _balanced(labels: Tensor, names: tuple[str, ...], allow_empty_classes: bool) -> Tensor:
    known = labels >= 0
    if not known.any():
        raise ValueError(f"of the {len(labels)} faces none has a hard label; a balanced sampler needs them")
    if labels.max() >= len(names):
        worst = int(labels.argmax())
        raise ValueError(f"face {worst} has label {int(labels[worst])}, expected one of the {len(names)} emotions")
    counts = labels[known].bincount(minlength=len(names))
    empty = [name for name, count in zip(names, counts.tolist(), strict=True) if not count]
    if empty and not allow_empty_classes:
        raise ValueError(
            f"no face has the label {', '.join(empty)}, so the classes cannot be balanced. Choose the sampler natural "
            "or square-root, or allow empty classes"
        )
    return torch.where(known, 1 / counts.double()[labels.clamp(min=0)], 0.0)


def _square_root(soft_labels: Tensor) -> Tensor:
    known = ~soft_labels.isnan().any(dim=1)
    if not known.any():
        raise ValueError(f"of the {len(known)} faces none has a soft label; a square-root sampler needs them")
    shares = torch.where(known[:, None], soft_labels, 0.0).double()
    counts = shares.sum(dim=0)
    return shares @ torch.where(counts > 0, counts.rsqrt(), 0.0)
