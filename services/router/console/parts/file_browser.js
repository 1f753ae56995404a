// The media roots: folders, thumbnails, search, and uploads by drag and drop.
import { get, upload } from "../api.js";
import { ago, baseName, bytes, percent } from "../format.js";
import { t } from "../text.js";
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { Bar, Empty, Icon, IconButton, Notice, Thumbnail } from "./basics.js";

const TYPING_MILLISECONDS = 300;
const ICONS = { folder: "folder", video: "film", picture: "image", other: "file" };

/**
 * `folder` and `search` say what is shown, `onMove({folder, q})` changes that; `onPick(entry)` is called for a file that
 * `accepts(entry)` takes; `picked` is the path that is marked.
 */
export function FileBrowser({ folder, search = "", onMove, onPick, accepts = () => true, picked }) {
  const { found, problem, reload, more } = useFolder(folder, search);
  const uploads = useUploads(found?.folder, reload);
  const [over, setOver] = useState(false);
  const typing = useRef();
  const roots = found?.roots;
  const type = (event) => {
    clearTimeout(typing.current);
    const q = event.target.value;
    typing.current = setTimeout(() => onMove({ folder, q }), TYPING_MILLISECONDS);
  };
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    uploads.start([...event.dataTransfer.files]);
  };
  const able = found?.folder && !search;
  return html`<div class=${`browser ${over ? "is-over" : ""}`}
      onDragOver=${(event) => { if (able) { event.preventDefault(); setOver(true); } }}
      onDragLeave=${(event) => event.currentTarget.contains(event.relatedTarget) || setOver(false)} onDrop=${able && drop}>
    <div class="filters">
      <${Path} folder=${folder} parent=${found?.parent} onMove=${onMove} />
      <label class="search"><${Icon} name="search" /><span class="unseen">${t("files.search")}</span>
        <input type="search" placeholder=${t("files.search")} value=${search} onInput=${type} /></label>
      ${able && html`<${UploadButton} onFiles=${uploads.start} />`}
    </div>
    <${Notice} problem=${problem} />
    <${Uploads} ...${uploads} />
    ${roots && html`<ul class="roots">${roots.map((root) => html`<li key=${root.path}>
      <button type="button" onClick=${() => onMove({ folder: root.path, q: "" })}><${Icon} name="folder" />
        <span><strong><bdi>${root.name}</bdi></strong><span class="soft"><bdi>${root.path}</bdi></span>
        <span class="soft">${t("files.free", { free: bytes(root.free_bytes), total: bytes(root.total_bytes) })}</span></span></button></li>`)}</ul>`}
    ${found?.entries && (found.entries.length
      ? html`<ul class="entries">${found.entries.map((entry) => html`<${Entry} key=${entry.path} entry=${entry} inSearch=${search}
          marked=${entry.path === picked} able=${entry.kind === "folder" || accepts(entry)}
          onOpen=${() => (entry.kind === "folder" ? onMove({ folder: entry.path, q: "" }) : onPick(entry))} />`)}</ul>`
      : html`<${Empty} icon=${search ? "search" : "folder"} title=${t(search ? "files.none_found" : "files.empty")}>
          ${able && html`<p class="soft">${t("files.drop_hint")}</p>`}<//>`)}
    ${found?.truncated && html`<p class="soft">${t("files.truncated")}</p>`}
    ${found?.next && html`<button type="button" class="more" onClick=${more}>${t("tasks.more")}</button>`}
    ${over && html`<div class="drop-here"><${Icon} name="upload" />${t("files.drop", { folder: baseName(found.folder) })}</div>`}
  </div>`;
}

function useFolder(folder, q) {
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    get("files", { folder, q }, stop.signal).then(
      (answer) => { setFound(answer); setProblem(null); },
      (refused) => { if (!stop.signal.aborted) { setFound(null); setProblem(refused); } },
    );
    return () => stop.abort();
  }, [folder, q, turn]);
  async function more() {
    const next = await get("files", { folder, q, after: found.next });
    setFound({ ...next, entries: [...found.entries, ...next.entries] });
  }
  return { found, problem, more, reload: () => setTurn((count) => count + 1) };
}

function useUploads(folder, reload) {
  const [uploads, setUploads] = useState([]);
  const change = (key, changes) => setUploads((all) => all.map((one) => (one.key === key ? { ...one, ...changes } : one)));
  async function start(files) {
    const entries = files.map((file) => ({ key: crypto.randomUUID(), file, share: 0, stop: new AbortController() }));
    setUploads((all) => [...all.filter((one) => !one.done), ...entries]);
    for (const { key, file, stop } of entries) {
      try {
        await upload(folder, file, (share) => change(key, { share }), stop.signal);
        change(key, { share: 1, done: true });
        reload();
      } catch (problem) {
        change(key, { problem });
      }
    }
  }
  const forget = (key) => setUploads((all) => all.filter((one) => one.key !== key || (one.stop.abort(), false)));
  return { uploads, start, forget };
}

function Uploads({ uploads, forget }) {
  if (!uploads.length) return null;
  return html`<ul class="uploads" aria-label=${t("files.uploads")}>${uploads.map(({ key, file, share, problem, done }) => html`<li key=${key}>
    <span class="name"><bdi>${file.name}</bdi></span>
    ${problem
      ? html`<span class="bad sentence" role="alert">${problem.name === "AbortError" ? t("files.stopped") : problem.message || t("problem.unreachable")}</span>`
      : html`<${Bar} share=${share} state=${done ? "succeeded" : "running"} label=${file.name} /><span class="number">${percent(share)}</span>`}
    <${IconButton} icon="x" label=${t(done || problem ? "action.close" : "action.cancel")} onClick=${() => forget(key)} /></li>`)}</ul>`;
}

function UploadButton({ onFiles }) {
  const input = useRef();
  return html`<button type="button" onClick=${() => input.current.click()}><${Icon} name="upload" />${t("files.upload")}</button>
    <input ref=${input} hidden type="file" multiple accept="video/*,image/*"
      onChange=${(event) => { onFiles([...event.target.files]); event.target.value = ""; }} />`;
}

function Path({ folder, parent, onMove }) {
  return html`<div class="path">
    <${IconButton} icon="house" label=${t("files.roots")} onClick=${() => onMove({ folder: "", q: "" })} />
    ${parent && html`<${IconButton} icon="folder-up" label=${t("files.up")} onClick=${() => onMove({ folder: parent, q: "" })} />`}
    ${folder && html`<span class="where" title=${folder}><bdi>${folder}</bdi></span>`}</div>`;
}

function Entry({ entry, able, marked, inSearch, onOpen }) {
  const shown = entry.kind === "video" || entry.kind === "picture";
  return html`<li class=${`entry is-${entry.kind}`}>
    <button type="button" disabled=${!able} aria-pressed=${marked} title=${inSearch ? entry.path : entry.name} onClick=${onOpen}>
      <${Thumbnail} path=${shown ? entry.path : null} width=${320} icon=${ICONS[entry.kind]} />
      <span class="name"><bdi>${entry.name}</bdi></span>
      <span class="soft">${entry.kind === "folder" ? ago(entry.modified) : `${bytes(entry.bytes)} · ${ago(entry.modified)}`}</span>
    </button></li>`;
}
