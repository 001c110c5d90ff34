// Questions about one photo: it is sent once, later sentences go to its session. All candidates are asked for
// (threshold 0), so that the minimum score is applied here, without another pass.
import { call, formOf, getJson, save } from "./api.js";
import { COLORS } from "./viewer.js";

export class Photo {
  constructor(file, picture, name) {
    this.file = file;
    this.picture = picture;
    this.name = name;
    this.session = null;
    this.results = [];
  }

  async ask(texts, { task, maxMasks }, signal) {
    const fields = { instructions: texts, threshold: 0 };
    if (maxMasks) fields.max_masks = Number(maxMasks);
    if (task) fields.task = task === "implied" ? "reason_seg" : "res";
    const answer = await this.send(fields, signal);
    this.size = answer.results[0].size;
    this.results = answer.results;
    this.nearest = new Map();
    return answer.results;
  }

  // To the session; where it has expired, with the photo once more.
  async send(fields, signal) {
    if (this.session) {
      try {
        return await getJson(`/v1/sessions/${this.session}/segment`, { method: "POST", json: fields, signal });
      } catch (error) {
        if (error.status !== 404) throw error;
      }
    }
    const answer = await getJson("/v1/sessions", { method: "POST", form: formOf("photo", this.file, fields), signal });
    this.session = answer.session;
    return answer;
  }

  // What is shown at a minimum score: one entry for each sentence, with its objects.
  entries(threshold) {
    let number = 0;
    return this.results.map((result, index) => {
      const start = number;
      number += Math.max(1, result.objects.length);
      const near = this.nearest.get(index);
      const objects = (near ? [near] : result.objects)
        .map((found, place) => ({ ...found, rle: found.segmentation, text: result.instruction,
          color: COLORS[(start + place) % COLORS.length], nearest: Boolean(near) && found.score < threshold }))
        .filter((object) => near || object.score >= threshold);
      return { index, text: result.instruction, objects };
    });
  }

  // The best candidate of a sentence, however low its score.
  async findNearest(index) {
    const result = this.results[index];
    let [best] = result.objects;
    if (!best) {
      const fields = { instructions: [result.instruction], threshold: 0, max_masks: 1, task: result.task };
      [best] = (await this.send(fields)).results[0].objects;
    }
    if (best) this.nearest.set(index, best);
    return Boolean(best);
  }

  toCoco(entries) {
    const [height, width] = this.size;
    const annotations = entries.flatMap(({ index, objects }) => objects.map((object) => ({
      image_id: 1, category_id: index + 1, segmentation: object.rle, bbox: object.bbox, area: object.area,
      score: object.score, iscrowd: 0,
    })));
    return {
      info: { description: `InstructSeg, model ${this.results[0]?.model}` },
      images: [{ id: 1, file_name: this.name, height, width }],
      categories: this.results.map((result, index) => ({ id: index + 1, name: result.instruction })),
      annotations: annotations.map((entry, index) => ({ id: index + 1, ...entry })),
    };
  }

  saveJson(entries) {
    save(new Blob([JSON.stringify(this.toCoco(entries), null, 1)], { type: "application/json" }), `${stem(this.name)}.coco.json`);
  }

  close() {
    if (this.session) call(`/v1/sessions/${this.session}`, { method: "DELETE" }).catch(() => {});
  }
}

export const stem = (name) => name.replace(/\.[^.]*$/, "") || "photo";
