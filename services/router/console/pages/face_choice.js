// The faces of a previewed frame: which one is replaced, and how like it a face must be.
import { Slider, Thumbnail } from "../parts/basics.js";
import { t } from "../text.js";
import { html } from "../vendor/htm-preact.js";

const WIDEST = 1.5;

export function FaceChoice({ task, values, onChange, enabled }) {
  const crops = task?.results.filter((one) => one.field === "reference_images") ?? [];
  const faces = task?.details.faces ?? [];
  const distances = faces.map((face) => face.distances[values.reference_face_position] ?? null);
  const near = (distance) => distance !== null && distance < values.reference_face_distance;
  if (!crops.length) return null;
  return html`<section class="card face-choice"><h2>${t("faces.found")}</h2>
    <fieldset class="crops" disabled=${!enabled}><legend class="unseen">${t("faces.choose")}</legend>
      ${crops.map((crop, place) => html`<label key=${place}><input type="radio" name="face" checked=${values.reference_face_position === place}
          onChange=${() => onChange({ reference_face_position: place })} />
        <span><${Thumbnail} path=${crop.path} width=${200} alt=${t("faces.face", { number: place + 1 })} icon="scan-face" />
          ${enabled && (distances[place] ?? null) !== null && html`<small class=${near(distances[place]) ? "is-near" : ""}>${distances[place].toFixed(2)}</small>`}</span></label>`)}
    </fieldset>
    ${enabled && html`<div class="field"><label for="face-distance">${t("field.reference_face_distance")}</label>
      <div class="measured"><${Slider} id="face-distance" value=${values.reference_face_distance} min=${0} max=${WIDEST} step=${0.01}
        onInput=${(reference_face_distance) => onChange({ reference_face_distance })} />
        <svg class="marks" viewBox="0 0 150 10" preserveAspectRatio="none" aria-hidden="true">${distances.map((distance, place) => distance !== null && html`
          <rect key=${place} class=${near(distance) ? "is-near" : ""} x=${Math.min(100 * distance, 149)} y="0" width="1" height="10" />`)}</svg></div>
      <p class="soft">${t("help.reference_face_distance")}</p></div>`}
  </section>`;
}
