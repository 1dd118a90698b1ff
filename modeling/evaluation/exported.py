"""An exported model, asked by ONNX Runtime. Needs the extra `onnx`, of which only onnxruntime is used."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

OUTPUTS = ["logits", "valence_arousal"]


class ExportedModel:
    """One ONNX file that `export` wrote, in a session of one thread that several threads may ask at once.

    Attributes:
        config: what of `AffectNetPlusConfig` an answer is made of, as the metadata of the file say it.
        name: of the folder that was exported, or of the file.
        device: the CPU.

    Raises:
        ImportError: onnxruntime is not installed.
        ValueError: the file is none that `export` wrote for resized pictures.
    """

    device = torch.device("cpu")

    def __init__(self, file: Path, name: str):
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(f'{file} needs onnxruntime ({error}): pip install "affectnet-plus[onnx]"') from error
        self.name = name
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own have no common class
            raise ValueError(f"{file} is no ONNX file that can be run: {error}") from error
        said = self._session.get_modelmeta().custom_metadata_map
        takes = [part.name for part in self._session.get_inputs()]
        if takes != ["pixel_values"] or "labels" not in said:
            raise ValueError(
                f"{file} takes {', '.join(takes)}; give onnx/model.onnx, or another of model*.onnx, that export wrote"
            )
        self.config = ExportedConfig({key: json.loads(value) for key, value in said.items()})

    def __call__(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 3, size, size) float32, normalised -> logits (batch, classes) and valence/arousal (batch, 2)."""
        found = self._session.run(OUTPUTS, {"pixel_values": pixel_values.numpy()})
        return torch.from_numpy(found[0]), torch.from_numpy(found[1])


class ExportedConfig:
    """The same names as in `AffectNetPlusConfig`."""

    def __init__(self, said: dict[str, Any]):
        self.id2label = dict(enumerate(said["labels"]))
        self.num_labels = len(self.id2label)
        self.image_size: int = said["image_size"]
        self.patch_size: int = said["patch_size"]
        self.uncertainty: dict | None = said["uncertainty"]
        self.valence_arousal_weight = float(said["valence_arousal_trained"])
