// The edits: plain JSON, and what they make of the incoming poses. The same rules as animate_core/pose/editing.py, which runs them.
// Edits are never changed in place: each function gives new ones.

import { JOINTS, SCORE_THRESHOLD } from "./skeleton.js";

export const VERSION = 1;

export const noEdits = (width, height) => ({ version: VERSION, width, height, keys: [] });

/** Edits of a widget's text; null for an empty one. Throws an Error that says what is wrong. */
export function parseEdits(text) {
  if (!text?.trim()) return null;
  const edits = JSON.parse(text);
  if (edits?.version !== VERSION) throw new Error(`this release does not know version ${edits?.version} of the edits`);
  const pairs = (points) => Object.values(points ?? {}).every((p) => Array.isArray(p) && p.length === 2 && p.every(Number.isFinite));
  const good = edits.width > 0 && edits.height > 0 && Array.isArray(edits.keys) &&
    edits.keys.every((key) => Number.isInteger(key?.frame) && pairs(key.move) && pairs(key.place) && Array.isArray(key.hide ?? []));
  if (!good) throw new Error("this is not the format of Edit Pose");
  return { ...edits, keys: [...edits.keys].sort((a, b) => a.frame - b.frame) };
}

/** The widget's text; empty where nothing is edited. */
export function editsText(edits) {
  if (!edits.keys.length) return "";
  const keys = edits.keys.map(({ frame, move, place, hide }) => ({
    frame,
    ...(Object.keys(move ?? {}).length && { move }),
    ...(Object.keys(place ?? {}).length && { place }),
    ...(hide?.length && { hide }),
  }));
  return JSON.stringify({ version: VERSION, width: edits.width, height: edits.height, keys });
}

/** The same edits on another canvas. */
export function onCanvas(edits, width, height) {
  if (edits.width === width && edits.height === height) return edits;
  const [sx, sy] = [width / edits.width, height / edits.height];
  const scaled = (points) => Object.fromEntries(Object.entries(points ?? {}).map(([joint, [x, y]]) => [joint, rounded([x * sx, y * sy])]));
  return { ...edits, width, height, keys: edits.keys.map((key) => ({ ...key, move: scaled(key.move), place: scaled(key.place) })) };
}

/** What comes into the node: `frames` frames of the poses of its last run, of which the last is held; without poses, nobody. */
export class Incoming {
  constructor(width, height, poses, frames) {
    Object.assign(this, { width, height, poses, frames: Math.max(1, frames) });
  }

  /** `[x, y]` of a joint, and whether it is seen. */
  point(frame, joint) {
    const pose = this.poses[Math.min(frame, this.poses.length - 1)];
    const [x, y, score] = pose ? pose.slice(3 * joint, 3 * joint + 3) : [0, 0, 0];
    return { x, y, seen: score > SCORE_THRESHOLD, there: score > 0 };
  }

  /** First frame, and the one after the last, of the gap round a frame in which a joint is not seen; open at the clip's end. */
  gap(frame, joint) {
    let [start, stop] = [frame, frame + 1];
    while (start > 0 && !this.point(start - 1, joint).seen) start--;
    while (stop < this.frames && !this.point(stop, joint).seen) stop++;
    return [start, stop === this.frames ? Infinity : stop];
  }
}

/** The keys round a frame of those that are given, and the second's share. */
function around(keys, frame) {
  const after = keys.find((key) => key.frame >= frame) ?? keys.at(-1);
  const before = keys.findLast((key) => key.frame <= frame) ?? keys[0];
  return [before, after, before === after ? 0 : (frame - before.frame) / (after.frame - before.frame)];
}

function blend(a, b, share) {
  return [a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])];
}

