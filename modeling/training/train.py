"""One training run: prepared data in, a model folder out."""

import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import torch
import transformers
from accelerate import PartialState
from transformers import TrainingArguments

from ..checkpoints import check_start, read_config
from ..data.dataset import about_faces, tell_left_out
from ..files import fresh_folder, led_to, write_json
from ..loading import in_a_sentence
from ..metrics.soft_label.formulas import kl_divergence
from ..preparing.manifest import About
from ..shipped import model_folder
from ..stages import Progress, silent
from ..unfinished import remove
from ..vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from ..vit.losses import soft_label_loss, valence_arousal_loss
from .arguments import training_arguments
from .card_callback import CardCallback, RunFacts
from .faces import TrainingFaces, training_faces
from .options import SIZES, TrainingOptions, patch_for
from .saving import save_model
from .soft_label_trainer import SoftLabelTrainer
from .trainer import facts_of_the_clock, facts_of_the_run
from .work_folder import claimed, gone_on_from

logger = logging.getLogger(__name__)

LARGE_GB = 4.0  # of a batch's attention, from which on it is said before a run that did not choose it


class TrainingFacts(TypedDict):
    """What was trained, on what, and how it went: the same however often the run was interrupted."""

    options: dict[str, Any]
    data: About
    emotions: list[str]
    training_faces: int
    left_out: int  # faces of the splits whose picture cannot be decoded
    never_drawn: int  # of the training faces: their target is not known
    choosing_faces: int
    rows: dict[str, int]  # of each split
    train_mean_soft_label: list[float] | None
    parameters: int
    steps: int
    best_step: int | None
    best_objective: float | None
    log: list[dict[str, Any]]


class TrainingRecord(TrainingFacts, RunFacts):
    """What `train` returns and training.json holds. `clock` and `RunFacts` are of the machine and the day."""

    clock: dict[str, Any]  # see `facts_of_the_clock`


def train(
    data,
    out,
    options: TrainingOptions = TrainingOptions(),  # noqa: B008 (it is frozen)
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
    strict: bool = False,
    say: Callable[[str], None] = logger.warning,
) -> TrainingRecord:
    """Train on the prepared faces `data`, as `load_prepared` takes them, and write the model folder `out`.

    Checkpoints live in `<out>.training` while the run goes on, and the same command goes on from there after an
    interruption, as `unfinished` says; `out` appears when it is complete. The checkpoint
    with the lowest loss over all choosing faces together (see `TrainingOptions.holdout`) is the one that is kept.
    Under torchrun or `accelerate launch` every process calls this, and the first one writes.

    Args:
        strict: a face whose picture cannot be decoded is an error, and not left out.
        say: told which faces are left out, and from which step an interrupted run goes on.

    Returns:
        What is written as `training.json`: options, counts, versions, the mean soft label of the training faces.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false, or another process is training it.
        FileNotFoundError: `data` is no prepared folder, or there is no run to resume.
        OSError: `strict`, and a picture cannot be decoded; the message names it.
        ValueError: the data has no train split, no validation split where `holdout` is 0, no known target, or a class
            that no target has; the interrupted run had other options or data; the loss is no number any more.
    """
    out = led_to(out).resolve()  # checkpoints record their path, and a run may be resumed from another folder
    work = out.with_name(out.name + ".training")
    processes = PartialState(cpu=not torch.cuda.is_available())
    faces = training_faces(data, options)
    size = options.image_size or faces.first_side()
    if processes.is_main_process and (words := large_for(options, size)):
        logger.warning(words)
    decided, source = _decided(options, size), faces.identity(processes.num_processes)
    with claimed(out, work, decided, source, resume, overwrite, processes) as options:
        transformers.set_seed(options.seed)
        read = faces.read(size, progress, strict, processes)
        tell = say if processes.is_main_process else lambda text: None
        tell_left_out((before := faces.unreadable).items(), tell)
        model = _model(options, size, faces.names, read.knows_affect)
        trainer = SoftLabelTrainer(
            model,
            options,
            read.order,
            args=_arguments(work, options, faces.epochs()),
            train_dataset=read.training,
            eval_dataset=read.choosing,
            compute_metrics=partial(_metrics, config=model.config),
            callbacks=[card := CardCallback()],
        )
        if processes.process_index:  # else all processes would change their faces by the same draws
            torch.manual_seed(options.seed + 1_000_003 * processes.process_index)
        trainer.train(resume_from_checkpoint=gone_on_from(work, tell), ignore_keys_for_eval=[])
        faces.close()
        tell_left_out([face for face in faces.unreadable.items() if face[0] not in before], tell)
        facts = _facts(data, options, faces, trainer)
        clock = facts_of_the_clock(trainer.clock, trainer.state.log_history)
        record: TrainingRecord = {**facts, **card.facts(trainer.seconds), "clock": clock}
        processes.wait_for_everyone()  # the best checkpoint is read by all, and then it goes
        if processes.is_main_process:
            with fresh_folder(out, overwrite) as folder:
                _forget_how_it_was_trained(model.config)
                save_model(model, size, folder)
                write_json(folder / "training.json", record)
            remove(work)
    processes.wait_for_everyone()
    return record


