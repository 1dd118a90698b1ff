"""What the fair comparisons train: many small networks on one core, and the faces and votes that they learn from.

Two kinds. `hog` is a layer of 192 units over the 256 main components of histograms of oriented gradients (Dalal and
Triggs 2005), which learns in seconds; `small` is a residual stem and one layer of our ViT at 24 pixels, which learns
in minutes. Both see each face or its mirror image. All rivals of a comparison are of one kind, with the same steps
and seeds.
"""

import copy
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor, nn

from affectnet_plus_modeling.files import written_whole

KINDS = ("hog", "small")
SIDE = {"hog": 48, "small": 24}
RATE = {"hog": 2e-3, "small": 3e-3}
BATCH = 128
MAIN = 4000  # faces that the main components are of


@dataclass(frozen=True)
class Faces:
    """Grey faces (n, 48, 48) uint8, votes of each for the 8 emotions (n, 8) as counts, majority labels, names."""

    pixels: np.ndarray
    votes: np.ndarray
    labels: np.ndarray
    names: np.ndarray

    def take(self, rows: np.ndarray) -> "Faces":
        return Faces(self.pixels[rows], self.votes[rows], self.labels[rows], self.names[rows])

    @property
    def shares(self) -> np.ndarray:
        return self.votes / self.votes.sum(axis=1, keepdims=True)


def read_faces(source: Path, work: Path, split: str, fewest_votes: int = 1, count: int | None = None) -> Faces:
    """The first `count` faces, or all, of FER+, protocol A, in one random order, with so many votes for an emotion.

    What was read is kept in `work`.
    """
    stored = kept(work / f"faces_{split}.npz", lambda: read_split(source, work, split))
    order = np.random.default_rng(0).permutation(len(stored["labels"]))
    found = Faces(stored["pixels"], stored["votes"], stored["labels"], stored["names"]).take(order)
    return found.take(np.flatnonzero(found.votes.sum(axis=1) >= fewest_votes)[:count])


def read_split(source: Path, work: Path, split: str) -> dict[str, np.ndarray]:
    if not (work / "prepared_A").exists():
        from ferplus import prepare  # which takes seconds to load

        prepare(source, work, "A")
    files = sorted((work / "prepared_A/data").glob(f"{split}-*.parquet"))
    columns = ["image", "image_id", "soft_label", "label"]
    rows = [row for file in files for row in pq.read_table(file, columns=columns).to_pylist()]
    pixels = []
    for row in rows:
        given = row["image"]
        with Image.open(given["path"] if given["bytes"] is None else io.BytesIO(given["bytes"])) as picture:
            pixels.append(np.asarray(picture.convert("L")))
    votes = np.rint(10 * np.array([row["soft_label"] for row in rows], dtype=np.float64)).astype(int)
    found = {"pixels": np.stack(pixels), "votes": votes, "labels": np.array([row["label"] for row in rows])}
    return found | {"names": np.array([row["image_id"] for row in rows])}


def inputs(kind: str, pixels: np.ndarray) -> Tensor:
    """What a network of the kind takes of faces: (n, 2, features) of a face and its mirror image, or (n, 24, 24).

    The main components are those of the first faces, so faces that are to be compared go in together.
    """
    grey = torch.from_numpy(pixels)[:, None].float() / 127.5 - 1
    if kind == "small":
        return nn.functional.avg_pool2d(grey, 2)[:, 0]
    some = gradients(grey[:MAIN])
    torch.manual_seed(0)
    middle, axes = some.mean(dim=0), torch.pca_lowrank(some, 256)[2]
    both = [
        torch.cat([(gradients(part) - middle) @ axes for part in view.split(1024)]) for view in (grey, grey.flip(-1))
    ]
    found = torch.stack(both, dim=1)
    return found / found[:MAIN, 0].std(dim=0).mean()


def gradients(grey: Tensor) -> Tensor:
    """(n, features): shares of 9 directions in cells of 6 pixels, each as a share of the four blocks around it."""
    across = nn.functional.pad(grey, (1, 1, 0, 0), mode="replicate").diff(n=1, dim=3)
    down = nn.functional.pad(grey, (0, 0, 1, 1), mode="replicate").diff(n=1, dim=2)
    across, down = (across[..., 1:] + across[..., :-1])[:, 0], (down[:, :, 1:] + down[:, :, :-1])[:, 0]
    place = (torch.atan2(down, across) % torch.pi) / torch.pi * 9
    low = place.floor()
    length = (across**2 + down**2).sqrt()
    cells = torch.zeros(len(grey), 9, *length.shape[1:])
    cells.scatter_add_(1, (low.long() % 9)[:, None], (length * (1 - place + low))[:, None])
    cells.scatter_add_(1, ((low.long() + 1) % 9)[:, None], (length * (place - low))[:, None])
    cells = nn.functional.avg_pool2d(cells, 6)
    blocks = nn.functional.unfold(cells, 2).view(len(grey), 36, -1)
    return nn.functional.normalize(blocks, dim=1).clamp(max=0.3).flatten(1) * 6


