// Choosing a photo or a clip: the file dialog, drag and drop, paste, and the examples.

export function chooseInput(root, onFile, onError) {
  const drop = root.querySelector(".drop"), input = root.querySelector(".file");
  const take = (files) => {
    const usable = [...files].filter((file) => file.size || file.type);
    if (usable.length > 1) onError("One photo or clip at a time; the first one was taken.");
    if (usable.length) onFile(usable[0]);
  };
  input.addEventListener("change", () => { take(input.files); input.value = ""; });
  document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files);
    else onError("Drop a file. Addresses are not fetched; save the picture first.");
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) { event.preventDefault(); take(event.clipboardData.files); }
  });
}

export function exampleButtons(box, examples, onExample) {
  for (const [name, texts] of Object.entries(examples)) {
    const button = document.createElement("button"), picture = document.createElement("img");
    Object.assign(picture, { src: `/examples/${name}`, alt: texts.join(", "), loading: "lazy" });
    Object.assign(button, { type: "button", title: texts.join(", ") });
    button.append(picture);
    button.addEventListener("click", () => onExample(name, texts));
    box.append(button);
  }
}
