"use strict";
const at = (id) => document.getElementById(id);
const rows = new Map();
let token = sessionStorage.getItem("token") || "";

async function call(path, options = {}) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(8000) });
  const body = await response.json();
  if ("err_code" in body && body.err_code !== 0) throw Object.assign(new Error(body.err_msg), { status: response.status });
  return { body, missing: response.headers.get("kinora-unreachable") };
}

function element(name, text = "", style = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = style;
  return made;
}

function duration(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const since = (moment) => (Date.now() - new Date(moment)) / 1000;

function standing(task) {
  if (task.state === "queued") return task.queue_position ? `position ${task.queue_position} in the queue` : "waiting";
  if (task.state === "running") return task.eta_seconds === null ? "" : `${duration(task.eta_seconds)} left`;
  if (!task.started_at || !task.finished_at) return "";
  return `took ${duration((new Date(task.finished_at) - new Date(task.started_at)) / 1000)}`;
}

function outcome(task) {
  const result = task.result;
  if (!result) return "";
  if (result.err_code !== 0) return result.err_msg;
  return [result.video_url, result.preview_image].filter(Boolean).join(", ");
}

function delivery(callback) {
  if (callback.state === "pending" && callback.next_at && since(callback.next_at) < 0) {
    return `attempt ${callback.attempts + 1} in ${duration(-since(callback.next_at))}`;
  }
  return callback.attempts > 1 ? `${callback.attempts} attempts` : "";
}

function draw(row, task) {
  const name = element("td", "", "task");
  name.append(element("b", String(task.task_id)), ` ${task.service}${task.kind === "preview" ? " preview" : ""}`);
  name.append(element("small", `${duration(since(task.created_at))} ago`));

  const state = element("td");
  state.append(element("span", task.state, `state ${task.state}`), element("small", standing(task)));

  // The bar stays the same element from one refresh to the next: a new one would not slide.
  const progress = row.progress;
  progress.fill.parentNode.className = `track ${task.state}`;
  progress.fill.style.width = `${100 * task.progress}%`;
  progress.text.textContent = task.state === "running" ? `${(100 * task.progress).toFixed(1)} %` : outcome(task);

  const callback = element("td", "", "callback");
  if (task.callback.state !== "none") {
    callback.append(element("span", task.callback.state, task.callback.state));
    callback.append(element("small", delivery(task.callback)));
  }

  const last = element("td", "", "last");
  if (task.state === "queued" || task.state === "running") {
    row.cancel.onclick = () => cancel(row.cancel, task);
    last.append(row.cancel);
  }
  row.line.replaceChildren(name, state, progress.cell, callback, last);
}

function newRow() {
  const cell = element("td", "", "progress"), track = element("div", "", "track");
  const fill = element("div", "", "fill"), text = element("small");
  track.append(fill);
  cell.append(track, text);
  return { line: element("tr"), progress: { cell, fill, text }, cancel: element("button", "Cancel") };
}

async function cancel(button, task) {
  button.disabled = true;
  try {
    await call(`/api/ai/tasks/${task.task_id}/cancel?service=${task.service}&id=${task.id}`, { method: "POST" });
  } catch (error) {
    notify(error);
    button.disabled = false;
  }
}

function notify(error) {
  at("notice").hidden = !error;
  at("problem").textContent = error ? error.message : "";
  at("login").hidden = !error || error.status !== 401;
}

function show(tasks) {
  const shown = new Set(tasks.map((task) => task.id));
  for (const id of rows.keys()) if (!shown.has(id)) rows.delete(id);
  const lines = tasks.map((task) => {
    if (!rows.has(task.id)) rows.set(task.id, newRow());
    draw(rows.get(task.id), task);
    return rows.get(task.id).line;
  });
  if (!lines.length) {
    const line = element("tr"), cell = element("td", "No tasks yet", "empty");
    cell.colSpan = 5;
    line.append(cell);
    lines.push(line);
  }
  const table = at("tasks");
  if (lines.length !== table.children.length || lines.some((line, index) => line !== table.children[index])) {
    table.replaceChildren(...lines);
  }
  const count = (state) => tasks.filter((task) => task.state === state).length;
  at("summary").textContent = `${count("running")} running, ${count("queued")} queued`;
}

async function refresh() {
  const query = new URLSearchParams({ service: at("service").value, state: at("state").value, limit: 200 });
  try {
    const { body, missing } = await call(`/api/ai/tasks?${query}`);
    show(body.tasks);
    notify(missing ? new Error(`Not reachable: ${missing}`) : null);
  } catch (error) {
    notify(error.status ? error : new Error("The router does not answer"));
  }
}

async function keepFresh() {
  if (!document.hidden) await refresh();
  setTimeout(keepFresh, 1000);
}

at("login").onsubmit = (event) => {
  event.preventDefault();
  token = at("token").value;
  sessionStorage.setItem("token", token);
  refresh();
};
at("service").onchange = at("state").onchange = refresh;
keepFresh();
