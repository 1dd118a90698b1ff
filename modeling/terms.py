"""Whose faces these are, and what may be done with them: what the cards say and what `publish` allows."""

from dataclasses import dataclass, replace
from typing import Any

from affectnet_plus import CITATION, HOMEPAGE, LICENCE

from .markdown import escaped

_AFFECTNET_LINK = "https://mohammadmahoor.com/pages/databases/affectnet/"
_AFFECTNET_PLUS_LINK = "https://mohammadmahoor.com/pages/databases/affectnetplus/"
_AFFECTNET_CONDITIONS = f"{LICENCE} This folder stays there too."
_WEB_PEOPLE = "Photographs of real people, found on the web: personal data under the GDPR."
_AFFECTNET_PEOPLE = (
    "Photographs of real people, found on the web and not taken with their consent to this use: personal data under "
    "the GDPR. Who finds themselves among the faces asks the licensor, the University of Denver, for removal; then "
    "remove the face from the source and prepare again."
)
_WEB_BIASES = (
    "Faces that a web search for emotion words gives over-represent posed and strong expressions, and people who are "
    "often photographed."
)
_FER2013_LINK = "https://arxiv.org/abs/1307.0414"
_FER2013_FACES = (
    "Photographs that a web search for emotion words gave, cropped to 48x48 grey pixels for the FER2013 contest; each "
    "face has the one label that it was found and checked with. There are no soft labels."
)
_RAFDB_LINK = "http://www.whdeng.cn/RAF/model1.html"
_RAFDB_FACES = (
    "Photographs from the web, each labelled by about 40 people; the label is the emotion that most of them chose. "
    "The shares of their votes are not part of these files, so that there are no soft labels."
)
UNKNOWN = "pictures of unknown origin"  # what `label` says of plain pictures: nobody takes them for free
_UNKNOWN_FACES = (
    "Not known: somebody gave these pictures to `affectnet-plus label`, which cannot tell whose they are, who is seen "
    "on them or how they were gathered."
)
_AFFECTNET_CITATION = """\
@article{mollahosseini2017affectnet,
  title   = "{AffectNet}: A Database for Facial Expression, Valence, and Arousal Computing in the Wild",
  author  = {Mollahosseini, Ali and Hasani, Behzad and Mahoor, Mohammad H.},
  journal = {IEEE Transactions on Affective Computing},
  volume  = {10},
  number  = {1},
  pages   = {18--31},
  year    = {2019},
  note    = {arXiv:1708.03985}
}"""


@dataclass(frozen=True)
class SoftLabels:
    """What generated the soft labels of a tree that `label` wrote, in place of those that its faces came with.

    Attributes:
        ensemble: SHA-256 of the ensemble's configuration, weights and table of training faces.
        fusion: the method that combines the branches.
        action_units: where they are from, in words; None where the ensemble alone was asked.
        human_label: the human label of a face, where it has one, is a source of its soft label.
        version: of this package.
    """

    ensemble: str
    fusion: str
    action_units: str | None
    human_label: bool
    version: str

    def __post_init__(self):
        texts = (self.ensemble, self.fusion, self.action_units or "", self.version)
        if not all(isinstance(text, str) for text in texts) or not isinstance(self.human_label, bool):
            raise TypeError(f"{self} has a value of another type")


@dataclass(frozen=True)
class Annotation:
    """How the labels were made, in the words of Croissant RAI; "unknown" where nobody says.

    Attributes:
        protocol: what was asked, and of whom.
        per_item: how many annotators saw a face.
        annotators: who they were.
        tools: machines that annotated; empty where none did.
    """

    protocol: str
    per_item: str
    annotators: str
    tools: tuple[str, ...] = ()


NOT_KNOWN = "unknown"
_AFFECTNET_ANNOTATION = Annotation(
    "One of twelve annotators chose one of eleven labels, valence and arousal for each face.",
    "1; two for a part of the faces, on whose labels they agreed in about 60 %.",
    "Twelve annotators; who they were is unknown.",
)


@dataclass(frozen=True)
class Terms:
    """What is known of the faces of one origin.

    `free` says that everybody may have them. `licence` holds the keys of a card on the Hub. `published` is an ISO
    date, `collected` and `people` say where the faces come from and who is seen on them; `faces` is `collected`
    without the soft labels, for folders where others stand in their place; `annotation`, how labels were made.
    """

    name: str
    free: bool
    licence: dict[str, Any]
    link: str
    published: str
    collected: str
    faces: str
    biases: str
    conditions: str
    people: str
    annotation: Annotation
    citation: str | None

    @property
    def description(self) -> str:
        return f"Facial images with soft labels, difficulty subsets, valence and arousal. {self.collected}"


