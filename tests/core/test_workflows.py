"""Workflows of older packs: what becomes of nodes, links and values, in both formats; and the command that does it."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from animate_core.graph_files import WorkflowError
from animate_core.old_nodes import LEFT_OUT, NEW_NODES, OLD_NODES, SAMPLER_WIDGETS, SCHEDULERS
from animate_core.revival import choose_file, choose_folder
from animate_core.sampling import SCHEDULERS as OUR_SCHEDULERS
from animate_core.workflows import NOTE_TITLE, convert, main
from tests.core import old_workflows
from tests.core.old_workflows import Workflow

SHAPES: dict[str, Callable[[], Workflow]] = {
    "evolved": old_workflows.evolved, "reroute": lambda: old_workflows.evolved("[ComfyUI-3D] ", reroute=True),
    "moore": lambda: old_workflows.moore(compare=True), "musepose": old_workflows.musepose,
    "path": lambda: old_workflows.musepose("some/where/pose.mp4"), "align": lambda: old_workflows.aligned("driver.mp4"),
}
CORE_WIDGETS = {"VAELoader": ("vae_name",), "LoadImage": ("image",), "LoadVideo": ("file",), "SaveImage": ("filename_prefix",),
                "MarionetteLoadClipVision": ("file",), "CLIPVisionEncode": ("crop",),
                "ImageScale": ("upscale_method", "width", "height", "crop")}
WIDGETS = {**CORE_WIDGETS, **{old: about.widgets for old, about in OLD_NODES.items()}}
NEW_WIDGETS = {**CORE_WIDGETS, **{kind: tuple(widget.name for widget in new.widgets) for kind, new in NEW_NODES.items()}}


def sound(workflow: Workflow) -> None:
    """Every link is known to both of its ends, and to nobody else."""
    nodes = {node["id"]: node for node in workflow["nodes"]}
    assert len(nodes) == len(workflow["nodes"]) and max(nodes) <= workflow["last_node_id"]
    links = {link[0]: link for link in workflow["links"]}
    for number, origin, slot, target, at, _ in links.values():
        assert number in nodes[origin]["outputs"][slot]["links"] and nodes[target]["inputs"][at]["link"] == number
        assert number <= workflow["last_link_id"]
    for node in nodes.values():
        assert {slot["link"] for slot in node.get("inputs", []) if slot["link"] is not None} <= set(links)
        for at, slot in enumerate(node["outputs"]):
            assert all(links[number][1:3] == [node["id"], at] for number in slot["links"] or [])


def only(workflow: Workflow, kind: str) -> dict[str, Any]:
    """The only node of a type in the page's format."""
    [node] = [node for node in workflow["nodes"] if node["type"] == kind]
    return node


def values(node: dict[str, Any]) -> dict[str, Any]:
    return dict(zip(NEW_WIDGETS[node["type"]], node["widgets_values"], strict=True))


def fed_by(workflow: Workflow, node: dict[str, Any], name: str) -> str:
    links = {link[0]: link for link in workflow["links"]}
    [slot] = [slot for slot in node["inputs"] if slot["name"] == name]
    return next(other["type"] for other in workflow["nodes"] if other["id"] == links[slot["link"]][1])


@pytest.mark.parametrize("name", SHAPES)
def test_no_old_node_is_left_and_the_links_are_sound(name: str) -> None:
    old = SHAPES[name]()
    before = copy.deepcopy(old)
    sound(old)
    done = convert(old)
    assert old == before, "the old workflow is left as it was"
    sound(done.workflow)
    assert not {node["type"] for node in done.workflow["nodes"]} & set(OLD_NODES)
    assert sorted(done.replaced) == sorted(node["type"] for node in old["nodes"] if node["type"] in OLD_NODES)
    note = next(node for node in done.workflow["nodes"] if node.get("title") == NOTE_TITLE)
    assert all(line in note["widgets_values"][0] for line in done.notes)
    kept = {node["id"]: node["widgets_values"] for node in old["nodes"] if node["type"] in ("LoadImage", "LoadVideo", "SaveImage")}
    assert kept.items() <= {node["id"]: node.get("widgets_values") for node in done.workflow["nodes"]}.items()


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "reroute"])  # the page takes reroutes out for the API
def test_both_formats_come_to_the_same(name: str) -> None:
    old = SHAPES[name]()
    page = convert(old).workflow
    page["nodes"] = [node for node in page["nodes"] if node.get("title") != NOTE_TITLE]
    by_api = convert(old_workflows.api(old, WIDGETS)).workflow
    by_page = old_workflows.api(page, NEW_WIDGETS)

    def told(graph: Workflow) -> dict[str, Any]:
        return {node: (about["class_type"], about["inputs"]) for node, about in graph.items()}

    assert told(by_api) == told(by_page)


