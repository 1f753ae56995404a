// The people of a face fusion: whose portrait is put on which face, and how a request says so.
import { filled } from "../parts/requests.js";

const DISTANCE = 0.5;

/** One person; `id` tells it from the others and stays when one before it is removed. */
export const person = (id, source_file = "", reference_face_position = 0) => ({
  id, source_file, reference_face_position, reference_face_distance: DISTANCE, face_analyse_age: "", face_analyse_gender: "",
});

/** The people and one more, without a portrait yet, on the first face that nobody has. */
export const added = (people) => [...people, person(1 + Math.max(...people.map(({ id }) => id)), "", freePosition(people))];

export const removed = (people, id) => people.filter((one) => one.id !== id);

export const changed = (people, id, changes) => people.map((one) => (one.id === id ? { ...one, ...changes } : one));

/** A face is put on by one person only: who had it gets the face of the one who takes it. */
export function placed(people, id, reference_face_position) {
  const before = people.find((one) => one.id === id).reference_face_position;
  const other = holder(people, reference_face_position);
  const exchanged = other && other.id !== id ? changed(people, other.id, { reference_face_position: before }) : people;
  return changed(exchanged, id, { reference_face_position });
}

/** The person who has a face, or undefined. */
export const holder = (people, position) => people.find((one) => one.reference_face_position === position);

/** Why nobody can be added: "most" (the contract's limit), "taken" (no face is left), or null. */
export function refusal(people, { most, faces, referenced }) {
  if (people.length >= most) return "most";
  return referenced && freePosition(people) >= faces ? "taken" : null;
}

export const complete = (people) => people.filter((one) => one.source_file);

/** The fields of a request that say who is put on whom; of several people those without a portrait are left out. */
export function asked(people, referenced) {
  const ready = complete(people);
  if (people.length === 1 || (referenced && ready.length < 2)) {
    const [{ source_file, reference_face_position, reference_face_distance }] = ready.length ? ready : people;
    return referenced ? { source_file, reference_face_position, reference_face_distance } : { source_file };
  }
  return { faces: ready.map((one) => entry(one, referenced)) };
}

/** The person whom a sentence means by `faces[1]`, as the request of these people counts, or undefined. */
export function personNamed(sentence, people) {
  const [, index] = /\bfaces\[(\d+)\]/.exec(sentence) ?? [];
  return index === undefined ? undefined : complete(people)[Number(index)];
}

function entry({ source_file, reference_face_position, reference_face_distance, face_analyse_age, face_analyse_gender }, referenced) {
  return filled(referenced ? { source_file, reference_face_position, reference_face_distance } : { source_file, face_analyse_age, face_analyse_gender });
}

function freePosition(people) {
  let position = 0;
  while (holder(people, position)) position += 1;
  return position;
}
