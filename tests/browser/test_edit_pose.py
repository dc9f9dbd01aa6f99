"""Edit Pose in the host's real page, by mouse, finger and keys: dragged, run, saved, reloaded, copied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page

from animate_core.pose.editing import edit_pose, of_length, read_edits, shown_poses
from animate_core.pose.keypoints import body_clip
from animate_core.pose.moves import move_clip
from tests.browser.conftest import VIEW
from tests.browser.editor_page import EDIT_NODE, MODULES, EditorPage
from tests.host.host_server import HostServer

WIDTH, HEIGHT = 400, 600
BACKGROUND, CLOTH = (215, 205, 190), (70, 90, 130)
CROWN, SOLE, LEFT, RIGHT = 60, 560, 120, 280  # of the drawn figure: its upmost, lowest, and outermost pixels
STATUE = "statue.png"
LOAD = ["load", "LoadImage", [0, 0], {"image": STATUE}]
ON_STATUE: list[list[Any]] = [["load", 0, "edit", "image"]]
FRAMES = 16
MOVES = ["moves", "MarionettePoseMoves", [0, 400], {"motion": "dance", "frames": FRAMES, "width": WIDTH, "height": HEIGHT}]
NECK, R_ELBOW, R_WRIST, L_WRIST, L_ANKLE = 1, 3, 4, 7, 13


@pytest.fixture(scope="module", autouse=True)
def statue(host: HostServer) -> None:
    """What no detector knows: discs, bars and a box on plain ground."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((170, CROWN, 230, 130), fill=(90, 70, 60))
    draw.rectangle((160, 130, 240, 310), fill=CLOTH)
    draw.polygon([(160, 140), (LEFT, 290), (LEFT + 20, 290), (175, 160)], fill=(90, 70, 60))
    draw.polygon([(240, 140), (RIGHT, 290), (RIGHT - 20, 290), (225, 160)], fill=(90, 70, 60))
    draw.rectangle((165, 310, 192, SOLE), fill=(40, 40, 50))
    draw.rectangle((208, 310, 235, SOLE), fill=(40, 40, 50))
    picture.save(host.input / STATUE)


def on_statue(page: Page, host: HostServer, modern: bool = False, **widgets: Any) -> EditorPage:
    shown = EditorPage(page, host, modern)
    shown.build(LOAD, links=ON_STATUE, **widgets)
    return shown


def placed(shown: EditorPage, joint: int) -> tuple[float, float]:
    """Where the page has put a joint of the statue, on the screen."""
    x, y = shown.keys()[0]["place"][str(joint)]
    return shown.on_screen(x, y, WIDTH, HEIGHT)


@pytest.mark.parametrize("modern", [False, True])
def test_dragged_run_saved_reloaded(host: HostServer, page: Page, tmp_path: Path, modern: bool) -> None:
    shown = on_statue(page, host, modern)
    assert np.abs(np.subtract(shown.colour(200, 250, WIDTH, HEIGHT), CLOTH)).max() < 6, "the picture shows without a run"
    assert "No pose yet" in shown.words("message")
    shown.screenshot(tmp_path / "before.png")

    shown.click("fit")
    body = {int(joint): place for joint, place in shown.keys()[0]["place"].items()}
    assert sorted(body) == list(range(18))
    tall = SOLE - CROWN
    for joint, truth in {0: (200, 98), 2: (160, 149), 5: (240, 149), R_WRIST: (130, 290), L_WRIST: (270, 290), 10: (178, 540),
                         L_ANKLE: (222, 540)}.items():
        assert np.hypot(*np.subtract(body[joint], truth)) < 0.08 * tall, (joint, body[joint])

    target = (300.0, 200.0)
    shown.drag(placed(shown, L_WRIST), shown.on_screen(*target, WIDTH, HEIGHT))
    after = shown.given_out()
    assert after.shape[0] == 1
    assert np.abs(after[0, L_WRIST, :2] - target).max() < 1 and after[0, L_WRIST, 2] == 1
    for joint in set(range(18)) - {L_WRIST}:
        assert np.abs(after[0, joint, :2] - body[joint]).max() < 0.06, joint
    shown.screenshot(tmp_path / "run.png")

    text, workflow = shown.text(), shown.workflow()
    node = next(node for node in workflow["nodes"] if node["type"] == "MarionetteEditPose")
    assert text in node["widgets_values"] and json.loads(text)["version"] == 1
    assert shown.complaints() == [] and shown.errors == []
    again = EditorPage(page, host, modern)  # the page is loaded anew
    again.load(json.loads(json.dumps(workflow)))
    assert again.text() == text
    assert again.words("message") == "", "somebody is there again"
    # and it is the edited one that is taken hold of
    again.drag(again.on_screen(*target, WIDTH, HEIGHT), again.on_screen(310, 220, WIDTH, HEIGHT))
    assert np.abs(np.subtract(again.keys()[0]["place"][str(L_WRIST)], (310, 220))).max() < 1
    again.screenshot(tmp_path / "reloaded.png")
    assert again.complaints() == [] and again.errors == []


