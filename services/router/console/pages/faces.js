// The face studio: choose a portrait and a target, look at one frame, choose who is replaced by whom, then generate.
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
import { asked, changed, person, personNamed } from "./people.js";
import { PeopleCard } from "./people_card.js";
import { previewed } from "./preview_wait.js";

const CHANGE_MILLISECONDS = 250;
const SELECTION = ["face_selector_mode", "face_analyse_order", "face_analyse_age", "face_analyse_gender"];
const FILTERS = ["face_analyse_age", "face_analyse_gender"];
const LAST_FOLDER = "kinora-dist-dir";

export function Faces({ query }) {
  const [values, setValues] = useState({
    task_id: newTaskId(), people: [person(1, query.source_file)], target_file: query.target_file ?? "",
    dist_dir: localStorage.getItem(LAST_FOLDER) ?? "", frame_number: 0, face_selector_mode: "reference",
    face_analyse_order: "left-right", face_analyse_age: "", face_analyse_gender: "",
  });
  const schema = useSchema();
  const target = useInfo(values.target_file);
  const studio = usePreview(values);
  const change = (changes) => setValues((earlier) => ({ ...earlier, ...changes }));
  const { people } = values;
  const several = people.length > 1;
  const wrongPerson = studio.problem && personNamed(studio.problem.message, people);
  const shown = [...(several ? [] : ["source_file"]), "target_file", ...usedOf(values), "dist_dir"];
  const wrong = studio.problem && !wrongPerson && fieldNamed(studio.problem.message, shown);
  const missing = missingOf(values);
  if (!schema) return null;
  const field = (name, value = values[name], onChange = (given) => change({ [name]: given })) => html`<${Field} key=${name} name=${name}
    schema=${schema.properties[name]} value=${value} problem=${name === wrong ? studio.problem.message : null} onChange=${onChange} />`;
  const portrait = () => field("source_file", people[0].source_file, (source_file) => change({ people: changed(people, people[0].id, { source_file }) }));

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
      <div class="actions"><button type="button" disabled=${!previewable(values) || studio.busy} onClick=${studio.preview}><${Icon} name="eye" />${t("faces.preview")}</button>
        <button type="button" class="primary" disabled=${missing.length > 0} onClick=${generate}><${Icon} name="play" />${t("faces.generate")}</button></div></div>
    ${missing.length > 0 && begun(values) && html`<p class="soft missing">${t("faces.missing", { fields: missing.join(", ") })}</p>`}
    <div class="studio">
      <div class="studio-stage">
        <${Stage} values=${values} target=${target} studio=${studio} />
        ${target?.kind === "video" && html`<div class="field"><label for="field-frame_number">${t("field.frame_number")}</label>
          <${Slider} id="field-frame_number" value=${values.frame_number} min=${0} max=${Math.max((target.frame_count ?? 1) - 1, 1)}
            onInput=${(frame_number) => change({ frame_number })} /></div>`}
        ${studio.problem && !wrong && !(wrongPerson && several) && html`<${Notice} problem=${studio.problem} />`}
        <${PeopleCard} task=${studio.task} people=${people} mode=${values.face_selector_mode} schema=${schema.properties}
          wrong=${wrongPerson} problem=${studio.problem?.message} onChange=${(all) => change({ people: all })} />
      </div>
      <div class="card studio-side">
        ${shown.map((name) => (name === "source_file" ? portrait() : field(name)))}
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
  const { task_id, people, target_file, dist_dir, frame_number } = values;
  const selection = Object.fromEntries(usedOf(values).map((name) => [name, values[name]]));
  return { task_id, ...asked(people, referenced(values)), target_file, dist_dir, ...selection, ...(programe ? {} : { frame_number }), programe };
}

const referenced = (values) => values.face_selector_mode === "reference";

/** Of several people who are told apart by age and gender alone, each has filters of its own and the request none. */
const usedOf = (values) => (values.people.length > 1 && !referenced(values) ? SELECTION.filter((name) => !FILTERS.includes(name)) : SELECTION);

/** The labels of what a generation needs and nobody has chosen yet. */
function missingOf({ people, target_file, dist_dir }) {
  const portraits = people.map((one, place) => !one.source_file && (people.length > 1 ? t("people.portrait", { number: place + 1 }) : labelOf("source_file")));
  return [...portraits, !target_file && labelOf("target_file"), !dist_dir && labelOf("dist_dir")].filter(Boolean);
}

const begun = ({ people, target_file, dist_dir }) => Boolean(target_file || dist_dir || people.some((one) => one.source_file));
const previewable = ({ people, target_file, dist_dir }) => Boolean(target_file && dist_dir && people.some((one) => one.source_file));

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
