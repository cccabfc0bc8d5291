"""`arcwise compare --matrix`: all faces of all photos against each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from arcwise.cli.options import resolve_photos
from arcwise.cli.reporting import (
    check_beside,
    check_libraries,
    describe_run,
    digest_faces,
    name_apart,
)
from arcwise.cli.show import count, print_json, print_note, print_table, report_unreadable, watch

if TYPE_CHECKING:
    from arcwise.evaluate.matrix import SimilarityMatrix
    from arcwise.evaluate.report import Document
    from arcwise.image import PhotoSource
    from arcwise.recognizer import Recognizer
    from arcwise.types import Faces

SUFFIXES = (".svg", ".png", ".html", ".md", ".json")
_MOST_COLUMNS = 12  # faces of a matrix that a terminal can hold
_N_PAIRS = 20  # most alike pairs that are listed


def show_matrix(
    recognizer: Recognizer, words: Sequence[str], *, out: Path | None, as_json: bool
) -> None:
    """Compare all faces of some photos, print the matrix and draw it.

    Args:
        recognizer: does the work.
        words: photos, folders, - (stdin).
        out: .svg or .png of the matrix, or a report (.html, .md, .json); None draws nothing.
        as_json: print one JSON document.

    Raises:
        InputError: a photo is not there, or `out` cannot be written.
        Exit: with 1, no face was found; with 3, a photo could not be read.
    """
    sources = resolve_photos(words)
    if out is not None:
        check_beside(out, [*words, *sources], SUFFIXES)
        check_libraries(out)
    found = list(watch(recognizer.analyze_many(sources), total=len(sources), doing="embedding"))
    matrix = _compare(recognizer, sources, found)
    if matrix is not None:
        document = _describe(recognizer, matrix, found)
        if out is not None:
            _write(matrix, document, out)
        _print(matrix, document, as_json=as_json)
    elif as_json:
        print_json({"faces": [], "similarities": []})
    for faces in found:
        if faces.error is None and not faces.faces:
            print_note(f"no face in {faces.source}")
    if report_unreadable(faces.error for faces in found):
        raise typer.Exit(3)
    if matrix is None:
        raise typer.Exit(1)


def _compare(
    recognizer: Recognizer, sources: Sequence[PhotoSource], found: Sequence[Faces]
) -> SimilarityMatrix | None:
    import numpy as np

    from arcwise.compare import choose_threshold
    from arcwise.evaluate.matrix import FaceOf, compare_all

    names = _name_photos(sources)
    faces, vectors = [], []
    for name, result in zip(names, found, strict=True):
        for number, face in enumerate(result, start=1):
            faces.append(FaceOf(name, number))
            vectors.append(face.embedding)
    if not faces:
        return None
    threshold = choose_threshold(recognizer.calibration, recognizer.published_threshold)
    threshold = threshold.with_caveat(recognizer.caveat)
    return compare_all(faces, np.array(vectors, np.float32), threshold=threshold)


def _name_photos(sources: Sequence[PhotoSource]) -> list[str]:
    """File names where they tell photos apart, else whole paths; one given twice gets a number."""
    from arcwise.image import describe_source

    paths = [describe_source(source) for source in sources]
    short = [Path(path).name for path in paths]
    names = short if len(set(short)) == len(set(paths)) else paths
    return name_apart(names)


def _describe(recognizer: Recognizer, matrix: SimilarityMatrix, found: Sequence[Faces]) -> Document:
    from arcwise.evaluate.report import Section, Table

    pairs = matrix.most_alike(_N_PAIRS)
    cells = tuple((str(p.a), str(p.b), f"{p.similarity:.4f}") for p in pairs)
    tables = [Table("Most alike", ("face", "face", "similarity"), cells)] if cells else []
    return describe_run(
        "Similarity of all faces",
        recognizer,
        data=f"{count(len(matrix.faces), 'face')} of {count(len(found), 'photo')}",
        data_digest=digest_faces(found),
        sections=[Section("Matrix", rows=tuple(matrix.rows()), tables=tuple(tables))],
        values=matrix.to_dict(),
    )


def _write(matrix: SimilarityMatrix, document: Document, out: Path) -> None:
    from dataclasses import replace

    from arcwise.evaluate.report import Figure, write_document
    from arcwise.files import write_atomically

    if out.suffix.lower() in (".md", ".json"):
        write_document(document, out)
        return
    from arcwise.evaluate.report.maps import picture_matrix, plot_matrix

    if out.suffix.lower() == ".png":
        write_atomically(out, picture_matrix(matrix.similarities, matrix.labels))
        return
    svg = plot_matrix(matrix.similarities, matrix.labels)
    if out.suffix.lower() == ".svg":
        write_atomically(out, svg.encode())
        return
    caption = "Cosine of every face with every face; the most alike two are framed."
    figure = Figure("Similarities", svg, caption)
    (section,) = document.sections
    section = replace(section, figures=(figure,))
    write_document(replace(document, sections=(section,)), out)


def _print(matrix: SimilarityMatrix, document: Document, *, as_json: bool) -> None:
    if as_json:
        print_json({"model": document.model} | matrix.to_dict())
        return
    n = len(matrix.faces)
    if n <= _MOST_COLUMNS:
        numbers = [str(number + 1) for number in range(n)]
        rows = [
            [number, label, *(f"{value:.3f}" for value in line)]
            for number, label, line in zip(numbers, matrix.labels, matrix.similarities, strict=True)
        ]
        print_table(["", "face", *numbers], rows)
    else:
        pairs = [
            [str(pair.a), str(pair.b), f"{pair.similarity:.4f}"]
            for pair in matrix.most_alike(_N_PAIRS)
        ]
        print_table(["face", "face", "similarity"], pairs, title="most alike")
        print_note(f"{n} faces are too many to print; --json or --out has the matrix")
    typer.echo("")
    rows = [[row.name, row.value, row.definition] for row in matrix.rows()]
    print_table(["what", "value", "definition"], rows)
