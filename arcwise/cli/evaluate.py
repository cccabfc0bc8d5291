"""`arcwise evaluate`: how good a model is, by the standard protocols."""

from __future__ import annotations

import typer

from arcwise.cli.clusters import clusters
from arcwise.cli.embeddings import embeddings
from arcwise.cli.groups import groups
from arcwise.cli.identification import gallery
from arcwise.cli.ijb import ijb
from arcwise.cli.report import report
from arcwise.cli.retrieval import retrieval
from arcwise.cli.verification import verification

evaluate_app = typer.Typer()

for command in (verification, gallery, retrieval, clusters, ijb, groups, embeddings, report):
    evaluate_app.command()(command)
