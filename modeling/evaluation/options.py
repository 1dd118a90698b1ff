"""What evaluating and calibrating may be told. No torch in here: the command line reads its defaults."""

from dataclasses import dataclass

from ..options import check_options, option


@dataclass(frozen=True)
class EvaluationOptions:
    """What is computed beside the numbers of all faces.

    Raises:
        ValueError: a number is out of its range.
    """

    resamples: int = option(2000, help="resamples of the bootstrap, for the intervals", low=1, group="numbers")
    level: float = option(0.95, help="coverage of the intervals", above=0, below=1)
    seed: int = option(0, help="seed of everything that is random", low=0)
    min_cell: int = option(50, help="least faces of which a number of a group is shown", low=1)
    compare: str | None = option(
        None,
        help="other model, or file of predictions, to set beside MODEL face by face",
        metavar="OTHER",
        hub="model",
    )
    label_order: str | None = option(
        None, help="what p0, p1, ... of a file of predictions stand for, such as ferplus", metavar="ORDER"
    )
    missing: str = option(
        "refuse",
        help="faces without a prediction in such a file: not taken, left out, or judged as if all emotions were alike "
        "likely",
        choices=("refuse", "skip", "uniform"),
    )
    calibrated_faces: str = option(
        "skip",
        help="faces of the split that the model was calibrated on (calibrate --share): left out, unless there are no "
        "others, or measured with the others",
        choices=("skip", "measure"),
    )

    def __post_init__(self):
        check_options(self)


@dataclass(frozen=True)
class CalibrationOptions:
    """What is promised, and what it is fitted to.

    Attributes:
        method: "threshold" gives the smallest sets on average, "aps" larger sets for harder faces.
        per_class: a quantile of each class (Mondrian). A marginal coverage of .9 may be reached with the frequent
            emotions alone, and hold nearly nothing of contempt.
        of: what the truth is: "label", the face's human label, or "vote", that of one random annotator, as often as
            the soft label says. AffectNet+ has the label of one annotator and a soft label that was computed; where
            the soft label is counted votes, as in FER+, "vote" promises more.
        share: of the split that is used; `in_share` says which faces, so that others can be measured.

    Raises:
        ValueError: a number is out of its range, or a word is not one of the choices.
    """

    coverage: float = option(0.9, help="how often the prediction set holds the truth", above=0, below=1)
    method: str = option("threshold", help="rule of the prediction set", choices=("threshold", "aps"))
    per_class: bool = option(
        False, help="promise the coverage for the faces of each emotion, not only on average: larger sets"
    )
    of: str = option("label", help="truth: the label, or one random vote", choices=("label", "vote"))
    against: str = option("soft", help="labels that the temperature is fitted to", choices=("soft", "hard"))
    abstain_accuracy: float = option(0.9, help="accuracy of the faces that are answered", above=0, high=1)
    abstain_confidence: float = option(
        0.95, help="probability that new faces have that accuracy; 0 asks it of these faces only", low=0, below=1
    )
    share: float = option(1.0, help="random share of the faces to use", above=0, high=1)
    seed: int = option(0, help="seed of everything that is random", low=0)

    def __post_init__(self):
        check_options(self)