def test_a_copied_node_has_edits_of_its_own(host: HostServer, page: Page) -> None:
    shown = on_statue(page, host)
    shown.click("fit")
    text = shown.text()
    page.evaluate(f"""() => {{
        app.canvas.selectNode({EDIT_NODE}[0]);
        app.canvas.copyToClipboard();
        app.canvas.graph_mouse = [400, 900];
        app.canvas.pasteFromClipboard({{ connectInputs: true }});
    }}""")
    page.wait_for_timeout(800)
    assert page.evaluate(f"{EDIT_NODE}.length") == 2
    assert shown.text(0) == text and shown.text(1) == text
    page.locator("[data-action=resetAll]").nth(0).click()
    assert sorted([shown.text(0), shown.text(1)]) == ["", text]


def test_undo_and_redo_are_the_editors_own(host: HostServer, page: Page) -> None:
    shown = on_statue(page, host)
    assert not shown.enabled("undo") and not shown.enabled("resetAll")
    shown.click("fit")
    fitted = shown.text()
    shown.drag(placed(shown, R_WRIST), shown.on_screen(60, 60, WIDTH, HEIGHT))
    dragged = shown.text()
    node = page.evaluate(f"String({EDIT_NODE}[0].id)")
    page.evaluate(f"window.kept = {EDIT_NODE}[0]")
    page.keyboard.press("Control+z")
    page.wait_for_timeout(400)
    assert shown.text() == fitted
    page.keyboard.press("Control+z")
    page.wait_for_timeout(400)
    assert shown.text() == ""
    assert page.evaluate(f"window.kept === {EDIT_NODE}[0] && String(window.kept.id)") == node, "the page has not gone back as well"
    page.keyboard.press("Control+Shift+z")
    shown.click("redo")
    assert shown.text() == dragged and not shown.enabled("redo")
    shown.click("undo")
    page.mouse.click(*placed(shown, R_WRIST))
    shown.click("hide")
    assert not shown.enabled("redo"), "a new edit ends what could be redone"


def test_a_joint_is_hidden_and_brought_back(host: HostServer, page: Page) -> None:
    shown = on_statue(page, host)
    shown.click("fit")
    assert not shown.enabled("hide")
    page.mouse.click(*placed(shown, R_WRIST))
    assert "right wrist" in shown.words("status")
    shown.click("hide")
    hidden = shown.given_out()
    assert not hidden[0, R_WRIST].any() and hidden[0, R_ELBOW, 2] == 1
    page.mouse.click(*placed(shown, R_WRIST))
    page.keyboard.press("Delete")
    back = shown.given_out()
    assert back[0, R_WRIST, 2] == 1
    assert np.abs(back[0, R_WRIST, :2] - shown.keys()[0]["place"][str(R_WRIST)]).max() < 0.01


