// Scrubbing and playing a clip with its masks. A clip that the browser cannot show itself is shown, at the end, as the
// overlay video that the server wrote: its masks are painted already.
import { call } from "./api.js";

export class ClipPlayer {
  constructor(root, viewer, onFrame) {
    const find = (name) => root.querySelector(`.${name}`);
    Object.assign(this, { viewer, onFrame, clip: null, number: 0, isPlaying: false, hasOwnMasks: false });
    [this.bar, this.button, this.slider, this.clock] = ["player", "play", "frame", "time"].map(find);
    this.slider.addEventListener("input", () => this.stopPlaying() || this.goTo(Number(this.slider.value)));
    this.button.addEventListener("click", () => this.toggle());
  }

  get source() {
    return this.video;
  }

  async open(clip) {
    Object.assign(this, { clip, number: 0, hasOwnMasks: false, video: clip.video });
    this.bar.hidden = true;
    this.viewer.canvas.hidden = true;
    this.playable = clip.isPlayable();
    if ((await this.playable) && this.clip === clip && !clip.frames.length) {
      this.viewer.show(clip.video, [clip.video.videoHeight, clip.video.videoWidth], []);
    }
  }

  stop() {
    this.stopPlaying();
    this.clip = null;
    this.bar.hidden = true;
  }

  // More frames are there: the slider grows, and the newest one is shown until the user moves it.
  async grow() {
    const count = this.clip?.frames.length ?? 0;
    if (!count || !(await this.playable)) return;
    const follows = Number(this.slider.value) >= Number(this.slider.max);
    this.slider.max = count - 1;
    this.bar.hidden = false;
    if (follows && this.clip) await this.goTo(count - 1);
  }

  async finish(hasFiles) {
    const clip = this.clip;
    if (!(await this.playable) && hasFiles) {
      const response = await call(`/v1/videos/${clip.job.id}/files/overlay.mp4`);
      this.hasOwnMasks = true;
      clip.video.src = URL.createObjectURL(await response.blob());
      this.playable = clip.isPlayable();
      await this.playable;
    }
    this.slider.max = clip.frames.length - 1;
    this.bar.hidden = false;
    await this.goTo(0);
  }

  async goTo(number) {
    this.number = number;
    const clip = this.clip;
    if (this.seeking) return;
    this.seeking = true;
    do {
      number = this.number;
      await clip.seek(number);
    } while (number !== this.number && this.clip === clip);
    this.seeking = false;
    if (this.clip === clip) this.draw();
  }

  redraw() {
    if (this.clip?.frames.length && this.video.readyState >= 2) this.draw();
  }

  draw() {
    this.slider.value = this.number;
    this.clock.textContent = `${this.clip.frames[this.number].time.toFixed(2)} s`;
    this.onFrame(this.number);
  }

  toggle() {
    if (this.isPlaying) return this.stopPlaying();
    this.isPlaying = true;
    this.button.textContent = "❚❚";
    this.button.setAttribute("aria-label", "Pause");
    if (this.number >= this.clip.frames.length - 1) this.video.currentTime = this.clip.frames[0].time;
    this.video.play();
    requestAnimationFrame(() => this.step());
  }

  step() {
    if (!this.isPlaying) return;
    const last = this.clip.frames.length - 1, number = this.clip.frameAt(this.video.currentTime);
    if (number !== this.number) {
      this.number = number;
      this.draw();
    }
    if (this.video.ended || number >= last) return this.stopPlaying();
    requestAnimationFrame(() => this.step());
  }

  stopPlaying() {
    this.isPlaying = false;
    this.video?.pause();
    this.button.textContent = "▶";
    this.button.setAttribute("aria-label", "Play");
  }
}
