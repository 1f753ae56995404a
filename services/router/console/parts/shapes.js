// Aspect ratios as the shapes they are, and styles as samples of them.
import { t } from "../text.js";
import { html } from "../vendor/htm-preact.js";

const RATIOS = ["16:9", "9:16", "1:1", "4:3", "3:4", "5:4", "4:5", "21:9"];
const LONGEST = 34; // pixels of the drawn shape

export function AspectRatio({ id, value, onChange, describedBy }) {
  const shape = (text) => {
    const [wide, high] = text.split(":").map(Number);
    const scale = LONGEST / Math.max(wide, high);
    return { width: wide * scale, height: high * scale };
  };
  const choice = (ratio, shown, drawn) => html`<label key=${ratio}>
    <input type="radio" name=${id} checked=${value === ratio} onChange=${() => onChange(ratio)} /><span>${drawn}${shown}</span></label>`;
  return html`<fieldset class="choices shapes" aria-describedby=${describedBy}><legend class="unseen">${t("field.aspect_ratio")}</legend>
    ${choice("", t("ratio.same"), html`<i class="shape is-same"></i>`)}
    ${RATIOS.map((ratio) => choice(ratio, ratio, html`<i class="shape" style=${shape(ratio)}></i>`))}
  </fieldset>`;
}

export function Styles({ id, value, onChange }) {
  return html`<fieldset class="choices samples"><legend class="unseen">${t("field.video_style")}</legend>
    ${[0, 1, 2].map((style) => html`<label key=${style}><input type="radio" name=${id} checked=${value === style} onChange=${() => onChange(style)} />
      <span><img src=${`console/images/style-${style}.webp`} alt="" width="160" height="90" />${t(`style.${style}`)}</span></label>`)}</fieldset>`;
}
