"""Pre-training on faces without labels: pictures in, a folder out that `train --from-pretrained` starts from.

The recipe is SimMIM (Xie et al. 2022, "SimMIM: a simple framework for masked image modeling"): of every picture, some
squares are hidden, and the model is to say what their pixels are; the loss is the mean absolute difference there. It
serves all our sizes alike. MAE (He et al. 2022) drops the hidden patches before the encoder, which saves time where
the encoder is what takes it. In mini and tiny that is the convolutional stem, which needs the whole grid; and MAE's
encoder in `transformers` has no stem and fixed positions, so that its weights would not fit what is trained later.
"""

import logging
import math
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import datasets
import numpy as np
import torch
import transformers
from accelerate import PartialState
from PIL import Image
from torch import Tensor
from transformers import TrainerCallback, TrainingArguments

from ..data.dataset import FaceDataset, about_faces, first_side, normalise, tell_left_out
from ..data.unlabelled import unlabelled
from ..files import fresh_folder, led_to, write_json, written_whole
from ..preparing.manifest import About
from ..stages import Progress, silent
from ..unfinished import remove
from ..vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels
from .arguments import training_arguments
from .augmentation import augment
from .card_callback import hardware
from .masked_model import MaskedFaceModel
from .masking import draw_masks, hide, pixel_masks
from .options import SIZES, patch_for
from .pretrain_options import PretrainingOptions
from .saving import save_processor
from .trainer import FaceTrainer
from .work_folder import claimed, gone_on_from

logger = logging.getLogger(__name__)

SHOWN, SHOWN_SIDE = 8, 144  # faces in the picture of reconstructions, and their least side in pixels


class Pictures(TypedDict):
    """What an encoder was trained on."""

    name: str
    origin: str | None
    faces: int
    left_out: int  # beside these faces: pictures that cannot be read


class PretrainingRecord(TypedDict):
    """What `pretrain` returns and pretraining.json holds."""

    options: dict[str, Any]
    images: Pictures
    parameters: int
    steps: int
    losses: list[float]  # of each epoch: mean absolute difference of the hidden values, of which the range is 2
    seconds: float
    processes: int
    hardware: str
    versions: dict[str, str]


def pretrain(
    images,
    out,
    options: PretrainingOptions = PretrainingOptions(),  # noqa: B008 (it is frozen)
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
    follow_links: bool = False,
    strict: bool = False,
    say: Callable[[str], None] = logger.warning,
) -> PretrainingRecord:
    """Train a stem and an encoder on the faces of `images`, and write them to the folder `out`.

    `AffectNetPlusForSoftLabels.from_faces(out)` starts from it. It holds no heads, so that nobody takes it for a model
    that knows expressions, and without a stem (small, base) it is a stock ViT, which `ViTModel.from_pretrained` loads.
    Beside it, not in it, is `<out>.reconstruction.png`: what the model makes of 8 of the faces. It shows people, so it
    is not to be published.

    Checkpoints live in `<out>.training` while the run goes on; `out` appears when it is complete. Under torchrun or
    `accelerate launch` every process calls this, and the first one writes.

    Args:
        images: what `unlabelled` takes, and how it takes `follow_links`.
        strict: a picture that cannot be read is an error, and not left out.
        say: told which pictures are left out, and from which step an interrupted run goes on.

    Returns:
        What is written as `pretraining.json`: options, counts, versions, the loss of every epoch.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false, or another process is training it.
        FileNotFoundError: there is no picture, or no run to resume.
        OSError: `strict`, and a picture cannot be read; the message names it.
        ValueError: not one picture can be read, sizes do not divide, too little or too much would be hidden, the
            interrupted run had other options or data, or the loss is no number any more.
    """
    out = led_to(out).resolve()  # checkpoints record their path, and a run may be resumed from another folder
    work = out.with_name(out.name + ".training")
    processes = PartialState(cpu=not torch.cuda.is_available())
    found: list[tuple[str, str]] = []
    pictures = unlabelled(images, options.views, follow_links, None if strict else found)
    options = _decided(options, pictures)
    draw_masks(0, **_masks(options))  # a ratio that cannot be is refused before anything is read or written
    known = _source(images)
    source = {"source of the pictures": known["fingerprint"] if known else None, "pictures": len(pictures)}
    with claimed(out, work, options, source, resume, overwrite, processes) as options:
        transformers.set_seed(options.seed)
        every = FaceDataset(pictures, _known(options.image_size), progress=progress, lenient=not strict)
        faces = every.readable()
        said = say if processes.is_main_process else lambda text: None
        left_out = tell_left_out(found + every.left_out(), said)
        model = _model(options)
        trainer = MaskedFaceTrainer(model, options, args=_arguments(work, options), train_dataset=faces)
        if processes.process_index:  # else all processes would hide the same squares
            torch.manual_seed(options.seed + 1_000_003 * processes.process_index)
        trainer.train(resume_from_checkpoint=gone_on_from(work, said))
        record = _record(images, options, len(faces), left_out, trainer)
        if processes.is_main_process:
            with written_whole(out.with_name(out.name + ".reconstruction.png")) as path:
                _reconstructions(model, faces, options).save(path, "PNG")
            with fresh_folder(out, overwrite) as folder:
                save_encoder(model, folder)
                write_json(folder / "pretraining.json", record)
            remove(work)
    processes.wait_for_everyone()
    return record


