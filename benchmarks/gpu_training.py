"""Training of many small models at once on one GPU, each step a CUDA graph; on a CPU the same steps, one by one.

The options, the changes of the pictures, the mixtures, the losses, the groups of parameters and the model are those of
`affectnet-plus train`; what is other is the loop: faces lie on the GPU, a step is recorded once and replayed, and
several runs take turns on streams of their own, so that their small kernels fill the GPU together.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from affectnet_plus_modeling.training.augmentation import augment
from affectnet_plus_modeling.training.options import TrainingOptions
from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from affectnet_plus_modeling.vit.losses import soft_label_loss, valence_arousal_loss

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Run:
    """One training.

    name: of its files.
    options: as `affectnet-plus train` takes them; `size` is not used, `shape` stands in its place.
    shape: of the network, options of `AffectNetPlusConfig`.
    max_grad_norm: gradients longer than this are shortened to it.
    faces: "all" trains on every training face, "most" holds 5 % back, which then are measured too; "drawn" trains on
        drawn faces, with valence and arousal.
    start: name of a run whose weights, but for the heads, are the start.
    teachers: names of runs whose mean answer to the same changed pictures is mixed into the votes.
    teaching: the share of the teachers' answer.
    """

    name: str
    options: TrainingOptions
    shape: dict = field(default_factory=dict)
    max_grad_norm: float = 2.0
    faces: str = "all"
    start: str | None = None
    teachers: tuple[str, ...] = ()
    teaching: float = 0.7


class Training:
    """A run on one device: `epoch()` goes on by one, `averaged()` is the model with its averaged weights.

    Args:
        run: what to do.
        faces: `pixels` (n, side, side) uint8 grey, `soft_labels` (n, 8), and for drawn faces `valence_arousal`.
        models: finished models by name, for `start` and `teachers`.
        device: cuda or cpu.
    """

    def __init__(self, run: Run, faces: dict[str, Tensor], models: dict[str, nn.Module], device: torch.device):
        self.run, self.faces, self.device = run, faces, device
        self.options = options = run.options
        self.steps_of_epoch = max(len(faces["pixels"]) // options.batch_size, 1)
        self.batch_size = min(options.batch_size, len(faces["pixels"]))
        self.epochs = int(options.epochs)
        self.steps = torch.zeros((), device=device)  # of the whole run; a tensor, for a graph has its numbers for good
        self.fit(self.epochs)
        self.done = 0  # epochs
        self.seconds = 0.0
        torch.manual_seed(options.seed)
        self.generator = torch.Generator().manual_seed(options.seed)
        config = AffectNetPlusConfig(
            **run.shape,
            image_size=faces["pixels"].shape[-1],
            patch_size=8,
            loss=options.loss,
            label_smoothing=options.label_smoothing,
            drop_path_rate=options.drop_path,
            classifier_dropout=options.classifier_dropout,
            valence_arousal_weight=1.0 if "valence_arousal" in faces else 0.0,
        )
        self.model = AffectNetPlusForSoftLabels(config).to(device, memory_format=torch.channels_last)
        if run.start:
            self._start_from(models[run.start])
        self.average = AffectNetPlusForSoftLabels(config).to(device, memory_format=torch.channels_last).eval()
        self.average.load_state_dict(self.model.state_dict())
        weights = options.class_weights
        self.class_weights = None if weights is None else torch.tensor(weights, device=device)
        self.teachers = [models[name] for name in run.teachers]
        self.stream = torch.cuda.Stream() if device.type == "cuda" else None
        self.order = torch.zeros(self.steps_of_epoch * self.batch_size, dtype=torch.long, device=device)
        self.places = torch.arange(self.batch_size, device=device)
        self.step = torch.zeros((), dtype=torch.long, device=device)  # of the run
        self.total_loss = torch.zeros((), device=device)
        self.rate = torch.zeros((), device=device)
        self.optimizer = torch.optim.AdamW(self._groups(), lr=self.rate, fused=device.type == "cuda")
        if device.type == "cuda":
            for group in self.optimizer.param_groups:
                group["capturable"] = True
        self.graph: torch.cuda.CUDAGraph | None = None

    def fit(self, epochs: int) -> None:
        """Make the schedule end after that many epochs."""
        self.epochs = epochs
        self.steps.fill_(epochs * self.steps_of_epoch)

    def _start_from(self, source: nn.Module) -> None:
        taken = {name: value for name, value in source.state_dict().items() if name.startswith(("stem.", "vit."))}
        self.model.load_state_dict(self.model.state_dict() | taken)

    def _groups(self) -> list[dict]:
        kinds: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for name, value in self.model.named_parameters():
            if self.run.faces != "drawn" and name.startswith("valence_arousal"):
                value.requires_grad_(False)  # no face says anything of it
                continue
            decays = value.ndim > 1 and not name.endswith(("position_embeddings", "cls_token"))
            kinds[decays].append(value)
        decay = self.options.weight_decay
        return [{"params": kinds[True], "weight_decay": decay}, {"params": kinds[False], "weight_decay": 0.0}]

    # --- one step ----------------------------------------------------------------------------------------------------

    def _one_step(self) -> None:
        options = self.options
        place = self.step % self.steps_of_epoch * self.batch_size
        rows = self.order[place + self.places]
        pixels = self.faces["pixels"][rows][:, None].float() / 127.5 - 1
        pictures = augment(pixels, options.augmentation)
        targets = self.faces["soft_labels"][rows]
        if options.mixup or options.cutmix:
            pictures, targets = mixed(pictures, targets, options.mixup, options.cutmix)
        pictures = pictures.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        with self._autocast():
            if self.teachers:
                with torch.no_grad():
                    answers = [teacher(pictures).logits.float().softmax(-1) for teacher in self.teachers]
                targets = targets.lerp(torch.stack(answers).mean(0), self.run.teaching)
            output = self.model(pictures)
        loss = soft_label_loss(
            output.logits.float(), targets, self.class_weights, options.label_smoothing, kind=options.loss
        )
        if self.run.faces == "drawn":
            affect = self.faces["valence_arousal"][rows]
            loss = loss + valence_arousal_loss(output.valence_arousal.float(), affect)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.run.max_grad_norm, foreach=True)
        self._set_rate()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        self._update_average()
        self.total_loss += loss.detach()
        self.step += 1

    def _autocast(self):
        # Cached casts would be of weights as they were when the graph was recorded.
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False)

    def _set_rate(self) -> None:
        """Linear warm-up and a cosine down to 0, as in `transformers`; computed on the device."""
        warmup = (self.options.warmup * self.steps).clamp(min=1)
        rising = self.step / warmup
        share = ((self.step - warmup) / (self.steps - warmup).clamp(min=1)).clamp(0, 1)
        falling = (1 + (math.pi * share).cos()) / 2
        self.rate.copy_(self.options.learning_rate * torch.where(self.step < warmup, rising, falling))

    @torch.no_grad()
    def _update_average(self) -> None:
        step = self.step + 1
        weight = 1 - ((1 + step) / (10 + step)).clamp(max=self.options.average)
        own = [value for value in self.model.state_dict().values() if value.is_floating_point()]
        average = [value for value in self.average.state_dict().values() if value.is_floating_point()]
        changes = torch._foreach_sub(own, average)
        torch._foreach_mul_(changes, weight)
        torch._foreach_add_(average, changes)

    # --- many steps --------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Record a step. The recorded ones before it are undone."""
        if self.stream is None:
            return
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self._shuffle()
            for _ in range(3):
                self._one_step()
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.stream):
            self._one_step()
        torch.cuda.synchronize()
        self.model.load_state_dict(before)
        self.average.load_state_dict(before)
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()
        self.step.zero_()
        self.total_loss.zero_()

    def _shuffle(self) -> None:
        order = torch.randperm(len(self.faces["pixels"]), generator=self.generator)[: len(self.order)]
        self.order.copy_(order.to(self.device))

    def begin_epoch(self) -> None:
        with torch.cuda.stream(self.stream):  # nothing where there is none
            self._shuffle()

    def go_on(self) -> None:
        """One step; on a GPU it returns before it is done."""
        self.model.train()
        if self.graph is None:
            self._one_step()
        else:
            with torch.cuda.stream(self.stream):
                self.graph.replay()

    def averaged(self) -> nn.Module:
        return self.average


