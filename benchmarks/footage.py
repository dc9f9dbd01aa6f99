"""Adversarial footage with a known truth: a 3D stick figure under a perspective camera, at any frame rate.

Nothing here is shared with the demo's characters: joints come from joint angles by forward kinematics, pictures from a pinhole camera, so
that limbs shorten, people turn, leave the picture and come near. `benchmarks.detections` makes of it what a detector would report.
Units: metres, seconds, radians. x to the picture's right, y up, z to the camera. A body faces z at yaw 0; its left is at +x.

Seeds of TUNING are for choosing thresholds, those of REPORTING for measuring; the shots of `REPORTING_ONLY` no threshold has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from animate_core.pose.keypoints import FACE, LEFT_HAND, NUM_POINTS, RIGHT_HAND, PoseClip

Array = np.ndarray
Angles = dict[str, Array]

TUNING, REPORTING = range(0, 500), range(5000, 5500)
WIDTH, HEIGHT = 720, 960
RIGHT, LEFT = -1, 1
LONGEST = 20.0  # seconds of a shot


@dataclass(frozen=True)
class Body:
    """Lengths in metres. neck: neck to nose; shoulder, hip: half the widths; head: scale of the face's features (1: an adult's)."""

    neck: float = 0.19
    torso: float = 0.50
    shoulder: float = 0.185
    hip: float = 0.10
    upper_arm: float = 0.30
    forearm: float = 0.26
    thigh: float = 0.42
    shin: float = 0.42
    foot: float = 0.20
    head: float = 1.0

    @property
    def height(self) -> float:
        return 0.08 + self.shin + self.thigh + self.torso + self.neck + 0.11 * self.head


KINDS = {
    "adult": Body(),
    "child": Body(0.16, 0.30, 0.11, 0.06, 0.15, 0.13, 0.20, 0.20, 0.12, 0.95),
    "chibi": Body(0.34, 0.30, 0.13, 0.08, 0.14, 0.13, 0.15, 0.14, 0.12, 2.4),
    "long-legged": Body(0.19, 0.47, 0.19, 0.09, 0.32, 0.28, 0.52, 0.52, 0.22, 0.9),
}


def make_body(kind: str, rng: np.random.Generator) -> Body:
    """A body of a kind, each length up to 10 % longer or shorter than the kind's."""
    return replace(KINDS[kind], **{name: length * rng.uniform(0.9, 1.1) for name, length in vars(KINDS[kind]).items()})


# ------------------------------------------------------------------------------------------------------------------------------- motions
# Each gives joint angles over time t [F]: per side (r_, l_) arm, leg: swing forward; arm_out, leg_out: spread; elbow, knee: bend.
# x, z: place on the floor; lift: off the floor; yaw, lean (forward), roll of the trunk; nod, look: of the head.

def bump(t: Array, start: float, rise: float, hold: float = 0.0) -> Array:
    """From 0 to 1 and back, each within `rise` seconds."""
    up = ((t - start) / rise).clip(0, 1)
    down = ((t - start - rise - hold) / rise).clip(0, 1)
    return np.asarray((up**2 * (3 - 2 * up)) * (1 - down**2 * (3 - 2 * down)))


def wander(t: Array, rng: np.random.Generator, amplitude: float, fastest: float) -> Array:
    """A smooth random course: five sines of up to `fastest` Hz, the faster the smaller."""
    rates = rng.uniform(0.1, 1, 5) * fastest
    parts = np.sin(2 * np.pi * rates * t[:, None] + rng.uniform(0, 2 * np.pi, 5)) / (1 + 2 * rates / fastest)
    return np.asarray(amplitude * parts.sum(-1) / 2)


def stand(t: Array, rng: np.random.Generator) -> Angles:
    hang, pose = rng.uniform(0.1, 0.25), {"lean": wander(t, rng, 0.02, 0.5), "roll": wander(t, rng, 0.02, 0.5)}
    for side in ("r_", "l_"):
        pose |= {side + "leg_out": 0.06 + 0 * t, side + "arm_out": hang + wander(t, rng, 0.03, 0.5),
                 side + "elbow": 0.2 + wander(t, rng, 0.05, 0.6)}
    return pose | {"look": wander(t, rng, 0.3, 0.4)}


