// The picture with its masks. An object is {label, score, rle, color, text}; `single` is the one that is singled out.
import { decode } from "./rle.js";

export const COLORS = [[0, 140, 245], [235, 75, 0], [240, 200, 40], [0, 160, 115], [205, 110, 170], [100, 205, 245], [240, 150, 0], [60, 80, 190]];
const LARGEST = 1600;

export class Viewer {
  constructor(canvas, onSingle) {
    this.canvas = canvas;
    this.onSingle = onSingle;
    this.objects = [];
    this.single = null;
    this.pinned = false;
    canvas.addEventListener("pointermove", (event) => this.pinned || this.onSingle(this.at(event)));
    canvas.addEventListener("pointerleave", () => this.pinned || this.onSingle(null));
    canvas.addEventListener("click", (event) => {
      const object = this.at(event);
      this.pinned = object !== null;
      this.onSingle(object);
    });
  }

  // source: anything that drawImage takes; size: [height, width] of the masks.
  show(source, size, objects) {
    const scale = Math.min(1, LARGEST / Math.max(...size));
    const [height, width] = size.map((side) => Math.max(1, Math.round(side * scale)));
    this.source = source;
    this.size = size;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.canvas.style.cssText = `--wide: ${width}; --high: ${height}`;
    this.canvas.hidden = false;
    this.objects = objects.map((object) => this.prepared(object, width, height));
    this.draw();
  }

  prepared(object, width, height) {
    const mask = object.mask?.length === width * height ? object.mask : decode(object.rle, width, height);
    return Object.assign(object, { mask, layer: layerOf(mask, width, height, object.color, lineOf(width, height)) });
  }

  setSingle(object) {
    this.single = object;
    if (object === null) this.pinned = false;
    this.draw();
  }

  draw() {
    paint(this.canvas, this.source, this.objects, this.single);
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect(), { width, height } = this.canvas;
    const x = Math.floor((event.clientX - box.left) * width / box.width);
    const y = Math.floor((event.clientY - box.top) * height / box.height);
    return this.objects.find((object) => object.mask[y * width + x]) ?? null;
  }

  // The overlay at the photo's own size.
  async png() {
    const canvas = document.createElement("canvas"), [height, width] = this.size;
    Object.assign(canvas, { width, height });
    const objects = this.objects.map((object) => {
      const mask = decode(object.rle, width, height);
      return { ...object, mask, layer: layerOf(mask, width, height, object.color, lineOf(width, height)) };
    });
    paint(canvas, this.source, objects, null);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }
}

function paint(canvas, source, objects, single) {
  const pen = canvas.getContext("2d"), { width, height } = canvas;
  pen.globalAlpha = 1;
  pen.drawImage(source, 0, 0, width, height);
  if (single) {
    pen.fillStyle = "rgba(0, 0, 0, 0.45)";
    pen.fillRect(0, 0, width, height);
    pen.drawImage(cutout(source, single, width, height), 0, 0);
  }
  for (const object of [...objects].reverse()) {
    pen.globalAlpha = single && single !== object ? 0.12 : 1;
    pen.drawImage(object.layer, 0, 0, width, height);
  }
  pen.globalAlpha = 1;
  for (const object of single ? [single] : objects) drawTag(pen, object, width, height);
}

// The score and the sentence above the object, inside the picture.
function drawTag(pen, object, width, height) {
  const size = Math.max(12, Math.round(Math.min(width, height) / 25));
  const text = `${object.score.toFixed(2)} ${object.text.length > 40 ? `${object.text.slice(0, 39)}…` : object.text}`;
  const [left, top] = corner(object.mask, width);
  if (top === null) return;
  pen.font = `600 ${size}px system-ui, sans-serif`;
  const wide = pen.measureText(text).width + size, high = Math.round(1.6 * size);
  const x = Math.max(0, Math.min(left, width - wide)), y = Math.max(0, Math.min(top - high - 2, height - high));
  pen.fillStyle = `rgb(${object.color})`;
  pen.fillRect(x, y, wide, high);
  const [red, green, blue] = object.color;
  pen.fillStyle = 0.3 * red + 0.59 * green + 0.11 * blue > 140 ? "#111" : "#fff";
  pen.textBaseline = "middle";
  pen.fillText(text, x + size / 2, y + high / 2);
}

// The left edge and the top of a mask, [0, null] for an empty one.
function corner(mask, width) {
  const first = mask.indexOf(1);
  if (first < 0) return [0, null];
  let left = width;
  for (let at = first; at < mask.length; at++) if (mask[at] && at % width < left) left = at % width;
  return [left, Math.floor(first / width)];
}

const lineOf = (width, height) => Math.max(2, Math.min(width, height) / 220);

// The pixels of one object, so that it stays bright when all else is dimmed.
function cutout(source, object, width, height) {
  const part = new OffscreenCanvas(width, height), pen = part.getContext("2d");
  const shape = new ImageData(width, height);
  for (let at = 0; at < object.mask.length; at++) shape.data[4 * at + 3] = 255 * object.mask[at];
  pen.putImageData(shape, 0, 0);
  pen.globalCompositeOperation = "source-in";
  pen.drawImage(source, 0, 0, width, height);
  return part;
}

// Tint inside, a solid line along the edge.
function layerOf(mask, width, height, color, line) {
  const layer = new OffscreenCanvas(width, height), pixels = new ImageData(width, height), data = pixels.data;
  const reach = Math.max(1, Math.round(line));
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (!mask[at]) continue;
      const inner = x >= reach && y >= reach && x + reach < width && y + reach < height &&
        mask[at - reach] && mask[at + reach] && mask[at - reach * width] && mask[at + reach * width];
      data.set([...color, inner ? 110 : 255], 4 * at);
    }
  }
  layer.getContext("2d").putImageData(pixels, 0, 0);
  return layer;
}