def network(kind: str, features: int, classes: int = 8, other: bool = False) -> nn.Module:
    """A network with nothing learnt; `other` is the second backbone of the kind."""
    if kind == "hog":
        width = 256 if other else 192
        return nn.Sequential(
            nn.Dropout(0.1), nn.Linear(features, width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(width, classes)
        )
    from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels  # which takes seconds

    stem = (32, 64, 96) if other else (16, 32, 64)
    config = AffectNetPlusConfig(
        image_size=24,
        patch_size=4,
        num_channels=1,
        hidden_size=stem[-1],
        intermediate_size=2 * stem[-1],
        num_hidden_layers=1,
        num_attention_heads=4,
        stem_channels=stem,
        stem_type="plain" if other else "residual",
        pooling="mean",
        initializer_range=0.1,
        classifier_dropout=0.2,
        valence_arousal_weight=0.0,
        id2label={number: str(number) for number in range(classes)},
    )
    return Logits(AffectNetPlusForSoftLabels(config))


class Logits(nn.Module):
    """The logits of a model for (n, side, side) pictures."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        return self.model(pictures[:, None].to(memory_format=torch.channels_last)).logits


def trained(
    kind: str,
    given: Tensor,
    targets: np.ndarray,
    epochs: float,
    seed: int,
    weights: np.ndarray | None = None,
    start: nn.Module | None = None,
    other: bool = False,
) -> nn.Module:
    """A network with the least cross-entropy to soft targets, after so many passes of AdamW with a cosine schedule.

    Args:
        given: of `inputs`.
        targets: (n, classes), rows that sum to 1.
        weights: (n,) how often a face is drawn, in proportion; None shows each once a pass.
        start: a network whose weights are the start, but for the head where the classes differ.
        other: the second backbone.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    classes = targets.shape[1]
    made = network(kind, given.shape[-1], classes, other)
    if start is not None:
        fresh = made.state_dict()
        taken = {name: value for name, value in start.state_dict().items() if value.shape == fresh[name].shape}
        made.load_state_dict(fresh | copy.deepcopy(taken))
    goal = torch.from_numpy(targets).float()
    steps = max(round(epochs * len(given) / BATCH), 1)
    rate = RATE[kind] * (0.3 if start is not None else 1)
    optimiser = torch.optim.AdamW(made.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    made.train()
    for rows in drawn(len(given), steps, weights, generator):
        scores = made(shown(kind, given[rows], generator))
        loss = -(goal[rows] * scores.log_softmax(-1)).sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(made.parameters(), 2.0)
        optimiser.step()
        schedule.step()
    return made.eval()


def drawn(count: int, steps: int, weights: np.ndarray | None, generator: torch.Generator):
    """Rows of each step: all in a random order, then all again; or by weight, with replacement."""
    if weights is not None:
        odds = torch.from_numpy(weights).double()
        for _ in range(steps):
            yield torch.multinomial(odds, BATCH, replacement=True, generator=generator)
        return
    passes = -(-steps * BATCH // count)
    order = torch.cat([torch.randperm(count, generator=generator) for _ in range(passes)])
    yield from order[: steps * BATCH].split(BATCH)


def shown(kind: str, given: Tensor, generator: torch.Generator) -> Tensor:
    if kind == "hog":
        return given[torch.arange(len(given)), torch.randint(2, (len(given),), generator=generator)]
    from affectnet_plus_modeling.training.augmentation import augment
    from affectnet_plus_modeling.training.options import Augmentation

    return augment(given[:, None], Augmentation())[:, 0]


@torch.inference_mode()
def logits(kind: str, made: nn.Module, given: Tensor) -> np.ndarray:
    """(n, classes) float64 of each face as it is."""
    parts = [made(part[:, 0] if kind == "hog" else part) for part in given.split(512)]
    return torch.cat(parts).double().numpy()


def kept(file: Path, make) -> dict[str, np.ndarray]:
    """The arrays of a file, made where it lacks: a killed benchmark goes on."""
    if not file.exists():
        found = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(file) as partial, open(partial, "wb") as stream:
            np.savez(stream, **found)
    with np.load(file, allow_pickle=False) as stored:
        return dict(stored)
