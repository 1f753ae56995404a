// The face studio: choose two people, look at one frame, choose who is replaced, then generate.
import { get } from "../api.js";
import { rate as rateOf } from "../format.js";
import { Bar, Empty, Icon, Notice, Slider, Thumbnail } from "../parts/basics.js";
import { Compare } from "../parts/compare.js";
import { Field, labelOf } from "../parts/fields.js";
import { fieldNamed, newTaskId, posted, schemaOf, submit } from "../parts/requests.js";
import { say } from "../parts/toasts.js";
import { go } from "../route.js";
import { result } from "../task_words.js";
import { t } from "../text.js";
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { FaceChoice } from "./face_choice.js";
import { previewed } from "./preview_wait.js";

const CHANGE_MILLISECONDS = 250;
const SELECTION = ["face_selector_mode", "face_analyse_order", "face_analyse_age", "face_analyse_gender"];
const NEEDED = ["source_file", "target_file", "dist_dir"];
const LAST_FOLDER = "kinora-dist-dir";

export function Faces({ query }) {
  const [values, setValues] = useState({
    task_id: newTaskId(), source_file: query.source_file ?? "", target_file: query.target_file ?? "",
    dist_dir: localStorage.getItem(LAST_FOLDER) ?? "", frame_number: 0, face_selector_mode: "reference",
    reference_face_position: 0, reference_face_distance: 0.5, face_analyse_order: "left-right", face_analyse_age: "", face_analyse_gender: "",
  });
  const schema = useSchema();
  const target = useInfo(values.target_file);
  const studio = usePreview(values);
  const change = (changes) => setValues((earlier) => ({ ...earlier, ...changes }));
  const names = Object.keys(values);
  const wrong = studio.problem && fieldNamed(studio.problem.message, names);
  const missing = NEEDED.filter((name) => !values[name]);
  const complete = !missing.length;
  if (!schema) return null;
  const field = (name) => html`<${Field} key=${name} name=${name} schema=${schema.properties[name]} value=${values[name]}
    problem=${name === wrong ? studio.problem.message : null} onChange=${(value) => change({ [name]: value })} />`;
  const referenced = values.face_selector_mode === "reference";

  async function generate() {
    const task_id = newTaskId();
    try {
      await submit("facefusion", { ...bodyOf(values, 1), task_id });
      localStorage.setItem(LAST_FOLDER, values.dist_dir);
      say(t("said.submitted"));
      go(posted("facefusion", task_id));
    } catch (refused) {
      studio.setProblem(refused);
    }
  }
  return html`
    <div class="head"><h1>${t("page.faces")}</h1>
      <div class="actions"><button type="button" disabled=${!complete || studio.busy} onClick=${studio.preview}><${Icon} name="eye" />${t("faces.preview")}</button>
        <button type="button" class="primary" disabled=${!complete} onClick=${generate}><${Icon} name="play" />${t("faces.generate")}</button></div></div>
    ${missing.length > 0 && missing.length < NEEDED.length && html`<p class="soft missing">${t("faces.missing", { fields: missing.map(labelOf).join(", ") })}</p>`}
    <div class="studio">
      <div class="studio-stage">
        <${Stage} values=${values} target=${target} studio=${studio} />
        ${target?.kind === "video" && html`<div class="field"><label for="field-frame_number">${t("field.frame_number")}</label>
          <${Slider} id="field-frame_number" value=${values.frame_number} min=${0} max=${Math.max((target.frame_count ?? 1) - 1, 1)}
            onInput=${(frame_number) => change({ frame_number })} /></div>`}
        ${studio.problem && !wrong && html`<${Notice} problem=${studio.problem} />`}
        <${FaceChoice} task=${studio.task} values=${values} onChange=${change} enabled=${referenced} />
      </div>
      <div class="card studio-side">
        ${field("source_file")}${field("target_file")}
        ${SELECTION.map(field)}
        ${field("dist_dir")}
        <p class="soft">${t("faces.consent")}</p>
      </div>
    </div>`;
}

function Stage({ values, target, studio }) {
  const { busy, task } = studio;
  const shown = task && result(task);
  if (!values.target_file) return html`<${Empty} icon="scan-face" title=${t("faces.start")}><p class="soft">${t("faces.start_hint")}</p><//>`;
  const { width, height } = target ?? {};
  const frame = target?.kind === "video" ? values.frame_number : undefined;
  if (shown && task.request.frame_number === values.frame_number && task.request.target_file === values.target_file) {
    return html`<div class="busy-over">${busy && html`<${Bar} share=${1} state="busy" label=${t("faces.working")} />`}
      <${Compare} key=${shown.path} before=${{ path: values.target_file, kind: "picture", frame, width, height }} after=${{ path: shown.path, kind: "picture", width, height }} /></div>`;
  }
  return html`<div class="busy-over">${busy && html`<${Bar} share=${1} state="busy" label=${t("faces.working")} />`}
    <div class="still" style=${{ aspectRatio: width ? `${width} / ${height}` : "16 / 9" }}>
      <${Thumbnail} path=${values.target_file} width=${1280} frame=${frame} alt=${t("field.target_file")} /></div></div>`;
}

/** The newest preview, made again when what it depends on changes after the first one. */
function usePreview(values) {
  const [task, setTask] = useState(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(null);
  const turn = useRef(0);
  const started = useRef(false);
  const body = bodyOf(values, 0);
  const key = JSON.stringify(body);

  async function preview() {
    const mine = ++turn.current;
    started.current = true;
    setBusy(true);
    try {
      await submit("facefusion", body);
      const ended = await previewed(body, () => mine === turn.current);
      if (mine !== turn.current || !ended) return;
      if (ended.state === "succeeded") {
        setTask(ended);
        setProblem(null);
      } else setProblem(new Error(ended.result?.err_msg ?? ended.state));
    } catch (refused) {
      if (mine === turn.current) setProblem(refused);
    }
    if (mine === turn.current) setBusy(false);
  }
  useEffect(() => {
    if (!started.current) return undefined;
    const soon = setTimeout(preview, CHANGE_MILLISECONDS);
    return () => clearTimeout(soon);
  }, [key]);
  return { task, busy, problem, setProblem, preview };
}

/** What is posted: without the fields that a request of this kind does not use. */
export function bodyOf(values, programe) {
  const { frame_number, reference_face_position, reference_face_distance, ...shared } = values;
  const reference = values.face_selector_mode === "reference" ? { reference_face_position, reference_face_distance } : {};
  return { ...shared, ...reference, ...(programe ? {} : { frame_number }), programe };
}

function useSchema() {
  const [schema, setSchema] = useState(null);
  useEffect(() => {
    schemaOf("facefusion").then(setSchema, say);
  }, []);
  return schema;
}

function useInfo(path) {
  const [info, setInfo] = useState(null);
  useEffect(() => {
    let wanted = true;
    setInfo(null);
    if (path) {
      get("info", { path }).then((found) => {
        const turned = found.rotation % 180 ? { width: found.height, height: found.width } : {};
        if (wanted) setInfo({ ...found, ...turned, rate: rateOf(found.frame_rate) });
      }, () => {});
    }
    return () => {
      wanted = false;
    };
  }, [path]);
  return info;
}