def stride(t: Array, rng: np.random.Generator, rate: float, swing: float, elbow: float, knee: float) -> Angles:
    phase = 2 * np.pi * rate * t + rng.uniform(0, 2 * np.pi)
    left, right = np.sin(phase), -np.sin(phase)
    return {"l_leg": swing * left, "r_leg": swing * right, "l_arm": 0.9 * swing * right, "r_arm": 0.9 * swing * left, "lean": 0.05 + 0 * t,
            "l_knee": 0.1 + knee * np.cos(phase).clip(0) ** 2, "r_knee": 0.1 + knee * (-np.cos(phase)).clip(0) ** 2,
            "l_elbow": elbow + 0.15 * right, "r_elbow": elbow + 0.15 * left, "l_arm_out": 0.12 + 0 * t, "r_arm_out": 0.12 + 0 * t,
            "yaw": 0.1 * left, "roll": 0.03 * np.cos(phase)}


def walk(t: Array, rng: np.random.Generator) -> Angles:
    return stride(t, rng, rng.uniform(0.8, 1.0), rng.uniform(0.35, 0.5), 0.3, 0.8)


def run(t: Array, rng: np.random.Generator) -> Angles:
    pose = stride(t, rng, rng.uniform(1.2, 1.5), 0.7, 1.5, 1.7)
    return pose | {"lift": 0.08 * np.abs(pose["l_leg"]) / 0.7, "lean": 0.2 + 0 * t}


def dance(t: Array, rng: np.random.Generator) -> Angles:
    pose = {"lean": wander(t, rng, 0.15, 1), "roll": wander(t, rng, 0.15, 1), "yaw": wander(t, rng, 0.5, 0.7)}
    for side in ("r_", "l_"):
        pose |= {side + "arm": wander(t, rng, 0.9, 1.6), side + "arm_out": 0.9 + wander(t, rng, 0.8, 1.6),
                 side + "elbow": (0.9 + wander(t, rng, 0.9, 1.8)).clip(0.05, 2.4), side + "leg": 0.15 + wander(t, rng, 0.35, 1.4),
                 side + "leg_out": 0.15 + wander(t, rng, 0.12, 1.2), side + "knee": (0.4 + wander(t, rng, 0.4, 1.4)).clip(0, 2)}
    return pose | {"x": wander(t, rng, 0.2, 0.6)}


def kick(t: Array, rng: np.random.Generator) -> Angles:
    pose, side = stand(t, rng), rng.choice(["r_", "l_"])
    blow, chamber = np.zeros(len(t)), np.zeros(len(t))
    for start in np.arange(rng.uniform(0.3, 0.7), LONGEST, 1.7):
        blow += bump(t, start, 0.22, 0.04)
        chamber += bump(t, start - 0.1, 0.16) + bump(t, start + 0.3, 0.2)
    return pose | {side + "leg": 1.6 * blow, side + "knee": 1.0 * chamber, "lean": -0.25 * blow, side + "leg_out": 0.1 + 0.3 * blow,
                   "r_arm": 0.5 - 0.4 * blow, "l_arm": 0.5 - 0.4 * blow, "r_elbow": 1.6 + 0 * t, "l_elbow": 1.6 + 0 * t,
                   "yaw": rng.uniform(-0.8, 0.8) + 0.4 * blow}


