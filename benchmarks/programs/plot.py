"""Draws ``{work|who: milliseconds}`` from standard input into a file."""

import json
import sys

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

medians = json.load(sys.stdin)
sizes = [1, 16, 64, 256]
names = sorted({key.split("|")[1] for key in medians if key.startswith("ten steps, ")})
figure, axes = plt.subplots(figsize=(8, 4.5))
for name in names:
    keys = {size: f"ten steps, {size} in flight, ms a step|{name}" for size in sizes}
    points = [(size, medians[key]) for size, key in keys.items() if key in medians]
    if points:
        style = {"linewidth": 2.5, "color": "black"} if name.startswith("Archon") else {"linewidth": 1.2}
        axes.plot(*zip(*points, strict=True), marker="o", label=name, **style)
axes.set(xscale="log", yscale="log", xlabel="executions in flight", ylabel="milliseconds a step",
         title="Ten steps that do nothing, recorded in one Postgres")  # fmt: skip
axes.set_xticks(sizes, [str(size) for size in sizes])
axes.grid(visible=True, which="major", alpha=0.3)
axes.legend(fontsize=8)
figure.tight_layout()
figure.savefig(sys.argv[1], metadata={"Date": None} if sys.argv[1].endswith(".svg") else None)
