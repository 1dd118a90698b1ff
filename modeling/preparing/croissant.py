"""Croissant metadata (ML Commons, 1.1) of a prepared folder: files with checksums, one record set for each view."""

import hashlib

import datasets

from affectnet_plus import VIEWS, AffectNetPlus, features, filters

from ..terms import Terms
from .columns import COLUMNS
from .views import files_of

# As the specification prints it. A reader that finds another one warns.
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
PARQUET = "application/x-parquet"
TYPES = {"string": "sc:Text", "float32": "cr:Float32", "int64": "cr:Int64"}


def croissant(terms: Terms, views: dict[str, dict[str, int]], manifest: dict) -> dict:
    """The JSON-LD of a prepared folder, to be saved as `croissant.json` in it.

    Croissant selects files and no rows: there is a record set for each view that has all rows of its files, which says
    what the others ask of them.

    Args:
        views: view -> split -> how many rows it has there.
        manifest: as `write_card` takes it.
    """
    sizes = manifest["files"]
    files = {
        view: {split: files_of(view, split, sizes) for split in splits}
        for view, splits in views.items()
        if not filters(view)
    }
    contents = "".join(f"{name} {sizes[name]['sha256']}\n" for name in sorted(sizes))
    embedded = manifest["embedded"]
    splits = list(dict.fromkeys(split for parts in files.values() for split in parts))
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": terms.name,
        "description": terms.description,
        "url": terms.link,
        "license": terms.licence.get("license_link", terms.link),
        "citeAs": terms.citation or terms.name,
        "datePublished": terms.published,
        "version": f"{AffectNetPlus.VERSION}+{hashlib.sha256(contents.encode()).hexdigest()[:12]}",
        "isLiveDataset": False,
        "keywords": ["facial expression", "soft label", "valence", "arousal"],
        **_responsible(terms),
        "distribution": [_file(name, sizes[name]) for name in sorted(sizes)]
        + [_file_set(view, parts) for view, parts in files.items()],
        "recordSet": [_splits(splits)] + [_record_set(view, parts, embedded) for view, parts in files.items()],
    }


# --- what readers should know before they use it ---------------------------------------------------------------------


def _responsible(terms: Terms) -> dict:
    """The vocabulary of Croissant RAI 1.0."""
    return {
        "rai:dataCollection": terms.collected,
        "rai:dataAnnotationProtocol": terms.annotation.protocol,
        "rai:annotationsPerItem": terms.annotation.per_item,
        "rai:annotatorDemographics": terms.annotation.annotators,
        "rai:machineAnnotationTools": list(terms.annotation.tools) or ["none"],
        "rai:dataSocialImpact": "May help to study how expressions are perceived, and how unequally models perceive "
        "them. Labels of observers are easily taken for feelings, to the harm of those who are judged by them; how "
        "expressions are shown and read differs between persons, cultures and situations.",
        "rai:personalSensitiveInformation": [
            terms.people,
            "Age, gender and ethnicity, where present, were predicted by a machine and not stated by the people seen.",
        ],
        "rai:dataLimitations": [
            "An expression is not a felt emotion: labels say what observers, or models of them, saw in one picture.",
            "Soft labels as delivered are independent confidences and not a distribution.",
            "The classes are far from balanced; rows are in a random order.",
        ],
        "rai:dataBiases": [
            terms.biases,
            "Predicted age, gender and ethnicity carry the errors and the categories of the models that made them.",
        ],
        "rai:dataUseCases": [
            "Research on how facial expressions are perceived; training and audits of models of that perception.",
            "Not for decisions about people. Inferring emotions of people at work or in education is prohibited in "
            "the EU (Regulation 2024/1689, Article 5(1)(f)).",
        ],
        "rai:dataPreprocessingProtocol": [
            "Every row was checked; what could not be a row was left out, and nothing was repaired.",
        ],
        "rai:dataReleaseMaintenancePlan": terms.conditions,
    }


