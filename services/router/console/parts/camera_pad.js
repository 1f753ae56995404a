// The camera's motion: eight directions, and zoom, tilt and rotation, in any combination without opposites.
import { t } from "../text.js";
import { html } from "../vendor/htm-preact.js";
import { Icon } from "./basics.js";

const PAD = [
  ["pan up-left", "arrow-up-left"], ["pan up", "arrow-up"], ["pan up-right", "arrow-up-right"],
  ["pan left", "arrow-left"], ["none", "circle"], ["pan right", "arrow-right"],
  ["pan down-left", "arrow-down-left"], ["pan down", "arrow-down"], ["pan down-right", "arrow-down-right"],
];
const PAIRS = [
  ["zoom", [["zoom in", "zoom-in"], ["zoom out", "zoom-out"]]],
  ["tilt", [["tilt up", "arrow-up"], ["tilt down", "arrow-down"]]],
  ["rotate", [["rotate cw", "rotate-cw"], ["rotate ccw", "rotate-ccw"]]],
];
const ORDER = ["zoom", "pan", "tilt", "rotate"];
const key = (motion) => motion.replace(/[ -]/g, "_");

const wordsOf = (value) => value.split(",").map((word) => word.trim()).filter(Boolean);

export function CameraPad({ id, value, onChange, describedBy }) {
  const chosen = wordsOf(value);
  function choose(motion) {
    if (motion === "none") return onChange("");
    const verb = motion.split(" ")[0];
    const rest = chosen.filter((word) => !word.startsWith(verb));
    const next = chosen.includes(motion) ? rest : [...rest, motion];
    return onChange(next.sort((a, b) => ORDER.indexOf(a.split(" ")[0]) - ORDER.indexOf(b.split(" ")[0])).join(", "));
  }
  const button = ([motion, icon]) => {
    const on = motion === "none" ? !chosen.some((word) => word.startsWith("pan")) && !chosen.length : chosen.includes(motion);
    return html`<button key=${motion} type="button" aria-pressed=${on} aria-label=${t(`camera.${key(motion)}`)} title=${t(`camera.${key(motion)}`)}
      onClick=${() => choose(motion)}><${Icon} name=${icon} /></button>`;
  };
  return html`<div class="camera" role="group" aria-label=${t("field.camera")} aria-describedby=${describedBy}>
    <div class="pad">${PAD.map(button)}</div>
    <div class="pairs">${PAIRS.map(([verb, two]) => html`<div key=${verb}><span class="soft">${t(`camera.${verb}`)}</span><span>${two.map(button)}</span></div>`)}</div>
    <input id=${id} type="text" value=${value} placeholder=${t("camera.none")} onInput=${(event) => onChange(event.target.value)} />
  </div>`;
}