@pytest.mark.parametrize("reroute", [False, True])
def test_evolved(reroute: bool) -> None:
    done = convert(old_workflows.evolved(reroute=reroute))
    sampler = only(done.workflow, "MarionetteMultiFrameSampler")
    assert values(sampler) == {
        "seed": 7, "control_after_generate": "fixed", "steps": 2, "cfg": 4.5, "scheduler": "Euler a", "frames": 0, "denoise": 1.0,
        "noise": "published", "rescale": 0.0, "motion": True, "checkpoint_every": 0}
    assert fed_by(done.workflow, sampler, "model") == "MarionetteLoadMotionUNet"
    assert values(only(done.workflow, "MarionetteWindows")) == {
        "length": 12, "overlap": 3, "stride": 1, "schedule": "published", "weights": "flat", "closed_loop": True, "pad": False}
    reference = only(done.workflow, "MarionetteEncodeReference")
    assert {name: fed_by(done.workflow, reference, name) for name in ("reference_net", "vae", "image", "clip_vision_output")} == {
        "reference_net": "MarionetteLoadReferenceNet", "vae": "VAELoader", "image": "ImageScale", "clip_vision_output": "CLIPVisionEncode"}
    assert values(only(done.workflow, "MarionetteLoadMotionUNet"))["motion"] == "Moore/motion_module.pth"
    pose = only(done.workflow, "MarionetteEncodePose")
    assert {name: values(pose)[name] for name in ("width", "height", "fit")} == {"width": 512, "height": 768, "fit": "stretch"}
    assert {name: fed_by(done.workflow, pose, name) for name in ("pose_guider", "images")} == {
        "pose_guider": "MarionetteLoadPoseGuider", "images": "GetVideoComponents"}
    assert not {node["type"] for node in done.workflow["nodes"]} & {"VAEEncode", "Reroute"}, "they served the old sampler alone"


@pytest.mark.parametrize("layout", range(len(SAMPLER_WIDGETS)))
def test_every_release_of_evolveds_sampler(layout: int) -> None:
    given = {"seed": 5, "control_after_generate": "randomize", "steps": 9, "cfg": 2.5, "delta": 0.5, "cfg_type": "rcfg_self_negative",
             "steps_rcfg": 3, "context_frames": 16, "context_stride": 2, "context_overlap": 6, "context_batch_size": 4,
             "interpolation_factor": 1, "sampler_scheduler_pairs": "LCM", "beta_start": 0.0008500000000000001, "beta_end": 0.012,
             "beta_schedule": "scaled_linear", "prediction_type": "epsilon", "timestep_spacing": "trailing", "steps_offset": 1,
             "clip_sample": False, "rescale_betas_zero_snr": True, "use_lora": True, "lora_name": "lcm.safetensors"}
    names = SAMPLER_WIDGETS[layout]
    done = convert(old_workflows.evolved(values=[given[name] for name in names]))
    sampler, windows = only(done.workflow, "MarionetteMultiFrameSampler"), values(only(done.workflow, "MarionetteWindows"))
    assert {name: values(sampler)[name] for name in ("seed", "control_after_generate", "steps", "cfg", "scheduler")} == {
        "seed": 5, "control_after_generate": "randomize", "steps": 9, "cfg": 2.5, "scheduler": "LCM"}
    assert (windows["length"], windows["overlap"], windows["stride"]) == (16, 6, 2)
    text = "\n".join(done.notes)
    for name in ("delta", "cfg_type", "context_batch_size", "beta_schedule", "prediction_type"):
        assert (f"{name} is left out, it was {given[name]}" in text) == (name in names), name
    assert "beta_start" not in text and "family MusePose" in text
    if "use_lora" in names:
        lora = only(done.workflow, "LoraLoaderModelOnly")
        assert values(lora) == {"lora_name": "lcm.safetensors", "strength_model": 1.0}
        assert fed_by(done.workflow, sampler, "model") == "LoraLoaderModelOnly"
        assert fed_by(done.workflow, lora, "model") == "MarionetteLoadMotionUNet"


