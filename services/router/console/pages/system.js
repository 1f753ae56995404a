// The installation: services, their runners and queues, the machine, weights, and what the doctor finds.
import { get } from "../api.js";
import { ago, bytes, duration, percent, word } from "../format.js";
import { Bar, Icon, Notice } from "../parts/basics.js";
import { link } from "../route.js";
import { t } from "../text.js";
import { html, useEffect, useState } from "../vendor/htm-preact.js";

const REFRESH_MILLISECONDS = 3000;

export function System() {
  const [system, setSystem] = useState(null);
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    const load = () => get("system").then((found) => { setSystem(found); setProblem(null); }, setProblem);
    load();
    const again = setInterval(load, REFRESH_MILLISECONDS);
    return () => clearInterval(again);
  }, []);
  return html`<div class="head"><div><h1>${t("page.system")}</h1>
      ${system && html`<p class="soft">Kinora ${system.version} · ${system.host}:${system.port} · ${t("system.device", { device: system.device })} · ${t(system.token ? "system.token" : "system.no_token")}</p>`}</div></div>
    <${Notice} problem=${problem} />
    ${system && html`
      <h2>${t("system.services")}</h2>
      <div class="grid">${system.services.map((one) => html`<${Service} key=${one.service} service=${one} />`)}</div>
      <${Machine} services=${system.services} />
      <${Doctor} />
      <${Safety} safety=${system.safety} />
      <${Weights} weights=${system.weights} />`}`;
}

function Service({ service }) {
  const health = service.ready ? "succeeded" : service.reachable ? "queued" : "failed";
  return html`<section class="card service"><header><h3>${t(`service.${service.service}`)}</h3>
      <span class=${`state is-${health}`}>${t(service.ready ? "system.ready" : service.reachable ? "system.starting" : "system.unreachable")}</span></header>
    ${service.problem && html`<p class="bad sentence"><bdi>${service.problem}</bdi></p>`}
    ${service.versions.map((version) => html`<div key=${version.url + version.version} class="version">
      <p class="soft line"><span>${version.version}</span><span>${version.url === "local" ? t("system.local") : version.url}</span>${version.weight !== 1 && html`<span>× ${version.weight}</span>`}</p>
      <ul class="plain">
        ${version.runners.map((runner) => html`<li key=${runner.kind} class="line"><${Icon} name=${runner.alive ? "check" : "x"} />
          <span>${t("system.runner", { kind: word("kind", runner.kind) })}</span>
          <span class="soft">${[runner.resident_bytes && bytes(runner.resident_bytes), runner.restarts > 0 && t("system.restarts", { count: runner.restarts })].filter(Boolean).join(" · ")}</span></li>`)}
        ${version.running.map((task) => html`<li key=${task.id} class="line"><a href=${link(["task", service.service, String(task.task_id)], { id: task.id })}>#${String(task.task_id)}</a>
          <${Bar} share=${task.progress} label=${t("task.progress")} /><span class="number">${percent(task.progress)}</span></li>`)}
        ${version.queues.filter((queue) => queue.state === "queued" && queue.tasks).map((queue) => html`<li key=${queue.kind + queue.version} class="line">
          <span>${t("system.queued", { count: queue.tasks, kind: word("kind", queue.kind) })}</span><span class="soft">${t("system.oldest", { time: duration(queue.oldest_seconds ?? 0) })}</span></li>`)}
        ${version.callbacks.filter((one) => one.callbacks).map((one) => html`<li key=${one.state} class="line">
          <span>${t("system.callbacks", { count: one.callbacks, state: word("callback", one.state) })}</span></li>`)}
      </ul></div>`)}
  </section>`;
}

/** GPUs and disks; several services see the same ones. */
function Machine({ services }) {
  const versions = services.flatMap((service) => service.versions);
  const gpus = new Map(versions.flatMap((version) => version.gpus).map((gpu) => [gpu.index, gpu]));
  const disks = new Map(versions.flatMap((version) => version.disks).map((disk) => [disk.folder, disk]));
  const meter = (key, name, used, total, said) => html`<li key=${key}><span class="line"><strong><bdi>${name}</bdi></strong><span class="soft">${said}</span></span>
    <${Bar} share=${total ? used / total : 0} state=${used / total > 0.92 ? "failed" : "level"} label=${name} /></li>`;
  if (!gpus.size && !disks.size) return null;
  return html`<section class="card"><header><h2>${t("system.machine")}</h2></header><ul class="plain meters">
    ${[...gpus.values()].map((gpu) => meter(`gpu${gpu.index}`, gpu.name, gpu.used_bytes, gpu.total_bytes, t("system.used", { used: bytes(gpu.used_bytes), total: bytes(gpu.total_bytes) })))}
    ${[...disks.values()].map((disk) => meter(disk.folder, disk.folder, disk.size_bytes - disk.free_bytes, disk.size_bytes, t("files.free", { free: bytes(disk.free_bytes), total: bytes(disk.size_bytes) })))}
  </ul></section>`;
}

function Doctor() {
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  async function examine() {
    setBusy(true);
    await get("doctor").then((answer) => { setFound(answer); setProblem(null); }, setProblem);
    setBusy(false);
  }
  const icons = { ok: "check", warning: "circle-alert", broken: "x" };
  return html`<section class="card"><header><div><h2>${t("doctor.title")}</h2>${found && html`<span class="soft">${ago(found.at)}</span>`}</div>
      <button type="button" disabled=${busy} onClick=${examine}>${t(busy ? "doctor.busy" : "doctor.examine")}</button></header>
    <${Notice} problem=${problem} />
    ${found ? html`<ul class="plain findings">${found.findings.map((one) => html`<li key=${one.subject + one.sentence} class=${`is-${one.level}`}>
        <${Icon} name=${icons[one.level]} /><strong>${one.subject}<span class="unseen">: ${word("doctor_level", one.level)}</span></strong><span><bdi>${one.sentence}</bdi></span></li>`)}</ul>`
      : html`<p class="soft">${t("doctor.hint")}</p>`}</section>`;
}

function Safety({ safety }) {
  const facts = [
    [t("safety.label"), t(safety.visible_label ? "detail.yes" : "detail.no")],
    [t("safety.producer"), safety.content_producer],
    [t("safety.nsfw"), safety.nsfw_check ? t("safety.nsfw_from", { threshold: safety.nsfw_threshold }) : t("detail.no")],
  ];
  return html`<section class="card"><header><h2>${t("safety.title")}</h2></header><p class="soft">${t("safety.hint")}</p>
    <dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl></section>`;
}

function Weights({ weights }) {
  return html`<section class="card"><header><h2>${t("weights.title")}</h2>
      <span class="soft">${t("weights.installed", { count: weights.filter((one) => one.installed).length, total: weights.length })}</span></header>
    <div class="scroll" tabindex="0" role="group" aria-label=${t("weights.title")}><table><thead><tr><th>${t("weights.name")}</th><th>${t("weights.purpose")}</th><th>${t("weights.licence")}</th><th class="end">${t("weights.size")}</th><th>${t("weights.here")}</th></tr></thead>
    <tbody>${weights.map((one) => html`<tr key=${one.name}><td><code>${one.name}</code></td><td>${one.purpose}</td>
      <td>${one.licence}${!one.commercial && html`<br /><span class="wait">${t("weights.non_commercial")}</span>`}</td>
      <td class="end number">${bytes(one.bytes)}</td><td>${one.installed ? html`<span class="good">${t("detail.yes")}</span>` : html`<span class="soft">${t("detail.no")}</span>`}</td></tr>`)}</tbody></table></div></section>`;
}
