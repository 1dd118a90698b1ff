"""`label --faces`: each face of each photo is a picture of the tree, named with where it was."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from affectnet_plus_modeling.cli import main
from affectnet_plus_modeling.data.face_pictures import FacePictures
from affectnet_plus_modeling.data.pictures import open_pictures
from affectnet_plus_modeling.labelling.label import label
from affectnet_plus_modeling.labelling.label_options import LabelOptions
from affectnet_plus_modeling.vit.faces import cut_out, find_faces, installed
from support.ensembles import make_ensemble
from support.photos import group

pytestmark = pytest.mark.skipif(not installed(), reason="no detector is installed (the extra faces)")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    group(3)[0].save(folder / "a.webp", lossless=True)
    group(1)[0].save(folder / "b.png")
    Image.new("RGB", (300, 200), "gray").save(folder / "c.png")
    (folder / "d.jpg").write_bytes(b"no picture")
    return folder


def test_the_faces_of_photos_are_pictures(photos):
    found = FacePictures(open_pictures(photos, photos=True))
    photo = np.asarray(group(3)[0])
    faces = find_faces(photo)
    boxes = [f"{left},{top},{right - left},{bottom - top}" for (left, top, right, bottom), _ in faces]
    names = [picture.name for picture in found.pictures()]
    assert names[:3] == [f"a.webp#xywh={box}" for box in boxes] and names[3].startswith("b.png#xywh=")
    assert names[4] == "d.jpg" and "cannot be read as a photo" in found.pictures()[4].problem and len(names) == 5
    assert [picture.image_id for picture in found.pictures()] == [f"no_human/{n}" for n in range(1, 6)]
    assert found.passed_over == found.without_face == 1
    for picture, face in zip(found.pictures()[:3], faces, strict=True):
        known, content = found.read(picture)
        assert known == {} and np.array_equal(np.asarray(Image.open(io.BytesIO(content))), cut_out(photo, face))
    assert found.fingerprint() != open_pictures(photos, photos=True).fingerprint()


def test_label_writes_a_tree_of_the_faces(photos, drawn_tree, tmp_path, capsys):
    ensemble = make_ensemble(tmp_path / "ebc", folds=(0, 1))
    assert main(["label", str(photos), str(tmp_path / "out"), "--ensemble", str(ensemble), "--faces", "--tree"]) == 0
    assert "5 pictures; faces: no_human 4" in capsys.readouterr().out
    with open(tmp_path / "out" / "names.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"].partition("#")[0] for row in rows] == ["a.webp"] * 3 + ["b.png"]
    images = sorted((tmp_path / "out/no_human_annotated/images").iterdir())
    assert [path.name for path in images] == ["1.png", "2.png", "3.png", "4.png"]
    with pytest.raises(ValueError, match="holds faces of drawn, which are cut out already: label them without faces"):
        label(drawn_tree, tmp_path / "again", LabelOptions(str(ensemble), faces=True))
