// The lower half of a task's page: details, faces over time, deliveries, segments, runs, code.
import { parse, stringify } from "../exact_json.js";
import { ago, baseName, bytes, duration, moment, number, word } from "../format.js";
import { Copy, Icon, State } from "../parts/basics.js";
import { curl, goStruct } from "../parts/code.js";
import { link } from "../route.js";
import { delivery } from "../task_words.js";
import { known, t } from "../text.js";
import { html, useState } from "../vendor/htm-preact.js";

const SHOWN_ELSEWHERE = new Set(["match", "audit", "faces", "entries"]);

export function Details({ task }) {
  const [json, setJson] = useState(false);
  const facts = [
    [t("detail.created"), moment(task.created_at)],
    task.started_at && [t("detail.started"), moment(task.started_at)],
    task.finished_at && [t("detail.finished"), moment(task.finished_at)],
    task.attempt > 1 && [t("detail.attempt"), task.attempt],
    [t("detail.version"), task.version],
    ...Object.entries(task.details).filter(([name]) => !SHOWN_ELSEWHERE.has(name)).map(([name, value]) => [
      known(`detail.${name}`) ? t(`detail.${name}`) : name, inWords(value)]),
    ...task.inputs.map(({ field, path }) => [word("field", field), path]),
    ...task.results.filter((one) => one.field !== "reference_images").map(({ path }) => [t("detail.result"), path]),
  ].filter(Boolean);
  return html`<section class="card"><header><h2>${t("task.details")}</h2>
      <button type="button" class="quiet" aria-pressed=${json} onClick=${() => setJson(!json)}>JSON</button></header>
    ${json
      ? html`<div class="code"><${Copy} text=${stringify(task, 1)} /><pre tabindex="0">${stringify(task, 1)}</pre></div>`
      : html`<dl class="facts">${facts.map(([name, value], place) => html`<div key=${place}><dt>${name}</dt><dd><bdi>${String(value)}</bdi></dd></div>`)}</dl>`}
  </section>`;
}

/** A value of the details as a reader takes it. */
function inWords(value) {
  if (value === null || value === undefined || value === "") return t("detail.nothing");
  if (Array.isArray(value)) return value.length ? value.map(inWords).join(", ") : t("detail.nothing");
  if (typeof value === "object") {
    return Object.entries(value).map(([name, inner]) => `${known(`detail.${name}`) ? t(`detail.${name}`) : name}: ${inWords(inner)}`).join(" · ");
  }
  if (typeof value === "boolean") return t(value ? "detail.yes" : "detail.no");
  return typeof value === "number" && !Number.isInteger(value) ? number(value, 3) : String(value);
}

/** The match report as a time line: one line a track, from the first frame that shows it to its last. */
export function Tracks({ task }) {
  const tracks = task.details.match?.tracks ?? [];
  if (!tracks.length) return null;
  const length = Math.max(...tracks.map((track) => track.last_frame)) + 1;
  return html`<section class="card"><header><h2>${t("match.title")}</h2></header>
    <ul class="tracks">${tracks.map((track) => html`<li key=${track.track} class=${track.swapped_frames ? "is-swapped" : ""}>
      <span class="line"><strong>${t("match.track", { number: track.track })}</strong>
        ${Number.isInteger(track.entry) && html`<span><bdi>${t("match.person", personOf(task, track.entry))}</bdi></span>`}
        <span class="soft">${track.distance === null ? "" : t("match.distance", { distance: track.distance.toFixed(3) })}</span></span>
      <svg class="span" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect class="ground" width="100" height="6" rx="1" />
        <rect class="life" x=${(100 * track.first_frame) / length} width=${Math.max((100 * (track.last_frame + 1 - track.first_frame)) / length, 0.6)} height="6" rx="1" /></svg>
      <span class="soft">${t("match.frames", { first: track.first_frame, last: track.last_frame, swapped: track.swapped_frames, frames: track.frames })}
        ${["matched", ""].includes(track.reason) ? "" : ` · ${whyNot(track.reason)}`}</span>
    </li>`)}</ul>
    ${(task.details.entries ?? []).filter((one) => one.reason).map(({ entry, reason }) => html`<p key=${entry} class="wait">
      <bdi>${t("match.nobody", { ...personOf(task, entry), reason: whyNot(reason) })}</bdi></p>`)}</section>`;
}

