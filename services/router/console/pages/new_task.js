// A form for each service, drawn from its own description.
import { Icon, Notice } from "../parts/basics.js";
import { Field } from "../parts/fields.js";
import { fieldNamed, newTaskId, posted, schemaOf, submit } from "../parts/requests.js";
import { say } from "../parts/toasts.js";
import { go, link } from "../route.js";
import { t } from "../text.js";
import { html, useEffect, useState } from "../vendor/htm-preact.js";

const SERVICES = [["upscale", "scan"], ["interpo", "layers"], ["creation", "film"], ["facefusion", "scan-face"]];
const LEFT_OUT = new Set(["prompt_en", "ng_prompt_en"]); // deprecated
const RARE = new Set(["task_id", "width", "height", "ng_prompt_cn", "guidance", "seed", "reference_face_position", "last_image_url", "reference_images", "tracking_points", "faces", "face_enhance", "enhance_only"]);
const LAST_FOLDER = "kinora-dist-dir";
/** Which fields a request does not use, as the service ignores them. */
const UNUSED = {
  creation: ({ category = 2 }) => [category !== 2 && "image_url", category !== 3 && "video_url", category !== 3 && "video_style",
    category !== 2 && "last_image_url", category !== 2 && "tracking_points", category === 3 && "duration"],
  facefusion: ({ programe = 0, face_selector_mode: mode = "reference" }) => [
    programe === 1 && "frame_number", mode !== "reference" && "reference_face_position", mode !== "reference" && "reference_face_distance"],
};

export function NewTask({ parts: [service], query }) {
  if (!service) return html`<${Choice} />`;
  return html`<p class="crumb"><a href=${link(["new"])}><${Icon} name="chevron-left" />${t("page.new")}</a></p>
    <div class="head"><div><h1>${t(`service.${service}`)}</h1><p class="soft">${t(`service_hint.${service}`)}</p></div></div>
    <${Form} key=${service} service=${service} given=${query} />`;
}

function Choice() {
  return html`<div class="head"><h1>${t("page.new")}</h1></div>
    <ul class="offers">${SERVICES.map(([name, icon]) => html`<li key=${name}><a class="card" href=${name === "facefusion" ? link(["faces"]) : link(["new", name])}>
      <${Icon} name=${icon} /><strong>${t(`service.${name}`)}</strong><span class="soft">${t(`service_hint.${name}`)}</span></a></li>`)}</ul>`;
}

function Form({ service, given }) {
  const [schema, setSchema] = useState(null);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const [values, setValues] = useState(() => ({
    task_id: newTaskId(), dist_dir: localStorage.getItem(LAST_FOLDER) ?? "", ...startOf(service, given), ...given,
  }));
  useEffect(() => {
    schemaOf(service).then(setSchema, setProblem);
  }, [service]);
  if (!schema) return html`<${Notice} problem=${problem} />`;

  const unused = new Set([...LEFT_OUT, ...(UNUSED[service]?.(values) ?? [])]);
  const names = Object.keys(schema.properties).filter((name) => !unused.has(name));
  const order = [...names.filter((name) => name !== "dist_dir"), "dist_dir"];
  const rare = order.filter((name) => isRare(service, name));
  const wrong = problem && fieldNamed(problem.message, names);
  const field = (name) => html`<${Field} key=${name} name=${name} schema=${schema.properties[name]} value=${values[name]}
    required=${schema.required?.includes(name)} problem=${name === wrong ? problem.message : null}
    onChange=${(value) => setValues((earlier) => ({ ...earlier, [name]: value }))} />`;

  async function send(event) {
    event.preventDefault();
    setBusy(true);
    try {
      await submit(service, Object.fromEntries(names.map((name) => [name, values[name]])));
      localStorage.setItem(LAST_FOLDER, values.dist_dir);
      say(t("said.submitted"));
      go(posted(service, values.task_id));
    } catch (refused) {
      setProblem(refused);
      setBusy(false);
      const place = fieldNamed(refused.message, names);
      if (place) requestAnimationFrame(() => document.getElementById(`field-${place}`)?.focus());
    }
  }
  return html`<form class="form" onSubmit=${send} novalidate>
    <div class="card">
      ${order.filter((name) => !isRare(service, name)).map(field)}
      ${rare.length > 0 && html`<details open=${rare.includes(wrong)}><summary>${t("form.more")}</summary><div class="inside">${rare.map(field)}</div></details>`}
      ${problem && !wrong && html`<${Notice} problem=${problem} />`}
      <div class="row end"><button class="primary" disabled=${busy}><${Icon} name="play" />${t("form.submit")}</button></div>
    </div>
  </form>`;
}

const isRare = (service, name) => RARE.has(name) || (service === "interpo" && name === "fps");

function startOf(service, given) {
  if (service !== "creation") return {};
  return { category: given.video_url ? 3 : given.image_url ? 2 : 1 };
}