def large_for(options: TrainingOptions, size: int) -> str | None:
    """What is to be said before a checkpoint is trained on pictures that nobody chose the size of, if it is large.

    Every token of a face is compared with every other, in each layer and head, and that is kept for the way back.

    Args:
        size: of the pictures, in pixels.
    """
    start = _start(options)
    if options.image_size is not None or start is None or not Path(folder := model_folder(start)).is_dir():
        return None
    config = read_config(folder)
    layers, heads = config.get("num_hidden_layers", 12), config.get("num_attention_heads", 12)  # as ViTConfig has them
    patch, own = config.get("patch_size", 16), config.get("image_size", 224)

    def memory(side: int) -> float:
        return options.batch_size * layers * heads * ((side // patch) ** 2 + 1) ** 2 * 4 / 1e9

    if memory(size) < LARGE_GB:
        return None
    return (
        f"the pictures are {size} pixels a side: a batch of {options.batch_size} takes about {memory(size):,.0f} GB "
        f"for attention alone. --image-size {own}, which {start} was trained with, takes {memory(own):,.1f}"
    )


# --- the run ---------------------------------------------------------------------------------------------------------


def _decided(options: TrainingOptions, size: int) -> TrainingOptions:
    """The options with everything that was left to the data or the device decided, as the record has them."""
    patch = options.patch_size or patch_for(size)
    return replace(options, image_size=size, patch_size=None if _start(options) else patch)


def _start(options: TrainingOptions) -> str | None:
    return options.from_vit or options.from_pretrained


# --- the model -------------------------------------------------------------------------------------------------------


def _model(
    options: TrainingOptions, size: int, names: tuple[str, ...], knows_affect: bool
) -> AffectNetPlusForSoftLabels:
    shared = {
        "id2label": dict(enumerate(names)),
        "image_size": size,
        "loss": options.loss,
        "label_smoothing": options.label_smoothing,
        "class_weights": None if options.class_weights is None else list(options.class_weights),
        "drop_path_rate": options.drop_path,
        "classifier_dropout": options.classifier_dropout,
        # A weight of 0 says for good that this head was never trained, so that nobody reads its output.
        "valence_arousal_weight": options.valence_arousal_weight if knows_affect else 0.0,
    }
    if start := _start(options):
        begin = AffectNetPlusForSoftLabels.from_vit if options.from_vit else AffectNetPlusForSoftLabels.from_faces
        folder = model_folder(start)
        with in_a_sentence(start):
            if Path(folder).is_dir():
                check_start(folder)
            model = begin(folder, **shared)
    else:
        config = AffectNetPlusConfig(**SIZES[options.size], patch_size=options.patch_size, **shared)
        model = AffectNetPlusForSoftLabels(config)
    if not torch.cuda.is_available():
        # Measured: the backward pass of torch's fused attention for CPUs takes half of a step at 37 tokens.
        model.set_attn_implementation("eager")
    return model


def _forget_how_it_was_trained(config: AffectNetPlusConfig) -> None:
    """These belong to a training and its data, and training.json has them; the next one would take them silently."""
    config.class_weights, config.label_smoothing = None, 0.0


def _arguments(work: Path, options: TrainingOptions, epochs: float) -> TrainingArguments:
    return training_arguments(
        work,
        epochs,
        options.batch_size,
        options.learning_rate,
        options.bf16,
        per_device_eval_batch_size=2 * options.batch_size,
        gradient_accumulation_steps=options.accumulation,
        weight_decay=options.weight_decay,
        warmup_steps=options.warmup,
        max_grad_norm=options.max_grad_norm,
        eval_strategy="epoch",
        save_total_limit=2,
        restore_callback_states_from_checkpoint=True,  # the clock, and the patience of early stopping
        load_best_model_at_end=True,
        metric_for_best_model="objective",
        greater_is_better=False,
        label_names=["soft_labels", "valence_arousal"],
        torch_compile=options.compile,
        report_to=options.report_to,
        run_name=work.name.removesuffix(".training"),
        seed=options.seed,
    )


def _metrics(prediction, config: AffectNetPlusConfig) -> dict[str, float]:
    """Of all choosing faces together, so that it depends neither on batches nor on the number of processes.

    `objective` is the loss of training, on which the best checkpoint is chosen.
    """
    logits, affect, soft_labels, true_affect = (
        torch.from_numpy(values).double() for values in (*prediction.predictions, *prediction.label_ids)
    )
    objective = soft_label_loss(
        logits, soft_labels, config.class_weights, config.label_smoothing, kind=config.loss
    ) + config.valence_arousal_weight * valence_arousal_loss(affect, true_affect)
    known = ~soft_labels.isnan().any(dim=1)
    probabilities = logits[known].softmax(dim=1)
    agree = probabilities.argmax(dim=1) == soft_labels[known].argmax(dim=1)
    return {
        "objective": float(objective),
        "kl": float(kl_divergence(soft_labels[known].numpy(), probabilities.numpy()).mean()),
        "top_label": float(agree.double().mean()),
    }


# --- the record ------------------------------------------------------------------------------------------------------


def _facts(data, options: TrainingOptions, faces: TrainingFaces, trainer: SoftLabelTrainer) -> TrainingFacts:
    state, counts = trainer.state, faces.counts
    return {
        "options": asdict(options)
        | {name: _public_name(getattr(options, name)) for name in _CHECKPOINTS}
        | {"teachers": [_public_name(teacher) for teacher in options.teachers]},
        "data": about_faces(data),
        "emotions": list(faces.names),
        "training_faces": counts["training_faces"],
        "left_out": counts["left_out"],
        "never_drawn": faces.never_drawn,
        "choosing_faces": counts["choosing_faces"],
        "rows": faces.rows,
        "train_mean_soft_label": faces.mean_soft_label,
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "steps": state.global_step,
        "best_step": state.best_global_step,
        "best_objective": state.best_metric,
        "log": facts_of_the_run(state.log_history),
    }


_CHECKPOINTS = ("from_vit", "from_pretrained")


def _public_name(checkpoint: str | None) -> str | None:
    """A Hub name as it is, and of a folder its last part: the record is published, and a path tells of the machine."""
    return Path(checkpoint).name if checkpoint and Path(checkpoint).is_dir() else checkpoint
