"""The faces of a training run: all of a prepared split at hand, or as a stream; alike to `train`.

Made in two steps. First the labels are looked at, so that what cannot be trained on is refused before a picture is
decoded and before the folder of the run is begun; then `read` gives what a Trainer takes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import Subset

from ..data.dataset import FaceDataset, about_faces, class_names, demand_some, first_side, load_prepared, targets_of
from ..data.stream import FaceStream, StreamLoader, collected, stream_prepared, survey
from ..stages import Progress
from ..unfinished import digest
from .arguments import reading_workers
from .options import TrainingOptions
from .samplers import EpochSampler
from .soft_label_trainer import WholeSteps


class ForTrainer(NamedTuple):
    """What a Trainer is made of.

    Attributes:
        training: faces to train on, or rounds of a stream.
        choosing: faces that choose the best checkpoint.
        order: of the faces to train on; None for a stream, which has its own.
        knows_affect: whether valence or arousal of a face of the train split is known.
    """

    training: Subset | StreamLoader
    choosing: Subset
    order: WholeSteps | None
    knows_affect: bool


class TrainingFaces(ABC):
    """Splits of prepared faces, as `options` wants them to be learnt from.

    Raises:
        FileNotFoundError, OSError: as `load_prepared`.
        ValueError: there is no train split, none that chooses, no known target, or a class that no target has.
    """

    splits: dict[str, Any]
    names: tuple[str, ...]
    rows: dict[str, int]  # of each split
    mean_soft_label: list[float] | None  # of the train split
    never_drawn = 0  # of the training faces: their target is not known

    def __init__(self, data, options: TrainingOptions):
        self.data, self.options = data, options

    def _need(self, splits: Sequence[str], holdout: bool) -> None:
        if "train" not in splits or ("validation" not in splits and not holdout):
            either = "validation" if self.options.streaming else "validation or --holdout"
            raise ValueError(f"the data has the splits {list(splits)}; training needs train, and {either}")

    @abstractmethod
    def identity(self, processes: int) -> dict[str, Any]:
        """What tells these faces from others to a run that goes on, which knows them by their places alone."""

    @abstractmethod
    def read(self, size: int, progress: Progress, strict: bool, processes: PartialState) -> ForTrainer:
        """What a Trainer takes. Where not `strict`, faces whose picture cannot be decoded are left out."""

    @property
    @abstractmethod
    def unreadable(self) -> dict[str, str]:
        """image_id -> why, of the faces that are left out so far in all processes, each of which must ask."""

    @property
    @abstractmethod
    def counts(self) -> dict[str, int]:
        """`training_faces` and `choosing_faces` as far as they can be decoded, and how many were `left_out`."""

    def epochs(self) -> float:
        """Of the Trainer."""
        return self.options.epochs

    @abstractmethod
    def close(self) -> None:
        """What reads the faces is not needed any more."""

    def first_side(self) -> int:
        """Of the pictures, in pixels; see `data.dataset.first_side`."""
        return first_side(self.splits["train"])


def training_faces(data, options: TrainingOptions) -> TrainingFaces:
    """The faces that `options` wants to train on, of what `load_prepared` takes."""
    return StreamedFaces(data, options) if options.streaming else HeldFaces(data, options)


def _refuse_unknown(known: int, rows: int, purpose: str, target: str) -> None:
    if not known:
        raise ValueError(f"of the {rows} faces {purpose}, none has a {target} label")


def _refuse_empty(given: Tensor, names: tuple[str, ...], rows: int, options: TrainingOptions) -> None:
    empty = [name for name, amount in zip(names, given.tolist(), strict=True) if amount == 0]
    if empty and not options.allow_empty_classes:
        raise ValueError(
            f"no {options.target} label of the {rows} faces to train on has any {', '.join(empty)}, which could "
            "then never be predicted. Choose another view or target, or pass --allow-empty-classes"
        )


def _known(targets: Tensor) -> int:
    return int((~targets.isnan().any(dim=1)).sum())


# --- at hand ---------------------------------------------------------------------------------------------------------


class HeldFaces(TrainingFaces):
    """Faces in the cache of `datasets`, any of which can be asked for at any time."""

    def __init__(self, data, options: TrainingOptions):
        super().__init__(data, options)
        self.splits = load_prepared(data, options.view)
        self._need(list(self.splits), bool(options.holdout))
        self.names = class_names(self.splits["train"])
        self.rows = {split: len(rows) for split, rows in self.splits.items()}
        self._chosen = self._rows()

    def _rows(self) -> tuple[list[int], list[int]]:
        """Rows of the train split to train on, and rows of it or of validation that choose the best checkpoint."""
        options = self.options
        targets = other = targets_of(self.splits["train"], options.target)
        if options.holdout:
            order = np.random.default_rng(options.seed).permutation(len(targets)).tolist()
            held = round(len(targets) * options.holdout)
            rows, chosen = sorted(order[held:]), sorted(order[:held])
        else:
            other = targets_of(self.splits["validation"], options.target)
            rows, chosen = list(range(len(targets))), list(range(len(other)))
        _refuse_unknown(_known(targets[rows]), len(rows), "to train on", options.target)
        _refuse_unknown(_known(other[chosen]), len(chosen), "to choose the best checkpoint with", options.target)
        _refuse_empty(targets[rows].nansum(dim=0), self.names, len(rows), options)
        return rows, chosen

    def identity(self, processes: int) -> dict[str, Any]:
        return {
            "source of the data": about_faces(self.data)["fingerprint"],
            "faces": [len(some) for some in self._chosen],
            "order of the faces": digest({"image_id": self.splits["train"]["image_id"][:]}),
        }

    def read(self, size: int, progress: Progress, strict: bool, processes: PartialState) -> ForTrainer:
        target = self.options.target
        every = other = FaceDataset(self.splits["train"], size, target, progress, lenient=not strict)
        if not self.options.holdout:
            other = FaceDataset(self.splits["validation"], size, target, progress, lenient=not strict)
        training, choosing = (readable(faces, rows) for faces, rows in zip((every, other), self._chosen, strict=True))
        self.mean_soft_label = every.mean_soft_label()
        self._unread = dict(every.left_out()) | dict(other.left_out())
        self._counts = {"training_faces": len(training), "choosing_faces": len(choosing)}
        order = order_of(every, list(training.indices), self.options, processes.num_processes)
        self.never_drawn = order.never_drawn
        return ForTrainer(training, choosing, order, not bool(every.valence_arousal.isnan().all()))

    @property
    def unreadable(self) -> dict[str, str]:
        return self._unread

    @property
    def counts(self) -> dict[str, int]:
        return self._counts | {"left_out": len(self._unread)}

    def close(self) -> None:
        pass  # all of it is in memory, or goes with the DataLoader


def readable(faces: FaceDataset, rows: Sequence[int]) -> Subset:
    """Those of the rows whose pictures can be decoded.

    Raises:
        ValueError: there is none.
    """
    return Subset(faces, demand_some([row for row in rows if row not in faces.unreadable], faces.left_out()))


def order_of(every: FaceDataset, rows: list[int], options: TrainingOptions, processes: int) -> WholeSteps:
    """Where a step takes fewer faces than there are, an epoch leaves out the last, incomplete one.

    Otherwise several processes would fill it up with faces that the epoch has had. Which faces are left out changes
    with the order, every epoch.
    """
    step = options.batch_size * processes
    _refuse_few(len(rows), step, processes)
    labels, targets = every.labels[rows], every.targets[rows]
    order = EpochSampler(options.sampler, labels, targets, options.seed, options.allow_empty_classes)
    return WholeSteps(order, step if len(rows) >= step else len(rows))


def _refuse_few(faces: int, step: int, processes: int) -> None:
    if faces < step and processes > 1:
        raise ValueError(f"{processes} processes take {step} faces at once, and there are {faces}. Lower --batch-size")


# --- as a stream -----------------------------------------------------------------------------------------------------


class StreamedFaces(TrainingFaces):
    """Faces that are read as they come, in an order of the stream; validation is held in memory."""

    def __init__(self, data, options: TrainingOptions):
        super().__init__(data, options)
        self.splits = stream_prepared(data, options.view)
        self._need(list(self.splits), False)
        self.names = class_names(self.splits["train"])
        labels = stream_prepared(data, options.view, pictures=False)
        self._survey = survey(labels["train"], options.target)
        self._validation = collected(self.splits["validation"])
        others = {split: survey(rows, options.target).rows for split, rows in labels.items() if split != "train"}
        self.rows = {"train": self._survey.rows, **others}
        chosen = targets_of(self._validation, options.target)
        _refuse_unknown(self._survey.known, self._survey.rows, "to train on", options.target)
        _refuse_unknown(_known(chosen), len(chosen), "to choose the best checkpoint with", options.target)
        _refuse_empty(self._survey.given, self.names, self._survey.rows, options)
        self.mean_soft_label = self._survey.mean
        asked = max(1, round(options.epochs * self._survey.rows))
        self._round = min(options.streaming_round or self._survey.rows, asked)  # faces
        self._rounds = max(1, round(asked / self._round))

    def identity(self, processes: int) -> dict[str, Any]:
        return {
            "source of the data": about_faces(self.data)["fingerprint"],
            "faces": [self._survey.rows, len(self._validation)],
            "order of the faces": self._survey.order,
            "processes and workers of the stream": [processes, reading_workers()],
        }

    def read(self, size: int, progress: Progress, strict: bool, processes: PartialState) -> ForTrainer:
        options, count = self.options, processes.num_processes
        _refuse_few(self._survey.rows, options.batch_size * count, count)
        other = FaceDataset(self._validation, size, options.target, progress, lenient=not strict)
        choosing = readable(other, range(len(other)))
        self._unread, self._choosing = dict(other.left_out()), len(choosing)
        stream = FaceStream(
            self.splits["train"],
            size,
            options.target,
            options.batch_size,
            options.streaming_buffer,
            seed=options.seed,
            process=processes.process_index,
            processes=count,
            workers=reading_workers(),
            strict=strict,
        )
        batches = max(1, self._round // (options.batch_size * count))
        self._loader = StreamLoader(stream, batches, pin_memory=torch.cuda.is_available())
        return ForTrainer(self._loader, choosing, None, self._survey.affect > 0)

    def epochs(self) -> float:
        return self._rounds

    def close(self) -> None:
        self._loader.close()

    @property
    def unreadable(self) -> dict[str, str]:
        return self._unread | dict(gather_object(sorted(self._loader.unreadable.items())))

    @property
    def counts(self) -> dict[str, int]:
        left_out, validation = len(self.unreadable), len(self._unread)
        faces = self._survey.rows - (left_out - validation)
        return {"training_faces": faces, "choosing_faces": self._choosing, "left_out": left_out}
