"""What `label` may be told, in one typed place. No torch in here: the command line reads its defaults."""

from dataclasses import dataclass

from ..options import check_options, option

METADATA = ("landmarks", "pose")


@dataclass(frozen=True)
class LabelOptions:
    """Attributes:

    ensemble: folder that train-ensemble wrote, or "you/name" of the Hub.
    action_units: table of action units, a csv or a folder of them, as `action_units.tables` reads it.
    action_unit_scale: the largest possible number in that table, where it is not the tool's own.
    action_unit_frames: the frame numbers of that table are names of pictures.
    action_unit_model: folder of a trained action-unit model, or "you/name", which takes the place of a table.
    fusion: JSON of a `Fusion`; None is the default one.
    human_label: the human label is a source of the soft label, if the fusion was fitted with one.
    metadata: of METADATA, to be found in the pictures. It takes the place of what a source has, for all faces: one
        column is to have one unit.
    landmark_model, landmark_detector: the models that find it, as `faces.open_landmarker` takes them.
    deepface, fairface: table of age, gender and race; what it does not say of a face stays as it is in the source.
    faces: the faces of each photo are found first, and each is a picture of the tree.
    tree: write an AffectNet+ tree, two files for each face, and not a prepared folder.
    batch_size: faces that go through the networks together. Another one changes the last digits of a confidence.
    """

    ensemble: str = option(
        help="folder that train-ensemble wrote, or you/name of the Hub",
        metavar="MODEL",
        group="what labels the faces",
        hub="model",
    )
    action_units: str | None = option(
        None, help="table of action units by OpenFace 2 or 3, py-feat, LibreFace or draw", metavar="CSV"
    )
    action_unit_scale: float | None = option(
        None, help="largest possible number in the table, where the tool has another than usual", metavar="X"
    )
    action_unit_frames: bool = option(False, help="frame n of a table without names is the picture n")
    action_unit_model: str | None = option(
        None, help="folder that train-au wrote, instead of a table", flag="--au-model", metavar="MODEL", hub="model"
    )
    fusion: str | None = option(
        None, help="what fit-fusion wrote; without it, a product in which the ensemble weighs .8", metavar="JSON"
    )
    human_label: bool = option(False, help="the human label is a source too, if the fusion was fitted with it")
    metadata: tuple[str, ...] = option(
        (),
        help=f"what --landmark-model finds in the pictures: {', '.join(METADATA)}",
        metavar="WHAT",
        commas=True,
        group="further columns",
    )
    landmark_model: str | None = option(
        None, help=".task of MediaPipe, .onnx with 68 points, or .dat of dlib", metavar="FILE"
    )
    landmark_detector: str | None = option(None, help=".onnx that finds faces, for a .onnx", metavar="FILE")
    deepface: str | None = option(None, help="DeepFace's results: age, gender, race", metavar="FILE")
    fairface: str | None = option(None, help="FairFace's results: gender, race", metavar="FILE")
    faces: bool = option(False, help="IMAGES are photos: find their faces first, and label each of them")
    tree: bool = option(
        False,
        help="write an AffectNet+ tree, two files for each face, with labels.parquet beside it",
        group="what is written",
    )
    batch_size: int = option(64, help="faces in the networks at once", group="machine")

    def __post_init__(self):
        check_options(self)
        for first, second in (("action_units", "action_unit_model"), ("deepface", "fairface")):
            if getattr(self, first) and getattr(self, second):
                raise ValueError(f"{first} and {second} are given; give one of the two")
        if self.action_unit_scale is not None and not self.action_units:
            raise ValueError("a scale of action units is given, and no table of them")
        if self.action_unit_frames and not self.action_units:
            raise ValueError("frames of action units are meant, and no table of them is given")
        if unknown := sorted(set(self.metadata) - set(METADATA)):
            raise ValueError(f"metadata {', '.join(unknown)} is not known, expected some of {', '.join(METADATA)}")
        if bool(self.metadata) != bool(self.landmark_model):
            raise ValueError(
                f"metadata is {', '.join(self.metadata) or 'none'} and the model that finds it {self.landmark_model}: "
                f"give both, or none"
            )
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}, expected at least 1")
