"""What the built-in model must reach, and its figures as a table, as JSON and in its README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .loop import TrainingError, write_file
from .worlds import HOME

Figures = dict[str, dict[str, float]]
REPORT, README = "evaluation.json", "README.md"
BEGIN, END = "<!-- evaluation: written by `python -m training report` -->", "<!-- evaluation ends -->"
COLUMNS = {"psnr": ("PSNR", 2), "ssim": ("SSIM", 3), "edges": ("edges", 3), "halo": ("halo", 4), "flicker": ("flicker", 4),
           "colour": ("colour", 4)}
NAMES = {"ours": "the model", "vae": "autoencoder", "wrong reference": "another character's reference",
         "wrong poses": "another motion's poses", "no motion modules": "without motion modules"}


def targets(world: str, figures: Figures) -> list[dict[str, Any]]:
    """name, value, wanted, at_least (else at most) and reached of each aim that the figures tell of."""
    home = world == HOME
    vae, still = figures["vae"], figures["still"]
    lines = [("autoencoder's PSNR, dB", vae["psnr"], 32.0 if home else 30.0, True), ("autoencoder's edges", vae["edges"], 0.88, True)]
    if "ours" in figures:
        ours = figures["ours"]
        lines += [("PSNR above the reference shown still, dB", ours["psnr"] - still["psnr"], 9.0 if home else 7.5, True),
                  ("SSIM above the reference shown still", ours["ssim"] - still["ssim"], 0.05, True),
                  ("PSNR below the autoencoder's, dB", vae["psnr"] - ours["psnr"], 2.5 if home else 3.5, False),
                  ("edges", ours["edges"], 0.80, True), ("halo", ours["halo"], 0.010, False),
                  ("flicker, of the autoencoder's", ours["flicker"] / vae["flicker"], 1.25, False),
                  ("colour error inside the mask", ours["colour"], 0.06, False)]
    if "wrong reference" in figures:
        lines += [("PSNR above another character's reference, dB", ours["psnr"] - figures["wrong reference"]["psnr"], 3.0, True),
                  ("PSNR above another motion's poses, dB", ours["psnr"] - figures["wrong poses"]["psnr"], 2.0, True),
                  ("flicker below without motion modules", 1 - ours["flicker"] / figures["no motion modules"]["flicker"], 0.2, True)]
    return [{"name": name, "value": value, "wanted": wanted, "at_least": more, "reached": value >= wanted if more else value <= wanted}
            for name, value, wanted, more in lines]


def table(world: str, figures: Figures) -> str:
    """For a terminal."""
    lines = [f"{world:20}" + "".join(f"{name:>9}" for name, _ in COLUMNS.values())]
    lines += [f"{way:20}" + "".join(f"{v[key]:9.{digits}f}" for key, (_, digits) in COLUMNS.items()) for way, v in figures.items()]
    lines += [f"{'reached' if t['reached'] else 'MISSED':8} {t['name']}: {t['value']:.3f} (wanted: {bound(t)})" for t in
              targets(world, figures)]
    return "\n".join(lines) + "\n"


def bound(target: dict[str, Any]) -> str:
    return f"{'>=' if target['at_least'] else '<='} {target['wanted']:g}"


def write_report(worlds: dict[str, Figures], settings: dict[str, Any], output: Path) -> None:
    report = {"settings": settings,
              "worlds": {world: {"figures": figures, "targets": targets(world, figures)} for world, figures in worlds.items()}}
    output.mkdir(parents=True, exist_ok=True)
    (output / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def markdown(report: dict[str, Any]) -> str:
    """The tables of an evaluation: figures of each world, then the aims of all."""
    s = report["settings"]
    out = [f"{s['characters']} characters of each world, {s['frames']} frames of {s['width']}x{s['height']} pixels each, {s['steps']} "
           f"steps, guidance {s['guidance']:g}.", ""]
    for world, part in report["worlds"].items():
        out += [f"| {world} | " + " | ".join(name for name, _ in COLUMNS.values()) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
        out += [f"| {NAMES.get(way, way)} | " + " | ".join(f"{v[key]:.{digits}f}" for key, (_, digits) in COLUMNS.items()) + " |"
                for way, v in part["figures"].items()]
        out.append("")
    worlds = list(report["worlds"].values())
    out += ["| aim | " + " | ".join(report["worlds"]) + " |", "|---" * (1 + len(worlds)) + "|"]
    for same in zip(*(part["targets"] for part in worlds), strict=True):
        cells = [f"{t['value']:.3f} ({bound(t)}: {'yes' if t['reached'] else '**no**'})" for t in same]
        out.append(f"| {same[0]['name']} | " + " | ".join(cells) + " |")
    return "\n".join(out)


def update_readme(folder: Path) -> Path:
    """Puts the tables of the folder's evaluation into its README, between the marks. Raises TrainingError if either is missing."""
    readme, source = folder / README, folder / REPORT
    for path in (readme, source):
        if not path.is_file():
            raise TrainingError(f"{path}: is not there")
    text = readme.read_text(encoding="utf-8")
    if not 0 <= text.find(BEGIN) < text.find(END):
        raise TrainingError(f"{readme}: has no place for the tables; it begins with {BEGIN} and ends with {END}")
    before, after = text.split(BEGIN, 1)[0], text.split(END, 1)[1]
    made = f"{before}{BEGIN}\n\n{markdown(json.loads(source.read_text(encoding='utf-8')))}\n\n{END}{after}"

    def write(path: Path) -> None:
        path.write_text(made, encoding="utf-8")

    if not write_file(readme, write):
        raise TrainingError(f"{readme}: could not be written")
    return readme
