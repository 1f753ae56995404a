// A file or a folder of the media roots as a field: typed, or chosen in a dialog.
import { baseName } from "../format.js";
import { t } from "../text.js";
import { html, useState } from "../vendor/htm-preact.js";
import { Dialog, Icon, Thumbnail } from "./basics.js";
import { FileBrowser } from "./file_browser.js";

const LAST_FOLDER = "kinora-folder";
const folderOf = (path) => path.slice(0, path.lastIndexOf("/"));

/** `kinds` are the kinds of entries to choose from: "video", "picture", or "folder". */
export function FileField({ id, value, kinds, label, describedBy, invalid, onChange }) {
  const [open, setOpen] = useState(false);
  const medium = !kinds.includes("folder");
  return html`<div class="file-field">
    ${medium && html`<button type="button" class="preview" onClick=${() => setOpen(true)} aria-label=${t("field.choose", { field: label })}>
      <${Thumbnail} path=${value || null} width=${480} icon=${kinds.includes("video") ? "film" : "image"} />
      ${!value && html`<span class="soft">${t("field.choose_file")}</span>`}</button>`}
    <div class="row"><input id=${id} type="text" value=${value} spellcheck=${false} placeholder=${t(medium ? "field.path" : "field.folder")}
        aria-describedby=${describedBy} aria-invalid=${invalid} onInput=${(event) => onChange(event.target.value)} />
      <button type="button" onClick=${() => setOpen(true)}><${Icon} name="folder" />${t("action.choose")}</button></div>
    ${open && html`<${Chooser} kinds=${kinds} value=${value} label=${label} onClose=${() => setOpen(false)}
      onChoose=${(path) => { setOpen(false); onChange(path); }} />`}
  </div>`;
}

function Chooser({ kinds, value, label, onChoose, onClose }) {
  const folders = kinds.includes("folder");
  const start = value ? (folders ? value : folderOf(value)) : sessionStorage.getItem(LAST_FOLDER) ?? "";
  const [place, setPlace] = useState({ folder: start, q: "" });
  const move = (next) => {
    sessionStorage.setItem(LAST_FOLDER, next.folder ?? "");
    setPlace(next);
  };
  return html`<${Dialog} title=${t("field.choose", { field: label })} onClose=${onClose}>
    <${FileBrowser} folder=${place.folder} search=${place.q} onMove=${move} picked=${value}
      accepts=${(entry) => kinds.includes(entry.kind)} onPick=${(entry) => onChoose(entry.path)} />
    ${folders && html`<footer><button type="button" class="primary" disabled=${!place.folder} onClick=${() => onChoose(place.folder)}>
      ${place.folder ? t("field.use_folder", { folder: baseName(place.folder) }) : t("field.open_folder")}</button></footer>`}
  <//>`;
}
