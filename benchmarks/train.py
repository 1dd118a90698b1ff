"""How much of a bare training loop's speed `train` keeps, and how long it waits for its faces.

    python benchmarks/train.py WORK [--size mini] [--image-size 48] [--batch-size 128] [--rounds 5] [--steps 20]

Five ways of training the same model on the same drawn faces, in turns, with one clock: a bare PyTorch loop over
tensors that are normalised and on the device; our Trainer over the same tensors; our Trainer over the prepared folder,
with its changes of the pictures, decoded once as a small set is, or for each step as a large one; and over the same
folder as a stream. `speed` of a row is that of the bare loop's step over its own, from the medians of
the steps; `wait` is the share of a step in which the Trainer waits for the next batch.

On a GPU the model is compiled and runs in bfloat16, and two columns are added: `mfu`, the arithmetic of forward and
backward pass (torch's FlopCounterMode) per second of the whole step, as a share of what a product of two 8192 x 8192
matrices reaches in the same run, and `teraflops`, that product's own. `--size base --image-size 224` is ViT-B/16.
"""

import argparse
import time
from datetime import date
from pathlib import Path
from statistics import median

import torch
from measuring import RESULTS, commit, hardware, write_csv
from torch.utils.data import Subset
from torch.utils.flop_counter import FlopCounterMode
from transformers import TrainerCallback, get_cosine_schedule_with_warmup

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.data import dataset as dataset_module
from affectnet_plus_modeling.data.dataset import FaceDataset, load_prepared, normalise
from affectnet_plus_modeling.data.stream import FaceStream, StreamLoader, stream_prepared
from affectnet_plus_modeling.preparing import prepare
from affectnet_plus_modeling.sources.synthetic import draw_repeated_tree
from affectnet_plus_modeling.training import soft_label_trainer
from affectnet_plus_modeling.training import train as training
from affectnet_plus_modeling.training.arguments import reading_workers
from affectnet_plus_modeling.training.faces import order_of
from affectnet_plus_modeling.training.options import Augmentation, TrainingOptions

STILL = Augmentation(flip=0, rotation=0, scale=0, shift=0, contrast=0, brightness=0, erase=0)
COLUMNS = (
    "way",
    "size",
    "image_size",
    "batch_size",
    "step_ms",
    "faces_per_second",
    "speed",
    "wait",
    "mfu",
    "teraflops",
    "device",
    "hardware",
    "commit",
)
WARM = 5  # steps of each run that do not count: caches, autotuning, compilation
GPU = torch.cuda.is_available()
LABELS = {"soft_labels": "labels"}  # a name of our Trainer, and that of the model


WAYS = (
    "bare loop",
    "train, ready tensors",
    "train, prepared folder",
    "train, prepared folder, decoded for each step",
    "train, streamed folder",
)


class Ready(torch.utils.data.Dataset):
    """Faces as tensors that the model takes as they are; `change` of the Trainer finds nothing to do."""

    def __init__(self, faces: FaceDataset, rows: int):
        batch = faces.batch(list(range(rows)))
        self._batch = {"pixel_values": normalise(batch.pop("pixels")), **batch}
        if GPU:
            self._batch = {name: values.cuda() for name, values in self._batch.items()}

    def __len__(self) -> int:
        return len(self._batch["pixel_values"])

    def __getitems__(self, rows: list[int]) -> dict[str, torch.Tensor]:
        return {name: values[rows] for name, values in self._batch.items()}


class Watch(TrainerCallback):
    """When each step of a Trainer ended."""

    def __init__(self):
        self.ends: list[float] = []

    def on_step_end(self, args, state, control, **_):
        if GPU:
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


