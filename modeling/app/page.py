"""The page: a photo or a known face in, what the model says of it out. Nothing is kept, and nothing goes elsewhere."""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read on import

import base64  # noqa: E402
import random  # noqa: E402
from collections.abc import Callable, Mapping, Sequence  # noqa: E402
from functools import partial  # noqa: E402
from html import escape  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import NamedTuple  # noqa: E402

import gradio  # noqa: E402
import numpy as np  # noqa: E402
from gradio.data_classes import FileData  # noqa: E402

from affectnet_plus import MAX_IMAGE_BYTES  # noqa: E402

from ..vit.faces import cut_out, find_faces, installed  # noqa: E402
from ..vit.photos import MAX_PIXELS, NAMES, read_photo  # noqa: E402
from .draw import NOTICE, Truth, draw_face, draw_faces, draw_message  # noqa: E402
from .guard import LOOPBACK, GuardedApp, is_upload, logger, named_files, one_line, read_upload  # noqa: E402
from .style import CSS  # noqa: E402

KEPT_SECONDS = 600  # so long an uploaded picture can be looked at again; then its file goes
CLOSING_SECONDS = 1  # so long answers that have begun may go on when the page is ended
CHECKED_SECONDS = 60  # how often that is looked for
GONE = f"The picture is no longer here: pictures are deleted after {KEPT_SECONDS // 60} minutes. Upload it again"
SEARCHED, WHOLE = "the faces found in it", "the whole picture"
_SYSTEM_FONTS = ("system-ui", "sans-serif")


class Model(NamedTuple):
    """`answer` takes crops, each (height, width, 3) uint8 RGB, and gives what `vit.answers.answers` says of each."""

    name: str
    answer: Callable[[list[np.ndarray]], list[dict]]
    uncertainty: dict | None


def build_page(
    model: Model,
    known: Mapping[str, Sequence[tuple[np.ndarray, Truth]]] | None = None,
    examples: Mapping[str, bytes] | None = None,
) -> gradio.Blocks:
    """The page for a model. Programs ask it under the name "/look", see `_say`.

    Args:
        known: split -> its faces, at least one each, to be looked at beside what is known of them.
        examples: name -> picture, PNG, to be looked at by a click.
    """
    title = f"Expressed emotion: {model.name}"
    with gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(CHECKED_SECONDS, KEPT_SECONDS)) as page:
        gradio.HTML(f"<h1>{escape(title)}</h1>{NOTICE}", elem_classes="affect")
        if known is None:
            _add_photo(model, examples or {})
        else:
            with gradio.Tab("A photo"):
                _add_photo(model, examples or {})
            with gradio.Tab("Known faces"):
                _add_known(page, model, known)
    _answer_in_words(page)
    return page


def _answer_in_words(page: gradio.Blocks) -> None:
    """Before gradio looks at a file that a request names, it must be an uploaded one.

    A request that makes no sense is a line of the log, where gradio would print a traceback.
    """
    process, uploads = page.process_api, Path(page.GRADIO_CACHE)

    async def answer(block_fn, inputs, **named):
        if not all(is_upload(path, uploads) for path in named_files(inputs)):
            raise gradio.Error(GONE, print_exception=False)
        try:
            return await process(block_fn, inputs, **named)
        except Exception as error:
            if isinstance(error, gradio.Error) and not error.print_exception:  # in words of ours
                raise
            logger.error("a request failed: %s", one_line(error))
            raise gradio.Error("This cannot be answered. Reload the page", print_exception=False) from None

    page.process_api = answer  # type: ignore[method-assign, assignment]


def launch(page: gradio.Blocks, **where) -> str:
    """Serve the page in a thread and return its address; `where` is `server_name` and `server_port`, as for gradio.

    On this machine alone it is answered under the names of this machine alone.
    """
    name = where.get("server_name") or os.environ.get("GRADIO_SERVER_NAME", LOOPBACK[0])
    app = GuardedApp()
    app.hosts = LOOPBACK if name in LOOPBACK else None
    theme = gradio.themes.Default(primary_hue="blue", font=_SYSTEM_FONTS, font_mono=("ui-monospace", "monospace"))
    _, address, _ = page.launch(
        share=False,
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
        run_history=False,
        footer_links=[],
        max_file_size=MAX_IMAGE_BYTES,
        theme=theme,
        css=CSS,
        _app=app,
        **where,
    )
    page.server.config.timeout_graceful_shutdown = CLOSING_SECONDS  # pages that stay open hold streams
    return address


