// The list of what was asked and found. Rows of objects single them out; a sentence without an object says so.

export function showLegend(list, entries, { onSingle, onPin, onNearest, single }) {
  list.replaceChildren(...entries.flatMap((entry) => entry.objects.length
    ? entry.objects.map((object) => objectRow(object, entry, { onSingle, onPin, single }))
    : [emptyRow(entry, onNearest)]));
}

function objectRow(object, entry, { onSingle, onPin, single }) {
  const row = item("li", "object", [swatch(object.color), item("span", "", entry.text), item("span", "number", object.score.toFixed(2))]);
  if (object.nearest) row.children[1].append(item("span", "what", " (nearest candidate, below the minimum score)"));
  row.tabIndex = 0;
  row.classList.toggle("on", object === single);
  row.object = object;
  row.addEventListener("pointerenter", () => onSingle(object));
  row.addEventListener("pointerleave", () => onSingle(null));
  row.addEventListener("focus", () => onSingle(object));
  row.addEventListener("blur", () => onSingle(null));
  row.addEventListener("click", () => onPin(object));
  row.addEventListener("keydown", (event) => event.key === "Enter" && onPin(object));
  return row;
}

function emptyRow(entry, onNearest) {
  const words = item("span", "", entry.text);
  words.append(item("span", "what", `: ${entry.note ?? "no target, the photo seems not to show it"}`));
  const row = item("li", "nothing", [item("span", "swatch none", ""), words]);
  if (onNearest) {
    const button = item("button", "nearest", "Show nearest");
    button.type = "button";
    button.addEventListener("click", () => onNearest(entry));
    row.append(button);
  }
  return row;
}

export function markSingle(list, single) {
  for (const row of list.children) row.classList.toggle("on", row.object !== undefined && row.object === single);
}

function swatch(color) {
  const box = item("span", "swatch", "");
  box.style.background = `rgb(${color})`;
  return box;
}

function item(tag, kind, content) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  element.append(...[content].flat());
  return element;
}
