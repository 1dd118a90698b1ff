"""The page in a real browser, served by the command line, and the Space served by its own app.py."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from PIL import Image

from affectnet_plus import EMOTIONS
from affectnet_plus_modeling.app.known_faces import known_faces
from affectnet_plus_modeling.app.serve import serve
from affectnet_plus_modeling.evaluation.predict import predict
from affectnet_plus_modeling.publishing.space_files import GRADIO, space_files
from affectnet_plus_modeling.vit.faces import installed
from support.parts import CHROMIUM, NO_CHROMIUM

gradio = pytest.importorskip("gradio", reason="gradio is not installed (the extra app)")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (the extra dev)")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)

UNCERTAINTY = {"method": "threshold", "quantile": 0.87, "coverage": 0.9, "of": "label", "abstain_entropy": 0.1}


@pytest.fixture(scope="module")
def calibrated(trained, tmp_path_factory) -> Path:
    """A model with a prediction set that abstains from nearly everything; read-only."""
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("calibrated") / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"uncertainty": UNCERTAINTY}))
    return folder


@contextmanager
def served(arguments, temporary: Path, **options):
    """Yield the address that a process prints as "open ADDRESS"; it must end by itself when it is interrupted.

    Whatever it asks of the outside goes to a proxy of ours, which must hear nothing.
    """
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        outside = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        environment = os.environ | {"HTTPS_PROXY": outside, "https_proxy": outside, "TMPDIR": str(temporary)}
        environment |= {"OMP_NUM_THREADS": "1", "GRADIO_SERVER_PORT": str(free_port())}
        with open(temporary.with_suffix(".log"), "w+") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments], stdout=log, stderr=subprocess.STDOUT, env=environment, **options
            )
            try:
                yield wait_for_address(process, Path(log.name))
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 0, Path(log.name).read_text()
                assert "Traceback" not in Path(log.name).read_text()
            finally:
                process.kill()
                process.wait()
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has called
            proxy.accept()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_for_address(process, log: Path) -> str:
    until = time.monotonic() + 900
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"^open (http://\S+)", log.read_text(), re.MULTILINE):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def temporary(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("app") / "temporary"


@pytest.fixture(scope="module")
def address(calibrated, drawn, temporary):
    temporary.mkdir()
    arguments = ["-m", "affectnet_plus_modeling.cli", "app", str(calibrated), "--data", str(drawn)]
    with served([*arguments, "--port", str(free_port())], temporary) as found:
        yield found
    assert not [path for path in temporary.rglob("*") if path.is_file()], "pictures are left behind"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        options = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        with playwright.chromium.launch(executable_path=CHROMIUM, args=options) as found:
            yield found


@contextmanager
def opened(browser, address: str, width: int = 1280, scheme: str = "light"):
    """Yield the page once it is there. It must report no error, and ask for nothing from elsewhere."""
    trouble = []
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.set_default_timeout(600_000)  # a guard against hanging
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("response", lambda found: trouble.append(f"{found.status} {found.url}") if found.status >= 400 else None)
    ours = (address, "data:", "blob:")
    page.on("request", lambda asked: None if asked.url.startswith(ours) else trouble.append(asked.url))
    try:
        page.goto(address)
        page.wait_for_selector(".notice")
        page.wait_for_timeout(1000)  # what is on the page is not listened to at once, and a file handed over is lost
        yield page
        assert not trouble
    finally:
        page.close()


def until_heard(page, asked: str, act) -> None:
    """Act until the page asks for an address like `asked`: what is done before the page listens is lost."""
    for _ in range(20):
        with suppress(sync_api.TimeoutError), page.expect_request(asked, timeout=30_000):
            return act()
    raise AssertionError(f"the page never asked for {asked}")


def upload(page, path: Path) -> None:
    until_heard(page, "**/gradio_api/upload*", lambda: page.set_input_files("#photo input[type=file]", str(path)))


def choose_the_whole_picture(page) -> None:
    def act():
        page.get_by_label("the faces found in it").check()
        page.get_by_label("the whole picture").check()

    if installed():
        until_heard(page, "**/gradio_api/queue/join*", act)


def shares_of(page, place: str) -> dict[str, float]:
    rows = page.locator(f"{place} tr").all()
    return {row.locator("th").inner_text(): float(row.get_attribute("data-share")) for row in rows}


def text_of(page, place: str) -> str:
    return " ".join(page.inner_text(place).split())


@pytest.mark.slow
def test_an_uploaded_photo_is_answered_as_predict_answers_it(browser, address, calibrated, drawn_tree):
    path = drawn_tree / "human_annotated" / "validation_set" / "images" / "3.jpg"
    (expected,) = predict(calibrated, [path], faces=False)
    with opened(browser, address) as page:
        choose_the_whole_picture(page)
        upload(page, path)
        page.wait_for_selector("#photo-result .face")
        shares = shares_of(page, "#photo-result")
        assert list(shares) == list(EMOTIONS) and sum(shares.values()) == pytest.approx(1)
        assert shares == pytest.approx(expected["soft_label"], abs=1e-6)
        numbers = [float(text.strip("%")) for text in page.locator("#photo-result .number").all_inner_texts()]
        assert sum(numbers) == pytest.approx(100, abs=0.4)
        assert page.locator("#photo-result .member th").all_inner_texts() == sorted(
            expected["prediction_set"], key=EMOTIONS.index
        )
        text = text_of(page, "#photo-result")
        assert f"Most probable: {expected['label']}" in text and "The model abstains" in text
        assert "The whole picture is taken as one face" in text
        spoken = page.locator("#photo-result svg").get_attribute("aria-label").replace("−", "-")
        assert f"valence {expected['valence']:+.2f}, arousal {expected['arousal']:+.2f}" in spoken
        assert page.locator("#photo-result .point").is_visible() and page.locator(".notice").is_visible()
        page.get_by_label("Remove Image").click()
        page.wait_for_selector("#photo-result .face", state="detached")


@pytest.mark.slow
@pytest.mark.skipif(not installed(), reason="no detector is installed (the extra faces)")
def test_each_face_of_a_photo_is_answered(browser, address, drawn_tree, tmp_path):
    images = drawn_tree / "human_annotated" / "validation_set" / "images"
    canvas = Image.new("RGB", (640, 300), "gray")
    for place, name in enumerate(("1.jpg", "2.jpg")):
        canvas.paste(Image.open(images / name), (50 + 300 * place, 40))
    canvas.save(tmp_path / "two.png")
    with opened(browser, address) as page:
        upload(page, tmp_path / "two.png")
        page.wait_for_selector("#photo-result .face")
        assert page.locator("#photo-result h3").all_inner_texts() == ["Face 1 of 2", "Face 2 of 2"]
        assert "found 2 faces, from the left to the right" in text_of(page, "#photo-result")
        page.get_by_label("the whole picture").check()
        page.wait_for_selector("#photo-result :text('as you chose')")
        assert page.locator("#photo-result .face").count() == 1


@pytest.mark.slow
def test_a_picture_of_the_webcam_is_answered(browser, address):
    with opened(browser, address) as page:
        page.get_by_label("Capture from camera").click()
        page.get_by_text("Click to Access Webcam").click()
        page.wait_for_function("document.querySelector('#photo video').videoWidth > 0")
        page.get_by_label("capture photo").click()
        page.wait_for_selector("#photo-result .face")
        assert "whole picture is taken as one" in text_of(page, "#photo-result")


@pytest.mark.slow
def test_known_faces_are_gone_through_with_the_truth_beside(browser, address, drawn):
    faces = known_faces(drawn)["validation"]
    with opened(browser, address) as page:
        page.get_by_role("tab", name="Known faces").click()
        for number in (1, 2):
            page.wait_for_selector(f"#known-result :text('Face {number} of 8')")
            truth = faces[number - 1][1]
            assert page.inner_text("#known-result h3") == truth.name
            assert f"Label of the data set: {truth.label}" in text_of(page, "#known-result")
            true = page.locator("#known-result .of-truth").all_inner_texts()
            assert true == [f"{share:.1%}" for share in truth.soft_label.values()]
            assert page.locator("#known-result .true-point").is_visible() and page.locator(".notice").is_visible()
            page.click("#next")
        page.wait_for_selector("#known-result :text('Face 3 of 8')")
        page.fill("#number input", "9")
        page.wait_for_selector("#known-result :text('validation has no face 9: give a number from 1 to 8')")
        page.click("#random")
        page.wait_for_selector("#known-result .face")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "half", "many"])
def test_a_bad_file_is_named_with_what_is_wrong(browser, address, drawn_tree, tmp_path, kind):
    good = drawn_tree / "human_annotated" / "validation_set" / "images" / "0.jpg"
    path = tmp_path / {"text": "notes.jpg", "half": "half.jpg", "many": "many.png"}[kind]
    if kind == "text":
        path.write_text("these are notes")
    elif kind == "half":
        path.write_bytes(good.read_bytes()[:2000])
    else:
        Image.new("1", (10_001, 10_000)).save(path)
    reason = {
        "text": "it is not whole, or no JPEG",
        "half": "truncated",
        "many": "it is 10001x10000, expected at most",
    }
    with opened(browser, address) as page:
        upload(page, path)
        message = page.wait_for_selector("#photo-result [role=alert]").inner_text()
        assert message.startswith(f"{path.name} cannot be read: ") and reason[kind] in message
        assert "of at most 20 MB and 100 megapixels" in message
        assert "Traceback" not in page.content() and "BytesIO" not in message
        upload(page, good)  # the next one is answered as ever
        page.wait_for_selector("#photo-result .face")


@pytest.mark.slow
def test_a_huge_file_is_refused_before_it_is_sent(browser, address, tmp_path):
    path = tmp_path / "huge.jpg"
    path.write_bytes(bytes(101_000_000))
    with opened(browser, address) as page:
        upload(page, path)
        page.wait_for_selector(":text('exceed the maximum allowed size')")
        assert page.inner_text("#photo-result") == ""


@pytest.mark.slow
@pytest.mark.parametrize("width, scheme", [(390, "light"), (390, "dark"), (1280, "dark")])
def test_nothing_is_wider_than_the_screen_and_words_stand_out(browser, address, drawn_tree, width, scheme):
    with opened(browser, address, width, scheme) as page:
        upload(page, drawn_tree / "human_annotated" / "validation_set" / "images" / "0.jpg")
        page.wait_for_selector("#photo-result .face")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert contrasts(page, ".notice p, #photo-result p, #photo-result th, #photo-result td.number") >= 4.5
        page.get_by_role("tab", name="Known faces").click()
        page.wait_for_selector("#known-result .face")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert contrasts(page, "#known-result p, #known-result th, #known-result .of-truth") >= 4.5


def contrasts(page, selector: str) -> float:
    """The least contrast between words and the page's ground, by WCAG 2.2; both must be opaque."""
    colours = page.evaluate(
        """selector => [document.body, ...document.querySelectorAll(selector)].map(
            (element, place) => getComputedStyle(element)[place ? "color" : "backgroundColor"])""",
        selector,
    )
    assert len(colours) > 2
    ground, *words = [luminance(colour) for colour in colours]
    return min((max(word, ground) + 0.05) / (min(word, ground) + 0.05) for word in words)


