"""The README.md of an ensemble's folder; every number in it is from its training.json."""

from typing import Any, TypedDict

from affectnet_plus import EMOTIONS

from ...preparing.manifest import About

_TEXT = """---
library_name: affectnet-plus
pipeline_tag: image-classification
tags: [facial-expression, soft-label, binary-ensemble]
---
# {name}

An ensemble of binary classifiers after [AffectNet+](https://arxiv.org/abs/2410.22506): {networks} networks in
{members} members, a member being one network per emotion that answers "this emotion, or any other?". It makes soft
labels for faces
(`affectnet-plus label FACES OUT --ensemble {name}`) and needs the package `affectnet-plus` to be loaded.
Architectures, sampling and calibration are this project's choices; the paper's public text leaves them open.

* Order of the emotions: {emotions}.
* Trained on hard labels alone, {faces} faces: {counts}.
* Backbones {backbones}, {seeds} seed(s) each, pictures of {size} pixels, {folds}.
* Calibration: {kind}, fitted on {calibration_faces} faces ({split}).

`seen.parquet` holds 64-bit digests of the pixels of the training faces with their folds, and nothing else of them.
`out_of_fold.parquet`, where it is there, has a row for each training face and stays with you.

An expression is not a felt emotion: the confidences say what observers would see in a picture. Not for the workplace,
education, hiring, policing or lie detection. Terms are those of the data that it was trained on; for AffectNet and
AffectNet+ that is non-commercial research.
"""


class CalibrationFacts(TypedDict):
    """How the confidences of an ensemble were made, and on how many faces."""

    kind: str
    split: str
    faces: int


class EnsembleRecord(TypedDict):
    """What `train_ensemble` returns and training.json of an ensemble holds."""

    options: dict[str, Any]
    emotions: list[str]
    faces: list[int]  # of each emotion
    left_out: int  # faces whose picture cannot be decoded
    members: int
    networks: int
    calibration: CalibrationFacts
    versions: dict[str, str]
    data: About


def ensemble_card(name: str, record: EnsembleRecord) -> str:
    """The card of the ensemble `name` whose training.json is `record`."""
    options, calibration = record["options"], record["calibration"]
    folds = options["folds"]
    cross_fitted = f"cross-fitted in {folds} folds: no member labels a face that it saw"
    return _TEXT.format(
        name=name,
        networks=record["networks"],
        members=record["members"],
        emotions=", ".join(EMOTIONS),
        faces=sum(record["faces"]),
        counts=", ".join(f"{name} {count}" for name, count in zip(EMOTIONS, record["faces"], strict=True)),
        backbones=", ".join(options["backbones"]),
        seeds=options["seeds"],
        size=options["image_size"],
        folds=cross_fitted if folds > 1 else "not cross-fitted: it must not label the faces that it was trained on",
        kind=calibration["kind"],
        calibration_faces=calibration["faces"],
        split=calibration["split"],
    )
