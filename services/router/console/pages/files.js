// The media roots, and what can be done with a file.
import { mediaUrl, get } from "../api.js";
import { bytes, clock, moment, number, rate } from "../format.js";
import { Icon, Notice } from "../parts/basics.js";
import { Compare } from "../parts/compare.js";
import { FileBrowser } from "../parts/file_browser.js";
import { Dialog } from "../parts/basics.js";
import { link, replace, go } from "../route.js";
import { t } from "../text.js";
import { html, useEffect, useState } from "../vendor/htm-preact.js";

const USES = {
  video: [["upscale", "video_url"], ["interpo", "video_url"], ["creation", "video_url"], ["faces", "target_file"]],
  picture: [["creation", "image_url"], ["faces", "source_file"], ["faces", "target_file"]],
};

export function Files({ query }) {
  const [open, setOpen] = useState(null);
  const move = ({ folder, q }) => (q === (query.q ?? "") ? go : replace)(link(["files"], { folder, q }));
  return html`<div class="head"><h1>${t("page.files")}</h1></div>
    <${FileBrowser} folder=${query.folder ?? ""} search=${query.q ?? ""} onMove=${move} onPick=${setOpen} />
    ${open && html`<${Dialog} title=${open.name} onClose=${() => setOpen(null)}><${File} entry=${open} /><//>`}`;
}

function File({ entry }) {
  const [about, setAbout] = useState(null);
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    get("info", { path: entry.path }).then(setAbout, setProblem);
  }, [entry.path]);
  const uses = about ? USES[about.kind === "video" ? "video" : "picture"] : [];
  return html`
    ${about && html`<${Compare} before=${null} after=${{ path: entry.path, kind: about.kind === "video" ? "video" : "picture", rate: rate(about.frame_rate), width: about.width, height: about.height }} />`}
    <${Notice} problem=${problem} />
    <p class="soft">${[about && `${about.width} × ${about.height}`, about?.kind === "video" && t("files.rate", { rate: number(rate(about.frame_rate) ?? 0, 3) }),
      about?.duration_seconds && about.kind === "video" && clock(about.duration_seconds), bytes(entry.bytes), moment(entry.modified)].filter(Boolean).join(" · ")}</p>
    <div class="row wrap">
      ${uses.map(([where, field]) => html`<a class="button" key=${where + field} href=${where === "faces" ? link(["faces"], { [field]: entry.path }) : link(["new", where], { [field]: entry.path })}>
        ${where === "faces" ? t(`use_as.${field}`) : t(`service.${where}`)}</a>`)}
      <a class="button" href=${mediaUrl(entry.path, { download: 1 })} download><${Icon} name="download" />${t("action.download")}</a>
    </div>`;
}