# --- files and records -----------------------------------------------------------------------------------------------


def _file(name: str, size: dict) -> dict:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{size['bytes']} B",
        "encodingFormat": PARQUET,
        "sha256": size["sha256"],
    }


def _file_set(view: str, parts: dict[str, list[str]]) -> dict:
    return {
        "@type": "cr:FileSet",
        "@id": f"{view}-files",
        "name": f"{view}-files",
        "description": f"The files of the view {view}.",
        "encodingFormat": PARQUET,
        "includes": [name for names in parts.values() for name in names],
    }


def _splits(names: list[str]) -> dict:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The splits that the record sets name.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [{"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"}],
        "data": [{"splits/name": name} for name in names],
    }


def _record_set(view: str, parts: dict[str, list[str]], embedded: bool) -> dict:
    return {
        "@type": "cr:RecordSet",
        "@id": view,
        "name": view,
        "description": _rows_of(view, list(parts)),
        "key": {"@id": f"{view}/image_id"},
        "field": [_split(view)] + [_column(view, name, kind, embedded) for name, kind in features(view).items()],
    }


def _rows_of(view: str, splits: list[str]) -> str:
    said = f"The rows of load_dataset(folder, {view!r}): {', '.join(splits)}."
    if view != "all":
        return said
    asked = {
        other: " and ".join(f"{column} {sign} {bound}" for column, sign, bound in filters(other)) for other in VIEWS
    }
    return f"{said} Of them, {'; '.join(f'{other} has those with {rule}' for other, rule in asked.items() if rule)}."


def _split(view: str) -> dict:
    """The split is the first word of a file's name, but the only split of `no_human` is called train."""
    field = {
        "@type": "cr:Field",
        "@id": f"{view}/split",
        "name": "split",
        "description": "The split of the row.",
        "dataType": "sc:Text",
    }
    if view == "no_human":
        return field | {"value": "train"}
    source = {
        "fileSet": {"@id": f"{view}-files"},
        "extract": {"fileProperty": "fullpath"},
        "transform": {"regex": "(?:data/)?(train|validation)"},
    }
    return field | {"source": source, "references": {"field": {"@id": "splits/name"}}}


def _column(view: str, name: str, kind, embedded: bool) -> dict:
    column, identifier = COLUMNS[name], f"{view}/{name}"
    unit = "; ".join(text for text in (column.unit, column.range) if text)
    field = {
        "@type": "cr:Field",
        "@id": identifier,
        "name": name,
        "description": f"{column.meaning} ({unit})".replace("**", ""),
    }
    source = {"fileSet": {"@id": f"{view}-files"}, "extract": {"column": name}}
    if isinstance(kind, datasets.Image):
        part, data_type = ("bytes", "sc:ImageObject") if embedded else ("path", "sc:Text")
        return field | {"dataType": data_type, "source": source | {"transform": {"jsonPath": part}}}
    if isinstance(kind, dict):
        return field | {"subField": [_part(identifier, key, value, source) for key, value in kind.items()]}
    if isinstance(kind, datasets.Array2D):
        shape = {"isArray": True, "arrayShape": ",".join(map(str, kind.shape))}
        return field | {"dataType": TYPES[kind.dtype], **shape, "source": source}
    if isinstance(kind, (datasets.Value, datasets.ClassLabel)):
        return field | {"dataType": TYPES[kind.dtype], "source": source}
    shape = {"isArray": True, "arrayShape": str(kind.length)}
    return field | {"dataType": TYPES[kind.feature.dtype], **shape, "source": source}


def _part(identifier: str, key: str, value: datasets.Value, source: dict) -> dict:
    return {
        "@type": "cr:Field",
        "@id": f"{identifier}/{key}",
        "name": key,
        "dataType": TYPES[value.dtype],
        "source": source | {"transform": {"jsonPath": key}},
    }
