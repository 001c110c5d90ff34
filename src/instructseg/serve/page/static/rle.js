// COCO's run-length encoding: columns from the left, runs of 0 and 1 alternating, each run after the third stored as a
// difference from the run two before it, in characters of 5 bits.

export function runsOf(counts) {
  const runs = [];
  for (let at = 0; at < counts.length; ) {
    let value = 0, shift = 0, code;
    do {
      code = counts.charCodeAt(at++) - 48;
      value |= (code & 0x1f) << shift;
      shift += 5;
    } while (code & 0x20);
    if (code & 0x10) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

// The mask at another size (nearest pixel): Uint8Array of width x height, row by row.
export function decode(rle, width, height) {
  const [rows, columns] = rle.size, mask = new Uint8Array(width * height), runs = runsOf(rle.counts);
  let run = 0, end = runs[0] ?? 0;
  for (let x = 0; x < width; x++) {
    const start = Math.floor((x + 0.5) * columns / width) * rows;
    for (let y = 0; y < height; y++) {
      const place = start + Math.floor((y + 0.5) * rows / height);
      while (place >= end && run + 1 < runs.length) end += runs[++run];
      mask[y * width + x] = run & 1;
    }
  }
  return mask;
}
