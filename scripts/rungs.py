"""Lists the test programs of a rung among those of one cargo build.

usage: rungs.py BUILD.json RUNG      prints a line for each program: the folder of its package, a tab, the program

All rungs use one build: cargo resolves features for the packages that it builds, so a build for each crate would compile
the dependencies several times.
"""

import json
import pathlib
import sys

UNIT = {"bakery-core", "bakery-context", "bakery-link"}


def rung(package, needs):
    if {"ecs", "k8s"} <= set(needs):
        return "multi-platform"
    for feature in ("ecs", "k8s", "images", "docs", "compose", "dockerfile"):
        if feature in needs:
            return feature
    if "e2e" in needs:
        return "e2e"
    return "unit" if package in UNIT else "crates"


def main(build, wanted):
    for line in open(build, encoding="utf-8"):
        artifact = json.loads(line)
        if artifact.get("reason") != "compiler-artifact" or not artifact.get("executable"):
            continue
        kinds = artifact["target"]["kind"]
        if not artifact["profile"]["test"] or "bench" in kinds or "custom-build" in kinds:
            continue
        folder = pathlib.Path(artifact["manifest_path"]).parent
        package = f"bakery-{folder.name}"
        needs = artifact["target"].get("required-features", []) or artifact["target"].get("required_features", [])
        if rung(package, needs) == wanted:
            print(folder, artifact["executable"], sep="\t")


main(*sys.argv[1:])