def test_widgets_fed_by_links_stay_so() -> None:
    old = old_workflows.evolved()
    build = old_workflows.Builder()
    build.data = old
    number = build.node("INTConstant", (900, 1200), [18], ("INT",))
    sampler = next(node for node in old["nodes"] if node["type"].endswith("Sampler"))
    for name in ("context_frames", "steps"):
        old["last_link_id"] += 1
        sampler["inputs"].append({"name": name, "type": "INT", "link": old["last_link_id"], "widget": {"name": name}})
        old["links"].append([old["last_link_id"], number, 0, sampler["id"], len(sampler["inputs"]) - 1, "INT"])
        outputs = old["nodes"][number - 1]["outputs"][0]
        outputs["links"] = [*(outputs["links"] or []), old["last_link_id"]]
    sound(old)
    done = convert(old).workflow
    sound(done)
    windows = only(done, "MarionetteWindows")
    assert fed_by(done, windows, "length") == "INTConstant"
    assert windows["inputs"] == [{"name": "length", "type": "INT", "link": windows["inputs"][0]["link"], "widget": {"name": "length"}}]
    assert fed_by(done, only(done, "MarionetteMultiFrameSampler"), "steps") == "INTConstant"


def test_moore() -> None:
    done = convert(old_workflows.moore(compare=True, length=20, width=510, height=768))
    sampler, pose = only(done.workflow, "MarionetteMultiFrameSampler"), only(done.workflow, "MarionetteEncodePose")
    assert {name: values(sampler)[name] for name in ("seed", "control_after_generate", "steps", "cfg")} == {
        "seed": 88, "control_after_generate": "randomize", "steps": 2, "cfg": 3.0}
    assert values(only(done.workflow, "ImageFromBatch")) == {"batch_index": 0, "length": 20}
    assert (values(pose)["width"], values(pose)["height"]) == (512, 768) and any("width was 510" in note for note in done.notes)
    assert fed_by(done.workflow, pose, "pose_guider") == "MarionetteLoadPoseGuider"
    reference = only(done.workflow, "MarionetteEncodeReference")
    assert {name: fed_by(done.workflow, reference, name) for name in ("vae", "image", "clip_vision")} == {
        "vae": "VAELoader", "image": "LoadImage", "clip_vision": "MarionetteLoadClipVision"}
    savers = [node for node in done.workflow["nodes"] if node["type"] == "SaveImage"]
    assert [fed_by(done.workflow, saver, "images") for saver in savers] == ["VAEDecode", "VAEDecode"]
    assert any("result_compare" in note for note in done.notes)
    assert not any("result_compare" in note for note in convert(old_workflows.moore()).notes)


def test_musepose() -> None:
    done = convert(old_workflows.musepose())
    align = values(only(done.workflow, "MarionetteRetargetPose"))
    assert (align["mode"], align["align_frame"]) == ("pose_align", 1)
    drawn = only(done.workflow, "MarionetteDrawPose")
    assert values(drawn)["style"] == "MusePose" and fed_by(done.workflow, drawn, "pose") == "MarionetteRetargetPose"
    sampler = values(only(done.workflow, "MarionetteMultiFrameSampler"))
    assert {name: sampler[name] for name in ("seed", "steps", "cfg")} == {"seed": 99, "steps": 2, "cfg": 3.0}
    windows = values(only(done.workflow, "MarionetteWindows"))
    assert {name: windows[name] for name in ("length", "overlap", "closed_loop", "pad")} == {"length": 4, "overlap": 2,
                                                                                            "closed_loop": False, "pad": True}
    cuts = [node for node in done.workflow["nodes"] if node["type"] == "ImageFromBatch"]
    assert sorted(fed_by(done.workflow, cut, "image") for cut in cuts) == ["GetVideoComponents", "MarionetteDrawPose"]
    assert [node["type"] for node in done.workflow["nodes"]].count("VHS_VideoCombine") == 2, "another pack's nodes stay"
    assert any("every second frame" in note for note in done.notes)