/** An entry of a request's `faces` as the studio numbers people, with its portrait. */
const personOf = ({ request }, entry) => ({ number: entry + 1, name: baseName(request.faces?.[entry]?.source_file || request.source_file || "") });

/** Why a face was left out; a filter names what it found, as in "filtered: age child". */
function whyNot(reason) {
  const [, attribute, found] = /^filtered: (\w+) (.+)$/.exec(reason) ?? [];
  return attribute ? t("match.filtered", { found: word(`face_${attribute}`, found) }) : word("match_reason", reason);
}

export function Callbacks({ task, onReplay }) {
  const callbacks = task.callbacks ?? [];
  return html`<section class="card"><header><h2>${t("callback.title")}</h2>
      ${callbacks.length > 0 && html`<button type="button" onClick=${onReplay}><${Icon} name="send" />${t("action.replay")}</button>`}</header>
    ${callbacks.length ? callbacks.map((one) => html`<${Delivery} key=${one.id} callback=${one} />`) : html`<p class="soft">${t("callback.none")}</p>`}
  </section>`;
}

function Delivery({ callback }) {
  return html`<div class="delivery"><p class="line"><${State} family="callback" value=${callback.state} />
      <span class="soft">${callback.delivered_at ? ago(callback.delivered_at) : delivery(callback)}</span></p>
    <ol class="tries">${callback.tries.map((one) => html`<li key=${one.at}>
      <span class=${one.outcome === "delivered" ? "good" : "bad"}>${one.status ?? word("outcome", one.outcome)}</span>
      <span>${moment(one.at)}</span><span class="soft">${one.error || t("callback.took", { time: number(1000 * one.seconds) })}</span></li>`)}</ol>
    <details><summary>${t("callback.body")}</summary><pre tabindex="0">${pretty(callback.body)}</pre></details></div>`;
}

/** The text that is sent, in lines. */
function pretty(text) {
  try {
    return stringify(parse(text), 1);
  } catch {
    return text;
  }
}

export function Segments({ task }) {
  const segments = task.segments ?? [];
  if (!segments.length) return null;
  return html`<section class="card"><header><h2>${t("segments.title")}</h2>
      <span class="soft">${t("segments.done", { done: segments.filter((one) => one.state === "done").length, total: segments[0].total })}</span></header>
    <ul class="segments">${segments.map((one) => html`<li key=${one.number} class=${`is-${one.state}`}
      title=${[one.number + 1, word("segment", one.state), one.seconds && duration(one.seconds), one.bytes && bytes(one.bytes)].filter(Boolean).join(" · ")}>
      <span class="unseen">${one.number + 1}: ${word("segment", one.state)}</span></li>`)}</ul></section>`;
}

export function Runs({ task }) {
  const runs = task.runs ?? [];
  if (runs.length < 2) return null;
  return html`<section class="card"><header><h2>${t("runs.title")}</h2></header>
    <ul class="runs">${runs.map((run) => html`<li key=${run.id}>
      <a href=${link(["task", task.service, String(task.task_id)], { id: run.id })} aria-current=${run.id === task.id ? "page" : null}>${moment(run.created_at)}</a>
      <${State} value=${run.state} />${run.err_msg && html`<span class="soft"><bdi>${run.err_msg}</bdi></span>`}</li>`)}</ul></section>`;
}

export function Code({ task }) {
  return html`<section class="card"><header><h2>${t("code.title")}</h2></header><p class="soft">${t("code.hint")}</p>
    <div class="columns">${[["curl", curl(task)], ["Go", goStruct(task)]].map(([name, text]) => html`<div class="code" key=${name}>
      <header><h3>${name}</h3><${Copy} text=${text} /></header><pre tabindex="0" aria-label=${name}>${text}</pre></div>`)}</div></section>`;
}
