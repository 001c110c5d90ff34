// The page: what is chosen, asked and shown. Photos and clips have files of their own.
import { call, getJson, setToken } from "./api.js";
import { Clip } from "./clip.js";
import { chooseInput, exampleButtons } from "./input.js";
import { markSingle, showLegend } from "./legend.js";
import { Photo, stem } from "./photo.js";
import { save } from "./api.js";
import { ClipPlayer } from "./player.js";
import { Viewer } from "./viewer.js";

export function start(root) {
  new Page(root);
}

class Page {
  constructor(root) {
    this.root = root;
    this.facts = JSON.parse(root.dataset.facts);
    this.find = (name) => root.querySelector(`.${name}`);
    this.subject = null;
    this.running = null;
    this.threshold = this.modelThreshold = 0.5;
    this.viewer = new Viewer(this.find("view"), (object) => this.setSingle(object));
    this.player = new ClipPlayer(root, this.viewer, (number) => this.showFrame(number));
    chooseInput(root, (file) => this.choose(file), (message) => this.showError(message));
    exampleButtons(this.find("examples"), this.facts.examples, (file, texts) => this.tryExample(file, texts));
    this.wireButtons();
    this.wireKeys();
    this.wireTheme();
    this.login();
  }

  wireButtons() {
    this.find("ask").addEventListener("click", () => this.ask());
    this.find("cancel").addEventListener("click", () => this.cancel());
    this.find("score").addEventListener("input", (event) => this.setThreshold(Number(event.target.value)));
    this.find("reset").addEventListener("click", () => this.setThreshold(this.modelThreshold));
    this.find("save-png").addEventListener("click", async () => save(await this.viewer.png(), `${stem(this.subject.name)}.overlay.png`));
    this.find("save-json").addEventListener("click", () => this.subject.saveJson(this.entries));
    this.find("save-mp4").addEventListener("click", () => this.guard(() => this.subject.saveFile("overlay.mp4")));
    this.find("save-zip").addEventListener("click", () => this.guard(() => this.subject.saveFile("masks.zip")));
    this.updateKind();
  }