def test_a_video_by_its_path() -> None:
    done = convert(old_workflows.musepose("C:\\videos\\pose.mp4"))
    file = only(done.workflow, "LoadVideo")
    assert file["widgets_values"] == ["pose.mp4"] and fed_by(done.workflow, only(done.workflow, "ImageFromBatch"), "image") == (
        "GetVideoComponents")


@pytest.mark.parametrize(("numbers", "kept", "told"), [
    ((300, 10, 4), (128, 4), "length was 300"), ((24, 1, 24), (24, 23), "overlapped by 24"), ((24, 12, 4), (24, 4), "stride was 12"),
])
def test_numbers_that_the_new_nodes_do_not_take(numbers: tuple[int, int, int], kept: tuple[int, int], told: str) -> None:
    old = list(old_workflows.SAMPLER_VALUES)
    old[5:8] = numbers
    done = convert(old_workflows.evolved(values=old))
    windows = values(only(done.workflow, "MarionetteWindows"))
    assert (windows["length"], windows["overlap"]) == kept and windows["stride"] <= 8
    assert any(told in note for note in done.notes)


def test_what_cannot_be_followed_is_said() -> None:
    old = old_workflows.evolved()
    encode = next(node for node in old["nodes"] if node["type"] == "VAEEncode")
    encode["type"] = "SomebodysEncode"
    done = convert(old)
    sound(done.workflow)
    assert any("ref_image_latent does not come from VAE Encode" in note for note in done.notes)
    old = old_workflows.moore()
    for node in old["nodes"]:
        if node["type"].endswith("Pipeline Loader"):
            node["type"] = "SomebodysPipe"
    done = convert(old)
    sound(done.workflow)
    assert any("does not come from Pipeline Loader" in note for note in done.notes)
    old = old_workflows.musepose("")
    for node in old["nodes"]:
        if node["type"] == "filenamestring":
            node["type"] = "SomebodysName"
    done = convert(old)
    sound(done.workflow)
    assert len([note for note in done.notes if "connect the frames by hand" in note]) == 2


def test_an_old_node_that_others_need_stays() -> None:
    old = old_workflows.musepose()
    build = old_workflows.Builder()
    build.data = old
    name = next(node["id"] for node in old["nodes"] if node["type"] == "filenamestring")
    build.node("SomebodysReader", (0, 2000), None, (), path=("STRING", (name, 0)))
    done = convert(old)
    sound(done.workflow)
    assert [node["id"] for node in done.workflow["nodes"] if node["type"] in OLD_NODES] == [name]
    assert any(note.startswith("filenamestring") and "replace them by hand" in note for note in done.notes)


def test_in_a_subgraph() -> None:
    inner = old_workflows.moore()
    picture = next(node for node in inner["nodes"] if node["type"] == "LoadImage")
    link = next(link for link in inner["links"] if link[1] == picture["id"])
    inner["nodes"].remove(picture)
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    link[1:3] = [-10, 0]
    inner["links"] = [dict(zip(keys, row, strict=True)) for row in inner["links"]]
    inner["inputs"] = [{"id": "a", "name": "picture", "type": "IMAGE", "linkIds": [link[0]]}]
    inner["outputs"] = []
    outer = {"last_node_id": 500, "last_link_id": 700, "nodes": [{"id": 500, "type": "the-subgraph", "pos": [0, 0], "size": [200, 80]}],
             "links": [], "definitions": {"subgraphs": [inner]}}
    done = convert(outer).workflow
    [part] = done["definitions"]["subgraphs"]
    assert not {node["type"] for node in part["nodes"]} & set(OLD_NODES)
    reference = only(part, "MarionetteEncodeReference")
    [slot] = [slot for slot in reference["inputs"] if slot["name"] == "image"]
    links = {link["id"]: link for link in part["links"]}
    assert links[slot["link"]]["origin_id"] == -10 and part["inputs"][0]["linkIds"] == [slot["link"]]
    assert min(node["id"] for node in part["nodes"] if node["type"] == "MarionetteEncodeReference") > 500, "ids are the workflow's own"
    assert done["last_link_id"] >= max(links)