function track(edits, incoming, frame, joint) {
  const move = edits.keys.length ? blendKeys(edits.keys, frame, (key) => key.move?.[joint] ?? [0, 0]) : [0, 0];
  const base = incoming.point(frame, joint);
  let place = null;
  if (!base.seen && edits.keys.some((key) => key.place?.[joint])) {
    const [start, stop] = incoming.gap(frame, joint);
    const keys = edits.keys.filter((key) => key.place?.[joint] && key.frame >= start && key.frame < stop);
    if (keys.length) place = blendKeys(keys, frame, (key) => key.place[joint]);
  }
  const governing = edits.keys.findLast((key) => key.frame <= frame) ?? edits.keys[0];
  return { base, move, place, hidden: governing?.hide?.includes(joint) ?? false };
}

function blendKeys(keys, frame, value) {
  const [before, after, share] = around(keys, frame);
  return blend(value(before), value(after), share);
}

/**
 * The pose of a frame: for each joint x, y and its state: "shown", "hidden", or "missing" where the incoming clip lacks it and nothing is
 * placed (x and y are then those of a doubtful sight, or null). edited: whether it is moved, placed or hidden here.
 */
export function poseAt(edits, incoming, frame) {
  return JOINTS.map((_, joint) => {
    const { base, move, place, hidden } = track(edits, incoming, frame, joint);
    const moved = base.seen && (move[0] !== 0 || move[1] !== 0);
    const [x, y] = base.seen ? [base.x + move[0], base.y + move[1]] : place ?? (base.there ? [base.x, base.y] : [null, null]);
    const state = hidden ? "hidden" : base.seen || place ? "shown" : "missing";
    return { x, y, state, edited: moved || place !== null || hidden };
  });
}

export const keyAt = (edits, frame) => edits.keys.find((key) => key.frame === frame);

/** With a key at a frame; a new one keeps what the edits make of that frame. */
export function withKey(edits, incoming, frame) {
  if (keyAt(edits, frame)) return edits;
  const key = { frame, move: {}, place: {}, hide: [] };
  JOINTS.forEach((_, joint) => {
    const { base, move, place, hidden } = track(edits, incoming, frame, joint);
    if (move[0] || move[1]) key.move[joint] = rounded(move);
    if (!base.seen && place) key.place[joint] = rounded(place);
    if (hidden) key.hide.push(joint);
  });
  return { ...edits, keys: [...edits.keys, key].sort((a, b) => a.frame - b.frame) };
}

export const withoutKey = (edits, frame) => ({ ...edits, keys: edits.keys.filter((key) => key.frame !== frame) });

function changed(edits, incoming, frame, change) {
  const keyed = withKey(edits, incoming, frame);
  return {
    ...keyed,
    keys: keyed.keys.map((old) => {
      if (old.frame !== frame) return old;
      const key = { frame, move: { ...old.move }, place: { ...old.place }, hide: [...(old.hide ?? [])] };
      change(key);
      return key;
    }),
  };
}

/** Joints put somewhere at a frame, and so brought back. points: `[joint, [x, y]]`; null for the place hides the joint. */
export function withPoints(edits, incoming, frame, points) {
  return changed(edits, incoming, frame, (key) => {
    for (const [joint, point] of points) {
      key.hide = key.hide.filter((hidden) => hidden !== joint);
      if (!point) {
        key.hide.push(joint);
        continue;
      }
      const base = incoming.point(frame, joint);
      if (base.seen) key.move[joint] = rounded([point[0] - base.x, point[1] - base.y]);
      else key.place[joint] = rounded(point);
    }
  });
}

export function withHidden(edits, incoming, frame, joint, hidden) {
  return changed(edits, incoming, frame, (key) => {
    key.hide = key.hide.filter((other) => other !== joint);
    if (hidden) key.hide.push(joint);
  });
}

/** A joint as it comes in, at a frame. */
export function withoutJoint(edits, incoming, frame, joint) {
  return changed(edits, incoming, frame, (key) => {
    delete key.move[joint];
    delete key.place[joint];
    key.hide = key.hide.filter((other) => other !== joint);
  });
}

const rounded = ([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10];
