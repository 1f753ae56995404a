// All tasks, newest first, as they change.
import { get } from "../api.js";
import { again, cancel } from "../actions.js";
import { ago, percent, word } from "../format.js";
import { listen } from "../live.js";
import { Bar, Choices, Empty, Icon, IconButton, Notice, State, Thumbnail, Timely } from "../parts/basics.js";
import { link, replace, taskLink } from "../route.js";
import { delivery, idOf, isActive, standing, title, wish } from "../task_words.js";
import { language, t } from "../text.js";
import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm-preact.js";

const SERVICES = ["creation", "facefusion", "interpo", "upscale"];
const STATES = ["queued", "running", "succeeded", "failed", "cancelled"];
const PAGE = 50;
const TYPING_MILLISECONDS = 250;
const BURST_MILLISECONDS = 300;

export function Tasks({ query }) {
  const filter = { service: query.service ?? "", state: query.state ?? "", q: query.q ?? "" };
  const key = JSON.stringify(filter);
  const list = useTasks(filter, key);
  const change = (changes) => replace(link(["tasks"], { ...filter, ...changes }));
  const drawn = useMemo(() => new WeakMap(), [language]);
  const filtered = filter.service || filter.state || filter.q;
  return html`
    <div class="head"><h1>${t("page.tasks")}</h1>
      <a class="button primary" href=${link(["new"])}><${Icon} name="plus" />${t("page.new")}</a></div>
    <${Filters} filter=${filter} onChange=${change} />
    <${Notice} problem=${list.problem} />
    ${list.unreachable.length > 0 && html`<p class="notice"><${Icon} name="circle-alert" />
      <span>${t("tasks.unreachable", { services: list.unreachable.map((name) => word("service", name)).join(", ") })}</span></p>`}
    ${list.rows && list.rows.length > 0 && html`<ul class="tasks" aria-label=${t("page.tasks")}>
      ${list.rows.map((task) => rowOf(task, drawn))}</ul>`}
    ${list.rows && !list.rows.length && !list.problem && (filtered
      ? html`<${Empty} icon="search" title=${t("tasks.none_found")}>
          <button type="button" onClick=${() => replace(link(["tasks"]))}>${t("tasks.show_all")}</button><//>`
      : html`<${Empty} icon="list-video" title=${t("tasks.none")}><p class="soft">${t("tasks.none_hint")}</p>
          <a class="button primary" href=${link(["new"])}>${t("page.new")}</a><//>`)}
    ${list.next && html`<${More} busy=${list.loading} onMore=${list.more} />`}`;
}

function useTasks(filter, key) {
  const [rows, setRows] = useState(null);
  const [next, setNext] = useState(null);
  const [unreachable, setUnreachable] = useState([]);
  const [problem, setProblem] = useState(null);
  const [loading, setLoading] = useState(false);
  const known = useRef();
  known.current = rows ?? [];

  useEffect(() => {
    let gone = false;
    let waiting = null;
    async function load() {
      try {
        const found = await get("tasks", { ...filter, limit: PAGE });
        if (gone) return;
        // Further pages that were already asked for stay; of the first one the server knows best.
        const last = found.rows.at(-1);
        const older = last && found.next ? known.current.filter((row) => row.created_at < last.created_at) : [];
        setRows([...found.rows, ...older]);
        if (!older.length) setNext(found.next);
        setUnreachable(found.unreachable);
        setProblem(null);
      } catch (refused) {
        if (!gone) setProblem(refused);
      }
    }
    function soon() {
      clearTimeout(waiting);
      waiting = setTimeout(load, BURST_MILLISECONDS);
    }
    known.current = [];
    load();
    const stop = listen({
      reload: load,
      rows(changed) {
        const byId = new Map(changed.map((row) => [row.id, row]));
        const shown = new Set(known.current.map((row) => row.id));
        setRows((earlier) => earlier?.map((row) => byId.get(row.id) ?? row).filter((row) => !filter.state || row.state === filter.state) ?? earlier);
        if (changed.some((row) => !shown.has(row.id) && matches(row, filter))) soon();
      },
    });
    return () => {
      gone = true;
      clearTimeout(waiting);
      stop();
    };
  }, [key]);

  async function more() {
    setLoading(true);
    try {
      const found = await get("tasks", { ...filter, limit: PAGE, before: next });
      const shown = new Set(known.current.map((row) => row.id));
      setRows((earlier) => [...earlier, ...found.rows.filter((row) => !shown.has(row.id))]);
      setNext(found.next);
    } catch (refused) {
      setProblem(refused);
    }
    setLoading(false);
  }
  return { rows, next, unreachable, problem, loading, more };
}

const matches = (row, { service, state, q }) =>
  (!service || row.service === service) && (!state || row.state === state) &&
  (!q || idOf(row).startsWith(q) || title(row).includes(q));

function Filters({ filter, onChange }) {
  const typing = useRef();
  const search = (event) => {
    clearTimeout(typing.current);
    const q = event.target.value;
    typing.current = setTimeout(() => onChange({ q }), TYPING_MILLISECONDS);
  };
  return html`<div class="filters" role="search">
    <label class="search"><${Icon} name="search" /><span class="unseen">${t("tasks.search")}</span>
      <input type="search" placeholder=${t("tasks.search")} value=${filter.q} onInput=${search} /></label>
    <${Choices} name="state" label=${t("tasks.state")} value=${filter.state} onChange=${(state) => onChange({ state })}
      options=${[["", t("tasks.all")], ...STATES.map((state) => [state, word("state", state)])]} />
    <label class="select"><span class="unseen">${t("tasks.service")}</span>
      <select value=${filter.service} onChange=${(event) => onChange({ service: event.target.value })}>
        <option value="">${t("tasks.all_services")}</option>
        ${SERVICES.map((name) => html`<option key=${name} value=${name}>${word("service", name)}</option>`)}
      </select></label>
  </div>`;
}

/** The row of a task; one that has not changed is the very same, so that a long list costs only what is new in it. */
function rowOf(task, drawn) {
  if (!drawn.has(task)) drawn.set(task, html`<${Row} key=${task.id} task=${task} />`);
  return drawn.get(task);
}

function Row({ task }) {
  const failed = task.state === "failed" && task.result;
  return html`<li class="task">
    <a class="whole" href=${taskLink(task)} aria-label=${`${title(task)}, ${word("service", task.service)}, ${word("state", task.state)}`}></a>
    <${Thumbnail} path=${task.thumbnail} width=${240} icon=${task.service === "facefusion" ? "scan-face" : "film"} />
    <div class="what"><strong class="name"><bdi>${title(task)}</bdi></strong>
      <span class="soft about">${word("service", task.service)} · <bdi>${wish(task)}</bdi></span>
      <span class="soft number">#${idOf(task)} · <${Timely} text=${() => ago(task.created_at)} /></span></div>
    <div class="stands">
      <div class="line"><${State} value=${task.state} /><span class="soft"><${Timely} text=${() => standing(task)} /></span></div>
      ${task.state === "running" && html`<div class="line"><${Bar} share=${task.progress} label=${t("task.progress")} />
        <span class="number">${percent(task.progress)}</span></div>`}
      ${failed && html`<p class="bad sentence"><bdi>${task.result.err_msg}</bdi></p>`}
    </div>
    <div class="callback">${task.callback.state !== "none" && html`<${State} family="callback" value=${task.callback.state} />
      <span class="soft"><${Timely} text=${() => delivery(task.callback)} /></span>`}</div>
    <div class="actions">${isActive(task)
      ? html`<${IconButton} icon="x" label=${t("action.cancel")} disabled=${task.cancel} onClick=${() => cancel(task)} />`
      : html`<${IconButton} icon="rotate-ccw" label=${t("action.again")} onClick=${() => again(task)} />`}</div>
  </li>`;
}

/** The button for older tasks; it presses itself when it comes into sight. */
function More({ busy, onMore }) {
  const button = useRef();
  const press = useRef();
  press.current = () => !busy && onMore();
  useEffect(() => {
    const sight = new IntersectionObserver(([entry]) => entry.isIntersecting && press.current(), { rootMargin: "600px" });
    sight.observe(button.current);
    return () => sight.disconnect();
  }, []);
  return html`<button type="button" class="more" ref=${button} disabled=${busy} onClick=${() => press.current()}>${t("tasks.more")}</button>`;
}
