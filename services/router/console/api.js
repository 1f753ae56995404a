// The router's endpoints for this page (docs/console.md): one session, errors as sentences, addresses of media.
import { parse, stringify } from "./exact_json.js";
import { language } from "./text.js";

const BASE = "api/console/";
let session; // null for nobody's, undefined until that is known
const listeners = new Set();

/** What an endpoint refused: the message is its own sentence, `status` the HTTP status (0: no answer at all). */
export class Problem extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Call `listener(session)` now, if it is known, and whenever it begins or ends; returns how to stop that. */
export function onSession(listener) {
  listeners.add(listener);
  if (session !== undefined) listener(session);
  return () => listeners.delete(listener);
}

/** Find the living session, or open one where no token is asked for; null where the user must enter one. */
export async function resume() {
  const answer = await send("session");
  if (answer.ok) return enter(await read(answer));
  if (answer.headers.get("kinora-token-needed") === "false") return signIn("");
  if (answer.status !== 401) await refuse(answer);
  return enter(null);
}

export async function signIn(token) {
  const answer = await send("session", { method: "POST", body: stringify({ token }) });
  if (!answer.ok) await refuse(answer);
  return enter(await read(answer));
}

export async function signOut() {
  await send("session", { method: "DELETE", headers: csrf() });
  enter(null);
}

export async function get(path, query = {}, signal) {
  const answer = await send(path + queryOf(query), { signal });
  if (!answer.ok) await refuse(answer);
  return read(answer);
}

/** Post; a refusal with status 200 (`err_code` -1) raises as well. */
export async function post(path, { query = {}, body } = {}) {
  const answer = await send(path + queryOf(query), {
    method: "POST", headers: csrf(), body: body === undefined ? undefined : stringify(body),
  });
  if (!answer.ok) await refuse(answer);
  const found = await read(answer);
  if (found.err_code) throw new Problem(found.err_msg, answer.status);
  return found;
}

/** Send a file; `progress(share)` is called on the way. Returns the stored entry. */
export async function upload(folder, file, progress, signal) {
  // Asked first: what is too large for the limit or the disk is refused before it is sent, not after.
  await get("upload", { folder, name: file.name, bytes: file.size }, signal);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${BASE}files${queryOf({ folder, name: file.name })}`);
    for (const [name, value] of Object.entries({ ...csrf(), ...spoken() })) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onload = () => {
      const found = safely(request.responseText);
      if (request.status === 201) resolve(found);
      else reject(new Problem(found?.err_msg || `HTTP ${request.status}`, request.status));
    };
    request.onerror = () => reject(new Problem("", 0));
    request.onabort = () => reject(new DOMException("", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

export const eventsUrl = `${BASE}events`;
export const mediaUrl = (path, options = {}) => `${BASE}media${queryOf({ path, ...options })}`;
export const thumbnailUrl = (path, options = {}) => `${BASE}thumbnail${queryOf({ path, ...options })}`;

export function queryOf(values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

const csrf = () => ({ "x-kinora-csrf": session?.csrf ?? "" });
/** Sentences come in the language of the page, which need not be the browser's. */
const spoken = () => ({ "accept-language": language });

async function send(path, options = {}) {
  let answer;
  try {
    answer = await fetch(BASE + path, { credentials: "same-origin", ...options, headers: { ...spoken(), ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("", 0);
  }
  if (answer.status === 401 && path !== "session") enter(null);
  return answer;
}

async function refuse(answer) {
  const found = safely(await answer.text());
  throw new Problem(found?.err_msg || `HTTP ${answer.status}`, answer.status);
}

const read = async (answer) => parse(await answer.text());

function safely(text) {
  try {
    return parse(text);
  } catch {
    return null;
  }
}

function enter(found) {
  session = found;
  for (const listener of listeners) listener(found);
  return found;
}
