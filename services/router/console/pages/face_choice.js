// The faces of a previewed frame: which one is replaced, and how like it a face must be.
import { Slider, Thumbnail } from "../parts/basics.js";
import { t } from "../text.js";
import { html } from "../vendor/htm-preact.js";

const WIDEST = 1.5;

export function FaceChoice({ task, values, onChange, enabled }) {
  const crops = task?.results.filter((one) => one.field === "reference_images") ?? [];
  const tracks = (task?.details.match?.tracks ?? []).filter((track) => track.distance !== null);
  if (!crops.length) return null;
  return html`<section class="card face-choice"><h2>${t("faces.found")}</h2>
    <fieldset class="crops" disabled=${!enabled}><legend class="unseen">${t("faces.choose")}</legend>
      ${crops.map((crop, place) => html`<label key=${place}><input type="radio" name="face" checked=${values.reference_face_position === place}
          onChange=${() => onChange({ reference_face_position: place })} />
        <span><${Thumbnail} path=${crop.path} width=${200} alt=${t("faces.face", { number: place + 1 })} icon="scan-face" /></span></label>`)}
    </fieldset>
    ${enabled && html`<div class="field"><label for="face-distance">${t("field.reference_face_distance")}</label>
      <div class="measured"><${Slider} id="face-distance" value=${values.reference_face_distance} min=${0} max=${WIDEST} step=${0.01}
        onInput=${(reference_face_distance) => onChange({ reference_face_distance })} />
        <svg class="marks" viewBox="0 0 150 10" preserveAspectRatio="none" aria-hidden="true">${tracks.map((track) => html`
          <rect key=${track.track} class=${track.distance < values.reference_face_distance ? "is-near" : ""} x=${Math.min(100 * track.distance, 149)} y="0" width="1" height="10" />`)}</svg></div>
      <p class="soft">${t("faces.measured", { distances: tracks.map((track) => track.distance.toFixed(3)).join(" · ") })}</p>
      <p class="soft">${t("help.reference_face_distance")}</p></div>`}
  </section>`;
}
