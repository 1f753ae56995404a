// Before and after on one stage: a divider, both videos in step, zoom and pan together.
import { get, mediaUrl, thumbnailUrl } from "../api.js";
import { clock } from "../format.js";
import { t } from "../text.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/htm-preact.js";
import { Choices, Icon, IconButton, Notice } from "./basics.js";
import { Playback } from "./playback.js";
import { exactScale, FIT, panned, zoomed } from "./view.js";

const POSTER_PIXELS = 1920;
const KEY_PERCENT = 2;
const ZOOM = 1.5;
const RETRY_MILLISECONDS = 3000;
const UNPLAYABLE = "unplayable";

/** `before` and `after` are `{path, kind: "video"|"picture", rate, width, height}`; `before` may be null. */
export function Compare({ before, after }) {
  const stage = useRef(), leader = useRef(), follower = useRef(), playback = useRef();
  const [place, setPlace] = useState(50);
  const [view, setView] = useState(FIT);
  const [mode, setMode] = useState("split");
  const [, redraw] = useState(0);
  const [trouble, look] = useTrouble();
  const [muted, setMuted] = useState(true);
  const [size, setSize] = useState({ width: after.width || 16, height: after.height || 9 });
  const moving = after.kind === "video" && !trouble.after;
  const shape = size.width / size.height;

  useEffect(() => {
    if (!moving) return undefined;
    playback.current = new Playback(leader.current, follower.current ?? null, after.rate, () => redraw((n) => n + 1));
    return () => playback.current.close();
  }, [moving, after.path, trouble.before]);
  useLayoutEffect(() => setView(FIT), [mode, after.path]);

  const box = () => stage.current.querySelector(".pane").getBoundingClientRect();
  const zoom = (factor, event) => {
    const { left, top, width, height } = box();
    const [x, y] = event ? [event.clientX - left, event.clientY - top] : [width / 2, height / 2];
    setView((earlier) => zoomed(earlier, factor, x, y, { width, height }));
  };
  const exact = (event) => zoom(exactScale(size.width, box()) / view.scale, event);
  const toggleExact = (event) => (view.scale > 1 ? setView(FIT) : exact(event));
  const drag = (event) => {
    if (view.scale === 1 || event.target.closest(".divider")) return;
    event.currentTarget.setPointerCapture(event.pointerId);
  };
  const pan = (event) => {
    if (event.currentTarget.hasPointerCapture(event.pointerId)) {
      setView((earlier) => panned(earlier, event.movementX, event.movementY, box()));
    }
  };
  const wheel = (event) => {
    if (!event.ctrlKey && !event.metaKey && view.scale === 1) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event);
  };
  const keys = (event) => {
    const acts = {
      " ": () => playback.current?.toggle(), ",": () => playback.current?.step(-1), ".": () => playback.current?.step(1),
      "+": () => zoom(ZOOM), "-": () => zoom(1 / ZOOM), 0: () => setView(FIT), 1: () => exact(),
    };
    if (!(event.key in acts) || event.target.closest("button, input, a")) return;
    event.preventDefault();
    acts[event.key]();
  };
  const media = (side, file, reference) => html`<${Medium} file=${file} reference=${reference} muted=${muted || side === "before"}
    label=${t(`compare.${side}`)} trouble=${trouble[side]} at=${playback.current?.time ?? 0}
    onSize=${side === "after" ? setSize : undefined} onBroken=${() => look(side, file.path)} />`;
  const sides = [[after, trouble.after], [before, trouble.before]];
  const unplayable = sides.find(([, what]) => what === UNPLAYABLE)?.[0];
  const moved = { transform: `translate(${view.x}px, ${view.y}px) scale(${view.scale})` };
  const split = mode === "split" && before;

  return html`<section class="compare" aria-label=${t("compare.title")} onKeyDown=${keys}>
    <div class=${`stage is-${before ? mode : "single"} ${view.scale > 1 ? "is-zoomed" : ""}`} ref=${stage} tabindex="0" role="group"
      aria-label=${t("compare.stage")} onPointerDown=${drag} onPointerMove=${pan} onWheel=${wheel} onDblClick=${toggleExact}
      style=${{ aspectRatio: String(before && mode === "side" ? shape * 2 : shape), maxWidth: `calc(70vh * ${before && mode === "side" ? shape * 2 : shape})` }}>
      <div class="pane after"><div class="moved" style=${moved}>${media("after", after, leader)}</div>
        ${before && html`<span class="tag end">${t("compare.after")}</span>`}</div>
      ${before && html`<div class="pane before" style=${{ clipPath: split ? `inset(0 ${100 - place}% 0 0)` : "none" }}>
        <div class="moved" style=${moved}>${media("before", before, follower)}</div>
        <span class="tag">${t("compare.before")}</span></div>`}
      ${split && html`<${Divider} place=${place} onMove=${setPlace} stage=${stage} />`}
    </div>
    ${sides.map(([, what]) => what instanceof Error && html`<${Notice} problem=${what} />`)}
    ${unplayable && html`<p class="notice"><${Icon} name="circle-alert" /><span>${t("compare.cannot_play")}</span>
      <a href=${mediaUrl(unplayable.path, { download: 1 })} download>${t("action.download")}</a></p>`}
    <div class="controls">
      ${moving && playback.current && html`<${Transport} playback=${playback.current} />`}
      ${moving && html`<${IconButton} icon=${muted ? "volume-x" : "volume-2"} label=${t(muted ? "compare.sound_on" : "compare.sound_off")} onClick=${() => setMuted(!muted)} />`}
      <span class="spring"></span>
      ${before && html`<${Choices} name="mode" className="small" label=${t("compare.mode")} value=${mode} onChange=${setMode}
        options=${[["split", t("compare.split")], ["side", t("compare.side")]]} />`}
      <button type="button" class="quiet" aria-pressed=${view.scale === 1} onClick=${() => setView(FIT)}>${t("compare.fit")}</button>
      <button type="button" class="quiet" title=${t("compare.exact_hint")} onClick=${() => exact()}>100 %</button>
      <${IconButton} icon="zoom-out" label=${t("compare.zoom_out")} onClick=${() => zoom(1 / ZOOM)} />
      <${IconButton} icon="zoom-in" label=${t("compare.zoom_in")} onClick=${() => zoom(ZOOM)} />
      <${IconButton} icon="maximize" label=${t("compare.full")} onClick=${() => stage.current.requestFullscreen()} />
    </div>
    <p class="soft keys">${t("compare.keys")}</p>
  </section>`;
}