def _add_photo(model: Model, examples: Mapping[str, bytes]) -> None:
    with gradio.Row():
        with gradio.Column(scale=2, min_width=300):
            picture = gradio.Image(
                label="Photo",
                sources=["upload", "webcam", "clipboard"],
                type="filepath",
                format="png",  # of an example, which is told to the browser as pixels
                height=320,
                buttons=[],
                elem_id="photo",
                webcam_options=gradio.WebcamOptions(mirror=False),
                alt_text="The photo that was given",
            )
            # The path of the file as it was uploaded: gradio's own would decode it, by other rules than ours. An
            # instance's, because gradio writes a file beside the module for every class that is derived from its own.
            picture.preprocess = _path_of  # type: ignore[assignment]
            region = gradio.Radio(
                [SEARCHED, WHOLE], value=SEARCHED, label="Look at", visible=installed() is not None, elem_id="region"
            )
            buttons = _add_examples(examples)
        with gradio.Column(scale=3, min_width=300):
            result = gradio.HTML(elem_id="photo-result")

    uploads = Path(picture.GRADIO_CACHE)

    def look(path: str | None, region: str):
        # What stands there stays unless it can't be looked at: another photo may have been given in the meantime.
        if path is None:
            return gradio.skip(), ""
        try:
            return gradio.skip(), _look_at_photo(model, _read(path, uploads), region)
        except OSError as error:
            return None, draw_message(_why_not(Path(path).name, error))

    # First, for gradio calls what comes later by its function, look_1 and on.
    asked = gradio.Button(visible=False), gradio.JSON(visible=False)
    say = partial(_say, model, uploads)
    asked[0].click(lambda *asked: say(*asked), [picture, region], asked[1], api_name="look")
    gradio.on(
        [picture.input, picture.clear, region.input],
        look,
        [picture, region],
        [picture, result],
        show_progress_on=result,
        api_visibility="private",
        trigger_mode="always_last",  # by itself gradio drops what is asked before the last answer came
    )
    for name, button in buttons.items():
        show = partial(_look_at_example, model, np.asarray(read_photo(examples[name]).image))
        button.click(show, None, [picture, result], show_progress_on=result, api_visibility="private")


def _look_at_example(model: Model, picture: np.ndarray) -> tuple[np.ndarray, str]:
    """The picture itself, for where a photo stands, and what is said of it."""
    drawn = draw_face(picture, model.answer([picture])[0], "Face", model.uncertainty)
    return picture, draw_faces("This face was drawn; the whole picture is its crop.", [drawn])


def _add_examples(examples: Mapping[str, bytes]) -> dict[str, gradio.Button]:
    """A button for each picture, which it shows."""
    if not examples:
        return {}
    shown = "".join(
        f"#example-{name} {{ background-image: url(data:image/png;base64,{base64.b64encode(content).decode()}) }}"
        for name, content in examples.items()
    )
    gradio.HTML(
        f'<style>{shown}</style><p class="quiet">Or one of these, which were drawn:</p>', elem_classes="affect"
    )
    with gradio.Row(elem_classes="examples"):
        return {
            name: gradio.Button(name, elem_id=f"example-{name}", elem_classes="example", min_width=60)
            for name in examples
        }


def _read(path: str, uploads: Path) -> np.ndarray:
    return np.asarray(read_photo(read_upload(path, uploads)).image)