  wireKeys() {
    this.find("texts").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.ask();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.running ? this.cancel() : this.setSingle(null);
    });
  }

  wireTheme() {
    const kept = localStorage.getItem("instructseg-theme");
    if (kept) document.body.classList.toggle("dark", kept === "dark");
    this.find("theme").addEventListener("click", () => {
      const dark = document.body.classList.toggle("dark");
      localStorage.setItem("instructseg-theme", dark ? "dark" : "light");
    });
  }

  async login() {
    const form = this.find("login");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      setToken(this.find("token").value);
      form.hidden = true;
      this.showError(null);
    });
    form.hidden = !this.facts.needsToken;
    await this.guard(async () => {
      const health = await getJson("/health");
      this.modelThreshold = health.score_threshold ?? 0.5;
      this.setThreshold(this.modelThreshold);
    });
  }

  async choose(file, name = file.name) {
    this.showError(null);
    const isClip = file.type.startsWith("video/") || /\.(mkv|avi|mov|mp4|webm|m4v|gif)$/i.test(name);
    const most = isClip ? this.facts.clipBytes : this.facts.photoBytes;
    if (file.size > 0.99 * most) {
      return this.showError(`“${name}” has ${megabytes(file.size)}; this server takes at most ${megabytes(most)}.`);
    }
    if (isClip) return this.setSubject(new Clip(file, name));
    try {
      this.setSubject(new Photo(file, await createImageBitmap(file, { imageOrientation: "from-image" }), name));
    } catch {
      this.showError(`“${name}” is not a photo or a clip that this browser can show. Use JPEG, PNG, WebP or mp4.`);
    }
  }

  async tryExample(name, texts) {
    await this.guard(async () => {
      const file = await (await call(`/examples/${name}`)).blob();
      await this.choose(file, name);
      this.find("texts").value = texts.join("\n");
      await this.ask();
    });
  }

  setSubject(subject) {
    this.cancel();
    this.subject?.close();
    this.player.stop();
    this.subject = subject;
    this.entries = [];
    const chosen = this.find("chosen");
    chosen.querySelector("strong").textContent = `${subject.name} · ${megabytes(subject.file.size)}`;
    chosen.hidden = false;
    this.find("hint").hidden = true;
    this.find("empty").hidden = true;
    this.setStatus("");
    for (const part of ["threshold", "downloads", "progress"]) this.find(part).hidden = true;
    this.find("legend").replaceChildren();
    this.updateKind();
    if (subject instanceof Photo) this.viewer.show(subject.picture, [subject.picture.height, subject.picture.width], []);
    else this.player.open(subject);
    this.find("texts").focus({ preventScroll: true });
  }

  updateKind() {
    const isClip = this.subject instanceof Clip;
    for (const part of this.root.querySelectorAll(".for-clip, .save-mp4, .save-zip")) part.hidden = !isClip;
    for (const part of this.root.querySelectorAll(".for-photo")) part.hidden = isClip;
    this.find("save-json").textContent = isClip ? "JSON" : "JSON (COCO)";
  }

  options() {
    const value = (name) => this.find(name).value;
    return { task: value("task"), maxMasks: value("max-masks"), linking: value("linking"), every: value("every") };
  }

  texts() {
    const lines = this.find("texts").value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (!this.subject) throw new Error("Choose a photo or a clip first, or try an example.");
    if (!lines.length) throw new Error("Write what to segment, e.g. “the dog on the left”.");
    if (lines.length > this.facts.texts) throw new Error(`At most ${this.facts.texts} sentences at once; you wrote ${lines.length}.`);
    return lines;
  }

  async ask() {
    if (this.running) return;
    await this.guard(async () => {
      const texts = this.texts();
      this.setRunning(new AbortController());
      const work = this.subject instanceof Photo ? this.askPhoto(texts) : this.askClip(texts);
      await work;
    });
    this.setRunning(null);
  }

  async askPhoto(texts) {
    const photo = this.subject, begin = performance.now(), again = Boolean(photo.session);
    this.setStatus(again ? "Asking again about the same photo …" : "Sending and encoding the photo …");
    await photo.ask(texts, this.options(), this.running.signal);
    const seconds = ((performance.now() - begin) / 1000).toFixed(1);
    this.showPhoto();
    this.setStatus(`Answered in ${seconds} s${again ? ", the photo was encoded already" : ""}.`);
  }

  async askClip(texts) {
    const clip = this.subject;
    this.setStatus("Sending the clip …");
    const end = await clip.run(texts, this.options(), (state) => this.showProgress(state));
    this.find("progress").hidden = true;
    const files = end.files.includes("overlay.mp4");
    for (const part of ["save-mp4", "save-zip"]) this.find(part).disabled = !files;
    const count = `${clip.frames.length} frames`;
    this.setStatus(end.state === "cancelled" ? `Cancelled; ${count} are kept.` : `Done: ${count} in ${end.seconds.toFixed(0)} s.`);
    if (end.error) this.showError(end.error);
    if (clip.frames.length) await this.player.finish(files);
  }

  showProgress({ state, frames_done: done, frames_total: total, seconds_left: left }) {
    const bar = this.find("progress"), meter = bar.querySelector("progress");
    bar.hidden = false;
    if (total) meter.value = Math.min(1, done / total);
    else meter.removeAttribute("value");
    const time = left === null ? "" : `, about ${Math.ceil(left)} s left`;
    this.find("left").textContent = state === "waiting" ? "waiting for its turn" : `frame ${done}${total ? ` of ${total}` : ""}${time}`;
    this.setStatus("Segmenting the clip …");
    this.find("downloads").hidden = !this.subject.frames.length;
    for (const part of ["save-mp4", "save-zip"]) this.find(part).disabled = true;
    this.player.grow();
  }

  showPhoto() {
    this.entries = this.subject.entries(this.threshold);
    this.viewer.show(this.subject.picture, this.subject.size, this.entries.flatMap((entry) => entry.objects));
    this.showList((entry) => this.guard(async () => {
      if (!(await this.subject.findNearest(entry.index))) entry.note = "no target, and no candidate either";
      this.showPhoto();
    }));
  }

  showFrame(number) {
    this.entries = this.subject.entries(number, this.threshold);
    const size = this.subject.frames[number].size;
    this.viewer.show(this.player.source, size, this.player.hasOwnMasks ? [] : this.entries.flatMap((entry) => entry.objects));
    this.showList(null);
  }

  showList(onNearest) {
    for (const part of ["threshold", "downloads"]) this.find(part).hidden = false;
    const handlers = {
      single: this.viewer.single, onNearest,
      onSingle: (object) => this.viewer.pinned || this.setSingle(object),
      onPin: (object) => { this.viewer.pinned = true; this.setSingle(object); },
    };
    showLegend(this.find("legend"), this.entries, handlers);
  }

  setSingle(object) {
    if (object === this.viewer.single) return;
    this.viewer.setSingle(object);
    markSingle(this.find("legend"), object);
  }

  setThreshold(value) {
    this.threshold = value;
    this.find("score").value = value;
    this.find("value").textContent = value.toFixed(2);
    this.find("reset").disabled = Math.abs(value - this.modelThreshold) < 0.005;
    this.viewer.single = null;
    if (this.subject instanceof Photo && this.subject.results.length) {
      this.subject.nearest.clear();
      this.showPhoto();
    }
    if (this.subject instanceof Clip) this.player.redraw();
  }

  async cancel() {
    if (!this.running) return;
    this.running.abort();
    if (this.subject instanceof Clip) await this.guard(() => this.subject.cancel());
    else this.setStatus("Cancelled.");
  }

  setRunning(controller) {
    this.running = controller;
    this.find("ask").disabled = Boolean(controller);
    this.find("cancel").hidden = !controller;
    if (!controller) this.find("progress").hidden = true;
  }

  // Errors become sentences on the page.
  async guard(work) {
    this.showError(null);
    try {
      await work();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.setStatus("");
      this.showError(error.message);
      if (error.status === 401) this.find("login").hidden = false;
    }
  }

  showError(message) {
    const box = this.find("error");
    box.hidden = !message;
    box.textContent = message ? sentence(message) : "";
  }

  setStatus(text) {
    this.find("status").textContent = text;
  }
}

const megabytes = (bytes) => (bytes < 1e5 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
const sentence = (text) => text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