class MaskedFaceTrainer(FaceTrainer):
    """`FaceTrainer` that hides squares of every batch, on its device, and stops when the loss is no number."""

    def __init__(self, model: MaskedFaceModel, options: PretrainingOptions, **others):
        super().__init__(partial(augment, strength=options.augmentation), model=model, **others)
        self._masks = _masks(options)
        self.add_callback(_StopUnlessFinite())

    def _changed(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        pictures = super()._changed(batch)["pixel_values"]
        return {"pixel_values": pictures, "masks": draw_masks(len(pictures), **self._masks, device=pictures.device)}


class _StopUnlessFinite(TrainerCallback):
    """The log is written after every epoch, before its checkpoint, which is then not written."""

    def on_log(self, args, state, control, logs: dict[str, float], **_):
        if not math.isfinite(logs.get("loss", 0.0)):
            raise ValueError(
                f"the loss is no number any more at step {state.global_step} of {state.max_steps}. Checkpoints of "
                f"earlier epochs stay in {args.output_dir}. Begin anew with a lower --learning-rate, or --bf16 no"
            )


# --- the run ---------------------------------------------------------------------------------------------------------


def _decided(options: PretrainingOptions, pictures: datasets.Dataset) -> PretrainingOptions:
    """The options with everything that was left to the data decided, as the record has them."""
    size = options.image_size or first_side(pictures)
    patch = options.patch_size or patch_for(size)
    if size % patch:
        raise ValueError(f"a picture of {size} pixels cannot be divided into patches of {patch}; choose another size")
    # SimMIM: squares of 32 pixels in a picture of 192 teach more than smaller ones, so 6 or 7 along a side.
    square = options.mask_size or (2 * patch if size // patch >= 12 and size % (2 * patch) == 0 else patch)
    if square % patch or size % square:
        raise ValueError(f"mask_size is {square}; it must be a multiple of {patch}, the patch, that divides {size}")
    return replace(options, image_size=size, patch_size=patch, mask_size=square)


def _known(number: int | None) -> int:
    """A number that `_decided` has put in the place of None."""
    assert number is not None
    return number


def _masks(options: PretrainingOptions) -> dict:
    patch = _known(options.patch_size)
    side, unit = _known(options.image_size) // patch, _known(options.mask_size) // patch
    return {"side": side, "unit": unit, "ratio": options.mask_ratio}


def _model(options: PretrainingOptions) -> MaskedFaceModel:
    config = AffectNetPlusConfig(
        **SIZES[options.size], image_size=_known(options.image_size), patch_size=_known(options.patch_size)
    )
    model = MaskedFaceModel(config)
    if not torch.cuda.is_available():
        model.set_attn_implementation("eager")  # the faster one in training on a CPU, as measured in `train`
    return model


def _arguments(work: Path, options: PretrainingOptions) -> TrainingArguments:
    return training_arguments(
        work,
        options.epochs,
        options.batch_size,
        options.learning_rate,
        options.bf16,
        weight_decay=options.weight_decay,
        warmup_steps=options.warmup,
        save_total_limit=2,
        restore_callback_states_from_checkpoint=True,  # the clock
        torch_compile=options.compile,
        seed=options.seed,
    )


def _source(images) -> About | None:
    """What is known of where pictures are from; nothing of those that are told one by one."""
    return about_faces(images) if isinstance(images, (str, os.PathLike, datasets.Dataset)) else None


def _record(
    images, options: PretrainingOptions, faces: int, left_out: int, trainer: MaskedFaceTrainer
) -> PretrainingRecord:
    source = _source(images)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "options": asdict(options),
        "images": {
            "name": source["name"] if source else f"{faces} pictures",
            "origin": source["origin"] if source else None,
            "faces": faces,
            "left_out": left_out,
        },
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "steps": trainer.state.global_step,
        "losses": losses,
        "seconds": round(trainer.seconds, 1),
        "processes": trainer.args.world_size,
        "hardware": hardware(trainer.args.use_cpu),
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "datasets": datasets.__version__,
        },
    }


# --- what is written -------------------------------------------------------------------------------------------------


def save_encoder(model: MaskedFaceModel, folder: Path) -> None:
    """Write stem and encoder under the names of `AffectNetPlusForSoftLabels`, with configuration and processor."""
    encoder = {
        name: value
        for name, value in model.state_dict().items()
        if name.startswith(("stem.", "vit.")) and name != "vit.embeddings.mask_token"
    }
    AffectNetPlusForSoftLabels(model.config).save_pretrained(folder, state_dict=encoder)
    save_processor(model.config.image_size, folder)


@torch.inference_mode()
def _reconstructions(model: MaskedFaceModel, faces: FaceDataset, options: PretrainingOptions) -> Image.Image:
    """A column for each of up to 8 faces, spread over all: as it is, what is seen of it, and the hidden filled in."""
    transformers.set_seed(options.seed)
    rows = np.linspace(0, len(faces) - 1, min(SHOWN, len(faces))).round().astype(int).tolist()
    values = normalise(faces.batch(rows)["pixels"].to(model.device))
    masks = draw_masks(len(rows), **_masks(options), device=model.device)
    hidden = pixel_masks(masks, model.config.patch_size)
    filled = torch.where(hidden, model.eval()(values, masks).reconstruction, values)
    sheet = torch.stack([values, hide(values, hidden), filled]).float().cpu()  # (3, faces, channels, size, size)
    pixels = sheet.add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 3, 1, 4, 2).numpy()
    height, width = 3 * values.shape[2], len(rows) * values.shape[3]
    factor = -(-SHOWN_SIDE // values.shape[2])
    picture = Image.fromarray(np.ascontiguousarray(pixels).reshape(height, width, 3))
    return picture.resize((factor * width, factor * height), Image.Resampling.NEAREST)
