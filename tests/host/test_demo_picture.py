"""`python dev.py demo --picture FILE`: bad files are told before the host starts, a good one runs through the workflow's graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.host.host_server import HostServer
from tools import demo

DRAWING = Path(__file__).resolve().parents[1] / "data" / "drawings" / "crayon.webp"


def test_bad_pictures_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "half.webp").write_bytes(DRAWING.read_bytes()[:4000])
    Image.new("RGB", (300, 400), (240, 240, 230)).save(tmp_path / "plain.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "tiny.png")
    Image.new("RGBA", (300, 400)).save(tmp_path / "clear.png")
    for name, words in {"absent.png": "not found", "": "is a folder", "text.png": "cannot be read",
                        "empty.jpg": "cannot be read", "half.webp": "cannot be read", "plain.png": "one colour",
                        "tiny.png": "too small", "clear.png": "one colour"}.items():
        with pytest.raises(demo.DemoError, match=words) as told:
            demo.parse(["--picture", str(tmp_path / name)])
        assert str(told.value).startswith("--picture:") and name in str(told.value)
    with pytest.raises(demo.DemoError, match="--picture is for the built-in model"):
        demo.parse(["--picture", str(DRAWING), "--models", str(tmp_path)])


def test_a_drawing_runs(host: HostServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = demo.parse(["--picture", str(DRAWING), "--motion", "wave", "--frames", "4", "--steps", "1", "--seed", "7"])
    assert "a figure 4" in capsys.readouterr().out, "what was found"
    Image.open(DRAWING).save(host.input / "drawing.png")
    graph = demo.drawing_graph(arguments, "drawing.png")
    assert (graph["moves"]["inputs"]["motion"], graph["moves"]["inputs"]["seed"], graph["moves"]["inputs"]["period"]) == ("wave", 7, 4)
    result = demo.run_graph(host, graph)
    made = {path.name: path for path in demo.save_results(host, result, tmp_path)}
    assert set(made) == {"demo.mp4", "demo.webp", "demo.png"}
    with Image.open(made["demo.webp"]) as clip:
        assert clip.n_frames == 4  # type: ignore[attr-defined]
    assert np.ptp(result.images("frames").astype(int), axis=0).max() > 20
