"""The head of a model's card, which the Hub reads, and the facts and examples that stand first in its text."""

from typing import Any

import numpy as np
from huggingface_hub import ModelCardData

from .. import words
from ..markdown import escaped
from ..terms import TERMS
from .card_data import ModelCardRecord
from .examples import SHEET, Example
from .options import is_repo_id
from .results import eval_results
from .weights import NOT_CHOSEN

SHOWN_SHARE = 0.01  # of a soft label, in the first example
PAPER = "https://arxiv.org/abs/2410.22506"  # in the text, where the Hub looks for papers


def head(record: ModelCardRecord) -> ModelCardData:
    """The YAML."""
    affect = ["valence-arousal"] * record.knows_affect
    return ModelCardData(
        **_licence(record),
        library_name="transformers",
        pipeline_tag="image-classification",
        tags=["facial-expression", "soft-label", *affect, "affectnet-plus", "custom_code"],
        datasets=[record.dataset_id] if record.dataset_id else None,
        metrics=["accuracy", "f1"] if record.metrics else None,
        base_model=record.base_model,
        base_model_relation="finetune" if record.base_model else None,
        thumbnail=f"{record.place}{SHEET}" if record.examples else None,
        widget=[_widget(record, example) for example in record.examples] or None,
        model_name=record.repo_id.rpartition("/")[2] if record.metrics else None,
        eval_results=eval_results(record, record.metrics) if record.metrics else None,
    )


def _licence(record: ModelCardRecord) -> dict[str, Any]:
    if record.licence == NOT_CHOSEN and is_repo_id(record.repo_id):
        return {**record.licence, "license_link": f"https://huggingface.co/{record.repo_id}#terms"}
    return record.licence


def _widget(record: ModelCardRecord, example: Example) -> dict[str, Any]:
    shares = sorted(example.answer["soft_label"].items(), key=lambda found: -found[1])
    return {
        "src": f"{record.place}{example.file}",
        "example_title": f"{example.emotion} (drawn)",
        "output": [{"label": label, "score": round(share, 3)} for label, share in shares],
    }


def facts(record: ModelCardRecord) -> dict[str, str]:
    """What it is, name by name, in Markdown."""
    config, training = record.config, record.training
    found = {
        "Looks at": f"one cropped face of any size, which it sees at {config.image_size}x{config.image_size} pixels",
        "Says": f"a soft label of {len(record.labels)} emotions ({', '.join(record.labels)})"
        + (", and valence and arousal" if record.knows_affect else ""),
    }
    if training:
        found["Size"] = f"{training['parameters']:,} parameters"
        found["Trained on"] = f"{training['training_faces']:,} faces: {_faces(record)}"
    if metrics := record.metrics:
        accuracy, kl = (words.figure(metrics[key], 3) for key in ("accuracy", "kl"))
        found["Measured"] = f"accuracy {accuracy}, KL {kl} nats on {metrics['rows']:,} faces, see [Results](#results)"
    if record.base_model:
        found["Started from"] = f"[{record.base_model}](https://huggingface.co/{record.base_model})"
    found["Licence"] = _linked_licence(record.licence)
    found["Paper"] = f"[AffectNet+]({PAPER}), whose layout and soft labels it follows"
    return found


def _faces(record: ModelCardRecord) -> str:
    origin = record.training["data"]["origin"] if record.training else None
    if origin == "drawn":
        return "drawn by a program"
    if origin not in TERMS or not record.terms:
        return f"origin {escaped(origin) if origin else 'not known'}"
    return f"[{origin}]({record.terms.link})"


def _linked_licence(licence: dict[str, Any]) -> str:
    if licence == NOT_CHOSEN:
        return "not chosen, see [Terms](#terms)"
    if link := licence.get("license_link"):
        return f"[{licence['license_name']}]({link}), see [Terms](#terms)"
    return f"{licence['license']}, see [Terms](#terms)"


def expected(record: ModelCardRecord) -> dict[str, str] | None:
    """What the examples of the card print of the first example face; None where there is none."""
    if not record.examples:
        return None
    answer = record.examples[0].answer
    shares = {name: round(share, 2) for name, share in answer["soft_label"].items() if share > SHOWN_SHARE}
    affect = np.array([[answer["valence"], answer["arousal"]]], dtype=float)
    lines = [f"{answer['label']} {shares}"]
    if record.knows_affect:
        lines.append(f"{answer['valence']:.2f} {answer['arousal']:.2f}")
    if record.config.uncertainty:
        lines.append(f"{answer['prediction_set']} {answer['abstain']}")
    first = sorted(answer["soft_label"].items(), key=lambda found: -found[1])[:3]
    return {
        "affect": "\n".join(lines),
        "stock": str([(name, round(share, 2)) for name, share in first]),
        "array": str(np.array([list(answer["soft_label"].values())]).round(2)),
        "affect_array": str(affect.round(2)),
    }


def face_line(record: ModelCardRecord) -> str:
    """The line of Python that says which face the examples look at."""
    if not record.examples:
        return 'face = "face.jpg"'
    file = record.examples[0].file
    if is_repo_id(record.repo_id):
        return f'face = hf_hub_download("{record.repo_id}", "{file}")'
    return f'face = "{record.repo_id}/{file}"'