/** Why a side cannot be shown: its file has gone (a problem), or this browser cannot show it; `look` finds that out. */
function useTrouble() {
  const [trouble, setTrouble] = useState({});
  const shown = useRef(true);
  useEffect(() => () => { shown.current = false; }, []);
  async function look(side, path, after = UNPLAYABLE) {
    if (!shown.current) return;
    let found = after;
    await get("info", { path }).catch((problem) => { found = problem; });
    setTrouble((all) => ({ ...all, [side]: found }));
    if (found?.status === 0) setTimeout(() => look(side, path, undefined), RETRY_MILLISECONDS); // the router is away
  }
  return [trouble, look];
}

function Medium({ file, reference, label, muted, trouble, at, onSize, onBroken }) {
  if (trouble instanceof Error) return html`<span class="gone"><${Icon} name=${file.kind === "video" ? "film" : "image"} /></span>`;
  if (file.kind === "video" && !trouble) {
    return html`<video ref=${reference} src=${mediaUrl(file.path)} poster=${thumbnailUrl(file.path, { width: POSTER_PIXELS, frame: 0 })}
      aria-label=${label} playsinline preload="auto" muted=${muted} onError=${onBroken}
      onLoadedMetadata=${(event) => onSize?.({ width: event.target.videoWidth, height: event.target.videoHeight })}></video>`;
  }
  return html`<img src=${stillUrl(file, at, trouble)} alt=${label} draggable=${false} onError=${file.frame === undefined && !trouble ? onBroken : undefined}
    onLoad=${(event) => onSize?.({ width: event.target.naturalWidth, height: event.target.naturalHeight })} />`;
}

/** A frame of a video, the picture itself, or one that every browser can show. */
function stillUrl(file, at, trouble) {
  if (file.frame !== undefined) return thumbnailUrl(file.path, { width: POSTER_PIXELS, frame: file.frame });
  if (file.kind === "video") return thumbnailUrl(file.path, { width: POSTER_PIXELS, at: at.toFixed(2) });
  return trouble ? thumbnailUrl(file.path, { width: POSTER_PIXELS }) : mediaUrl(file.path);
}

function Divider({ place, onMove, stage }) {
  const to = (value) => onMove(Math.min(Math.max(value, 0), 100));
  const follow = (event) => {
    if (!event.currentTarget.hasPointerCapture(event.pointerId)) return;
    const { left, width } = stage.current.getBoundingClientRect();
    to((100 * (event.clientX - left)) / width);
  };
  const keys = (event) => {
    const next = { ArrowLeft: place - KEY_PERCENT, ArrowRight: place + KEY_PERCENT, Home: 0, End: 100 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    to(next);
  };
  return html`<div class="divider" style=${{ left: `${place}%` }} role="slider" tabindex="0" aria-label=${t("compare.divider")}
    aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(place)} aria-orientation="horizontal" onKeyDown=${keys}
    onPointerDown=${(event) => event.currentTarget.setPointerCapture(event.pointerId)} onPointerMove=${follow}>
    <span class="grip"><${Icon} name="chevron-left" /><${Icon} name="chevron-right" /></span></div>`;
}

function Transport({ playback }) {
  const { duration, frame, playing, time } = playback;
  return html`
    <${IconButton} icon="step-back" label=${t("compare.back")} onClick=${() => playback.step(-1)} />
    <${IconButton} icon=${playing ? "pause" : "play"} label=${t(playing ? "compare.pause" : "compare.play")} onClick=${() => playback.toggle()} />
    <${IconButton} icon="step-forward" label=${t("compare.forward")} onClick=${() => playback.step(1)} />
    <input class="scrub" type="range" min="0" max=${duration} step=${1 / playback.rate} value=${time} aria-label=${t("compare.position")}
      aria-valuetext=${clock(time)} style=${{ "--share": `${duration ? (100 * time) / duration : 0}%` }}
      onInput=${(event) => playback.seek(Number(event.target.value))} />
    <span class="soft time">${clock(time)} / ${clock(duration)} · ${t("compare.frame", { frame })}</span>`;
}