def _say(model: Model, uploads: Path, path: str | None, region: str) -> list[dict]:
    """What a program is told: of each face what `vit.answers.answers` says, and its `box` in the picture.

    `box` is [left, top, right, bottom] in pixels; None where the whole picture was taken for the face.
    """
    if path is None:
        raise gradio.Error(f"There is no picture: give a {NAMES}", print_exception=False)
    try:
        picture = _read(path, uploads)
    except OSError as error:
        raise gradio.Error(_why_not(Path(path).name, error), print_exception=False) from error
    faces = find_faces(picture) if installed() is not None and region == SEARCHED else []
    answers = model.answer([cut_out(picture, face) for face in faces] or [picture])
    boxes: list[list[int] | None] = [list(face.box) for face in faces]
    return [answer | {"box": box} for answer, box in zip(answers, boxes or [None], strict=True)]


def _path_of(upload: FileData | None) -> str | None:
    return None if upload is None else upload.path


def _look_at_photo(model: Model, picture: np.ndarray, region: str) -> str:
    pieces, about = _cut(picture, region)
    count = len(pieces)
    titles = ["Face"] if count == 1 else [f"Face {number} of {count}" for number in range(1, count + 1)]
    answers = model.answer(pieces)
    faces = [draw_face(*found, model.uncertainty) for found in zip(pieces, answers, titles, strict=True)]
    return draw_faces(about, faces)


def _why_not(name: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{GONE}."
    most = f"at most {MAX_IMAGE_BYTES // 1_000_000} MB and {MAX_PIXELS // 1_000_000} megapixels"
    return f"{name} cannot be read: {error.__cause__}. Give a {NAMES} of {most}."


def _cut(picture: np.ndarray, region: str) -> tuple[list[np.ndarray], str]:
    """The crops of a photo, and what is to be said of them."""
    name = installed()
    if name is None:
        return [picture], "The whole picture is taken as one face: no face detector is installed (the extra “faces”)."
    if region == WHOLE:
        return [picture], "The whole picture is taken as one face, as you chose."
    found = find_faces(picture)
    if not found:
        return [picture], f"{name} found no face, so the whole picture is taken as one."
    count = "1 face" if len(found) == 1 else f"{len(found)} faces, from the left to the right"
    return [cut_out(picture, face) for face in found], f"{name} found {count}; each is cut as closely as FER+ cuts."


def _add_known(page: gradio.Blocks, model: Model, known: Mapping[str, Sequence[tuple[np.ndarray, Truth]]]) -> None:
    splits = list(known)
    with gradio.Row():
        split = gradio.Dropdown(splits, value=splits[0], label="Split", min_width=140, elem_id="split")
        number = gradio.Number(1, label="Face number", precision=0, minimum=1, min_width=140, elem_id="number")
    with gradio.Row():
        following = gradio.Button("Next", variant="primary", min_width=140, elem_id="next")
        drawn = gradio.Button("Random", min_width=140, elem_id="random")
    result = gradio.HTML(elem_id="known-result")

    def show(split: str, number: int | None) -> str:
        return _look_at_known(model, known[split], split, number)

    def step(split: str, number: int | None):
        number = 1 if number is None else number % len(known[split]) + 1
        return number, show(split, number)

    def draw(split: str):
        number = random.randint(1, len(known[split]))
        return number, show(split, number)

    page.load(show, [split, number], result, api_visibility="private")
    number.input(
        show, [split, number], result, show_progress="hidden", api_visibility="private", trigger_mode="always_last"
    )
    split.input(
        lambda split: (1, show(split, 1)),
        split,
        [number, result],
        api_visibility="private",
        trigger_mode="always_last",
    )
    following.click(step, [split, number], [number, result], api_visibility="private")
    drawn.click(draw, split, [number, result], api_visibility="private")


def _look_at_known(model: Model, faces: Sequence[tuple[np.ndarray, Truth]], split: str, number: int | None) -> str:
    if number is None or not 1 <= number <= len(faces):
        return draw_message(f"{split} has no face {number}: give a number from 1 to {len(faces)}.")
    try:
        picture, truth = faces[number - 1]
    except OSError as error:
        return draw_message(str(error))
    about = f"Face {number} of {len(faces)} in {split}. The whole picture is the crop, as in training."
    return draw_faces(about, [draw_face(picture, model.answer([picture])[0], truth.name, model.uncertainty, truth)])
