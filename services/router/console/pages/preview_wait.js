// Waiting for the preview that was just asked for.
import { get } from "../api.js";
import { isActive } from "../task_words.js";

const ASK_MILLISECONDS = 120;
const COMPARED = [
  "frame_number", "face_selector_mode", "reference_face_position", "reference_face_distance", "face_analyse_order",
  "face_analyse_age", "face_analyse_gender", "source_file", "target_file",
];
const OF_A_PERSON = ["source_file", "reference_face_position", "reference_face_distance", "face_analyse_age", "face_analyse_gender"];

/** Return the ended task of a preview's body; null when `wanted()` says that another one is. */
export async function previewed(body, wanted) {
  while (wanted()) {
    const { tasks } = await get(`tasks/${body.task_id}`, { service: "facefusion", kind: "preview" });
    const mine = tasks.find(({ request }) => agree(COMPARED, body, request) && samePeople(body.faces ?? [], request.faces ?? []));
    if (mine && !isActive(mine)) return mine;
    await new Promise((resolve) => setTimeout(resolve, ASK_MILLISECONDS));
  }
  return null;
}

/** Whether a stored request, or an entry of its `faces`, is the one that was sent; what was not sent is not compared. */
const agree = (names, sent, stored) =>
  names.every((name) => !(name in sent) || sent[name] === "" || String(stored[name]) === String(sent[name]));

const samePeople = (sent, stored) =>
  sent.length === stored.length && sent.every((entry, place) => agree(OF_A_PERSON, entry, stored[place]));