def luminance(colour: str) -> float:
    numbers = [int(number) for number in re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", colour).groups()]
    linear = [c / 12.92 if (c := number / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for number in numbers]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_an_uploaded_picture_is_deleted_after_its_time(monkeypatch, tmp_path):
    from affectnet_plus_modeling.app import page as module

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(module, "CHECKED_SECONDS", 1)
    monkeypatch.setattr(module, "KEPT_SECONDS", 1)
    page = module.build_page(module.Model("nobody", lambda crops: [], None))
    address = module.launch(page, server_name="127.0.0.1", server_port=free_port())
    try:
        answer = httpx.post(f"{address}gradio_api/upload", files={"files": ("face.jpg", b"a face")})
        (path,) = answer.raise_for_status().json()
        assert Path(path).is_relative_to(tmp_path)
        until = time.monotonic() + 900
        while Path(path).exists():
            assert time.monotonic() < until, "it is still there"
            time.sleep(0.2)
    finally:
        page.close(verbose=False)


def test_a_port_that_is_taken_is_named(trained, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # so that it is put back
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"^port {port}: taken; give another --port"):
            serve(trained, port=port)


@pytest.mark.slow
def test_the_space_serves_the_same_answers(browser, calibrated, drawn_tree, tmp_path):
    space = tmp_path / "space"
    for name, content in space_files(str(calibrated)).items():
        (space / name).parent.mkdir(parents=True, exist_ok=True)
        (space / name).write_bytes(content.replace(b"<b>Prohibited:</b>", b"<b>Prohibited by the Space:</b>"))
    path = drawn_tree / "human_annotated" / "validation_set" / "images" / "4.jpg"
    (expected,) = predict(calibrated, [path], faces=False)
    (tmp_path / "temporary").mkdir()
    with served(["app.py"], tmp_path / "temporary", cwd=space) as address:
        with opened(browser, address) as page:
            assert "Prohibited by the Space:" in page.inner_text(".notice")  # its own copy, not what is installed here
            choose_the_whole_picture(page)
            upload(page, path)
            page.wait_for_selector("#photo-result .face")
            assert shares_of(page, "#photo-result") == pytest.approx(expected["soft_label"], abs=1e-6)
            assert "The model abstains" in text_of(page, "#photo-result")
            page.click("#example-happy")
            page.wait_for_selector("#photo-result :text('This face was drawn')")
            (expected,) = predict(calibrated, [space / "example-happy.png"])
            assert shares_of(page, "#photo-result") == pytest.approx(expected["soft_label"], abs=1e-6)


def test_the_space_names_the_gradio_that_was_tested_and_when_pictures_go():
    from affectnet_plus_modeling.app.page import KEPT_SECONDS

    assert GRADIO == gradio.__version__
    assert f"deleted after {KEPT_SECONDS // 60} minutes" in space_files("someone/soft-faces")["README.md"].decode()
