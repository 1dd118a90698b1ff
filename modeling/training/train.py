"""One training run: prepared data in, a model folder out."""

import platform
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import torch
import transformers
from torch.utils.data import Subset
from transformers import TrainingArguments

from affectnet_plus import EMOTIONS

from ..evaluation.metrics import kl_divergence
from ..files import fresh_folder, refuse_existing, write_json
from ..vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from .augmentation import augment
from .faces import Faces, collate, load_prepared
from .options import SIZES, TrainingOptions
from .saving import save_processor
from .trainer import SoftLabelTrainer


def train(
    data,
    out,
    options: TrainingOptions,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[Iterable], Iterable] = iter,
) -> dict:
    """Train on the prepared folder `data` and write the model folder `out`.

    Checkpoints live in `<out>.training` while the run goes on; `out` appears when it is complete. The checkpoint
    with the lowest loss on the choosing faces (see `TrainingOptions.holdout`) is the one that is kept.

    Returns:
        What is written as `training.json`: options, counts, versions, the mean soft label of the training faces.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false, or an interrupted run is there and neither `resume`
            nor `overwrite` is given.
        FileNotFoundError: `data` is no prepared folder, or there is no run to resume.
        ValueError: the data has no train split, no validation split where `holdout` is 0, or no known target.
    """
    out = Path(out).resolve()  # checkpoints record their path, and a run may be resumed from another folder
    work = out.with_name(out.name + ".training")
    _claim(out, work, resume, overwrite)
    transformers.set_seed(options.seed)
    splits = load_prepared(data, options.view)
    if "train" not in splits or ("validation" not in splits and not options.holdout):
        raise ValueError(f"the data has the splits {list(splits)}; training needs train, and validation or --holdout")
    size = options.image_size or _first_side(splits["train"])
    every, training, choosing = _faces(splits, options, size, progress)
    trainer = SoftLabelTrainer(
        model=_model(options, size, knows_affect=not every.valence_arousal.isnan().all()),
        args=_arguments(work, options),
        augment=partial(augment, strength=options.augmentation),
        data_collator=collate,
        train_dataset=training,
        eval_dataset=choosing,
        compute_metrics=_metrics,
    )
    began = time.time()
    trainer.train(resume_from_checkpoint=newest_checkpoint(work))
    record = _record(options, size, splits, every, training, choosing, trainer, time.time() - began)
    with fresh_folder(out, overwrite) as folder:
        _save(trainer.model, size, record, folder)
    shutil.rmtree(work)
    return record


def _claim(out: Path, work: Path, resume: bool, overwrite: bool) -> None:
    refuse_existing(out, overwrite)
    if work.exists() and not resume:
        if not overwrite:
            advice = "Pass --resume to go on, or --overwrite to begin anew"
            raise FileExistsError(f"{work} holds an interrupted run. {advice}")
        shutil.rmtree(work)
    if resume and not work.exists():
        raise FileNotFoundError(f"{work} does not exist, so there is no run to resume. Start without --resume")


def newest_checkpoint(work: Path) -> str | None:
    """The newest whole checkpoint, for its state is written last; None at the very beginning of a run."""
    whole = [state.parent for state in work.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]))) if whole else None


def _first_side(split: datasets.Dataset) -> int:
    """The longer side of the first picture, in pixels: what the faces of one source have in common."""
    return max(split[0]["image"].size)


def _faces(splits, options: TrainingOptions, size: int, progress) -> tuple[Faces, Subset, Subset]:
    """The train split, and of it the faces to train on, and the faces that choose the best checkpoint."""
    every = Faces(splits["train"], size, options.target, progress)
    other = every if options.holdout else Faces(splits["validation"], size, options.target, progress)
    rows, chosen = list(range(len(every))), list(range(len(other)))
    if options.holdout:
        order = np.random.default_rng(options.seed).permutation(len(every)).tolist()
        held = round(len(every) * options.holdout)
        rows, chosen = sorted(order[held:]), sorted(order[:held])
    _check_targets(every, rows, "to train on", options.target)
    _check_targets(other, chosen, "to choose the best checkpoint with", options.target)
    return every, Subset(every, rows), Subset(other, chosen)