TERMS = {
    "drawn": Terms(
        name="Drawn faces in the AffectNet+ layout",
        free=True,
        licence={"license": "apache-2.0"},
        link="https://www.apache.org/licenses/LICENSE-2.0",
        published="2026-11-24",
        collected="Every face was drawn by a program, which chose the action units first and computed soft label, "
        "valence, arousal, head pose and landmarks from them. No photograph and no model trained on one was used.",
        faces="Every face was drawn by a program, which chose the action units first and computed valence, arousal, "
        "head pose and landmarks from them. No photograph was used.",
        biases="One parametric model of a face: as much variety as its parameters have, far less than people have.",
        conditions="The pictures and their annotations are free under the Apache License 2.0, as the program that "
        "drew them is. Figures measured on drawn faces say nothing about photographs.",
        people="None: nobody is seen on these pictures.",
        annotation=Annotation(
            "The program that drew a face wrote what it drew; no person labelled it.",
            "0",
            "None: no person annotated these faces.",
            ("the program that drew the faces",),
        ),
        citation=None,
    ),
    "FER+": Terms(
        name="FER+ in the AffectNet+ layout",
        free=False,
        licence={
            "license": "other",
            "license_name": "fer2013-research",
            "license_link": "https://github.com/microsoft/FERPlus",
        },
        link="https://github.com/microsoft/FERPlus",
        published="2016-08-03",
        collected="Photographs that a web search for emotion words gave, cropped to 48x48 grey pixels for the FER2013 "
        "contest; ten people then voted on each face, and the shares of their votes are the soft labels.",
        faces="Photographs that a web search for emotion words gave, cropped to 48x48 grey pixels for the FER2013 "
        "contest; ten people then voted on each face, and the label is the emotion with most votes.",
        biases=_WEB_BIASES,
        conditions="The votes are Microsoft's, under the MIT licence. The pictures are those of FER2013 (Kaggle, ICML "
        "2013 workshop), which was given out for research; no licence is known that lets anybody pass them on.",
        people=_WEB_PEOPLE,
        annotation=Annotation(
            "Each annotator chose one of eight emotions, unknown or not a face; the votes are given as counts.",
            "10",
            "Workers of a crowd; who they were is unknown.",
        ),
        citation="""\
@inproceedings{barsoum2016training,
  title     = {Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution},
  author    = {Barsoum, Emad and Zhang, Cha and Canton Ferrer, Cristian and Zhang, Zhengyou},
  booktitle = {ACM International Conference on Multimodal Interaction (ICMI)},
  year      = {2016}
}""",
    ),
    "FER2013": Terms(
        name="FER2013, prepared",
        free=False,
        licence={"license": "other", "license_name": "fer2013-research", "license_link": _FER2013_LINK},
        link=_FER2013_LINK,
        published="2013-07-01",
        collected=_FER2013_FACES,
        faces=_FER2013_FACES,
        biases=_WEB_BIASES,
        conditions="The pictures of FER2013 (Kaggle, ICML 2013 workshop) were given out for research; no licence is "
        "known that lets anybody pass them on.",
        people=_WEB_PEOPLE,
        annotation=Annotation(
            "The label is the word that the picture was searched with, checked by people.", NOT_KNOWN, NOT_KNOWN
        ),
        citation="""\
@inproceedings{goodfellow2013challenges,
  title     = {Challenges in Representation Learning: A Report on Three Machine Learning Contests},
  author    = {Goodfellow, Ian J. and others},
  booktitle = {International Conference on Neural Information Processing (ICONIP)},
  year      = {2013},
  note      = {arXiv:1307.0414}
}""",
    ),
    "RAF-DB": Terms(
        name="RAF-DB, prepared",
        free=False,
        licence={"license": "other", "license_name": "raf-db-research", "license_link": _RAFDB_LINK},
        link=_RAFDB_LINK,
        published="2017-07-21",
        collected=_RAFDB_FACES,
        faces=_RAFDB_FACES,
        biases=_WEB_BIASES,
        conditions="RAF-DB is given for non-commercial research to those who ask its authors for it (Beijing "
        "University of Posts and Telecommunications), and may not be passed on.",
        people=_WEB_PEOPLE,
        annotation=Annotation("The label is what most annotators chose.", "about 40", NOT_KNOWN),
        citation="""\
@inproceedings{li2017reliable,
  title     = {Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in the Wild},
  author    = {Li, Shan and Deng, Weihong and Du, JunPing},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2017}
}""",
    ),
    "AffectNet": Terms(
        name="AffectNet, prepared",
        free=False,
        licence={"license": "other", "license_name": "affectnet-academic", "license_link": _AFFECTNET_LINK},
        link=_AFFECTNET_LINK,
        published="2017-08-14",
        collected="Photographs that three web search engines gave for 1,250 emotion words in six languages; one "
        "annotator chose one label, valence and arousal for each face. This release has no soft labels.",
        faces="Photographs that three web search engines gave for 1,250 emotion words in six languages; one annotator "
        "chose one label, valence and arousal for each face.",
        biases=_WEB_BIASES,
        conditions=_AFFECTNET_CONDITIONS,
        people=_AFFECTNET_PEOPLE,
        annotation=_AFFECTNET_ANNOTATION,
        citation=_AFFECTNET_CITATION,
    ),
    "AffectNet+": Terms(
        name="AffectNet+, prepared",
        free=False,
        licence={"license": "other", "license_name": "affectnet-academic", "license_link": _AFFECTNET_PLUS_LINK},
        link=HOMEPAGE,
        published="2024-10-29",
        collected="The photographs of AffectNet, which three web search engines gave for 1,250 emotion words in six "
        "languages. One annotator chose the label, valence and arousal. Soft labels, age, gender, ethnicity, head "
        "pose and landmarks were computed by models; no person checked them face by face.",
        faces="The photographs of AffectNet, which three web search engines gave for 1,250 emotion words in six "
        "languages. One annotator chose the label, valence and arousal. Age, gender, ethnicity, head pose and "
        "landmarks were computed by models; no person checked them face by face.",
        biases=_WEB_BIASES,
        conditions=_AFFECTNET_CONDITIONS,
        people=_AFFECTNET_PEOPLE,
        annotation=replace(
            _AFFECTNET_ANNOTATION,
            tools=(
                "soft labels: an ensemble of binary classifiers and a score of facial action units; weights unknown",
                "age, gender, ethnicity, head pose and landmarks: models, of unknown accuracy on these faces",
            ),
        ),
        citation=CITATION,
    ),
    UNKNOWN: Terms(
        name="Pictures of unknown origin in the AffectNet+ layout",
        free=False,
        licence={"license": "unknown"},
        link="https://arxiv.org/abs/2410.22506",
        published="2024-10-29",
        collected=_UNKNOWN_FACES,
        faces=_UNKNOWN_FACES,
        biases="Not known.",
        conditions="Not known. Treat the faces as licensed, and do not pass them on before you have asked.",
        people="Not known. Faces of real people are personal data under the GDPR.",
        annotation=Annotation(NOT_KNOWN, NOT_KNOWN, NOT_KNOWN),
        citation=None,
    ),
}