def jump(t: Array, rng: np.random.Generator) -> Angles:
    pose, crouch, lift, arms = stand(t, rng), np.zeros(len(t)), np.zeros(len(t)), np.zeros(len(t))
    for start in np.arange(rng.uniform(0.2, 0.6), LONGEST, 1.5):
        crouch += bump(t, start, 0.25) + 0.7 * bump(t, start + 0.8, 0.2)
        flight = (t - start - 0.4) / 0.5
        lift += 0.32 * (4 * flight * (1 - flight)).clip(0)
        arms += bump(t, start + 0.25, 0.3, 0.1)
    for side in ("r_", "l_"):
        pose |= {side + "leg": 0.7 * crouch, side + "knee": 1.3 * crouch, side + "arm": -0.5 * crouch + 2.2 * arms}
    return pose | {"lean": 0.4 * crouch, "lift": lift}


def sit(t: Array, rng: np.random.Generator) -> Angles:
    pose = stand(t, rng)
    for side in ("r_", "l_"):
        pose |= {side + "leg": 1.45 + 0 * t, side + "knee": 1.45 + wander(t, rng, 0.05, 0.5), side + "leg_out": 0.15 + 0 * t,
                 side + "arm": 0.4 + wander(t, rng, 0.3, 0.9), side + "elbow": 1.2 + wander(t, rng, 0.5, 1.2)}
    return pose | {"lean": 0.1 + wander(t, rng, 0.05, 0.5), "yaw": rng.uniform(-0.5, 0.5) + 0 * t}


def spin(t: Array, rng: np.random.Generator) -> Angles:
    pose = dance(t, rng)
    return pose | {"yaw": rng.choice([-1, 1]) * 2 * np.pi * rng.uniform(0.4, 0.8) * t, "x": 0 * t}


def turn(t: Array, rng: np.random.Generator) -> Angles:
    back = sum(bump(t, start, rng.uniform(0.5, 1), 1.0) for start in np.arange(0.8, LONGEST, 3.8))
    return walk(t, rng) | {"yaw": rng.choice([-1, 1]) * np.pi * back}


def box(t: Array, rng: np.random.Generator) -> Angles:
    pose, blows = stand(t, rng), {"r_": np.zeros(len(t)), "l_": np.zeros(len(t))}
    for start in np.arange(0.3, LONGEST, 0.55):
        blows[rng.choice(["r_", "l_"])] += bump(t, start, 0.14, 0.02)
    for side, blow in blows.items():
        pose |= {side + "arm": 0.4 + blow.clip(max=1.0), side + "elbow": 2.0 - 1.9 * blow.clip(max=1.0), side + "knee": 0.3 + 0 * t,
                 side + "leg": 0.2 + wander(t, rng, 0.1, 1.0)}
    return pose | {"yaw": 0.6 + 0.4 * (blows["r_"] - blows["l_"])}


# ------------------------------------------------------------------------------------------------------------------------------ skeleton

def rotation(axis: int, angle: Array) -> Array:
    """`[F, 3, 3]`: about x, y or z, counter-clockwise as seen from the axis' tip."""
    out = np.zeros((len(angle), 3, 3))
    a, b = [i for i in range(3) if i != axis]
    sign = -1 if axis == 1 else 1
    out[:, axis, axis], out[:, a, a], out[:, b, b] = 1, np.cos(angle), np.cos(angle)
    out[:, b, a], out[:, a, b] = sign * np.sin(angle), -sign * np.sin(angle)
    return out


def face_features() -> Array:
    """`[72, 3]` of an adult's head about the nose: right eye, left eye, ears alike; then 68 landmarks (jaw, brows, nose, eyes, mouth)."""
    def arc(count: int, x: float, y: float, wide: float, high: float, first: float, last: float, z: float) -> Array:
        angle = np.linspace(first, last, count)
        return np.stack([x + wide * np.cos(angle), y + high * np.sin(angle), np.full(count, z)], -1)

    pi = np.pi
    jaw = arc(17, 0, 0.03, 0.072, 0.115, -pi, 0, -0.06)
    jaw[:, 2] += 0.06 * (1 - np.abs(jaw[:, 0]) / 0.072)
    nose = np.concatenate([np.stack([np.zeros(4), np.linspace(0.045, 0.005, 4), np.linspace(-0.02, 0, 4)], -1),
                           arc(5, 0, -0.012, 0.016, 0.004, -pi, 0, -0.012)])
    parts = [[(-0.033, 0.04, -0.025), (0.033, 0.04, -0.025), (-0.075, 0.01, -0.11), (0.075, 0.01, -0.11)], jaw,
             arc(5, -0.035, 0.058, 0.025, 0.01, pi, 0, -0.022), arc(5, 0.035, 0.058, 0.025, 0.01, pi, 0, -0.022), nose,
             arc(6, -0.033, 0.04, 0.014, 0.006, pi, -2 * pi / 3, -0.028), arc(6, 0.033, 0.04, 0.014, 0.006, pi, -2 * pi / 3, -0.028),
             arc(12, 0, -0.045, 0.026, 0.013, pi, -5 * pi / 6, -0.015), arc(8, 0, -0.045, 0.02, 0.006, pi, -3 * pi / 4, -0.015)]
    return np.concatenate(parts)


