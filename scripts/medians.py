"""Compares two sets of runs of a benchmark.

usage: medians.py NAME BASE.txt OURS.txt      the files hold reports of runs of two pairs each (testkit's src/bench.rs)

With two pairs, the minimum and the maximum of a report are its two samples.
"""

import re
import statistics
import sys

LINE = re.compile(r"^  bakery +median +\S+ \S+ +min +(\S+) +max +(\S+)$", re.MULTILINE)


def samples(file):
    with open(file, encoding="utf-8") as text:
        found = [float(sample) for line in LINE.findall(text.read()) for sample in line]
    return found or sys.exit(f"error: {file} holds no report")


def main(name, *files):
    base, ours = (samples(file) for file in files)
    for side, found in (("base", base), ("ours", ours)):
        median = statistics.median(found)
        print(f"{name}: {side} {len(found)} samples, median {median:.3f} s, min {min(found):.3f}, max {max(found):.3f}")
    print(f"{name}: ratio of medians, ours to base: {statistics.median(ours) / statistics.median(base):.3f}")


main(*sys.argv[1:])
