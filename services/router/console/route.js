// Where the user is: `#/page/part?name=value`, so that a reload, a bookmark and the back button work.
import { queryOf } from "./api.js";

export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decodeURIComponent), query: Object.fromEntries(new URLSearchParams(query)) };
}

export const link = (parts, query = {}) => `#/${parts.map(encodeURIComponent).join("/")}${queryOf(query)}`;

export const taskLink = (task) => link(["task", task.service, task.task_id_text ?? String(task.task_id)], { id: task.id });

export function go(address) {
  location.hash = address;
}

/** Change the address without another step for the back button. */
export function replace(address) {
  history.replaceState(null, "", address);
  dispatchEvent(new HashChangeEvent("hashchange"));
}