def skeleton(body: Body, pose: Angles, frames: int) -> tuple[Array, Array]:
    """Joints `[F, 134, 3]` in metres, feet on the floor but for `lift`; and where the head looks `[F, 3]`."""
    def angle(name: str) -> Array:
        return np.asarray(pose.get(name, np.zeros(frames)))

    def offset(x: float, y: float, z: float) -> Array:
        return np.array([x, y, z])

    hips = rotation(1, angle("yaw"))
    trunk = hips @ rotation(0, angle("lean")) @ rotation(2, angle("roll"))
    head = trunk @ rotation(1, angle("look")) @ rotation(0, angle("nod"))
    out = np.zeros((frames, NUM_POINTS, 3))
    out[:, 1] = neck = trunk @ offset(0, body.torso, 0)
    out[:, 0] = neck + trunk @ offset(0, body.neck, 0) + head @ offset(0, 0, 0.1 * body.head)
    features = out[:, 0, None] + np.einsum("fij,nj->fni", head, body.head * face_features())
    out[:, 14:18], out[:, FACE] = features[:, :4], features[:, 4:]
    for side, name, arm, leg, foot, hand in ((RIGHT, "r_", 2, 8, 21, RIGHT_HAND), (LEFT, "l_", 5, 11, 18, LEFT_HAND)):
        def limb(part: str, bend: Array, side: int = side, name: str = name) -> Array:
            swing = angle(name + part) + bend
            down = np.stack([np.zeros(frames), -np.cos(swing), np.sin(swing)], -1)
            return np.einsum("fij,fj->fi", rotation(2, side * angle(name + part + "_out")), down)

        straight = np.zeros(frames)
        out[:, arm] = neck + trunk @ offset(side * body.shoulder, 0, 0)
        out[:, arm + 1] = out[:, arm] + body.upper_arm * np.einsum("fij,fj->fi", trunk, limb("arm", straight))
        fore = np.einsum("fij,fj->fi", trunk, limb("arm", angle(name + "elbow")))
        out[:, arm + 2] = out[:, arm + 1] + body.forearm * fore
        out[:, leg] = hips @ offset(side * body.hip, 0, 0)
        out[:, leg + 1] = out[:, leg] + body.thigh * np.einsum("fij,fj->fi", hips, limb("leg", straight))
        out[:, leg + 2] = out[:, leg + 1] + body.shin * np.einsum("fij,fj->fi", hips, limb("leg", -angle(name + "knee")))
        for k, (x, z) in enumerate(((-0.02, 0.75), (0.05, 0.65), (0, -0.2))):  # big toe, small toe, heel
            out[:, foot + k] = out[:, leg + 2] + hips @ offset(side * x, -0.06, z * body.foot)
        across = np.cross(fore, trunk @ offset(0, 0, 1)) + 1e-9
        across /= np.linalg.norm(across, axis=-1, keepdims=True)
        out[:, hand] = out[:, arm + 2, None]
        for finger in range(5):
            for k in range(4):
                reach = body.forearm * (0.28 + 0.13 * k) * (0.8 if finger in (0, 4) else 1)
                out[:, hand.start + 1 + 4 * finger + k] += reach * fore + body.forearm * 0.08 * (finger - 2) * across
    out[..., 1] += 0.08 - out[:, (10, 13), 1].min(-1)[:, None] + angle("lift")[:, None]
    out[..., 0] += angle("x")[:, None]
    out[..., 2] += angle("z")[:, None]
    return out, head @ offset(0, 0, 1)