def terms_of(origin: str, soft_labels: dict | None = None) -> Terms:
    """The terms of an origin; faces of one that is not in the table are not free until somebody says so.

    Args:
        soft_labels: the fields of a `SoftLabels` where the soft labels are not those of the origin. The terms of the
            faces stay what they are.
    """
    if origin in TERMS:
        terms = TERMS[origin]
    else:
        said = f"Not known: the source calls itself {escaped(origin)}."
        name = f"{escaped(origin)} in the AffectNet+ layout"
        terms = replace(TERMS[UNKNOWN], name=name, collected=said, faces=said)
    return terms if soft_labels is None else _with_generated(terms, SoftLabels(**soft_labels))


def _with_generated(terms: Terms, soft_labels: SoftLabels) -> Terms:
    units = escaped(soft_labels.action_units) if soft_labels.action_units else None
    said = (
        f"The soft labels were generated, by `affectnet-plus label` {escaped(soft_labels.version)}: an ensemble of "
        f"binary classifiers (SHA-256 {escaped(soft_labels.ensemble[:12])}...) trained on hard labels"
        + (f", action units from {units}" if units else ", without action units")
        + (", and the human label" if soft_labels.human_label else "")
        + f"; fusion: {escaped(soft_labels.fusion)}. They are neither votes of people nor those of a release, and no "
        "person checked them face by face."
    )
    return replace(
        terms,
        name=f"{terms.name}, with generated soft labels",
        collected=f"{terms.faces} {said}",
        annotation=replace(
            terms.annotation,
            tools=(
                *(tool for tool in terms.annotation.tools if not tool.startswith("soft labels")),
                f"soft labels: affectnet-plus label {escaped(soft_labels.version)}",
            ),
        ),
        biases=f"{terms.biases} Generated soft labels carry the errors of the models that made them.",
        conditions=f"{terms.conditions} The soft labels stand under the terms of the ensemble as well, which are "
        "those of the faces that it was trained on.",
    )