def _check_targets(faces: Faces, rows: list[int], purpose: str, target: str) -> None:
    if faces.targets[rows].isnan().any(dim=1).all():
        raise ValueError(f"of the {len(rows)} faces {purpose}, none has a {target} label")


def _model(options: TrainingOptions, size: int, knows_affect: bool) -> AffectNetPlusForSoftLabels:
    shared = {
        "image_size": size,
        "label_smoothing": options.label_smoothing,
        "class_weights": None if options.class_weights is None else list(options.class_weights),
        # A weight of 0 says for good that this head was never trained, so that nobody reads its output.
        "valence_arousal_weight": options.valence_arousal_weight if knows_affect else 0.0,
    }
    if options.from_vit:
        model = AffectNetPlusForSoftLabels.from_vit(options.from_vit, **shared)
    else:
        patch = options.patch_size or (8 if size < 112 else 16)
        model = AffectNetPlusForSoftLabels(AffectNetPlusConfig(**SIZES[options.size], patch_size=patch, **shared))
    if not torch.cuda.is_available():
        # Measured: the backward pass of torch's fused attention for CPUs takes half of a step at 37 tokens.
        model.set_attn_implementation("eager")
    return model


def _arguments(work: Path, options: TrainingOptions) -> TrainingArguments:
    use_cpu = not torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(work),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=2 * options.batch_size,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        lr_scheduler_type="cosine",
        warmup_steps=options.warmup,
        max_grad_norm=1.0,
        bf16=bf16_is_faster() if options.bf16 is None else options.bf16,
        use_cpu=use_cpu,
        dataloader_num_workers=0 if use_cpu else 4,
        dataloader_pin_memory=not use_cpu,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        greater_is_better=False,
        logging_strategy="epoch",
        report_to="none",
        label_names=["soft_labels", "valence_arousal"],
        remove_unused_columns=False,
        seed=options.seed,
    )


def bf16_is_faster() -> bool:
    """Whether bfloat16 matrix products beat float32 on the device that will train, by a fifth or more."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return _product_seconds(torch.bfloat16) * 1.2 < _product_seconds(torch.float32)


def _product_seconds(dtype: torch.dtype) -> float:
    matrix = torch.ones(768, 768, dtype=dtype)
    seconds = []
    for _ in range(8):
        began = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _metrics(prediction) -> dict[str, float]:
    (logits, _), (soft_labels, _) = prediction.predictions, prediction.label_ids
    known = ~np.isnan(soft_labels).any(axis=1)
    probabilities = torch.tensor(logits[known]).double().softmax(dim=1).numpy()
    agree = probabilities.argmax(axis=1) == soft_labels[known].argmax(axis=1)
    return {"kl": float(kl_divergence(soft_labels[known], probabilities).mean()), "top_label": float(agree.mean())}


def _record(options, size, splits, every, training, choosing, trainer, seconds) -> dict:
    state = trainer.state
    return {
        "options": asdict(options) | {"image_size": size, "from_vit": _public_name(options.from_vit)},
        "bf16": trainer.args.bf16,
        "emotions": list(EMOTIONS),
        "training_faces": len(training),
        "choosing_faces": len(choosing),
        "rows": {split: len(data) for split, data in splits.items()},
        "train_mean_soft_label": every.mean_soft_label(),
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "steps": state.global_step,
        "best_step": state.best_global_step,
        "best_choosing_loss": state.best_metric,
        "seconds": round(seconds, 1),
        "hardware": hardware(trainer.args.use_cpu),
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "datasets": datasets.__version__,
        },
        "log": state.log_history,
    }


def _public_name(checkpoint: str | None) -> str | None:
    """A Hub name as it is, and of a folder its last part: the record is published, and a path tells of the machine."""
    return Path(checkpoint).name if checkpoint and Path(checkpoint).is_dir() else checkpoint


def hardware(use_cpu: bool) -> str:
    """What trains: the GPU, or so many threads of the processor."""
    if not use_cpu:
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"{threads} {platform.machine()} CPU thread{'s' * (threads > 1)}"


def _save(model, size: int, record: dict, folder: Path) -> None:
    model.save_pretrained(folder)
    save_processor(size, folder)
    write_json(folder / "training.json", record)
