"""What the page shows of a face, as HTML that refers to nothing outside itself: bars, circumplex, words."""

import base64
from collections.abc import Mapping
from html import escape
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..labels import CIRCUMPLEX

SMALL = 224  # pixels of the longer side of a face that is sent to the browser

NOTICE = """<div class="notice" role="note" aria-label="What this is not for">
<p><b>An expression is not a felt emotion.</b> The model says what observers would see in one picture, and observers
disagree. It is for research on how expressions are perceived.</p>
<p><b>Prohibited:</b> use at the workplace, in education, in hiring, for lie detection, in policing or border control,
and for any decision about a person.</p>
</div>"""


class Truth(NamedTuple):
    """What is known of a face, None for what is not. `soft_label`: class name -> share, summing to 1."""

    name: str
    label: str | None = None
    soft_label: Mapping[str, float] | None = None
    valence: float | None = None
    arousal: float | None = None


def draw_face(picture: np.ndarray, answer: dict, title: str, uncertainty: dict | None, truth: Truth | None = None):
    """One face as HTML: itself, its soft label and its place on the circumplex.

    Args:
        picture: the crop, (height, width, 3) uint8 RGB.
        answer: of `vit.answers.answers`.
        uncertainty: `config.uncertainty` of the model.
        truth: drawn beside the answer.
    """
    share = answer["soft_label"][answer["label"]]
    known = [] if truth is None else [f"Label of the data set: <b>{escape(truth.label or 'none')}</b>"]
    lines = [f"Most probable: <b>{escape(answer['label'])}</b>, {share:.1%}", *known]
    words = "".join(f"<p>{line}</p>" for line in lines)
    return (
        f'<section class="face"><div class="head"><img src="{_as_address(picture)}" alt="{escape(title)}">'
        f"<div><h3>{escape(title)}</h3>{words}</div></div>"
        f"<div>{_bars(answer, truth)}{_certainty(answer, uncertainty)}</div>"
        f"<div>{_circumplex(answer, truth)}</div></section>"
    )


def draw_message(text: str) -> str:
    """What went wrong, as HTML that a screen reader says at once."""
    return f'<div class="affect"><p class="alert" role="alert">{escape(text)}</p></div>'


def draw_faces(about: str, faces: list[str]) -> str:
    """The faces of one picture with a line above that says how they were cut."""
    return f'<div class="affect"><p class="quiet" role="status">{escape(about)}</p>{"".join(faces)}</div>'


def _as_address(picture: np.ndarray) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((SMALL, SMALL))
    content = BytesIO()
    image.save(content, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()


def _bars(answer: dict, truth: Truth | None) -> str:
    true = None if truth is None else truth.soft_label
    members = answer.get("prediction_set", [])
    rows = []
    for name, share in answer["soft_label"].items():
        bars = f'<span class="said" style="width:{share:.2%}"></span>'
        number = f"{share:.1%}"
        if true is not None:
            bars += f'<span class="true" style="width:{true[name]:.2%}"></span>'
            number += f'<br><span class="of-truth">{true[name]:.1%}</span>'
        chosen = name in members
        mark = '<span role="img" aria-label="in the prediction set">✓</span>' if chosen else ""
        rows.append(
            f'<tr class="{"member" if chosen else "other"}" data-share="{share!r}"><th scope="row">{escape(name)}</th>'
            f'<td class="mark">{mark}</td><td><div class="track">{bars}</div></td>'
            f'<td class="number">{number}</td></tr>'
        )
    legend = '<i class="said"></i>soft label, predicted'
    if true is not None:
        legend += ' &nbsp; <i class="true"></i>true'
    elif truth is not None:
        legend += "; the true one is not known"
    return f"<table><caption>{legend}</caption>{''.join(rows)}</table>"


def _certainty(answer: dict, uncertainty: dict | None) -> str:
    if uncertainty is None:
        return '<p class="quiet">No prediction set: the model was not calibrated (affectnet-plus calibrate).</p>'
    truth = {"label": "the label is", "vote": "one random annotator's vote is"}[uncertainty["of"]]
    names = ", ".join(map(escape, answer["prediction_set"]))
    faces = f"For {uncertainty['coverage']:.0%} of faces like those of the calibration"
    text = f'<p>✓ Prediction set: <b>{names}</b></p><p class="quiet">{faces}, {truth} in it.</p>'
    if answer["abstain"]:
        text += (
            f'<p class="alert"><b>The model abstains:</b> it is too unsure to answer. Entropy {answer["entropy"]:.2f}'
            f" nats, above its threshold of {uncertainty['abstain_entropy']:.2f}.</p>"
        )
    return text


_SIDE, _UNIT = 260, 98  # of the drawing, and of 1 in valence or arousal; the centre is (0, 0)


def _circumplex(answer: dict, truth: Truth | None) -> str:
    """Russell's circumplex (1980): valence to the right, arousal upwards."""
    if answer["valence"] is None:
        return '<p class="quiet">No valence and arousal: the model was trained without them.</p>'
    spoken = [f"predicted valence {_signed(answer['valence'])}, arousal {_signed(answer['arousal'])}"]
    points = f'<circle class="point" {_place(answer["valence"], answer["arousal"])} r="6"/>'
    if truth is not None and truth.valence is not None and truth.arousal is not None:
        spoken.append(f"true valence {_signed(truth.valence)}, arousal {_signed(truth.arousal)}")
        points += f'<circle class="true-point" {_place(truth.valence, truth.arousal)} r="8"/>'
    names = "".join(f'<text class="place" {_place(*at, "x", "y")}>{name}</text>' for name, at in CIRCUMPLEX.items())
    edge, half = _UNIT, _SIDE / 2
    marks = '<i class="dot"></i>', '<i class="ring"></i>'
    legend = "<br>".join(mark + words for mark, words in zip(marks, spoken, strict=False))
    return (
        f'<svg viewBox="{-half} {-half} {_SIDE} {_SIDE}" role="img" aria-label="Circumplex: {"; ".join(spoken)}">'
        f'<circle class="axis" cx="0" cy="0" r="{edge}"/>'
        f'<path class="axis" d="M{-edge} 0H{edge}M0 {-edge}V{edge}"/>{names}'
        f'<text x="0" y="{-edge - 8}">excited</text><text x="0" y="{edge + 16}">calm</text>'
        f'<text transform="translate({-edge - 10} 0) rotate(-90)">unpleasant</text>'
        f'<text transform="translate({edge + 10} 0) rotate(90)">pleasant</text>{points}</svg>'
        f'<p class="quiet">{legend}</p>'
    )


def _place(valence: float, arousal: float, x: str = "cx", y: str = "cy") -> str:
    return f'{x}="{valence * _UNIT:.1f}" {y}="{-arousal * _UNIT:.1f}"'


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
