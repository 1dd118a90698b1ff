"""What `label` may be told, in one typed place. No torch in here: the command line reads its defaults."""

from dataclasses import dataclass

METADATA = ("landmarks", "pose")


@dataclass(frozen=True)
class LabelOptions:
    """Attributes:

    ensemble: folder that train-ensemble wrote.
    action_units: table of action units, a csv or a folder of them, as `action_units.tables` reads it.
    action_unit_scale: the largest possible number in that table, where it is not the tool's own.
    action_unit_model: folder of a trained action-unit model, which takes the place of a table.
    fusion: JSON of a `Fusion`; None is the default one.
    human_label: the human label is a source of the soft label, if the fusion was fitted with one.
    metadata: of METADATA, to be found in the pictures. It takes the place of what a source has, for all faces: one
        column is to have one unit.
    landmark_model, landmark_detector: the models that find it, as `faces.open_landmarker` takes them.
    deepface, fairface: table of age, gender and race; what it does not say of a face stays as it is in the source.
    batch_size: faces that go through the networks together. Another one changes the last digits of a confidence.
    """

    ensemble: str
    action_units: str | None = None
    action_unit_scale: float | None = None
    action_unit_model: str | None = None
    fusion: str | None = None
    human_label: bool = False
    metadata: tuple[str, ...] = ()
    landmark_model: str | None = None
    landmark_detector: str | None = None
    deepface: str | None = None
    fairface: str | None = None
    batch_size: int = 64

    def __post_init__(self):
        for first, second in (("action_units", "action_unit_model"), ("deepface", "fairface")):
            if getattr(self, first) and getattr(self, second):
                raise ValueError(f"{first} and {second} are given; give one of the two")
        if self.action_unit_scale is not None and not self.action_units:
            raise ValueError("a scale of action units is given, and no table of them")
        if unknown := sorted(set(self.metadata) - set(METADATA)):
            raise ValueError(f"metadata {', '.join(unknown)} is not known, expected some of {', '.join(METADATA)}")
        if bool(self.metadata) != bool(self.landmark_model):
            raise ValueError(
                f"metadata is {', '.join(self.metadata) or 'none'} and the model that finds it {self.landmark_model}: "
                f"give both, or none"
            )
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}, expected at least 1")