# ---------------------------------------------------------------------------------------------------------------------------------- shots

@dataclass(frozen=True)
class Shot:
    """places `[F, P, 134, 2]`: the truth in pixels, in and out of the picture. visible `[F, P, 134]` bool: what a perfect detector sees:
    all in the picture, less the far side of a head. far `[F, P, 134]`: 0..1, how far a point is turned away, where detectors err more.
    heights `[F, P]`: of an upright body in pixels at that distance, the unit of errors."""

    name: str
    fps: float
    places: Array
    visible: Array
    far: Array
    heights: Array

    @property
    def truth(self) -> PoseClip:
        """What a perfect detector reports."""
        return PoseClip(np.concatenate([self.places, np.ones((*self.places.shape[:3], 1))], -1) * self.visible[..., None], WIDTH, HEIGHT)


def project(points: Array, eye: Array, pan: Array, tilt: Array, focal: Array) -> tuple[Array, Array]:
    """Pixels `[..., F, N, 2]` and depths of points by a pinhole camera at `eye [F, 3]` that looks along -z. focal in picture heights."""
    local = np.einsum("fij,fnj->fni", rotation(0, -tilt) @ rotation(1, -pan), points - eye[:, None])
    depth = np.maximum(-local[..., 2], 0.2)
    scale = focal[:, None] * HEIGHT / depth
    return np.stack([WIDTH / 2 + scale * local[..., 0], HEIGHT / 2 - scale * local[..., 1]], -1), depth


Motion = Callable[[Array, np.random.Generator], Angles]


def film(name: str, seed: int, fps: float, seconds: float, *, body: str = "", camera: str = "", at_ease: bool = False) -> Shot:
    """A shot by its name, of the body and the style of a seed; the same motion at every frame rate.

    body, camera: another kind of body does the same, as large as it is; another view of the same. at_ease: the same body, where it begins,
    stands facing us.
    """
    rng = np.random.default_rng((0xF007, seed, sorted(SHOTS).index(name)))
    kind, motion, view = SHOTS[name]
    kind, view = body or kind, camera or view
    frames = max(2, round(seconds * fps))
    t = np.arange(frames) / fps
    people = [(make_body(kind, rng), motion(t, rng)) for _ in range(2 if view == "crossing" else 1)]
    height = people[0][0].height
    if body:
        for _, pose in people:  # the same in its own size
            pose |= {way: pose[way] * KINDS[body].height / KINDS[SHOTS[name][0]].height for way in ("x", "lift") if way in pose}
    share = t / seconds
    zero = 0 * t
    aim, distance, focal, pan, x = 0.5 + zero, 2.6 * height + zero, 2.0 + rng.uniform(-0.2, 0.2) + zero, zero, zero
    for k, (_, pose) in enumerate(people):
        pose.setdefault("yaw", zero)
        if view == "side":
            pose["yaw"] = pose["yaw"] + (np.pi / 2 + rng.uniform(-0.15, 0.15)) * rng.choice([-1, 1])
        elif view == "three-quarter":
            pose["yaw"] = pose["yaw"] + rng.uniform(0.5, 0.9) * rng.choice([-1, 1])
        elif view in ("out", "pan", "crossing"):
            way = 2 * np.abs((2 * share + 0.5) % 2 - 1) - 1 if view == "out" else 2 * share - 1  # out: there, off, and back
            reach = {"out": 1.5, "pan": 1.3, "crossing": 0.75}[view] * height
            towards = np.where((2 * share + 0.5) % 2 < 1, -1, 1) if view == "out" else 1 + zero
            side = -1 if k else 1
            pose["x"], pose["yaw"] = side * reach * way, pose["yaw"] + side * np.pi / 2 * towards
            pose["z"] = zero - 0.5 * k
        elif view == "approach":
            pose["z"] = 2.0 * height * (1.06 * share).clip(0, 1) - 0.9
    if at_ease:
        travels = view in ("out", "pan", "crossing", "approach")
        people = [(one, stand(t, rng) | {axis: zero + (pose[axis][0] if travels else np.median(pose[axis])) for axis in ("x", "z")
                                         if axis in pose}) for one, pose in people]
    if view == "zoom":
        zoom = ((share - 0.3) / 0.3).clip(0, 1)
        zoom = zoom**2 * (3 - 2 * zoom)
        aim, focal = aim + 0.28 * zoom, focal * (1 + 1.3 * zoom)
    elif view == "pan":
        pan = -np.arctan(0.85 * (2 * share - 1) * 1.3 * height / distance)
    elif view in ("half", "close"):
        aim, focal = (0.8 + zero, focal * 2.0) if view == "half" else (0.88 + zero, focal * 3.2)
    elif view == "approach":
        distance = distance + 0.4
    eye = np.stack([x, aim * height, distance], -1)
    shot = [see(body, *skeleton(body, pose, frames), eye, pan, zero, focal) for body, pose in people]
    return Shot(name, fps, *(np.stack(part, 1) for part in zip(*shot, strict=True)))


