// Waiting for the preview that was just asked for.
import { get } from "../api.js";
import { isActive } from "../task_words.js";

const ASK_MILLISECONDS = 120;
const COMPARED = [
  "frame_number", "face_selector_mode", "reference_face_position", "reference_face_distance", "face_analyse_order",
  "face_analyse_age", "face_analyse_gender", "source_file", "target_file",
];

/** Return the ended task of a preview's body; null when `wanted()` says that another one is. */
export async function previewed(body, wanted) {
  while (wanted()) {
    const { tasks } = await get(`tasks/${body.task_id}`, { service: "facefusion", kind: "preview" });
    const mine = tasks.find(({ request }) => COMPARED.every((name) => !(name in body) || body[name] === "" || String(request[name]) === String(body[name])));
    if (mine && !isActive(mine)) return mine;
    await new Promise((resolve) => setTimeout(resolve, ASK_MILLISECONDS));
  }
  return null;
}