def test_key_frames_of_a_clip(host: HostServer, page: Page, tmp_path: Path) -> None:
    shown = EditorPage(page, host)
    shown.build(MOVES, links=[["moves", 0, "edit", "pose"]])
    assert "Run the workflow once" in shown.words("message") and not shown.enabled("fit")
    came_in = move_clip("dance", FRAMES, seed=0, period=24, width=WIDTH, height=HEIGHT).person(0)
    assert np.abs(shown.given_out() - came_in).max() < 1e-3
    assert shown.words("frame") == f"0 / {FRAMES - 1}"

    x, y = came_in[0, R_WRIST, :2].tolist()
    shown.drag(shown.on_screen(x, y, WIDTH, HEIGHT), shown.on_screen(x + 60, y - 40, WIDTH, HEIGHT))
    assert shown.words("status") == "right wrist: edited in every frame (one key frame)"
    shown.go_to(10)
    shown.click("resetJoint")
    shown.go_to(12)
    shown.click("hide")
    assert [key["frame"] for key in shown.keys()] == [0, 10, 12] and page.locator(".mpe-tick").count() == 3
    shown.screenshot(tmp_path / "keys.png")
    after = shown.given_out()
    way = after[:12, R_WRIST, :2] - came_in[:12, R_WRIST, :2]
    expected = np.array([60, -40]) * np.linspace(1, 0, 11)[:, None]
    assert np.abs(way[:11] - expected).max() < 1 and np.abs(way[11]).max() < 1e-3
    assert after[:, R_WRIST, 2].tolist() == [1] * 12 + [0] * 4

    # what the page shows of any frame is what the run gave out
    page_poses = np.array(page.evaluate(f"""async () => {{
        const {{ Incoming, parseEdits, poseAt }} = await import('{MODULES}/edits.js');
        const node = {EDIT_NODE}[0], run = node.marionettePose;
        const incoming = new Incoming(run.width, run.height, run.poses, run.poses.length);
        const edits = parseEdits(node.widgets.find(widget => widget.name === 'edits').value);
        return run.poses.map((_, frame) => poseAt(edits, incoming, frame).map(p => p.state === 'shown' ? [p.x, p.y, 1] : [0, 0, 0]));
    }}"""))
    assert np.abs(page_poses - after[:, :18]).max() < 0.06

    shown.click("previous")
    assert shown.words("frame").startswith("10 /")
    shown.click("removeKey")
    assert [key["frame"] for key in shown.keys()] == [0, 12]
    shown.click("resetAll")
    assert np.abs(shown.given_out() - came_in).max() < 1e-3
    assert shown.complaints() == [] and shown.errors == []


def test_frames_of_other_nodes_show_after_a_run(host: HostServer, page: Page, tmp_path: Path) -> None:
    shown = EditorPage(page, host)
    shown.build(["who", "MarionetteDemoCharacter", [0, 0], {"frames": 6, "motion": "wave", "width": 128, "height": 192}],
                links=[["who", 3, "edit", "image"]])
    assert "Run the workflow once to see the image here" in shown.words("message")
    assert shown.given_out().shape[0] == 6
    run = page.evaluate(f"{EDIT_NODE}[0].marionettePose")
    assert len(run["pictures"]) == 6 and [frame for frame, _ in run["pictures"]] == list(range(6))
    pictures = [np.asarray(Image.open(host.base / "temp" / run["folder"] / name).convert("RGB")).astype(int) for _, name in run["pictures"]]
    # where the first frame and the last differ most
    y, x = np.unravel_index(np.abs(pictures[0] - pictures[5]).sum(-1)[5:-5, 5:-5].argmax(), (182, 118))
    for frame in (0, 5):
        shown.go_to(frame)
        page.wait_for_timeout(1200)
        there = pictures[frame][y + 3:y + 8, x + 3:x + 8].reshape(-1, 3)
        seen = shown.colour(float(x) + 5.5, float(y) + 5.5, 128, 192)
        assert np.abs(there - seen).sum(-1).min() < 60, (frame, seen)
    shown.click("fit")
    shown.screenshot(tmp_path / "frames.png")
    assert shown.complaints() == [] and shown.errors == []


def test_page_and_library_agree_on_any_edits(host: HostServer, page: Page) -> None:
    """Random clips with gaps and doubtful points, random edits made for another canvas: the same poses from JavaScript and Python."""
    rng = np.random.default_rng(5)
    page.goto(f"{host.url}{MODULES}/edits.js")
    for _ in range(40):
        frames, longer = int(rng.integers(1, 12)), int(rng.integers(0, 15))
        body = np.concatenate([rng.uniform(0, 300, (frames, 18, 2)), rng.choice([0, 0.2, 0.9], (frames, 18, 1))], -1)
        clip = body_clip(body, 300, 200)
        keys = [{"frame": int(frame), "move": {str(j): rng.uniform(-50, 50, 2).tolist() for j in rng.integers(0, 18, 4)},
                 "place": {str(j): rng.uniform(0, 100, 2).tolist() for j in rng.integers(0, 18, 9)},
                 "hide": rng.integers(0, 18, 2).tolist()} for frame in rng.choice(14, rng.integers(0, 5), replace=False)]
        text = json.dumps({"version": 1, "width": 150, "height": 400, "keys": keys})
        after = edit_pose(of_length(clip, longer), read_edits(text)).person(0)[:, :18]
        shown = np.array(page.evaluate(f"""async ([poses, frames, text]) => {{
            const {{ Incoming, noEdits, onCanvas, parseEdits, poseAt }} = await import('{MODULES}/edits.js');
            const incoming = new Incoming(300, 200, poses, frames);
            const edits = onCanvas(parseEdits(text) ?? noEdits(300, 200), 300, 200);
            return Array.from({{ length: frames }}, (_, frame) =>
                poseAt(edits, incoming, frame).map(p => p.state === 'shown' ? [p.x, p.y, 1] : [0, 0, 0]));
        }}""", [shown_poses(clip), longer or frames, text]))
        seen = after[..., 2] > 0.3
        assert np.array_equal(shown[..., 2] > 0, seen)
        assert np.abs(shown - after)[..., :2][seen].max(initial=0) < 0.13