def see(body: Body, joints: Array, gaze: Array, eye: Array, pan: Array, tilt: Array, focal: Array) -> tuple[Array, Array, Array, Array]:
    places, depth = project(joints, eye, pan, tilt, focal)
    inside = ((places >= 0) & (places < (WIDTH, HEIGHT))).all(-1) & (depth > 0.3)
    to_camera = eye - joints[:, 0]
    to_camera /= np.linalg.norm(to_camera, axis=-1, keepdims=True)
    facing = (gaze * to_camera).sum(-1)
    aside = np.cross(to_camera, gaze)[:, 1]  # above 0: the head looks to the picture's right, its right ear towards us
    away = np.zeros(joints.shape[:2], bool)
    away[:, 0], away[:, FACE] = facing < -0.1, (facing < 0.2)[:, None]
    away[:, 14], away[:, 15] = facing + 0.6 * aside < -0.05, facing - 0.6 * aside < -0.05
    away[:, 16], away[:, 17] = aside < -0.6, aside > 0.6
    behind = (depth - depth[:, 1, None]) / (2 * body.shoulder)
    return places, inside & ~away, behind.clip(0, 1), body.height * focal * HEIGHT / depth[:, 1]


# name: kind of body, motion, view
SHOTS: Mapping[str, tuple[str, Motion, str]] = {
    **{motion.__name__: ("adult", motion, "front") for motion in (stand, walk, sit, dance, jump, kick, spin, turn, run, box)},
    "walk out and back": ("adult", walk, "out"), "to the camera": ("adult", walk, "approach"),
    "zoom to upper body": ("adult", dance, "zoom"), "pan": ("adult", walk, "pan"), "half body": ("adult", dance, "half"),
    "close-up": ("adult", stand, "close"), "chibi": ("chibi", dance, "front"), "child": ("child", dance, "front"),
    "long-legged": ("long-legged", walk, "front"), "side view": ("adult", walk, "side"),
    "three-quarter view": ("adult", dance, "three-quarter"), "crossing": ("adult", walk, "crossing"),
}
REPORTING_ONLY = ("run", "box", "long-legged", "three-quarter view")
SECONDS = 6.0


def shots(half: range, fps: float = 24.0, seconds: float = SECONDS, each: int = 1) -> list[Shot]:
    """Every shot of a half (TUNING or REPORTING), `each` times with other bodies and styles."""
    names = [name for name in SHOTS if half is REPORTING or name not in REPORTING_ONLY]
    return [film(name, half[len(names) * k + i], fps, seconds) for k in range(each) for i, name in enumerate(names)]