class WatchedTrainer(soft_label_trainer.SoftLabelTrainer):
    """Also says how long it waited for batches, and neither evaluates nor saves."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.watch, self.waits = Watch(), []
        self.add_callback(self.watch)

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        return super().get_batch_samples(self._timed(epoch_iterator), num_batches, device)

    def _timed(self, batches):
        while True:
            began = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self.waits.append(time.perf_counter() - began)
            yield batch


def options_of(arguments, augmentation: Augmentation, work: Path) -> TrainingOptions:
    chosen = TrainingOptions(
        size=arguments.size,
        image_size=arguments.image_size,
        batch_size=arguments.batch_size,
        augmentation=augmentation,
        bf16=GPU,
        compile=GPU,
    )
    return training._decided(chosen, arguments.image_size)


def trainer_of(faces: FaceDataset, dataset, options: TrainingOptions, steps: int, work: Path) -> WatchedTrainer:
    model = training._model(options, options.image_size, EMOTIONS, knows_affect=True)
    arguments = training._arguments(work, options, options.epochs)
    arguments.max_steps, arguments.disable_tqdm = steps, True
    arguments.eval_strategy = arguments.save_strategy = arguments.logging_strategy = "no"
    arguments.load_best_model_at_end = False
    if dataset.__class__ is Ready:
        arguments.dataloader_num_workers, arguments.dataloader_persistent_workers = 0, False
        arguments.dataloader_pin_memory = False
    stream = isinstance(dataset, StreamLoader)
    order = None if stream else order_of(faces, list(range(len(dataset))), options, 1)
    return WatchedTrainer(model, options, order, args=arguments, train_dataset=dataset)


def streamed(folder: Path, options: TrainingOptions, steps: int) -> StreamLoader:
    rows = stream_prepared(folder, "default")["train"]
    workers = reading_workers()
    size = options.image_size or 0
    return StreamLoader(
        FaceStream(rows, size, "soft", options.batch_size, 1000, workers=workers), steps, pin_memory=GPU
    )


def bare_steps(ready: Ready, options: TrainingOptions, steps: int) -> list[float]:
    """Seconds of each step of the shortest honest loop: the same model, loss, optimizer, schedule and clipping."""
    device = "cuda" if GPU else "cpu"
    torch.manual_seed(0)
    model = training._model(options, options.image_size, EMOTIONS, knows_affect=True).to(device).train()
    run = torch.compile(model) if GPU else model
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, 1, steps)
    seconds = []
    for step in range(steps):
        first = step * options.batch_size % (len(ready) - options.batch_size + 1)
        rows = slice(first, first + options.batch_size)
        began = time.perf_counter()
        batch = {LABELS.get(name, name): values[rows] for name, values in ready._batch.items()}
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bool(options.bf16)):
            loss = run(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if GPU:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return seconds[WARM:]


def trainer_steps(faces, dataset, options, steps: int, work: Path) -> tuple[list[float], float]:
    """Seconds of each step, and the share of them that was waiting for batches."""
    trainer = trainer_of(faces, dataset, options, steps, work)
    trainer.train()
    ends, waits = trainer.watch.ends, trainer.waits
    seconds = [after - before for before, after in zip(ends[WARM - 1 :], ends[WARM:])]
    return seconds, sum(waits[WARM:]) / sum(seconds)


def peak_flops() -> float:
    """Of a product of two large bfloat16 matrices, the best of 20."""
    one = torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda")
    best = 0.0
    for _ in range(20):
        torch.cuda.synchronize()
        began = time.perf_counter()
        one @ one
        torch.cuda.synchronize()
        best = max(best, 2 * 8192**3 / (time.perf_counter() - began))
    return best


def step_flops(ready: Ready, options: TrainingOptions) -> int:
    model = training._model(options, options.image_size, EMOTIONS, knows_affect=True).cuda().train()
    with FlopCounterMode(display=False) as counted:
        batch = {LABELS.get(name, name): values[: options.batch_size] for name, values in ready._batch.items()}
        model(**batch).loss.backward()
    return counted.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for the drawn faces")
    parser.add_argument("--size", default="mini")
    parser.add_argument("--image-size", type=int, default=48)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--faces", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=20, help="of each round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    work = arguments.work
    if not (work / "prepared").exists():
        draw_repeated_tree(work / "raw", arguments.faces, 0, 0.1, 0, False)
        prepare(work / "raw", work / "prepared", embed=True)
    rows = load_prepared(work / "prepared", "default", "train")
    faces = FaceDataset(rows, arguments.image_size)
    dataset_module.MEMORY_BYTES = 0
    decoding = FaceDataset(rows, arguments.image_size)
    ready = Ready(faces, len(faces))
    still, changing = (options_of(arguments, some, work) for some in (STILL, Augmentation()))
    steps = arguments.steps + WARM
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    waits: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(arguments.rounds):
        found["bare loop"] += bare_steps(ready, still, steps)
        for name, dataset, options in (
            ("train, ready tensors", ready, still),
            ("train, prepared folder", Subset(faces, range(len(faces))), changing),
            ("train, prepared folder, decoded for each step", Subset(decoding, range(len(faces))), changing),
            ("train, streamed folder", streamed(work / "prepared", changing, steps), changing),
        ):
            seconds, wait = trainer_steps(faces, dataset, options, steps, work / "run")
            found[name] += seconds
            waits[name].append(wait)
        said = ", ".join(f"{1e3 * median(values):.1f}" for values in found.values())
        print(f"round {turn + 1} of {arguments.rounds}: {said} ms")
    peak, flops = (peak_flops(), step_flops(ready, still)) if GPU else (None, None)
    bare = median(found["bare loop"])
    rows = [
        {
            "way": name,
            "size": arguments.size,
            "image_size": arguments.image_size,
            "batch_size": arguments.batch_size,
            "step_ms": 1e3 * median(seconds),
            "faces_per_second": arguments.batch_size / median(seconds),
            "speed": bare / median(seconds),
            "wait": median(waits[name]) if waits[name] else None,
            "mfu": flops / median(seconds) / peak if peak and flops else None,
            "teraflops": peak / 1e12 if peak else None,
            "device": torch.cuda.get_device_name() if GPU else "cpu",
            "hardware": hardware(),
            "commit": commit(),
        }
        for name, seconds in found.items()
    ]
    for row in rows:
        print({name: row[name] for name in ("way", "step_ms", "speed", "wait", "mfu")})
    name = f"train-{arguments.size}-{'gpu' if GPU else 'cpu'}-{date.today()}-{commit().rstrip('+')}.csv"
    write_csv(RESULTS / name, COLUMNS, rows)


if __name__ == "__main__":
    main()
