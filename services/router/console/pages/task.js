// One task: what came in and what came out, side by side, and everything that is known about it.
import { get, mediaUrl } from "../api.js";
import { again, cancel, replay } from "../actions.js";
import { ago, baseName, percent, rate, word } from "../format.js";
import { listen } from "../live.js";
import { Bar, Icon, Notice, State, Thumbnail } from "../parts/basics.js";
import { Compare } from "../parts/compare.js";
import { link } from "../route.js";
import { compared, idOf, isActive, result, standing, title, wish } from "../task_words.js";
import { t } from "../text.js";
import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { Callbacks, Code, Details, Runs, Segments, Tracks } from "./task_details.js";

const WATCH_MILLISECONDS = 2000;

export function TaskPage({ parts: [service, taskId], query }) {
  const { task, problem, reload } = useTask(service, taskId, query.id);
  if (problem) {
    return html`<div class="head"><h1>${t("page.task")}</h1></div><${Notice} problem=${problem} />
      <p><a href=${link(["tasks"])}>${t("task.back")}</a></p>`;
  }
  if (!task) return null;
  const file = result(task);
  const then = (work) => async () => (await work(task)) && reload();
  return html`
    <p class="crumb"><a href=${link(["tasks"])}><${Icon} name="chevron-left" />${t("page.tasks")}</a></p>
    <div class="head"><div><h1><bdi>${title(task)}</bdi></h1>
      <p class="soft">${word("service", task.service)} · <bdi>${wish(task)}</bdi> · #${idOf(task)} · ${ago(task.created_at)}</p></div>
      <div class="actions">
        ${isActive(task)
          ? html`<button type="button" class="danger" disabled=${task.cancel} onClick=${then(cancel)}><${Icon} name="x" />${t("action.cancel")}</button>`
          : html`<button type="button" onClick=${then(again)}><${Icon} name="rotate-ccw" />${t("action.again")}</button>`}
        ${file && html`<a class="button primary" href=${mediaUrl(file.path, { download: 1 })} download><${Icon} name="download" />${t("action.download")}</a>`}
      </div></div>
    <${Outcome} task=${task} file=${file} />
    <${Faces} task=${task} />
    <div class="columns">
      <${Details} task=${task} />
      <div>
        <${Tracks} task=${task} />
        <${Callbacks} task=${task} onReplay=${then(replay)} />
        <${Segments} task=${task} />
        <${Runs} task=${task} />
      </div>
    </div>
    <${Code} task=${task} />`;
}

function useTask(service, taskId, id) {
  const [task, setTask] = useState(null);
  const [problem, setProblem] = useState(null);
  async function load(stillWanted = () => true) {
    try {
      const found = await get(`tasks/${taskId}`, { service, id });
      if (!stillWanted()) return;
      setTask(found.tasks[0]);
      setProblem(null);
    } catch (refused) {
      if (stillWanted()) setProblem(refused);
    }
  }
  useEffect(() => {
    let wanted = true;
    const still = () => wanted;
    load(still);
    const stop = listen({
      reload: () => load(still),
      rows(rows) {
        const mine = rows.find((row) => idOf(row) === taskId && row.service === service && (!id || row.id === id));
        if (!mine) return;
        setTask((earlier) => earlier && { ...earlier, ...mine });
        if (!isActive(mine) || mine.callback.state === "pending") load(still);
      },
    });
    return () => {
      wanted = false;
      stop();
    };
  }, [service, taskId, id]);
  // A callback that is sent again may be there before the services are asked for changes, which then see none.
  const watched = task && (isActive(task) || task.callback.state === "pending");
  useEffect(() => {
    const watch = watched && setInterval(() => load(), WATCH_MILLISECONDS);
    return () => clearInterval(watch);
  }, [watched, taskId]);
  return { task, problem, reload: load };
}

/** The comparison of an ended task, or how far a running one is. */
function Outcome({ task, file }) {
  const before = compared(task);
  const pair = usePair(before?.path, file?.path);
  if (file) return pair ? html`<${Compare} key=${file.path} ...${pair} />` : html`<div class="stage waiting"></div>`;
  const unfinished = task.previews?.at(-1);
  return html`<div class="card outcome">
    <${Thumbnail} path=${unfinished ?? before?.path} width=${640} alt=${unfinished ? t("task.unfinished") : ""} />
    <div><div class="line"><${State} value=${task.state} /><span class="soft">${standing(task)}</span></div>
      ${task.state === "running" && html`<div class="line"><${Bar} share=${task.progress} label=${t("task.progress")} />
        <span class="number">${percent(task.progress, 1)}</span></div>`}
      ${task.result?.err_msg && html`<p class="sentence bad"><bdi>${task.result.err_msg}</bdi></p>`}
    </div></div>`;
}

/** What the two files are; a file that has gone makes no pair. */
function usePair(before, after) {
  const [pair, setPair] = useState(null);
  useEffect(() => {
    let wanted = true;
    const about = async (path) => {
      const found = await get("info", { path });
      const { width, height } = found.rotation % 180 ? { width: found.height, height: found.width } : found;
      return { path, kind: found.kind === "video" ? "video" : "picture", rate: rate(found.frame_rate), width, height };
    };
    async function look() {
      if (!after) return;
      const [shown, made] = await Promise.all([before ? about(before).catch(() => null) : null, about(after).catch(() => null)]);
      if (wanted) setPair({ before: shown, after: made ?? { path: after, kind: "video" } });
    }
    setPair(null);
    look();
    return () => {
      wanted = false;
    };
  }, [before, after]);
  return pair;
}

function Faces({ task }) {
  const crops = task.results.filter((one) => one.field === "reference_images");
  if (!crops.length) return null;
  return html`<section><h2>${t("faces.found")}</h2><ul class="crops">
    ${crops.map((crop, place) => html`<li key=${crop.name}><${Thumbnail} path=${crop.path} width=${160} alt=${baseName(crop.path)} icon="scan-face" />
      <span class="soft">${place}</span></li>`)}</ul></section>`;
}
