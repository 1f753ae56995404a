// What changes, as it happens: server-sent events, and the list every few seconds where they do not come through.
import { eventsUrl, onSession } from "./api.js";
import { parse } from "./exact_json.js";

const POLL_MILLISECONDS = 3000;
const RETRY_MILLISECONDS = 30000;
const listeners = new Set();
let source = null;
let polling = null;
let retry = null;
let state = "connecting";

/** `rows(list)` gets changed tasks, `reload()` asks for a fresh list, `standing(state)` how the changes come. */
export function listen(listener) {
  listeners.add(listener);
  listener.standing?.(state);
  return () => listeners.delete(listener);
}

const tell = (name, value) => {
  for (const listener of [...listeners]) listener[name]?.(value);
};

function become(next) {
  if (state !== next) tell("standing", (state = next));
}

function connect() {
  source = new EventSource(eventsUrl);
  source.addEventListener("hello", () => {
    stopPolling();
    become("live");
    tell("reload");
  });
  source.addEventListener("tasks", (event) => tell("rows", parse(event.data).rows));
  source.onerror = () => {
    startPolling();
    if (source?.readyState === EventSource.CLOSED) retry = setTimeout(connect, RETRY_MILLISECONDS);
  };
}

function disconnect() {
  source?.close();
  source = null;
  clearTimeout(retry);
  stopPolling();
}

function startPolling() {
  become("polling");
  polling ??= setInterval(() => tell("reload"), POLL_MILLISECONDS);
}

function stopPolling() {
  clearInterval(polling);
  polling = null;
}


onSession((session) => {
  disconnect();
  if (session) connect();
});
