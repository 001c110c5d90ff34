// One clip: a job on the server, its results as they come, and the picture at any time of it.
import { call, formOf, getJson, save } from "./api.js";
import { COLORS } from "./viewer.js";
import { stem } from "./photo.js";

const POLL = 400;
const ENDED = ["done", "cancelled", "failed"];
const SHOWN_SECONDS = 15;

export class Clip {
  constructor(file, name) {
    this.file = file;
    this.name = name;
    this.frames = [];
    this.texts = [];
    this.job = null;
    this.video = document.createElement("video");
    Object.assign(this.video, { src: URL.createObjectURL(file), muted: true, playsInline: true, preload: "auto" });
  }

  // Whether the browser shows this format itself; else the overlay video is shown at the end.
  async isPlayable() {
    return new Promise((resolve) => {
      const answer = (value) => { clearTimeout(timer); resolve(value); };
      const timer = setTimeout(() => answer(false), 1000 * SHOWN_SECONDS);
      if (this.video.readyState >= 2) answer(true);
      this.video.addEventListener("loadeddata", () => answer(true), { once: true });
      this.video.addEventListener("error", () => answer(false), { once: true });
    });
  }

  // Run the job to its end; `onState` is called with each state, after `frames` has grown.
  async run(texts, { task, linking, every }, onState) {
    this.texts = texts;
    this.frames = [];
    const fields = { instructions: texts, linking, every, files: true };
    if (task) fields.task = task === "implied" ? "reason_vos" : "rvos";
    this.job = await getJson("/v1/videos", { method: "POST", form: formOf("clip", this.file, fields) });
    onState(this.job);
    let state = this.job;
    while (!ENDED.includes(state.state)) {
      await new Promise((resolve) => setTimeout(resolve, POLL));
      state = await getJson(`/v1/videos/${this.job.id}`);
      await this.fetchFrames();
      this.job = state;
      onState(state);
    }
    await this.fetchFrames();
    onState(state);
    if (state.state === "failed") throw new Error(state.error);
    return state;
  }

  async fetchFrames() {
    for (;;) {
      const part = await getJson(`/v1/videos/${this.job.id}/frames?start=${this.frames.length}&limit=200`);
      this.frames.push(...part.frames);
      if (part.frames.length < 200) return;
    }
  }

  cancel() {
    return this.job && call(`/v1/videos/${this.job.id}/cancel`, { method: "POST" });
  }

  close() {
    this.video.pause();
    URL.revokeObjectURL(this.video.src);
    if (this.job) call(`/v1/videos/${this.job.id}`, { method: "DELETE" }).catch(() => {});
  }

  // The number of the last frame at or before a time.
  frameAt(time) {
    let number = 0;
    while (number + 1 < this.frames.length && this.frames[number + 1].time <= time + 1e-3) number++;
    return number;
  }

  async seek(number) {
    const gap = this.frames.length > 1 ? this.frames[1].time - this.frames[0].time : 0.04;
    const time = Math.min(this.frames[number].time + gap / 2, Math.max(0, this.video.duration - 0.01) || Infinity);
    if (Math.abs(this.video.currentTime - time) < 1e-4) return;
    const arrived = new Promise((resolve) => this.video.addEventListener("seeked", resolve, { once: true }));
    this.video.currentTime = time;
    await Promise.race([arrived, new Promise((resolve) => setTimeout(resolve, 1500))]);
  }

  entries(number, threshold) {
    const frame = this.frames[number];
    return this.texts.map((text, index) => {
      const found = frame.objects[index];
      const isShown = found.present && found.score >= threshold;
      const object = { ...found, rle: found.segmentation, text, color: COLORS[index % COLORS.length] };
      return { index, text, objects: isShown ? [object] : [], note: "not in this frame" };
    });
  }

  async saveFile(file) {
    const response = await call(`/v1/videos/${this.job.id}/files/${file}`);
    save(await response.blob(), `${stem(this.name)}.${file}`);
  }

  saveJson() {
    const content = { instructions: this.texts, frames: this.frames };
    save(new Blob([JSON.stringify(content)], { type: "application/json" }), `${stem(this.name)}.json`);
  }
}
