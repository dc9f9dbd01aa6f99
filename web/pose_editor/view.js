// The canvas: a picture, a skeleton over it, zoom and pan. Knows nothing of edits.

import { COLOURS, JOINTS, LIMBS, distance, guessMissing } from "./skeleton.js";

const REACH = 14; // so near a joint, in pixels of the screen, a pointer takes hold of it; fingers get twice that
const LARGEST_ZOOM = 20;
const MARGIN = 10; // round the picture, in pixels
const CORNERS = [[0, 0], [1, 0], [1, 1], [0, 1]];

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.zoom = 1;
    this.centre = null; // what is in the middle, in pixels of the pose's canvas; null: all of it is shown
    this.content = { width: 1, height: 1, picture: null, pose: [], selected: null, hovered: null, box: null };
  }

  show(content) {
    if (content.width !== this.content.width || content.height !== this.content.height) this.reset();
    this.content = content;
    this.draw();
  }

  reset() {
    this.zoom = 1;
    this.centre = null;
  }

  /** Size in CSS pixels before the page's own zoom. */
  get size() {
    return [this.canvas.clientWidth || 1, this.canvas.clientHeight || 1];
  }

  /** CSS pixels for a pixel of the pose's canvas. */
  get scale() {
    const [w, h] = this.size;
    const { width, height } = this.content;
    return this.zoom * Math.max(0.001, Math.min((w - 2 * MARGIN) / width, (h - 2 * MARGIN) / height));
  }

  get origin() {
    const [w, h] = this.size;
    const [x, y] = this.centre ?? [this.content.width / 2, this.content.height / 2];
    return [w / 2 - x * this.scale, h / 2 - y * this.scale];
  }

  /** Where an event is, in CSS pixels of the canvas element; the page's own zoom scales it. */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const [w, h] = this.size;
    return [((event.clientX - box.left) / box.width) * w, ((event.clientY - box.top) / box.height) * h];
  }

  toPose([x, y]) {
    const [ox, oy] = this.origin;
    return [(x - ox) / this.scale, (y - oy) / this.scale];
  }

  toScreen([x, y]) {
    const [ox, oy] = this.origin;
    return [ox + x * this.scale, oy + y * this.scale];
  }

  /** Zooms so that what lies at a place of the screen stays there. */
  zoomAt(place, factor) {
    const kept = this.toPose(place);
    this.zoom = Math.min(LARGEST_ZOOM, Math.max(1, this.zoom * factor));
    if (this.zoom === 1) this.centre = null;
    else {
      const [w, h] = this.size;
      this.centre = [kept[0] + (w / 2 - place[0]) / this.scale, kept[1] + (h / 2 - place[1]) / this.scale];
      this.limit();
    }
    this.draw();
  }

  panBy(dx, dy) {
    if (this.zoom === 1) return;
    this.centre = [this.centre[0] - dx / this.scale, this.centre[1] - dy / this.scale];
    this.limit();
    this.draw();
  }

  limit() {
    const { width, height } = this.content;
    this.centre = [Math.min(width, Math.max(0, this.centre[0])), Math.min(height, Math.max(0, this.centre[1]))];
  }

  /** Places of all joints, those that are missing where they may be; null for nobody. */
  places() {
    const { pose } = this.content;
    const shown = pose.map((p) => (p.state === "shown" || (p.state === "hidden" && p.x !== null) ? [p.x, p.y] : null));
    const guessed = guessMissing(shown);
    return guessed && pose.map((p, i) => (p.x === null ? guessed[i] : [p.x, p.y]));
  }

  /** The joint at a place of the screen, or null; shown ones before others. */
  jointAt(place, finger) {
    const places = this.places();
    if (!places) return null;
    const reach = finger ? 2 * REACH : REACH;
    const near = JOINTS.map((_, joint) => ({ joint, far: distance(this.toScreen(places[joint]), place) }))
      .map((hit) => ({ ...hit, far: hit.far + (this.content.pose[hit.joint].state === "shown" ? 0 : REACH / 2) }))
      .filter((hit) => hit.far <= reach);
    near.sort((a, b) => a.far - b.far);
    return near[0]?.joint ?? null;
  }

  /** The corner of the figure's box at a place of the screen: 0 to 3 clockwise from the top left, or null. */
  cornerAt(place, finger) {
    const { box } = this.content;
    if (!box) return null;
    const found = CORNERS.findIndex((corner) => distance(this.toScreen(cornerOf(box, corner)), place) <= (finger ? 2 * REACH : REACH));
    return found < 0 ? null : found;
  }

  draw() {
    const [w, h] = this.size;
    const shownWidth = this.canvas.getBoundingClientRect().width || w;
    const ratio = Math.min(4, Math.max(1, (shownWidth / w) * (window.devicePixelRatio || 1)));
    const [pw, ph] = [Math.round(w * ratio), Math.round(h * ratio)];
    if (this.canvas.width !== pw || this.canvas.height !== ph) Object.assign(this.canvas, { width: pw, height: ph });
    this.drawn = [w, h, shownWidth];
    const c = this.canvas.getContext("2d");
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, w, h);
    const { width, height, picture } = this.content;
    const [x, y] = this.origin;
    c.fillStyle = "#2b2b2b"; // dark blue shows on it
    c.fillRect(x, y, width * this.scale, height * this.scale);
    if (picture) c.drawImage(picture, x, y, width * this.scale, height * this.scale);
    this.drawSkeleton(c);
    if (this.content.box) this.drawBox(c, this.content.box);
  }

  /** Whether the element's size on the screen has changed since it was drawn. */
  get stale() {
    const [w, h] = this.size;
    return !this.drawn || this.drawn[0] !== w || this.drawn[1] !== h || this.drawn[2] !== (this.canvas.getBoundingClientRect().width || w);
  }

  drawSkeleton(c) {
    const { pose, selected, hovered } = this.content;
    const places = this.places()?.map((place) => this.toScreen(place));
    if (!places) return;
    const figure = Math.max(...places.map((p) => p[1])) - Math.min(...places.map((p) => p[1]));
    const radius = Math.min(7, Math.max(3, figure / 75));
    const shown = (joint) => pose[joint].state === "shown";
    c.lineCap = "round";
    LIMBS.forEach(([a, b], limb) => {
      const both = shown(a) && shown(b);
      const width = radius * 1.3;
      if (both) {
        line(c, places[a], places[b], "rgba(0, 0, 0, .55)", width + 2);
        line(c, places[a], places[b], COLOURS[limb], width, [], 0.75);
      } else {
        line(c, places[a], places[b], "rgba(0, 0, 0, .35)", 2.5, [3, 5]);
        line(c, places[a], places[b], "rgba(255, 255, 255, .45)", 1, [3, 5]);
      }
    });
    places.forEach((place, joint) => {
      const state = pose[joint].state;
      c.setLineDash(state === "shown" ? [] : [2.5, 2.5]);
      c.lineWidth = 1.5;
      c.fillStyle = state === "shown" ? COLOURS[joint] : "rgba(0, 0, 0, .45)";
      c.strokeStyle = state === "shown" ? "#000" : "rgba(255, 255, 255, .8)";
      disc(c, place, radius);
      if (state === "shown" && pose[joint].edited) {
        c.fillStyle = "#fff";
        c.lineWidth = 0.5;
        disc(c, place, radius * 0.42);
      }
      if (joint === selected || joint === hovered) {
        c.setLineDash([]);
        ring(c, place, radius + 4, "#000", 4);
        ring(c, place, radius + 4, joint === selected ? "#fff" : "rgba(255, 255, 255, .6)", 2);
      }
    });
    c.setLineDash([]);
  }

  drawBox(c, box) {
    const [x0, y0] = this.toScreen([box.x, box.y]);
    const [x1, y1] = this.toScreen([box.x + box.width, box.y + box.height]);
    for (const [colour, dash] of [["#000", []], ["#fff", [5, 5]]]) {
      c.setLineDash(dash);
      c.strokeStyle = colour;
      c.lineWidth = 1.2;
      c.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
    c.setLineDash([]);
    c.fillStyle = "#fff";
    c.strokeStyle = "#000";
    for (const corner of CORNERS) {
      const [x, y] = this.toScreen(cornerOf(box, corner));
      c.fillRect(x - 5, y - 5, 10, 10);
      c.strokeRect(x - 5, y - 5, 10, 10);
    }
  }
}

export const cornerOf = (box, [right, bottom]) => [box.x + right * box.width, box.y + bottom * box.height];
export const oppositeCorner = (box, corner) => cornerOf(box, CORNERS[(corner + 2) % 4]);

function line(c, from, to, colour, width, dash = [], alpha = 1) {
  c.globalAlpha = alpha;
  c.strokeStyle = colour;
  c.lineWidth = width;
  c.setLineDash(dash);
  c.beginPath();
  c.moveTo(...from);
  c.lineTo(...to);
  c.stroke();
  c.globalAlpha = 1;
}

function disc(c, [x, y], radius) {
  c.beginPath();
  c.arc(x, y, radius, 0, 2 * Math.PI);
  c.fill();
  c.stroke();
}

function ring(c, [x, y], radius, colour, width) {
  c.strokeStyle = colour;
  c.lineWidth = width;
  c.beginPath();
  c.arc(x, y, radius, 0, 2 * Math.PI);
  c.stroke();
}
