// Requests: what a service accepts, from the OpenAPI document, and how one is sent.
import { get, post } from "../api.js";
import { link } from "../route.js";

let document_ = null;

/** The schema of a service's request, its references resolved. */
export async function schemaOf(service) {
  document_ ??= get("document");
  try {
    const document = await document_;
    const reference = document.paths[`/api/ai/${service}`].post.requestBody.content["application/json"].schema.$ref;
    return document.components.schemas[reference.split("/").pop()];
  } catch (problem) {
    document_ = null;
    throw problem;
  }
}

/** An id that no other task has: the time in milliseconds. */
export const newTaskId = () => Date.now();

/** Only what was filled in: a service reads an absent field as its default. */
export const filled = (values) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined));

export const submit = (service, body) => post(`submit/${service}`, { body: filled(body) });

/** The field that a sentence is about: the first that it names, or null. */
export function fieldNamed(sentence, names) {
  const places = names.map((name) => [sentence.search(new RegExp(`\\b${name}\\b`)), name]).filter(([place]) => place >= 0);
  return places.sort(([a], [b]) => a - b)[0]?.[1] ?? null;
}

export const posted = (service, taskId) => link(["task", service, String(taskId)]);
