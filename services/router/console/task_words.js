// A task in words: its name, what was asked for, and where it stands.
import { ago, baseName, duration, secondsSince, word } from "./format.js";
import { known, t } from "./text.js";

export const ENDED = ["succeeded", "failed", "cancelled"];
export const isActive = (task) => !ENDED.includes(task.state);

/** The exact task_id: a number of JavaScript holds 53 bits. */
export const idOf = (task) => task.task_id_text ?? String(task.task_id);

/** The result's file of a task, or null. */
export const result = (task) => task.results.find((one) => one.field !== "reference_images") ?? null;

/** The medium that the result is to be compared with, or null: a portrait is none. */
export const compared = (task) => task.inputs.find((one) => !one.field.endsWith("source_file")) ?? null;

export function title(task) {
  const input = compared(task);
  if (input) return baseName(input.path);
  return task.request.prompt_cn || task.request.prompt_en || idOf(task);
}

/** What was asked for, in a few words. */
export function wish(task) {
  const { request, service } = task;
  if (service === "upscale") {
    const { ratio, width, height } = request;
    return width || height ? t("wish.size", { width: width ?? "…", height: height ?? "…" }) : t("wish.times", { ratio });
  }
  if (service === "interpo") return request.fps ? t("wish.fps", { fps: request.fps }) : t("wish.rate", { rate: request.rate });
  if (service === "facefusion") {
    const mode = task.kind === "preview" ? t("wish.preview", { frame: request.frame_number ?? 0 }) : word("face_mode", request.face_selector_mode ?? "reference");
    return request.faces?.length > 1 ? `${mode}, ${t("wish.people", { count: request.faces.length })}` : mode;
  }
  const style = request.category === 3 && request.video_style ? `, ${word("style", request.video_style)}` : "";
  const motions = (request.camera || "").split(",").map((one) => one.trim()).filter(Boolean);
  return [word("category", request.category) + style, ...motions.map(motion)].join(", ");
}

/** A motion of the camera, by its words on the wire: "pan up-left". */
function motion(words) {
  const key = `camera.${words.replace(/[ -]/g, "_")}`;
  return known(key) ? t(key) : words;
}

/** Where a task stands: its place, the time that is left, or how long it took. */
export function standing(task) {
  if (task.cancel && isActive(task)) return t("task.cancelling");
  if (task.state === "queued") {
    return task.queue_position ? t("task.place", { place: task.queue_position }) : t("task.waiting");
  }
  if (task.state === "running") {
    return task.eta_seconds === null ? t("task.estimating") : t("task.left", { time: duration(task.eta_seconds) });
  }
  if (!task.started_at || !task.finished_at) return ago(task.finished_at ?? task.created_at);
  return t("task.took", { time: duration(secondsSince(task.started_at) - secondsSince(task.finished_at)) });
}

/** How the delivery of the callback stands, beyond its state. */
export function delivery(callback) {
  if (callback.state === "pending" && callback.next_at && secondsSince(callback.next_at) < 0) {
    return t("callback.next", { time: duration(-secondsSince(callback.next_at)) });
  }
  return callback.attempts > 1 ? t("callback.attempts", { count: callback.attempts }) : "";
}
