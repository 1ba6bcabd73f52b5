"""Draw up the scorecard: what the paper claims, what it found, what we found, and the verdict.

    python docs/make_scorecard.py

Reads docs/results and writes docs/scorecard.md. A verdict is not written by hand: a claim says what a measure
has to be above (or below), and its 95 % interval decides.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from plqlite.experiments.masks import COLOURS
from plqlite.files import write_text

HERE = Path(__file__).parent
NETWORKS = {"sface": "SFace", "facenet": "FaceNet"}


class Claim(NamedTuple):
    """What the paper says, and how to tell whether it is so."""

    where: str  # in the paper
    says: str
    found: str  # the paper's numbers
    measures: list[str]  # of docs/results; each of them has to be
    bound: float | str  # they have to be above it: a number, or the interval of another measure
    link: list[str]  # notebook, heading
    below: bool = False  # they have to be below it instead
    clearly: float | None = None  # what they should reach to be more than "weaker"
    percent: bool = False  # written as a percentage
    note: str = ""
    untested: str = ""  # the reason


PAGE = """# Scorecard

What the paper claims, and what became of it here. `python docs/make_scorecard.py` writes this page from
[claims.json](claims.json) and [results](results/claims.csv), and a test keeps it current.

**Our networks are not the paper's.** The paper used ArcFace and a FaceNet trained on other photos; ours are
the two that may be passed on ([00](../notebooks/00_quickstart.ipynb)). So a claim that fails here may hold
there.

**Verdicts are computed.** Each claim says what a measure has to be above or below, such as one half of the
masks. If its whole 95 % interval over subjects is on that side, the claim is *reproduced*; if it is on the
other side, *contradicted*; if neither, *not settled*. *Weaker*: it holds for some of the measures only, or
falls short of what the paper found or of what would convince.

{table}

*n*: photos, altered versions of them, or, for errors, genuine pairs. Most are {photos} photos of {subjects}
people (LFW) whose face nothing covers, or nine sample faces. Where the paper shows pictures, there is no
number to compare with. Fig. 1, the method on one face, is [00](../notebooks/00_quickstart.ipynb); that it
takes any network, untrained, is [10](../notebooks/10_your_own_model.ipynb).

