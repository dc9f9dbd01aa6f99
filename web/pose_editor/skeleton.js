// The body's 18 points as OpenPose orders them: names, limbs, colours, who hangs on whom, and a figure that stands.

export const JOINTS = [
  "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist", "right hip", "right knee",
  "right ankle", "left hip", "left knee", "left ankle", "right eye", "left eye", "right ear", "left ear",
];
export const SCORE_THRESHOLD = 0.3; // a point of at most this score is not seen

export const LIMBS = [
  [1, 2], [1, 5], [2, 3], [3, 4], [5, 6], [6, 7], [1, 8], [8, 9], [9, 10], [1, 11], [11, 12], [12, 13], [1, 0], [0, 14], [14, 16],
  [0, 15], [15, 17],
];
export const COLOURS = [
  "#ff0000", "#ff5500", "#ffaa00", "#ffff00", "#aaff00", "#55ff00", "#00ff00", "#00ff55", "#00ffaa", "#00ffff", "#00aaff", "#0055ff",
  "#0000ff", "#5500ff", "#aa00ff", "#ff00ff", "#ff00aa", "#ff0055",
];
const PARENT = [1, null, 1, 2, 3, 1, 5, 6, 1, 8, 9, 1, 11, 12, 0, 0, 14, 15];
const OTHER_SIDE = [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16];
const CHAINS = [[2, 3, 4], [5, 6, 7], [8, 9, 10], [11, 12, 13], [14, 16], [15, 17]];

/** The joint and all that hang on it; the neck carries everyone. */
export function branch(joint) {
  return JOINTS.map((_, i) => i).filter((i) => {
    for (let at = i; at !== null; at = PARENT[at]) if (at === joint) return true;
    return false;
  });
}

/** The arm, leg or half face that a joint belongs to; null for nose and neck. */
export const chainOf = (joint) => CHAINS.find((chain) => chain.includes(joint)) ?? null;

// A grown person of 7.5 heads; lengths in body heights, from the crown down.
const NECK = 0.178, HIPS = 0.468, SHOULDER = 0.105, HIP = 0.055, UPPER_ARM = 0.17, FOREARM = 0.145, HAND = 0.06, THIGH = 0.252, SHIN = 0.24;

/**
 * A figure that stands and faces us, `[x, y]` for each joint.
 * box: x, y, width, height of what it fills. The arms are lifted as far as the width has room.
 */
export function standing(box) {
  const reach = UPPER_ARM + FOREARM + HAND;
  const sin = Math.min(1, Math.max(0.12, (box.width / (2 * box.height) - SHOULDER) / reach));
  const cos = Math.sqrt(1 - sin * sin);
  const figure = [];
  figure[0] = [0, 0.075];
  figure[1] = [0, NECK];
  for (const [side, arm, leg, eye] of [[-1, 2, 8, 14], [1, 5, 11, 15]]) {
    figure[arm] = [side * SHOULDER, NECK];
    figure[arm + 1] = [side * (SHOULDER + UPPER_ARM * sin), NECK + UPPER_ARM * cos];
    figure[arm + 2] = [side * (SHOULDER + (UPPER_ARM + FOREARM) * sin), NECK + (UPPER_ARM + FOREARM) * cos];
    figure[leg] = [side * HIP, HIPS];
    figure[leg + 1] = [side * HIP * 1.1, HIPS + THIGH];
    figure[leg + 2] = [side * HIP * 1.2, HIPS + THIGH + SHIN];
    figure[eye] = [side * 0.018, 0.062];
    figure[eye + 2] = [side * 0.043, 0.07];
  }
  return figure.map(([x, y]) => [box.x + box.width / 2 + x * box.height, box.y + y * box.height]);
}

const TEMPLATE = standing({ x: -0.19, y: 0, width: 0.38, height: 1 });

/**
 * Where a missing joint may be: on the joint that it hangs on (or that hangs on it), as in a standing figure of the size of what is there.
 * points: `[x, y]` or null for each joint. Gives the same with every null filled; null if nobody is there.
 */
export function guessMissing(points) {
  const known = points.map((point, i) => [point, TEMPLATE[i]]).filter(([point]) => point);
  if (!known.length) return null;
  const ratios = LIMBS.filter(([a, b]) => points[a] && points[b])
    .map(([a, b]) => distance(points[a], points[b]) / distance(TEMPLATE[a], TEMPLATE[b]));
  ratios.sort((a, b) => a - b);
  const size = ratios.length ? ratios[ratios.length >> 1] : 300;
  const filled = [...points];
  for (let round = 0; round < JOINTS.length; round++) {
    for (const [a, b] of LIMBS) {
      for (const [from, to] of [[a, b], [b, a]]) {
        if (filled[from] && !filled[to]) filled[to] = [0, 1].map((k) => filled[from][k] + size * (TEMPLATE[to][k] - TEMPLATE[from][k]));
      }
    }
  }
  return filled;
}

/**
 * The other side's limb as the mirror image of a joint's own, at the line from neck to hips.
 * points: `[x, y]` or null. Gives `[joint, point or null]` for the joints of the other side.
 */
export function mirrored(points, joint) {
  const neck = points[1] ?? points[0];
  const hips = points[8] && points[11] ? middle(points[8], points[11]) : null;
  const shoulders = points[2] && points[5] ? middle(points[2], points[5]) : null;
  const origin = neck ?? shoulders ?? hips ?? points[joint];
  const axis = hips && distance(hips, origin) > 1 ? [hips[0] - origin[0], hips[1] - origin[1]] : [0, 1];
  const squared = axis[0] ** 2 + axis[1] ** 2;
  return (chainOf(joint) ?? []).map((own) => {
    if (!points[own]) return [OTHER_SIDE[own], null];
    const [x, y] = [points[own][0] - origin[0], points[own][1] - origin[1]];
    const along = (2 * (x * axis[0] + y * axis[1])) / squared;
    return [OTHER_SIDE[own], [origin[0] + along * axis[0] - x, origin[1] + along * axis[1] - y]];
  });
}

/** Left and right exchanged: `[joint, point or null]` for all joints that have another side. */
export const swapped = (points) => JOINTS.map((_, i) => [i, points[OTHER_SIDE[i]]]).filter(([i]) => OTHER_SIDE[i] !== i);

export const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
const middle = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