def test_nodes_do_not_lie_over_each_other() -> None:
    for name in ("evolved", "moore", "align"):
        workflow = convert(SHAPES[name]()).workflow
        boxes = [(node["type"], *node["pos"], *(node["size"] if isinstance(node["size"], list) else node["size"].values()))
                 for node in workflow["nodes"]]
        for i, (a, ax, ay, aw, ah) in enumerate(boxes):
            for b, bx, by, bw, bh in boxes[i + 1:]:
                assert not (ax < bx + bw and bx < ax + aw and ay < by + bh and by < ay + ah), f"{name}: {a} and {b}"


def test_files_are_the_users_own() -> None:
    files = {"animate_anyone": ["Champ/reference_unet.pth", "Moore-face/reference_unet.pth", "Moore/reference_unet.safetensors",
                                "MusePose/reference_unet.pth", "old/mine.pth"], "vae": ["other.safetensors"], "clip_vision": []}
    by_name = {usual.name: usual for about in OLD_NODES.values() for *_, usual in about.files}
    assert choose_file(by_name["reference_unet.pth"], files) == "Moore/reference_unet.safetensors"
    assert choose_file(by_name["pose_guider.pth"], files) == "Moore/pose_guider.pth", "where docs/models.md puts it"
    assert choose_folder("MusePose", files) == "MusePose" and choose_folder("MusePose", {"animate_anyone": ["a/musepose-fp16/x.pth"]}) == (
        "a/musepose-fp16")
    old = old_workflows.evolved()
    loader = next(node for node in old["nodes"] if node["type"].endswith("UNet2D ConditionModel"))
    loader["widgets_values"][1] = "D:\\weights\\mine.pth"
    assert values(only(convert(old, files).workflow, "MarionetteLoadReferenceNet"))["file"] == "old/mine.pth"


def test_the_tables_fit_each_other() -> None:
    assert {ours for ours, _ in SCHEDULERS.values()} <= set(OUR_SCHEDULERS)
    assert set(LEFT_OUT) <= {name for names in SAMPLER_WIDGETS for name in names}
    for old, about in OLD_NODES.items():
        if about.new:
            new = NEW_NODES[about.new]
            assert {name for name, _ in about.inputs} <= {name for name, _ in new.sockets}, old
            assert {name for name, *_ in (*about.fixed, *about.files)} <= {widget.name for widget in new.widgets}, old
            assert {name for _, name, _ in about.files} <= set(about.widgets), old


# ---------------------------------------------------------------------------------------------------------- bad workflows

@pytest.mark.parametrize(("workflow", "told"), [
    ([], "not a list"), ("text", "not a str"), (None, "not a NoneType"), ({}, "it is empty"), ({"a": 1}, "its entry 'a' has no class_type"),
    ({"1": {"class_type": "X"}}, "its entry '1'"), ({"nodes": {}}, "its entry 'nodes'"), ({"nodes": [3]}, "entry 0 has no type and id"),
    ({"nodes": [{"id": 1}]}, "entry 0 has no type and id"), ({"nodes": [{"id": 1, "type": "musepose", "inputs": 4}]}, "inputs of node 1"),
    ({"nodes": [{"id": 1, "type": "musepose", "outputs": ["a"]}]}, "outputs of node 1"),
    ({"nodes": [{"id": 1, "type": "musepose"}], "links": [[1, 2]]}, "links: entry 0"),
    ({"nodes": [{"id": 1, "type": "musepose"}], "links": 7}, "links: entry 0"),
    ({"nodes": [{"id": 1, "type": "musepose"}], "links": [{"id": 1}]}, "links: entry 0"),
])
def test_no_workflow(workflow: Any, told: str) -> None:
    with pytest.raises(WorkflowError, match=told):
        convert(workflow)