@pytest.fixture
def touch_page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=VIEW, has_touch=True)
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    yield opened
    context.close()


def test_fingers_drag_and_zoom(host: HostServer, touch_page: Page) -> None:
    shown = on_statue(touch_page, host)
    shown.click("fit")
    fingers = touch_page.context.new_cdp_session(touch_page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    start, end = placed(shown, R_WRIST), shown.on_screen(60, 100, WIDTH, HEIGHT)
    touch("touchStart", start)
    touch("touchMove", ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
    touch("touchMove", end)
    touch("touchEnd")
    touch_page.wait_for_timeout(300)
    assert np.abs(np.subtract(shown.keys()[0]["place"][str(R_WRIST)], (60, 100))).max() < 1.5

    text, graph_scale = shown.text(), touch_page.evaluate("app.canvas.ds.scale")
    x, y = shown.on_screen(350, 450, WIDTH, HEIGHT)
    touch("touchStart", (x - 10, y), (x + 10, y))
    touch("touchMove", (x - 20, y), (x + 20, y))
    touch("touchMove", (x - 30, y), (x + 30, y))
    touch("touchEnd")
    touch_page.wait_for_timeout(300)
    assert int(touch_page.locator("[data-action=zoomAll]").inner_text().strip("%")) > 150
    assert shown.text() == text, "two fingers edit nothing"
    assert touch_page.evaluate("app.canvas.ds.scale") == graph_scale, "and leave the graph where it is"


def test_limbs_figure_zoom_and_keys(host: HostServer, page: Page, tmp_path: Path) -> None:
    shown = on_statue(page, host)
    shown.click("fit")
    before = {int(j): np.array(p) for j, p in shown.keys()[0]["place"].items()}

    def now() -> dict[int, np.ndarray]:
        return {int(j): np.array(p) for j, p in shown.keys()[0]["place"].items()}

    def moved(way: tuple[float, float], tolerance: float = 1.0) -> set[int]:
        return {j for j, p in now().items() if np.abs(p - before[j] - way).max() < tolerance}

    x, y = before[R_ELBOW]
    page.keyboard.down("Shift")
    shown.drag(placed(shown, R_ELBOW), shown.on_screen(x - 30, y - 40, WIDTH, HEIGHT))
    page.keyboard.up("Shift")
    assert moved((-30, -40)) == {R_ELBOW, R_WRIST}
    shown.click("mirror")
    # the fitted figure is its own mirror image, at the middle line
    middle = (before[2][0] + before[5][0]) / 2
    for own, other in ((R_ELBOW, 6), (R_WRIST, L_WRIST)):
        assert np.abs(now()[other] - (2 * middle - now()[own][0], now()[own][1])).max() < 0.3
    swapped_from = now()
    shown.click("swap")
    assert np.array_equal(now()[6], swapped_from[R_ELBOW]) and np.array_equal(now()[10], swapped_from[L_ANKLE])
    for _ in range(3):
        shown.click("undo")
    assert moved((0, 0), 0.01) == set(range(18))

    shown.click("figure")
    x, y = before[NECK]
    shown.drag(placed(shown, NECK), shown.on_screen(x + 20, y + 10, WIDTH, HEIGHT))
    assert moved((20, 10)) == set(range(18))
    shown.screenshot(tmp_path / "figure.png")
    shown.click("undo")
    low, high = (np.array(list(before.values())).min(0), np.array(list(before.values())).max(0))
    margin = 0.04 * (high - low).max()
    fixed, corner = low - margin, high + margin
    shown.drag(shown.on_screen(*corner, WIDTH, HEIGHT), shown.on_screen(*(fixed + 0.6 * (corner - fixed)), WIDTH, HEIGHT))
    assert all(np.abs(p - fixed - 0.6 * (before[j] - fixed)).max() < 1.5 for j, p in now().items()), "scaled by a corner of its box"
    shown.click("undo")
    shown.click("joint")

    page.mouse.click(*placed(shown, NECK))
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    assert moved((0, 0), 0.01) == set(range(18)) - {NECK}
    assert np.allclose(now()[NECK] - before[NECK], (3, -10))
    shown.click("resetJoint")
    assert NECK not in now(), "as it comes in: there is none in a picture"
    shown.click("undo")

    # the wheel zooms about the pointer, so the joint stays under it, and an eye is one of five points in the head no more
    eye = shown.on_screen(*now()[14], WIDTH, HEIGHT)
    page.mouse.click(*eye)
    page.mouse.move(*eye)
    page.mouse.wheel(0, -900)
    page.wait_for_timeout(300)
    zoom = int(page.locator("[data-action=zoomAll]").inner_text().strip("%")) / 100
    assert 3 < zoom < 5
    scale = shown.on_screen(1, 0, WIDTH, HEIGHT)[0] - shown.on_screen(0, 0, WIDTH, HEIGHT)[0]
    kept = now()[14]
    shown.drag(eye, (eye[0] + 60, eye[1] - 30))
    assert np.abs(now()[14] - kept - np.array([60, -30]) / scale / zoom).max() < 1
    shown.screenshot(tmp_path / "zoomed.png")
    shown.click("zoomAll")
    assert page.locator("[data-action=zoomAll]").inner_text() == "100%"


def test_a_still_is_animated_by_key_frames(host: HostServer, page: Page) -> None:
    shown = on_statue(page, host, frames=5)
    assert page.locator(".mpe-frames").is_visible()
    shown.click("fit")
    start = np.array(shown.keys()[0]["place"][str(L_WRIST)])
    shown.go_to(4)
    shown.drag(shown.on_screen(*start, WIDTH, HEIGHT), shown.on_screen(start[0] + 40, start[1] - 80, WIDTH, HEIGHT))
    after = shown.given_out()
    assert np.abs(after[:, L_WRIST, :2] - start - np.linspace(0, 1, 5)[:, None] * (40, -80)).max() < 1


def test_edits_that_cannot_be_read_are_said_so(host: HostServer, page: Page) -> None:
    shown = on_statue(page, host, edits='{"version": 3}')
    assert "cannot be read" in shown.words("message") and shown.text() == '{"version": 3}', "nothing is lost by looking at it"
    shown.click("resetAll")
    assert shown.text() == ""


def test_where_a_figure_is_found(host: HostServer, page: Page) -> None:
    """Fit figure's search on small pictures: on plain and two-coloured ground, cut out, and where nothing stands out."""
    page.goto(f"{host.url}{MODULES}/fit.js")
    rng = np.random.default_rng(1)
    w, h = 64, 96

    def found(picture: np.ndarray) -> list[int] | None:
        box = page.evaluate(f"""async ([data, w, h]) => (await import('{MODULES}/fit.js')).figureBox(Uint8ClampedArray.from(data), w, h)""",
                            [picture.clip(0, 255).astype(int).ravel().tolist(), w, h])
        return box and [box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]]

    plain = np.full((h, w, 4), 255.0)
    plain[..., :3] = (200, 190, 180) + rng.normal(0, 4, (h, w, 3))
    plain[70:, :, :3] = (120, 110, 90)
    figure = plain.copy()
    figure[20:88, 24:40, :3] = (60, 40, 90)
    box = found(figure)
    assert box is not None and np.abs(np.subtract(box, (24, 20, 40, 88))).max() <= 2
    figure[30:36, 40:60, :3] = (60, 40, 90)  # an arm to one side: wider, and still about the body
    box = found(figure)
    assert box is not None and np.abs(np.subtract(box, (14, 20, 50, 88))).max() <= 2.5
    cut_out = np.zeros((h, w, 4))
    cut_out[10:90, 20:50] = 255
    box = found(cut_out)
    assert box is not None and np.abs(np.subtract(box, (20, 10, 50, 90))).max() <= 2
    assert found(plain) is None
    noise = np.full((h, w, 4), 255.0)
    noise[..., :3] = rng.uniform(0, 255, (h, w, 3))
    assert found(noise) is None
