// Who replaces whom: one person with the faces of the frame to choose from, or several, each with a portrait and a face.
import { baseName } from "../format.js";
import { Icon, IconButton } from "../parts/basics.js";
import { Field } from "../parts/fields.js";
import { say } from "../parts/toasts.js";
import { t } from "../text.js";
import { html, useEffect, useRef } from "../vendor/htm-preact.js";
import { cropsOf, FaceCrops, FaceDistance } from "./face_choice.js";
import { added, changed, placed, refusal, removed } from "./people.js";

/** `wrong` is the person whom `problem`, a sentence, is about; `onChange(people)` gets them as they shall be. */
export function PeopleCard({ task, people, mode, schema, wrong, problem, onChange }) {
  const heading = useRef();
  const fresh = useRef(null);
  const faces = cropsOf(task).length;
  const referenced = mode === "reference";
  const several = people.length > 1;
  useEffect(() => {
    if (fresh.current !== null) document.getElementById(boxOf(fresh.current))?.querySelector("button.preview").focus();
    fresh.current = null;
  }, [people.length]);
  if (!faces && !several) return null;

  function add() {
    const all = added(people);
    fresh.current = all.at(-1).id;
    onChange(all);
  }
  function remove(one) {
    onChange(removed(people, one.id));
    heading.current.focus(); // what had the focus is gone
  }
  return html`<section class="card face-choice"><h2 tabindex="-1" ref=${heading}>${t(several ? "people.title" : "faces.found")}</h2>
    ${several ? html`<p class="soft">${t(`people_hint.${mode}`)}</p>
        ${!referenced && html`<${FaceCrops} task=${task} person=${people[0]} enabled=${false} />`}
        <div class="people">${people.map((one, place) => html`<${Person} key=${one.id} ...${{ task, people, one, place, referenced, schema, onChange }}
          problem=${one === wrong ? problem : null} onRemove=${() => remove(one)} />`)}</div>`
      : html`<${Alone} task=${task} one=${people[0]} referenced=${referenced} onChange=${(changes) => onChange(changed(people, people[0].id, changes))} />`}
    <${Adding} why=${refusal(people, { most: schema.faces.maxItems, faces, referenced })} people=${people} faces=${faces} onAdd=${add} />
  </section>`;
}

function Alone({ task, one, referenced, onChange }) {
  return html`<${FaceCrops} task=${task} person=${one} enabled=${referenced} onChoose=${(place) => onChange({ reference_face_position: place })} />
    ${referenced && html`<${FaceDistance} id="face-distance" task=${task} person=${one} onChange=${onChange} />`}`;
}

function Person({ task, people, one, place, referenced, schema, problem, onChange, onRemove }) {
  const box = boxOf(one.id);
  const number = place + 1;
  const change = (changes) => onChange(changed(people, one.id, changes));
  const before = useRef(null); // the people as they were when the focus came to this one's faces
  const field = (name, label) => html`<${Field} key=${name} name=${name} id=${`${box}-${name}`} label=${label} schema=${schema[name]} value=${one[name]}
    problem=${name === "source_file" ? problem : null} onChange=${(value) => change({ [name]: value })} />`;
  /** From where the focus came, so that arrow keys which pass another's face leave it to the other. */
  function choose(position) {
    const start = before.current ?? people;
    const all = placed(start, one.id, position);
    const other = start.findIndex((someone, at) => at !== place && someone !== all[at]);
    if (other >= 0) say(t("people.exchanged", { number: other + 1, face: all[other].reference_face_position + 1 }));
    onChange(all);
  }
  const outside = (event) => !event.currentTarget.contains(event.relatedTarget);
  return html`<div class="person" id=${box} role="group" aria-labelledby=${`${box}-name`}>
    <header><h3 id=${`${box}-name`}>${t("people.person", { number })}${one.source_file && html`<span class="soft"> <bdi>${baseName(one.source_file)}</bdi></span>`}</h3>
      <${IconButton} icon="x" label=${t("people.remove", { number })} onClick=${onRemove} /></header>
    ${field("source_file", t("people.portrait", { number }))}
    ${referenced
      ? html`<p class="label" id=${`${box}-face`}>${t("faces.choose")}</p>
        ${one.reference_face_position >= cropsOf(task).length && html`<p class="wait">${t("people.no_face", { number: one.reference_face_position + 1 })}</p>`}
        <div onfocusin=${(event) => { if (outside(event)) before.current = people; }} onfocusout=${(event) => { if (outside(event)) before.current = null; }}>
          <${FaceCrops} task=${task} person=${one} others=${people} label=${t("people.face", { number })} enabled onChoose=${choose} /></div>
        <details><summary>${t("field.reference_face_distance")}</summary>
          <${FaceDistance} id=${`${box}-distance`} describedBy=${`${box}-name`} task=${task} person=${one} onChange=${change} /></details>`
      : html`<div class="filters">${field("face_analyse_age")}${field("face_analyse_gender")}</div>`}
  </div>`;
}

/** The button, and why it does nothing; a single face cannot have a second person. */
function Adding({ why, people, faces, onAdd }) {
  if (why === "taken" && people.length === 1 && faces < 2) return null;
  return html`<div class="adding"><button type="button" disabled=${why !== null} onClick=${onAdd}><${Icon} name="plus" />${t("people.add")}</button>
    ${why && html`<p class="soft">${why === "most" ? t("people.most", { count: people.length }) : t("people.taken")}</p>`}</div>`;
}

const boxOf = (id) => `person-${id}`;