def test_broken_but_legible() -> None:
    """Links of nodes that are gone, values that are missing or of the wrong kind: what is there is converted."""
    old = old_workflows.evolved(values=["x", "fixed", None, 3])
    old["links"].append([900, 800, 0, 1, 0, "IMAGE"])
    old["nodes"][0]["outputs"][0]["links"].append(901)
    done = convert(old)
    sampler = values(only(done.workflow, "MarionetteMultiFrameSampler"))
    assert sampler["seed"] == 42 and sampler["cfg"] == 3 and any("seed was 'x'" in note for note in done.notes)
    bare = convert({"nodes": [{"id": 1, "type": kind} for kind in ("musepose",)]})
    assert only(bare.workflow, "VAEDecode")["inputs"]
    for kind in OLD_NODES:
        convert({"nodes": [{"id": 1, "type": kind}]})
        convert({"1": {"class_type": kind, "inputs": {}}})


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested lists and dicts."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


@pytest.mark.parametrize("name", SHAPES)
def test_junk_anywhere_is_refused_or_converted(name: str) -> None:
    chance = random.Random(5)
    junk = [None, [], {}, "x", -1, 10**30, 0.5, float("nan"), True, ["a", 0], [[]], {"0": 1}, -10, "-10"]
    for form in (SHAPES[name](), old_workflows.api(SHAPES[name](), WIDGETS)):
        found = places(form)[1:]
        for place in chance.sample(found, min(60, len(found))):
            for value in chance.sample(junk, 6):
                broken = copy.deepcopy(form)
                inner = broken
                for key in place[:-1]:
                    inner = inner[key]
                inner[place[-1]] = value
                try:
                    done = convert(broken)
                except WorkflowError:
                    continue
                json.dumps(done.workflow)


# ----------------------------------------------------------------------------------------------------------- the command

def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    workflow = old_workflows.moore()
    workflow["nodes"][0]["title"] = "\ud83d lone, and \u4eba"
    old.write_text("\ufeff" + json.dumps(workflow), encoding="utf-8")
    models = tmp_path / "models"
    (models / "animate_anyone" / "mine").mkdir(parents=True)
    (models / "animate_anyone" / "mine" / "pose_guider.safetensors").touch()
    status, out, err = run(capsys, "convert", old, new, "--models", models)
    assert (status, err) == (0, "") and "7 old nodes replaced" in out and "result_compare" not in out
    written = json.loads(new.read_text(encoding="utf-8"))
    assert only(written, "MarionetteLoadPoseGuider")["widgets_values"] == ["mine/pose_guider.safetensors"]
    before = new.read_bytes()
    status, out, err = run(capsys, "convert", old, new)
    assert status == 1 and "--force" in err and new.read_bytes() == before
    assert run(capsys, "convert", old, new, "--force")[0] == 0 and new.read_bytes() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "new.json", "old.json"]


def test_command_with_bad_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = tmp_path / "new.json"
    files = {"picture.png": b"\x89PNG\r\n\xff", "text.json": b"hello", "deep.json": b"[" * 100_000, "list.json": b"[]",
             "other.json": json.dumps({"1": {"class_type": "KSampler", "inputs": {}}}).encode()}
    told = {"picture.png": "open it in the page", "text.json": "is no JSON", "deep.json": "is no JSON", "list.json": "not a list",
            "other.json": "has no old nodes", "absent.json": "No such file", ".": "directory"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for name, words in told.items():
        status, out, err = run(capsys, "convert", tmp_path / name, new)
        assert status == 1 and not out and words in err and err.count("\n") == 1 and not new.exists(), name
    (tmp_path / "old.json").write_text(json.dumps(old_workflows.moore()), encoding="utf-8")
    status, _, err = run(capsys, "convert", tmp_path / "old.json", tmp_path / "no" / "new.json")
    assert status == 1 and "No such file" in err
    status, _, err = run(capsys, "convert", tmp_path / "old.json", new, "--models", tmp_path / "no")
    assert status == 1 and "is no folder" in err and not new.exists()
