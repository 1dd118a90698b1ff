"""How fast ViT-S/16 and ViT-B/16 train and answer at 224 pixels on a GPU, beside its matrix-product peak.

    python gpu_throughput.py OUT [--wait FILE] [--tiny]

Writes OUT/throughput.json. With --wait it compiles and warms up at once, and measures when FILE exists, so that the
compiler's minutes pass while the GPU does something else. Model FLOPs are those of the matrix products, forward and
twice backward, without what recomputation or augmentation would add.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import ViTImageProcessor, pipeline

from affectnet_plus_modeling.training.options import SIZES
from affectnet_plus_modeling.vit import AffectNetPlusConfig, AffectNetPlusForSoftLabels

BATCHES = {"small": 512, "base": 256}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--wait", type=Path)
    parser.add_argument("--tiny", action="store_true", help="small numbers, to try it on a CPU")
    options = parser.parse_args()
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    torch.set_float32_matmul_precision("high")
    ready = {}
    for size in ("small", "base"):
        model = model_of(size, 32 if options.tiny else 224).to(device)
        step = training_step(model, 4 if options.tiny else BATCHES[size], device, compiled=not options.tiny)
        for _ in range(1 if options.tiny else 4):
            step()
        ready[size] = model, step
        print(f"throughput: {size} is warm", flush=True)
    while options.wait and not options.wait.exists():
        time.sleep(0.1)
    peak = matrix_peak(device, 256 if options.tiny else 8192)
    rows = []
    for size, (model, step) in ready.items():
        rows.append(measure_training(size, model, step, 4 if options.tiny else BATCHES[size], peak))
        print("throughput:", json.dumps(rows[-1]), flush=True)
    answers = []
    for size, (model, _) in ready.items():
        answers.append(measure_inference(size, model, device, options.tiny))
        print("throughput:", json.dumps(answers[-1]), flush=True)
    result = {
        "device": torch.cuda.get_device_name() if cuda else "CPU",
        "torch": torch.__version__,
        "matrix_peak_tflops": peak,
        "training": rows,
        "inference": answers,
    }
    (options.out / "throughput.json").write_text(json.dumps(result, indent=2))


def model_of(size: str, image_size: int) -> AffectNetPlusForSoftLabels:
    return AffectNetPlusForSoftLabels(AffectNetPlusConfig(**SIZES[size], image_size=image_size, patch_size=16))


def training_step(model, batch: int, device: torch.device, compiled: bool):
    """A step of AdamW on fixed random faces, forward and backward in bfloat16."""
    config = model.config
    faces = torch.randn(batch, 3, config.image_size, config.image_size, device=device)
    targets = torch.randn(batch, config.num_labels, device=device).softmax(-1)
    affect = torch.rand(batch, 2, device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device.type == "cuda")
    run = torch.compile(model) if compiled else model

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = run(pixel_values=faces, labels=targets, valence_arousal=affect).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def forward_flops(config: AffectNetPlusConfig) -> float:
    """Of the matrix products of one face: patches, projections, attention and MLP; a multiply-add counts two."""
    tokens = (config.image_size // config.patch_size) ** 2 + 1
    width, inner = config.hidden_size, config.intermediate_size
    patches = 2 * (tokens - 1) * width * config.num_channels * config.patch_size**2
    layer = 2 * tokens * (4 * width**2 + 2 * width * inner) + 4 * tokens**2 * width
    return patches + config.num_hidden_layers * layer


def seconds_of(action, repeats: int) -> float:
    """Median seconds of one call, measured in three rounds."""
    rounds = []
    for _ in range(3):
        synchronize()
        began = time.perf_counter()
        for _ in range(repeats):
            action()
        synchronize()
        rounds.append((time.perf_counter() - began) / repeats)
    return sorted(rounds)[1]


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matrix_peak(device: torch.device, side: int) -> float:
    """TFLOP/s of a bfloat16 matrix product of random numbers."""
    a, b = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    for _ in range(3):
        a @ b
    return 2 * side**3 / seconds_of(lambda: a @ b, 20 if side > 1000 else 1) / 1e12


def measure_training(size: str, model, step, batch: int, peak: float) -> dict:
    model.train()
    seconds = seconds_of(step, 10 if torch.cuda.is_available() else 1)
    flops = 3 * forward_flops(model.config) * batch / seconds / 1e12
    return {"size": size, "batch": batch, "images_per_second": batch / seconds, "tflops": flops, "mfu": flops / peak}


@torch.inference_mode()
def measure_inference(size: str, model, device: torch.device, tiny: bool) -> dict:
    """Faces a second from PIL images in memory: the stock pipeline, the model's own one, and batches of tensors."""
    model.eval()
    side = model.config.image_size
    random = np.random.default_rng(0)
    count = 8 if tiny else 2048
    faces = [Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(count)]
    processor = ViTImageProcessor(
        size={"height": side, "width": side}, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_resize=False
    )
    batch = 4 if tiny else 256
    found: dict = {"size": size}
    for name, task, dtype in (
        ("stock_pipeline_float32", "image-classification", torch.float32),
        ("stock_pipeline_bfloat16", "image-classification", torch.bfloat16),
    ):
        ask = pipeline(task, model=model.to(dtype), image_processor=processor, device=device, dtype=dtype)
        list(ask(faces[:batch], batch_size=batch))
        began = time.perf_counter()
        list(ask(faces, batch_size=batch))
        found[name] = count / (time.perf_counter() - began)
    pixels = torch.from_numpy(np.stack([np.asarray(face) for face in faces]))
    for name, dtype in (("tensors_float32", torch.float32), ("tensors_bfloat16", torch.bfloat16)):
        ready = model.to(dtype)

        def answer(ready=ready, dtype=dtype) -> None:
            for some in pixels.split(batch):
                values = some.to(device, non_blocking=True).permute(0, 3, 1, 2).to(dtype) / 127.5 - 1
                ready(values).logits.float().softmax(-1).cpu()

        answer()
        found[name] = count / seconds_of(answer, 1)
    model.float()
    return found


if __name__ == "__main__":
    main()