def mixed(pictures: Tensor, targets: Tensor, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """`mixup.mix` where every target is known: nothing depends on the data, and a graph can hold it."""
    from affectnet_plus_modeling.training import mixup as mixture

    kept = mixture._kept(pictures, mixup, cutmix)
    shares = kept.mean(dim=(1, 2))
    pictures = pictures.roll(-1, 0).lerp(pictures, kept[:, None])
    return pictures, targets.roll(-1, 0).lerp(targets, shares[:, None])


def train_together(
    trainings: list[Training], deadline: float, say: Callable[[str], None], measure: Callable[[Training], str]
) -> None:
    """Train all of them side by side, epoch after epoch.

    Where the first epoch tells that they will not end before the deadline (of time.time), their schedules are
    shortened alike, so that each ends as it should, and it is said.
    """
    left = []
    for training in trainings:
        began = time.time()
        try:
            training.prepare()
        except RuntimeError as error:  # the minutes of a lent GPU are not to be lost to one run of many
            say(f"{training.run.name}: left out: {error}")
            continue
        say(f"{training.run.name}: recorded in {time.time() - began:.1f} s, {training.epochs} epochs")
        left.append(training)
    began, reported = time.time(), time.time()
    epoch = 0
    while left:
        _one_epoch(left)
        epoch += 1
        for training in left:
            training.done += 1
            training.seconds = time.time() - began
        if epoch == 2:
            _shorten(left, time.time() - began, deadline, say)
        if time.time() - reported > 15:
            reported = time.time()
            say(f"after {reported - began:.0f} s: " + "; ".join(f"{t.run.name} {t.done}: {measure(t)}" for t in left))
        left = [training for training in left if training.done < training.epochs]


def _one_epoch(trainings: list[Training]) -> None:
    for training in trainings:
        training.begin_epoch()
    for step in range(max(training.steps_of_epoch for training in trainings)):
        for training in trainings:
            if step < training.steps_of_epoch:
                training.go_on()
    if trainings[0].stream is not None:
        torch.cuda.synchronize()


def _shorten(trainings: list[Training], seconds: float, deadline: float, say: Callable[[str], None]) -> None:
    """After two epochs of all, which took that long."""
    longest = max(training.epochs for training in trainings)
    fitting = 2 + int(0.92 * (deadline - time.time()) / (seconds / 2))
    say(f"{seconds / 2:.2f} s an epoch of all {len(trainings)}; {fitting} epochs fit before the deadline")
    if fitting < longest:
        for training in trainings:
            training.fit(max(3, int(training.epochs * fitting / longest)))


@torch.no_grad()
def probabilities(models: list[nn.Module], pixels: Tensor, mirror: bool) -> Tensor:
    """(n, 8) mean probabilities of the models, in float32, of a face and with `mirror` its mirror image too."""
    found = []
    for some in pixels.split(1024):
        pictures = (some[:, None].float() / 127.5 - 1).expand(-1, 3, -1, -1)
        views = [pictures, pictures.flip(-1)] if mirror else [pictures]
        answers = [model(view).logits.float().softmax(-1) for model in models for view in views]
        found.append(torch.stack(answers).mean(0))
    return torch.cat(found)


def figures(found: Tensor, soft_labels: Tensor, labels: Tensor, in_b: Tensor | None) -> dict[str, float]:
    """Accuracy on protocols A and B, balanced accuracy, KL(votes || .999 p + .001/8), ECE, and recalls."""
    p, t, y = (values.double().cpu().numpy() for values in (found, soft_labels, labels))
    y = y.astype(int)
    right = p.argmax(1) == y
    recalls = {name: right[y == k].mean() if (y == k).any() else math.nan for k, name in enumerate(NAMES)}
    kl = np.where(t > 0, t * np.log(np.where(t > 0, t, 1) / (0.999 * p + 0.001 / 8)), 0).sum(1)
    confidence = p.max(1)
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in set(bins)]
    result = {
        "accuracy_a": right.mean(),
        "balanced_a": np.nanmean(list(recalls.values())),
        "kl": kl.mean(),
        "ece": sum(gaps),
    } | {f"recall_{name}": recalls[name] for name in ("fear", "disgust", "contempt")}
    if in_b is not None:
        result["accuracy_b"] = right[in_b.cpu().numpy()].mean()
    return {name: round(float(value), 4) for name, value in result.items()}


NAMES = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")


@torch.no_grad()
def grey_only(model: AffectNetPlusForSoftLabels) -> None:
    """Make the first convolution take the luma of a picture, which of a grey one is the picture: the answers to grey
    pictures stay, and colours, which training never saw, no longer matter."""
    weight = model.stem[0].convolution.weight
    weight.copy_(weight.sum(1, keepdim=True) * torch.tensor(LUMA, device=weight.device)[:, None, None])
