// The faces of a previewed frame: which one a person is put on, and how like it a face must be.
import { Slider, Thumbnail } from "../parts/basics.js";
import { t } from "../text.js";
import { html } from "../vendor/htm-preact.js";
import { holder } from "./people.js";

const WIDEST = 1.5;

export const cropsOf = (task) => task?.results.filter((one) => one.field === "reference_images") ?? [];

/** The crops as a row of choices; `others` are the people, first to last, whose faces are marked with their numbers. */
export function FaceCrops({ task, person, others = [], label = t("faces.choose"), enabled, onChoose }) {
  const distances = distancesOf(task, person);
  return html`<fieldset class="crops" disabled=${!enabled}><legend class="unseen">${label}</legend>
    ${cropsOf(task).map((crop, place) => {
      const other = enabled && holder(others, place);
      const distance = enabled ? distances[place] ?? null : null;
      return html`<label key=${place}><input type="radio" name=${`face-${person.id}`} checked=${enabled && person.reference_face_position === place}
          onChange=${() => onChoose(place)} />
        <span><${Thumbnail} path=${crop.path} width=${200} alt=${t("faces.face", { number: place + 1 })} icon="scan-face" />
          ${other && other.id !== person.id && html`<b class="taken"><span class="unseen">, </span>${t("people.person", { number: others.indexOf(other) + 1 })}</b>`}
          ${distance !== null && html`<small class=${near(person, distance) ? "is-near" : ""}>${distance.toFixed(2)}</small>`}</span></label>`;
    })}
  </fieldset>`;
}

export function FaceDistance({ task, person, id, describedBy, onChange }) {
  return html`<div class="field"><label for=${id}>${t("field.reference_face_distance")}</label>
    <div class="measured"><${Slider} id=${id} value=${person.reference_face_distance} min=${0} max=${WIDEST} step=${0.01} describedBy=${describedBy}
      onInput=${(reference_face_distance) => onChange({ reference_face_distance })} />
      <svg class="marks" viewBox="0 0 150 10" preserveAspectRatio="none" aria-hidden="true">${distancesOf(task, person).map((distance, place) => distance !== null && html`
        <rect key=${place} class=${near(person, distance) ? "is-near" : ""} x=${Math.min(100 * distance, 149)} y="0" width="1" height="10" />`)}</svg></div>
    <p class="soft">${t("help.reference_face_distance")}</p></div>`;
}

/** How far each face of the frame is from the one that the person is put on; null where nobody measured it. */
const distancesOf = (task, person) =>
  (task?.details.faces ?? []).map((face) => face.distances[person.reference_face_position] ?? null);
const near = (person, distance) => distance !== null && distance < person.reference_face_distance;
