// The small pieces that every page is made of.
import { thumbnailUrl } from "../api.js";
import { percent, word } from "../format.js";
import { t } from "../text.js";
import { h, html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { OUTLINES } from "./outlines.js";

export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
    ${OUTLINES[name].map(([element, attributes]) => h(element, attributes))}
  </svg>`;

export const IconButton = ({ icon, label, ...rest }) => html`
  <button type="button" class="quiet square" aria-label=${label} title=${label} ...${rest}><${Icon} name=${icon} /></button>`;

export const State = ({ family = "state", value }) =>
  html`<span class=${`state is-${value}`}>${word(family, value)}</span>`;

export const Bar = ({ share, label, state = "running" }) => html`
  <div class=${`bar is-${state}`} role="progressbar" aria-label=${label} aria-valuemin="0" aria-valuemax="100"
    aria-valuenow=${Math.round(100 * share)} aria-valuetext=${percent(share, 1)}>
    <div class="fill" style=${{ transform: `scaleX(${share})` }}></div>
  </div>`;

/** A picture of a file, or a quiet mark where it has none. */
export function Thumbnail({ path, width = 320, at, frame, alt = "", icon = "film" }) {
  const [failed, setFailed] = useState("");
  const source = path ? thumbnailUrl(path, { width, at, frame }) : "";
  return html`<span class="thumbnail">
    ${source && failed !== source
      ? html`<img src=${source} alt=${alt} loading="lazy" decoding="async" onError=${() => setFailed(source)} />`
      : html`<${Icon} name=${icon} />`}
  </span>`;
}

const passing = new Set();
setInterval(() => { for (const look of [...passing]) look(); }, 20000);

/** A text that changes as time passes: `text()` is asked again three times a minute. */
export function Timely({ text }) {
  const [, redraw] = useState(0);
  useEffect(() => {
    const look = () => redraw((count) => count + 1);
    passing.add(look);
    return () => passing.delete(look);
  }, []);
  return text();
}

export const Empty = ({ icon, title, children }) => html`
  <div class="empty"><${Icon} name=${icon} /><p class="title">${title}</p>${children}</div>`;

export function Notice({ problem, children }) {
  if (!problem) return null;
  return html`<p class="notice" role="alert"><${Icon} name="circle-alert" />
    <span>${problem.message || t("problem.unreachable")}</span>${children}</p>`;
}

/** One of a few values, as a row of buttons that the arrow keys walk through. */
export function Choices({ name, label, value, options, onChange, className = "" }) {
  return html`<fieldset class=${`choices ${className}`}>
    <legend class="unseen">${label}</legend>
    ${options.map(([option, shown]) => html`<label key=${option}>
      <input type="radio" name=${name} checked=${String(option) === String(value)} onChange=${() => onChange(option)} />
      <span>${shown}</span>
    </label>`)}
  </fieldset>`;
}

export function Slider({ id, value, min, max, step = 1, onInput, describedBy }) {
  const share = (100 * (value - min)) / (max - min);
  return html`<span class="slider">
    <input type="range" id=${id} min=${min} max=${max} step=${step} value=${value} aria-describedby=${describedBy}
      style=${{ "--share": `${share}%` }} onInput=${(event) => onInput(Number(event.target.value))} />
    <output for=${id}>${value}</output>
  </span>`;
}

export function Copy({ text, label = t("action.copy") }) {
  const [done, setDone] = useState(false);
  async function copy() {
    await navigator.clipboard.writeText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  }
  return html`<button type="button" class="quiet" onClick=${copy}>
    <${Icon} name=${done ? "check" : "copy"} />${done ? t("action.copied") : label}</button>`;
}

/** A dialog over the page; `onClose` is called by Escape, by its cross and by a click beside it. */
export function Dialog({ title, onClose, children }) {
  const dialog = useRef();
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  const beside = (event) => event.target === dialog.current && onClose();
  return html`<dialog ref=${dialog} onClose=${onClose} onClick=${beside} aria-label=${title}>
    <header><h2>${title}</h2><${IconButton} icon="x" label=${t("action.close")} onClick=${onClose} /></header>
    <div class="body">${children}</div>
  </dialog>`;
}
