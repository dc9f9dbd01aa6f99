// Where a figure stands in a picture that no detector can read: what differs from the colours at the picture's border.

const SIDE = 96; // longer side of the small picture that is looked at
const OPAQUE = 128;
const SAME = 36; // two colours nearer than this (in 8-bit RGB) are one of the background's
const LEAST_SHARE = 0.06; // of the border, for a colour to be the background's
const LEAST_AREA = 0.015; // of the picture, for a figure

/**
 * The box of the figure in a picture, in pixels of a canvas of width x height over which the picture is stretched; null where it doesn't
 * stand out from the background.
 */
export function findFigure(image, width, height) {
  const scale = SIDE / Math.max(width, height);
  const [w, h] = [Math.max(8, Math.round(width * scale)), Math.max(8, Math.round(height * scale))];
  const canvas = Object.assign(document.createElement("canvas"), { width: w, height: h });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, w, h);
  const box = figureBox(context.getImageData(0, 0, w, h).data, w, h);
  return box && { x: (box.x / w) * width, y: (box.y / h) * height, width: (box.width / w) * width, height: (box.height / h) * height };
}

/** data: RGBA of w x h pixels. The box has the figure's width and height, and its body in the middle. */
export function figureBox(data, w, h) {
  const mask = largestPart(opened(foreground(data, w, h), w, h), w, h);
  if (!mask) return null;
  let [left, top, right, bottom] = [w, h, -1, -1];
  const columns = [];
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const [x, y] = [i % w, (i / w) | 0];
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
    columns.push(x);
  }
  const touched = [left <= 1, right >= w - 2, top <= 1].filter(Boolean).length; // `opened` clears the outermost pixels
  if (columns.length < LEAST_AREA * w * h || touched > 1) return null;
  // the body is where most of it is: an arm stretched out to one side moves the box and not the median
  const middle = columns.sort((a, b) => a - b)[columns.length >> 1] + 0.5;
  const width = right - left + 1;
  return { x: middle - width / 2, y: top, width, height: bottom - top + 1 };
}

function foreground(data, w, h) {
  const pixels = w * h;
  let clear = 0;
  for (let i = 0; i < pixels; i++) clear += data[4 * i + 3] < OPAQUE;
  if (clear > 0.02 * pixels) return Uint8Array.from({ length: pixels }, (_, i) => data[4 * i + 3] >= OPAQUE);
  const background = borderColours(data, w, h);
  const far = Float32Array.from({ length: pixels }, (_, i) => Math.min(...background.map((colour) => colourDistance(data, i, colour))));
  const limit = Math.max(SAME, otsu(far));
  return Uint8Array.from(far, (d) => d > limit);
}

/** The main colours along the picture's edges; the bottom is left out, where figures stand or are cut. */
function borderColours(data, w, h) {
  const border = [];
  for (let x = 0; x < w; x++) border.push(x, w + x);
  for (let y = 2; y < h; y++) border.push(y * w, y * w + 1, y * w + w - 2, y * w + w - 1);
  const groups = [];
  for (const i of border) {
    let group = groups.find((g) => colourDistance(data, i, g.colour) < SAME);
    if (!group) groups.push((group = { colour: [0, 0, 0].map((_, k) => data[4 * i + k]), count: 0 }));
    group.count++;
  }
  const main = groups.filter((g) => g.count >= LEAST_SHARE * border.length);
  return (main.length ? main : groups).map((g) => g.colour);
}

const colourDistance = (data, i, colour) => Math.hypot(data[4 * i] - colour[0], data[4 * i + 1] - colour[1], data[4 * i + 2] - colour[2]);

/** The threshold that parts values best in two classes (Otsu's). */
function otsu(values) {
  const bins = new Float64Array(64);
  const largest = Math.max(1, ...values);
  for (const value of values) bins[Math.min(63, ((value / largest) * 64) | 0)]++;
  const total = values.length;
  const sum = bins.reduce((all, count, i) => all + count * i, 0);
  let [below, weighted, best, at] = [0, 0, -1, 0];
  for (let i = 0; i < 63; i++) {
    below += bins[i];
    weighted += bins[i] * i;
    if (!below || below === total) continue;
    const between = (weighted / below - (sum - weighted) / (total - below)) ** 2 * below * (total - below);
    if (between > best) [best, at] = [between, i];
  }
  // half of it: outlines and shadows part the classes too late rather than too early
  return (((at + 1) / 64) * largest) / 2;
}

/** Without specks: a pixel stays where most of its neighbours are set. */
function opened(mask, w, h) {
  const out = new Uint8Array(mask.length);
  for (let y = 1; y < h - 1; y++) {
    for (let x = 1; x < w - 1; x++) {
      let count = 0;
      for (const dy of [-w, 0, w]) for (const dx of [-1, 0, 1]) count += mask[y * w + x + dy + dx];
      out[y * w + x] = count >= 5;
    }
  }
  return out;
}

function largestPart(mask, w, h) {
  const label = new Int32Array(mask.length);
  let [best, size] = [0, 0];
  for (let start = 0, next = 1; start < mask.length; start++) {
    if (!mask[start] || label[start]) continue;
    const stack = [start];
    let count = 0;
    label[start] = next;
    while (stack.length) {
      const i = stack.pop();
      count++;
      const x = i % w;
      for (const j of [x > 0 ? i - 1 : -1, x < w - 1 ? i + 1 : -1, i - w, i + w]) {
        if (j >= 0 && j < mask.length && mask[j] && !label[j]) {
          label[j] = next;
          stack.push(j);
        }
      }
    }
    if (count > size) [best, size] = [next, count];
    next++;
  }
  return size ? Uint8Array.from(label, (value) => value === best) : null;
}