Measured by `{command}` ({date}), `{evaluated}`, and, for inpainting,
`python data_scripts/make_inpainted.py FOLDER --out OUT --occlude` on 100 photos.
"""


def read_claims() -> list[Claim]:
    """Return all claims, in the order of the paper."""
    return [Claim(**each) for each in json.loads((HERE / "claims.json").read_text("utf-8"))]


def read_results() -> pd.DataFrame:
    """Return all measures, indexed by network and name: mean, low, high, count."""
    results = HERE / "results"
    parts = [pd.read_csv(results / f"{name}.csv") for name in ("claims", "inpainting")]
    agreement = pd.read_csv(results / "evaluation" / "agreement.csv", keep_default_na=False)
    agreement = agreement[agreement["fill"] == "all"]
    ahead = agreement["ahead_of"].where(agreement["ahead_of"] == "", ", ahead of " + agreement["ahead_of"])
    parts.append(agreement.assign(measure=agreement["measure"] + ", " + agreement["map"] + ahead))
    areas = pd.read_csv(results / "evaluation" / "discard_areas.csv")
    areas["measure"] = [f"{row.score}, FMR {row.fmr:g}, limit {row.limit:g}" for row in areas.itertuples()]
    parts.append(areas)
    rows = pd.concat(parts).set_index(["model", "measure"])[["mean", "low", "high", "count"]]
    for model in NETWORKS:  # median, 5th and 95th percentile -> the width
        _, low, high, count = rows.loc[(model, "Q of the development set, 5 to 95 %")]
        rows.loc[(model, "range of Q"), :] = high - low, high - low, high - low, count
    return rows


def verdict(claim: Claim, rows: pd.DataFrame) -> str:
    """Say what the intervals of one network say of a claim."""
    if claim.untested:
        return f"not tested: {claim.untested}"
    sign = -1 if claim.below else 1
    than = float(rows.loc[claim.bound, "high"]) if isinstance(claim.bound, str) else claim.bound
    signed = [sign * rows.loc[name, ["low", "high"]] for name in claim.measures]
    bounds = [(each.min(), each.max()) for each in signed]
    so = [low > sign * than for low, _ in bounds]
    otherwise = [high < sign * than for _, high in bounds]
    if all(so):
        weak = claim.clearly is not None and any(high < sign * claim.clearly for _, high in bounds)
        return "weaker" if weak else "reproduced"
    if any(so):
        return "weaker"
    return "contradicted" if any(otherwise) else "not settled"


def written(row: pd.Series, percent: bool = False) -> str:
    """Write a mean with its interval."""
    times, digits = (100, 0) if percent else (1, 2)
    mean, low, high = (f"{times * row[name]:.{digits}f}" for name in ("mean", "low", "high"))
    return (mean if low == high else f"{mean} [{low}, {high}]").replace("-", "−")


def cell(claim: Claim, rows: pd.DataFrame) -> str:
    """Write the measures of one network."""
    found = ", ".join(written(rows.loc[name], claim.percent) for name in claim.measures)
    if isinstance(claim.bound, str):
        found += f" ({claim.bound} {written(rows.loc[claim.bound], claim.percent)})"
    return found + " %" * claim.percent


def explained(claim: Claim, networks: list[pd.DataFrame]) -> str:
    """Write the note; {measure} becomes its means for both networks."""
    note = claim.note
    for name in re.findall(r"\{(.*?)\}", note):
        if name == "colours":
            found = [rows.loc[[f"Δ_p, {colour}" for colour in COLOURS], "mean"] for rows in networks]
            values = [f"{each.min():.2f} to {each.max():.2f}" for each in found]
        elif name.startswith("%"):
            values = [f"{100 * rows.loc[name[1:], 'mean']:.0f}" for rows in networks]
        else:
            values = [f"{rows.loc[name, 'mean']:.2f}" for rows in networks]
        note = note.replace(f"{{{name}}}", " and ".join(values).replace("-", "−"))
    return f"{note}; " * bool(note) + required(claim)


def required(claim: Claim) -> str:
    """Write what the measures have to be."""
    if claim.untested:
        return "not compared"
    side, other = ("below", "above") if claim.below else ("above", "below")
    than = (
        f"the share that went {claim.bound}" if isinstance(claim.bound, str) else number(claim.bound, claim)
    )
    weaker = f"; {other} {number(claim.clearly, claim)}, it is weaker" if claim.clearly is not None else ""
    return f"has to be {side} {than}{weaker}"


def number(value: float, claim: Claim) -> str:
    """Write a bound."""
    return f"{100 * value:g} %" if claim.percent else f"{value:g}"


def line(claim: Claim, networks: list[pd.DataFrame]) -> str:
    """Write a row of the table."""
    verdicts = [verdict(claim, rows) for rows in networks]
    alike = len(set(verdicts)) == 1
    said = verdicts[0] if alike else "; ".join(map(" ".join, zip(NETWORKS.values(), verdicts, strict=True)))
    counts = [sorted({int(rows.loc[name, "count"]) for name in claim.measures}) for rows in networks]
    n = ", ".join(map(str, dict.fromkeys(each for count in counts for each in count)))
    notebook, heading = claim.link
    target = f"../notebooks/{notebook}.ipynb#{heading.replace(' ', '-')}"
    cells = (
        claim.where,
        claim.says,
        claim.found,
        explained(claim, networks),
        *(cell(claim, rows) for rows in networks),
        n,
        f"**{said}** ([{notebook[:2]}]({target}))",
    )
    return f"| {' | '.join(cells)} |"


def scorecard() -> str:
    """Return the whole page."""
    rows, about = read_results(), json.loads((HERE / "results" / "claims.json").read_text("utf-8"))
    networks = [rows.loc[model] for model in NETWORKS]
    evaluated = json.loads((HERE / "results" / "evaluation" / "about.json").read_text("utf-8"))
    head = ("paper", "claim", "the paper's number", "our measure", *NETWORKS.values(), "n", "verdict")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    lines += [line(claim, networks) for claim in read_claims()]
    return PAGE.format(**about, table="\n".join(lines), evaluated=evaluated["command"])


if __name__ == "__main__":
    write_text(HERE / "scorecard.md", scorecard())
