// One field of a request, drawn from its description in the OpenAPI document.
import { known, t } from "../text.js";
import { html } from "../vendor/htm-preact.js";
import { CameraPad } from "./camera_pad.js";
import { Choices, Icon, IconButton, Slider } from "./basics.js";
import { FileField } from "./file_field.js";
import { AspectRatio, Styles } from "./shapes.js";

const WIDEST_SLIDER = 100; // a range with more values is typed
const LONG_TEXT = 200;
const KINDS = {
  video_url: ["video"], image_url: ["picture"], last_image_url: ["picture"], reference_images: ["picture"], source_file: ["picture", "video"], target_file: ["video", "picture"], dist_dir: ["folder"],
};
const DRAWN = { camera: CameraPad, aspect_ratio: AspectRatio, video_style: Styles };
const FAMILIES = { category: "category", face_selector_mode: "face_mode", face_analyse_order: "face_order", face_analyse_age: "face_age", face_analyse_gender: "face_gender", programe: "programe", enhance_only: "enhance_only" };

export const labelOf = (name) => (known(`field.${name}`) ? t(`field.${name}`) : name);

/** `schema` is the field's, `problem` the service's sentence about it or null; `id` and `label` where there are several. */
export function Field({ name, schema, value, onChange, required, problem, id = `field-${name}`, label = labelOf(name) }) {
  const help = known(`help.${name}`) ? t(`help.${name}`) : "";
  const describedBy = [help && `${id}-help`, problem && `${id}-problem`].filter(Boolean).join(" ") || null;
  return html`<div class=${`field is-${name} ${problem ? "is-wrong" : ""}`}>
    <label for=${id}>${label}${required && html`<span class="soft" aria-hidden="true"> *</span>`}</label>
    <${Control} ...${{ id, name, label, schema, value, onChange, describedBy, invalid: problem ? "true" : null }} />
    ${help && html`<p class="soft help" id=${`${id}-help`}>${help}</p>`}
    ${problem && html`<p class="bad" id=${`${id}-problem`} role="alert"><${Icon} name="circle-alert" /><bdi>${problem}</bdi></p>`}
  </div>`;
}

function Control({ id, name, label, schema, value, onChange, describedBy, invalid }) {
  const shared = { id, value: value ?? "", onChange, describedBy, invalid };
  if (name in KINDS) return html`<${FileField} ...${shared} kinds=${KINDS[name]} label=${label} />`;
  if (name in DRAWN) return html`<${DRAWN[name]} ...${shared} value=${value ?? schema.default ?? ""} />`;
  if (schema.enum) return html`<${Enumeration} ...${shared} name=${name} label=${label} schema=${schema} />`;
  if (name === "seed") return html`<${Seed} ...${shared} />`;
  if (schema.type !== "string" && Number(schema.maximum) - Number(schema.minimum) <= WIDEST_SLIDER) {
    return html`<${Slider} id=${id} value=${value ?? schema.default ?? schema.minimum} min=${schema.minimum} max=${schema.maximum}
      step=${schema.type === "number" ? 0.01 : 1} describedBy=${describedBy} onInput=${onChange} />`;
  }
  const type = (event) => onChange(event.target.value);
  if (schema.maxLength > LONG_TEXT) {
    return html`<textarea id=${id} rows="3" maxlength=${schema.maxLength} value=${value ?? ""} dir="auto" aria-describedby=${describedBy}
      aria-invalid=${invalid} onInput=${type}></textarea>`;
  }
  return html`<input id=${id} type="text" inputmode=${schema.type === "string" ? null : "numeric"} value=${value ?? ""}
    aria-describedby=${describedBy} aria-invalid=${invalid} onInput=${type} />`;
}

function Enumeration({ id, name, label, schema, value, onChange, describedBy }) {
  const family = FAMILIES[name];
  const shown = (option) => (family && known(`${family}.${option}`) ? t(`${family}.${option}`) : name === "ratio" || name === "rate" ? `${option}×` : String(option));
  const options = schema.enum.map((option) => [option, shown(option)]);
  if (schema.default === "") options.unshift(["", t("choice.any")]); // a filter
  const now = value === "" ? schema.default ?? "" : value;
  if (options.length <= 4) return html`<${Choices} name=${id} label=${label} value=${now} options=${options} onChange=${onChange} />`;
  return html`<select id=${id} value=${now} aria-describedby=${describedBy} onChange=${(event) => onChange(event.target.value)}>
    ${options.map(([option, text]) => html`<option key=${option} value=${option}>${text}</option>`)}</select>`;
}

function Seed({ id, value, onChange, describedBy }) {
  return html`<div class="row"><input id=${id} type="text" inputmode="numeric" value=${value} placeholder=${t("field.seed_new")}
      aria-describedby=${describedBy} onInput=${(event) => onChange(event.target.value)} />
    <${IconButton} icon="dices" label=${t("field.seed_draw")} onClick=${() => onChange(String(1 + Math.floor(Math.random() * 2147483646)))} /></div>`;
}
